//! A frame at TC ingress: an skb.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_ADJ_ROOM_ENCAP_L2_MASK, BPF_ADJ_ROOM_ENCAP_L2_SHIFT, BPF_CSUM_LEVEL_DEC,
        BPF_CSUM_LEVEL_INC, BPF_CSUM_LEVEL_QUERY, BPF_F_ADJ_ROOM_DECAP_L3_IPV4,
        BPF_F_ADJ_ROOM_DECAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4,
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO,
        BPF_F_DONT_FRAGMENT, BPF_F_TUNINFO_IPV6, BPF_F_ZERO_CSUM_TX,
        bpf_adj_room_mode::BPF_ADJ_ROOM_MAC, bpf_tunnel_key, bpf_tunnel_key__bindgen_ty_1,
        bpf_tunnel_key__bindgen_ty_2, bpf_tunnel_key__bindgen_ty_3,
    },
    helpers::generated as helpers,
    programs::TcContext,
};
use vtep_common::{
    addr::{MacAddr, VtepAddr},
    inner::Inner,
    maps::Part,
    neigh::Message,
    packet::{Meta, PacketRead, Tag, Window as _},
    tables::{Tables, place},
    template::{LEN_V6, TEMPLATE_WORDS},
    tunnel::TunnelKey,
    verdict::{TagEdit, ViaKernel},
    wire::{ethernet, icmpv6, ipv4, ipv6, tcp, vlan},
};

use super::{PacketWindow, packet_access};
use crate::{
    maps::{KernelTables, PARTS},
    waiting::SUMMED_WORDS,
};

/// Bytes from the front that are made readable where too few are: outer headers over IPv6, inner Ethernet with a tag, inner
/// IPv4 with all its options, TCP.
const READABLE: u32 = 192;
/// Bytes of Ethernet, IPv4 and TCP headers.
const TCP_V4: usize = ethernet::LEN + ipv4::LEN + tcp::LEN;
/// Bytes of Ethernet, tag, IPv6 and TCP headers.
const TCP_V6: usize = ethernet::LEN + vlan::LEN + ipv6::LEN + tcp::LEN;
/// Bytes of outer headers over IPv6, and of inner ones up to the protocol; also of the longest ND message that is read.
const COVERED: usize = LEN_V6 + ethernet::LEN + ipv4::LEN;
const _: () =
    assert!(COVERED >= TCP_V6 + icmpv6::LEN - tcp::LEN + icmpv6::OPTION_LEN * 2 - vlan::LEN);

/// A frame at TC ingress.
#[derive(Clone, Copy)]
pub struct TcFrame {
    skb: *mut __sk_buff,
}

