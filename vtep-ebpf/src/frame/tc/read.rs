//! Reading the headers of an skb.

use aya_ebpf::bindings::__sk_buff;
use vtep_common::{
    abi::addr::MacAddr,
    frame::{neigh::Message, packet::PacketRead},
};

use super::TcFrame;
use crate::{
    frame::PacketWindow,
    runtime::{opaque::opaque, scratch::Scratch},
};

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
    fn opaque(&self, bits: u8) -> u8 {
        opaque(bits)
    }
}

impl TcFrame {
    /// What an ARP or ND message says.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an offset within the headers"
    )]
    pub fn message(
        self,
        scratch: &Scratch,
        l3: usize,
        ethertype: u16,
        source: MacAddr,
    ) -> Option<Message> {
        // SAFETY: the program's own context.
        if unsafe { read_message(self.skb, l3 as u32, ethertype.into(), source.get()) } == 0 {
            return None;
        }
        // SAFETY: the function has spilled it.
        Some(*unsafe { scratch.spilled::<Message>() })
    }
}

/// Spills what an ARP or ND message says; zero where there is none.
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
    let Some(scratch) = Scratch::new() else {
        return 0;
    };
    let mut message = Message::nothing();
    let source = MacAddr::from_number(source);
    // A byte, so that the verifier sees how far it can lie.
    if !message.read(&frame, (l3 as u8).into(), ethertype as u16, source) {
        return 0;
    }
    scratch.spill(&message);
    1
}
