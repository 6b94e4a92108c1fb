//! The decision on an inner frame that came from a VTEP: at the uplink after the outer headers, and behind the kernel device.

use crate::{
    abi::{
        addr::{MacAddr, VtepAddr},
        config::Config,
        fdb::FdbTarget,
        id::{ListId, PortSlot, SegmentId},
        port::Port,
        reason::Reason,
        segment::Segment,
    },
    decide::{
        learn::{self, Source},
        lookup::Lookup,
        port::neigh::event_flags,
        verdict::{Account, Act, Decision, Deliver, Record, Resolved, TagEdit},
    },
    frame::{
        ecn,
        inner::{Inner, Received},
        neigh::{self, Message},
        outer::OuterAddresses,
        packet::{Meta, PacketRead, Tag, Window as _},
    },
    runtime::{Tables, place},
    wire::{ethernet, ipv4, ipv6, tcp, vlan},
};

/// Where the inner frame is looked at, which says what can be done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// XDP: single copies to ports that XDP can redirect to.
    Xdp,
    /// TC on the uplink: single copies of ordinary frames.
    Tc,
    /// Behind the kernel device: everything.
    Device,
}

impl Stage {
    /// Where a frame goes that cannot be finished at this stage.
    #[inline(always)]
    const fn left(self) -> Reason {
        match self {
            Self::Xdp => Reason::LeftToTc,
            Self::Tc => Reason::LeftToKernel,
            Self::Device => Reason::TableGap,
        }
    }
}

/// What is known of a frame from a VTEP when its inner Ethernet header is reached.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Where we are.
    pub stage: Stage,
    /// The segment.
    pub segment: SegmentId,
    /// Where the inner frame starts, bytes.
    pub inner_offset: usize,
    /// Bytes of the inner frame.
    pub inner_len: usize,
    /// A GRO packet.
    pub gso: bool,
    /// The inner tag, where the kernel keeps it beside the frame.
    pub tag: Option<Tag>,
    /// Outer TOS; behind the kernel device, which has merged it already, zero.
    pub outer_tos: u8,
    /// The outer packet was IPv6.
    pub outer_v6: bool,
    /// Bytes follow the packet in the frame.
    pub trailer: bool,
    /// The VTEP that sent it.
    pub vtep: VtepAddr,
}

/// Smallest inner payload that TC can uncover itself: `bpf_skb_adjust_room` leaves at least an IP header, of the family that it is
/// told comes to light, else of that which the packet came with (kernel `net/core/filter.c`).
#[inline(always)]
const fn smallest_payload(outer_v6: bool, ethertype: u16) -> usize {
    if outer_v6 && ethertype != ethernet::TYPE_IPV4 {
        ipv6::LEN
    } else {
        ipv4::LEN
    }
}

