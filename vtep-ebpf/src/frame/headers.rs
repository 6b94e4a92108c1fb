//! The headers that encapsulation writes in front of an inner payload.

use core::marker::PhantomData;

use vtep_common::{
    abi::outer_template::{LEN_V6, TEMPLATE_WORDS},
    frame::{
        packet::Window as _,
        template::{self, Fields},
    },
    runtime::{Slot, SlotName},
    wire::{ethernet, vlan},
};

use super::PacketWindow;

/// The headers in front of an inner payload: the outer ones, and behind them the inner Ethernet header with the tag that it
/// carries.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Headers {
    outer: [u64; TEMPLATE_WORDS],
    /// Room for what the template's words do not hold.
    rest: [u64; 2],
}

impl Slot for Headers {
    const NAME: SlotName = SlotName::Headers;
}

const _: () = assert!(LEN_V6 + ethernet::LEN + vlan::LEN <= size_of::<Headers>());

/// The headers in scratch memory. Each access ends before the next: no reference to them is handed out.
#[derive(Clone, Copy)]
pub struct HeadersSlot<'a> {
    at: *mut Headers,
    scratch: PhantomData<&'a Headers>,
}

impl HeadersSlot<'_> {
    /// # Safety
    ///
    /// Headers can be read and written there, and nothing refers to them.
    #[inline(always)]
    pub const unsafe fn new(at: *mut Headers) -> Self {
        Self {
            at,
            scratch: PhantomData,
        }
    }

    /// Where they are.
    #[inline(always)]
    pub const fn as_ptr(self) -> *const Headers {
        self.at
    }

    /// Makes the outer headers over IPv4 out of a peer's template.
    #[inline(always)]
    pub fn make_v4(self, template: &[u64; TEMPLATE_WORDS], fields: &Fields) {
        // SAFETY: `new` has been promised that nothing else refers to them, and the template lies in another map.
        unsafe {
            core::ptr::copy_nonoverlapping(template, &raw mut (*self.at).outer, 1);
            template::patch_v4(&mut (*self.at).outer, fields);
        }
    }

    /// Makes the outer headers over IPv6 out of a peer's template.
    #[inline(always)]
    pub fn make_v6(self, template: &[u64; TEMPLATE_WORDS], fields: &Fields) {
        // SAFETY: `new` has been promised that nothing else refers to them, and the template lies in another map.
        unsafe {
            core::ptr::copy_nonoverlapping(template, &raw mut (*self.at).outer, 1);
            template::patch_v6(&mut (*self.at).outer, fields);
        }
    }

    /// Puts the inner Ethernet header behind `AT` bytes of outer headers, with `tag_len` bytes of `tag`: none, or all.
    #[inline(always)]
    pub fn put_head<const AT: usize>(self, head: PacketWindow, tag: [u16; 2], tag_len: usize) {
        const { assert!(AT.is_multiple_of(2) && AT <= LEN_V6) };
        let at = self.at.cast::<u16>().wrapping_add(AT / 2);
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
