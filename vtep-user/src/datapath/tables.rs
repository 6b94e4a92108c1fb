//! Reading and writing the tables.

use std::{
    net::IpAddr,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues, lpm_trie::Key},
};
use vtep_common::{
    addr::VtepAddr,
    count::Direction,
    maps::{
        Counter, FdbKey, FdbValue, LOCAL_GROUP, LOCAL_OWN, MAX_PEERS, MAX_PORTS, MAX_SEGMENTS,
        NeighKey, NeighValue, name,
    },
};

use super::{
    Datapath, Maps,
    batch::{self, BatchError},
    error::DatapathError,
};
use crate::control::{Clock, Dump, Write};

/// Takes a map out of the object as the type that it is.
fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, DatapathError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(DatapathError::Missing(name))?;
    T::try_from(map).map_err(|source| DatapathError::map("open", name, source))
}

/// A descriptor of a hash map, of our own.
fn fd_of(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, DatapathError> {
    let Some(Map::HashMap(data)) = ebpf.map(name) else {
        return Err(DatapathError::Missing(name));
    };
    let fd = data.fd().as_fd().try_clone_to_owned();
    fd.map_err(|source| DatapathError::map("open", name, MapError::IoError(source)))
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        let fdb_max = match ebpf.map(name::FDB) {
            Some(Map::HashMap(data)) => data
                .info()
                .map_err(|source| DatapathError::map("look at", name::FDB, source))?
                .max_entries(),
            _ => return Err(DatapathError::Missing(name::FDB)),
        };
        let (fdb_fd, neighs_fd) = (fd_of(ebpf, name::FDB)?, fd_of(ebpf, name::NEIGHS)?);
        Ok(Self {
            fdb_fd,
            neighs_fd,
            config: take(ebpf, name::CONFIG)?,
            locals: take(ebpf, name::LOCALS)?,
            vnis: take(ebpf, name::VNIS)?,
            segments: take(ebpf, name::SEGMENTS)?,
            port_index: take(ebpf, name::PORT_INDEX)?,
            ports: take(ebpf, name::PORTS)?,
            fdb: take(ebpf, name::FDB)?,
            flood: take(ebpf, name::FLOOD)?,
            peers: take(ebpf, name::PEERS)?,
            peer_index: take(ebpf, name::PEER_INDEX)?,
            neighs: take(ebpf, name::NEIGHS)?,
            nexthops: take(ebpf, name::NEXTHOPS)?,
            events: take(ebpf, name::EVENTS)?,
            parts: take(ebpf, name::PARTS)?,
            event_counters: take(ebpf, name::EVENT_COUNTERS)?,
            reason_counters: take(ebpf, name::REASON_COUNTERS)?,
            segment_counters: take(ebpf, name::SEGMENT_COUNTERS)?,
            port_counters: take(ebpf, name::PORT_COUNTERS)?,
            peer_counters: take(ebpf, name::PEER_COUNTERS)?,
            fdb_max,
        })
    }
}

fn set<K: Pod, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    name: &'static str,
    key: K,
    value: Option<V>,
) -> Result<(), DatapathError> {
    match value {
        Some(value) => map
            .insert(key, value, 0)
            .map_err(|source| DatapathError::map("write", name, source)),
        None => gone(map.remove(&key), name),
    }
}

/// A key that was not there is gone as well.
fn gone(removed: Result<(), MapError>, name: &'static str) -> Result<(), DatapathError> {
    match removed {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        Err(source) => Err(DatapathError::map("delete from", name, source)),
    }
}

fn put<V: Pod>(
    map: &mut Array<MapData, V>,
    name: &'static str,
    index: u32,
    value: V,
) -> Result<(), DatapathError> {
    map.set(index, value, 0)
        .map_err(|source| DatapathError::map("write", name, source))
}

fn entries<K: Pod, V: Pod>(
    map: &HashMap<MapData, K, V>,
    name: &'static str,
) -> Result<Vec<(K, V)>, DatapathError> {
    map.iter()
        .collect::<Result<_, _>>()
        .map_err(|source| DatapathError::map("read", name, source))
}

