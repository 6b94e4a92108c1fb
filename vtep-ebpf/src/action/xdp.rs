//! At XDP.

use aya_ebpf::bindings::xdp_action;
use vtep_common::{
    abi::{
        event::Event,
        fdb::FdbKey,
        id::ListId,
        outer_template::{LEN_V4, LEN_V6},
        peer::Peer,
        reason::Reason,
    },
    decide::{
        count::End,
        verdict::{Account, Act, Deliver, Encap, Flood, Resolved, TagEdit},
    },
    frame::{
        neigh::Answer,
        packet::{PacketRead as _, Tag, Window as _},
        template,
    },
    wire::vlan,
};

use super::{MISFIT, end, tag_bytes};
use crate::{
    event,
    frame::xdp::{MACS, XdpFrame},
    runtime::scratch::KernelTables,
};

/// Deals with one frame.
pub struct XdpAct<'a> {
    frame: &'a XdpFrame<'a>,
    tables: KernelTables,
}

impl<'a> XdpAct<'a> {
    #[inline(always)]
    pub const fn new(frame: &'a XdpFrame<'a>, tables: KernelTables) -> Self {
        Self { frame, tables }
    }

    /// Sends a finished frame.
    #[inline(always)]
    fn send(&self, account: &Account, ifindex: u32, reason: Reason) -> End {
        let action = self.frame.redirect(ifindex);
        end(
            account,
            if action == xdp_action::XDP_REDIRECT.cast_signed() {
                reason
            } else {
                Reason::Redirect
            },
        )
    }

    /// Takes the outer headers off, and puts the port's tag in.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "an offset within the headers"
    )]
    fn decap(&self, deliver: &Deliver) -> bool {
        let frame = self.frame;
        let strip = deliver.strip as i32;
        if deliver.vlan == 0 {
            return frame.adjust_head(strip);
        }
        let Some(macs) = frame.load::<MACS>(deliver.strip) else {
            return false;
        };
        let tag = tag_bytes(Tag {
            tpid: vlan::TYPE_8021Q,
            tci: deliver.vlan,
        });
        frame.adjust_head(strip - vlan::LEN as i32)
            && frame.store(0, &macs)
            && frame.store(MACS, &tag)
    }
}

impl Act for XdpAct<'_> {
    type Outcome = End;

    #[inline(always)]
    fn leave(&self, account: &Account, reason: Reason) -> End {
        end(account, reason)
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "constants below 100"
    )]
    fn encap(&self, account: &Account, encap: &Encap, peer: &Peer, _in_place: bool) -> End {
        let frame = self.frame;
        // All that is read of the packet is read before the head moves.
        let Some(window) = frame.window::<MACS>(0) else {
            return self.leave(account, Reason::Reshape);
        };
        let macs = [
            window.be32(0).to_be(),
            window.be32(4).to_be(),
            window.be32(8).to_be(),
        ];
        let outer = &mut self.tables.headers(&peer.template).outer;
        let strip = if encap.tag == TagEdit::StripInBand {
            vlan::LEN as i32
        } else {
            0
        };
        let covered = if encap.v6 {
            template::patch_v6(outer, &encap.fields);
            frame.adjust_head(strip - LEN_V6 as i32) && frame.store_headers::<LEN_V6>(outer, macs)
        } else {
            template::patch_v4(outer, &encap.fields);
            frame.adjust_head(strip - LEN_V4 as i32) && frame.store_headers::<LEN_V4>(outer, macs)
        };
        if !covered {
            return self.leave(account, Reason::Reshape);
        }
        let mut outcome = self.send(account, encap.ifindex, Reason::Encapsulated);
        outcome.to_peer = encap.peer;
        outcome
    }

    #[inline(always)]
    fn deliver(&self, account: &Account, deliver: &Deliver) -> End {
        if !self.decap(deliver) {
            return self.leave(account, Reason::Reshape);
        }
        let mut outcome = self.send(account, deliver.ifindex, Reason::Decapsulated);
        outcome.to_port = deliver.slot;
        outcome
    }

    #[inline(always)]
    fn flood(&self, account: &Account, _flood: &Flood) -> End {
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn flood_ports(&self, account: &Account, _list: ListId) -> End {
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn answer(&self, account: &Account, _answer: &Answer) -> End {
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_neigh(&self, account: &Account) -> End {
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_unknown(&self, account: &Account) -> End {
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_resolved(&self, account: &Account, _found: &Resolved) -> End {
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn notify(&self, event: &Event) {
        event::notify(self.tables, event);
    }

    #[inline(always)]
    fn refresh(&self, key: &FdbKey) {
        event::refresh(key);
    }
}
