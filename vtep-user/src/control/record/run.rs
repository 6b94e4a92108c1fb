//! What only this run of the daemon knows: times, counts, and whether somebody watches. None of it is in the maps, and two
//! states that differ in nothing else are the same.

use std::{
    net::IpAddr,
    ops::{Deref, DerefMut},
};

use vtep_common::maps::FdbKey;

use crate::control::{
    LearnCounters,
    record::{hash::Map, moves::Moves, queue::Queue},
};

/// A value in which two states that are the same may differ.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Untold<T>(pub(crate) T);

impl<T> PartialEq for Untold<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Untold<T> {}

impl<T> Deref for Untold<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Untold<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// What has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// The tables that all VNIs share.
    Tables,
    /// A VNI, by the number of its segment.
    Vni(u32),
    /// A port, by its slot.
    Port(u32),
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
    pub(crate) hosts: Queue<(u32, IpAddr)>,
    /// The moves of MACs.
    pub(crate) moves: Moves<FdbKey>,
    /// The moves of hosts from one MAC to another.
    pub(crate) host_moves: Moves<(u32, IpAddr)>,
    /// When a port was added, or its interface came up.
    pub(crate) fresh: Map<u32, u64>,
    /// When it was last told that something is full.
    pub(crate) told: Map<Scope, u64>,
    /// When a port's MACs were announced, and how many of them in that second.
    pub(crate) announced: Map<u32, (u64, u32)>,
}
