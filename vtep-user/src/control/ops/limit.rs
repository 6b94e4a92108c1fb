//! How many MACs there is room for, and what the data path is told of that: where there is none, it drops frames from others itself.

use vtep_common::abi::{
    id::{PortSlot, SegmentId},
    port::Port,
    segment::Segment,
};

use super::refuse;
use crate::{
    control::{
        effect::{Effect, Write},
        record::{fdb::Fdb, limits::Limits, ports::Ports, segments::Segments},
    },
    model::Refusal,
};

/// Says in a port whether it has as many MACs as it may, and drops frames from others.
pub(crate) fn sync_port(ports: &mut Ports, fdb: &Fdb, slot: PortSlot, out: &mut Effect) {
    let Some(&port) = ports.get(slot) else {
        return;
    };
    let full = port.max_macs != 0
        && !port.has(Port::OVER_LIMIT_FLOOD)
        && fdb.count_behind(slot) >= port.max_macs as usize;
    if full != port.has(Port::FULL) {
        let mut port = port;
        port.set(Port::FULL, full);
        ports.set(slot, port);
        out.write(Write::Port(slot, port));
    }
}

/// Says in a VNI whether it has as many MACs as it may, and drops frames from others.
pub(crate) fn sync_segment(
    segments: &mut Segments,
    fdb: &Fdb,
    number: SegmentId,
    out: &mut Effect,
) {
    let mut segment = segments[number];
    let full = segment.max_macs != 0
        && segment.has(Segment::OVER_LIMIT_DROP)
        && fdb.len_in(number) >= segment.max_macs as usize;
    if full != segment.has(Segment::FULL) {
        segment.set(Segment::FULL, full);
        segments.set(number, segment);
        out.write(Write::Segment(number, Box::new(segment)));
    }
}

/// Refuses if there is no room for `more` entries.
pub(crate) fn check_room(fdb: &Fdb, limits: &Limits, more: usize) -> Result<(), Refusal> {
    if more != 0 && fdb.len() as usize + more > limits.fdb as usize {
        return Err(refuse::fdb_full(limits.fdb));
    }
    Ok(())
}

/// Refuses if a VNI may not hold `more` entries.
pub(crate) fn check_vni_room(
    fdb: &Fdb,
    segments: &Segments,
    number: SegmentId,
    more: usize,
) -> Result<(), Refusal> {
    let limit = segments[number].max_macs;
    if more != 0 && limit != 0 && fdb.len_in(number) + more > limit as usize {
        return Err(refuse::vni_full(segments.vni(number), limit));
    }
    Ok(())
}
