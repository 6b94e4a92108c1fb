//! What a decision looked up, and what the tables said, in words.

use std::net::IpAddr;

use vtep_common::{
    abi::{
        addr::{MacAddr, VtepAddr},
        address::Address,
        fdb::{FdbKey, FdbTarget},
        flood::FloodList,
        hash_table::number,
        id::{Ifindex, ListId, PeerId, PortSlot, SegmentId},
        neigh::NeighKey,
        nexthop::NexthopValue,
        origin::Origin,
        peer::Peer,
        policer::Policed,
        port::{Port, PortKey},
        segment::Segment,
    },
    frame::vlan::ShownVlan,
    runtime::tables::Tables as _,
    sim::{HostTables, asked::Asked},
};

use crate::{
    control::{ops::refuse, state::State},
    model::{TraceStep, VlanId},
};

/// What a row says, and whom it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) step: TraceStep,
    pub(super) text: String,
    pub(super) target: Option<FdbTarget>,
}

impl Said {
    pub(super) fn new(step: TraceStep, text: impl Into<String>) -> Self {
        Self {
            step,
            text: text.into(),
            target: None,
        }
    }

    /// The same, about a VTEP, a port or a list.
    fn about(self, target: Option<FdbTarget>) -> Self {
        Self { target, ..self }
    }
}

/// What gives names and words: the state, and the tables that were looked into.
pub(super) struct Words<'a> {
    pub(super) state: &'a State,
    pub(super) tables: &'a HostTables,
}

/// What is known of the frame whose look-ups these are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looked<'a> {
    /// The source MAC of the frame.
    pub(super) source: Option<MacAddr>,
    /// What was taken out of rates.
    pub(super) taken: &'a [(PortSlot, Policed, u32)],
    /// The sender is told that the frame is too big.
    pub(super) answered: bool,
}

