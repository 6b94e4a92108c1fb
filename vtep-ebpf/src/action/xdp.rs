//! At XDP.

use core::{hint::black_box, ops::Deref};

use aya_ebpf::bindings::{xdp_action, xdp_md};
use vtep_common::{
    abi::{
        addr::MacAddr,
        fdb::FdbKey,
        id::{ListId, PeerId, PortSlot},
        outer_template::{LEN_V4, LEN_V6},
        peer::Peer,
        policer::Policed,
        port::PortKey,
        reason::Reason,
        uplink::UplinkWord,
    },
    decide::{port::ingress, uplink},
    frame::{
        alone,
        inner::Inner,
        neigh::{Answer, Message},
        packet::{Meta, PacketRead as _, Tag, Window as _},
        pending,
        vlan::{ShownVlan, TagEdit},
    },
    runtime::{
        FoundIngress, Runtime, Slot, SlotName,
        arrival::{Arrival, Carried, Ingress},
        lookup::Lookup,
        tables::Tables as _,
        verdict::{
            Account, Deliver, Encap, End, Flood, Notice, Recipient, Refused, Resolved, TooBigAnswer,
        },
    },
    wire::{ethernet, vlan},
};

use super::{MISFIT, end, lost, tag_bytes};
use crate::{
    event,
    frame::xdp::{MACS, XdpFrame},
    police,
    runtime::scratch::Scratch,
    tables::KernelTables,
};

/// A value in place of one in its scratch slot: the programs here are whole, with no function that would read it there.
#[derive(Clone, Copy)]
pub struct Value<T>(T);

impl<T> Deref for Value<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

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
        = Value<T>
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
    fn takes(&self, destination: MacAddr) -> bool {
        let word = UplinkWord::new(self.meta.ifindex, destination);
        destination.is_group() || self.tables().is_uplink(word)
    }

    #[inline(always)]
    fn ingress(&self) -> Result<FoundIngress<'_, Self>, Refused> {
        Err(MISFIT.into())
    }

    #[inline(always)]
    fn carried(&self) -> Result<(FoundIngress<'_, Self>, Value<Carried>), Refused> {
        // How the headers were read is forgotten here, or else the verifier walks through the rest nine times as often.
        let inner = black_box(Value(ingress::read(self)?));
        let (ingress, segment) = ingress::find(self, &inner)?;
        let carried = Carried::new(
            self.frame.frame_len(),
            &self.meta,
            &inner,
            &ingress,
            segment,
        );
        Ok(((inner, Value(ingress)), Value(carried)))
    }

    #[inline(always)]
    fn arrival(&self) -> Result<Value<Arrival>, Refused> {
        uplink::find(self).map(Value)
    }

    #[inline(always)]
    fn decapsulated(&self) -> Result<Value<Arrival>, Refused> {
        Err(MISFIT.into())
    }

    #[inline(always)]
    fn lookup_port(&self, key: PortKey, source: MacAddr, destination: MacAddr) -> Lookup {
        Lookup::of_port(key, source, destination, &KernelTables)
    }

    #[inline(always)]
    fn message(&self, l3: usize, ethertype: u16, source: MacAddr) -> Option<Message> {
        let mut message = Message::nothing();
        message
            .read(&self.frame, l3, ethertype, source)
            .then_some(message)
    }

    #[inline(always)]
    fn stands_alone(&self, arrival: &Value<Arrival>) -> bool {
        let l3 = arrival.l3() as u32;
        let (ethertype, len) = (arrival.read.ethertype.into(), arrival.payload_len() as u64);
        // SAFETY: the program's own context.
        unsafe { packet_stands_alone(self.frame.raw(), l3, ethertype, len) != 0 }
    }

    #[inline(always)]
    fn may_be_pending(&self, inner: &Inner) -> bool {
        let l3 = ethernet::LEN + inner.in_band_tag_len();
        let len = self.frame.frame_len().wrapping_sub(l3) as u64;
        // SAFETY: the program's own context.
        unsafe { sum_may_be_pending(self.frame.raw(), l3 as u32, inner.ethertype.into(), len) != 0 }
    }

    #[inline(always)]
    fn is_own(&self, _inner: &Value<Inner>, _ingress: &Value<Ingress>) -> bool {
        // Left to TC.
        false
    }

    #[inline(always)]
    fn shown_by_port(&self, inner: &Value<Inner>, carried: &Value<Carried>) -> ShownVlan {
        ShownVlan::of_carried(&self.frame, inner, carried.edit)
    }

    #[inline(always)]
    fn shown_by_vtep(&self, arrival: &Value<Arrival>) -> ShownVlan {
        let base = arrival.outer.len;
        ShownVlan::of_received(&self.frame, None, &arrival.read, base)
    }

    #[inline(always)]
    fn policed_carried(&self, _inner: &Value<Inner>, _carried: &Value<Carried>) -> u32 {
        self.frame.frame_len() as u32
    }

    #[inline(always)]
    fn policed_arrival(&self, arrival: &Value<Arrival>) -> u32 {
        arrival.len as u32
    }

    #[inline(always)]
    fn spill<'a, T: Slot>(&'a self, value: &'a T) -> Value<T> {
        Value(*value)
    }

    /// The programs here are short enough for the verifier to follow each way, which saves moving the value to memory and back. Only how
    /// the inner headers were read is forgotten, for a quarter of the steps.
    #[inline(always)]
    fn opaque<'a, T: Slot>(&'a self, value: &'a T) -> &'a T {
        if matches!(T::NAME, SlotName::Received) {
            black_box(value)
        } else {
            value
        }
    }

    #[inline(always)]
    fn leave(&self, account: &Account, reason: Reason) -> End {
        end(account, reason)
    }

    #[inline(always)]
    fn lose(&self, account: &Account, to: Recipient, reason: Reason) -> End {
        lost(account, to, reason)
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
    fn flood_ports(&self, account: &Account, _list: ListId, _shows: (ShownVlan, u32)) -> End {
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
    fn answer_too_big(&self, account: &Account, _answer: &TooBigAnswer) -> End {
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_clamp(&self, account: &Account, _peer: PeerId) -> End {
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_clamp_received(&self, account: &Account, _to: &Resolved) -> End {
        self.leave(account, MISFIT)
    }

    /// SYNs are left to TC.
    #[inline(always)]
    fn clamp(&self, _l3: usize, _ethertype: u16, _mtu: u32) {}

    #[inline(always)]
    fn to_too_big(&self, account: &Account, _peer: PeerId) -> End {
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn take_answer(&self, _slot: PortSlot) -> bool {
        false
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

/// Not zero if an inner packet can go on without its outer headers.
///
/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn packet_stands_alone(
    ctx: *mut xdp_md,
    l3: u32,
    ethertype: u32,
    len: u64,
) -> u64 {
    let frame = XdpFrame::from_raw(ctx);
    // A byte, so that the verifier sees how far it can lie.
    alone::stands(
        &frame,
        usize::from(l3 as u8),
        ethertype as u16,
        len as usize,
        0,
    )
    .into()
}

/// Not zero if the checksum of a packet may still be to be filled in.
///
/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn sum_may_be_pending(
    ctx: *mut xdp_md,
    l3: u32,
    ethertype: u32,
    len: u64,
) -> u64 {
    let frame = XdpFrame::from_raw(ctx);
    // A byte, so that the verifier sees how far it can lie.
    pending::may_be(
        &frame,
        usize::from(l3 as u8),
        ethertype as u16,
        len as usize,
    )
    .into()
}
