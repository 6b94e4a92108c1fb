//! What tests, fuzz targets and the comparison with the kernel share: frames, builders, and what must hold for every frame.

pub mod apply;
pub mod build;
pub mod check;
pub mod frames;
pub mod tables;
