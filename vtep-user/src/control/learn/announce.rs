//! Announcing to the other VTEPs that a MAC is here, so that they need not wait for its frames.

use vtep_common::abi::{addr::MacAddr, id::PortSlot, port::Port, segment::Segment};

use crate::control::{
    effect::{Announce, Effect},
    record::queue::SECOND,
    state::State,
};

/// Learned MACs that are announced for one port in a second, at most: a guest could make up any number.
const MAX_ANNOUNCED: u32 = 256;

/// Announces a MAC that was learned at the port `slot`, unless there have been many lately.
pub(crate) fn learned(state: &mut State, slot: PortSlot, mac: MacAddr, out: &mut Effect) {
    let second = state.run.now / SECOND;
    let announced = state.run.announced.entry(slot).or_default();
    if announced.0 != second {
        *announced = (second, 0);
    }
    if announced.1 < MAX_ANNOUNCED {
        announced.1 += 1;
        announce_at(state, slot, mac, true, out);
    }
}

/// Announces a MAC that the operator put at the port `slot`.
pub(crate) fn announce(state: &State, slot: PortSlot, mac: MacAddr, out: &mut Effect) {
    announce_at(state, slot, mac, false, out);
}

/// Announces a MAC that came to the port `slot`, with the hosts that are known to be at it.
fn announce_at(state: &State, slot: PortSlot, mac: MacAddr, learned: bool, out: &mut Effect) {
    let port = &state.ports[slot];
    if port.has(Port::ABSENT) {
        return;
    }
    let number = port.segment;
    let targets = || state.flood.targets(number).map(|peer| state.peers.ip(peer));
    if state.segments[number].has(Segment::FLOODS) && targets().next().is_some() {
        out.announce.push(Announce {
            port: slot,
            learned,
            vni: state.segments.vni(number),
            mac,
            hosts: state.hosts.at(number, mac),
            to: targets().collect(),
        });
    }
}
