//! What is to become of a frame: the result of a decision, before a byte is changed.

use core::cell::Cell;

use crate::{
    abi::{
        addr::{MacAddr, VtepAddr},
        event::Event,
        fdb::{FdbKey, PackedTarget},
        id::{ListId, PeerId, PortSlot, SegmentId},
        peer::Peer,
        reason::Reason,
    },
    frame::{neigh::Answer, template::Fields},
};

/// What happens to the outermost VLAN tag of a frame from a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TagEdit {
    /// Nothing: there is none, or it stays in the bytes of the frame.
    Leave,
    /// The tag beside the frame goes.
    StripSkb,
    /// The tag in the bytes of the frame goes.
    StripInBand,
    /// The tag beside the frame is carried in the bytes of the inner frame.
    Carry,
}

impl TagEdit {
    /// The one with this number, of which the lowest two bits count. The compiler makes no branches of it.
    #[inline(always)]
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code & 3 {
            0 => Self::Leave,
            1 => Self::StripSkb,
            2 => Self::StripInBand,
            _ => Self::Carry,
        }
    }
}

/// Encapsulate in place and send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encap {
    /// The peer.
    pub peer: PeerId,
    /// Interface to send by.
    pub ifindex: u32,
    /// Over IPv6.
    pub v6: bool,
    /// The inner frame is IP, also behind one tag that stands beside the frame: the kernel can be told of the tunnel.
    pub inner_ip: bool,
    /// What to patch into the peer's template.
    pub fields: Fields,
    /// What to do with the tag.
    pub tag: TagEdit,
}

/// Send through the kernel device.
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

    /// The frame that would have been encapsulated, left to the kernel device.
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
    /// Bytes of outer headers to take off first, 0 at a port and behind the kernel device.
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
}

impl Resolved {
    /// Where the FDB has it.
    pub const IN_FDB: Self = Self {
        target: PackedTarget::NONE,
        mac: MacAddr::ZERO,
    };
}

/// Copy a frame from a port to the targets of a flood list.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// How a copy to a VTEP is encapsulated: `peer`, `ifindex` and `v6` are those of each. The sum is there where the headers
    /// give it. First, so that whoever puts down a `Flood` has put down its `Encap`.
    pub encap: Encap,
    /// The list.
    pub list: ListId,
    /// The port that the frame came from and must not go back to.
    pub from: PortSlot,
    /// Bytes of each copy to a VTEP before the outer headers, of a GSO packet those of each segment.
    pub carried_len: u32,
    /// The frame can be encapsulated in place, once for all VTEPs that [`Flood::is_in_place`] names.
    pub in_place: bool,
}

impl Flood {
    /// True if the copy for this peer can be made in place, at its known next hop. `summed`: the sum over the frame is known, or can be had.
    #[must_use]
    #[inline(always)]
    pub const fn is_in_place(&self, peer: &Peer, summed: bool) -> bool {
        let asked = Peer::RESOLVED | Peer::MULTICAST | if summed { 0 } else { Peer::CHECKSUM };
        self.in_place && peer.flags & asked == Peer::RESOLVED
    }
}

/// What is to become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Encapsulate in place and send.
    Encap(Encap),
    /// Send through the kernel device.
    ViaKernel(ViaKernel),
    /// Deliver to a local port.
    Deliver(Deliver),
    /// Copy to many.
    Flood(Flood),
    /// Copy a frame from a VTEP to the local ports of this flood list.
    FloodPorts(ListId),
    /// Answer an ARP or ND request.
    Answer(Answer),
    /// Not decided yet: [`crate::decide::port::neigh`] goes on.
    Neigh,
    /// Not decided yet: [`crate::decide::port::unknown`] goes on.
    Unknown,
    /// Not decided yet: the third part at a port goes on, with where the frame goes.
    Resolved(Resolved),
    /// Nothing is done to the frame: it passes, goes on to the next hook, or is dropped, as the reason's class says.
    Leave(Reason),
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
    /// Bytes of the inner frame.
    pub inner_len: usize,
}

impl Account {
    /// Nobody that is known yet.
    #[must_use]
    #[inline(always)]
    pub const fn nobody(inner_len: usize) -> Self {
        Self {
            segment: SegmentId::NONE,
            from_port: PortSlot::NONE,
            from_peer: PeerId::NONE,
            inner_len,
        }
    }
}

/// What is done with a verdict as soon as a decision has reached it.
///
/// A decision ends by calling one of these, rather than by returning a [`Verdict`]: in the kernel each call is where the frame
/// is dealt with, and no half-filled value travels between the two, which the verifier would refuse.
pub trait Act {
    /// What a program returns.
    type Outcome;
    /// [`Verdict::Leave`].
    fn leave(&self, account: &Account, reason: Reason) -> Self::Outcome;
    /// [`Verdict::Encap`] where it can be done `in_place`, else [`Verdict::ViaKernel`] with the same headers.
    fn encap(&self, account: &Account, encap: &Encap, peer: &Peer, in_place: bool)
    -> Self::Outcome;
    /// [`Verdict::Deliver`].
    fn deliver(&self, account: &Account, deliver: &Deliver) -> Self::Outcome;
    /// [`Verdict::Flood`].
    fn flood(&self, account: &Account, flood: &Flood) -> Self::Outcome;
    /// [`Verdict::FloodPorts`].
    fn flood_ports(&self, account: &Account, list: ListId) -> Self::Outcome;
    /// [`Verdict::Answer`].
    fn answer(&self, account: &Account, answer: &Answer) -> Self::Outcome;
    /// [`Verdict::Neigh`].
    fn to_neigh(&self, account: &Account) -> Self::Outcome;
    /// [`Verdict::Unknown`].
    fn to_unknown(&self, account: &Account) -> Self::Outcome;
    /// [`Verdict::Resolved`].
    fn to_resolved(&self, account: &Account, found: &Resolved) -> Self::Outcome;

