//! What has to be done so that what was set becomes what a configuration file says: a plan, checked before anything is done.

use std::collections::BTreeSet;

use super::difference::Difference;
use super::thing::{Thing, ThingKey};
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

    /// The same, of a plan that is only shown.
    #[must_use]
    pub fn into_rows(self) -> Vec<PlanRow> {
        self.steps.into_iter().map(|step| step.row).collect()
    }
}

impl State {
    /// What has to be done so that what the configuration file set becomes what is set in `wanted`. What was set otherwise stays, but
    /// for what the file names too, which it takes over.
    pub(super) fn plan(
        &self,
        wanted: &Self,
        links: &dyn Links,
        built_on: BuiltOn,
    ) -> Result<Plan, NoPlan> {
        let goes = |thing: &Thing| thing.source == Source::Config;
        let mut steps = steps(self.differences(wanted), Author::CONFIG, goes);
        if steps.is_empty() {
            return Ok(Plan { steps });
        }
        loop {
            let (done, after) = self.rehearse(&steps, links)?;
            let lost = if done.iter().any(Step::may_take_away) {
                self.lost(wanted, &after)
            } else {
                Vec::new()
            };
            if lost.is_empty() {
                return Ok(Plan { steps: done });
            }
            match built_on {
                BuiltOn::Refuse => return Err(refuse(&lost, &steps)),
                BuiltOn::Take => {
                    let mut steps = done;
                    steps.extend(lost.into_iter().map(|(key, thing)| Step {
                        op: None,
                        ..removal(key, &thing, Author::CONFIG)
                    }));
                    return Ok(Plan { steps });
                }
                BuiltOn::Keep => {
                    let before = steps.len();
                    steps.retain(|step| !carries(step, &lost));
                    if steps.len() == before {
                        return Err(refuse(&lost, &steps));
                    }
                }
            }
        }
    }

    /// What has to be done so that everything that was set becomes what it was.
    pub(crate) fn way_back(&self, before: &Self) -> Plan {
        Plan {
            steps: steps(self.differences(before), Author::CONFIG, |_| true),
        }
    }

    /// What leads from `wanted` to everything that is set, whoever set it.
    pub(super) fn steps_from(&self, wanted: &Self) -> Vec<Step> {
        let mut differences = wanted.differences(self);
        differences.retain(|it| match (&it.from, &it.to) {
            (Some(wanted), Some(now)) => wanted.make != now.make,
            _ => true,
        });
        steps(differences, Author::CONFIG, |_| true)
    }

    /// What was not set by the file, and is not there any more `after` a plan, though the file does not name it either.
    fn lost(&self, wanted: &Self, after: &Self) -> Vec<(ThingKey, Thing)> {
        let gone = self.differences(after).into_iter();
        let gone = gone.filter(|it| it.to.is_none());
        let others = gone.filter_map(|it| Some((it.key, it.from?)));
        let mut lost: Vec<_> = others
            .filter(|(_, thing)| thing.source != Source::Config)
            .collect();
        if !lost.is_empty() {
            let named = wanted.things_but_entries();
            lost.retain(|(key, _)| match key {
                ThingKey::Entry(vni, mac) => !wanted.sets_entry(*vni, *mac),
                key => !named.contains_key(key),
            });
        }
        lost
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

/// What is done for each difference: additions and changes, then removals of what `goes`, the last thing first.
fn steps(differences: Vec<Difference>, author: Author, goes: impl Fn(&Thing) -> bool) -> Vec<Step> {
    let (stay, gone): (Vec<_>, Vec<_>) = differences.into_iter().partition(|it| it.to.is_some());
    let mut steps = Vec::new();
    for Difference { key, from, to } in stay {
        let Some(to) = to else { continue };
        let author = Author {
            source: to.source,
            ..author
        };
        let Some(old) = from else {
            let op = to.make.clone();
            steps.push(step(key, &to, PlanAction::Add, op, author));
            continue;
        };
        let op = change(&old.make, &to.make);
        let mut step = step(key, &to, PlanAction::Change, op, author);
        if old.make == to.make {
            // It is taken over as it is.
            step.row = PlanRow::new(PlanAction::Change, to.vni, &to.make);
        }
        steps.push(step);
    }
    for Difference { key, from, .. } in gone.into_iter().rev() {
        let Some(thing) = from else { continue };
        if goes(&thing) {
            steps.push(removal(key, &thing, author));
        }
    }
    steps
}

fn step(key: ThingKey, thing: &Thing, action: PlanAction, op: Op, author: Author) -> Step {
    Step {
        row: PlanRow::new(action, thing.vni, &op),
        op: Some(op),
        author,
        key,
    }
}

fn removal(key: ThingKey, thing: &Thing, author: Author) -> Step {
    Step {
        row: PlanRow::new(PlanAction::Remove, thing.vni, &thing.make),
        op: Some(unmake(&thing.make)),
        author,
        key,
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

/// Whether a step takes away what one of the lost things was built on.
fn carries(step: &Step, lost: &[(ThingKey, Thing)]) -> bool {
    lost.iter().any(|(_, thing)| match &step.key {
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
    })
}

fn refuse(lost: &[(ThingKey, Thing)], steps: &[Step]) -> NoPlan {
    let built: BTreeSet<String> = lost
        .iter()
        .map(|(_, thing)| write::command(&thing.make))
        .collect();
    let first = built.first().map_or("", String::as_str);
    let more = match built.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let on = steps.iter().find(|step| carries(step, lost));
    let on = on.map_or_else(|| "something".to_owned(), |step| step.row.command.clone());
    NoPlan {
        at: None,
        refusal: Refusal::conflict(format!(
            "the file no longer has `{on}`, and a command has built on it: `{first}`{more}; keep the line, remove what was built on it, or lose that with: vtep apply --force"
        )),
    }
}
