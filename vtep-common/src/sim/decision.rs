//! What a decision on the host comes to: the verdict written down instead of carried out.

use crate::{
    abi::{
        addr::MacAddr,
        event::Event,
        fdb::FdbKey,
        id::{PeerId, PortSlot, SegmentId},
        policer::Policed,
        reason::Reason,
    },
    frame::{mss::Clamp, neigh::Answer},
    runtime::verdict::{
        Account, Deliver, Encap, Flood, FloodPorts, Recipient, Resolved, TooBigAnswer, ViaKernel,
    },
};

/// What is to become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Encapsulate in place and send.
    Encap(Encap),
    /// Send through the slow-path device.
    ViaKernel(ViaKernel),
    /// Deliver to a local port.
    Deliver(Deliver),
    /// Copy to many.
    Flood(Flood),
    /// Copy a frame from a VTEP to local ports.
    FloodPorts(FloodPorts),
    /// Answer an ARP or ND request.
    Answer(Answer),
    /// Tell the sender that the frame is too big.
    AnswerTooBig(TooBigAnswer),
    /// Not decided yet: [`crate::decide::port::guard`] goes on.
    Guard,
    /// Not decided yet: [`crate::decide::port::neigh`] goes on.
    Neigh,
    /// Not decided yet: [`crate::decide::port::unknown`] goes on.
    Unknown,
    /// Not decided yet: the last stage at a port goes on, with where the frame goes.
    Resolved(Resolved),
    /// Not decided yet: [`crate::decide::port::clamp`] goes on, with the peer that the SYN goes to.
    Clamp(PeerId),
    /// Not decided yet: [`crate::decide::tunnel::clamp`] goes on, with the port that the SYN goes to.
    ClampReceived(Resolved),
    /// Not decided yet: [`crate::decide::port::too_big`] goes on, with the peer that the frame is too big for.
    TooBigFor(PeerId),
    /// Nothing is done to the frame: it passes, goes on to the next hook, or is dropped, as the reason's class says.
    Leave(Reason),
}

/// What a decision did on the way to its verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// What the daemon is notified of, in this order.
    pub events: Vec<Event>,
    /// The entry whose stamp is refreshed.
    pub refreshed: Option<FdbKey>,
    /// What was taken out of the rates of ports, in this order.
    pub taken: Vec<(PortSlot, Policed, u32)>,
    /// What a SYN offers, and no longer does.
    pub clamped: Option<Clamp>,
}

impl Notes {
    /// Nothing.
    pub(super) const NONE: Self = Self {
        events: vec![],
        refreshed: None,
        taken: vec![],
        clamped: None,
    };

    /// These, and then those of the next stage of a decision.
    #[must_use]
    pub fn and(mut self, next: Self) -> Self {
        self.events.extend(next.events);
        self.refreshed = self.refreshed.or(next.refreshed);
        self.taken.extend(next.taken);
        self.clamped = self.clamped.or(next.clamped);
        self
    }
}

/// A verdict, and whom the frame is to be counted for: see [`Account`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to become of the frame.
    pub verdict: Verdict,
    /// The segment, or [`SegmentId::NONE`] while it is not known.
    pub segment: SegmentId,
    /// The port that the frame came from, or [`PortSlot::NONE`].
    pub from_port: PortSlot,
    /// The peer that the frame came from, or [`PeerId::NONE`].
    pub from_peer: PeerId,
    /// For whom a frame was that is left or dropped, where that is known.
    pub recipient: Recipient,
    /// Bytes of the inner frame.
    pub inner_len: usize,
    /// What was done on the way.
    pub notes: Notes,
    /// The destination MAC that was written on the way, or zero.
    pub destination: MacAddr,
}

impl Decision {
    pub(super) fn new(account: &Account, verdict: Verdict) -> Self {
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
            recipient: Recipient::NONE,
            inner_len: inner_len as usize,
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
            Self::AnswerTooBig(_) => Reason::TooBigAnswered,
            // Whoever asks has not gone on.
            Self::Guard
            | Self::Neigh
            | Self::Unknown
            | Self::Resolved(_)
            | Self::Clamp(_)
            | Self::ClampReceived(_)
            | Self::TooBigFor(_) => Reason::TableGap,
            Self::Leave(reason) => *reason,
        }
    }
}