    /// Tells the daemon, on the way to a verdict.
    fn notify(&self, event: &Event);
    /// Sets the stamp of a learned entry, on the way to a verdict.
    fn refresh(&self, key: &FdbKey);
}

/// What a decision did on the way to its verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// What the daemon is told, in this order.
    pub events: [Option<Event>; 3],
    /// The entry whose stamp is renewed.
    pub refreshed: Option<FdbKey>,
}

impl Notes {
    /// Adds an event.
    ///
    /// # Panics
    ///
    /// If there are three already: no decision tells more.
    #[expect(clippy::panic, reason = "on the host alone, where it is a failed test")]
    fn add(&mut self, event: &Event) {
        match self.events.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(*event),
            None => panic!("a fourth event: {event:?}"),
        }
    }

    /// These, and then those of the next part of a decision.
    #[must_use]
    pub fn and(mut self, next: &Self) -> Self {
        next.events
            .iter()
            .flatten()
            .for_each(|event| self.add(event));
        self.refreshed = self.refreshed.or(next.refreshed);
        self
    }
}

/// Writes the verdict down instead of carrying it out.
#[derive(Debug, Default)]
pub struct Record {
    notes: Cell<Notes>,
}

impl Record {
    /// The decision that `decide` makes.
    pub(crate) fn of(decide: impl FnOnce(&Self) -> Decision) -> Decision {
        let record = Self::default();
        let decision = decide(&record);
        Decision {
            notes: record.notes.get(),
            ..decision
        }
    }
}

impl Act for Record {
    type Outcome = Decision;

    fn leave(&self, account: &Account, reason: Reason) -> Decision {
        Decision::new(account, Verdict::Leave(reason))
    }

    fn encap(&self, account: &Account, encap: &Encap, peer: &Peer, in_place: bool) -> Decision {
        let verdict = if in_place {
            Verdict::Encap(*encap)
        } else {
            Verdict::ViaKernel(ViaKernel::new(encap, peer))
        };
        Decision::new(account, verdict)
    }

    fn deliver(&self, account: &Account, deliver: &Deliver) -> Decision {
        Decision::new(account, Verdict::Deliver(*deliver))
    }

    fn flood(&self, account: &Account, flood: &Flood) -> Decision {
        Decision::new(account, Verdict::Flood(*flood))
    }

    fn flood_ports(&self, account: &Account, list: ListId) -> Decision {
        Decision::new(account, Verdict::FloodPorts(list))
    }

    fn answer(&self, account: &Account, answer: &Answer) -> Decision {
        Decision::new(account, Verdict::Answer(*answer))
    }

    fn to_neigh(&self, account: &Account) -> Decision {
        Decision::new(account, Verdict::Neigh)
    }

    fn to_unknown(&self, account: &Account) -> Decision {
        Decision::new(account, Verdict::Unknown)
    }

    fn to_resolved(&self, account: &Account, found: &Resolved) -> Decision {
        Decision::new(account, Verdict::Resolved(*found))
    }

    fn notify(&self, event: &Event) {
        let mut notes = self.notes.get();
        notes.add(event);
        self.notes.set(notes);
    }

    fn refresh(&self, key: &FdbKey) {
        let mut notes = self.notes.get();
        notes.refreshed = Some(*key);
        self.notes.set(notes);
    }
}

/// A verdict, and whom the frame is to be counted for: see [`Account`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to become of the frame.
    pub verdict: Verdict,
    /// The segment, or [`SegmentId::NONE`] while it is not known.
    pub segment: SegmentId,
    /// The port that the frame came from, or [`PortSlot::NONE`].
    pub from_port: PortSlot,
    /// The peer that the frame came from, or [`PeerId::NONE`].
    pub from_peer: PeerId,
    /// Bytes of the inner frame.
    pub inner_len: usize,
    /// What was done on the way.
    pub notes: Notes,
    /// The destination MAC that was written on the way, or zero.
    pub destination: MacAddr,
}

impl Decision {
    fn new(account: &Account, verdict: Verdict) -> Self {
        let Account {
            segment,
            from_port,
            from_peer,
            inner_len,
        } = *account;
        Self {
            verdict,
            segment,
            from_port,
            from_peer,
            inner_len,
            notes: Notes::default(),
            destination: MacAddr::ZERO,
        }
    }
}

impl Verdict {
    /// The reason under which the frame is counted if the verdict can be carried out.
    #[must_use]
    #[inline(always)]
    pub const fn reason(&self, from_underlay: bool) -> Reason {
        match self {
            Self::Encap(_) => Reason::Encapsulated,
            Self::ViaKernel(via) => via.reason,
            Self::Deliver(_) => {
                if from_underlay {
                    Reason::Decapsulated
                } else {
                    Reason::Switched
                }
            }
            Self::Flood(_) => Reason::Flooded,
            Self::FloodPorts(_) => Reason::FloodedLocally,
            Self::Answer(_) => Reason::Answered,
            // Whoever asks has not gone on.
            Self::Neigh | Self::Unknown | Self::Resolved(_) => Reason::TableGap,
            Self::Leave(reason) => *reason,
        }
    }
}
