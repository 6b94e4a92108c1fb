//! Source MACs: what a frame teaches, and what it must not contradict.

use crate::{
    abi::{
        addr::{MacAddr, VtepAddr},
        event::Event,
        fdb::FdbKey,
        flags::SegmentFlags,
        segment::Segment,
    },
    runtime::{
        Runtime,
        lookup::{Seen, Source},
        verdict::{Account, Notice},
    },
};

/// What `seen` says of a frame with the source `mac`; refreshes the stamp of its entry.
#[inline(always)]
pub fn source<R: Runtime>(
    rt: &R,
    account: &Account,
    settings: SegmentFlags,
    mac: MacAddr,
    seen: Seen,
) -> Source {
    if !settings.has(Segment::LEARNING) {
        return Source::HERE;
    }
    if seen == Seen::STALE {
        rt.refresh(&FdbKey::new(account.segment, mac));
    }
    seen.source()
}

/// Notifies that `mac` is where the frame came from: a port, or the VTEP `vtep`.
#[inline(always)]
pub fn learn<R: Runtime>(
    rt: &R,
    account: &Account,
    mac: MacAddr,
    vtep: Option<&VtepAddr>,
    group: bool,
) {
    rt.notify(
        account,
        &Notice {
            kind: Event::LEARN,
            mac,
            vtep,
            host: None,
            flags: if group { Event::GROUP } else { 0 },
        },
    );
}

/// Notifies that `host` says it is at `mac`, with flags as in [`Event`].
#[inline(always)]
pub fn snoop<R: Runtime>(
    rt: &R,
    account: &Account,
    mac: MacAddr,
    host: &VtepAddr,
    vtep: Option<&VtepAddr>,
    flags: u32,
) {
    rt.notify(
        account,
        &Notice {
            kind: Event::SNOOPED,
            mac,
            vtep,
            host: Some(host),
            flags,
        },
    );
}

/// Notifies that nothing is known of `mac`, or of `host` that somebody asked for.
#[inline(always)]
pub fn miss<R: Runtime>(rt: &R, account: &Account, mac: MacAddr, host: Option<VtepAddr>) {
    rt.notify(
        account,
        &Notice {
            kind: Event::MISS,
            mac,
            vtep: None,
            host: Some(&host.unwrap_or(Event::NOBODY)),
            flags: 0,
        },
    );
}
