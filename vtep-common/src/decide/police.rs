//! Whether a frame is within the rate of its port.
//!
//! A bucket is one number: until when what has passed lasts at the rate (the generic cell rate algorithm). What passes adds to it, and it
//! may be ahead of the time by what the bucket holds. The time is that of the last tick, so all of this is exact to a tick: what keeps to
//! the rate and the bucket always passes, and in no time `t` passes more than the rate in `t` and two ticks, and what the bucket holds.
//!
//! Processors share a bucket, without a lock: see [`take_shared`].

use crate::{
    abi::{
        flags::PortFlags,
        id::PortSlot,
        policer::{Policed, Policer},
        port::Port,
    },
    frame::packet::{PacketRead, Window as _},
    runtime::{Runtime, tables::Tables},
    wire::{ethernet, ipv4, ipv6, tcp, udp},
};

/// The most that a packet counts as: more bytes than the largest GSO packet of the kernel has, with the headers of its segments.
const MOST: u32 = 1 << 22;
/// What [`MOST`] costs, as a shift.
const DEBT_SHIFT: u32 = MOST.trailing_zeros() - Policer::COST_SHIFT;
impl Policed {
    /// The flag of a port that has such a rate.
    #[must_use]
    pub const fn flag(self) -> PortFlags {
        match self {
            Self::In => Port::RATE_IN,
            Self::Bum => Port::BUM_RATE,
            Self::Out => Port::RATE_OUT,
        }
    }
}

/// True if a frame is within the rate of a port with these flags, or there is none. `amount` is what it counts as.
#[inline(always)]
pub(crate) fn lets<R: Runtime>(
    rt: &R,
    flags: PortFlags,
    (slot, what): (PortSlot, Policed),
    amount: impl FnOnce() -> u32,
) -> bool {
    !flags.has(what.flag()) || rt.take(slot, what, amount())
}

/// True if `amount` is within what a rate leaves, by the tables; nothing is taken.
#[must_use]
pub fn passes<T: Tables>(tables: &T, slot: PortSlot, what: Policed, amount: u32) -> bool {
    let policer = tables.policer(slot, what);
    let time = (tables.now(), tables.tick());
    take(&policer, policer.used_until, amount, time).is_some()
}

/// True if something may be answered at a port, by the tables; nothing is taken.
#[must_use]
pub fn answers<T: Tables>(tables: &T, slot: PortSlot) -> bool {
    let policer = tables.answers(slot);
    let time = (tables.now(), tables.tick());
    take(&policer, policer.used_until, Policer::FRAME, time).is_some()
}

/// What a bucket comes to, in which `used_until` is used up, once `amount` more is taken out of it at the time `now`, which stands still for
/// `tick` nanoseconds. `None` where it does not hold as much.
///
/// More than a bucket can hold is taken out of a full one, and it stays in debt for as long as that lasts: else the largest packets would
/// never pass.
#[must_use]
#[inline(always)]
pub const fn take(
    policer: &Policer,
    used_until: u64,
    amount: u32,
    (now, tick): (u64, u64),
) -> Option<u64> {
    let now = now << Policer::TIME_SHIFT;
    let still = tick << Policer::TIME_SHIFT;
    let holds = policer.burst.wrapping_add(still);
    // Behind, or further ahead than anything that passes leads: the bucket is full. The latter is of another clock, or of 400 days ago.
    let most = (holds << 1).wrapping_add(policer.cost << DEBT_SHIFT);
    let ahead = used_until.wrapping_sub(now);
    let ahead = if ahead > most { 0 } else { ahead };
    let after = ahead.wrapping_add(lasts(policer, amount));
    if after > holds && ahead > still {
        return None;
    }
    Some(now.wrapping_add(after))
}

/// How long so much lasts at the rate: rather too long than too short.
#[inline(always)]
const fn lasts(policer: &Policer, amount: u32) -> u64 {
    const LESS_THAN_ONE: u64 = (1 << Policer::COST_SHIFT) - 1;
    policer
        .cost
        .wrapping_mul(amount as u64)
        .wrapping_add(LESS_THAN_ONE)
        >> Policer::COST_SHIFT
}

/// A bucket that several processors take out of at once.
pub trait Shared {
    /// Until when it is used up.
    fn used_until(&self) -> u64;
    /// Writes `new` if `old` is still there, at once. Returns what was there.
    fn swap(&self, old: u64, new: u64) -> u64;
    /// Adds so much, whatever is there.
    fn add(&self, more: u64);
}

