//! A frame, and all that a decision on it takes.

use crate::{
    abi::{counter::Hook, reason::Reason},
    frame::packet::Meta,
    sim::{HostTables, Outcome, Side, decision::Decision},
    testkit::apply::{apply_port, apply_tunnel, apply_uplink},
    wire::ethernet,
};

/// A frame and all that a decision on it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its bytes.
    pub frame: Vec<u8>,
    /// What the kernel knows besides.
    pub meta: Meta,
    /// Where it is.
    pub side: Side,
}

impl Sample {
    /// The hook.
    #[must_use]
    pub fn hook(&self) -> Hook {
        self.side.hook()
    }

    /// The decision on it.
    #[must_use]
    pub fn decide(&self, tables: &HostTables) -> Decision {
        self.side.decide(&self.frame, &self.meta, tables)
    }

    /// What the decision does to it.
    #[must_use]
    pub fn apply(&self, decision: &Decision, tables: &HostTables) -> Outcome {
        let Self { frame, meta, side } = self;
        match side {
            Side::Uplink(stage) => apply_uplink(frame, meta, *stage, decision),
            Side::Port(stage) => apply_port(frame, meta, *stage, decision, tables),
            Side::Tunnel(_) => apply_tunnel(frame, meta, decision),
        }
    }

    /// The reason that it is counted under.
    #[must_use]
    pub fn reason(&self, decision: &Decision) -> Reason {
        decision.verdict.reason(self.side.is_from_underlay())
    }

    /// True if `BPF_PROG_TEST_RUN` can show the frame to a program just so: it takes no skb tag, no frame
    /// shorter than its Ethernet header or longer than a page, and knows no tunnel key.
    #[must_use]
    pub fn runs_in_kernel(&self) -> bool {
        const LONGEST: usize = 3_000;
        let Meta { tag, gso_size, .. } = self.meta;
        tag.is_none()
            && gso_size == 0
            && (ethernet::LEN..=LONGEST).contains(&self.frame.len())
            && !matches!(self.side, Side::Tunnel(_))
    }
}
