//! What the kernel side tells the daemon, through the ring buffer `EVENTS`.

use bytemuck::{Pod, Zeroable};

use crate::{
    addr::{MacAddr, VtepAddr},
    flow::Mix,
    verdict::NONE,
};

/// One event: 64 bytes, numbers in host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Event {
    /// [`Event::LEARN`], [`Event::HEARD`] or [`Event::MISS`].
    pub kind: u32,
    /// Number of the segment.
    pub segment: u32,
    /// The MAC that the event is about, in the lower 48 bits.
    pub mac: u64,
    /// The VTEP that the frame came from; all zero for a frame from a port.
    pub vtep: VtepAddr,
    /// The host that the event is about; all zero where only its MAC is known.
    pub host: VtepAddr,
    /// Slot of the port that the frame came from; [`NONE`] for a frame from a VTEP.
    pub port: u32,
    /// The `GROUP` … bits below.
    pub flags: u32,
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
}

const _: () = assert!(size_of::<Event>() == 64);

impl Event {
    /// A frame with source `mac` came from a place where the FDB does not have it.
    pub const LEARN: u32 = 1;
    /// An ARP or ND message says that `host` is at `mac`.
    pub const HEARD: u32 = 2;
    /// Nothing is known of the destination `mac`, or of `host` that somebody asked for, and the VNI does not flood.
    pub const MISS: u32 = 3;
    /// The frame was for a group: every VTEP of the VNI gets it too.
    pub const GROUP: u32 = 1;
    /// The message was unasked for: a gratuitous ARP, or an unsolicited neighbour advertisement.
    pub const UNASKED: u32 = 1 << 1;
    /// The host says that it is a router.
    pub const ROUTER: u32 = 1 << 2;

    /// The MAC.
    #[must_use]
    pub const fn mac(&self) -> MacAddr {
        let [_, _, a, b, c, d, e, f] = self.mac.to_be_bytes();
        MacAddr::from_bytes([a, b, c, d, e, f])
    }

    /// What the event is about, mixed into one number: the key of its [`Guard`](crate::maps::Guard).
    #[must_use]
    #[inline(always)]
    pub fn subject(&self) -> u64 {
        let [a, b, c, d] = self.host.words_be();
        let words = [
            (u64::from(a) << 32) | u64::from(b),
            (u64::from(c) << 32) | u64::from(d),
        ];
        let high = Mix::new(u64::from(self.kind))
            .add(u64::from(self.segment))
            .add(words[0])
            .finish();
        // Of what is heard, the host is the subject, and the MAC what is said of it.
        let mac = if self.kind == Self::HEARD {
            0
        } else {
            self.mac
        };
        let low = Mix::new(mac).add(words[1]).add(u64::from(high)).finish();
        (u64::from(high) << 32) | u64::from(low)
    }

    /// What the event says of its subject, mixed into one number.
    #[must_use]
    #[inline(always)]
    pub fn place(&self) -> u64 {
        let [a, b, c, d] = self.vtep.words_be();
        let mixed = Mix::new(self.mac)
            .add((u64::from(a) << 32) | u64::from(b))
            .add((u64::from(c) << 32) | u64::from(d))
            .finish();
        (u64::from(mixed) << 32) | u64::from(self.port)
    }

    /// True if the frame came from a port.
    #[must_use]
    pub const fn from_port(&self) -> bool {
        self.port != NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u32, mac: u64, vtep: u8, port: u32) -> Event {
        Event {
            kind,
            segment: 1,
            mac,
            vtep: VtepAddr::from_v4_be(u32::from(vtep)),
            host: VtepAddr::from_v4_be(0x0a00_0001),
            port,
            flags: 0,
            time: 0,
        }
    }

    #[test]
    fn a_mac_that_moves_is_the_same_subject_at_another_place() {
        let here = event(Event::LEARN, 0x0200_0000_000b, 1, NONE);
        let there = event(Event::LEARN, 0x0200_0000_000b, 2, NONE);
        let port = event(Event::LEARN, 0x0200_0000_000b, 0, 7);
        assert_eq!(here.subject(), there.subject());
        assert_eq!(here.subject(), port.subject());
        assert_ne!(here.place(), there.place());
        assert_ne!(here.place(), port.place());
        let other = event(Event::LEARN, 0x0200_0000_000c, 1, NONE);
        assert_ne!(here.subject(), other.subject());
    }

    #[test]
    fn a_host_with_another_mac_is_the_same_subject_that_says_something_else() {
        let one = event(Event::HEARD, 0x0200_0000_000b, 0, 3);
        let two = event(Event::HEARD, 0x0200_0000_000c, 0, 3);
        assert_eq!(one.subject(), two.subject());
        assert_ne!(one.place(), two.place());
    }
}
