//! At XDP.

use aya_ebpf::bindings::{xdp_action, xdp_md};
use vtep_common::{
    abi::{
        addr::MacAddr,
        fdb::FdbKey,
        id::{ListId, PortSlot},
        outer_template::{LEN_V4, LEN_V6},
        peer::Peer,
        policer::Policed,
        port::PortKey,
        reason::Reason,
    },
    decide::uplink,
    frame::{
        inner::Inner,
        neigh::{Answer, Message},
        packet::{Meta, PacketRead as _, Tag, Window as _},
        vlan::{ShownVlan, TagEdit},
    },
    runtime::{
        FoundIngress, Runtime, Slot,
        arrival::{Arrival, Carried, Ingress},
        lookup::Lookup,
        verdict::{Account, Deliver, Encap, End, Flood, Notice, Resolved},
    },
    wire::vlan,
};

use super::{MISFIT, end, tag_bytes};
use crate::{
    event,
    frame::xdp::{MACS, XdpFrame},
    police,
    runtime::{
        arrival::{FOUND, FoundCarried, carried, reason, spill, spill_carried, word},
        scratch::{Scratch, Spilled},
    },
    tables::KernelTables,
};

/// One frame at XDP.
pub struct Xdp {
    frame: XdpFrame,
    meta: Meta,
    scratch: Scratch,
}

impl Xdp {
    #[inline(always)]
    pub fn new(frame: XdpFrame, scratch: Scratch) -> Self {
        Self {
            frame,
            meta: frame.meta(),
            scratch,
        }
    }

    /// The scratch memory.
    #[inline(always)]
    pub const fn scratch(&self) -> &Scratch {
        &self.scratch
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

impl Runtime for Xdp {
    type Frame = XdpFrame;
    type Tables = KernelTables;
    type Spilled<'a, T: Slot + 'a>
        = Spilled<'a, T>
    where
        Self: 'a;
    type Opaque<'a, T: Slot + 'a>
        = &'a T
    where
        Self: 'a;
    type Outcome = End;

    #[inline(always)]
    fn frame(&self) -> &XdpFrame {
        &self.frame
    }

    #[inline(always)]
    fn meta(&self) -> &Meta {
        &self.meta
    }

    #[inline(always)]
    fn tables(&self) -> &KernelTables {
        &KernelTables
    }

    #[inline(always)]
    fn ingress(&self) -> Result<FoundIngress<'_, Self>, Reason> {
        Err(MISFIT)
    }

    #[inline(always)]
    fn carried(&self) -> Result<(FoundIngress<'_, Self>, Spilled<'_, Carried>), Reason> {
        xdp_carried(&self.scratch, self.frame)
    }

    #[inline(always)]
    fn arrival(&self) -> Result<Spilled<'_, Arrival>, Reason> {
        xdp_arrival(&self.scratch, self.frame)
    }

    #[inline(always)]
    fn decapsulated(&self) -> Result<Spilled<'_, Arrival>, Reason> {
        Err(MISFIT)
    }

    #[inline(always)]
    fn lookup_port(&self, key: PortKey, source: MacAddr, destination: MacAddr) -> Lookup {
        let lookup = Lookup::of_port(key, source, destination, &KernelTables);
        *self.scratch.spill(&lookup)
    }

    #[inline(always)]
    fn message(&self, l3: usize, ethertype: u16, source: MacAddr) -> Option<Message> {
        let mut message = Message::nothing();
        message
            .read(&self.frame, l3, ethertype, source)
            .then_some(message)
    }

    #[inline(always)]
    fn is_own(&self, _inner: &Spilled<'_, Inner>, _ingress: &Spilled<'_, Ingress>) -> bool {
        // Left to TC.
        false
    }

    #[inline(always)]
    fn shown_by_port(
        &self,
        inner: &Spilled<'_, Inner>,
        carried: &Spilled<'_, Carried>,
    ) -> ShownVlan {
        ShownVlan::of_carried(&self.frame, inner, carried.edit)
    }

    #[inline(always)]
    fn shown_by_vtep(&self, arrival: &Spilled<'_, Arrival>) -> ShownVlan {
        let base = arrival.outer.len;
        ShownVlan::of_received(&self.frame, None, &arrival.read, base)
    }

    #[inline(always)]
    fn spill<'a, T: Slot>(&'a self, value: &'a T) -> Spilled<'a, T> {
        self.scratch.spill(value)
    }

    /// The programs here are short enough for the verifier to follow each way, which saves moving the value to memory and back.
    #[inline(always)]
    fn opaque<'a, T: Slot>(&'a self, value: &'a T) -> &'a T {
        value
    }

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
    fn encap(&self, account: &Account, encap: &&Encap, peer: &Peer, _in_place: bool) -> End {
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
        let headers = self.scratch.headers();
        let strip = if encap.tag == TagEdit::StripInBand {
            vlan::LEN as i32
        } else {
            0
        };
        let written = if encap.v6 {
            headers.make_v6(&peer.template, &encap.fields);
            frame.adjust_head(strip - LEN_V6 as i32) && frame.store_headers::<LEN_V6>(headers, macs)
        } else {
            headers.make_v4(&peer.template, &encap.fields);
            frame.adjust_head(strip - LEN_V4 as i32) && frame.store_headers::<LEN_V4>(headers, macs)
        };
        if !written {
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
    fn flood_ports(&self, account: &Account, _list: ListId, _vlan: ShownVlan) -> End {
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn answer(&self, account: &Account, _answer: &Answer) -> End {
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_guard(&self, account: &Account) -> End {
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
    fn to_resolved(&self, account: &Account, _resolved: &Resolved) -> End {
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn take(&self, slot: PortSlot, what: Policed, amount: u32) -> bool {
        police::take(slot, what, amount)
    }

    #[inline(always)]
    fn notify(&self, account: &Account, notice: &Notice<'_>) {
        event::notify(&self.scratch, account, notice);
    }

    #[inline(always)]
    fn refresh(&self, key: &FdbKey) {
        event::refresh(key);
    }
}

/// A frame from a port, and how it is carried.
#[inline(always)]
fn xdp_carried(scratch: &Scratch, frame: XdpFrame) -> Result<FoundCarried<'_>, Reason> {
    // SAFETY: the program's own context; where the function has found a `Carried`, it has spilled it, an `Ingress` and an `Inner`.
    unsafe {
        match find_xdp_carried(frame.raw()) {
            FOUND => Ok(((scratch.spilled(), scratch.spilled()), scratch.spilled())),
            word => Err(reason(word)),
        }
    }
}

/// A packet at an uplink, at XDP.
#[inline(always)]
fn xdp_arrival(scratch: &Scratch, frame: XdpFrame) -> Result<Spilled<'_, Arrival>, Reason> {
    // SAFETY: as in `xdp_carried`, of an `Arrival`.
    unsafe {
        match find_xdp_arrival(frame.raw()) {
            FOUND => Ok(scratch.spilled()),
            word => Err(reason(word)),
        }
    }
}

/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_xdp_carried(context: *mut xdp_md) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return word(MISFIT);
    };
    let rt = Xdp::new(XdpFrame::from_raw(context), scratch);
    spill_carried(rt.scratch(), &carried(&rt))
}

/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_xdp_arrival(context: *mut xdp_md) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return word(MISFIT);
    };
    let rt = Xdp::new(XdpFrame::from_raw(context), scratch);
    spill(rt.scratch(), &uplink::find(&rt))
}
