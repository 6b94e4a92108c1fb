//! The VLANs of an interface that have a port each: the value of `TRUNKS`.

use bytemuck::{Pod, Zeroable};

/// Words of a set: a bit for each VLAN ID of 12 bits.
const WORDS: usize = 4_096 / 64;

/// A set of VLAN IDs: 512 bytes.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Vlans([u64; WORDS]);

impl Vlans {
    /// True if it has this VLAN ID, of 12 bits.
    #[must_use]
    #[inline(always)]
    pub fn has(&self, vid: u16) -> bool {
        // Masked, so that the verifier sees how far it can lie.
        match self.0.get(usize::from(vid >> 6) & (WORDS - 1)) {
            Some(word) => word >> (vid & 63) & 1 != 0,
            None => false,
        }
    }

    /// Of these VLAN IDs.
    #[must_use]
    pub fn of(vids: impl IntoIterator<Item = u16>) -> Self {
        let mut vlans = Self::zeroed();
        for vid in vids {
            if let Some(word) = vlans.0.get_mut(usize::from(vid >> 6)) {
                *word |= 1 << (vid & 63);
            }
        }
        vlans
    }

    /// True if it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::zeroed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_vlans_that_it_is_made_of_and_no_others() {
        let ids = [1, 20, 63, 64, 2_048, 4_094];
        let vlans = Vlans::of(ids);
        for vid in 0..4_096 {
            assert_eq!(vlans.has(vid), ids.contains(&vid), "{vid}");
        }
        assert!(!vlans.is_empty() && Vlans::of([]).is_empty());
    }
}
