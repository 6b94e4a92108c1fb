//! At TC ingress.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_REDIRECT};
use vtep_common::{
    abi::{
        addr::{MacAddr, VtepAddr},
        fdb::{FdbKey, FdbTarget},
        id::{ListId, PeerId, PortSlot},
        outer_template::{LEN_V4, LEN_V6, TEMPLATE_WORDS},
        peer::Peer,
        policer::Policed,
        port::PortKey,
        reason::Reason,
        tail_call::TailCall,
        uplink::UplinkWord,
    },
    decide::{police, tunnel, uplink},
    frame::{
        alone,
        claim::{self, Owner, Upper},
        inner::Inner,
        mss::{self, Clamp},
        neigh::{Answer, Message},
        packet::{Meta, PacketRead, Window as _},
        vlan::{ShownVlan, TagEdit},
    },
    runtime::{
        FoundIngress, Runtime, Slot,
        arrival::{Arrival, Carried, Ingress, PortOwner},
        lookup::Lookup,
        tables::Tables as _,
        verdict::{
            Account, Deliver, Encap, End, Flood, FloodPorts, Notice, Recipient, Refused, Resolved,
            TooBigAnswer, ViaKernel,
        },
    },
    wire::{arp, ethernet, vlan},
};

use super::{MISFIT, end, lost, slow_path};
use crate::{
    event, flood,
    frame::tc::TcFrame,
    runtime::{
        arrival::{
            FOUND, FoundCarried, FoundIngress as Found, carried, ingress, refused_peer,
            refused_port, spill, spill_carried, word_of_nobody,
        },
        lookup::lookup_port,
        scratch::{Scratch, Spilled},
    },
    tables::{KernelTables, hand_off},
    too_big,
};

/// One frame at TC.
pub struct Tc {
    frame: TcFrame,
    meta: Meta,
    scratch: Scratch,
}

impl Tc {
    #[inline(always)]
    pub fn new(frame: TcFrame, scratch: Scratch) -> Self {
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

    /// What became of a frame that was handed over.
    #[inline(always)]
    fn sent(&self, account: &Account, action: i32, reason: Reason) -> End {
        end(
            account,
            if action == TC_ACT_REDIRECT {
                reason
            } else {
                Reason::Redirect
            },
        )
    }

    /// Takes a tag away where the verdict says so. One that is carried stays an skb tag: the slow-path device, and
    /// whatever delivers to a port, puts it into the bytes.
    #[inline(always)]
    fn edit_tag(&self, edit: TagEdit) -> bool {
        match edit {
            TagEdit::Leave | TagEdit::Carry => true,
            TagEdit::StripSkb | TagEdit::StripInBand => self.frame.pop_tag(),
        }
    }

    /// Takes the outer headers off. The reason where it cannot: [`Reason::LeftToKernel`] while the frame is as it was.
    #[inline(always)]
    fn decap(&self, strip: usize) -> Result<SameProtocol, Reason> {
        let frame = self.frame;
        let Some(head) = frame.window::<{ ethernet::LEN }>(strip) else {
            return Err(Reason::LeftToKernel);
        };
        let word = |at| head.be16(at).to_be();
        let words = [0, 2, 4, 6, 8, 10, 12].map(word);
        let inner_type = head.be16(ethernet::TYPE_OFFSET);
        let Some(outer) = frame.window::<{ ethernet::LEN }>(0) else {
            return Err(Reason::LeftToKernel);
        };
        let mut same = inner_type == outer.be16(ethernet::TYPE_OFFSET);
        // Kernels before 6.3 cannot be told what they find inside; a GSO packet must not go on under a wrong name.
        if !same && frame.strip_to(strip, inner_type) {
            same = true;
        } else if !same && frame.is_gso() || !frame.strip(strip) {
            return Err(Reason::LeftToKernel);
        }
        if frame.store_words(0, &words) {
            Ok(SameProtocol(same))
        } else {
            Err(Reason::Reshape)
        }
    }

    /// Puts the outer headers on, in place: those of the template, or without one whatever was last there. `Err(true)`: the kernel
    /// made no room, and the frame is as it was.
    #[inline(always)]
    fn encap_in_place(
        &self,
        encap: &Encap,
        (v6, edit): (bool, TagEdit),
        template: Option<&[u64; TEMPLATE_WORDS]>,
    ) -> Result<(), bool> {
        let frame = self.frame;
        let tag = frame.tag_words();
        // All of a tag or nothing, and the verifier does not know which.
        let carried = if edit == TagEdit::Carry {
            vlan::LEN as u8
        } else {
            0
        };
        let tag_len = usize::from(frame.opaque(carried)) & vlan::LEN;
        if edit != TagEdit::Leave && !frame.pop_tag() {
            return Err(false);
        }
        let Some(head) = frame.window::<{ ethernet::LEN }>(0) else {
            return Err(false);
        };
        let headers = self.scratch.headers();
        let outer_len = if v6 {
            if let Some(template) = template {
                headers.make_v6(template, &encap.fields);
            }
            headers.put_head::<LEN_V6>(head, tag, tag_len);
            LEN_V6
        } else {
            if let Some(template) = template {
                headers.make_v4(template, &encap.fields);
            }
            headers.put_head::<LEN_V4>(head, tag, tag_len);
            LEN_V4
        };
        let made = if encap.inner_ip {
            frame.make_tunnel_room(v6, outer_len, tag_len)
        } else {
            frame.make_room(outer_len + tag_len)
        };
        if !made {
            return Err(tag_len == 0);
        }
        if frame.store_headers(headers, outer_len + ethernet::LEN + tag_len) {
            Ok(())
        } else {
            Err(false)
        }
    }

    /// Sends the frame through the slow-path device.
    #[inline(always)]
    fn send_by_slow_path(&self, account: &Account, encap: Spilled<'_, Encap>, peer: &Peer) -> End {
        if !slow_path::set_encap_key(self.frame, encap, encap.peer) {
            return self.leave(account, Reason::Reshape);
        }
        let action = self.frame.redirect(KernelTables.config().device);
        let mut outcome = self.sent(account, action, ViaKernel::reason(peer));
        outcome.to_peer = encap.peer;
        outcome
    }
}

/// A MAC as words in the byte order of the wire.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "parts of a 48-bit number")]
const fn mac_words(mac: MacAddr) -> [u16; 3] {
    let number = mac.get();
    [
        ((number >> 32) as u16).to_be(),
        ((number >> 16) as u16).to_be(),
        (number as u16).to_be(),
    ]
}

/// The inner frame is of the protocol that the kernel still takes it for. It looks again only at the other end of a wire.
struct SameProtocol(bool);

impl Runtime for Tc {
    type Frame = TcFrame;
    type Tables = KernelTables;
    type Spilled<'a, T: Slot + 'a>
        = Spilled<'a, T>
    where
        Self: 'a;
    type Opaque<'a, T: Slot + 'a>
        = Spilled<'a, T>
    where
        Self: 'a;
    type Outcome = End;

