//! Source MACs: what a frame teaches, and what it must not contradict.

use crate::{
    addr::{MacAddr, VtepAddr},
    events::Event,
    maps::{FdbKey, FdbValue, Segment},
    packet::PacketRead,
    tables::Tables,
    verdict::{Act, NONE, Who},
};

/// What the FDB says of a frame's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(u8);

impl Source {
    /// It is where the frame came from; or nobody wants to know.
    pub const HERE: Self = Self(0);
    /// It is not known, or known to be elsewhere: to be learned.
    pub const NEW: Self = Self(1);
    /// A static entry says that it is elsewhere.
    pub const ELSEWHERE: Self = Self(2);

    /// Looks the source MAC of `frame` up, and renews the stamp of its entry.
    ///
    /// `kind` and `target` are those of an entry that points to where the frame came from.
    #[inline(always)]
    pub fn look_up<P: PacketRead + ?Sized, T: Tables, A: Act>(
        frame: &P,
        who: &Who,
        segment: &Segment,
        mac: MacAddr,
        (kind, target): (u8, u32),
        tables: &T,
        act: &A,
    ) -> Self {
        let Self(code) = Self::of(who, segment, mac, kind, target, tables, act);
        Self(frame.blur(code))
    }

    #[inline(always)]
    fn of<T: Tables, A: Act>(
        who: &Who,
        segment: &Segment,
        mac: MacAddr,
        kind: u8,
        target: u32,
        tables: &T,
        act: &A,
    ) -> Self {
        if !segment.has(Segment::LEARNING) {
            return Self::HERE;
        }
        let key = FdbKey::new(who.segment, mac);
        let Some(found) = tables.fdb(&key) else {
            return Self::NEW;
        };
        if found.target == target && found.kind == kind {
            if found.origin == FdbValue::LEARNED {
                let now = tables.now();
                // A stamp of the future was made on another CPU just now.
                if now.wrapping_sub(found.last_seen).cast_signed()
                    > FdbValue::REFRESH_NS.cast_signed()
                {
                    act.refresh(&key, now);
                }
            }
            return Self::HERE;
        }
        if found.origin == FdbValue::STATIC {
            Self::ELSEWHERE
        } else if found.flags & FdbValue::FROZEN != 0 {
            Self::HERE
        } else {
            Self::NEW
        }
    }
}

/// The address of nobody, in an event.
const NOBODY: VtepAddr = VtepAddr::from_v6_be([0; 4]);

/// Tells that `mac` is where the frame came from: a port, or the VTEP `vtep`.
#[inline(always)]
pub fn learn<T: Tables, A: Act>(
    who: &Who,
    mac: MacAddr,
    vtep: Option<&VtepAddr>,
    group: bool,
    tables: &T,
    act: &A,
) {
    act.tell(&Event {
        kind: Event::LEARN,
        segment: who.segment,
        mac: mac.get(),
        vtep: vtep.copied().unwrap_or(NOBODY),
        host: NOBODY,
        port: who.from_port,
        flags: if group { Event::GROUP } else { 0 },
        time: tables.now(),
    });
}

/// Tells that `host` says it is at `mac`, with flags as in [`Event`].
#[inline(always)]
pub fn hear<T: Tables, A: Act>(
    who: &Who,
    mac: MacAddr,
    host: VtepAddr,
    vtep: Option<&VtepAddr>,
    flags: u32,
    tables: &T,
    act: &A,
) {
    act.tell(&Event {
        kind: Event::HEARD,
        segment: who.segment,
        mac: mac.get(),
        vtep: vtep.copied().unwrap_or(NOBODY),
        host,
        port: who.from_port,
        flags,
        time: tables.now(),
    });
}

/// Tells that nothing is known of `mac`, or of `host` that somebody asked for.
#[inline(always)]
pub fn miss<T: Tables, A: Act>(
    who: &Who,
    mac: MacAddr,
    host: Option<VtepAddr>,
    tables: &T,
    act: &A,
) {
    act.tell(&Event {
        kind: Event::MISS,
        segment: who.segment,
        mac: mac.get(),
        vtep: NOBODY,
        host: host.unwrap_or(NOBODY),
        port: who.from_port,
        flags: 0,
        time: tables.now(),
    });
}

const _: () = assert!(NONE == u32::MAX);
