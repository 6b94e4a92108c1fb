//! The Internet checksum (RFC 1071).

/// A running one's-complement sum of 16-bit words in host byte order, not yet folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Adds one 16-bit word.
    #[must_use]
    #[inline(always)]
    pub fn word(self, word: u16) -> Self {
        Self(self.0.wrapping_add(u64::from(word)))
    }

    /// Adds the two halves of a 32-bit word: as one, which folds to the same.
    #[must_use]
    #[inline(always)]
    pub fn dword(self, dword: u32) -> Self {
        Self(self.0.wrapping_add(u64::from(dword)))
    }

    /// Adds a length as the pseudo headers of TCP and UDP do: 32 bits, of which real frames use 17.
    #[must_use]
    #[inline(always)]
    pub fn length(self, len: usize) -> Self {
        Self(self.0.wrapping_add((len as u64) & 0xffff_ffff))
    }

    /// Adds another sum.
    #[must_use]
    #[inline(always)]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// Adds all words of a run of bytes of even length; an odd last byte counts as if a zero followed.
    #[must_use]
    #[inline(always)]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut sum = self;
        for pair in bytes.chunks(2) {
            let word = match pair {
                [high, low] => u16::from_be_bytes([*high, *low]),
                [high] => u16::from_be_bytes([*high, 0]),
                _ => 0,
            };
            sum = sum.word(word);
        }
        sum
    }

    /// The sum folded to 16 bits, not complemented.
    #[must_use]
    #[inline(always)]
    pub fn fold(self) -> u16 {
        let mut sum = self.0;
        sum = (sum & 0xffff_ffff).wrapping_add(sum >> 32);
        sum = (sum & 0xffff)
            .wrapping_add((sum >> 16) & 0xffff)
            .wrapping_add(sum >> 32);
        sum = (sum & 0xffff).wrapping_add(sum >> 16);
        sum = (sum & 0xffff).wrapping_add(sum >> 16);
        let [.., high, low] = sum.to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// The value for a checksum field: the complement of the folded sum.
    #[must_use]
    #[inline(always)]
    pub fn checksum(self) -> u16 {
        !self.fold()
    }

    /// The value for a UDP checksum field, where zero means "none": zero is sent as its other form, 0xffff (RFC 768).
    #[must_use]
    #[inline(always)]
    pub fn udp_checksum(self) -> u16 {
        match self.checksum() {
            0 => 0xffff,
            sum => sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        let sum = Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), 0xddf2);
    }

    #[test]
    fn a_udp_checksum_is_never_zero() {
        assert_eq!(Sum::default().word(0xffff).udp_checksum(), 0xffff);
    }

    proptest! {
        #[test]
        fn bytes_with_their_checksum_sum_to_all_ones(mut bytes in proptest::collection::vec(any::<u8>(), 2..200)) {
            if bytes.len() % 2 == 1 {
                bytes.push(0);
            }
            let sum = Sum::default().bytes(&bytes).checksum();
            prop_assert_eq!(Sum::default().bytes(&bytes).word(sum).fold(), 0xffff);
        }
    }
}