    #[inline(always)]
    fn frame(&self) -> &TcFrame {
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
        self.frame.is_for_host() || self.tables().is_uplink(word)
    }

    #[inline(always)]
    fn ingress(&self) -> Result<FoundIngress<'_, Self>, Refused> {
        tc_ingress(&self.scratch, self.frame)
    }

    #[inline(always)]
    fn carried(&self) -> Result<(FoundIngress<'_, Self>, Spilled<'_, Carried>), Refused> {
        tc_carried(&self.scratch, self.frame)
    }

    #[inline(always)]
    fn arrival(&self) -> Result<Spilled<'_, Arrival>, Refused> {
        tc_arrival(&self.scratch, self.frame)
    }

    #[inline(always)]
    fn decapsulated(&self) -> Result<Spilled<'_, Arrival>, Refused> {
        decapsulated(&self.scratch, self.frame)
    }

    #[inline(always)]
    fn lookup_port(&self, key: PortKey, source: MacAddr, destination: MacAddr) -> Lookup {
        lookup_port(&self.scratch, key, source, destination)
    }

    #[inline(always)]
    fn message(&self, l3: usize, ethertype: u16, source: MacAddr) -> Option<Message> {
        self.frame.message(&self.scratch, l3, ethertype, source)
    }

    #[inline(always)]
    fn upper(&self, at: usize, next: u8) -> Upper {
        upper(self.frame, at, next)
    }

    #[inline(always)]
    fn is_syn(&self, l3: usize, ethertype: u16) -> bool {
        // SAFETY: the program's own context.
        unsafe { frame_is_syn(self.frame.raw(), l3 as u32, ethertype.into()) != 0 }
    }

    #[inline(always)]
    fn stands_alone(&self, _arrival: &Spilled<'_, Arrival>) -> bool {
        // SAFETY: the program's own context, and it is spilled.
        unsafe { arrival_stands_alone(self.frame.raw()) != 0 }
    }

    #[inline(always)]
    fn is_own(&self, _inner: &Spilled<'_, Inner>, _ingress: &Spilled<'_, Ingress>) -> bool {
        // SAFETY: the program's own context, and both are spilled.
        unsafe { frame_is_own(self.frame.raw()) != 0 }
    }

    #[inline(always)]
    fn shown_by_port(
        &self,
        _inner: &Spilled<'_, Inner>,
        _carried: &Spilled<'_, Carried>,
    ) -> ShownVlan {
        // SAFETY: the program's own context, and both are spilled.
        ShownVlan::new(unsafe { vlan_of_carried(self.frame.raw()) } as u16)
    }

    #[inline(always)]
    fn shown_by_vtep(&self, _arrival: &Spilled<'_, Arrival>) -> ShownVlan {
        // SAFETY: the program's own context, and it is spilled.
        ShownVlan::new(unsafe { vlan_of_received(self.frame.raw()) } as u16)
    }

    #[inline(always)]
    fn policed_carried(&self, _inner: &Spilled<'_, Inner>, _carried: &Spilled<'_, Carried>) -> u32 {
        // SAFETY: the program's own context, and both are spilled.
        unsafe { bytes_of_carried(self.frame.raw()) as u32 }
    }

    #[inline(always)]
    fn policed_arrival(&self, _arrival: &Spilled<'_, Arrival>) -> u32 {
        // SAFETY: the program's own context, and it is spilled.
        unsafe { bytes_of_arrival(self.frame.raw()) as u32 }
    }

    #[inline(always)]
    fn spill<'a, T: Slot>(&'a self, value: &'a T) -> Spilled<'a, T> {
        self.scratch.spill(value)
    }

    #[inline(always)]
    fn opaque<'a, T: Slot>(&'a self, value: &'a T) -> Spilled<'a, T> {
        self.scratch.spill(value)
    }

    /// A frame that is left alone, or given up.
    #[inline(always)]
    fn leave(&self, account: &Account, reason: Reason) -> End {
        end(account, reason)
    }

    #[inline(always)]
    fn lose(&self, account: &Account, to: Recipient, reason: Reason) -> End {
        lost(account, to, reason)
    }

    #[inline(always)]
    fn encap(
        &self,
        account: &Account,
        encap: &Spilled<'_, Encap>,
        peer: &Peer,
        in_place: bool,
    ) -> End {
        if in_place {
            match self.encap_in_place(encap, (encap.v6, encap.tag), Some(&peer.template)) {
                Ok(()) => {
                    let action = self.frame.redirect(encap.ifindex);
                    let mut end = self.sent(account, action, Reason::Encapsulated);
                    end.to_peer = encap.peer;
                    return end;
                }
                // Perhaps a tunnel packet of the guest's own, which the slow-path device can still take.
                Err(true) => {}
                Err(false) => return self.leave(account, Reason::Reshape),
            }
        } else if !self.edit_tag(encap.tag) {
            return self.leave(account, Reason::Reshape);
        }
        self.send_by_slow_path(account, *encap, peer)
    }

    #[inline(always)]
    fn deliver(&self, account: &Account, deliver: &Deliver) -> End {
        let frame = self.frame;
        let mut same = SameProtocol(true);
        if deliver.strip != 0 {
            match self.decap(deliver.strip) {
                Ok(found) => same = found,
                Err(reason) => return self.leave(account, reason),
            }
        }
        if !deliver.mac.is_zero() && !frame.store_words(0, &mac_words(deliver.mac)) {
            return self.leave(account, Reason::Reshape);
        }
        if !self.edit_tag(deliver.tag) || deliver.vlan != 0 && !frame.push_tag(deliver.vlan) {
            return self.leave(account, Reason::Reshape);
        }
        let action = if deliver.to_other_end && same.0 {
            frame.redirect_peer(deliver.ifindex)
        } else {
            frame.redirect(deliver.ifindex)
        };
        let reason = if account.from_port.is_none() {
            Reason::Decapsulated
        } else {
            Reason::Switched
        };
        let mut outcome = self.sent(account, action, reason);
        outcome.to_port = deliver.slot;
        outcome
    }

    #[inline(always)]
    fn flood(&self, account: &Account, flood: &Flood) -> End {
        // In scratch memory, since the stack is short. Sending a copy runs no program of ours.
        let flood = self.scratch.spill(flood);
        if !self.edit_tag(flood.encap.tag) {
            return self.leave(account, Reason::Reshape);
        }
        let encap_in_place = |encap: &Encap, outer| self.encap_in_place(encap, outer, None);
        flood::to_all(
            self.frame,
            &self.scratch,
            flood,
            account.inner_len as usize,
            encap_in_place,
        );
        end(account, Reason::Flooded)
    }

    #[inline(always)]
    fn flood_ports(&self, account: &Account, list: ListId, (vlan, bytes): (ShownVlan, u32)) -> End {
        let segment = account.segment;
        let flood = FloodPorts {
            list,
            segment,
            vlan,
            bytes,
        };
        let bytes = account.inner_len as usize;
        flood::to_ports(self.frame, account.from_peer, flood, bytes);
        end(account, Reason::FloodedLocally)
    }

    /// The answer takes the place of the request, and goes back to where that came from.
    #[inline(always)]
    fn answer(&self, account: &Account, answer: &Answer) -> End {
        let frame = self.frame;
        let answer = self.scratch.spill(answer);
        let written = if answer.v6 {
            let words = answer.nd();
            let words = self.scratch.spill_words(words).get();
            frame.resize(answer.l3 + size_of_val(words)) && frame.store_words(answer.l3, words)
        } else {
            let words = answer.arp();
            let words = self.scratch.spill_words(words).get();
            frame.store_words(answer.l3 + arp::OPERATION_OFFSET, words)
        };
        if !written || !frame.store_words(0, &answer.macs()) {
            return self.leave(account, Reason::Reshape);
        }
        let action = frame.redirect(answer.ifindex);
        let mut outcome = self.sent(account, action, Reason::Answered);
        outcome.to_port = account.from_port;
        outcome
    }

    #[inline(always)]
    fn answer_too_big(&self, account: &Account, answer: &TooBigAnswer) -> End {
        let handed_over = too_big::hand_over(self.frame, &self.meta, account, answer);
        let reason = if handed_over {
            Reason::TooBigAnswered
        } else {
            Reason::TooBig
        };
        lost(account, answer.peer.into(), reason)
    }

    #[inline(always)]
    fn to_guard(&self, account: &Account) -> End {
        self.frame.tail_call(TailCall::PortGuard);
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_neigh(&self, account: &Account) -> End {
        self.frame.tail_call(TailCall::PortNeigh);
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_unknown(&self, account: &Account) -> End {
        self.frame.tail_call(TailCall::PortRest);
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_resolved(&self, account: &Account, resolved: &Resolved) -> End {
        if !resolved.mac.is_zero() && !self.frame.store_words(0, &mac_words(resolved.mac)) {
            return self.leave(account, Reason::Reshape);
        }
        if hand_off(resolved) {
            self.frame.tail_call(if resolved.target.list().is_some() {
                TailCall::PortFlood
            } else {
                TailCall::PortFound
            });
        }
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_too_big(&self, account: &Account, peer: PeerId) -> End {
        let handed_off = hand_off(&Resolved {
            target: FdbTarget::Peer(peer).into(),
            mac: MacAddr::ZERO,
            clamped: false,
            cut: false,
        });
        if handed_off {
            self.frame.tail_call(TailCall::PortTooBig);
        }
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_clamp(&self, account: &Account, peer: PeerId) -> End {
        let handed_off = hand_off(&Resolved {
            target: FdbTarget::Peer(peer).into(),
            mac: MacAddr::ZERO,
            clamped: false,
            cut: false,
        });
        if handed_off {
            self.frame.tail_call(TailCall::PortClamp);
        }
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_clamp_received(&self, account: &Account, to: &Resolved) -> End {
        if hand_off(to) {
            self.frame.tail_call(TailCall::TunnelClamp);
        }
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn clamp(&self, l3: usize, ethertype: u16, mtu: u32) {
        // SAFETY: the program's own context.
        unsafe { lower_mss(self.frame.raw(), l3 as u32, ethertype.into(), mtu) };
    }

    #[inline(always)]
    fn take_answer(&self, slot: PortSlot) -> bool {
        crate::police::take_answer(slot)
    }

    #[inline(always)]
    fn take(&self, slot: PortSlot, what: Policed, amount: u32) -> bool {
        crate::police::take(slot, what, amount)
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

/// A frame from a port, at TC.
#[inline(always)]
fn tc_ingress(scratch: &Scratch, frame: TcFrame) -> Result<Found<'_>, Refused> {
    // SAFETY: the program's own context; where the function has found an `Ingress`, it has spilled it and an `Inner`.
    unsafe {
        match find_tc_ingress(frame.raw()) {
            FOUND => Ok((scratch.spilled(), scratch.spilled())),
            word => Err(refused_port(word)),
        }
    }
}

/// The same, and how it is carried.
#[inline(always)]
fn tc_carried(scratch: &Scratch, frame: TcFrame) -> Result<FoundCarried<'_>, Refused> {
    // SAFETY: as in `tc_ingress`, and a `Carried`.
    unsafe {
        match find_tc_carried(frame.raw()) {
            FOUND => Ok(((scratch.spilled(), scratch.spilled()), scratch.spilled())),
            word => Err(refused_port(word)),
        }
    }
}

/// A packet at an uplink, at TC.
#[inline(always)]
fn tc_arrival(scratch: &Scratch, frame: TcFrame) -> Result<Spilled<'_, Arrival>, Refused> {
    // SAFETY: the program's own context; where the function has found an `Arrival`, it has spilled it.
    unsafe {
        match find_tc_arrival(frame.raw()) {
            FOUND => Ok(scratch.spilled()),
            word => Err(refused_peer(word)),
        }
    }
}

/// A frame that the slow-path device has decapsulated.
#[inline(always)]
fn decapsulated(scratch: &Scratch, frame: TcFrame) -> Result<Spilled<'_, Arrival>, Refused> {
    // SAFETY: as in `tc_arrival`.
    unsafe {
        match find_decapsulated(frame.raw()) {
            FOUND => Ok(scratch.spilled()),
            word => Err(refused_peer(word)),
        }
    }
}

/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_tc_ingress(skb: *mut __sk_buff) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return word_of_nobody(MISFIT);
    };
    let rt = Tc::new(TcFrame::from_raw(skb), scratch);
    spill(rt.scratch(), &ingress(&rt))
}

/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_tc_carried(skb: *mut __sk_buff) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return word_of_nobody(MISFIT);
    };
    let rt = Tc::new(TcFrame::from_raw(skb), scratch);
    spill_carried(rt.scratch(), &carried(&rt))
}

