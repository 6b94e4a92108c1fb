//! A frame at XDP.

use aya_ebpf::{bindings::xdp_md, helpers::generated as helpers, programs::XdpContext};
use vtep_common::{
    abi::outer_template::TEMPLATE_WORDS,
    frame::packet::{Meta, PacketRead},
    wire::ethernet,
};

use super::{PacketWindow, headers::HeadersSlot, packet_access};

/// Bytes of the two addresses at the front of a frame.
pub const MACS: usize = ethernet::TYPE_OFFSET;

/// Bytes of the first buffer of a multi-buffer frame, at least: a driver fills one before it starts another, and none has
/// smaller ones (they hold a frame of Ethernet's usual MTU, 1,500 bytes, or half a page). A shorter frame has only one, and a call
/// is saved.
const FILLED: usize = 1_024;

/// A frame at XDP.
#[derive(Clone, Copy)]
pub struct XdpFrame {
    ctx: *mut xdp_md,
    len: usize,
}

impl XdpFrame {
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        let ctx = ctx.ctx;
        let mut frame = Self { ctx, len: 0 };
        let linear = frame.data_end() - frame.data();
        // Counts the fragments of a multi-buffer frame too, unlike `data_end - data`.
        let len = if linear < FILLED {
            linear
        } else {
            // SAFETY: the helper takes the program's own context.
            unsafe { helpers::bpf_xdp_get_buff_len(ctx) as usize }
        };
        frame.len = len & 0xf_ffff;
        frame
    }

    /// The frame of a context that a function was given, to read at offsets: nobody has asked how long it is.
    #[inline(always)]
    pub const fn from_raw(ctx: *mut xdp_md) -> Self {
        Self { ctx, len: 0 }
    }

    #[inline(always)]
    pub const fn raw(&self) -> *mut xdp_md {
        self.ctx
    }

    /// Interface, and nothing else: XDP has no skb.
    #[inline(always)]
    pub fn meta(&self) -> Meta {
        // SAFETY: the context of an XDP program is an `xdp_md`.
        let ifindex = unsafe { (*self.ctx).ingress_ifindex };
        Meta {
            ifindex,
            tag: None,
            gso_size: 0,
        }
    }

    /// Read anew for each window, as at TC.
    #[inline(always)]
    fn data(&self) -> usize {
        // SAFETY: the context of an XDP program is an `xdp_md`.
        unsafe { (&raw const (*self.ctx).data).read_volatile() as usize }
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        // SAFETY: as in `data`.
        unsafe { (&raw const (*self.ctx).data_end).read_volatile() as usize }
    }

    packet_access!();

    /// Copies the `N` bytes at `offset`.
    #[inline(always)]
    pub fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let at = self.at::<N>(offset)?;
        // SAFETY: `at()` has compared `at..at + N` with the end of the packet.
        Some(unsafe { *(at as *const [u8; N]) })
    }

    /// Takes `delta` bytes off the front, or adds them where it is negative.
    #[inline(always)]
    pub fn adjust_head(&self, delta: i32) -> bool {
        // SAFETY: the helper takes the program's own context.
        unsafe { helpers::bpf_xdp_adjust_head(self.ctx, delta) == 0 }
    }

    /// Writes `bytes` at `offset`.
    #[inline(always)]
    pub fn store<const N: usize>(&self, offset: usize, bytes: &[u8; N]) -> bool {
        let Some(at) = self.at::<N>(offset) else {
            return false;
        };
        // SAFETY: `at()` has compared `at..at + N` with the end of the packet.
        unsafe { *(at as *mut [u8; N]) = *bytes };
        true
    }

    /// Writes the first `N` bytes of the outer headers at the front, and the two addresses of the inner frame behind them.
    #[inline(always)]
    pub fn store_headers<const N: usize>(&self, headers: HeadersSlot<'_>, macs: [u32; 3]) -> bool {
        const { assert!(N.is_multiple_of(2) && N <= TEMPLATE_WORDS * 8) };
        let Some(to) = self.at::<N>(0) else {
            return false;
        };
        let Some(behind) = self.at::<MACS>(N) else {
            return false;
        };
        let from: *const u64 = headers.as_ptr().cast();
        for index in 0..N / 8 {
            // SAFETY: `at()` has compared all of these bytes with the end of the packet, and the headers are longer. The
            // stores may be unaligned, see `PacketWindow`.
            unsafe { *(to as *mut u64).add(index) = *from.add(index) };
        }
        for index in N / 8 * 4..N / 2 {
            // SAFETY: as above.
            unsafe { *(to as *mut u16).add(index) = *from.cast::<u16>().add(index) };
        }
        for (index, word) in macs.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { *(behind as *mut u32).add(index) = word };
        }
        true
    }

    /// Sends the frame by `ifindex`; returns the XDP action.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the helper returns an XDP action"
    )]
    pub fn redirect(&self, ifindex: u32) -> i32 {
        // SAFETY: the helper takes plain numbers.
        unsafe { helpers::bpf_redirect(ifindex, 0) as i32 }
    }
}

impl PacketRead for XdpFrame {
    type Window<'a>
        = PacketWindow
    where
        Self: 'a;

    #[inline(always)]
    fn frame_len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<PacketWindow> {
        self.at::<N>(offset).map(PacketWindow)
    }

    /// As it is: the verifier follows it at XDP.
    #[inline(always)]
    fn opaque(&self, bits: u8) -> u8 {
        bits
    }
}
