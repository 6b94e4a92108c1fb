//! What becomes of the tags of a frame from a port.
//!
//! All of it is worked out on bits, without a branch: the verifier follows both sides of every branch, and through the rest of the
//! program each.

use crate::{
    abi::segment::Segment,
    frame::{
        inner::{Inner, Received},
        packet::{PacketRead, Tag, Window as _},
    },
    wire::{ethernet, vlan},
};

/// What happens to the outermost VLAN tag of a frame from a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TagEdit {
    /// Nothing: there is none, or it stays in band.
    Leave,
    /// The skb tag goes.
    StripSkb,
    /// The in-band tag goes.
    StripInBand,
    /// The skb tag is carried in band by the inner frame.
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
            assert!(Segment::INNER_VLAN_PASS.bits() == 1 << 2);
        };
        let tagged = inner.flags as u32;
        let second = (inner.flags >> 3) as u32;
        let passes = segment.flags.bits() >> 2;
        tagged & (!(self.0 as u32) | second) & !passes & 1 != 0
    }

    /// A tag that carries only a priority belongs to the untagged port: it goes as before, but stays where tags are carried.
    #[must_use]
    #[inline(always)]
    pub const fn unless_priority_tag_passes(self, inner: &Inner, segment: &Segment) -> Self {
        const { assert!(Segment::INNER_VLAN_PASS.bits() == 1 << 2) };
        let only_priority = (inner.tag.vid() as u32).wrapping_sub(1) >> 31;
        let passes = segment.flags.bits() >> 2 & 1;
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
    /// It is an skb tag and is carried in band by the inner frame.
    pub const CARRY: u8 = 1 << 1;
    /// There is a tag that stays.
    const STAYS: u8 = 1 << 3;
    /// Behind the tag stands another one.
    pub const SECOND: u8 = 1 << 4;
    /// It is an in-band tag, and goes.
    const STRIP_IN_BAND: u8 = 1 << 5;
    /// No tag stays in band: the kernel sees the payload for what it is.
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

    /// No tag stays in band.
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

/// The 802.1Q VLAN that a device sees a frame in: that of its outermost tag. The VLANs of 802.1ad tags are others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShownVlan(u16);

impl ShownVlan {
    /// None.
    pub const NONE: Self = Self(0);
    /// Perhaps one: behind a tag with a priority alone stands another, in whose VLAN Linux sees the frame (`check_vlan_id` in the
    /// kernel's `net/core/dev.c`), or the frame ends. Nobody looks further, and no VLAN has this ID.
    pub const HIDDEN: Self = Self(0xfff);

    /// That of a frame with these headers.
    #[must_use]
    #[inline(always)]
    pub const fn of(inner: &Inner) -> Self {
        const { assert!(Inner::TAGGED == 1 && Inner::SECOND_TAG == 1 << 3) };
        // Zero where there is no tag.
        let Tag { tpid, tci } = inner.tag;
        let tagged = (inner.flags as u16 & 1).wrapping_neg();
        let tci = tci & tagged;
        Self::of_tag(Tag { tpid, tci }, (inner.flags >> 3 & 1) as u16)
    }

    /// That of a frame with this tag, and more behind it if that is 1. Without a branch: all of a word, or nothing.
    #[inline(always)]
    const fn of_tag(tag: Tag, more: u16) -> Self {
        let other = tag.tpid ^ vlan::TYPE_8021Q;
        let is_ours = ((other as u32).wrapping_sub(1) >> 31) as u16;
        let is_priority = ((tag.vid() as u32).wrapping_sub(1) >> 31) as u16;
        let hidden = (is_priority & more).wrapping_neg();
        Self(tag.vid() & is_ours.wrapping_neg() | Self::HIDDEN.0 & hidden)
    }

    /// That of a frame from a port as it is carried.
    #[must_use]
    #[inline(always)]
    pub fn of_carried<P: PacketRead + ?Sized>(frame: &P, inner: &Inner, edit: VlanEdit) -> Self {
        if !edit.has(VlanEdit::STRIP) {
            return Self::of(inner);
        }
        if edit.has(VlanEdit::SECOND) {
            Self::at(
                frame,
                ethernet::TYPE_OFFSET.wrapping_add(inner.in_band_tag_len()),
            )
        } else {
            Self::NONE
        }
    }

    /// That of a frame from a VTEP, which starts at `base` and has this skb tag.
    #[must_use]
    #[inline(always)]
    pub fn of_received<P: PacketRead + ?Sized>(
        frame: &P,
        skb_tag: Option<Tag>,
        read: &Received,
        base: usize,
    ) -> Self {
        match skb_tag {
            Some(tag) => Self::of_tag(tag, read.is_tagged().into()),
            None if read.is_tagged() => Self::at(frame, base.wrapping_add(ethernet::TYPE_OFFSET)),
            None => Self::NONE,
        }
    }

    /// That of a frame with a tag at this offset.
    #[inline(always)]
    fn at<P: PacketRead + ?Sized>(frame: &P, at: usize) -> Self {
        let Some(window) = frame.window::<{ vlan::LEN + 2 }>(at) else {
            return Self::HIDDEN;
        };
        let tag = Tag {
            tpid: window.be16(0),
            tci: window.be16(2),
        };
        Self::of_tag(tag, vlan::is_tag(window.be16(vlan::LEN)).into())
    }

    /// From its number.
    #[must_use]
    #[inline(always)]
    pub const fn new(vid: u16) -> Self {
        Self(vid)
    }

    /// Its number.
    #[must_use]
    #[inline(always)]
    pub const fn get(self) -> u16 {
        self.0
    }
}
