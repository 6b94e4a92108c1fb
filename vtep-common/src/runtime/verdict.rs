//! What is to become of a frame: what a decision says, before a byte is changed.

use crate::{
    abi::{
        addr::{MacAddr, VtepAddr},
        drops::Owners,
        event::Event,
        fdb::PackedTarget,
        flags::{PeerFlags, PortFlags},
        id::{ListId, PeerId, PortSlot, SegmentId},
        peer::Peer,
        port::Port,
        reason::Reason,
    },
    frame::{
        template::Fields,
        vlan::{ShownVlan, TagEdit},
    },
};

/// Encapsulate in place and send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encap {
    /// The peer.
    pub peer: PeerId,
    /// Interface to send by.
    pub ifindex: u32,
    /// Over IPv6.
    pub v6: bool,
    /// The inner frame is IP, also behind one tag that is an skb tag: the kernel can be told of the tunnel.
    pub inner_ip: bool,
    /// What to patch into the peer's template.
    pub fields: Fields,
    /// What to do with the tag.
    pub tag: TagEdit,
}

/// Send through the slow-path device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViaKernel {
    /// The peer.
    pub peer: PeerId,
    /// Address of the VTEP.
    pub remote: VtepAddr,
    /// Our address towards it; unspecified where it is not known.
    pub local: VtepAddr,
    /// The segment.
    pub vni: u32,
    /// TOS or traffic class; the kernel adds the ECN bits of the inner packet.
    pub tos: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Sets DF on IPv4.
    pub dont_fragment: bool,
    /// The UDP checksum is correct rather than zero.
    pub checksum: bool,
    /// UDP source port.
    pub source_port: u16,
    /// What to do with the tag.
    pub tag: TagEdit,
    /// Why it goes this way.
    pub reason: Reason,
}

impl ViaKernel {
    /// In place of an address that is another for each copy. Not all zero: see
    /// [`Outer::unread`](crate::frame::outer::Outer::unread).
    pub const OF_EACH: VtepAddr = VtepAddr::from_v6_be([1, 2, 3, 4]);

    /// The frame that would have been encapsulated, left to the slow-path device.
    #[must_use]
    #[inline(always)]
    pub fn new(encap: &Encap, peer: &Peer) -> Self {
        let fields = &encap.fields;
        Self {
            peer: encap.peer,
            remote: peer.addr,
            local: peer.local,
            vni: fields.vni.get(),
            tos: fields.tos,
            ttl: fields.ttl,
            dont_fragment: fields.dont_fragment,
            checksum: peer.has(Peer::CHECKSUM),
            source_port: fields.source_port,
            tag: encap.tag,
            reason: Self::reason(peer),
        }
    }

    /// Why a frame for this peer goes this way.
    #[must_use]
    #[inline(always)]
    pub const fn reason(peer: &Peer) -> Reason {
        if peer.has(Peer::RESOLVED) {
            Reason::EncapsulatedByKernel
        } else {
            Reason::EncapsulatedUnresolved
        }
    }
}

/// Deliver to a local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// The port.
    pub slot: PortSlot,
    /// Its interface.
    pub ifindex: u32,
    /// VLAN ID to tag the frame with, 0 for none.
    pub vlan: u16,
    /// Hand it straight to the interface's other end.
    pub to_other_end: bool,
    /// Bytes of outer headers to take off first, 0 at a port and behind the slow-path device.
    pub strip: usize,
    /// What to do with the tag that the frame came with.
    pub tag: TagEdit,
    /// The destination MAC to write, or zero to leave it.
    pub mac: MacAddr,
}

/// Where a frame from a port goes, found by [`crate::decide::port::unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The peer, port or flood list; none for where the FDB has its destination.
    pub target: PackedTarget,
    /// The destination MAC to write, or zero to leave it.
    pub mac: MacAddr,
    /// It comes back: it has been learned from, and is a SYN that offers no more than fits, or to be cut.
    pub clamped: bool,
    /// It is a GSO packet for the slow path to cut.
    pub cut: bool,
}

impl Resolved {
    /// Where the FDB has it.
    pub const IN_FDB: Self = Self {
        target: PackedTarget::NONE,
        mac: MacAddr::ZERO,
        clamped: false,
        cut: false,
    };
}

