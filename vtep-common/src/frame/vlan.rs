//! What becomes of the tags of a frame from a port.
//!
//! All of it is worked out on bits, without a branch: the verifier follows both sides of every branch, and through the rest of the
//! program each.

use crate::{abi::segment::Segment, frame::inner::Inner, wire::vlan};

/// What happens to the outermost VLAN tag of a frame from a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TagEdit {
    /// Nothing: there is none, or it stays in the bytes of the frame.
    Leave,
    /// The skb tag goes.
    StripSkb,
    /// The in-band tag goes.
    StripInBand,
    /// The skb tag is carried in the bytes of the inner frame.
    Carry,
}

impl TagEdit {
    /// The one with this number, of which the lowest two bits count. The compiler makes no branches of it.
    #[inline(always)]
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code & 3 {
            0 => Self::Leave,
            1 => Self::StripSkb,
            2 => Self::StripInBand,
            _ => Self::Carry,
        }
    }
}

/// Whether the outermost tag goes: 1, or 0.
#[derive(Clone, Copy, Debug)]
pub struct Strip(u8);

impl Strip {
    /// 1 if the tag goes, else 0.
    #[must_use]
    #[inline(always)]
    pub const fn new(strip: u8) -> Self {
        Self(strip)
    }

    /// There is a tag that no mapping covers, or a second one behind the one that is covered, and the VNI carries none.
    #[must_use]
    #[inline(always)]
    pub const fn leaves_unmapped_tag(self, inner: &Inner, segment: &Segment) -> bool {
        const {
            assert!(Inner::TAGGED == 1 && Inner::SECOND_TAG == 1 << 3);
            assert!(Segment::INNER_VLAN_PASS == 1 << 2);
        };
        let tagged = inner.flags as u32;
        let second = (inner.flags >> 3) as u32;
        let passes = segment.flags >> 2;
        tagged & (!(self.0 as u32) | second) & !passes & 1 != 0
    }

    /// A tag that carries only a priority belongs to the untagged port: it goes as before, but stays where tags are carried.
    #[must_use]
    #[inline(always)]
    pub const fn unless_priority_tag_passes(self, inner: &Inner, segment: &Segment) -> Self {
        const { assert!(Segment::INNER_VLAN_PASS == 1 << 2) };
        let only_priority = (inner.tag.vid() as u32).wrapping_sub(1) >> 31;
        let passes = segment.flags >> 2 & 1;
        let stays = (only_priority & passes) as u8;
        Self(self.0 & !stays)
    }
}

/// What becomes of the outermost tag, and what else is to be known of the tags: flags.
#[derive(Clone, Copy, Debug)]
pub struct VlanEdit(u8);

impl VlanEdit {
    /// The outermost tag goes.
    pub const STRIP: u8 = 1;
    /// It is an skb tag and is carried in the bytes of the inner frame.
    pub const CARRY: u8 = 1 << 1;
    /// There is a tag that stays.
    const STAYS: u8 = 1 << 3;
    /// Behind the tag stands another one.
    pub const SECOND: u8 = 1 << 4;
    /// It is an in-band tag, and goes.
    const STRIP_IN_BAND: u8 = 1 << 5;
    /// No tag stays in the bytes of the frame: the kernel sees the payload for what it is.
    const PLAIN: u8 = 1 << 6;

    /// For a frame whose outermost tag goes, or stays.
    #[must_use]
    #[inline(always)]
    pub const fn new(strip: Strip, inner: &Inner) -> Self {
        const {
            assert!(Self::STRIP == 1 && Inner::TAGGED == 1);
            assert!(Inner::TAG_IN_BAND == 2 && Inner::SECOND_TAG == 8);
        };
        let in_band = inner.flags >> 1;
        let second = inner.flags >> 3;
        let stays = inner.flags & !strip.0;
        Self(
            strip.0
                | flag_if(stays & !in_band, Self::CARRY)
                | flag_if(stays, Self::STAYS)
                | flag_if(second, Self::SECOND)
                | flag_if(in_band & strip.0, Self::STRIP_IN_BAND)
                | flag_if(!(in_band & stays), Self::PLAIN),
        )
    }

    /// True if any of `flags` is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(self, flags: u8) -> bool {
        self.0 & flags != 0
    }

    /// No tag stays in the bytes of the frame.
    #[must_use]
    #[inline(always)]
    pub const fn is_plain(self) -> bool {
        self.has(Self::PLAIN)
    }

    /// The words of a tag that stays, else zero.
    #[must_use]
    #[inline(always)]
    pub const fn words_of_carried(self, inner: &Inner) -> u32 {
        let tag = ((inner.tag.tpid as u32) << 16) | inner.tag.tci as u32;
        tag.wrapping_mul(self.count(Self::STAYS) as u32)
    }

    /// Bytes of a frame of `len` bytes as it is carried.
    #[must_use]
    #[inline(always)]
    pub const fn carried_len(self, len: u32) -> u32 {
        const { assert!(vlan::LEN == 1 << 2) };
        len.wrapping_add((self.count(Self::CARRY) as u32) << 2)
            .wrapping_sub((self.count(Self::STRIP_IN_BAND) as u32) << 2)
    }

    /// What the verdict says of the tag.
    #[must_use]
    #[inline(always)]
    pub const fn tag_edit(self) -> TagEdit {
        const {
            assert!(TagEdit::StripSkb as u8 == 1 && TagEdit::StripInBand as u8 == 2);
            assert!(TagEdit::Carry as u8 == 3);
        };
        let carry = self.count(Self::CARRY);
        TagEdit::from_code(
            self.count(Self::STRIP)
                .wrapping_add(self.count(Self::STRIP_IN_BAND))
                | (carry << 1)
                | carry,
        )
    }

    /// 1 if `flag` is set, else 0.
    #[inline(always)]
    const fn count(self, flag: u8) -> u8 {
        (self.0 >> flag.trailing_zeros()) & 1
    }
}

/// `flag` if the lowest bit of `bits` is set, else 0.
#[inline(always)]
const fn flag_if(bits: u8, flag: u8) -> u8 {
    (bits & 1) << flag.trailing_zeros()
}
