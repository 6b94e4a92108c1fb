//! Peers: made by the first FDB entry or flood list that points to them, gone with the last.

use std::net::IpAddr;

use bytemuck::Zeroable;
use vtep_common::abi::{
    addr::VtepAddr,
    id::{PeerId, SegmentId},
    peer::Peer,
};

use super::refuse;
use crate::{
    control::{
        effect::{Effect, Write},
        record::{
            address::unfit,
            author,
            limits::Limits,
            locals::Locals,
            peer::{PeerRecord, Resolution},
            peers::Peers,
        },
        state::State,
    },
    model::{PeerSpec, Refusal, Source},
};

impl State {
    /// Takes on what the daemon found out about the path to a peer. Nothing is written if nothing changed, or if there is no
    /// such peer (any more).
    pub fn resolved(&mut self, ip: IpAddr, resolution: Resolution) -> Vec<Write> {
        match self.peers.vtep(ip) {
            Some(number) => rewrite(self, number, |peer| peer.resolve(resolution)),
            None => Vec::new(),
        }
    }

    /// Takes on how many packets have gone to each of these peers and come from it in all, at the time `now` in nanoseconds.
    pub fn heard(&mut self, counted: Vec<(PeerId, u64, u64)>, now: u64) {
        for (number, sent, heard) in counted {
            self.peers
                .hear(number, |record| record.take(sent, heard, now));
        }
    }

    /// True if more than frames named a VTEP or a multicast group.
    #[must_use]
    pub fn is_named(&self, ip: IpAddr) -> bool {
        let number = self.peers.number_of(ip);
        number.is_some_and(|number| self.peers.is_named(number))
    }

    /// Takes on other local VTEP addresses; each peer is sent to from the first of its family.
    pub fn set_locals(&mut self, locals: Vec<IpAddr>) -> Vec<Write> {
        let old = self.locals.replace(locals);
        let addr = |ip: &IpAddr| VtepAddr::from(*ip);
        let mut writes = Vec::new();
        let came = self.locals().iter().filter(|ip| !old.contains(ip));
        writes.extend(came.map(|ip| Write::Local(addr(ip), true)));
        let numbers: Vec<_> = self.peers.iter().map(|(number, _)| number).collect();
        for number in numbers {
            writes.extend(rewrite(self, number, |_| ()));
        }
        let went = old.iter().filter(|ip| !self.locals().contains(ip));
        writes.extend(went.map(|ip| Write::Local(addr(ip), false)));
        writes
    }
}

/// Refuses `ip`, given with `option`, where it can be no VTEP to send to, or where there is no room for it.
pub(crate) fn check_dst(state: &State, ip: IpAddr, option: &str) -> Result<(), Refusal> {
    if let Some(what) = unfit(ip) {
        return Err(Refusal::invalid(format!(
            "{ip} is {what}; give the address of the remote VTEP with: {option}"
        )));
    }
    if state.locals.has(ip) {
        let instead = match option {
            "--dst" => "a local port with: --dev",
            _ => "the MAC of a host that is here with: --lladdr",
        };
        return Err(Refusal::invalid(format!(
            "{ip} is our own address; give the address of the remote VTEP with: {option}, or {instead}"
        )));
    }
    check_family(&state.locals, ip)?;
    check_room(&state.peers, &state.limits, ip)
}

/// Refuses if we have no address of the family of `ip`. As long as there is none at all, addresses are waited for.
pub(crate) fn check_family(locals: &Locals, ip: IpAddr) -> Result<(), Refusal> {
    if !locals.all().is_empty() && locals.towards(ip).is_none() {
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        return Err(Refusal::invalid(format!(
            "no local {family} address; start vtep with: --local <{family} address>"
        )));
    }
    Ok(())
}

/// Refuses if there is no room for a peer `ip`. As long as frames alone have named one, there is.
pub(crate) fn check_room(peers: &Peers, limits: &Limits, ip: IpAddr) -> Result<(), Refusal> {
    if peers.number_of(ip).is_none() && peers.len() >= limits.peers {
        return Err(Refusal::full(format!(
            "the peer table is full ({} VTEPs); remove one with: vtep fdb flush --vni VNI --dst VTEP",
            limits.peers
        )));
    }
    Ok(())
}

/// Number of the peer `ip`, a VTEP that [`check_dst`] has passed or a multicast group, with one more reference to it.
pub(crate) fn acquire(state: &mut State, ip: IpAddr, out: &mut Effect) -> PeerId {
    if let Some(number) = state.peers.number_of(ip) {
        if !state.peers.is_named(number) {
            // Its next hop is kept resolved from now on.
            out.resolve.push(ip);
        }
        state.peers.refer(number);
        return number;
    }
    make(state, ip, out)
}

