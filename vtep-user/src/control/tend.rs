//! What is to be done so that the kernel has of bridges what VNIs ask for: each bridge has a gate to its VNI, its members are ports of
//! that, and the bridge itself neither takes frames from them nor sends them any.
//!
//! The gate is the record of what was changed: as long as there is one, members of its bridge may have been closed. So it comes first
//! and goes last, and a daemon that was killed in between leaves nothing that the next one does not find.

use std::collections::HashSet;

use vtep_common::abi::{
    addr::MacAddr,
    id::{Ifindex, PortSlot, SegmentId},
    port::Port,
};

use super::{
    record::bridges::{BridgeFacts, BridgeView, GateFacts, MemberFacts},
    state::State,
};
use crate::model::{Op, Parameters as _, PortChange, PortPart, PortSpec, Vni};

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeStep {
    /// Makes the gate between a VNI and a bridge. Its end at the bridge has the bridge's MAC, so that the bridge keeps that.
    MakeGate {
        /// The VNI.
        vni: Vni,
        /// The bridge.
        bridge: Ifindex,
        /// The MAC of the end at the bridge.
        mac: MacAddr,
        /// The MTU of both ends, in bytes.
        mtu: u32,
    },
    /// Gives both ends of a gate another MTU, in bytes.
    SetMtu(GateFacts, u32),
    /// Switches both ends of a gate on.
    SwitchOn(GateFacts),
    /// Makes, changes or removes a port.
    Port(Box<Op>),
    /// Has a bridge neither take frames from a member nor send it any.
    Close(MemberFacts),
    /// Has a bridge take frames from a member and send it some, as it does by itself.
    Open(MemberFacts),
    /// Removes a gate.
    RemoveGate(GateFacts),
}

impl BridgeStep {
    /// The interface that it makes a port of.
    fn new_port(&self) -> Option<&str> {
        match self {
            Self::Port(op) => op.new_port(),
            _ => None,
        }
    }
}

/// What is to be done, and what is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgePlan {
    /// The steps, in their order.
    pub steps: Vec<BridgeStep>,
    /// The bridges that are waited for, a clause each.
    pub waits_for: Vec<String>,
}

impl State {
    /// What is to be done where the kernel has `view`. `refused` are the names of interfaces that could not be made ports: they are left to
    /// the bridge, whose host they are reached by.
    #[must_use]
    pub fn tend(&self, view: &BridgeView, refused: &HashSet<String>) -> BridgePlan {
        let mut plan = BridgePlan::default();
        let mut wanted = HashSet::new();
        let mut kept = HashSet::new();
        for (number, name) in self.bridges.iter() {
            let vni = self.segments.vni(number);
            let bridge = match view.bridges.get(name) {
                None => Err(format!("bridge {name} of vni {vni}, which does not exist")),
                Some(facts) => match &facts.unfit {
                    Some(unfit) => Err(format!(
                        "bridge {name} of vni {vni}: {}",
                        unfit.sentence(name)
                    )),
                    None => Ok(facts),
                },
            };
            match bridge {
                Ok(bridge) => {
                    let gate = gate_of(view, vni, bridge);
                    let elsewhere = view.gates.iter().any(|gate| gate.vni == vni);
                    if gate.is_none() && elsewhere {
                        // Its last gate goes first.
                        wanted.extend(bridge.members.iter().map(|member| member.ifindex));
                        continue;
                    }
                    kept.extend(gate.map(|gate| gate.inner.0));
                    let segment = Tended {
                        state: self,
                        number,
                        bridge,
                        refused,
                    };
                    segment.tend(gate, &mut wanted, &mut plan.steps);
                }
                Err(waits) => plan.waits_for.push(waits),
            }
        }
        for gate in view
            .gates
            .iter()
            .filter(|gate| !kept.contains(&gate.inner.0))
        {
            let mut bridges = view.bridges.values();
            let bridge = bridges.find(|bridge| Some(bridge.ifindex) == gate.bridge);
            // Another gate may hold its members.
            let held = view
                .gates
                .iter()
                .any(|other| other.bridge == gate.bridge && kept.contains(&other.inner.0));
            let members = bridge.filter(|_| !held).into_iter();
            let closed = members
                .flat_map(|bridge| &bridge.members)
                .filter(|member| is_shut(member));
            plan.steps.extend(closed.cloned().map(BridgeStep::Open));
            wanted.insert(gate.outer.0);
            plan.steps.push(BridgeStep::RemoveGate(gate.clone()));
        }
        let left = self.ports.iter().filter(|(_, port)| {
            port.has(Port::BRIDGED) && !wanted.contains(&Ifindex::new(port.ifindex))
        });
        let left: Vec<PortSlot> = left.map(|(slot, _)| slot).collect();
        for slot in left {
            let dev = self.ports.device_name(slot);
            let added = plan.steps.iter().filter_map(BridgeStep::new_port);
            // One whose name is another's by now is gone, and goes when the kernel says so.
            if self.is_named_so(slot)
                && !refused.contains(dev)
                && !added.into_iter().any(|new| new == dev)
            {
                plan.steps
                    .push(BridgeStep::Port(Box::new(self.removal(slot))));
            }
        }
        plan
    }

