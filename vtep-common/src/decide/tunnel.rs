//! The decision on an inner frame that came from a VTEP: at the uplink after the outer headers, and behind the slow-path device.

use crate::{
    abi::{
        addr::{MacAddr, VtepAddr},
        address::Address,
        config::Config,
        fdb::FdbTarget,
        id::{ListId, PortSlot, SegmentId},
        policer::Policed,
        port::Port,
        reason::Reason,
        segment::Segment,
    },
    decide::{
        admit, hop, learn, police,
        port::{carried::overhead, neigh::event_flags},
    },
    frame::{
        ecn,
        inner::{Inner, Received},
        neigh::{self, Message},
        outer::{Outer, OuterAddresses},
        packet::PacketRead,
        vlan::TagEdit,
    },
    runtime::{
        Runtime,
        arrival::{Arrival, Encapsulation},
        lookup::{Lookup, Source},
        tables::Tables as _,
        verdict::{Account, Deliver, Refused, Resolved},
    },
    wire::{ethernet, ipv4, ipv6, vlan},
};

/// Where the inner frame is looked at, which says what can be done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecapStage {
    /// XDP: single copies to ports that XDP can redirect to.
    Xdp,
    /// TC on the uplink: single copies of ordinary frames.
    Tc,
    /// Behind the slow-path device: everything.
    Device,
}

