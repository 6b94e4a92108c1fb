//! The headers that encapsulation writes in front of an inner payload.

use vtep_common::{
    abi::outer_template::{LEN_V6, TEMPLATE_WORDS},
    frame::packet::Window as _,
    wire::{ethernet, vlan},
};

use crate::frame::PacketWindow;

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
