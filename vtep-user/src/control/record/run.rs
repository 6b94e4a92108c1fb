//! What only this run of the daemon knows: times, counts, and whether somebody watches. None of it is in the maps, and two
//! states that differ in nothing else are the same.

use std::net::IpAddr;

use vtep_common::abi::{
    fdb::FdbKey,
    id::{PortSlot, SegmentId},
};

use super::{hash::Map, moves::Moves, queue::Queue};

/// How often something was learned, or was not, since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LearnCounters {
    /// New entries.
    pub learned: u64,
    /// Entries that moved.
    pub moved: u64,
    /// Entries that aged out.
    pub aged: u64,
    /// MACs not learned for the limit of their VNI or port.
    pub limited: u64,
    /// MACs not learned because the FDB, or the table of peers, is full.
    pub full: u64,
    /// Entries that were frozen because they moved too often.
    pub frozen: u64,
    /// Events about MACs that are never learned: our own, group addresses, or of a port or VNI that is gone.
    pub ignored: u64,
}

/// What has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// The tables that all VNIs share.
    Tables,
    /// A VNI, by the number of its segment.
    Vni(SegmentId),
    /// A port, by its slot.
    Port(PortSlot),
}

/// Times, counts, and whether somebody watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// The time of the last tick or event, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) now: u64,
    /// Whether somebody wants to know what happens.
    pub(crate) watched: bool,
    pub(crate) counters: LearnCounters,
    /// When learned entries are to be looked at.
    pub(crate) ageing: Queue<FdbKey>,
    /// When snooped hosts are to be looked at.
    pub(crate) hosts: Queue<(SegmentId, IpAddr)>,
    /// The moves of MACs.
    pub(crate) moves: Moves<FdbKey>,
    /// The moves of hosts from one MAC to another.
    pub(crate) host_moves: Moves<(SegmentId, IpAddr)>,
    /// When a port was added.
    pub(crate) added: Map<PortSlot, u64>,
    /// When it was last reported that something is full.
    pub(crate) reported: Map<Scope, u64>,
    /// When a port's MACs were announced, and how many of them in that second.
    pub(crate) announced: Map<PortSlot, (u64, u32)>,
}
