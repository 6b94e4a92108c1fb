//! ECN across the tunnel (RFC 6040), for both ways.

/// The two ECN bits of a TOS or traffic class byte.
pub const MASK: u8 = 0b11;
/// Not ECN-capable.
pub const NOT_ECT: u8 = 0b00;
/// ECN-capable, code point 1.
pub const ECT_1: u8 = 0b01;
/// ECN-capable, code point 0.
pub const ECT_0: u8 = 0b10;
/// Congestion experienced.
pub const CE: u8 = 0b11;

/// The outer TOS: the DSCP of `tos` with the ECN field of the inner packet (§4.1, normal mode).
#[must_use]
#[inline(always)]
pub const fn outer_tos(tos: u8, inner_ecn: u8) -> u8 {
    (tos & !MASK) | (inner_ecn & MASK)
}

/// What decapsulation does to the inner ECN field (§4.2, figure 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// It stays as it is.
    Keep,
    /// It must change.
    Set(u8),
    /// The packet must be dropped: congestion would be hidden from a sender that cannot be told.
    Drop,
}

/// The table of §4.2: what becomes of the inner field, given the outer one.
#[must_use]
#[inline(always)]
pub const fn merge(outer: u8, inner: u8) -> Merge {
    match (outer & MASK, inner & MASK) {
        (CE, NOT_ECT) => Merge::Drop,
        (CE, ECT_0 | ECT_1) => Merge::Set(CE),
        (ECT_1, ECT_0) => Merge::Set(ECT_1),
        _ => Merge::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encapsulation_copies_ecn_and_nothing_else() {
        for ecn in [NOT_ECT, ECT_0, ECT_1, CE] {
            assert_eq!(outer_tos(0xb9, ecn), 0xb8 | ecn);
        }
    }

    /// Figure 4 of RFC 6040, row by row: inner Not-ECT, ECT(0), ECT(1), CE; columns outer Not-ECT, ECT(0), ECT(1), CE.
    #[test]
    fn decapsulation_follows_figure_4() {
        use Merge::{Drop, Keep, Set};
        let figure = [
            (NOT_ECT, [Keep, Keep, Keep, Drop]),
            (ECT_0, [Keep, Keep, Set(ECT_1), Set(CE)]),
            (ECT_1, [Keep, Keep, Keep, Set(CE)]),
            (CE, [Keep, Keep, Keep, Keep]),
        ];
        for (inner, row) in figure {
            for (outer, want) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(row) {
                assert_eq!(
                    merge(outer, inner),
                    want,
                    "outer {outer:02b} inner {inner:02b}"
                );
            }
        }
    }
}
