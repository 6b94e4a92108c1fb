//! Tags, room and bytes of an skb.

use aya_ebpf::{
    bindings::{
        BPF_ADJ_ROOM_ENCAP_L2_MASK, BPF_ADJ_ROOM_ENCAP_L2_SHIFT, BPF_F_ADJ_ROOM_DECAP_L3_IPV4,
        BPF_F_ADJ_ROOM_DECAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4,
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO,
        bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    helpers::generated as helpers,
};
use vtep_common::{
    frame::mss::Clamp,
    wire::{ethernet, vlan},
};

use super::TcFrame;
use crate::frame::headers::HeadersSlot;

impl TcFrame {
    /// Takes the outermost tag away, wherever it stands.
    #[inline(always)]
    pub fn pop_tag(self) -> bool {
        // SAFETY: the helper takes the program's own context.
        unsafe { helpers::bpf_skb_vlan_pop(self.skb) == 0 }
    }

    /// Gives the frame an skb tag with VLAN ID `vid`.
    #[inline(always)]
    pub fn push_tag(self, vid: u16) -> bool {
        // SAFETY: the helper takes the program's own context.
        unsafe { helpers::bpf_skb_vlan_push(self.skb, vlan::TYPE_8021Q.to_be(), vid) == 0 }
    }

    /// Has a SYN offer less. Where the kernel refuses, it offers what it did.
    #[inline(always)]
    pub fn clamp(self, clamp: &Clamp) {
        let (from, to) = clamp.summed();
        let value = clamp.to.to_be();
        // SAFETY: the helpers take the program's own context, and the bytes of a local word.
        unsafe {
            let changed = helpers::bpf_l4_csum_replace(
                self.skb,
                clamp.checksum_at as u32,
                from.to_be().into(),
                to.to_be().into(),
                2,
            );
            if changed == 0 {
                helpers::bpf_skb_store_bytes(
                    self.skb,
                    clamp.at as u32,
                    (&raw const value).cast(),
                    2,
                    0,
                );
            }
        }
    }

    /// Makes room for `outer_len` bytes of outer headers and `tag_len` bytes of inner tag, and tells the kernel that a tunnel
    /// packet comes of it, so that it can be segmented and its checksums filled in later. The inner frame must be IP.
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

    /// Takes `len` bytes away behind the Ethernet header. The segments of a GRO packet keep their size.
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

    /// Writes the first `len` bytes of `headers` at the front.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a length within the headers"
    )]
    pub fn store_headers(self, headers: HeadersSlot<'_>, len: usize) -> bool {
        let from = headers.as_ptr().cast();
        // SAFETY: `headers` is readable for the longest headers that there are.
        unsafe { helpers::bpf_skb_store_bytes(self.skb, 0, from, len as u32, 0) == 0 }
    }

    /// Cuts or lengthens the frame to `len` bytes; what is added is zero.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a length below 200")]
    pub fn resize(self, len: usize) -> bool {
        // SAFETY: the helper takes the program's own context.
        unsafe { helpers::bpf_skb_change_tail(self.skb, len as u32, 0) == 0 }
    }
}