impl TcFrame {
    /// Takes a frame from a port, and makes readable what is needed to encapsulate it.
    ///
    /// No more: the payload of a super-frame lies apart, and the kernel would copy the head to bring them together.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the kernel keeps a 16-bit value in the word"
    )]
    pub fn from_port(ctx: &TcContext) -> Self {
        let frame = Self { skb: ctx.skb.skb };
        // SAFETY: as in `len`.
        let protocol = u16::from_be(unsafe { (*frame.skb).protocol } as u16);
        frame.make_readable(if protocol == ethernet::TYPE_IPV4 {
            TCP_V4
        } else {
            TCP_V6
        });
        frame
    }

    /// Takes a frame, and makes readable all that is looked at anywhere.
    #[inline(always)]
    pub fn new(ctx: &TcContext) -> Self {
        let frame = Self { skb: ctx.skb.skb };
        frame.make_readable(COVERED);
        frame
    }

    #[inline(always)]
    fn make_readable(self, enough: usize) {
        let linear = self.data_end() - self.data();
        if linear < (self.len() as usize).min(enough) {
            // Where it fails, the reads past the linear part do.
            // SAFETY: the helper takes the program's own context.
            unsafe { helpers::bpf_skb_pull_data(self.skb, self.len().min(READABLE)) };
        }
    }

    /// The frame of a context that a callback was given.
    #[inline(always)]
    pub const fn from_raw(skb: *mut __sk_buff) -> Self {
        Self { skb }
    }

    #[inline(always)]
    pub const fn raw(self) -> *mut __sk_buff {
        self.skb
    }

    #[inline(always)]
    fn len(self) -> u32 {
        // SAFETY: the context of a TC program is an `__sk_buff`.
        unsafe { (*self.skb).len }
    }

    /// Read anew for each window: a pointer that has been compared with the end of the packet is, to the verifier, not the same
    /// as one that has been compared further.
    #[inline(always)]
    fn data(self) -> usize {
        // SAFETY: as in `len`.
        unsafe { (&raw const (*self.skb).data).read_volatile() as usize }
    }

    #[inline(always)]
    fn data_end(self) -> usize {
        // SAFETY: as in `len`.
        unsafe { (&raw const (*self.skb).data_end).read_volatile() as usize }
    }

    packet_access!();

    /// Interface, tag and segment size.
    #[inline(always)]
    pub fn meta(self) -> Meta {
        // SAFETY: as in `len`.
        let (ifindex, gso_size) = unsafe { ((*self.skb).ifindex, (*self.skb).gso_size) };
        Meta {
            ifindex,
            tag: self.tag(),
            gso_size,
        }
    }

    /// The tag beside the frame.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the kernel keeps 16-bit values in these words"
    )]
    pub fn tag(self) -> Option<Tag> {
        // All of it is read in any case: the compiler may otherwise copy about what it has not read, which the verifier refuses.
        // SAFETY: as in `len`.
        let (present, tci, proto) = unsafe {
            (
                (&raw const (*self.skb).vlan_present).read_volatile(),
                (&raw const (*self.skb).vlan_tci).read_volatile(),
                (&raw const (*self.skb).vlan_proto).read_volatile(),
            )
        };
        if present == 0 {
            return None;
        }
        Some(Tag {
            tpid: u16::from_be(proto as u16),
            tci: tci as u16,
        })
    }

    /// The two words of the tag beside the frame, in network byte order as they would stand in its bytes.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the kernel keeps 16-bit values in these words"
    )]
    pub fn tag_words(self) -> [u16; 2] {
        // SAFETY: as in `len`.
        let (tci, proto) = unsafe { ((*self.skb).vlan_tci, (*self.skb).vlan_proto) };
        [proto as u16, (tci as u16).to_be()]
    }

    /// What is to be done with the tag beside the frame, if there is one, for the inner frame to carry it. Without a branch.
    #[inline(always)]
    pub fn carries(self) -> TagEdit {
        const { assert!(TagEdit::Leave as u8 == 0 && TagEdit::Carry as u8 == 3) };
        // SAFETY: as in `len`.
        let present = unsafe { (&raw const (*self.skb).vlan_present).read_volatile() };
        TagEdit::from_code((present & 1) as u8 * 3)
    }

    /// Takes the outermost tag away, wherever it stands.
    #[inline(always)]
    pub fn pop_tag(self) -> bool {
        // SAFETY: the helper takes the program's own context.
        unsafe { helpers::bpf_skb_vlan_pop(self.skb) == 0 }
    }

    /// Puts a tag with VLAN ID `vid` beside the frame.
    #[inline(always)]
    pub fn push_tag(self, vid: u16) -> bool {
        // SAFETY: the helper takes the program's own context.
        unsafe { helpers::bpf_skb_vlan_push(self.skb, vlan::TYPE_8021Q.to_be(), vid) == 0 }
    }

    /// Makes room for `outer_len` bytes of outer headers and `tag_len` bytes of inner tag, and tells the kernel that a tunnel
    /// packet comes of it, so that it can be cut and its checksums filled in later. The inner frame must be IP.
    ///
    /// The room lies behind the Ethernet header: what stood before it must be written again.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "constants below 100"
    )]
    pub fn make_tunnel_room(self, v6: bool, outer_len: usize, tag_len: usize) -> bool {
        let inner_l2 = (14 + tag_len) as u64 & u64::from(BPF_ADJ_ROOM_ENCAP_L2_MASK);
        let l3 = if v6 {
            BPF_F_ADJ_ROOM_ENCAP_L3_IPV6
        } else {
            BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
        };
        let flags = u64::from(
            l3 | BPF_F_ADJ_ROOM_FIXED_GSO
                | BPF_F_ADJ_ROOM_ENCAP_L4_UDP
                | BPF_F_ADJ_ROOM_ENCAP_L2_ETH,
        ) | (inner_l2 << BPF_ADJ_ROOM_ENCAP_L2_SHIFT);
        let delta = (outer_len + tag_len) as i32;
        // SAFETY: the helper takes the program's own context.
        unsafe { helpers::bpf_skb_adjust_room(self.skb, delta, BPF_ADJ_ROOM_MAC, flags) == 0 }
    }

    /// Makes room for `len` bytes in front of a frame of any protocol.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "constants below 100")]
    pub fn make_room(self, len: usize) -> bool {
        // SAFETY: the helper takes the program's own context.
        unsafe { helpers::bpf_skb_change_head(self.skb, len as u32, 0) == 0 }
    }

    /// Every checksum in the bytes is as it will be sent: none is left to offload. False where that cannot be told.
    ///
    /// The kernel tells programs only of frames whose checksums it need not verify. It can be told to take one more checksum for
    /// verified, which it does unless one is left to offload or the whole frame was summed on receipt.
    #[inline(always)]
    pub fn is_complete(self) -> bool {
        let level =
            // SAFETY: the helper takes the program's own context.
            |what: u32| unsafe { helpers::bpf_csum_level(self.skb, u64::from(what)) >= 0 };
        if level(BPF_CSUM_LEVEL_QUERY) {
            return true;
        }
        level(BPF_CSUM_LEVEL_INC);
        level(BPF_CSUM_LEVEL_QUERY) && level(BPF_CSUM_LEVEL_DEC)
    }

    /// Adds the `len` bytes at `offset` to a sum. `words` is where they are read to.
    #[inline(always)]
    pub fn sum(
        self,
        offset: u32,
        len: u32,
        words: &mut [u32; SUMMED_WORDS],
        sum: u32,
    ) -> Option<u32> {
        // The compiler must not know that this is one less, or else it compares in a way that the verifier does not follow.
        let last = core::hint::black_box(u64::from(len).wrapping_sub(1));
        if last >= size_of_val(words) as u64 {
            return None;
        }
        let len = (last + 1) as u32;
        let count = (last / 4 + 1) as u32;
        // The last word may not be filled.
        *words.get_mut(count as usize - 1)? = 0;
        let words = words.as_mut_ptr();
        // SAFETY: `words` has room for `len` bytes, and for whole words of them.
        unsafe {
            if helpers::bpf_skb_load_bytes(self.skb.cast(), offset, words.cast(), len) != 0 {
                return None;
            }
            let nothing = core::ptr::null_mut();
            let sum = helpers::bpf_csum_diff(nothing, 0, words, count * 4, sum);
            // As 32 bits, or folded to 16 by newer kernels.
            u32::try_from(sum).ok()
        }
    }

    /// It is a super-frame.
    #[inline(always)]
    pub fn is_merged(self) -> bool {
        // SAFETY: as in `len`.
        unsafe { (*self.skb).gso_size != 0 }
    }

    /// Takes `len` bytes away behind the Ethernet header. The frames of a super-frame keep their size.
    #[inline(always)]
    pub fn strip(self, len: usize) -> bool {
        self.shrink(len, 0)
    }

    /// As [`strip`](Self::strip), and tells the kernel that what comes to light is IP of another version, as its `ethertype`
    /// says. False for what is not IP.
    #[inline(always)]
    pub fn strip_to(self, len: usize, ethertype: u16) -> bool {
        match ethertype {
            ethernet::TYPE_IPV4 => self.shrink(len, BPF_F_ADJ_ROOM_DECAP_L3_IPV4),
            ethernet::TYPE_IPV6 => self.shrink(len, BPF_F_ADJ_ROOM_DECAP_L3_IPV6),
            _ => false,
        }
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "an offset within the headers"
    )]
    fn shrink(self, len: usize, flags: u32) -> bool {
        let flags = u64::from(flags | BPF_F_ADJ_ROOM_FIXED_GSO);
        // SAFETY: the helper takes the program's own context.
        unsafe {
            helpers::bpf_skb_adjust_room(self.skb, -(len as i32), BPF_ADJ_ROOM_MAC, flags) == 0
        }
    }

    /// Writes plain words at `offset`.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an offset and a length within the headers"
    )]
    pub fn store_words<T: Copy, const N: usize>(self, offset: usize, words: &[T; N]) -> bool {
        let len = size_of::<[T; N]>() as u32;
        // SAFETY: `words` is readable for its whole length.
        unsafe {
            helpers::bpf_skb_store_bytes(self.skb, offset as u32, words.as_ptr().cast(), len, 0)
                == 0
        }
    }

    /// Cuts or lengthens the frame to `len` bytes; what is added is zero.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a length below 200")]
    pub fn resize(self, len: usize) -> bool {
        // SAFETY: the helper takes the program's own context.
        unsafe { helpers::bpf_skb_change_tail(self.skb, len as u32, 0) == 0 }
    }

    /// Goes on with another program. Returns only where that is not there.
    #[inline(always)]
    pub fn go_on(self, part: Part) {
        let context = TcContext::new(self.skb);
        // SAFETY: the programs in the map are of this kind, which the kernel checks when they are put there.
        unsafe { PARTS.tail_call(&context, part as u32) };
    }

    /// Writes the first `len` bytes of `headers` at the front.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a length within the headers"
    )]
    pub fn store_headers(self, headers: &Headers, len: usize) -> bool {
        let from: *const Headers = headers;
        // SAFETY: `headers` is readable for the longest headers that there are.
        unsafe { helpers::bpf_skb_store_bytes(self.skb, 0, from.cast(), len as u32, 0) == 0 }
    }

    /// Sends the frame by `ifindex`; returns the TC action.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the helper returns a TC action"
    )]
    pub fn redirect(self, ifindex: u32) -> i32 {
        // SAFETY: the helper takes plain numbers.
        unsafe { helpers::bpf_redirect(ifindex, 0) as i32 }
    }

    /// Hands the frame to the other end of `ifindex` in its network namespace; returns the TC action.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the helper returns a TC action"
    )]
    pub fn redirect_peer(self, ifindex: u32) -> i32 {
        // SAFETY: the helper takes plain numbers.
        unsafe { helpers::bpf_redirect_peer(ifindex, 0) as i32 }
    }

    /// Sends a copy of the frame by `ifindex`.
    #[inline(always)]
    pub fn clone_redirect(self, ifindex: u32) -> bool {
        // SAFETY: the helper takes the program's own context.
        unsafe { helpers::bpf_clone_redirect(self.skb, ifindex, 0) == 0 }
    }

    /// Tells the kernel device where the frame goes and with which outer header.
    #[inline(always)]
    pub fn set_tunnel_key(self, via: &ViaKernel, device_hash: u32) -> bool {
        let v4 = via.remote.v4_be().is_some();
        let key_words = |addr: VtepAddr| {
            let [a, b, c, d] = addr.words_be();
            // Of an IPv4 key, the kernel reads the first word alone.
            [if v4 { u32::from_be(d) } else { a }, b, c, d]
        };
        let mut key = bpf_tunnel_key {
            tunnel_id: via.vni,
            __bindgen_anon_1: bpf_tunnel_key__bindgen_ty_1 {
                remote_ipv6: key_words(via.remote),
            },
            tunnel_tos: via.tos,
            tunnel_ttl: via.ttl,
            __bindgen_anon_2: bpf_tunnel_key__bindgen_ty_2 { tunnel_ext: 0 },
            tunnel_label: 0,
            __bindgen_anon_3: bpf_tunnel_key__bindgen_ty_3 {
                local_ipv6: key_words(via.local),
            },
        };
        let flags = (u32::from(!v4) * BPF_F_TUNINFO_IPV6)
            | (u32::from(!via.checksum) * BPF_F_ZERO_CSUM_TX)
            | (u32::from(via.dont_fragment) * BPF_F_DONT_FRAGMENT);
        let size = size_of::<bpf_tunnel_key>() as u32;
        // SAFETY: the helpers take the program's own context and a key that is initialized for its whole size.
        unsafe {
            helpers::bpf_set_hash(self.skb, device_hash);
            helpers::bpf_skb_set_tunnel_key(self.skb, &raw mut key, size, u64::from(flags)) == 0
        }
    }

    /// What the kernel device says of the frame that it has decapsulated.
    #[inline(always)]
    pub fn tunnel_key(self) -> Option<TunnelKey> {
        let mut room = MaybeUninit::uninit();
        let key = clear(&mut room);
        let size = size_of::<bpf_tunnel_key>() as u32;
        // SAFETY: the helper takes the program's own context and room for a key of that size.
        if unsafe { helpers::bpf_skb_get_tunnel_key(self.skb, &raw mut *key, size, 0) } == 0 {
            // SAFETY: the helper has filled in the IPv4 forms, as asked.
            let (source, destination) = unsafe {
                (
                    key.__bindgen_anon_1.remote_ipv4,
                    key.__bindgen_anon_3.local_ipv4,
                )
            };
            let destination = if destination == 0 {
                None
            } else {
                Some(VtepAddr::from_v4_be(destination.to_be()))
            };
            return Some(TunnelKey {
                vni: key.tunnel_id,
                source: VtepAddr::from_v4_be(source.to_be()),
                destination,
            });
        }
        let v6 = u64::from(BPF_F_TUNINFO_IPV6);
        // SAFETY: as above.
        if unsafe { helpers::bpf_skb_get_tunnel_key(self.skb, &raw mut *key, size, v6) } == 0 {
            // SAFETY: the helper has filled in the IPv6 forms, as asked.
            let (source, destination) = unsafe {
                (
                    key.__bindgen_anon_1.remote_ipv6,
                    key.__bindgen_anon_3.local_ipv6,
                )
            };
            let destination = if destination == [0; 4] {
                None
            } else {
                Some(VtepAddr::from_v6_be(destination))
            };
            return Some(TunnelKey {
                vni: key.tunnel_id,
                source: VtepAddr::from_v6_be(source),
                destination,
            });
        }
        None
    }
}