/// Tell the sender of a frame that it is too big.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBigAnswer {
    /// The peer that it is too big for.
    pub peer: PeerId,
    /// Where its IP packet begins.
    pub l3: usize,
    /// Largest IP packet that fits, in bytes.
    pub mtu: u32,
}

/// Copy a frame from a port to the targets of a flood list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// How a copy to a VTEP is encapsulated: `peer`, `ifindex` and `v6` are those of each. The sum is there where the headers
    /// give it.
    pub encap: Encap,
    /// The list.
    pub list: ListId,
    /// The segment: a list that is taken away meanwhile can become that of another.
    pub segment: SegmentId,
    /// The port that the frame came from and must not go back to.
    pub from: PortSlot,
    /// No copy goes to a port with any of these flags: see [`PortFlags::kept_from`](PortFlags::kept_from).
    pub kept_from: PortFlags,
    /// Bytes of each copy to a VTEP before the outer headers, of a GSO packet those of each segment.
    pub carried_len: u32,
    /// Bytes of each copy to a port, of a GSO packet those of all its segments: what rates count.
    pub bytes: u32,
    /// The VLAN that the copies show.
    pub vlan: ShownVlan,
    /// The frame can be encapsulated in place, once for all VTEPs that [`Flood::is_in_place`] names.
    pub in_place: bool,
}

impl Flood {
    /// True if a copy can go to this port of the list.
    #[must_use]
    #[inline(always)]
    pub fn reaches(&self, slot: PortSlot, port: &Port) -> bool {
        slot != self.from && port.segment == self.segment && !port.has(self.kept_from)
    }

    /// True if the copy for this peer can be made in place, at its known next hop. `summed`: the sum over the frame is known, or can be had.
    #[must_use]
    #[inline(always)]
    pub const fn is_in_place(&self, peer: &Peer, summed: bool) -> bool {
        let sum = if summed {
            PeerFlags::NONE
        } else {
            Peer::CHECKSUM
        };
        let asked = Peer::RESOLVED.with(Peer::MULTICAST).with(sum);
        self.in_place && peer.flags.of(asked).bits() == Peer::RESOLVED.bits()
    }
}

/// Copy a frame from a VTEP to the local ports of a flood list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloodPorts {
    /// The list.
    pub list: ListId,
    /// The segment, as in [`Flood::segment`].
    pub segment: SegmentId,
    /// The VLAN that the copies show.
    pub vlan: ShownVlan,
    /// What rates count each copy as, in bytes.
    pub bytes: u32,
}

impl FloodPorts {
    /// True if a copy can go to this port of the list.
    #[must_use]
    #[inline(always)]
    pub fn reaches(&self, port: &Port) -> bool {
        port.segment == self.segment
    }
}

/// Whom a frame is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The segment, or [`SegmentId::NONE`] while it is not known.
    pub segment: SegmentId,
    /// The port that the frame came from, or [`PortSlot::NONE`].
    pub from_port: PortSlot,
    /// The peer that the frame came from, or [`PeerId::NONE`].
    pub from_peer: PeerId,
    /// Bytes of the inner frame. No wider, so that nothing lies between the fields: a byte there would never be written, but copied,
    /// which the verifier refuses.
    pub inner_len: u32,
}

impl Account {
    /// The account of a frame of which nothing is known yet.
    #[must_use]
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "frames are shorter than 2^32 bytes"
    )]
    pub const fn unknown(inner_len: usize) -> Self {
        Self {
            segment: SegmentId::NONE,
            from_port: PortSlot::NONE,
            from_peer: PeerId::NONE,
            inner_len: inner_len as u32,
        }
    }
}

/// Why a frame goes no further, and whom it is counted for as far as that was known by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// The segment, or [`SegmentId::NONE`].
    pub segment: SegmentId,
    /// The port that it came from, or [`PortSlot::NONE`].
    pub port: PortSlot,
    /// The peer that it came from, or [`PeerId::NONE`].
    pub peer: PeerId,
}

