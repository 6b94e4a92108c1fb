//! Numbers that name things in the maps, a type each, so that the slot of a port is never taken for the number of a peer.

use core::fmt;

use bytemuck::{Pod, Zeroable};

/// A number with a type of its own, for tables that are indexed by it.
pub trait Id: Copy + Ord + Into<u32> {
    /// The one with this number.
    fn from_number(number: u32) -> Self;
}

/// Makes the types: a 32-bit number each, laid out as one.
macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {$(
        $(#[doc = $doc])+
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
        pub struct $name(u32);

        impl $name {
            /// Nothing: no map has an entry of this number.
            pub const NONE: Self = Self(u32::MAX);

            /// The one with this number.
            #[must_use]
            #[inline(always)]
            pub const fn new(number: u32) -> Self {
                Self(number)
            }

            /// The number.
            #[must_use]
            #[inline(always)]
            pub const fn get(self) -> u32 {
                self.0
            }

            /// True for [`NONE`](Self::NONE).
            #[must_use]
            #[inline(always)]
            pub const fn is_none(self) -> bool {
                self.0 == Self::NONE.0
            }
        }

        impl Id for $name {
            #[inline(always)]
            fn from_number(number: u32) -> Self {
                Self(number)
            }
        }

        impl From<$name> for u32 {
            #[inline(always)]
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

ids! {
    /// A VNI that exists here: an index of `SEGMENTS`.
    SegmentId;
    /// A port: an index of `PORTS`.
    PortSlot;
    /// A remote VTEP, or a multicast group that is flooded to: an index of `PEERS`.
    PeerId;
    /// A flood list: a key of `FLOOD`. Those below [`MAX_SEGMENTS`](super::map::MAX_SEGMENTS) are the VNIs' own.
    ListId;
    /// An interface, by the number that the kernel gave it.
    Ifindex;
}

impl Ifindex {
    /// The first number that no interface has: the kernel's are positive numbers of 32 bits with a sign.
    const FIRST_ABSENT: u32 = 1 << 31;

    /// The `nth` of the numbers that stand for interfaces which do not exist: those that ports wait for.
    #[must_use]
    pub const fn absent(nth: u32) -> Self {
        Self(Self::FIRST_ABSENT | nth)
    }

    /// True if no interface has this number, and one is waited for instead.
    #[must_use]
    pub const fn is_absent(self) -> bool {
        self.0 >= Self::FIRST_ABSENT
    }
}

/// The flood list of a VNI has the number of its segment.
impl From<SegmentId> for ListId {
    #[inline(always)]
    fn from(segment: SegmentId) -> Self {
        Self(segment.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flood_list_of_a_vni_has_the_number_of_its_segment() {
        assert_eq!(ListId::from(SegmentId::new(7)), ListId::new(7));
    }

    #[test]
    fn no_number_of_the_kernels_is_that_of_an_absent_interface() {
        assert!(!Ifindex::new(i32::MAX.unsigned_abs()).is_absent());
        assert!(Ifindex::absent(0).is_absent());
        assert_ne!(Ifindex::absent(1), Ifindex::absent(2));
    }

    #[test]
    fn nothing_is_no_number_that_a_map_has() {
        assert!(PortSlot::NONE.is_none());
        assert!(!PortSlot::default().is_none());
        assert!(PortSlot::NONE.get() >= crate::abi::map::MAX_FLOOD_LISTS);
    }
}