impl Words<'_> {
    /// A row for each look-up that says something. What was looked up where a port or a VNI turned out not to be there, means nothing.
    pub(super) fn of_asked(&self, asked: &[Asked], looked: &Looked<'_>) -> Vec<Said> {
        let mut is_there = true;
        let mut said = Vec::new();
        for asked in asked {
            let row = match *asked {
                Asked::PortAt(key) => {
                    is_there = number(self.tables.port_word(&key)).is_some();
                    (!is_there).then(|| self.no_port(key))
                }
                Asked::Vni(vni) => {
                    is_there = number(self.tables.vni_word(vni)).is_some();
                    let text = format!("vni {vni} does not exist here");
                    (!is_there).then(|| Said::new(TraceStep::Segment, text))
                }
                Asked::Port(_) | Asked::Fdb(_) if !is_there => None,
                Asked::Port(slot) => Some(self.port(slot)),
                Asked::Fdb(key) => Some(self.fdb(key, looked)),
                Asked::Segment(id) => Some(self.segment(id)),
                Asked::Policer(slot, what) => Some(self.policer(slot, what, looked)),
                Asked::Answers(slot) => Some(self.answers(slot, looked)),
                Asked::Mapped(ifindex, vlan) => Some(self.mapped(ifindex, vlan)),
                Asked::Owns(slot, host) => Some(self.owns(slot, host)),
                Asked::Address(addr) => Some(self.address(addr)),
                Asked::Listed(id, peer) => Some(self.listed(id, peer)),
                Asked::Uplink(word) => {
                    let takes = verb(self.tables.is_uplink(word), "takes", "does not take");
                    let text = format!("the host {takes} packets to {} here", word.parts().1);
                    Some(Said::new(TraceStep::Address, text))
                }
                Asked::Peer(peer) => Some(self.peer(peer)),
                Asked::FloodList(list) => Some(self.list(list)),
                Asked::Neigh(key) => Some(self.neigh(key)),
                Asked::Nexthop(id, host) => Some(self.nexthop(id, host)),
            };
            said.extend(row);
        }
        said
    }

    /// The name of an interface that has ports.
    fn interface(&self, ifindex: u32) -> String {
        let device = self.state.ports.device(Ifindex::new(ifindex));
        device.map_or_else(
            || format!("interface {ifindex}"),
            |device| device.name.clone(),
        )
    }

    /// `port tap0`, or `port tap0 vlan 10`.
    pub(super) fn port_name(&self, slot: PortSlot) -> String {
        match self.state.port_name(slot) {
            Some((dev, vlan)) => refuse::port_name(dev, vlan),
            None => format!("in slot {slot}"),
        }
    }

    /// The address of a peer.
    pub(super) fn vtep(&self, peer: PeerId) -> Option<IpAddr> {
        self.tables.peer(peer).map(|peer| peer.addr.into())
    }

    fn vtep_name(&self, peer: PeerId) -> String {
        let ip = self.vtep(peer);
        ip.map_or_else(|| format!("number {peer}"), |ip| ip.to_string())
    }

    /// `vni 100`.
    pub(super) fn vni(&self, id: SegmentId) -> String {
        match self.tables.segment(id) {
            Some(segment) => format!("vni {}", segment.vni),
            None => format!("segment {id}"),
        }
    }

    /// Where something is: `behind VTEP 192.0.2.2`, or `at port tap0`.
    pub(super) fn place(&self, target: FdbTarget) -> String {
        match target {
            FdbTarget::Peer(peer) => format!("behind VTEP {}", self.vtep_name(peer)),
            FdbTarget::Port(slot) => format!("at port {}", self.port_name(slot)),
            FdbTarget::List(_) => "on a list of its own".to_owned(),
        }
    }

    fn no_port(&self, key: PortKey) -> Said {
        let dev = self.interface(key.ifindex);
        let text = match VlanId::new(key.vlan) {
            Some(vlan) => format!("{dev} has no port for VLAN {vlan}"),
            None => format!("{dev} has no port for untagged frames"),
        };
        Said::new(TraceStep::Port, text)
    }

    fn port(&self, slot: PortSlot) -> Said {
        let name = self.port_name(slot);
        let Some(port) = self.tables.port(slot) else {
            return Said::new(TraceStep::Port, format!("port {name} is not there"));
        };
        let mut text = format!(
            "port {name} is in {}, MTU {}",
            self.vni(port.segment),
            port.mtu
        );
        for (flag, says) in [
            (Port::ABSENT, "its interface is gone"),
            (Port::ISOLATED, "isolated"),
            (Port::GUARD_MAC, "it has a guard"),
            (Port::FULL, "it has as many MACs as it may"),
        ] {
            if port.has(flag) {
                text += ", ";
                text += says;
            }
        }
        Said::new(TraceStep::Port, text).about(Some(FdbTarget::Port(slot)))
    }

    fn segment(&self, id: SegmentId) -> Said {
        let vni = self.vni(id);
        let Some(segment) = self.tables.segment(id) else {
            return Said::new(TraceStep::Segment, format!("{vni} is not there"));
        };
        let mut text = format!(
            "{vni} {}, {}",
            verb(segment.has(Segment::FLOODS), "floods", "does not flood"),
            verb(segment.has(Segment::LEARNING), "learns", "does not learn"),
        );
        for (flag, says) in [
            (Segment::SUPPRESS, "answers ARP and ND"),
            (Segment::INNER_VLAN_PASS, "carries VLAN tags"),
            (
                Segment::LISTED,
                "takes packets from those VTEPs alone that its entries name",
            ),
            (Segment::MSS_CLAMP, "clamps the MSS"),
            (Segment::FULL, "has as many MACs as it may"),
        ] {
            if segment.has(flag) {
                text += ", ";
                text += says;
            }
        }
        Said::new(TraceStep::Segment, text)
    }

    fn fdb(&self, key: FdbKey, looked: &Looked<'_>) -> Said {
        let (vni, mac) = (self.vni(key.segment()), key.mac());
        let step = if looked.source == Some(mac) {
            TraceStep::Source
        } else {
            TraceStep::Destination
        };
        let Some(value) = self.tables.fdb_word(&key).value() else {
            return Said::new(step, format!("{vni} has no entry for {mac}"));
        };
        let origin = match value.origin {
            Origin::Learned if value.frozen => "learned, and frozen there as a duplicate",
            Origin::Learned => "learned",
            Origin::External => "evpn",
            Origin::Static => "static",
        };
        let text = format!("{vni} has {mac} {}, {origin}", self.place(value.target));
        Said::new(step, text).about(Some(value.target))
    }

    fn policer(&self, slot: PortSlot, what: Policed, looked: &Looked<'_>) -> Said {
        let rate = self.tables.policer(slot, what).rate;
        let (name, unit) = match what {
            Policed::In => ("--rate-in", "bit/s"),
            Policed::Bum => ("--bum-rate", "frames/s"),
            Policed::Out => ("--rate-out", "bit/s"),
        };
        let mut taken = looked.taken.iter();
        let passes = taken.any(|(at, of, _)| (*at, *of) == (slot, what));
        let is = verb(passes, "within", "more than what is left of");
        let port = self.port_name(slot);
        let text = format!("the frame is {is} {name} of port {port}, {rate} {unit}");
        Said::new(TraceStep::Rate, text)
    }

    fn answers(&self, slot: PortSlot, looked: &Looked<'_>) -> Said {
        let port = self.port_name(slot);
        let text = if looked.answered {
            format!("its sender may be told so at port {port}")
        } else {
            format!("at port {port} as many senders were told so as may be")
        };
        Said::new(TraceStep::Rate, text)
    }

    fn mapped(&self, ifindex: u32, vlan: ShownVlan) -> Said {
        let dev = self.interface(ifindex);
        let own = verb(
            self.tables.is_mapped(ifindex, vlan),
            "a port of its own",
            "no port of its own",
        );
        let text = if vlan == ShownVlan::HIDDEN {
            format!(
                "the VLAN of the frame is hidden behind another tag, which may be that of another port of {dev}"
            )
        } else {
            format!("VLAN {} has {own} at {dev}", vlan.get())
        };
        Said::new(TraceStep::Vlan, text)
    }

    fn owns(&self, slot: PortSlot, host: VtepAddr) -> Said {
        let has = verb(self.tables.owns(slot, &host), "has", "does not have");
        let (port, host) = (self.port_name(slot), IpAddr::from(host));
        Said::new(TraceStep::Guard, format!("port {port} {has} {host}"))
    }

    fn address(&self, addr: VtepAddr) -> Said {
        let ip = IpAddr::from(addr);
        let found = self.tables.address(&addr);
        let text = if found.word() & Address::OWN != 0 {
            format!("{ip} is one of our VTEP addresses")
        } else if found.word() & Address::GROUP != 0 {
            format!("{ip} is a multicast group that we are a member of")
        } else if found.peer().is_some() {
            format!("{ip} is a VTEP that is known")
        } else {
            format!("{ip} is neither a VTEP that is known nor one of our addresses")
        };
        let peer = found.peer().map(FdbTarget::Peer);
        Said::new(TraceStep::Address, text).about(peer)
    }

    fn listed(&self, id: SegmentId, peer: PeerId) -> Said {
        let (vni, vtep) = (self.vni(id), self.vtep_name(peer));
        let an = verb(self.tables.is_listed(id, peer), "an", "no");
        Said::new(
            TraceStep::Sources,
            format!("{an} entry of {vni} names VTEP {vtep}"),
        )
    }

    fn peer(&self, id: PeerId) -> Said {
        let name = self.vtep_name(id);
        let Some(peer) = self.tables.peer(id) else {
            return Said::new(TraceStep::Peer, format!("VTEP {name} is not there"));
        };
        let text = if peer.has(Peer::UNREACHABLE) {
            format!("no route leads to VTEP {name}, or its interface is down")
        } else if peer.has(Peer::RESOLVED) {
            format!(
                "VTEP {name} is resolved: packets leave by {}, MTU {}",
                self.leaves_by(id, peer),
                peer.mtu
            )
        } else if peer.has(Peer::MULTICAST) {
            format!("{name} is a multicast group: the slow-path device sends to it")
        } else {
            format!(
                "the next hop to VTEP {name} is not resolved yet: the slow-path device sends to it"
            )
        };
        Said::new(TraceStep::Peer, text).about(Some(FdbTarget::Peer(id)))
    }

    /// The interface by which packets to a peer leave.
    pub(super) fn leaves_by(&self, id: PeerId, peer: &Peer) -> String {
        let dev = self.state.peers.get(id).and_then(|known| known.dev.clone());
        dev.unwrap_or_else(|| format!("interface {}", peer.ifindex))
    }

    fn list(&self, list: ListId) -> Said {
        let text = match self.tables.flood_list(list) {
            Some(FloodList { len, ports, .. }) => format!(
                "the flood list has our ports: {ports}, and VTEPs: {}",
                len.saturating_sub(*ports)
            ),
            None => "there is no flood list".to_owned(),
        };
        Said::new(TraceStep::FloodList, text)
    }

    fn neigh(&self, key: NeighKey) -> Said {
        let (vni, host) = (self.vni(key.segment), IpAddr::from(key.host));
        let text = match self.tables.neigh(&key) {
            Some(found) => format!("{vni} has {host} at {}", found.mac()),
            None => format!("{vni} does not know the MAC of {host}"),
        };
        Said::new(TraceStep::Neigh, text)
    }

    fn nexthop(&self, id: SegmentId, host: VtepAddr) -> Said {
        let (vni, ip) = (self.vni(id), IpAddr::from(host));
        let found = self.tables.nexthop(id, &host);
        let target = found.and_then(|found| found.target().get());
        let text = match target {
            Some(target) => {
                let mac = found.as_ref().map_or(MacAddr::ZERO, NexthopValue::mac);
                let mac = if mac.is_zero() {
                    String::new()
                } else {
                    format!(", with MAC {mac}")
                };
                let place = self.place(target);
                format!("the nexthop table of {vni} has {ip} {place}{mac}")
            }
            None => format!("the nexthop table of {vni} does not have {ip}"),
        };
        Said::new(TraceStep::Nexthop, text).about(target)
    }
}

/// One of two words.
const fn verb(is: bool, yes: &'static str, no: &'static str) -> &'static str {
    if is { yes } else { no }
}
