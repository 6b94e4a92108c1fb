//! What a user names, or the refusal if it does not exist.

use vtep_common::abi::id::{Ifindex, SegmentId};

use super::refuse;
use crate::{
    control::record::{
        ports::{Device, Ports},
        segments::Segments,
    },
    model::{Refusal, Vni},
};

/// Number of the segment of `vni`, which would get something.
pub(crate) fn segment(segments: &Segments, vni: Vni) -> Result<SegmentId, Refusal> {
    segments.number_of(vni).ok_or_else(|| refuse::no_vni(vni))
}

/// The same, where something is shown or removed.
pub(crate) fn known_segment(segments: &Segments, vni: Vni) -> Result<SegmentId, Refusal> {
    let number = segments.number_of(vni);
    number.ok_or_else(|| refuse::no_such_vni(vni))
}

/// An interface with ports, by name, which would get something.
pub(crate) fn device<'a>(ports: &'a Ports, dev: &str) -> Result<(Ifindex, &'a Device), Refusal> {
    ports.device_named(dev).ok_or_else(|| refuse::no_port(dev))
}

/// The same, where something is shown or removed.
pub(crate) fn known_device<'a>(
    ports: &'a Ports,
    dev: &str,
) -> Result<(Ifindex, &'a Device), Refusal> {
    let device = ports.device_named(dev);
    device.ok_or_else(|| refuse::no_such_port(dev))
}