/// Decides what becomes of the inner frame.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "everything that a decision stands on"
)]
pub(crate) fn decide_inner<P, T, A>(
    frame: &P,
    arrival: &Arrival,
    read: &Received,
    lookup: &Lookup,
    account: &Account,
    segment: &Segment,
    tables: &T,
    act: &A,
) -> A::Outcome
where
    P: PacketRead + ?Sized,
    T: Tables,
    A: Act,
{
    if arrival.inner_len < ethernet::LEN || !read.whole {
        return act.leave(account, Reason::InnerTruncated);
    }
    if read.source.is_group() || read.source.is_zero() {
        return act.leave(account, Reason::InvalidSourceMac);
    }
    let source = Source::of(account, segment, read.source, lookup.seen(), act);
    if source == Source::ELSEWHERE {
        return act.leave(account, Reason::StaticElsewhere);
    }
    if (arrival.tag.is_some() || read.is_tagged()) && !segment.has(Segment::INNER_VLAN_PASS) {
        return act.leave(account, Reason::InnerVlan);
    }
    let merge = merged_ecn(frame, arrival, read);
    if merge == ecn::Merge::DROP {
        return act.leave(account, Reason::EcnNotCapable);
    }

    let group = read.destination.is_group();
    if source == Source::NEW {
        learn::learn(account, read.source, Some(&arrival.vtep), group, act);
    }
    let l3 = arrival.inner_offset.wrapping_add(ethernet::LEN);
    if arrival.stage == Stage::Device
        && group
        && segment.has(Segment::SUPPRESS)
        && segment.has(Segment::LEARNING)
    {
        snoop(frame, arrival, account, read, act);
    }
    let mut list = ListId::from(arrival.segment);
    let mut to = Resolved::IN_FDB;
    if let Some(found) = lookup.destination().get() {
        match found {
            FdbTarget::Port(slot) => {
                to.target = found.into();
                if arrival.stage != Stage::Device {
                    let to = (slot, MacAddr::ZERO);
                    return deliver(frame, arrival, read, account, merge, to, tables, act);
                }
            }
            FdbTarget::Peer(_) => return act.leave(account, Reason::SplitHorizon),
            FdbTarget::List(own) => list = own,
        }
    } else if !group && segment.has(Segment::NEXTHOPS) {
        // Behind the kernel device alone, where the program has room for it.
        if arrival.stage != Stage::Device {
            return act.leave(account, arrival.stage.left());
        }
        if let Some(host) = neigh::destination(frame, l3, read.ethertype)
            && let Some(next) = tables.nexthop(arrival.segment, &host)
            && next.target().port().is_some()
        {
            to = Resolved {
                target: next.target(),
                mac: next.mac(),
            };
        }
    }
    if arrival.stage == Stage::Device {
        let to = tables.spill::<{ place::ARRIVAL }, _>(&to);
        if let Some(slot) = to.target.port() {
            let to = (slot, to.mac);
            return deliver(frame, arrival, read, account, merge, to, tables, act);
        }
    }
    if !segment.has(Segment::FLOODS) {
        return act.leave(
            account,
            if group {
                Reason::FloodOff
            } else {
                Reason::NoFdbEntry
            },
        );
    }
    if arrival.stage != Stage::Device {
        return act.leave(account, arrival.stage.left());
    }
    match tables.flood_list(list) {
        Some(targets) if targets.ports > 0 => {}
        Some(_) | None => return act.leave(account, Reason::NowhereToFlood),
    }
    act.flood_ports(account, list)
}

/// What becomes of the ECN field of the inner packet. Mostly the outer one says nothing, and the inner one is not looked at.
#[inline(always)]
fn merged_ecn<P: PacketRead + ?Sized>(frame: &P, arrival: &Arrival, read: &Received) -> ecn::Merge {
    let mut merge = ecn::Merge::KEEP;
    if arrival.outer_tos & ecn::MASK != ecn::NOT_ECT {
        let l3 = arrival.inner_offset.wrapping_add(ethernet::LEN);
        merge = ecn::merge(arrival.outer_tos, read.tos(frame, l3));
    }
    ecn::Merge::from_code(frame.opaque(merge.code()))
}

/// Tells what a host says of itself unasked: it may be another than was heard here before.
#[inline(always)]
fn snoop<P, A>(frame: &P, arrival: &Arrival, account: &Account, read: &Received, act: &A)
where
    P: PacketRead + ?Sized,
    A: Act,
{
    let l3 = arrival.inner_offset.wrapping_add(ethernet::LEN);
    if let Some(message) = frame.message(l3, read.ethertype, read.source)
        && message.has(Message::UNSOLICITED)
    {
        let flags = event_flags(&message);
        let vtep = Some(&arrival.vtep);
        learn::snoop(account, read.source, message.host, vtep, flags, act);
    }
}

/// To a local port.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "everything that a decision stands on"
)]
fn deliver<P, T, A>(
    frame: &P,
    arrival: &Arrival,
    read: &Received,
    account: &Account,
    merge: ecn::Merge,
    (slot, mac): (PortSlot, MacAddr),
    tables: &T,
    act: &A,
) -> A::Outcome
where
    P: PacketRead + ?Sized,
    T: Tables,
    A: Act,
{
    // An entry that is being replaced can lead to what is in another VNI.
    let Some(port) = tables
        .port(slot)
        .filter(|port| port.segment == account.segment)
    else {
        return act.leave(account, Reason::TableGap);
    };
    if !arrival.gso
        && arrival.inner_len > (port.mtu as usize).wrapping_add(ethernet::LEN + vlan::LEN)
    {
        // Generic XDP sees GRO packets, and cannot tell them: TC can.
        let reason = if arrival.stage == Stage::Xdp {
            Reason::LeftToTc
        } else {
            Reason::TooBig
        };
        return act.leave(account, reason);
    }
    let left = match arrival.stage {
        Stage::Device => false,
        Stage::Tc => {
            arrival.gso && !(port.has(Port::PEER_TARGET) && is_tcp(frame, arrival.inner_offset))
                || arrival.inner_len
                    < ethernet::LEN.wrapping_add(smallest_payload(arrival.outer_v6, read.ethertype))
        }
        Stage::Xdp => {
            !port.has(Port::XDP_TARGET)
                || tables.config().flags & Config::XDP_LEAVES_ALL != 0
                || tables.config().flags & Config::PARTIAL_CHECKSUMS != 0
                    && Inner::read(frame, arrival.inner_offset, None)
                        .is_some_and(|inner| inner.has(Inner::CHECKSUM_PARTIAL))
        }
    };
    if left || arrival.trailer || merge == ecn::Merge::SET {
        return act.leave(account, arrival.stage.left());
    }
    act.deliver(
        account,
        &Deliver {
            slot,
            ifindex: port.ifindex,
            vlan: port.vlan,
            to_other_end: port.has(Port::PEER_TARGET),
            strip: arrival.inner_offset,
            tag: TagEdit::Leave,
            mac,
        },
    )
}