/// All entries of a hash map that can hold many.
fn many_entries<K: Pod + bytemuck::Pod, V: Pod + bytemuck::Pod>(
    map: &HashMap<MapData, K, V>,
    fd: &OwnedFd,
    name: &'static str,
) -> Result<Vec<(K, V)>, DatapathError> {
    match batch::entries(fd.as_fd()) {
        Ok(found) => Ok(found),
        Err(BatchError::Unsupported) => entries(map, name),
        Err(BatchError::Refused(source)) => {
            Err(DatapathError::map("read", name, MapError::IoError(source)))
        }
    }
}

fn in_use<V: Pod>(
    map: &Array<MapData, V>,
    name: &'static str,
    len: u32,
    used: impl Fn(&V) -> bool,
) -> Result<Vec<(u32, V)>, DatapathError> {
    let mut found = Vec::new();
    for index in 0..len {
        let value = map
            .get(&index, 0)
            .map_err(|source| DatapathError::map("read", name, source))?;
        if used(&value) {
            found.push((index, value));
        }
    }
    Ok(found)
}

fn clear(
    map: &mut PerCpuArray<MapData, Counter>,
    name: &'static str,
    number: u32,
) -> Result<(), DatapathError> {
    let failed = |source| DatapathError::map("clear", name, source);
    for direction in Direction::ALL {
        let index = direction.index(number);
        let cpus = map.get(&index, 0).map_err(failed)?.len();
        let zero = PerCpuValues::try_from(vec![Counter::default(); cpus])
            .map_err(|error| failed(MapError::IoError(error)))?;
        map.set(index, zero, 0).map_err(failed)?;
    }
    Ok(())
}

/// What a write does to the FDB.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FdbChange {
    Set,
    Delete,
}

impl FdbChange {
    fn of(write: &Write) -> Option<Self> {
        match write {
            Write::Fdb(_, Some(_)) => Some(Self::Set),
            Write::Fdb(_, None) => Some(Self::Delete),
            _ => None,
        }
    }
}

impl Clock for Datapath {
    fn now(&self) -> u64 {
        monotonic_ns()
    }

