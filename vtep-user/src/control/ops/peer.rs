//! Peers: made by the first FDB entry or flood list that points to them, gone with the last.

use std::net::{IpAddr, Ipv4Addr};

use bytemuck::Zeroable;
use vtep_common::{
    addr::{MacAddr, VtepAddr},
    maps, template,
};

use crate::control::{Effect, State, Write, ops::refuse, state::distinct};
use crate::model::{PeerSpec, PeerState, Refusal};

/// How packets to a peer leave this host, or why they do not: what the daemon found out by netlink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Everything that the outer header needs is known.
    Resolved {
        /// The interface that they leave by.
        oif: u32,
        /// Its name.
        dev: String,
        /// Its MAC.
        src_mac: MacAddr,
        /// The next hop's MAC.
        dst_mac: MacAddr,
        /// Largest IP packet on the way, in bytes.
        mtu: u32,
        /// The gateway, if the peer is not on the link.
        via: Option<IpAddr>,
        /// XDP can redirect to the interface without a frame being lost silently.
        xdp_target: bool,
    },
    /// There is a route, and the next hop's MAC is being asked for.
    Pending {
        /// The interface that they would leave by.
        dev: String,
        /// The gateway, if the peer is not on the link.
        via: Option<IpAddr>,
    },
    /// There is no way to the peer.
    NoRoute,
    /// The interface of the route is down.
    LinkDown {
        /// Its name.
        dev: String,
    },
}

/// A remote VTEP.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) ip: IpAddr,
    /// As it stands in the map.
    pub(crate) pod: maps::Peer,
    /// FDB entries and flood lists that point to it.
    pub(crate) refs: u32,
    /// The interface towards it.
    pub(crate) dev: Option<String>,
    /// The gateway towards it.
    pub(crate) via: Option<IpAddr>,
    /// Whether packets can be sent to it.
    pub(crate) state: PeerState,
}

impl Peer {
    fn new(ip: IpAddr) -> Self {
        let mut pod = maps::Peer::zeroed();
        pod.addr = VtepAddr::from(ip);
        pod.flags = maps::Peer::IN_USE;
        if ip.is_multicast() {
            pod.flags |= maps::Peer::MULTICAST;
        }
        Self {
            ip,
            pod,
            refs: 0,
            dev: None,
            via: None,
            state: PeerState::Resolving,
        }
    }

    /// Takes on what is known about the way.
    fn resolve(&mut self, resolution: Resolution) {
        let (dev, via, state) = match resolution {
            Resolution::Resolved {
                oif,
                dev,
                src_mac,
                dst_mac,
                mtu,
                via,
                xdp_target,
            } => {
                self.pod.flags &= !maps::Peer::XDP_TARGET;
                self.pod.flags |= maps::Peer::RESOLVED;
                if xdp_target {
                    self.pod.flags |= maps::Peer::XDP_TARGET;
                }
                self.pod.ifindex = oif;
                self.pod.mtu = mtu;
                let bytes = bytemuck::bytes_of_mut(&mut self.pod.template);
                bytes[..6].copy_from_slice(&dst_mac.bytes());
                bytes[6..12].copy_from_slice(&src_mac.bytes());
                (Some(dev), via, PeerState::Resolved)
            }
            Resolution::Pending { dev, via } => (Some(dev), via, PeerState::Resolving),
            Resolution::NoRoute => (None, None, PeerState::Unreachable),
            Resolution::LinkDown { dev } => (Some(dev), None, PeerState::Unreachable),
        };
        self.pod.flags &= !maps::Peer::UNREACHABLE;
        match state {
            PeerState::Resolved => {}
            PeerState::Resolving => self.pod.flags &= !maps::Peer::RESOLVED,
            PeerState::Unreachable => {
                self.pod.flags &= !maps::Peer::RESOLVED;
                self.pod.flags |= maps::Peer::UNREACHABLE;
            }
        }
        (self.dev, self.via, self.state) = (dev, via, state);
    }

    /// True if it is no VTEP but a multicast group.
    pub(crate) fn is_group(&self) -> bool {
        self.pod.has(maps::Peer::MULTICAST)
    }

