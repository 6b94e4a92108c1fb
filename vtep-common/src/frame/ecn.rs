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
pub struct Merge(u8);

impl Merge {
    /// It stays as it is.
    pub const KEEP: Self = Self(0);
    /// It must change, to the outer field.
    pub const SET: Self = Self(1);
    /// The packet must be dropped: congestion would be hidden from a sender that cannot be told.
    pub const DROP: Self = Self(2);

    /// As the number that [`Merge::from_code`] takes.
    #[must_use]
    #[inline(always)]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// From a number, of which the lowest two bits count.
    #[must_use]
    #[inline(always)]
    pub const fn from_code(code: u8) -> Self {
        Self(code & 0b11)
    }

    /// Two bits for each pair of fields, the outer one in the upper bits of the index.
    const FIGURE_4: u32 = Self::at(CE, NOT_ECT, Self::DROP)
        | Self::at(CE, ECT_0, Self::SET)
        | Self::at(CE, ECT_1, Self::SET)
        | Self::at(ECT_1, ECT_0, Self::SET);

    const fn at(outer: u8, inner: u8, merge: Self) -> u32 {
        (merge.0 as u32) << Self::shift(outer, inner)
    }

    #[inline(always)]
    const fn shift(outer: u8, inner: u8) -> u32 {
        ((((outer & MASK) << 2) | (inner & MASK)) << 1) as u32
    }
}

/// The table of §4.2: what becomes of the inner field, given the outer one. Without a branch.
#[must_use]
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "two bits count")]
pub const fn merge(outer: u8, inner: u8) -> Merge {
    Merge::from_code((Merge::FIGURE_4 >> Merge::shift(outer, inner)) as u8)
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

    /// Figure 4 of RFC 6040, row by row: inner Not-ECT, ECT(0), ECT(1), CE; columns outer Not-ECT, ECT(0), ECT(1), CE. Where the
    /// inner field changes, it becomes the outer one.
    #[test]
    fn decapsulation_follows_figure_4() {
        const KEEP: Merge = Merge::KEEP;
        const SET: Merge = Merge::SET;
        const DROP: Merge = Merge::DROP;
        let figure = [
            (NOT_ECT, [KEEP, KEEP, KEEP, DROP]),
            (ECT_0, [KEEP, KEEP, SET, SET]),
            (ECT_1, [KEEP, KEEP, KEEP, SET]),
            (CE, [KEEP, KEEP, KEEP, KEEP]),
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
