//! What the kernel side tells the daemon, through the ring buffer `EVENTS`.

use bytemuck::{Pod, Zeroable};

use crate::abi::{
    addr::{MacAddr, VtepAddr},
    id::{PortSlot, SegmentId},
};

/// One event: 64 bytes, numbers in host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Event {
    /// [`Event::LEARN`], [`Event::SNOOPED`] or [`Event::MISS`].
    pub kind: u32,
    /// The segment.
    pub segment: SegmentId,
    /// The MAC that the event is about, in the lower 48 bits.
    pub mac: u64,
    /// The VTEP that the frame came from; all zero for a frame from a port.
    pub vtep: VtepAddr,
    /// The host that the event is about; all zero where only its MAC is known.
    pub host: VtepAddr,
    /// The port that the frame came from; [`PortSlot::NONE`] for a frame from a VTEP.
    pub port: PortSlot,
    /// The `GROUP` … bits below.
    pub flags: u32,
    /// When, in nanoseconds of `CLOCK_MONOTONIC`: [`Event::NOT_SET`] until it is sent.
    pub time: u64,
}

const _: () = assert!(size_of::<Event>() == 64);

impl Event {
    /// No time yet. Whoever sends an event sets it.
    pub const NOT_SET: u64 = 1;
    /// A frame with source `mac` came from a place where the FDB does not have it.
    pub const LEARN: u32 = 1;
    /// An ARP or ND message says that `host` is at `mac`.
    pub const SNOOPED: u32 = 2;
    /// Nothing is known of the destination `mac`, or of `host` that somebody asked for, and the VNI does not flood.
    pub const MISS: u32 = 3;
    /// The frame was for a group: every VTEP of the VNI gets it too.
    pub const GROUP: u32 = 1;
    /// The message answers no request: a gratuitous ARP, or an unsolicited neighbour advertisement.
    pub const UNSOLICITED: u32 = 1 << 1;
    /// The host says that it is a router.
    pub const ROUTER: u32 = 1 << 2;
    /// The message says whether the host is a router: a neighbour advertisement.
    pub const ADVERTISED: u32 = 1 << 4;

    /// The address of nobody: a VTEP or a host that there is none of.
    pub const NOBODY: VtepAddr = VtepAddr::from_v6_be([0; 4]);

    /// The MAC.
    #[must_use]
    pub const fn mac(&self) -> MacAddr {
        let [_, _, a, b, c, d, e, f] = self.mac.to_be_bytes();
        MacAddr::from_bytes([a, b, c, d, e, f])
    }

    /// The record as eight words, so that the kernel side writes it without going byte by byte.
    #[must_use]
    #[inline(always)]
    pub const fn words(&self) -> [u64; Self::WORDS] {
        let [v0, v1] = Self::address(&self.vtep);
        let [h0, h1] = Self::address(&self.host);
        [
            Self::what(self.kind, self.segment),
            self.mac,
            v0,
            v1,
            h0,
            h1,
            Self::from(self.port, self.flags),
            self.time,
        ]
    }

    /// The first of the words.
    #[must_use]
    #[inline(always)]
    pub const fn what(kind: u32, segment: SegmentId) -> u64 {
        pair(kind, segment.get())
    }

    /// The last but one of the words.
    #[must_use]
    #[inline(always)]
    pub const fn from(port: PortSlot, flags: u32) -> u64 {
        pair(port.get(), flags)
    }

    /// The two words of a VTEP or a host.
    #[must_use]
    #[inline(always)]
    pub const fn address(addr: &VtepAddr) -> [u64; 2] {
        let [a, b, c, d] = addr.words_be();
        [pair(a, b), pair(c, d)]
    }

    /// Words of a record.
    pub const WORDS: usize = 8;

    /// What the event with these [`words`](Self::words) is about, in one number: the key of its
    /// [`Guard`]. Of a MAC alone it is exact; hosts are mixed, and seldom meet.
    #[must_use]
    #[inline(always)]
    pub fn subject(words: &[u64; Self::WORDS]) -> u64 {
        let [what, mac, _, _, h0, h1, _, _] = *words;
        // Of what is heard, the host is the subject, and the MAC what is said of it.
        let heard = (what & 0xffff_ffff) ^ u64::from(Self::SNOOPED);
        let mac = mac & (heard.wrapping_neg().cast_signed() >> 63).cast_unsigned();
        ((what >> 32 << 48) | mac) ^ mix(h0, h1) ^ what.wrapping_shl(61)
    }

