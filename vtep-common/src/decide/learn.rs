//! Source MACs: what a frame teaches, and what it must not contradict.

use crate::{
    abi::{
        addr::{MacAddr, VtepAddr},
        event::Event,
        fdb::{FdbKey, FdbTarget, FdbWord},
        segment::Segment,
    },
    decide::verdict::{Account, Act},
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

    /// What `seen` says of a frame with the source `mac`; renews the stamp of its entry.
    #[inline(always)]
    pub fn of<A: Act>(
        account: &Account,
        segment: &Segment,
        mac: MacAddr,
        seen: Seen,
        act: &A,
    ) -> Self {
        if !segment.has(Segment::LEARNING) {
            return Self::HERE;
        }
        if seen == Seen::STALE {
            act.refresh(&FdbKey::new(account.segment, mac));
        }
        seen.source()
    }
}

/// What an FDB entry says of a frame whose source it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(u8);

impl Seen {
    /// As [`Source::HERE`], and the stamp of the entry is to be renewed.
    pub const STALE: Self = Self(Source::HERE.0 | 1 << 2);

    /// What `found` says of a frame that came from `here`. The time is asked for of entries that age alone.
    #[must_use]
    #[inline(always)]
    pub fn of(found: FdbWord, here: FdbTarget, now: impl FnOnce() -> u64) -> Self {
        const { assert!(Source::NEW.0 == 1 && Source::ELSEWHERE.0 == 2) };
        if found.points_to(here) {
            if found.ages() && found.is_stale(now()) {
                return Self::STALE;
            }
            return Self(Source::HERE.0);
        }
        let moves = found.yields_to_frame(here.port().is_some());
        Self(u8::from(found.is_static()) << 1 | u8::from(moves))
    }

    /// As the number that [`Seen::from_code`] takes.
    #[must_use]
    #[inline(always)]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// From a number, of which the lowest three bits count.
    #[must_use]
    #[inline(always)]
    pub const fn from_code(code: u8) -> Self {
        Self(code & 7)
    }

    /// Without the stamp. Without a branch.
    #[inline(always)]
    const fn source(self) -> Source {
        Source(self.0 & 3)
    }
}

/// The address of nobody, in an event.
const NOBODY: VtepAddr = VtepAddr::from_v6_be([0; 4]);

/// Tells that `mac` is where the frame came from: a port, or the VTEP `vtep`.
#[inline(always)]
pub fn learn<A: Act>(
    account: &Account,
    mac: MacAddr,
    vtep: Option<&VtepAddr>,
    group: bool,
    act: &A,
) {
    act.notify(&Event {
        kind: Event::LEARN,
        segment: account.segment,
        mac: mac.get(),
        vtep: vtep.copied().unwrap_or(NOBODY),
        host: NOBODY,
        port: account.from_port,
        flags: if group { Event::GROUP } else { 0 },
        time: Event::NOT_SET,
    });
}

/// Tells that `host` says it is at `mac`, with flags as in [`Event`].
#[inline(always)]
pub fn snoop<A: Act>(
    account: &Account,
    mac: MacAddr,
    host: VtepAddr,
    vtep: Option<&VtepAddr>,
    flags: u32,
    act: &A,
) {
    act.notify(&Event {
        kind: Event::SNOOPED,
        segment: account.segment,
        mac: mac.get(),
        vtep: vtep.copied().unwrap_or(NOBODY),
        host,
        port: account.from_port,
        flags,
        time: Event::NOT_SET,
    });
}

/// Tells that nothing is known of `mac`, or of `host` that somebody asked for.
#[inline(always)]
pub fn miss<A: Act>(account: &Account, mac: MacAddr, host: Option<VtepAddr>, act: &A) {
    act.notify(&Event {
        kind: Event::MISS,
        segment: account.segment,
        mac: mac.get(),
        vtep: NOBODY,
        host: host.unwrap_or(NOBODY),
        port: account.from_port,
        flags: 0,
        time: Event::NOT_SET,
    });
}
