//! What MTU guests may have: what the paths to the VTEPs of their VNI carry.

use vtep_common::{
    abi::{
        id::{Ifindex, PortSlot, SegmentId},
        peer::Peer,
        port::Port,
    },
    wire::ethernet,
};

use crate::control::state::State;

impl State {
    /// Advice on the MTU of an interface with ports, a sentence for each VNI whose VTEPs are reached by less.
    #[must_use]
    pub fn mtu_advice(&self, ifindex: Ifindex) -> Vec<String> {
        let device = self.ports.device(ifindex).into_iter();
        let slots = device.flat_map(|device| device.ports().map(|(_, slot)| slot));
        let advice = |slot| {
            let (port, fits) = (&self.ports[slot], advice(self, slot)?);
            let (vni, dev) = (
                self.segments.vni(port.segment),
                self.ports.device_name(slot),
            );
            Some(format!(
                "port {dev} has MTU {}, but packets of more than {fits} bytes do not reach every VTEP of vni {vni}; \
                 set the MTU of the guest to {fits}",
                port.mtu
            ))
        };
        slots.filter_map(advice).collect()
    }
}

/// The largest packet of a guest that reaches every VTEP of its VNI, where the MTU of its port is larger than that.
pub(crate) fn advice(state: &State, slot: PortSlot) -> Option<u32> {
    let port = &state.ports[slot];
    if port.has(Port::ABSENT) {
        return None;
    }
    fits(state, port.segment).filter(|&fits| fits < port.mtu)
}

/// The largest packet without a tag that reaches every VTEP of a VNI, if the path to any is known.
fn fits(state: &State, number: SegmentId) -> Option<u32> {
    let peers = state.sources.of(number).into_iter();
    let pods = peers.filter_map(|(peer, _)| state.peers.get(peer).map(|peer| &peer.pod));
    pods.filter(|pod| pod.has(Peer::RESOLVED)).map(room).min()
}

/// What the path to a peer leaves for an inner IP packet: the MTU less the outer headers but Ethernet's, and less the inner Ethernet header.
fn room(pod: &Peer) -> u32 {
    debug_assert!(pod.template_len as usize > ethernet::LEN);
    pod.mtu.saturating_sub(pod.template_len)
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use vtep_common::abi::outer_template::{LEN_V4, LEN_V6};

    use super::*;

    #[test]
    fn what_is_left_is_the_mtu_less_50_or_70_bytes() {
        for (template, want) in [(LEN_V4, 1450), (LEN_V6, 1430)] {
            let mut pod = Peer::zeroed();
            pod.mtu = 1500;
            pod.template_len = u32::try_from(template).unwrap();
            assert_eq!(room(&pod), want);
        }
    }
}
