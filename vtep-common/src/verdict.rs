//! What is to become of a frame: the result of a decision, before a byte is changed.

use crate::{addr::VtepAddr, packet::Tag, reason::Reason, template::Fields};

/// What happens to the outermost VLAN tag of a frame from a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagEdit {
    /// Nothing: there is none, or it stays in the bytes of the frame.
    Leave,
    /// The tag beside the frame goes.
    StripBeside,
    /// The tag in the bytes of the frame goes.
    StripInBytes,
    /// The tag beside the frame is carried in the bytes of the inner frame.
    Carry(Tag),
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
    /// Slot of the port that the frame came from and must not go back to; `None` for a frame from a VTEP, which goes to
    /// local ports alone.
    pub from: Option<u32>,
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

/// A verdict, and whom the frame is to be counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to become of the frame.
    pub verdict: Verdict,
    /// Number of the segment, once it is known.
    pub segment: Option<u32>,
    /// Slot of the port that the frame came from.
    pub from_port: Option<u32>,
    /// Number of the peer that the frame came from.
    pub from_peer: Option<u32>,
    /// Bytes of the inner frame.
    pub inner_len: usize,
}

impl Decision {
    /// A frame that is left alone, for which no segment is known.
    #[must_use]
    #[inline(always)]
    pub const fn leave(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Leave(reason),
            segment: None,
            from_port: None,
            from_peer: None,
            inner_len: 0,
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
            Self::Flood(flood) => match flood.from {
                Some(_) => Reason::Flooded,
                None => Reason::FloodedLocally,
            },
            Self::Leave(reason) => *reason,
        }
    }
}
