//! The bridge of a VNI, as a user names it, and what its members and its gate may be asked.

use vtep_common::abi::{
    id::{Ifindex, PortSlot, SegmentId},
    port::{Port, PortName},
};

use super::{absent, refuse};
use crate::{
    control::{
        effect::{Effect, Write},
        record::{bridges::Unfit, facts::ReservedFor},
        state::State,
    },
    model::{
        Refusal, Source, VniSpec,
        settings::vni::{NO_BRIDGE, check_bridge},
    },
};

/// The bridge that a VNI is to have which had `old`.
pub(crate) fn asked(spec: &VniSpec, old: Option<PortName>) -> Result<Option<PortName>, Refusal> {
    match spec.bridge.as_deref() {
        None => Ok(old),
        Some(NO_BRIDGE) => Ok(None),
        Some(name) => {
            check_bridge(name)?;
            Ok(Some(PortName::new(name)))
        }
    }
}

/// Refuses a bridge that cannot be that of a segment. The configuration file and the daemon wait until it can.
pub(crate) fn check(
    state: &State,
    number: Option<SegmentId>,
    bridge: Option<PortName>,
) -> Result<(), Refusal> {
    let Some(name) = bridge else { return Ok(()) };
    let other = state.bridges.segment_of(name);
    if let Some(other) = other.filter(|other| number != Some(*other)) {
        let (name, vni) = (name.as_str(), state.segments.vni(other));
        return Err(Refusal::conflict(format!(
            "bridge {name} is in vni {vni}, and a bridge is in one; take it away there first with: vtep vni set {vni} --bridge none"
        )));
    }
    let had = number.and_then(|number| state.bridges.of(number));
    if state.run.author.source == Source::Cli
        && had != bridge
        && let Some(unfit) = state.run.unfit.get(name.as_str())
    {
        return Err(Refusal::conflict(unfit.sentence(name.as_str())));
    }
    Ok(())
}

/// Sets the bridge of a segment. What the kernel has for it is put right afterwards ([`tend`](crate::control::tend)).
pub(crate) fn set(
    state: &mut State,
    number: SegmentId,
    bridge: Option<PortName>,
    out: &mut Effect,
) {
    if state.bridges.set(number, bridge) {
        out.write(Write::Bridge(number, bridge));
    }
}

/// Forgets what was learned behind the gate of a segment, where a member was until it became a port: a guest that is silent would not be found
/// any more.
pub(crate) fn forget_behind_gate(state: &mut State, number: SegmentId, out: &mut Effect) {
    let gates: Vec<PortSlot> = state
        .ports
        .of_segment(number)
        .filter(|&slot| is_gate(state, slot))
        .collect();
    for slot in gates {
        absent::forget_learned(state, slot, out);
    }
}

/// Whether a port is the gate to a bridge.
pub(crate) fn is_gate(state: &State, slot: PortSlot) -> bool {
    let ifindex = Ifindex::new(state.ports[slot].ifindex);
    state.reserved.get(&ifindex) == Some(&ReservedFor::Gate)
}

/// Refuses what anybody but the daemon asks of a gate.
pub(crate) fn check_no_gate(state: &State, ifindex: Ifindex, dev: &str) -> Result<(), Refusal> {
    let is_gate = state.reserved.get(&ifindex) == Some(&ReservedFor::Gate);
    if is_gate && state.run.author.source != Source::Bridge {
        return Err(refuse::gate(dev));
    }
    Ok(())
}

/// Refuses to take ports away that are there for a bridge.
pub(crate) fn check_no_member(state: &State, dev: &str, slots: &[PortSlot]) -> Result<(), Refusal> {
    let mut ports = slots.iter().map(|&slot| &state.ports[slot]);
    let Some(port) = ports.find(|port| port.has(Port::BRIDGED)) else {
        return Ok(());
    };
    if state.run.author.source == Source::Bridge {
        return Ok(());
    }
    let vni = state.segments.vni(port.segment);
    let bridge = state.bridges.of(port.segment).unwrap_or_default();
    Err(Refusal::conflict(format!(
        "{dev} is a port of vni {vni} because it is a member of bridge {}; take it out of that with: ip link set {dev} nomaster",
        bridge.as_str()
    )))
}

/// Refuses an entry that would name a port which is there for a bridge, and may go at any time.
pub(crate) fn check_nameable(state: &State, dev: &str, slot: PortSlot) -> Result<(), Refusal> {
    let port = &state.ports[slot];
    if !port.has(Port::BRIDGED) {
        return Ok(());
    }
    check_no_gate(state, Ifindex::new(port.ifindex), dev)?;
    let vni = state.segments.vni(port.segment);
    Err(Refusal::conflict(format!(
        "{dev} is a port only as long as it is a member of its bridge; make it one that stays, with its MACs: vtep port add {dev} --vni {vni} --mac MAC"
    )))
}

impl State {
    /// Says which interfaces cannot be the bridge of a VNI, by name.
    pub fn set_unfit(&mut self, unfit: impl IntoIterator<Item = (String, Unfit)>) {
        self.run.unfit = unfit.into_iter().collect();
    }

    /// Whether any VNI has a bridge, or had one until now.
    #[must_use]
    pub fn has_bridges(&self) -> bool {
        let mut ports = self.ports.iter();
        self.bridges.iter().next().is_some() || ports.any(|(_, port)| port.has(Port::BRIDGED))
    }
}
