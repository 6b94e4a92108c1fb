//! What must hold for every frame, whatever its bytes: asserted over random frames, by the fuzz targets and over their corpus.

mod common;
mod encap;
mod fuzz;
mod headers;
mod underlay;
mod vm;

use crate::testkit::frames::{Sample, Side, World};

pub use self::fuzz::{
    fuzz_outer, fuzz_path_report, fuzz_port, fuzz_uplink, input, path_reports, port_input, target,
    world,
};
pub use self::headers::outer_headers;
pub use self::underlay::{behind_device, uplink};
pub use self::vm::port;

/// What must hold for a sample.
pub fn sample(world: &World, sample: &Sample) {
    let Sample { frame, meta, side } = sample;
    match side {
        Side::Uplink(_) => uplink(world, frame, meta),
        Side::Port(_) => port(world, frame, meta),
        Side::Tunnel(key) => behind_device(world, frame, meta, key),
    }
}