/// Sets a key to zeros. Word by word and volatile: a run of zeros would become a loop, which the verifier walks through.
#[inline(always)]
fn clear(key: &mut MaybeUninit<bpf_tunnel_key>) -> &mut bpf_tunnel_key {
    const WORDS: usize = size_of::<bpf_tunnel_key>() / size_of::<u32>();
    const { assert!(WORDS * size_of::<u32>() == size_of::<bpf_tunnel_key>()) };
    let words: *mut u32 = key.as_mut_ptr().cast();
    for index in 0..WORDS {
        // SAFETY: the words are those of the key, which is aligned as they are.
        unsafe { words.add(index).write_volatile(0) };
    }
    // SAFETY: every word of it is written.
    unsafe { key.assume_init_mut() }
}

/// The headers in front of an inner payload: the outer ones, and behind them the inner Ethernet header with the tag that it
/// carries.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Headers {
    pub outer: [u64; TEMPLATE_WORDS],
    /// Room for what the template's words do not hold.
    rest: [u64; 2],
}

const _: () = assert!(LEN_V6 + ethernet::LEN + vlan::LEN <= size_of::<Headers>());

impl Headers {
    /// Puts the inner Ethernet header behind `AT` bytes of outer headers, with `tag_len` bytes of `tag`: none, or all.
    #[inline(always)]
    pub fn put_head<const AT: usize>(&mut self, head: PacketWindow, tag: [u16; 2], tag_len: usize) {
        const { assert!(AT.is_multiple_of(2) && AT <= LEN_V6) };
        let at = (&raw mut *self).cast::<u16>().wrapping_add(AT / 2);
        let ether_type = ethernet::TYPE_OFFSET / 2;
        // SAFETY: the words lie within the headers: the assertion at the type.
        unsafe {
            for index in 0..ether_type {
                at.add(index).write(head.be16(index * 2).to_be());
            }
            // Overwritten where there is none to carry.
            at.add(ether_type).write(tag[0]);
            at.add(ether_type + 1).write(tag[1]);
            at.add(ether_type + tag_len / 2)
                .write(head.be16(ethernet::TYPE_OFFSET).to_be());
        }
    }
}

