//! The flags of ports, segments, peers and the configuration: a type for each set. Their meanings stand beside the records.

use core::ops::{BitOr, BitOrAssign};

use bytemuck::{Pod, Zeroable};

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident($bits:ty);)+) => {$(
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
        pub struct $name($bits);

        impl $name {
            /// None.
            pub const NONE: Self = Self(0);

            /// The flag with this number.
            #[must_use]
            pub(super) const fn bit(number: u32) -> Self {
                Self(1 << number)
            }

            /// As they lie in the map.
            #[must_use]
            #[inline(always)]
            pub const fn bits(self) -> $bits {
                self.0
            }

            /// True if this flag is set, or one of several.
            #[must_use]
            #[inline(always)]
            pub const fn has(self, flag: Self) -> bool {
                self.0 & flag.0 != 0
            }

            /// Those of `other` as well.
            #[must_use]
            #[inline(always)]
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// None of `other`.
            #[must_use]
            #[inline(always)]
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            /// Those that `other` has too.
            #[must_use]
            #[inline(always)]
            pub const fn of(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }

            /// Sets a flag, or clears it.
            pub const fn set(&mut self, flag: Self, on: bool) {
                *self = if on { self.with(flag) } else { self.without(flag) };
            }
        }

        impl BitOr for $name {
            type Output = Self;

            #[inline(always)]
            fn bitor(self, other: Self) -> Self {
                self.with(other)
            }
        }

        impl BitOrAssign for $name {
            #[inline(always)]
            fn bitor_assign(&mut self, other: Self) {
                *self = self.with(other);
            }
        }
    )+};
}

flags! {
    /// The flags of a [`Port`](super::port::Port).
    PortFlags(u32);
    /// The flags of a [`Segment`](super::segment::Segment).
    SegmentFlags(u32);
    /// The flags of a [`Peer`](super::peer::Peer).
    PeerFlags(u32);
    /// The flags of the [`Config`](super::config::Config).
    ConfigFlags(u16);
}

/// Has the flags of a record asked and set at the record itself.
macro_rules! flagged {
    ($record:ty: $flags:ty) => {
        impl $record {
            /// True if this flag is set, or one of several.
            #[must_use]
            #[inline(always)]
            pub const fn has(&self, flag: $flags) -> bool {
                self.flags.has(flag)
            }

            /// Sets a flag, or clears it.
            pub const fn set(&mut self, flag: $flags, on: bool) {
                self.flags.set(flag, on);
            }
        }
    };
}
pub(super) use flagged;