/// Takes `amount` out of a bucket that others take out of as well; false where it does not hold as much.
///
/// Where another processor takes between the look and the take, `amount` is added to what that one has left, without another look. So all
/// that passes counts, and what passes too early is one packet for each other processor, and the next one waits the longer for it.
#[inline(always)]
pub fn take_shared<S: Shared>(
    shared: &S,
    policer: &Policer,
    amount: u32,
    time: (u64, u64),
) -> bool {
    let seen = shared.used_until();
    let Some(next) = take(policer, seen, amount, time) else {
        return false;
    };
    if shared.swap(seen, next) != seen {
        shared.add(lasts(policer, amount));
    }
    true
}

/// Frames that a packet of `len` bytes is segmented into, each of which repeats `headers_len` of them; 1 if `gso_size` is zero. Headers that
/// nobody could measure are as long as the packet: they hide no segments.
#[must_use]
#[inline(always)]
const fn frames(len: u32, headers_len: u32, gso_size: u32) -> u32 {
    if gso_size == 0 {
        return 1;
    }
    let frames = len
        .wrapping_sub(measured(len, headers_len))
        .div_ceil(gso_size);
    if frames == 0 { 1 } else { frames }
}

/// Bytes of headers, or none where they fill a packet of `len` bytes.
#[inline(always)]
const fn measured(len: u32, headers_len: u32) -> u32 {
    if headers_len < len { headers_len } else { 0 }
}

/// What a rate of frames counts a packet as, once it is segmented: units of which a frame has [`Policer::FRAME`].
///
/// Of packets with more than 1,024 segments, which no kernel makes, it lets none pass: each is copied to many.
#[must_use]
#[inline(always)]
pub const fn flooded(len: u32, headers_len: u32, gso_size: u32) -> Option<u32> {
    const MOST_FRAMES: u32 = MOST / Policer::FRAME;
    let frames = frames(len, headers_len, gso_size);
    if frames > MOST_FRAMES {
        return None;
    }
    Some(frames.wrapping_mul(Policer::FRAME))
}

/// What a rate of bytes counts a packet as: the bytes of the frames that it is segmented into.
#[must_use]
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "packets are shorter than 2^32 bytes"
)]
pub const fn bytes(len: usize, headers_len: u32, gso_size: u32) -> u32 {
    let len = len as u32;
    if gso_size == 0 {
        return len;
    }
    let more = frames(len, headers_len, gso_size).wrapping_sub(1);
    let bytes = len.wrapping_add(measured(len, headers_len).wrapping_mul(more));
    if bytes > MOST { MOST } else { bytes }
}

/// The same of the inner frame of `len` bytes at `base`, from a VTEP.
#[must_use]
#[inline(always)]
pub fn bytes_from_vtep<P: PacketRead + ?Sized>(
    frame: &P,
    base: usize,
    (len, gso_size): (usize, u32),
) -> u32 {
    let headers_len = if gso_size == 0 {
        0
    } else {
        repeated(frame, base)
    };
    bytes(len, headers_len, gso_size)
}

/// Bytes of headers that each segment of the packet at `base` repeats; none where that cannot be told. Nothing merges packets with a tag or
/// with IP options, and few with extension headers.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a length within the headers"
)]
fn repeated<P: PacketRead + ?Sized>(frame: &P, base: usize) -> u32 {
    const V4: usize = ethernet::LEN + ipv4::LEN;
    const V6: usize = ethernet::LEN + ipv6::LEN;
    let Some(window) = frame.window::<{ V4 + tcp::LEN }>(base) else {
        return 0;
    };
    let (headers_len, protocol) = match window.be16(ethernet::TYPE_OFFSET) {
        ethernet::TYPE_IPV4 => (V4, window.byte(ethernet::LEN + ipv4::PROTOCOL_OFFSET)),
        ethernet::TYPE_IPV6 => (V6, window.byte(ethernet::LEN + ipv6::NEXT_HEADER_OFFSET)),
        _ => return 0,
    };
    let transport = if protocol == tcp::PROTOCOL {
        let at = base
            .wrapping_add(headers_len)
            .wrapping_add(tcp::DATA_OFFSET);
        let offset = frame.window::<1>(at).map_or(0, |window| window.byte(0));
        usize::from(offset >> 4).wrapping_mul(4)
    } else {
        udp::LEN
    };
    headers_len.wrapping_add(transport) as u32
}