/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_tc_arrival(skb: *mut __sk_buff) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return word_of_nobody(MISFIT);
    };
    let rt = Tc::new(TcFrame::from_raw(skb), scratch);
    spill(rt.scratch(), &uplink::find(&rt))
}

/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_decapsulated(skb: *mut __sk_buff) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return word_of_nobody(MISFIT);
    };
    let frame = TcFrame::from_raw(skb);
    let rt = Tc::new(frame, scratch);
    let Some(key) = frame.tunnel_key() else {
        // Not of the slow-path device.
        return word_of_nobody(MISFIT);
    };
    spill(rt.scratch(), &tunnel::find(&rt, &key))
}

/// The number of the VLAN that a frame from a port shows elsewhere.
///
/// # Safety
///
/// The context is that of the program, and an `Inner` and a `Carried` were spilled.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn vlan_of_carried(skb: *mut __sk_buff) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return ShownVlan::HIDDEN.get().into();
    };
    // SAFETY: the caller vouches for it.
    let (inner, carried) = unsafe { (scratch.spilled::<Inner>(), scratch.spilled::<Carried>()) };
    let frame = TcFrame::from_raw(skb);
    ShownVlan::of_carried(&frame, &inner, carried.edit)
        .get()
        .into()
}

/// The number of the VLAN that a frame from a VTEP shows.
///
/// # Safety
///
/// The context is that of the program, and an `Arrival` was spilled.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn vlan_of_received(skb: *mut __sk_buff) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return ShownVlan::HIDDEN.get().into();
    };
    // SAFETY: the caller vouches for it.
    let arrival = unsafe { scratch.spilled::<Arrival>() };
    let frame = TcFrame::from_raw(skb);
    // A byte, so that the verifier sees how far it can lie.
    let base = usize::from(arrival.outer.len as u8);
    ShownVlan::of_received(&frame, frame.tag(), &arrival.read, base)
        .get()
        .into()
}

