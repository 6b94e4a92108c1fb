//! The vtep daemon, its API and its command line, as a library so that the kernel tests can use its parts.

mod causes;
mod headers;
mod instance;

pub mod api;
pub mod ask;
pub mod capture;
pub mod cli;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod doctor;
pub mod import;
pub mod model;
pub mod netlink;
pub mod stats;
