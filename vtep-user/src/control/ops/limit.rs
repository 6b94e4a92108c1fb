//! What the data path is told of limits: where there is room for no more MACs, it drops frames from others itself.

use vtep_common::abi::{
    id::{PortSlot, SegmentId},
    port::Port,
    segment::Segment,
};

use crate::control::{
    effect::{Effect, Write},
    record::{fdb::Fdb, ports::Ports, segments::Segments},
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
