//! Whether a frame may come in, by its MACs and what the FDB says of them.

use crate::{
    abi::{flags::SegmentFlags, port::Port, reason::Reason, segment::Segment},
    frame::inner::{Inner, Received},
    runtime::lookup::{Seen, Source},
    wire::ethernet,
};

/// Lets a frame from a port in.
///
/// # Errors
///
/// Why it does not.
#[inline(always)]
pub(crate) fn from_port(
    inner: &Inner,
    port: &Port,
    settings: SegmentFlags,
    seen: Seen,
) -> Result<(), Reason> {
    if inner.source.is_group() || inner.source.is_zero() {
        return Err(Reason::InvalidSourceMac);
    }
    if inner.destination.is_link_local_group() && !settings.has(Segment::L2CP_PASS) {
        return Err(Reason::L2Control);
    }
    if port.has(Port::GUARD_MAC) && seen != Seen::STATIC {
        return Err(Reason::SpoofedMac);
    }
    by_entry(settings, seen)
}

/// Lets an inner frame of `len` bytes from a VTEP in.
///
/// # Errors
///
/// Why it does not.
#[inline(always)]
pub(crate) fn from_vtep(
    read: &Received,
    len: usize,
    settings: SegmentFlags,
    seen: Seen,
) -> Result<(), Reason> {
    if len < ethernet::LEN || !read.whole {
        return Err(Reason::InnerTruncated);
    }
    if read.source.is_group() || read.source.is_zero() {
        return Err(Reason::InvalidSourceMac);
    }
    if read.destination.is_link_local_group() && !settings.has(Segment::L2CP_PASS) {
        return Err(Reason::L2Control);
    }
    by_entry(settings, seen)
}

/// By what the FDB says of the source.
#[inline(always)]
fn by_entry(settings: SegmentFlags, seen: Seen) -> Result<(), Reason> {
    if !settings.has(Segment::LEARNING) {
        return Ok(());
    }
    let source = seen.source();
    if source == Source::ELSEWHERE {
        return Err(Reason::StaticElsewhere);
    }
    if source == Source::DUPLICATE {
        return Err(Reason::DuplicateMac);
    }
    Ok(())
}
