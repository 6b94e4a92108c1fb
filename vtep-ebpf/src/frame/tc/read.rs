//! Reading the headers of an skb.

use aya_ebpf::bindings::__sk_buff;
use vtep_common::{
    abi::addr::MacAddr,
    frame::{
        inner::Inner,
        neigh::Message,
        packet::{PacketRead, Tag},
    },
    runtime::{Tables, place},
};

use super::TcFrame;
use crate::{frame::PacketWindow, runtime::scratch::KernelTables};

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
            .map(|tables| unsafe { *tables.spilled_just_now::<{ place::VERDICT }, _>() })
    }

    #[inline(always)]
    fn opaque(&self, bits: u8) -> u8 {
        crate::runtime::opaque::opaque(bits)
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
    tables.spill::<{ place::INNER }, _>(&inner);
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
    tables.spill::<{ place::VERDICT }, _>(&message);
    1
}
