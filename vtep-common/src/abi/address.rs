//! What an underlay address is to us: the values of `LOCALS` and `ADDRESSES`.

/// Value in `LOCALS`: one of our own VTEP addresses.
pub const LOCAL_OWN: u32 = 1;

/// Value in `LOCALS`: a multicast group that we are a member of.
pub const LOCAL_GROUP: u32 = 2;

/// What an underlay address is to us: a word of `ADDRESSES`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address(u64);

impl Address {
    /// One of our own VTEP addresses.
    pub const OWN: u64 = 1 << 32;
    /// A multicast group that we are a member of.
    pub const GROUP: u64 = 1 << 33;
    /// A peer, whose number is the lower half.
    const PEER: u64 = 1 << 34;
    /// All that makes an address one of ours.
    const LOCAL: u64 = Self::OWN | Self::GROUP;

    /// From a word of the table; zero for an address that is not there.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word; zero where it says nothing.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// VXLAN packets for it are ours.
    #[must_use]
    #[inline(always)]
    pub const fn is_local(self) -> bool {
        self.0 & Self::LOCAL != 0
    }

    /// Number of the peer.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub const fn peer(self) -> Option<u32> {
        if self.0 & Self::PEER == 0 {
            None
        } else {
            Some(self.0 as u32)
        }
    }

    /// Number of the peer, or [`NONE`](crate::abi::id::NONE). Without a branch.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub const fn peer_or_none(self) -> u32 {
        const { assert!(crate::abi::id::NONE == u32::MAX) };
        let none = (self.0 >> Self::PEER.trailing_zeros() & 1).wrapping_sub(1);
        (self.0 | none) as u32
    }

    /// With a bit of [`Address::OWN`] … set or not.
    #[must_use]
    pub const fn with(self, bit: u64, set: bool) -> Self {
        Self(if set { self.0 | bit } else { self.0 & !bit })
    }

    /// As the address of a peer, or of none.
    #[must_use]
    pub fn with_peer(self, number: Option<u32>) -> Self {
        let rest = self.0 & Self::LOCAL;
        Self(match number {
            Some(number) => rest | Self::PEER | u64::from(number),
            None => rest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_peer_and_ours_at_once() {
        let address = Address::default()
            .with_peer(Some(0))
            .with(Address::GROUP, true);
        assert_eq!((address.peer(), address.is_local()), (Some(0), true));
        let address = address.with_peer(None);
        assert_eq!((address.peer(), address.is_local()), (None, true));
        assert_eq!(address.with(Address::GROUP, false).word(), 0);
    }
}
