//! What goes on by itself: learning, ageing, hosts that are snooped, and what is announced and reported of it.

pub(crate) mod age;
pub(crate) mod announce;
pub(crate) mod mac;
pub(crate) mod notify;
pub(crate) mod path;
pub(crate) mod snoop;

use vtep_common::abi::event::Event;

use crate::control::{
    effect::Effect,
    ops::peer,
    record::{moves::Looked, stamps::Stamps},
    state::State,
};

/// What one tick looks at, and writes, at most, but for what the last one it looks at asks for: a MAC may take its hosts along. Each may
/// cost a look into the map.
const BUDGET: usize = 4_096;

impl State {
    /// Lets time pass: ages entries and thaws frozen ones, a bounded number in each call. To be called about every second, and
    /// again at once while [`State::is_behind`].
    pub fn tick(&mut self, clock: &dyn Stamps) -> Effect {
        self.run.now = clock.now().max(self.run.now);
        let mut out = Effect::default();
        for _ in 0..BUDGET {
            if out.writes.len() >= BUDGET || !look_at_one(self, clock, &mut out) {
                break;
            }
        }
        peer::finish(&self.peers, &mut out);
        out
    }

    /// True if the last [`State::tick`] left work for another.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let run = &self.run;
        let now = run.now;
        run.ageing.is_due(now)
            || run.hosts.is_due(now)
            || run.moves.is_due(now)
            || run.claims.is_due(now)
            || run.paths.is_due(now)
    }

    /// Takes in what the kernel side reported, in its order.
    pub fn learn(&mut self, events: &[Event], clock: &dyn Stamps) -> Effect {
        self.run.now = clock.now().max(self.run.now);
        let mut out = Effect::default();
        for event in events {
            match event.kind {
                Event::LEARN => mac::learn(self, event, clock, &mut out),
                Event::SNOOPED => snoop::snoop(self, event, clock, &mut out),
                Event::MISS => mac::miss(self, event, &mut out),
                _ => self.run.counters.ignored += 1,
            }
        }
        peer::finish(&self.peers, &mut out);
        out
    }
}

/// Looks at one thing of which the time has come.
fn look_at_one(state: &mut State, clock: &dyn Stamps, out: &mut Effect) -> bool {
    let (now, rule) = (state.run.now, state.limits.duplicates);
    if let Some((key, looked)) = state.run.moves.look(now, rule) {
        if looked == Looked::Thawed {
            let seen = clock.last_seen(key).unwrap_or(now);
            age::thaw(state, key, seen, out);
        }
        return true;
    }
    if let Some((at, key)) = state.run.claims.next(now) {
        snoop::settle(state, at, key, clock, out);
        return true;
    }
    if let Some((at, key)) = state.run.hosts.pop(now) {
        snoop::age(state, at, key, out);
        return true;
    }
    if let Some((at, number)) = state.run.paths.pop(now) {
        path::age(state, at, number, out);
        return true;
    }
    if let Some((at, key)) = state.run.ageing.pop(now) {
        age::age(state, at, key, clock, out);
        return true;
    }
    false
}
