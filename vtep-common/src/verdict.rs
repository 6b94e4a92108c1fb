//! What is to become of a frame: the result of a decision, before a byte is changed.

use crate::{addr::VtepAddr, maps::Peer, reason::Reason, template::Fields};

/// What happens to the outermost VLAN tag of a frame from a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TagEdit {
    /// Nothing: there is none, or it stays in the bytes of the frame.
    Leave,
    /// The tag beside the frame goes.
    StripBeside,
    /// The tag in the bytes of the frame goes.
    StripInBytes,
    /// The tag beside the frame is carried in the bytes of the inner frame.
    Carry,
}

impl TagEdit {
    /// The one with this number, of which the lowest two bits count. The compiler makes no branches of it.
    #[inline(always)]
    pub(crate) const fn from_code(code: u8) -> Self {
        match code & 3 {
            0 => Self::Leave,
            1 => Self::StripBeside,
            2 => Self::StripInBytes,
            _ => Self::Carry,
        }
    }
}

/// Encapsulate in place and send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encap {
    /// Number of the peer.
    pub peer: u32,
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
    /// Number of the peer.
    pub peer: u32,
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
            reason: if peer.has(Peer::RESOLVED) {
                Reason::EncapsulatedByKernel
            } else {
                Reason::EncapsulatedUnresolved
            },
        }
    }
}

/// Deliver to a local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// Slot of the port.
    pub slot: u32,
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
}

/// Copy to the targets of a flood list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// Number of the list.
    pub list: u32,
    /// Slot of the port that the frame came from and must not go back to; [`NONE`] for a frame from a VTEP, which goes to
    /// local ports alone.
    pub from: u32,
    /// Bytes of each copy to a VTEP before the outer headers, of a super-frame those of each frame that it is cut into; 0 where
    /// there are no such copies.
    pub carried_len: u32,
    /// The outer header for the copies to VTEPs: `remote`, `local`, `peer` and `checksum` are those of each target.
    pub outer: ViaKernel,
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
    /// Nothing is done to the frame: it passes, goes on to the next hook, or is dropped, as the reason's class says.
    Leave(Reason),
}

/// The number of nothing: no segment, no port, no peer.
pub const NONE: u32 = u32::MAX;

/// Whom a frame is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// Number of the segment, or [`NONE`] while it is not known.
    pub segment: u32,
    /// Slot of the port that the frame came from, or [`NONE`].
    pub from_port: u32,
    /// Number of the peer that the frame came from, or [`NONE`].
    pub from_peer: u32,
    /// Bytes of the inner frame.
    pub inner_len: usize,
}

impl Who {
    /// Nobody that is known yet.
    #[must_use]
    #[inline(always)]
    pub const fn nobody(inner_len: usize) -> Self {
        Self {
            segment: NONE,
            from_port: NONE,
            from_peer: NONE,
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
    fn leave(&self, who: &Who, reason: Reason) -> Self::Outcome;
    /// [`Verdict::Encap`] where it can be done `in_place`, else [`Verdict::ViaKernel`] with the same headers.
    fn encap(&self, who: &Who, encap: &Encap, peer: &Peer, in_place: bool) -> Self::Outcome;
    /// [`Verdict::Deliver`].
    fn deliver(&self, who: &Who, deliver: &Deliver) -> Self::Outcome;
    /// [`Verdict::Flood`].
    fn flood(&self, who: &Who, flood: &Flood) -> Self::Outcome;
}

/// Writes the verdict down instead of carrying it out.
#[derive(Clone, Copy, Debug)]
pub struct Record;

impl Act for Record {
    type Outcome = Decision;

    fn leave(&self, who: &Who, reason: Reason) -> Decision {
        Decision::new(who, Verdict::Leave(reason))
    }

    fn encap(&self, who: &Who, encap: &Encap, peer: &Peer, in_place: bool) -> Decision {
        let verdict = if in_place {
            Verdict::Encap(*encap)
        } else {
            Verdict::ViaKernel(ViaKernel::new(encap, peer))
        };
        Decision::new(who, verdict)
    }

    fn deliver(&self, who: &Who, deliver: &Deliver) -> Decision {
        Decision::new(who, Verdict::Deliver(*deliver))
    }

    fn flood(&self, who: &Who, flood: &Flood) -> Decision {
        Decision::new(who, Verdict::Flood(*flood))
    }
}

/// A verdict, and whom the frame is to be counted for: see [`Who`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to become of the frame.
    pub verdict: Verdict,
    /// Number of the segment, or [`NONE`] while it is not known.
    pub segment: u32,
    /// Slot of the port that the frame came from, or [`NONE`].
    pub from_port: u32,
    /// Number of the peer that the frame came from, or [`NONE`].
    pub from_peer: u32,
    /// Bytes of the inner frame.
    pub inner_len: usize,
}

impl Decision {
    const fn new(who: &Who, verdict: Verdict) -> Self {
        let Who {
            segment,
            from_port,
            from_peer,
            inner_len,
        } = *who;
        Self {
            verdict,
            segment,
            from_port,
            from_peer,
            inner_len,
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
            Self::Flood(flood) => {
                if flood.from == NONE {
                    Reason::FloodedLocally
                } else {
                    Reason::Flooded
                }
            }
            Self::Leave(reason) => *reason,
        }
    }
}
