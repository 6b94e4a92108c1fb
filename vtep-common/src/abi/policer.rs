//! How much may come from a port, go to it, and be flooded for it: the values of `POLICERS`.

use bytemuck::{Pod, Zeroable};

use super::id::PortSlot;

/// What a policer holds to its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Policed {
    /// Bytes from the port.
    In = 0,
    /// Frames from the port that are flooded: broadcast, unknown unicast, multicast.
    Bum = 1,
    /// Bytes to the port.
    Out = 2,
}

impl Policed {
    /// Each.
    pub const ALL: [Self; 3] = [Self::In, Self::Bum, Self::Out];
    /// Places for a port in `POLICERS`: what comes from it lies in one cache line, what goes to it in another.
    pub const PLACES: u32 = 4;

    /// The place in `POLICERS` of a port's policer.
    #[must_use]
    #[inline(always)]
    pub const fn index(self, slot: PortSlot) -> u32 {
        slot.get()
            .wrapping_mul(Self::PLACES)
            .wrapping_add(self as u32)
    }

    /// What the policer at a place is for, and whose it is.
    #[must_use]
    pub const fn at(index: u32) -> Option<(PortSlot, Self)> {
        let slot = PortSlot::new(index / Self::PLACES);
        match index % Self::PLACES {
            0 => Some((slot, Self::In)),
            1 => Some((slot, Self::Bum)),
            2 => Some((slot, Self::Out)),
            _ => None,
        }
    }
}

/// A rate, and how much of it is used up: 32 bytes. All zero where there is none.
///
/// It is the generic cell rate algorithm (ITU-T I.371): a bucket in which one number changes. See [`crate::decide::police`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Policer {
    /// Until when what has passed lasts at the rate, in units of 2^-8 ns of `CLOCK_MONOTONIC`. In the past: the bucket is full. The programs
    /// alone write it; a new rate begins with a full bucket.
    pub used_until: u64,
    /// How long a full bucket lasts at the rate, in the same units.
    pub burst: u64,
    /// How long one byte, or one part of a frame, lasts at the rate, in units of 2^-18 ns.
    pub cost: u64,
    /// The rate as the user named it, in bits or frames a second: for the daemon alone.
    pub rate: u64,
}

const _: () = assert!(size_of::<Policer>() == 32);
const _: () = assert!(
    1 << (Policer::TIME_SHIFT + Policer::COST_SHIFT) == Policer::FRAME << Policer::FRAME_COST_SHIFT
);

impl Policer {
    /// Units of [`Policer::used_until`] in a nanosecond, as a power of 2. The number starts anew after 834 days.
    pub const TIME_SHIFT: u32 = 8;
    /// Units of [`Policer::cost`] in one of these, likewise.
    pub const COST_SHIFT: u32 = 10;
    /// Bits a second that can be policed, at least and at most.
    pub const BITS: (u64, u64) = (1_000, 1_000_000_000_000);
    /// Frames a second that can be policed, at least and at most.
    pub const FRAMES: (u64, u64) = (1, 100_000_000);
    /// Parts that a frame counts as, where frames are counted.
    pub const FRAME: u32 = 1 << 12;
    /// Units of cost in a nanosecond of a part of a frame, as a power of 2.
    const FRAME_COST_SHIFT: u32 = 6;
    /// Bytes that a bucket holds at least: the largest packet that most guests send.
    pub const LEAST_BYTES: u64 = 64 << 10;
    /// How long a bucket lasts at least: for bytes this, for frames a second.
    const LEAST_NS: u64 = 10_000_000;
    /// Nanoseconds of a second.
    const SECOND: u64 = 1_000_000_000;

    /// What may be answered at a port of frames that are too big: frames a second. It is no setting: the place of a port has
    /// [`used_until`](Self::used_until) alone, which the programs write.
    pub const ANSWERS: Self = Self::frames(100);

    /// The place of it in `POLICERS`.
    #[must_use]
    #[inline(always)]
    pub const fn answers_index(slot: PortSlot) -> u32 {
        Policed::In.index(slot).wrapping_add(3)
    }

    /// The policer of so many bits a second, within [`Policer::BITS`]; 0 for none.
    #[must_use]
    pub const fn bits(rate: u64) -> Self {
        if rate == 0 {
            return Self::NONE;
        }
        let cost = lasts(Self::SECOND * 8, rate);
        let least = Self::LEAST_NS << Self::TIME_SHIFT;
        let burst = cost.wrapping_mul(Self::LEAST_BYTES) >> Self::COST_SHIFT;
        Self {
            used_until: 0,
            burst: if burst > least { burst } else { least },
            cost,
            rate,
        }
    }

    /// The policer of so many frames a second, within [`Policer::FRAMES`]; 0 for none. Its bucket holds those of a second.
    #[must_use]
    pub const fn frames(rate: u64) -> Self {
        if rate == 0 {
            return Self::NONE;
        }
        Self {
            used_until: 0,
            burst: Self::SECOND << Self::TIME_SHIFT,
            cost: (Self::SECOND << Self::FRAME_COST_SHIFT).div_ceil(rate),
            rate,
        }
    }

    /// None.
    pub const NONE: Self = Self {
        used_until: 0,
        burst: 0,
        cost: 0,
        rate: 0,
    };
}

/// How long one of so many in `ns` nanoseconds lasts, in units of [`Policer::cost`]: rather too long than too short.
const fn lasts(ns: u64, rate: u64) -> u64 {
    (ns << (Policer::TIME_SHIFT + Policer::COST_SHIFT)).div_ceil(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_its_port_and_what_is_policed() {
        for slot in [0, 1, 4_095].map(PortSlot::new) {
            for policed in Policed::ALL {
                assert_eq!(Policed::at(policed.index(slot)), Some((slot, policed)));
            }
        }
        assert_eq!(Policed::at(3), None);
        let index = Policer::answers_index(PortSlot::new(1));
        assert_eq!((index, Policed::at(index)), (7, None));
    }

    #[test]
    fn a_bucket_holds_10_ms_of_its_rate_and_at_least_64_kib() {
        let bytes = |rate| {
            let Policer { burst, cost, .. } = Policer::bits(rate);
            (burst << Policer::COST_SHIFT) / cost
        };
        assert_eq!(bytes(1_000), 65_536);
        assert_eq!(bytes(10_000_000), 65_536);
        assert_eq!(bytes(52_428_800), 65_536);
        assert!(bytes(100_000_000).abs_diff(125_000) <= 1);
        assert!(bytes(10_000_000_000).abs_diff(12_500_000) <= 12_500);
    }

    #[test]
    fn a_bucket_of_frames_holds_those_of_a_second() {
        for rate in [1, 1_000, 1_000_000] {
            let Policer { burst, cost, .. } = Policer::frames(rate);
            let parts = (burst << Policer::COST_SHIFT) / cost;
            assert_eq!(parts.div_ceil(Policer::FRAME.into()), rate);
        }
    }
}
