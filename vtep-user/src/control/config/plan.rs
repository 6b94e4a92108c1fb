//! What has to be done so that what was set becomes what a configuration file says: a plan, checked before anything is done.

use std::collections::BTreeSet;

use super::thing::{Thing, ThingKey, Things};
use crate::control::record::author::Author;
use crate::control::record::facts::Links;
use crate::control::record::settings;
use crate::control::state::State;
use crate::model::{
    BitRate, FdbDel, FrameRate, NeighDel, NexthopDel, Op, OverLimit, PeerSpec, PlanAction, PlanRow,
    PortChange, PortDelivery, PortGuard, PortHook, PortPart, PortSpec, Refusal, RefusalKind,
    Source, VniDelete, VniSpec, settings::vni::NO_BRIDGE, write,
};

/// What becomes of things that were set otherwise, where what they were built on is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltOn {
    /// The plan is refused.
    Refuse,
    /// They go too.
    Take,
    /// What they were built on stays.
    Keep,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it says of itself.
    pub row: PlanRow,
    /// What is done; nothing where another step does it too.
    pub op: Option<Op>,
    /// In whose name it is done.
    pub author: Author,
    pub(super) key: ThingKey,
}

/// A plan that was found to work. Each step is done in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What is done.
    pub steps: Vec<Step>,
    /// What was set when it was made.
    pub before: Things,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq)]
pub struct NoPlan {
    /// The thing that cannot be as it is wanted.
    pub(super) at: Option<ThingKey>,
    /// Why not.
    pub refusal: Refusal,
}

impl Step {
    /// Whether other things may go with it: it removes something, or changes a port, which may leave its VNI.
    fn may_take_away(&self) -> bool {
        self.row.action == PlanAction::Remove || matches!(self.key, ThingKey::Port(..))
    }
}

impl Plan {
    /// What it does, a row for each thing.
    pub fn rows(&self) -> impl Iterator<Item = &PlanRow> {
        self.steps.iter().map(|step| &step.row)
    }
}

impl State {
    /// What has to be done so that what the configuration file set becomes `wanted`. What was set otherwise stays, but for what the
    /// file names too, which it takes over.
    pub(super) fn plan(
        &self,
        wanted: &Things,
        links: &dyn Links,
        built_on: BuiltOn,
    ) -> Result<Plan, NoPlan> {
        let now = self.things();
        let goes = |thing: &Thing| thing.source == Source::Config;
        let mut steps = steps(&now, wanted, Author::CONFIG, goes);
        if steps.is_empty() {
            return Ok(Plan { steps, before: now });
        }
        loop {
            let (done, after) = self.rehearse(&steps, links)?;
            let lost = if done.iter().any(Step::may_take_away) {
                lost(&now, wanted, &after.things())
            } else {
                Vec::new()
            };
            if lost.is_empty() {
                let steps = done;
                return Ok(Plan { steps, before: now });
            }
            match built_on {
                BuiltOn::Refuse => return Err(refuse(&lost, &now, &steps)),
                BuiltOn::Take => {
                    let mut steps = done;
                    steps.extend(lost.iter().map(|key| Step {
                        op: None,
                        ..removal(key, &now[key], Author::CONFIG)
                    }));
                    return Ok(Plan { steps, before: now });
                }
                BuiltOn::Keep => {
                    let before = steps.len();
                    steps.retain(|step| !carries(step, &lost, &now));
                    if steps.len() == before {
                        return Err(refuse(&lost, &now, &steps));
                    }
                }
            }
        }
    }

    /// What has to be done so that everything that was set becomes what it was.
    pub(crate) fn way_back(&self, before: &Things) -> Plan {
        let now = self.things();
        Plan {
            steps: steps(&now, before, Author::CONFIG, |_| true),
            before: now,
        }
    }

    /// What leads from `wanted` to everything that is set, whoever set it.
    pub(super) fn steps_from(&self, wanted: &Things) -> Vec<Step> {
        let now = self.things();
        let differs = |step: &Step| match (now.get(&step.key), wanted.get(&step.key)) {
            (Some(now), Some(wanted)) => now.make != wanted.make,
            _ => true,
        };
        let mut steps = steps(wanted, &now, Author::CONFIG, |_| true);
        steps.retain(differs);
        steps
    }