    /// What the event with these [`words`](Self::words) says of its subject, mixed into one number.
    #[must_use]
    #[inline(always)]
    pub fn place(words: &[u64; Self::WORDS]) -> u64 {
        let [_, mac, v0, v1, _, _, port, _] = *words;
        mac ^ mix(v0, v1) ^ (port << 32)
    }

    /// True if the frame came from a port.
    #[must_use]
    pub const fn from_port(&self) -> bool {
        !self.port.is_none()
    }
}

/// Holds back events that repeat one on its way: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Guard {
    /// What the event said: see [`Event::place`](crate::abi::event::Event::place).
    pub place: u64,
    /// When the event was sent, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
}

impl Guard {
    /// How long an event holds back those that say the same, in nanoseconds.
    pub const HOLD_NS: u64 = 250_000_000;
}

const _: () = assert!(size_of::<Guard>() == 16);

/// What became of an event. The numbers index `EVENT_COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventEnd {
    /// It is in the ring buffer.
    Sent = 0,
    /// It repeats one that is on its way.
    HeldBack = 1,
    /// The ring buffer is full: the next frame tries again.
    Lost = 2,
}

impl EventEnd {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sent, Self::HeldBack, Self::Lost];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::HeldBack => "held_back",
            Self::Lost => "lost",
        }
    }
}

/// Two words of an address mixed into one number, zero for zeros.
#[inline(always)]
const fn mix(high: u64, low: u64) -> u64 {
    let mixed = high
        .wrapping_mul(0xff51_afd7_ed55_8ccd)
        .wrapping_add(low.wrapping_mul(0xc4ce_b9fe_1a85_ec53));
    mixed ^ (mixed >> 32)
}

/// Two words as they stand one after the other in memory.
#[inline(always)]
const fn pair(first: u32, second: u32) -> u64 {
    if cfg!(target_endian = "little") {
        (first as u64) | ((second as u64) << 32)
    } else {
        (second as u64) | ((first as u64) << 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u32, mac: u64, vtep: u8, port: PortSlot) -> Event {
        Event {
            kind,
            segment: SegmentId::new(1),
            mac,
            vtep: VtepAddr::from_v4_be(u32::from(vtep)),
            host: VtepAddr::from_v4_be(0x0a00_0001),
            port,
            flags: 0,
            time: 0,
        }
    }

    fn subject(event: &Event) -> u64 {
        Event::subject(&event.words())
    }

    fn place(event: &Event) -> u64 {
        Event::place(&event.words())
    }

    #[test]
    fn the_words_are_the_record() {
        let mut event = event(Event::SNOOPED, 0x0200_0000_000b, 1, PortSlot::new(7));
        (event.flags, event.time) = (Event::UNSOLICITED, 0x0102_0304_0506_0708);
        assert_eq!(event.words(), bytemuck::cast::<_, [u64; 8]>(event));
    }

    #[test]
    fn a_mac_that_moves_is_the_same_subject_at_another_place() {
        let here = event(Event::LEARN, 0x0200_0000_000b, 1, PortSlot::NONE);
        let there = event(Event::LEARN, 0x0200_0000_000b, 2, PortSlot::NONE);
        let port = event(Event::LEARN, 0x0200_0000_000b, 0, PortSlot::new(7));
        assert_eq!(subject(&here), subject(&there));
        assert_eq!(subject(&here), subject(&port));
        assert_ne!(place(&here), place(&there));
        assert_ne!(place(&here), place(&port));
        let other = event(Event::LEARN, 0x0200_0000_000c, 1, PortSlot::NONE);
        assert_ne!(subject(&here), subject(&other));
    }

    #[test]
    fn a_host_with_another_mac_is_the_same_subject_that_says_something_else() {
        let one = event(Event::SNOOPED, 0x0200_0000_000b, 0, PortSlot::new(3));
        let two = event(Event::SNOOPED, 0x0200_0000_000c, 0, PortSlot::new(3));
        assert_eq!(subject(&one), subject(&two));
        assert_ne!(place(&one), place(&two));
    }
}