    /// Brings the record in line with itself: family, checksum, local address and, where resolved, the outer headers.
    /// Without a local address of its family a peer is not resolved. A group is sent to by the kernel: over IPv4 the route to
    /// it says from which address.
    pub(crate) fn refresh(&mut self, local: Option<IpAddr>, udp_port: u16) {
        let macs = self.macs();
        let pod = &mut self.pod;
        let v6 = self.ip.is_ipv6();
        let checksum = v6 && !pod.has(maps::Peer::CSUM6_OFF);
        pod.flags &= !(maps::Peer::IPV6 | maps::Peer::CHECKSUM);
        pod.flags |= if v6 { maps::Peer::IPV6 } else { 0 };
        pod.flags |= if checksum { maps::Peer::CHECKSUM } else { 0 };
        let mut local = local;
        if pod.has(maps::Peer::MULTICAST) {
            pod.flags &= !(maps::Peer::RESOLVED | maps::Peer::UNREACHABLE);
            pod.mtu = 0;
            if !v6 {
                local = Some(Ipv4Addr::UNSPECIFIED.into());
            }
        } else if local.is_none() {
            pod.flags &= !maps::Peer::RESOLVED;
            pod.flags |= maps::Peer::UNREACHABLE;
            self.state = PeerState::Unreachable;
        }
        pod.local = local.map_or_else(VtepAddr::zeroed, VtepAddr::from);
        let template_len = if v6 {
            template::LEN_V6
        } else {
            template::LEN_V4
        };
        pod.template_len = u32::try_from(template_len).expect("far below 2^32");
        if pod.has(maps::Peer::RESOLVED) {
            pod.template = template::build(macs, pod.local, pod.addr, udp_port);
        }
    }

    /// The MACs of the next hop and of the interface towards it.
    pub(crate) fn macs(&self) -> (MacAddr, MacAddr) {
        let template = bytemuck::bytes_of(&self.pod.template);
        let mac = |at: usize| {
            let mut bytes = [0; 6];
            bytes.copy_from_slice(&template[at..at + 6]);
            MacAddr::from_bytes(bytes)
        };
        (mac(0), mac(6))
    }
}

impl State {
    /// Every VTEP, for a daemon that has just started to resolve.
    pub fn peer_ips(&self) -> impl Iterator<Item = IpAddr> {
        let peers = self.peers.iter().map(|(_, peer)| peer);
        peers.filter(|peer| !peer.is_group()).map(|peer| peer.ip)
    }

    /// Every multicast group that VNIs flood to, for a daemon that has just started to join them.
    pub fn groups(&self) -> impl Iterator<Item = IpAddr> {
        let peers = self.peers.iter().map(|(_, peer)| peer);
        peers.filter(|peer| peer.is_group()).map(|peer| peer.ip)
    }

    /// Number of the VTEP `ip`.
    pub(crate) fn vtep(&self, ip: IpAddr) -> Option<u32> {
        let number = self.peer_index.get(&ip).copied();
        number.filter(|&number| !self.peers[number].is_group())
    }

    /// Refuses `ip`, given with `option`, where it can be no VTEP to send to, or where there is no room for it.
    pub(crate) fn check_dst(&self, ip: IpAddr, option: &str) -> Result<(), Refusal> {
        if let Some(what) = unfit(ip) {
            return Err(Refusal::invalid(format!(
                "{ip} is {what}; give the address of the remote VTEP with: {option}"
            )));
        }
        if self.is_own(ip) {
            let instead = match option {
                "--dst" => "a local port with: --dev",
                _ => "the MAC of a host that is here with: --lladdr",
            };
            return Err(Refusal::invalid(format!(
                "{ip} is our own address; give the address of the remote VTEP with: {option}, or {instead}"
            )));
        }
        self.check_family(ip)?;
        self.check_peer_room(ip)
    }

    /// Refuses if we have no address of the family of `ip`.
    pub(crate) fn check_family(&self, ip: IpAddr) -> Result<(), Refusal> {
        if self.local_for(ip).is_none() {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(Refusal::invalid(format!(
                "no local {family} address; start vtep with: --local <{family} address>"
            )));
        }
        Ok(())
    }

    /// Refuses if there is no room for a peer `ip`.
    pub(crate) fn check_peer_room(&self, ip: IpAddr) -> Result<(), Refusal> {
        if !self.peer_index.contains_key(&ip) && self.peers.len() >= self.limits.peers {
            return Err(Refusal::full(format!(
                "the peer table is full ({} VTEPs); remove one with: vtep fdb flush --vni VNI --dst VTEP",
                self.limits.peers
            )));
        }
        Ok(())
    }