/// True for TCP over IP without a tag: of such GRO packets the outer headers can be taken off here, where the frame then goes
/// straight to another network namespace. The kernel goes on to take it for a tunnel packet, which TCP does not look at, but
/// a device that is to cut it would.
#[inline(always)]
fn is_tcp<P: PacketRead + ?Sized>(frame: &P, base: usize) -> bool {
    let Some(window) = frame.window::<{ ethernet::LEN + ipv4::PROTOCOL_OFFSET + 1 }>(base) else {
        return false;
    };
    let protocol = match window.be16(ethernet::TYPE_OFFSET) {
        ethernet::TYPE_IPV4 => window.byte(ethernet::LEN + ipv4::PROTOCOL_OFFSET),
        ethernet::TYPE_IPV6 => window.byte(ethernet::LEN + ipv6::NEXT_HEADER_OFFSET),
        _ => 0,
    };
    protocol == tcp::PROTOCOL
}

/// What the kernel device says of a frame that it has decapsulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelKey {
    /// The VNI.
    pub vni: u32,
    /// The VTEP that sent it.
    pub source: VtepAddr,
    /// The address that it was sent to; `None` where the kernel does not say (before 6.0).
    pub destination: Option<VtepAddr>,
}

/// Decides on a frame that the kernel device has decapsulated, and acts.
#[inline(always)]
pub fn decide<P, T, A>(frame: &P, meta: &Meta, key: &TunnelKey, tables: &T, act: &A) -> A::Outcome
where
    P: PacketRead + ?Sized,
    T: Tables,
    A: Act,
{
    let mut account = Account::nobody(frame.frame_len());
    let read = Received::read(frame, 0);
    let read = tables.spill::<{ place::INNER }, _>(&read);
    let addresses = OuterAddresses {
        source: key.source,
        destination: key.destination.unwrap_or(key.source),
        vni: key.vni,
    };
    let addresses = tables.spill::<{ place::OUTER }, _>(&addresses);
    let lookup = tables.of_tunnel(addresses, read);
    if key.destination.is_some() && !lookup.to().is_local() {
        return act.leave(&account, Reason::WrongDestination);
    }
    let from = lookup.from();
    if from.is_local() {
        return act.leave(&account, Reason::OwnSource);
    }
    let Some(number) = lookup.segment() else {
        return act.leave(&account, Reason::UnknownVni);
    };
    let Some(segment) = tables.segment(number) else {
        return act.leave(&account, Reason::UnknownVni);
    };
    account.segment = number;
    account.from_peer = from.peer_or_none();
    let arrival = Arrival {
        stage: Stage::Device,
        segment: number,
        inner_offset: 0,
        inner_len: frame.frame_len(),
        gso: meta.gso_size != 0,
        tag: meta.tag,
        outer_tos: 0,
        outer_v6: false,
        trailer: false,
        vtep: key.source,
    };
    decide_inner(
        frame, &arrival, read, &lookup, &account, segment, tables, act,
    )
}

/// Decides on a frame that the kernel device has decapsulated.
pub fn decide_tunnel<P, T>(frame: &P, meta: &Meta, key: &TunnelKey, tables: &T) -> Decision
where
    P: PacketRead + ?Sized,
    T: Tables,
{
    Record::of(|act| decide(frame, meta, key, tables, act))
}