impl Refused {
    /// The account of the frame. `inner_len` is in bytes.
    #[must_use]
    #[inline(always)]
    pub const fn account(&self, inner_len: usize) -> Account {
        Account {
            segment: self.segment,
            from_port: self.port,
            from_peer: self.peer,
            ..Account::unknown(inner_len)
        }
    }

    /// The same of a frame from this port, in this segment.
    #[must_use]
    #[inline(always)]
    pub const fn from_port(reason: Reason, port: PortSlot, segment: SegmentId) -> Self {
        Self {
            reason,
            segment,
            port,
            peer: PeerId::NONE,
        }
    }

    /// The same of a frame from this peer, in this segment.
    #[must_use]
    #[inline(always)]
    pub const fn from_peer(reason: Reason, peer: PeerId, segment: SegmentId) -> Self {
        Self {
            reason,
            segment,
            port: PortSlot::NONE,
            peer,
        }
    }
}

/// Nothing is known of the frame.
impl From<Reason> for Refused {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            segment: SegmentId::NONE,
            port: PortSlot::NONE,
            peer: PeerId::NONE,
        }
    }
}

/// For whom a frame was that does not get there: a port, a peer, or nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The port, or [`PortSlot::NONE`].
    pub port: PortSlot,
    /// The peer, or [`PeerId::NONE`].
    pub peer: PeerId,
}

impl Recipient {
    /// Nobody.
    pub const NONE: Self = Self {
        port: PortSlot::NONE,
        peer: PeerId::NONE,
    };
}

impl From<PortSlot> for Recipient {
    #[inline(always)]
    fn from(port: PortSlot) -> Self {
        Self { port, ..Self::NONE }
    }
}

impl From<PeerId> for Recipient {
    #[inline(always)]
    fn from(peer: PeerId) -> Self {
        Self { peer, ..Self::NONE }
    }
}

/// What the daemon is notified of: an [`Event`] without what the account of its frame says.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// [`Event::kind`].
    pub kind: u32,
    /// The MAC that it is about.
    pub mac: MacAddr,
    /// The VTEP that the frame came from; `None` for a frame from a port.
    pub vtep: Option<&'a VtepAddr>,
    /// The host that it is about, if it is.
    pub host: Option<&'a VtepAddr>,
    /// [`Event::flags`].
    pub flags: u32,
}

impl Notice<'_> {
    /// The event that the daemon reads, not sent yet.
    #[must_use]
    pub fn event(&self, account: &Account) -> Event {
        Event {
            kind: self.kind,
            segment: account.segment,
            mac: self.mac.get(),
            vtep: self.vtep.copied().unwrap_or(Event::NOBODY),
            host: self.host.copied().unwrap_or(Event::NOBODY),
            port: account.from_port,
            flags: self.flags,
            time: Event::NOT_SET,
        }
    }
}

/// What became of one frame.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Whom it is counted for.
    pub account: Account,
    /// Its reason: that of its verdict, or of what failed.
    pub reason: Reason,
    /// The one port that it went to, or was for, or [`PortSlot::NONE`].
    pub to_port: PortSlot,
    /// The one peer that it went to, or was for, or [`PeerId::NONE`].
    pub to_peer: PeerId,
}

impl End {
    /// Whom the frame is counted for if it is dropped.
    #[must_use]
    #[inline(always)]
    pub const fn owners(&self) -> Owners {
        let Account {
            segment,
            from_port,
            from_peer,
            inner_len: _,
        } = self.account;
        Owners {
            segment,
            port: if from_port.is_none() {
                self.to_port
            } else {
                from_port
            },
            peer: if from_peer.is_none() {
                self.to_peer
            } else {
                from_peer
            },
        }
    }
}

/// What is left to do with a frame once it has been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let the kernel send it where it was redirected to.
    Redirect,
    /// Leave it to others.
    Pass,
    /// Nothing: it ends here. For a flood too: its copies have left.
    Drop,
}

impl Action {
    /// The action for a frame that ended with `reason`.
    #[must_use]
    #[inline(always)]
    pub const fn of(reason: Reason) -> Self {
        if reason.is_left() {
            Self::Pass
        } else if reason.is_delivered()
            && !matches!(reason, Reason::Flooded | Reason::FloodedLocally)
        {
            Self::Redirect
        } else {
            Self::Drop
        }
    }
}