    /// Whether the name of a port's interface is that of no other.
    fn is_named_so(&self, slot: PortSlot) -> bool {
        let named = self.ports.device_named(self.ports.device_name(slot));
        named.is_some_and(|(ifindex, _)| ifindex.get() == self.ports[slot].ifindex)
    }

    fn removal(&self, slot: PortSlot) -> Op {
        Op::PortDel {
            dev: self.ports.device_name(slot).to_owned(),
            part: PortPart {
                untagged: true,
                ..PortPart::default()
            },
        }
    }
}

/// The gate of a VNI, if it leads to its bridge.
fn gate_of<'a>(view: &'a BridgeView, vni: Vni, bridge: &BridgeFacts) -> Option<&'a GateFacts> {
    let mut gates = view.gates.iter();
    gates.find(|gate| gate.vni == vni && gate.bridge == Some(bridge.ifindex))
}

fn port_set(dev: &str, change: PortChange) -> BridgeStep {
    BridgeStep::Port(Box::new(Op::PortSet {
        dev: dev.to_owned(),
        change: Box::new(change),
    }))
}

/// A member that the bridge would open by itself, and has closed.
const fn is_shut(member: &MemberFacts) -> bool {
    member.closed && member.carrier
}

/// A segment whose bridge is there.
struct Tended<'a> {
    state: &'a State,
    number: SegmentId,
    bridge: &'a BridgeFacts,
    refused: &'a HashSet<String>,
}

impl Tended<'_> {
    fn tend(
        &self,
        gate: Option<&GateFacts>,
        wanted: &mut HashSet<Ifindex>,
        steps: &mut Vec<BridgeStep>,
    ) {
        let vni = self.state.segments.vni(self.number);
        let BridgeFacts {
            ifindex,
            mac,
            mtu,
            members,
            unfit: _,
        } = self.bridge;
        wanted.extend(members.iter().map(|member| member.ifindex));
        // The smallest of its members is what a bridge takes by itself: the gate's is not to be smaller, nor the one that decides.
        let mtu = members
            .iter()
            .map(|member| member.mtu)
            .min()
            .unwrap_or(*mtu);
        let Some(gate) = gate else {
            steps.push(BridgeStep::MakeGate {
                vni,
                bridge: *ifindex,
                mac: *mac,
                mtu,
            });
            return;
        };
        wanted.insert(gate.outer.0);
        if gate.mtu != mtu {
            steps.push(BridgeStep::SetMtu(gate.clone(), mtu));
        }
        if !gate.up {
            steps.push(BridgeStep::SwitchOn(gate.clone()));
        }
        let is_open = gate.up && self.gate_port(gate, steps);
        for member in members {
            self.member(member, is_open, steps);
        }
    }

    /// Has the gate be a port, with the bridge's own MAC behind it, so that no frame of a guest can claim that. True if it is one.
    fn gate_port(&self, gate: &GateFacts, steps: &mut Vec<BridgeStep>) -> bool {
        let (ifindex, dev) = &gate.outer;
        let mac = Some(self.bridge.mac).filter(|mac| !mac.is_zero() && !mac.is_group());
        let Some(slot) = self.port_at(*ifindex) else {
            if !self.refused.contains(dev) {
                let spec = PortSpec {
                    macs: mac.into_iter().collect(),
                    ..self.new_port(dev)
                };
                steps.push(BridgeStep::Port(Box::new(Op::PortAdd(Box::new(spec)))));
            }
            return false;
        };
        let has: Vec<MacAddr> = self.state.fdb.static_behind(slot).collect();
        if has.as_slice() != mac.as_slice() && !self.refused.contains(dev) {
            let change = PortChange {
                macs: Some(mac.into_iter().collect()),
                ..PortChange::default()
            };
            steps.push(port_set(dev, change));
        }
        true
    }

    fn member(&self, member: &MemberFacts, gate_is_open: bool, steps: &mut Vec<BridgeStep>) {
        if let Some(slot) = self.port_at(member.ifindex) {
            let port = &self.state.ports[slot];
            if port.has(Port::BRIDGED) && port.segment != self.number {
                // The bridge was in another VNI until now.
                let change = PortChange {
                    vni: Some(self.state.segments.vni(self.number)),
                    ..PortChange::default()
                };
                steps.push(port_set(&member.name, change));
            }
            // Its frames are taken before the bridge sees them; without a gate nobody would reach the host any more.
            if gate_is_open && !member.closed {
                steps.push(BridgeStep::Close(member.clone()));
            }
            return;
        }
        let comes = self.state.ports.awaited(&member.name);
        if comes.is_some_and(|(_, device)| device.port(0).is_some()) {
            // A port that was waiting for it is about to be brought to it.
            return;
        }
        if self.refused.contains(&member.name) {
            if is_shut(member) {
                steps.push(BridgeStep::Open(member.clone()));
            }
            return;
        }
        let spec = self.new_port(&member.name);
        steps.push(BridgeStep::Port(Box::new(Op::PortAdd(Box::new(spec)))));
    }

    /// The slot of the port that takes the untagged frames of an interface.
    fn port_at(&self, ifindex: Ifindex) -> Option<PortSlot> {
        self.state.ports.device(ifindex)?.port(0)
    }

    fn new_port(&self, dev: &str) -> PortSpec {
        PortSpec {
            dev: dev.to_owned(),
            vni: self.state.segments.vni(self.number),
            ..PortSpec::blank()
        }
    }
}