    /// Does the steps to a copy of the state: first what is added, or if that is refused, first what is removed. Returns the steps in
    /// the order that went well, and the copy as it is then.
    fn rehearse(&self, steps: &[Step], links: &dyn Links) -> Result<(Vec<Step>, Self), NoPlan> {
        let refused = match self.try_out(steps.to_vec(), links) {
            Ok(done) => return Ok(done),
            Err(refused) => refused,
        };
        let (removed, added): (Vec<_>, Vec<_>) = steps
            .iter()
            .cloned()
            .partition(|step| step.row.action == PlanAction::Remove);
        if removed.is_empty() {
            return Err(refused);
        }
        let other_way = removed.into_iter().chain(added).collect();
        self.try_out(other_way, links).map_err(|_| refused)
    }

    fn try_out(
        &self,
        mut steps: Vec<Step>,
        links: &dyn Links,
    ) -> Result<(Vec<Step>, Self), NoPlan> {
        let mut copy = self.clone();
        for step in &mut steps {
            let Some(op) = &step.op else { continue };
            match copy.apply_as(step.author, op, links) {
                Ok(_) => {}
                // It went with something else.
                Err(refusal)
                    if step.row.action == PlanAction::Remove
                        && refusal.kind == RefusalKind::NotFound =>
                {
                    step.op = None;
                }
                Err(refusal) => {
                    let at = Some(step.key.clone());
                    return Err(NoPlan { at, refusal });
                }
            }
        }
        Ok((steps, copy))
    }
}

/// What leads from one to the other: additions and changes, then removals of what `goes`, the last thing first.
fn steps(
    now: &Things,
    wanted: &Things,
    author: Author,
    goes: impl Fn(&Thing) -> bool,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for (key, thing) in wanted {
        let author = Author {
            source: thing.source,
            ..author
        };
        match now.get(key) {
            None => steps.push(step(
                key,
                thing,
                PlanAction::Add,
                thing.make.clone(),
                author,
            )),
            Some(old) if old == thing => {}
            Some(old) => {
                let change = change(&old.make, &thing.make);
                let mut step = step(key, thing, PlanAction::Change, change, author);
                if old.make == thing.make {
                    // It is taken over as it is.
                    step.row = PlanRow::new(PlanAction::Change, thing.vni, &thing.make);
                }
                steps.push(step);
            }
        }
    }
    for (key, thing) in now.iter().rev() {
        if goes(thing) && !wanted.contains_key(key) {
            steps.push(removal(key, thing, author));
        }
    }
    steps
}

fn step(key: &ThingKey, thing: &Thing, action: PlanAction, op: Op, author: Author) -> Step {
    Step {
        row: PlanRow::new(action, thing.vni, &op),
        op: Some(op),
        author,
        key: key.clone(),
    }
}

fn removal(key: &ThingKey, thing: &Thing, author: Author) -> Step {
    Step {
        row: PlanRow::new(PlanAction::Remove, thing.vni, &thing.make),
        op: Some(unmake(&thing.make)),
        author,
        key: key.clone(),
    }
}

/// The command that makes of one thing the other, which has the same key.
fn change(old: &Op, new: &Op) -> Op {
    match (old, new) {
        (Op::VniAdd { vni, spec: old }, Op::VniAdd { spec: new, .. }) => Op::VniSet {
            vni: *vni,
            spec: Box::new(VniSpec {
                bridge: bridge_change(old, new),
                ..settings::between(*vni, old, new)
            }),
        },
        (Op::PortAdd(old), Op::PortAdd(new)) => Op::PortSet {
            dev: new.dev.clone(),
            change: Box::new(port_change(old, new)),
        },
        (_, Op::FdbAdd(spec)) => Op::FdbReplace(spec.clone()),
        (_, Op::NeighAdd(spec)) => Op::NeighReplace(spec.clone()),
        (_, Op::NexthopAdd(spec)) => Op::NexthopReplace(spec.clone()),
        (_, same) => same.clone(),
    }
}

/// What has to be given of a bridge, where that differs.
fn bridge_change(old: &VniSpec, new: &VniSpec) -> Option<String> {
    let none = || NO_BRIDGE.to_owned();
    (old.bridge != new.bridge).then(|| new.bridge.clone().unwrap_or_else(none))
}

