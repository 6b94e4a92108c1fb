//! A remote VTEP, or a multicast group that is sent to as to one.

use std::net::{IpAddr, Ipv4Addr};

use bytemuck::Zeroable;
use vtep_common::{
    abi::{
        addr::{MacAddr, VtepAddr},
        id::Ifindex,
        outer_template,
        peer::Peer,
    },
    frame::template,
};

use super::{heard::Heard, ignored::Ignored};
use crate::model::PeerState;

/// How packets to a peer leave this host, or why they do not: what the daemon found out by netlink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Everything that the outer header needs is known.
    Resolved {
        /// The interface that they leave by.
        oif: Ifindex,
        /// Its name.
        dev: String,
        /// Its MAC.
        src_mac: MacAddr,
        /// The next hop's MAC.
        dst_mac: MacAddr,
        /// Largest IP packet on the path, in bytes.
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
    /// There is no path to the peer.
    NoRoute,
    /// The interface of the route is down.
    LinkDown {
        /// Its name.
        dev: String,
    },
}

/// A remote VTEP.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PeerRecord {
    /// Its address.
    pub(crate) ip: IpAddr,
    /// As it stands in the map.
    pub(crate) pod: Peer,
    /// The interface towards it.
    pub(crate) dev: Option<String>,
    /// The gateway towards it.
    pub(crate) via: Option<IpAddr>,
    /// Whether packets can be sent to it.
    pub(crate) state: PeerState,
    /// What the MTU of the path to it comes of. Of this the map has what it comes to.
    pub(crate) path: Ignored<Path>,
    /// When it was last heard.
    pub(crate) heard: Ignored<Heard>,
}

/// What the MTU of a path comes of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path {
    /// The MTU of the route.
    pub(crate) route_mtu: u32,
    /// What the underlay says of the path.
    pub(crate) learned: Option<PathMtu>,
}

impl Path {
    /// Largest IP packet, in bytes.
    fn mtu(&self) -> u32 {
        let learned = self.learned.map_or(u32::MAX, |learned| learned.mtu);
        self.route_mtu.min(learned)
    }
}

/// An MTU that is smaller than that of the route, and for how long that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathMtu {
    /// Largest IP packet, in bytes.
    pub(crate) mtu: u32,
    /// The second of `CLOCK_MONOTONIC` from which on it is not believed any more.
    pub(crate) until: u32,
}

impl PeerRecord {
    pub(crate) fn new(ip: IpAddr) -> Self {
        let mut pod = Peer::zeroed();
        pod.addr = VtepAddr::from(ip);
        pod.flags = Peer::IN_USE;
        pod.set(Peer::MULTICAST, ip.is_multicast());
        Self {
            ip,
            pod,
            dev: None,
            via: None,
            state: PeerState::Resolving,
            path: Ignored::default(),
            heard: Ignored(Heard::nothing()),
        }
    }

    /// Takes on what is known about the path.
    pub(crate) fn resolve(&mut self, resolution: Resolution) {
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
                self.pod.set(Peer::XDP_TARGET, xdp_target);
                self.pod.ifindex = oif.get();
                self.path.route_mtu = mtu;
                let bytes = bytemuck::bytes_of_mut(&mut self.pod.template);
                bytes[..6].copy_from_slice(&dst_mac.bytes());
                bytes[6..12].copy_from_slice(&src_mac.bytes());
                (Some(dev), via, PeerState::Resolved)
            }
            Resolution::Pending { dev, via } => (Some(dev), via, PeerState::Resolving),
            Resolution::NoRoute => (None, None, PeerState::Unreachable),
            Resolution::LinkDown { dev } => (Some(dev), None, PeerState::Unreachable),
        };
        let (resolved, unreachable) = (PeerState::Resolved, PeerState::Unreachable);
        self.pod.set(Peer::RESOLVED, state == resolved);
        self.pod.set(Peer::UNREACHABLE, state == unreachable);
        (self.dev, self.via, self.state) = (dev, via, state);
    }

    /// True if it is no VTEP but a multicast group.
    pub(crate) fn is_group(&self) -> bool {
        self.pod.has(Peer::MULTICAST)
    }

    /// Brings the record in line with itself: family, checksum, local address and, where resolved, the outer headers.
    /// Without a local address of its family a peer is not resolved. A group is sent to by the kernel: over IPv4 the route to
    /// it says from which address.
    pub(crate) fn refresh(&mut self, local: Option<IpAddr>, udp_port: u16) {
        let macs = self.macs();
        let pod = &mut self.pod;
        let v6 = self.ip.is_ipv6();
        let checksum = v6 && !pod.has(Peer::CSUM6_OFF);
        pod.set(Peer::IPV6, v6);
        pod.set(Peer::CHECKSUM, checksum);
        let mut local = local;
        if pod.has(Peer::MULTICAST) {
            let path = Peer::RESOLVED | Peer::UNREACHABLE;
            pod.set(path, false);
            pod.mtu = 0;
            if !v6 {
                local = Some(Ipv4Addr::UNSPECIFIED.into());
            }
        } else if local.is_none() {
            pod.set(Peer::RESOLVED, false);
            pod.set(Peer::UNREACHABLE, true);
            self.state = PeerState::Unreachable;
        }
        pod.local = local.map_or_else(VtepAddr::zeroed, VtepAddr::from);
        let template_len = if v6 {
            outer_template::LEN_V6
        } else {
            outer_template::LEN_V4
        };
        if pod.has(Peer::RESOLVED) {
            pod.mtu = self.path.mtu();
        }
        pod.template_len = u32::try_from(template_len).expect("far below 2^32");
        if pod.has(Peer::RESOLVED) {
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