/// Number of the peer `ip`, a VTEP that can be one, with one more reference to it: that of an entry that a frame makes.
pub(crate) fn acquire_learned(state: &mut State, ip: IpAddr, out: &mut Effect) -> PeerId {
    match state.peers.number_of(ip) {
        Some(number) => {
            state.peers.refer(number);
            number
        }
        None => make(state, ip, out),
    }
}

fn make(state: &mut State, ip: IpAddr, out: &mut Effect) -> PeerId {
    let mut peer = PeerRecord::new(ip);
    peer.refresh(state.local_for(ip), state.udp_port);
    let pod = peer.pod;
    let number = state.peers.insert(peer);
    out.write(Write::ClearPeerCounters(number));
    out.write(Write::Peer(number, Box::new(pod)));
    out.write(Write::PeerIndex(pod.addr, Some(number)));
    if ip.is_multicast() {
        out.write(Write::Group(pod.addr, true));
        out.join.push(ip);
    } else {
        out.resolve.push(ip);
    }
    number
}

/// True if an entry of this VNI that no frame made names the VTEP `ip`: a flood list, the FDB, or the nexthop table.
pub(crate) fn is_listed(state: &State, number: SegmentId, ip: IpAddr) -> bool {
    let peer = state.peers.number_of(ip);
    peer.is_some_and(|peer| state.sources.is_named(number, peer))
}

/// One reference to a peer less, which somebody made who named it.
pub(crate) fn release(peers: &mut Peers, number: PeerId, out: &mut Effect) {
    release_from(peers, number, false, out);
}

/// One reference to a peer less, by an entry that a frame made (`learned`) or otherwise.
pub(crate) fn release_from(peers: &mut Peers, number: PeerId, learned: bool, out: &mut Effect) {
    let Some(gone) = peers.release(number, learned) else {
        if !learned && !peers.is_named(number) {
            // Its next hop is kept resolved no longer.
            out.resolve.push(peers.ip(number));
        }
        return;
    };
    let (ip, addr) = (gone.ip, gone.pod.addr);
    if ip.is_multicast() {
        out.write(Write::Group(addr, false));
        out.leave.push(ip);
    } else {
        out.forget.push(ip);
    }
    out.write(Write::PeerIndex(addr, None));
    out.write(Write::Peer(number, Box::new(Peer::zeroed())));
}

pub(crate) fn set(state: &mut State, ip: IpAddr, spec: &PeerSpec) -> Result<Effect, Refusal> {
    let number = state.peers.vtep(ip).ok_or_else(|| refuse::no_peer(ip))?;
    let PeerSpec { csum6 } = *spec;
    let mut out = Effect::default();
    let Some(csum6) = csum6 else { return Ok(out) };
    if ip.is_ipv4() {
        return Err(Refusal::invalid(format!(
            "peer {ip} is reached over IPv4, where the outer checksum is always zero; --csum6 is for IPv6 peers"
        )));
    }
    let configured = author::is_configured(state.run.author.source);
    out.writes = rewrite(state, number, |peer| {
        peer.pod.set(Peer::CSUM6_OFF, !csum6);
        peer.pod.set(Peer::CONFIGURED, configured && !csum6);
    });
    Ok(out)
}

/// Who said how a peer is sent to, if anybody did.
pub(crate) fn source(peer: &PeerRecord) -> Option<Source> {
    let said = peer.pod.has(Peer::CSUM6_OFF);
    said.then(|| author::source(peer.pod.has(Peer::CONFIGURED)))
}

/// Changes a peer, and says what is to be written if that changed its record.
pub(crate) fn rewrite(
    state: &mut State,
    number: PeerId,
    change: impl FnOnce(&mut PeerRecord),
) -> Vec<Write> {
    let local = state.local_for(state.peers.ip(number));
    let changed = state.peers.change(number, (local, state.udp_port), change);
    let write = changed.map(|pod| Write::Peer(number, Box::new(pod)));
    write.into_iter().collect()
}

/// Brings what several changes in one effect ask for to what there is now.
pub(crate) fn finish(peers: &Peers, out: &mut Effect) {
    if out.forget.is_empty() {
        return;
    }
    let is = |ip: &IpAddr| peers.number_of(*ip).is_some();
    out.forget.retain(|ip| !is(ip));
    out.resolve.retain(is);
    for list in [&mut out.forget, &mut out.resolve] {
        list.sort_unstable();
        list.dedup();
    }
}