impl PacketRead for TcFrame {
    type Window<'a> = PacketWindow;

    #[inline(always)]
    fn frame_len(&self) -> usize {
        self.len() as usize
    }

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<PacketWindow> {
        self.at::<N>(offset).map(PacketWindow)
    }

    #[inline(always)]
    fn inner<'a, T: Tables>(
        &self,
        _beside: Option<Tag>,
        _tables: &'a T,
        _room: &'a mut Option<Inner>,
    ) -> Option<&'a Inner> {
        // SAFETY: the program's own context.
        if unsafe { read_inner(self.skb) } == 0 {
            return None;
        }
        // SAFETY: put down just now, in memory that stays.
        KernelTables::new().map(|tables| unsafe { &*tables.place::<{ place::INNER }, Inner>() })
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an offset within the headers"
    )]
    fn message(&self, l3: usize, ethertype: u16, source: MacAddr) -> Option<Message> {
        // SAFETY: the program's own context.
        if unsafe { read_message(self.skb, l3 as u32, ethertype.into(), source.get()) } == 0 {
            return None;
        }
        // SAFETY: put down just now.
        KernelTables::new()
            .map(|tables| unsafe { *tables.put_down_just_now::<{ place::VERDICT }, _>() })
    }

    #[inline(always)]
    fn blur(&self, bits: u8) -> u8 {
        crate::blur::blur(bits)
    }
}