impl DecapStage {
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

/// Smallest inner payload that TC can decapsulate itself: `bpf_skb_adjust_room` leaves at least an IP header, of the family that it is
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
pub(crate) fn decide_inner<R: Runtime>(
    rt: &R,
    stage: DecapStage,
    inner: &R::Spilled<'_, Arrival>,
) -> R::Outcome {
    let account = &inner.account();
    let settings = inner.settings;
    let read = &inner.read;
    // Behind the slow-path device there are none, which is said here for the compiler.
    let outer = match stage {
        DecapStage::Xdp | DecapStage::Tc => &inner.outer,
        DecapStage::Device => &Encapsulation::NONE,
    };
    let source = learn::source(rt, account, settings, read.source, inner.seen);
    if (rt.meta().tag.is_some() || read.is_tagged()) && !settings.has(Segment::INNER_VLAN_PASS) {
        return rt.leave(account, Reason::InnerVlan);
    }
    // Mostly a test of two bits. What hosts say is read behind the slow-path device alone, where the program has room for it.
    if stage != DecapStage::Device
        && settings.has(Segment::SUPPRESS)
        && settings.has(Segment::LEARNING)
    {
        let l3 = outer.len.wrapping_add(ethernet::LEN);
        if neigh::looks_like(rt.frame(), l3, read.ethertype) {
            return rt.leave(account, stage.left());
        }
    }
    let merge = merged_ecn(rt.frame(), read, outer);
    if merge == ecn::Merge::DROP {
        return rt.leave(account, Reason::EcnNotCapable);
    }

    let group = read.destination.is_group();
    if source == Source::NEW {
        learn::learn(rt, account, read.source, Some(&inner.vtep), group);
        if inner.seen.is_over_limit() {
            return rt.leave(account, Reason::MacLimit);
        }
    }
    // Behind the learning, which says where the MAC is.
    if stage == DecapStage::Device
        && settings.has(Segment::SUPPRESS)
        && settings.has(Segment::LEARNING)
    {
        snoop(rt, inner, account);
    }
    let mut to = Resolved {
        target: inner.destination,
        mac: MacAddr::ZERO,
        clamped: false,
        cut: false,
    };
    if to.target.is_none() && !group && settings.has(Segment::NEXTHOPS) {
        // Behind the slow-path device alone, where the program has room for it.
        if stage != DecapStage::Device {
            return rt.leave(account, stage.left());
        }
        let l3 = outer.len.wrapping_add(ethernet::LEN);
        if let Some(host) = neigh::destination(rt.frame(), l3, read.ethertype)
            && let Some(next) = rt.tables().nexthop(inner.segment, &host)
            && next.target().port().is_some()
        {
            to = Resolved {
                target: next.target(),
                mac: next.mac(),
                clamped: false,
                cut: false,
            };
        }
    }
    if stage == DecapStage::Device {
        send(rt, stage, inner, outer, merge, &rt.opaque(&to))
    } else {
        send(rt, stage, inner, outer, merge, &to)
    }
}

/// To where a destination was found, or else to all local ports.
#[inline(always)]
fn send<R: Runtime>(
    rt: &R,
    stage: DecapStage,
    inner: &R::Spilled<'_, Arrival>,
    outer: &Encapsulation,
    merge: ecn::Merge,
    to: &Resolved,
) -> R::Outcome {
    let account = &inner.account();
    let list = match to.target.get() {
        Some(FdbTarget::Port(slot)) => {
            return deliver(rt, stage, inner, outer, account, merge, (slot, to.mac));
        }
        Some(FdbTarget::Peer(_)) => return rt.leave(account, Reason::SplitHorizon),
        Some(FdbTarget::List(own)) => own,
        None => ListId::from(inner.segment),
    };
    if !inner.settings.has(Segment::FLOODS) {
        return rt.leave(
            account,
            if inner.read.destination.is_group() {
                Reason::FloodOff
            } else {
                Reason::NoFdbEntry
            },
        );
    }
    if stage != DecapStage::Device {
        return rt.leave(account, stage.left());
    }
    match rt.tables().flood_list(list) {
        Some(targets) if targets.ports > 0 => {}
        Some(_) | None => return rt.leave(account, Reason::NowhereToFlood),
    }
    let vlan = rt.shown_by_vtep(inner);
    rt.flood_ports(account, list, (vlan, rt.policed_arrival(inner)))
}

/// What becomes of the ECN field of the inner packet. Mostly the outer one says nothing, and the inner one is not looked at.
#[inline(always)]
fn merged_ecn<P: PacketRead + ?Sized>(
    frame: &P,
    read: &Received,
    outer: &Encapsulation,
) -> ecn::Merge {
    let mut merge = ecn::Merge::KEEP;
    if outer.tos & ecn::MASK != ecn::NOT_ECT {
        let l3 = outer.len.wrapping_add(ethernet::LEN);
        merge = ecn::merge(outer.tos, read.tos(frame, l3));
    }
    ecn::Merge::from_code(frame.opaque(merge.code()))
}

/// Notifies of what a host says of itself: it may be another than was heard here before.
#[inline(always)]
fn snoop<R: Runtime>(rt: &R, inner: &R::Spilled<'_, Arrival>, account: &Account) {
    let l3 = ethernet::LEN;
    if let Some(message) = rt.message(l3, inner.read.ethertype, inner.read.source)
        && message.has(Message::CLAIM)
    {
        let flags = event_flags(&message);
        let vtep = Some(&inner.vtep);
        learn::snoop(rt, account, inner.read.source, &message.host, vtep, flags);
    }
}

/// To a local port.
#[inline(always)]
fn deliver<R: Runtime>(
    rt: &R,
    stage: DecapStage,
    inner: &R::Spilled<'_, Arrival>,
    outer: &Encapsulation,
    account: &Account,
    merge: ecn::Merge,
    (slot, mac): (PortSlot, MacAddr),
) -> R::Outcome {
    let gso = rt.meta().gso_size != 0;
    let destination = if mac.is_zero() {
        inner.read.destination
    } else {
        mac
    };
    // An entry that is being replaced can lead to what is in another VNI.
    let Some(port) = rt
        .tables()
        .port(slot)
        .filter(|port| port.segment == account.segment)
    else {
        return rt.leave(account, Reason::TableGap);
    };
    if !gso && inner.len > (port.mtu as usize).wrapping_add(ethernet::LEN + vlan::LEN) {
        // Generic XDP sees GSO packets, and cannot tell them: TC can.
        let reason = if stage == DecapStage::Xdp {
            Reason::LeftToTc
        } else {
            Reason::TooBig
        };
        return rt.lose(account, slot.into(), reason);
    }
    // Of tags XDP has room to see that they are there.
    if stage != DecapStage::Xdp
        && let Some(why) = hop::why_not(rt, port, || rt.shown_by_vtep(inner))
    {
        return rt.lose(account, slot.into(), why);
    }
    // SYNs are clamped behind the slow-path device alone, by a program that has room for it.
    let clamps = inner.settings.has(Segment::MSS_CLAMP)
        && rt.is_syn(outer.len.wrapping_add(ethernet::LEN), inner.read.ethertype);
    let left = match stage {
        DecapStage::Device => false,
        DecapStage::Tc => {
            gso && !port.takes_at_other_end(destination)
                || inner.len
                    < ethernet::LEN.wrapping_add(smallest_payload(outer.v6, inner.read.ethertype))
        }
        DecapStage::Xdp => {
            !port.has(Port::XDP_TARGET)
                || port.has(Port::TRUNK) && inner.read.is_tagged()
                || rt.tables().config().has(Config::XDP_LEAVES_ALL)
                || rt.tables().config().has(Config::PARTIAL_CHECKSUMS)
                    && Inner::read(rt.frame(), outer.len, None)
                        .is_some_and(|inner| inner.has(Inner::CHECKSUM_PARTIAL))
        }
    };
    let left = left || clamps && stage != DecapStage::Device;
    if left
        || outer.trailer
        || merge == ecn::Merge::SET
        || stage != DecapStage::Device && !rt.stands_alone(inner)
    {
        return rt.leave(account, stage.left());
    }
    if !police::lets(rt, port.flags, (slot, Policed::Out), || {
        rt.policed_arrival(inner)
    }) {
        return rt.lose(account, slot.into(), Reason::Rate);
    }
    if clamps {
        let to = Resolved {
            target: FdbTarget::Port(slot).into(),
            mac,
            clamped: false,
            cut: false,
        };
        return rt.to_clamp_received(account, &to);
    }
    hand_over(rt, account, (slot, port), destination, (outer.len, mac))
}

/// To a port, once nothing speaks against it.
#[inline(always)]
fn hand_over<R: Runtime>(
    rt: &R,
    account: &Account,
    (slot, port): (PortSlot, &Port),
    destination: MacAddr,
    (strip, mac): (usize, MacAddr),
) -> R::Outcome {
    // Read again, rather than kept, so that the verifier forgets which way was taken.
    let port = core::hint::black_box(port);
    rt.deliver(
        account,
        &Deliver {
            slot,
            ifindex: port.ifindex,
            vlan: port.vlan,
            to_other_end: port.takes_at_other_end(destination),
            strip,
            tag: TagEdit::Leave,
            mac,
        },
    )
}

/// Has a SYN from a VTEP offer no larger segments than the path back carries, and delivers it to the port that was found for it.
#[inline(always)]
pub fn clamp<R: Runtime>(rt: &R, to: &Resolved) -> R::Outcome {
    let inner = match rt.decapsulated() {
        Ok(inner) => inner,
        Err(refused) => {
            return rt.leave(&refused.account(rt.frame().frame_len()), refused.reason);
        }
    };
    let account = &inner.account();
    let port = to.target.get().and_then(|target| {
        let slot = target.port()?;
        Some((slot, rt.tables().port(slot)?))
    });
    let Some(found) = port.filter(|(_, port)| port.segment == account.segment) else {
        return rt.leave(account, Reason::TableGap);
    };
    if let Some(mtu) = mtu_towards(rt, &inner) {
        rt.clamp(ethernet::LEN, inner.read.ethertype, mtu);
    }
    let destination = if to.mac.is_zero() {
        inner.read.destination
    } else {
        to.mac
    };
    hand_over(rt, account, found, destination, (0, to.mac))
}

/// Largest IP packet without a tag that fits into the MTU towards the peer that a frame came from, if that is known.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a constant")]
fn mtu_towards<R: Runtime>(rt: &R, inner: &Arrival) -> Option<u32> {
    let peer = rt.tables().peer(inner.peer)?;
    peer.mtu
        .checked_sub(overhead(peer).wrapping_add(ethernet::LEN as u32))
}

/// What the slow-path device says of a frame that it has decapsulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelKey {
    /// The VNI.
    pub vni: u32,
    /// The VTEP that sent it.
    pub source: VtepAddr,
    /// The address that it was sent to; `None` where the kernel does not say (before 6.0).
    pub destination: Option<VtepAddr>,
}

