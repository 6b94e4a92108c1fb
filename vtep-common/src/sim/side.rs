//! Where a frame is looked at.

use crate::{
    abi::counter::Hook,
    decide::{
        port::PortStage,
        tunnel::{DecapStage, TunnelKey},
    },
    frame::packet::Meta,
    runtime::tables::Tables,
    sim::{
        apply::{Outcome, Unfit, apply_port, apply_tunnel, apply_uplink},
        decision::Decision,
        host::{decide_port, decide_tunnel, decide_uplink},
    },
};

/// At which hook a frame is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// At an uplink.
    Uplink(DecapStage),
    /// At a port.
    Port(PortStage),
    /// Behind the slow-path device.
    Tunnel(TunnelKey),
}

impl Side {
    /// The hook.
    #[must_use]
    pub const fn hook(self) -> Hook {
        match self {
            Self::Uplink(DecapStage::Xdp) => Hook::UplinkXdp,
            Self::Uplink(DecapStage::Tc | DecapStage::Device) => Hook::Uplink,
            Self::Port(PortStage::Xdp) => Hook::PortXdp,
            Self::Port(PortStage::Tc | PortStage::Resolved) => Hook::Port,
            Self::Tunnel(_) => Hook::Tunnel,
        }
    }

    /// True if frames come there from the underlay.
    #[must_use]
    pub const fn is_from_underlay(self) -> bool {
        !matches!(self, Self::Port(_))
    }

    /// The decision on a frame.
    #[must_use]
    pub fn decide<T: Tables>(self, frame: &[u8], meta: &Meta, tables: &T) -> Decision {
        match self {
            Self::Uplink(stage) => decide_uplink(frame, meta, stage, tables),
            Self::Port(stage) => decide_port(frame, meta, stage, tables),
            Self::Tunnel(key) => decide_tunnel(frame, meta, &key, tables),
        }
    }

    /// What a decision does to the frame that it was made of.
    ///
    /// # Errors
    ///
    /// If the decision is not one on this frame, with these tables, here.
    pub fn apply<T: Tables>(
        self,
        frame: &[u8],
        meta: &Meta,
        decision: &Decision,
        tables: &T,
    ) -> Result<Outcome, Unfit> {
        match self {
            Self::Uplink(stage) => apply_uplink(frame, meta, stage, decision),
            Self::Port(stage) => apply_port(frame, meta, stage, decision, tables),
            Self::Tunnel(_) => apply_tunnel(frame, meta, decision),
        }
    }
}