    fn last_seen(&self, key: FdbKey) -> Option<u64> {
        self.maps.fdb.get(&key, 0).ok().map(|value| value.last_seen)
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of the kernel side's stamps.
fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call fills in the time that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

impl Datapath {
    /// Makes the writes in their order; stops at the first that fails.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), DatapathError> {
        let alike = |one: &Write, next: &Write| {
            FdbChange::of(one).is_some_and(|change| FdbChange::of(next) == Some(change))
        };
        writes
            .chunk_by(alike)
            .try_for_each(|run| self.write_run(run))
    }

    /// Makes one write, or many of one kind to the FDB in one call.
    fn write_run(&mut self, run: &[Write]) -> Result<(), DatapathError> {
        let done = match run.first().and_then(FdbChange::of) {
            Some(change) if run.len() > 1 => self.change_fdb(change, run),
            _ => Err(BatchError::Unsupported),
        };
        match done {
            Ok(()) => Ok(()),
            Err(BatchError::Unsupported) => run.iter().try_for_each(|write| self.write_one(write)),
            Err(BatchError::Refused(source)) => Err(DatapathError::map(
                "write",
                name::FDB,
                MapError::IoError(source),
            )),
        }
    }

    fn change_fdb(&self, change: FdbChange, run: &[Write]) -> Result<(), BatchError> {
        let mut keys = Vec::with_capacity(run.len());
        let mut values = Vec::with_capacity(run.len());
        for write in run {
            if let Write::Fdb(key, value) = write {
                keys.push(*key);
                values.extend(*value);
            }
        }
        let map = self.maps.fdb_fd.as_fd();
        match change {
            FdbChange::Set => batch::update(map, &keys, &values),
            FdbChange::Delete => batch::delete(map, &keys),
        }
    }

    fn write_one(&mut self, write: &Write) -> Result<(), DatapathError> {
        let maps = &mut self.maps;
        match write {
            Write::Config(config) => put(&mut maps.config, name::CONFIG, 0, *config),
            Write::Local(addr, present) => set(
                &mut maps.locals,
                name::LOCALS,
                *addr,
                present.then_some(LOCAL_OWN),
            ),
            Write::Group(addr, present) => set(
                &mut maps.locals,
                name::LOCALS,
                *addr,
                present.then_some(LOCAL_GROUP),
            ),
            Write::Neigh(key, value) => set(&mut maps.neighs, name::NEIGHS, *key, *value),
            Write::Nexthop(bits, key, value) => {
                let key = Key::new(*bits, *key);
                match value {
                    Some(value) => maps
                        .nexthops
                        .insert(&key, value, 0)
                        .map_err(|source| DatapathError::map("write", name::NEXTHOPS, source)),
                    None => gone(maps.nexthops.remove(&key), name::NEXTHOPS),
                }
            }
            Write::Vni(vni, segment) => set(&mut maps.vnis, name::VNIS, *vni, *segment),
            Write::Segment(number, segment) => {
                put(&mut maps.segments, name::SEGMENTS, *number, **segment)
            }
            Write::PortIndex(key, slot) => set(&mut maps.port_index, name::PORT_INDEX, *key, *slot),
            Write::Port(slot, port) => put(&mut maps.ports, name::PORTS, *slot, *port),
            Write::Fdb(key, value) => set(&mut maps.fdb, name::FDB, *key, *value),
            Write::Flood(number, list) => set(
                &mut maps.flood,
                name::FLOOD,
                *number,
                list.as_deref().copied(),
            ),
            Write::Peer(number, peer) => put(&mut maps.peers, name::PEERS, *number, **peer),
            Write::PeerIndex(addr, number) => {
                set(&mut maps.peer_index, name::PEER_INDEX, *addr, *number)
            }
            Write::ClearSegmentCounters(number) => {
                clear(&mut maps.segment_counters, name::SEGMENT_COUNTERS, *number)
            }
            Write::ClearPortCounters(slot) => {
                clear(&mut maps.port_counters, name::PORT_COUNTERS, *slot)
            }
            Write::ClearPeerCounters(number) => {
                clear(&mut maps.peer_counters, name::PEER_COUNTERS, *number)
            }
        }
    }

    /// All that the tables hold.
    pub fn dump(&self) -> Result<Dump, DatapathError> {
        let maps = &self.maps;
        let locals: Vec<(VtepAddr, u32)> = entries(&maps.locals, name::LOCALS)?;
        let of = |wanted| {
            let found = locals.iter().filter(move |(_, value)| *value == wanted);
            found.map(|(addr, _)| *addr).collect()
        };
        Ok(Dump {
            locals: of(LOCAL_OWN),
            groups: of(LOCAL_GROUP),
            neighs: many_entries(&maps.neighs, &maps.neighs_fd, name::NEIGHS)?,
            nexthops: maps
                .nexthops
                .iter()
                .map(|entry| entry.map(|(key, value)| (key.prefix_len(), key.data(), value)))
                .collect::<Result<_, _>>()
                .map_err(|source| DatapathError::map("read", name::NEXTHOPS, source))?,
            vnis: entries(&maps.vnis, name::VNIS)?,
            segments: in_use(&maps.segments, name::SEGMENTS, MAX_SEGMENTS, |segment| {
                segment.flags != 0
            })?,
            port_index: entries(&maps.port_index, name::PORT_INDEX)?,
            ports: in_use(&maps.ports, name::PORTS, MAX_PORTS, |port| port.flags != 0)?,
            fdb: many_entries(&maps.fdb, &maps.fdb_fd, name::FDB)?,
            flood: entries(&maps.flood, name::FLOOD)?,
            peers: in_use(&maps.peers, name::PEERS, MAX_PEERS, |peer| peer.flags != 0)?,
            peer_index: entries(&maps.peer_index, name::PEER_INDEX)?,
        })
    }

    /// Number of the segment of a VNI.
    #[must_use]
    pub fn segment_number(&self, vni: u32) -> Option<u32> {
        self.maps.vnis.get(&vni, 0).ok()
    }

    /// True if a host is known to be a router.
    #[must_use]
    pub fn is_router(&self, segment: u32, host: IpAddr) -> bool {
        let host = host.into();
        let found = self.maps.neighs.get(&NeighKey { segment, host }, 0);
        found.is_ok_and(|value| value.flags & NeighValue::ROUTER != 0)
    }

    /// True if the FDB has this MAC at a port here.
    #[must_use]
    pub fn is_at_port(&self, key: FdbKey) -> bool {
        let found = self.maps.fdb.get(&key, 0);
        found.is_ok_and(|value| value.kind == FdbValue::PORT)
    }

    /// Where this instance's things are pinned.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