/// Decides on a frame that the slow-path device has decapsulated, and acts.
#[inline(always)]
pub fn decide<R: Runtime>(rt: &R) -> R::Outcome {
    match rt.decapsulated() {
        Ok(arrival) => decide_inner(rt, DecapStage::Device, &arrival),
        Err(refused) => rt.leave(&refused.account(rt.frame().frame_len()), refused.reason),
    }
}

/// Finds the VNI of a frame that the slow-path device has decapsulated, and what the tables know of it.
///
/// # Errors
///
/// What is not for us.
#[inline(always)]
pub fn find<R: Runtime>(rt: &R, key: &TunnelKey) -> Result<Arrival, Refused> {
    let (frame, tables) = (rt.frame(), rt.tables());
    let len = frame.frame_len();
    let read = Received::read(frame, 0);
    let read = rt.spill(&read);
    let says_destination = frame.opaque(key.destination.is_some().into()) != 0;
    let outer = Outer {
        addresses: OuterAddresses {
            source: key.source,
            destination: key.destination.unwrap_or(key.source),
            vni: key.vni,
        },
        ..Outer::unread()
    };
    let outer = rt.spill(&outer);
    let lookup = Lookup::of_tunnel(&outer.addresses, &read, tables);
    let lookup = rt.opaque(&lookup);
    if says_destination && !lookup.to().is_local() {
        return Err(Reason::WrongDestination.into());
    }
    let from = lookup.from();
    if from.is_local() {
        return Err(Reason::OwnSource.into());
    }
    let peer = from.peer_or_none();
    let nowhere = |reason| Refused::from_peer(reason, peer, SegmentId::NONE);
    let Some(number) = lookup.segment() else {
        return Err(nowhere(Reason::UnknownVni));
    };
    let Some(segment) = tables.segment(number) else {
        return Err(nowhere(Reason::UnknownVni));
    };
    // A key that is being replaced can lead to what another key stands for (ADR 10).
    if segment.vni != key.vni {
        return Err(nowhere(Reason::TableGap));
    }
    let refused = |reason| Refused::from_peer(reason, peer, number);
    let settings = segment.flags;
    let seen = lookup.seen().limited(false, settings.has(Segment::FULL));
    if settings.has(Segment::LISTED) && !seen.is_here() && !is_listed(rt, number, from) {
        return Err(refused(Reason::UnlistedSource));
    }
    admit::from_vtep(&read, len, settings, seen).map_err(refused)?;
    Ok(Arrival {
        read: *read,
        vtep: outer.addresses.source,
        segment: number,
        settings,
        peer,
        seen,
        destination: lookup.destination(),
        len,
        outer: Encapsulation::NONE,
    })
}

/// True if an entry of the segment names the VTEP. Mostly the FDB has the source MAC behind it, which says as much: nothing else is
/// learned there.
#[inline(always)]
pub(crate) fn is_listed<R: Runtime>(rt: &R, segment: SegmentId, from: Address) -> bool {
    from.peer()
        .is_some_and(|peer| rt.tables().is_listed(segment, peer))
}
