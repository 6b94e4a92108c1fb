//! The daemon: wires the API, the control side, the data path and netlink together.
//!
//! One task owns everything (`core::Core`): it takes the API's commands and netlink's events in turn, asks the state
//! machine what is to be done, and does it. There is no other writer.

mod announcer;
mod attacher;
mod beside;
mod bridges;
mod capture;
mod configuration;
mod core;
mod error;
mod facts;
mod frames;
mod groups;
mod locals;
mod options;
mod others;
mod own_macs;
mod pinned;
mod privileges;
mod process;
mod programs;
mod promiscuity;
mod repairs;
mod resolver;
mod ring;
mod serve;
mod service;
mod slow_path;
mod start;
mod tags;
mod teardown;
mod too_big;
mod uplinks;

pub use self::{
    configuration::{ConfigSource, ReadConfig},
    error::DaemonError,
    options::Options,
    pinned::dump_pinned,
    serve::run,
    teardown::teardown_without_daemon,
};
