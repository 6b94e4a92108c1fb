//! The changes that a user asks for, one file for each family, and what each of them means for the other rooms.

pub(crate) mod absent;
pub(crate) mod address;
pub(crate) mod bridge;
pub(crate) mod entry;
pub(crate) mod fdb;
pub(crate) mod find;
pub(crate) mod flood;
mod gone;
pub(crate) mod guard;
pub(crate) mod limit;
pub(crate) mod link;
pub(crate) mod mtu;
pub(crate) mod neigh;
pub(crate) mod nexthop;
pub(crate) mod peer;
pub(crate) mod port;
pub(crate) mod port_row;
pub(crate) mod rate;
pub(crate) mod refuse;
pub(crate) mod source;
pub(crate) mod vni;

use super::{
    effect::{Effect, Undo},
    record::{author::Author, facts::Links},
    state::State,
};
use crate::model::{Op, Refusal};

impl State {
    /// Makes one change, wholly or not at all: a refusal leaves the state as it was.
    pub fn apply(&mut self, op: &Op, links: &dyn Links) -> Result<Effect, Refusal> {
        self.apply_as(Author::CLI, op, links)
    }

    /// The same, in the name of another author.
    pub fn apply_as(
        &mut self,
        author: Author,
        op: &Op,
        links: &dyn Links,
    ) -> Result<Effect, Refusal> {
        self.run.author = author;
        let mut out = self.change(op, links)?;
        entry::forget_unlisted(self, &mut out);
        keep_room_for_a_peer(self, &mut out);
        Ok(out)
    }

    /// Rolls a change back whose interface cannot be attached.
    pub fn roll_back(&mut self, undo: &Undo, links: &dyn Links) -> Result<Effect, Refusal> {
        match undo {
            Undo::Change(op) => self.apply(op, links),
            Undo::Gone(ifindex) => Ok(self.link_gone(*ifindex)),
        }
    }

    fn change(&mut self, op: &Op, links: &dyn Links) -> Result<Effect, Refusal> {
        match op {
            Op::VniAdd { vni, spec } => vni::add(self, *vni, spec),
            Op::VniReplace { vni, spec } => vni::replace(self, *vni, spec),
            Op::VniSet { vni, spec } => vni::set(self, *vni, spec),
            Op::VniDel { vni, options } => vni::del(self, *vni, *options),
            Op::PortAdd(spec) => port::add(self, spec, links),
            Op::PortReplace(spec) => port::replace(self, spec, links),
            Op::PortSet { dev, change } => port::set(self, dev, change),
            Op::PortDel { dev, part } => port::del(self, dev, part),
            Op::FdbAdd(spec) => fdb::add(self, spec),
            Op::FdbAppend(spec) => fdb::append(self, spec),
            Op::FdbReplace(spec) => fdb::replace(self, spec),
            Op::FdbDel(del) => fdb::del(self, del),
            Op::FdbFlush(filter) => fdb::flush(self, filter),
            Op::NeighAdd(spec) => neigh::add(self, spec),
            Op::NeighReplace(spec) => neigh::replace(self, spec),
            Op::NeighDel(del) => neigh::del(self, del),
            Op::NexthopAdd(spec) => nexthop::add(self, spec),
            Op::NexthopReplace(spec) => nexthop::replace(self, spec),
            Op::NexthopDel(del) => nexthop::del(self, del),
            Op::PeerSet { ip, spec } => peer::set(self, *ip, spec),
        }
    }
}

/// Keeps a place for the next VTEP that the user names, as long as there is one that nothing but frames named: that one goes, with what was
/// learned of it. A change needs one place at most.
fn keep_room_for_a_peer(state: &mut State, out: &mut Effect) {
    let full = state.peers.len() >= state.limits.peers;
    let Some(found) = state.peers.any_found().filter(|_| full) else {
        return;
    };
    let numbers: Vec<_> = state.segments.numbers().collect();
    for number in numbers {
        let entries = state.fdb.entries(number);
        let behind = entries.filter(|(_, entry)| entry.peer() == Some(found));
        let macs: Vec<_> = behind.map(|(mac, _)| mac).collect();
        for mac in macs {
            entry::remove(state, number, mac, out);
        }
    }
    peer::finish(&state.peers, out);
}
