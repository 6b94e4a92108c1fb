//! What only this run of the daemon knows: times, counts, and whether somebody watches. None of it is in the maps, and two
//! states that differ in nothing else are the same.

use std::{collections::HashMap, net::IpAddr};

use vtep_common::abi::{
    fdb::FdbKey,
    id::{PeerId, PortSlot, SegmentId},
};

use super::{
    author::Author, bridges::Unfit, claims::Claims, hash::Map, moves::Moves, queue::Queue,
};

/// How often something was learned, or was not, since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LearnCounters {
    /// New entries.
    pub learned: u64,
    /// Entries that moved.
    pub moved: u64,
    /// Entries that aged out.
    pub aged: u64,
    /// MACs not learned for the limit or the share of their VNI or port, and hosts for that of their MAC.
    pub limited: u64,
    /// MACs and hosts not learned because the FDB, or the table of peers or hosts, is full.
    pub full: u64,
    /// MACs that were frozen because they moved too often, and addresses that became contested.
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
    /// In whose name the change under way is made.
    pub(crate) author: Author,
    /// Interfaces that cannot be the bridge of a VNI, by name.
    pub(crate) unfit: HashMap<String, Unfit>,
    /// The time of the last tick or event, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) now: u64,
    /// Whether somebody wants to know what happens.
    pub(crate) watched: bool,
    pub(crate) counters: LearnCounters,
    /// When learned entries are to be looked at.
    pub(crate) ageing: Queue<FdbKey>,
    /// When snooped hosts are to be looked at.
    pub(crate) hosts: Queue<(SegmentId, IpAddr)>,
    /// When what was learned of the paths to peers is not believed any more.
    pub(crate) paths: Queue<PeerId>,
    /// The moves of MACs.
    pub(crate) moves: Moves<FdbKey>,
    /// Who says that it has an address that no host at a port has alone.
    pub(crate) claims: Claims,
    /// When a port was added.
    pub(crate) added: Map<PortSlot, u64>,
    /// When it was last reported that something is full.
    pub(crate) reported: Map<Scope, u64>,
    /// When a port's MACs were announced, and how many of them in that second.
    pub(crate) announced: Map<PortSlot, (u64, u32)>,
}
