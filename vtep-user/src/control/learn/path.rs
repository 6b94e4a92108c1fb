//! The MTUs of paths, as the underlay tells of them by ICMP: what is believed, and for how long.
//!
//! Anybody can send such a message. One is believed if it quotes a packet that we could have sent to a peer, and comes by the interface
//! by which we would send it. What it can do is bounded: no MTU falls below what every link carries, and all is forgotten in time.

use std::net::IpAddr;

use vtep_common::{
    abi::{
        id::{Ifindex, PeerId},
        peer::Peer,
        segment::Segment,
    },
    frame::path_report::PathReport,
};

use crate::{
    control::{
        effect::{Effect, Write},
        ops::peer,
        record::{peer::PathMtu, queue, segments::Segments, stamps::Stamps},
        state::State,
    },
    model::Vni,
};

/// How long a smaller MTU is believed, in seconds (RFC 1191 section 6.3, RFC 8201 section 4).
const BELIEVED_S: u32 = 600;
/// What is believed at least: every IPv6 link carries so much (RFC 8200 section 5).
const LEAST_V6: u32 = 1280;
/// Over IPv4, every host takes so much (RFC 791 section 3.1).
const LEAST_V4: u32 = 576;

impl State {
    /// Takes in what a message from the underlay, which came by an interface, says of the path to a peer. Returns what is to be written, and
    /// the peer and its MTU if that is smaller than before.
    pub fn path_report(
        &mut self,
        report: &PathReport,
        came_by: Ifindex,
        clock: &dyn Stamps,
    ) -> (Vec<Write>, Option<(IpAddr, u32)>) {
        self.run.now = clock.now().max(self.run.now);
        let Some((number, mtu)) = believed(self, report, came_by) else {
            return (Vec::new(), None);
        };
        let until = queue::after(self.run.now, BELIEVED_S);
        let before = self.peers[number].pod.mtu;
        let writes = peer::rewrite(self, number, |peer| {
            peer.path.learned = Some(PathMtu { mtu, until });
        });
        self.run.paths.push(until, number);
        if self.run.paths.is_stale(self.peers.len() as usize) {
            let peers = &self.peers;
            self.run.paths.retain(|at, number| {
                is_due(peers.get(*number).and_then(|peer| peer.path.learned), at)
            });
        }
        let smaller = mtu < before;
        (writes, smaller.then(|| (self.peers.ip(number), mtu)))
    }
}

/// The peer that a message is about, and the MTU that it is believed to have, if it is.
fn believed(state: &State, report: &PathReport, came_by: Ifindex) -> Option<(PeerId, u32)> {
    if report.udp_port != state.udp_port || !is_ours(&state.segments, report) {
        return None;
    }
    let number = state.peers.vtep(report.remote.into())?;
    let pod = &state.peers[number].pod;
    let sent = pod.has(Peer::RESOLVED)
        && pod.local == report.local
        && Ifindex::new(pod.ifindex) == came_by;
    let least = if pod.has(Peer::IPV6) {
        LEAST_V6
    } else {
        LEAST_V4
    };
    // Some old routers do not say which.
    let says = report.mtu != 0;
    let mtu = report.mtu.max(least);
    // No message makes it larger. One that says the same once more is believed for longer.
    (sent && says && mtu <= pod.mtu && mtu < state.peers[number].path.route_mtu)
        .then_some((number, mtu))
}

/// True if a VNI sends packets as the one that a message quotes.
fn is_ours(segments: &Segments, report: &PathReport) -> bool {
    let sends = |segment: &Segment| {
        let (min, max) = (segment.source_port_min, segment.source_port_max);
        // The slow-path device takes 65534 for 65535, and for 1 any port (see `limits.md`).
        (min.min(u16::MAX - 1)..=max).contains(&report.source_port) || min == 1
    };
    match report.vni {
        Some(vni) => Vni::new(vni)
            .and_then(|vni| segments.number_of(vni))
            .is_some_and(|number| sends(&segments[number])),
        None => segments.iter().any(|(_, segment)| sends(segment)),
    }
}

/// True if what is believed ends at this second.
fn is_due(path: Option<PathMtu>, at: u32) -> bool {
    path.is_some_and(|path| path.until == at)
}

/// Forgets what was learned of a path whose time has come, unless that is out of date.
pub(super) fn age(state: &mut State, at: u32, number: PeerId, out: &mut Effect) {
    let Some(peer) = state.peers.get(number) else {
        return;
    };
    if !is_due(peer.path.learned, at) {
        return;
    }
    let writes = peer::rewrite(state, number, |peer| peer.path.learned = None);
    out.writes.extend(writes);
}