/// Puts down what the headers of a frame say; zero where it has none. A function of its own as those that look things up.
///
/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn read_inner(skb: *mut __sk_buff) -> u64 {
    let frame = TcFrame::from_raw(skb);
    let Some(tables) = KernelTables::new() else {
        return 0;
    };
    let Some(inner) = Inner::read(&frame, 0, frame.tag()) else {
        return 0;
    };
    tables.put_down::<{ place::INNER }, _>(&inner);
    1
}

/// Puts down what an ARP or ND message says; zero where there is none.
///
/// # Safety
///
/// The context is that of the program.
#[unsafe(no_mangle)]
#[inline(never)]
#[expect(clippy::cast_possible_truncation, reason = "it was 16 bits long")]
unsafe extern "C" fn read_message(
    skb: *mut __sk_buff,
    l3: u32,
    ethertype: u32,
    source: u64,
) -> u64 {
    let frame = TcFrame::from_raw(skb);
    let Some(tables) = KernelTables::new() else {
        return 0;
    };
    let mut message = Message::nothing();
    let source = MacAddr::from_number(source);
    // A byte, so that the verifier sees how far it can lie.
    if !message.read(&frame, (l3 as u8).into(), ethertype as u16, source) {
        return 0;
    }
    tables.put_down::<{ place::VERDICT }, _>(&message);
    1
}