    /// Number of the peer `ip`, a VTEP that [`State::check_dst`] has passed or a multicast group, with one more reference to it.
    pub(crate) fn acquire_peer(&mut self, ip: IpAddr, out: &mut Effect) -> u32 {
        if let Some(&number) = self.peer_index.get(&ip) {
            self.peers[number].refs += 1;
            return number;
        }
        let mut peer = Peer::new(ip);
        peer.refs = 1;
        peer.refresh(self.local_for(ip), self.udp_port);
        let pod = peer.pod;
        let number = self.peers.insert(peer);
        self.peer_index.insert(ip, number);
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

    /// One reference to a peer less.
    pub(crate) fn release_peer(&mut self, number: u32, out: &mut Effect) {
        let peer = &mut self.peers[number];
        peer.refs -= 1;
        if peer.refs > 0 {
            return;
        }
        let (ip, addr) = (peer.ip, peer.pod.addr);
        self.peers.remove(number);
        self.peer_index.remove(&ip);
        if ip.is_multicast() {
            out.write(Write::Group(addr, false));
            out.leave.push(ip);
        } else {
            out.forget.push(ip);
        }
        out.write(Write::PeerIndex(addr, None));
        out.write(Write::Peer(number, Box::new(maps::Peer::zeroed())));
    }

    pub(crate) fn peer_set(&mut self, ip: IpAddr, spec: &PeerSpec) -> Result<Effect, Refusal> {
        let number = self.vtep(ip).ok_or_else(|| refuse::no_peer(ip))?;
        let PeerSpec { csum6 } = *spec;
        let mut out = Effect::default();
        let Some(csum6) = csum6 else { return Ok(out) };
        if ip.is_ipv4() {
            return Err(Refusal::invalid(format!(
                "peer {ip} is reached over IPv4, where the outer checksum is always zero; --csum6 is for IPv6 peers"
            )));
        }
        out.writes = self.rewrite_peer(number, |peer| {
            if csum6 {
                peer.pod.flags &= !maps::Peer::CSUM6_OFF;
            } else {
                peer.pod.flags |= maps::Peer::CSUM6_OFF;
            }
        });
        Ok(out)
    }

    /// Changes a peer, and says what is to be written if that changed its record.
    pub(crate) fn rewrite_peer(
        &mut self,
        number: u32,
        change: impl FnOnce(&mut Peer),
    ) -> Vec<Write> {
        let local = self.local_for(self.peers[number].ip);
        let peer = &mut self.peers[number];
        let old = peer.pod;
        change(peer);
        peer.refresh(local, self.udp_port);
        if peer.pod == old {
            Vec::new()
        } else {
            vec![Write::Peer(number, Box::new(peer.pod))]
        }
    }

    /// Takes on what the daemon found out about the way to a peer. Nothing is written if nothing changed, or if there is no
    /// such peer (any more).
    pub fn resolved(&mut self, ip: IpAddr, resolution: Resolution) -> Vec<Write> {
        match self.vtep(ip) {
            Some(number) => self.rewrite_peer(number, |peer| peer.resolve(resolution)),
            None => Vec::new(),
        }
    }

    /// An address of this host, whether or not it is sent from.
    pub(crate) fn is_own(&self, ip: IpAddr) -> bool {
        self.locals.contains(&ip) || self.own.contains(&ip)
    }

    /// Takes on what addresses this host has.
    pub fn set_own_addresses(&mut self, own: Vec<IpAddr>) {
        self.own = own;
    }

    /// Takes on other local VTEP addresses; each peer is sent to from the first of its family.
    pub fn set_locals(&mut self, locals: Vec<IpAddr>) -> Vec<Write> {
        let locals = distinct(locals);
        let old = std::mem::replace(&mut self.locals, locals);
        let addr = |ip: &IpAddr| VtepAddr::from(*ip);
        let mut writes = Vec::new();
        let came = self.locals.iter().filter(|ip| !old.contains(ip));
        writes.extend(came.map(|ip| Write::Local(addr(ip), true)));
        let numbers: Vec<_> = self.peers.iter().map(|(number, _)| number).collect();
        for number in numbers {
            writes.extend(self.rewrite_peer(number, |_| ()));
        }
        let went = old.iter().filter(|ip| !self.locals.contains(ip));
        writes.extend(went.map(|ip| Write::Local(addr(ip), false)));
        writes
    }
}

/// What `ip` is, if it can be no VTEP's address.
#[must_use]
pub fn unfit(ip: IpAddr) -> Option<String> {
    let what = match ip {
        _ if ip.is_unspecified() => "the unspecified address",
        _ if ip.is_multicast() => "a multicast address",
        _ if ip.is_loopback() => "a loopback address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => return Some(format!("an IPv4-mapped IPv6 address ({v4})")),
            None if v6.is_unicast_link_local() => "a link-local address, which no route reaches",
            None => return None,
        },
        IpAddr::V4(_) => return None,
    };
    Some(what.to_owned())
}
