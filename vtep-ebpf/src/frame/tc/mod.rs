//! A frame at TC ingress: an skb.

mod checksum;
mod read;
mod reshape;
mod send;
mod tunnel_key;

use aya_ebpf::{bindings::__sk_buff, helpers::generated as helpers, programs::TcContext};
use vtep_common::{
    abi::outer_template::LEN_V6,
    frame::{
        claim,
        packet::{Meta, Tag},
        vlan::TagEdit,
    },
    wire::{ethernet, icmpv6, ipv4, ipv6, tcp, vlan},
};

use super::packet_access;

/// Bytes from the front that are made readable where too few are: outer headers over IPv6, inner Ethernet with a tag, inner
/// IPv4 with all its options, TCP.
const READABLE: u32 = claim::READABLE as u32;
/// Bytes of Ethernet, IPv4 and TCP headers.
const TCP_V4: usize = ethernet::LEN + ipv4::LEN + tcp::LEN;
/// Bytes of Ethernet, tag, IPv6 and TCP headers.
const TCP_V6: usize = ethernet::LEN + vlan::LEN + ipv6::LEN + tcp::LEN;
/// Bytes of outer headers over IPv6, and of inner ones up to the protocol; also of the longest ND message that is read.
const ENCAPSULATED: usize = LEN_V6 + ethernet::LEN + ipv4::LEN;
const _: () =
    assert!(ENCAPSULATED >= TCP_V6 + icmpv6::LEN - tcp::LEN + icmpv6::OPTION_LEN * 2 - vlan::LEN);

/// A frame at TC ingress.
#[derive(Clone, Copy)]
pub struct TcFrame {
    skb: *mut __sk_buff,
}

impl TcFrame {
    /// Takes a frame from a port, and makes readable what is needed to encapsulate it.
    ///
    /// No more: the payload of a GSO packet lies apart, and the kernel would copy the head to bring them together.
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
        frame.make_readable(ENCAPSULATED);
        frame
    }

    /// Takes a frame, and makes readable what a guard of addresses reads.
    #[inline(always)]
    pub fn deep(ctx: &TcContext) -> Self {
        let frame = Self { skb: ctx.skb.skb };
        frame.make_readable(READABLE as usize);
        frame
    }

    /// Makes readable what is behind the headers that every frame is read of.
    #[inline(always)]
    pub fn read_deep(self) {
        self.make_readable(READABLE as usize);
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

    /// False for a frame to another host's MAC, which a switch has flooded or an interface in promiscuous mode lets in
    /// (`eth_type_trans`, kernel `net/ethernet/eth.c`).
    #[inline(always)]
    pub fn is_for_host(self) -> bool {
        const PACKET_OTHERHOST: u32 = 3;
        // SAFETY: as in `len`.
        unsafe { (*self.skb).pkt_type != PACKET_OTHERHOST }
    }

    /// Has the kernel take the frame for the host's.
    #[inline(always)]
    pub fn set_for_host(self) {
        const PACKET_HOST: u32 = 0;
        // SAFETY: the helper takes the program's own context. It refuses only what is no kind of packet that is received.
        unsafe { helpers::bpf_skb_change_type(self.skb, PACKET_HOST) };
    }

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

    /// The skb tag.
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

    /// The two words of the skb tag, in network byte order as they would stand in its bytes.
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

    /// What is to be done with the skb tag, if there is one, for the inner frame to carry it.
    #[inline(always)]
    pub fn carries(self) -> TagEdit {
        const { assert!(TagEdit::Leave as u8 == 0 && TagEdit::Carry as u8 == 3) };
        // SAFETY: as in `len`.
        let present = unsafe { (&raw const (*self.skb).vlan_present).read_volatile() };
        TagEdit::from_code((present & 1) as u8 * 3)
    }

    /// Bytes of payload of each segment of a GSO or GRO packet; zero for any other.
    #[inline(always)]
    pub fn gso_size(self) -> u32 {
        // SAFETY: as in `len`.
        unsafe { (*self.skb).gso_size }
    }

    /// It is a GSO or GRO packet.
    #[inline(always)]
    pub fn is_gso(self) -> bool {
        // SAFETY: as in `len`.
        unsafe { (*self.skb).gso_size != 0 }
    }
}