/// Not zero for a SYN.
///
/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn frame_is_syn(skb: *mut __sk_buff, l3: u32, ethertype: u32) -> u64 {
    let frame = TcFrame::from_raw(skb);
    // A byte, so that the verifier sees how far it can lie.
    mss::is_syn(&frame, usize::from(l3 as u8), ethertype as u16).into()
}

/// Not zero if the inner packet of a frame from a VTEP can go on without its outer headers.
///
/// # Safety
///
/// The context is that of the program, and an `Arrival` was spilled.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn arrival_stands_alone(skb: *mut __sk_buff) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return 0;
    };
    // SAFETY: the caller vouches for it.
    let arrival = unsafe { scratch.spilled::<Arrival>() };
    let frame = TcFrame::from_raw(skb);
    // A byte, so that the verifier sees how far it can lie.
    let l3 = usize::from(arrival.l3() as u8);
    let (ethertype, len) = (arrival.read.ethertype, arrival.payload_len());
    alone::stands(&frame, l3, ethertype, len, frame.gso_size()).into()
}

/// Lowers what a SYN offers to what fits into an MTU. What it returns says nothing.
///
/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn lower_mss(skb: *mut __sk_buff, l3: u32, ethertype: u32, mtu: u32) -> u64 {
    let frame = TcFrame::from_raw(skb);
    frame.read_deep();
    // A byte, so that the verifier sees how far it can lie.
    if let Some(clamp) = Clamp::find(&frame, usize::from(l3 as u8 & 0x1f), ethertype as u16, mtu) {
        frame.clamp(&clamp);
    }
    0
}