/// What differs between two ports. What one of them leaves out is the default.
fn port_change(old: &PortSpec, new: &PortSpec) -> PortChange {
    let PortSpec {
        dev: _,
        vni,
        vlan,
        hook,
        macs,
        ips,
        max_macs,
        isolated,
        guard,
        router,
        over_limit,
        bum_rate,
        rate_in,
        rate_out,
        delivery,
        wait: _,
    } = new;
    PortChange {
        vlan: *vlan,
        vni: (*vni != old.vni).then_some(*vni),
        hook: set(old.hook, *hook, PortHook::Auto),
        macs: (*macs != old.macs).then(|| macs.clone()),
        ips: (*ips != old.ips).then(|| ips.clone()),
        max_macs: set(old.max_macs, *max_macs, 0),
        isolated: set(old.isolated, *isolated, false),
        guard: set(old.guard, *guard, PortGuard::Off),
        router: set(old.router, *router, false),
        over_limit: set(old.over_limit, *over_limit, OverLimit::Drop),
        bum_rate: set(old.bum_rate, *bum_rate, FrameRate::BUM_DEFAULT),
        rate_in: set(old.rate_in, *rate_in, BitRate::OFF),
        rate_out: set(old.rate_out, *rate_out, BitRate::OFF),
        delivery: set(old.delivery, *delivery, PortDelivery::Auto),
    }
}

/// What has to be set of a setting whose value, or default, differs.
fn set<T: Copy + PartialEq>(old: Option<T>, new: Option<T>, default: T) -> Option<T> {
    (old != new).then(|| new.unwrap_or(default))
}

/// The command that takes away what another one makes.
fn unmake(make: &Op) -> Op {
    match make {
        Op::PortAdd(spec) => Op::PortDel {
            dev: spec.dev.clone(),
            part: PortPart {
                vlan: spec.vlan,
                untagged: spec.vlan.is_none(),
                ..PortPart::default()
            },
        },
        Op::FdbAdd(spec) | Op::FdbAppend(spec) => Op::FdbDel(FdbDel {
            mac: spec.mac,
            vni: spec.vni,
            dst: spec.dst,
            dev: spec.dev.clone(),
        }),
        Op::NeighAdd(spec) => Op::NeighDel(NeighDel {
            ip: spec.ip,
            vni: spec.vni,
            lladdr: None,
        }),
        Op::NexthopAdd(spec) => Op::NexthopDel(NexthopDel {
            ip: spec.ip,
            vni: spec.vni,
            via: None,
            lladdr: None,
        }),
        Op::PeerSet { ip, .. } => Op::PeerSet {
            ip: *ip,
            spec: PeerSpec { csum6: Some(true) },
        },
        Op::VniAdd { vni, .. } => Op::VniDel {
            vni: *vni,
            options: VniDelete { force: true },
        },
        other => unreachable!("{other:?} makes no thing"),
    }
}

/// What was not set by the file, and would go.
fn lost(now: &Things, wanted: &Things, after: &Things) -> Vec<ThingKey> {
    let others = now
        .iter()
        .filter(|(_, thing)| thing.source != Source::Config);
    others
        .filter(|(key, _)| !after.contains_key(key) && !wanted.contains_key(key))
        .map(|(key, _)| key.clone())
        .collect()
}

/// Whether a step takes away what one of the lost things was built on.
fn carries(step: &Step, lost: &[ThingKey], now: &Things) -> bool {
    lost.iter().any(|key| {
        let thing = &now[key];
        match &step.key {
            ThingKey::Vni(vni) => step.row.action == PlanAction::Remove && thing.vni == Some(*vni),
            ThingKey::Port(dev, _) => match &thing.make {
                Op::FdbAdd(spec) => spec.dev.as_ref() == Some(dev),
                _ => false,
            },
            ThingKey::Entry(..) | ThingKey::Listed(..) => match (&thing.make, &step.op) {
                (Op::PeerSet { ip, .. }, Some(Op::FdbDel(del))) => del.dst == Some(*ip),
                _ => false,
            },
            ThingKey::Neigh(..) | ThingKey::Nexthop(..) | ThingKey::Peer(_) => false,
        }
    })
}

fn refuse(lost: &[ThingKey], now: &Things, steps: &[Step]) -> NoPlan {
    let built: BTreeSet<String> = lost
        .iter()
        .map(|key| write::command(&now[key].make))
        .collect();
    let first = built.first().map_or("", String::as_str);
    let more = match built.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let on = steps.iter().find(|step| carries(step, lost, now));
    let on = on.map_or_else(|| "something".to_owned(), |step| step.row.command.clone());
    NoPlan {
        at: None,
        refusal: Refusal::conflict(format!(
            "the file no longer has `{on}`, and a command has built on it: `{first}`{more}; keep the line, remove what was built on it, or lose that with: vtep apply --force"
        )),
    }
}
