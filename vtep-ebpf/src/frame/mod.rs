//! The frame of each hook: reading it, reshaping it, sending it. The only code that touches packet memory.

use vtep_common::frame::packet::Window;

pub mod headers;
pub mod tc;
pub mod xdp;

/// Bytes of packet memory that were compared with the end of the packet.
///
/// Words are read whole. Packet memory is not aligned for them; the kernels that vtep runs on allow such loads, and the
/// verifier checks every one of them against the window.
#[derive(Clone, Copy)]
pub struct PacketWindow(usize);

impl Window for PacketWindow {
    #[inline(always)]
    fn byte(self, at: usize) -> u8 {
        // SAFETY: callers read within the window, and the verifier rejects the program if one does not.
        unsafe { *((self.0 + at) as *const u8) }
    }

    #[inline(always)]
    fn be16(self, at: usize) -> u16 {
        // SAFETY: as in `byte`; the load may be unaligned, see the type.
        u16::from_be(unsafe { *((self.0 + at) as *const u16) })
    }

    #[inline(always)]
    fn raw32(self, at: usize) -> u32 {
        // SAFETY: as in `byte`; the load may be unaligned, see the type.
        unsafe { *((self.0 + at) as *const u32) }
    }

    #[inline(always)]
    fn be32(self, at: usize) -> u32 {
        // SAFETY: as in `byte`; the load may be unaligned, see the type.
        u32::from_be(unsafe { *((self.0 + at) as *const u32) })
    }
}

/// Reads that both hooks do alike, over `data..data_end`.
macro_rules! packet_access {
    () => {
        /// Address of the `N` bytes at `offset`, if they are all there.
        #[inline(always)]
        fn at<const N: usize>(&self, offset: usize) -> Option<usize> {
            if offset > crate::frame::MAX_OFFSET {
                return None;
            }
            let at = self.data() + crate::runtime::opaque::below_1024(offset);
            if at + N > self.data_end() {
                None
            } else {
                Some(at)
            }
        }
    };
}
pub(crate) use packet_access;

/// Largest offset that is read at: keeps every offset within what the verifier tracks.
pub const MAX_OFFSET: usize = 1023;