/// What rates count of a frame from a port.
///
/// # Safety
///
/// The context is that of the program, and an `Inner` and a `Carried` were spilled.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn bytes_of_carried(skb: *mut __sk_buff) -> u64 {
    let frame = TcFrame::from_raw(skb);
    let Some(scratch) = Scratch::new() else {
        return 0;
    };
    // SAFETY: the caller vouches for it.
    let (inner, carried) = unsafe { (scratch.spilled::<Inner>(), scratch.spilled::<Carried>()) };
    police::bytes(frame.frame_len(), inner.headers_len, carried.gso_size).into()
}

/// What rates count of a frame from a VTEP.
///
/// # Safety
///
/// The context is that of the program, and an `Arrival` was spilled.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn bytes_of_arrival(skb: *mut __sk_buff) -> u64 {
    let frame = TcFrame::from_raw(skb);
    let Some(scratch) = Scratch::new() else {
        return 0;
    };
    // SAFETY: the caller vouches for it.
    let arrival = unsafe { scratch.spilled::<Arrival>() };
    // A byte, so that the verifier sees how far it can lie.
    let base = usize::from(arrival.outer.len as u8);
    police::bytes_from_vtep(&frame, base, (arrival.len, frame.gso_size())).into()
}

/// A port, as the one whom its frames may claim to be from.
struct KernelOwner<'a> {
    frame: TcFrame,
    port: PortOwner<'a, KernelTables>,
}

