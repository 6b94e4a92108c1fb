//! The VXLAN header (RFC 7348 §5).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |R|R|R|R|I|R|R|R|            Reserved                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                VXLAN Network Identifier (VNI) |   Reserved    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use crate::abi::addr::Vni;

/// Bytes of the header.
pub const LEN: usize = network_types::vxlan::VxlanHdr::LEN;
/// The UDP destination port that IANA assigned.
pub const PORT: u16 = 4789;
/// The I flag, "the VNI is valid", in the header's first word.
pub const FLAG_I: u32 = 0x0800_0000;

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The segment.
    pub vni: Vni,
    /// True if any bit that RFC 7348 reserves was set. A receiver ignores them (§5).
    pub reserved: bool,
}

/// Decodes the two words of a header, or `None` if the I flag is clear: then the VNI has no meaning.
#[must_use]
#[inline(always)]
pub fn decode(first: u32, second: u32) -> Option<Vxlan> {
    if first & FLAG_I == 0 {
        return None;
    }
    let vni = Vni::new(second >> 8)?;
    Some(Vxlan {
        vni,
        reserved: first & !FLAG_I != 0 || second & 0xff != 0,
    })
}

/// Encodes a header with all reserved bits zero.
#[must_use]
#[inline(always)]
pub fn encode(vni: Vni) -> [u8; LEN] {
    let [a, b, c, d] = FLAG_I.to_be_bytes();
    let [_, e, f, g] = vni.get().to_be_bytes();
    [a, b, c, d, e, f, g, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(raw: [u8; 8]) -> (u32, u32) {
        let raw = u64::from_be_bytes(raw);
        (
            u32::try_from(raw >> 32).unwrap(),
            u32::try_from(raw & 0xffff_ffff).unwrap(),
        )
    }

    #[test]
    fn reserved_bits_are_seen_and_do_not_change_the_vni() {
        let (first, second) = words([0xff, 1, 2, 3, 0x12, 0x34, 0x56, 4]);
        let got = decode(first, second);
        assert_eq!(
            got,
            Some(Vxlan {
                vni: Vni::new(0x12_3456).unwrap(),
                reserved: true
            })
        );
    }

    #[test]
    fn a_clear_i_flag_leaves_no_vni() {
        assert_eq!(decode(!FLAG_I, 0x1234_5600), None);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for raw in [0, 1, 100, Vni::MAX] {
            let vni = Vni::new(raw).unwrap();
            let (first, second) = words(encode(vni));
            assert_eq!(
                decode(first, second),
                Some(Vxlan {
                    vni,
                    reserved: false
                })
            );
        }
    }
}