impl Owner for KernelOwner<'_> {
    #[inline(always)]
    fn owns(&self, addr: &VtepAddr) -> bool {
        self.port.owns(addr)
    }

    #[inline(always)]
    fn is_router(&self) -> bool {
        self.port.is_router()
    }

    #[inline(always)]
    fn upper<P: PacketRead + ?Sized>(&self, _frame: &P, at: usize, next: u8) -> Upper {
        upper(self.frame, at, next)
    }
}

/// What stands behind the extension headers of a packet.
#[inline(always)]
fn upper(frame: TcFrame, at: usize, next: u8) -> Upper {
    // SAFETY: the program's own context.
    Upper::from_word(unsafe { find_upper(frame.raw(), at as u32, next.into()) } as u32)
}

/// Not zero if a frame claims to be from addresses of its port alone.
///
/// # Safety
///
/// The context is that of the program, and an `Inner` and an `Ingress` were spilled.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn frame_is_own(skb: *mut __sk_buff) -> u64 {
    let Some(scratch) = Scratch::new() else {
        return 0;
    };
    // SAFETY: the caller vouches for it.
    let (inner, ingress) = unsafe { (scratch.spilled::<Inner>(), scratch.spilled::<Ingress>()) };
    let frame = TcFrame::from_raw(skb);
    let owner = KernelOwner {
        frame,
        port: PortOwner {
            tables: &KernelTables,
            ingress: &ingress,
        },
    };
    claim::is_own(&frame, &inner, &owner).into()
}

/// The number of what stands behind the extension headers of a packet.
///
/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn find_upper(skb: *mut __sk_buff, at: u32, next: u32) -> u64 {
    let frame = TcFrame::from_raw(skb);
    // Bytes, so that the verifier sees how far it can lie.
    Upper::find(&frame, usize::from(at as u8), next as u8)
        .word()
        .into()
}
