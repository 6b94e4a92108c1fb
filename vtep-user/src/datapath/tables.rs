//! Reading and writing the tables.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    net::IpAddr,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues, lpm_trie::Key},
};
use vtep_common::abi::{
    addr::VtepAddr,
    address::{LOCAL_GROUP, LOCAL_OWN},
    counter::{Counter, Direction},
    drops::OwnerKind,
    fdb::{FdbKey, FdbValue, FdbWord},
    flags::{PeerFlags, PortFlags, SegmentFlags},
    hash_table::{Geometry, Table, number, numbered},
    id::{Id, PortSlot, SegmentId},
    map::{MAX_LOCALS, MAX_PEERS, MAX_PORTS, MAX_SEGMENTS, name},
    neigh::{NeighKey, NeighValue},
    peer::Peer,
    policer::Policed,
    port::{Port, PortKey},
    segment::{Segment, vni_key, vni_of},
};

use super::{
    Datapath, Maps,
    batch::{self, BatchError},
    clock::nanoseconds,
    drops::Drops,
    error::{DatapathError, gone},
    hash_table::{HashTable, Unset},
    object::{fd_of, take},
};
use crate::control::{Dump, PolicerEntries, Stamps, Write};

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf, fdb_max: u32) -> Result<Self, DatapathError> {
        let neighs_fd = fd_of(ebpf, name::NEIGHS)?;
        let guards_fd = fd_of(ebpf, name::GUARDS)?;
        let reason_counters_fd = fd_of(ebpf, name::REASON_COUNTERS)?;
        let mut buckets = |table, name, room| buckets(ebpf, table, name, room);
        let addresses = buckets(Table::Addresses, name::ADDRESSES, MAX_LOCALS + MAX_PEERS)?;
        let vnis = buckets(Table::Vnis, name::VNIS, MAX_SEGMENTS)?;
        let port_index = buckets(Table::PortIndex, name::PORT_INDEX, MAX_PORTS)?;
        let fdb = buckets(Table::Fdb, name::FDB, fdb_max)?;
        let mut maps = Self {
            neighs_fd,
            guards: take(ebpf, name::GUARDS)?,
            guards_fd,
            addresses,
            vnis,
            port_index,
            fdb,
            config: take(ebpf, name::CONFIG)?,
            locals: take(ebpf, name::LOCALS)?,
            segments: take(ebpf, name::SEGMENTS)?,
            ports: take(ebpf, name::PORTS)?,
            policers: take(ebpf, name::POLICERS)?,
            trunks: take(ebpf, name::TRUNKS)?,
            port_names: take(ebpf, name::PORT_NAMES)?,
            namespace: take(ebpf, name::NAMESPACE)?,
            flood: take(ebpf, name::FLOOD)?,
            peers: take(ebpf, name::PEERS)?,
            peer_index: take(ebpf, name::PEER_INDEX)?,
            neighs: take(ebpf, name::NEIGHS)?,
            nexthops: take(ebpf, name::NEXTHOPS)?,
            sources: take(ebpf, name::SOURCES)?,
            guarded: take(ebpf, name::GUARDED)?,
            uplinks: take(ebpf, name::UPLINKS)?,
            configured: take(ebpf, name::CONFIGURED)?,
            bridges: take(ebpf, name::BRIDGES)?,
            events: take(ebpf, name::EVENTS)?,
            too_big: take(ebpf, name::TOO_BIG)?,
            parts: take(ebpf, name::PARTS)?,
            event_counters: take(ebpf, name::EVENT_COUNTERS)?,
            reason_counters: take(ebpf, name::REASON_COUNTERS)?,
            reason_counters_fd,
            segment_counters: take(ebpf, name::SEGMENT_COUNTERS)?,
            port_counters: take(ebpf, name::PORT_COUNTERS)?,
            peer_counters: take(ebpf, name::PEER_COUNTERS)?,
            drops: Drops::take(ebpf)?,
        };
        maps.repeat_addresses()?;
        Ok(maps)
    }
}

/// Takes a map out of the object as the hash table that it is. It has the shape that it was made with, and gets one with
/// `room` where it has none yet.
fn buckets(
    ebpf: &mut Ebpf,
    table: Table,
    name: &'static str,
    room: u32,
) -> Result<HashTable, DatapathError> {
    let failed = |source| DatapathError::map("open", name, source);
    let geometries = ebpf
        .map_mut(name::SHAPES)
        .ok_or(DatapathError::Missing(name::SHAPES))?;
    let mut geometries: Array<_, Geometry> = Array::try_from(geometries).map_err(failed)?;
    let mut geometry = geometries.get(&(table as u32), 0).map_err(failed)?;
    let is_new = geometry.room == 0;
    if is_new {
        geometry = Geometry::new(room, RandomState::new().hash_one(table as u32));
        geometries.set(table as u32, geometry, 0).map_err(failed)?;
    }
    let Some(Map::Array(data)) = ebpf.map(name) else {
        return Err(DatapathError::Missing(name));
    };
    let has = data.info().map_err(failed)?.max_entries();
    if has <= geometry.mask {
        return Err(failed(MapError::OutOfBounds {
            index: geometry.mask,
            max_entries: has,
        }));
    }
    let map = data.fd().as_fd().try_clone_to_owned();
    let map = map.map_err(|error| failed(MapError::IoError(error)))?;
    if is_new {
        Ok(HashTable::new(map, geometry))
    } else {
        many(HashTable::adopt(map, geometry), name)
    }
}

/// Sets the word of a key of a table; zero deletes it.
pub(super) fn put_word(
    table: &mut HashTable,
    name: &'static str,
    key: u64,
    word: u64,
) -> Result<(), DatapathError> {
    table.set(key, word).map_err(|unset| {
        let error = match unset {
            Unset::Full => io::Error::from_raw_os_error(libc::E2BIG),
            Unset::Io(error) => error,
        };
        DatapathError::map("write", name, MapError::IoError(error))
    })
}

/// The word of a key of a table.
pub(super) fn word(
    table: &HashTable,
    name: &'static str,
    key: u64,
) -> Result<Option<u64>, DatapathError> {
    let found = table.get(key);
    found.map_err(|source| DatapathError::map("read", name, MapError::IoError(source)))
}

/// What was read of a table in batches.
pub(super) fn many<T>(read: Result<T, BatchError>, name: &'static str) -> Result<T, DatapathError> {
    read.map_err(|error| {
        let source = match error {
            BatchError::Unsupported => io::Error::from(io::ErrorKind::Unsupported),
            BatchError::Refused(source) => source,
        };
        DatapathError::map("read", name, MapError::IoError(source))
    })
}

pub(super) fn set<K: Pod, V: Pod>(
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

pub(super) fn put<V: Pod>(
    map: &mut Array<MapData, V>,
    name: &'static str,
    index: impl Into<u32>,
    value: V,
) -> Result<(), DatapathError> {
    map.set(index.into(), value, 0)
        .map_err(|source| DatapathError::map("write", name, source))
}

pub(super) fn entries<K: Pod, V: Pod>(
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

fn in_use<K: Id, V: Pod>(
    map: &Array<MapData, V>,
    name: &'static str,
    len: u32,
    used: impl Fn(&V) -> bool,
) -> Result<Vec<(K, V)>, DatapathError> {
    let mut found = Vec::new();
    for index in 0..len {
        let value = map
            .get(&index, 0)
            .map_err(|source| DatapathError::map("read", name, source))?;
        if used(&value) {
            found.push((K::from_number(index), value));
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

impl Stamps for Datapath {
    fn now(&self) -> u64 {
        monotonic_ns()
    }

    fn last_seen(&self, key: FdbKey) -> Option<u64> {
        let value = self.fdb(key)?;
        Some(seen_before(value, monotonic_ns()).last_seen)
    }
}

/// An entry with the whole time that its stamp stands for.
fn seen_before(value: FdbValue, now: u64) -> FdbValue {
    let last_seen = if value.origin.ages() {
        value.seen_before(now)
    } else {
        0
    };
    FdbValue { last_seen, ..value }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of the kernel side's stamps.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call fills in the time that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    nanoseconds(now)
}

impl Datapath {
    /// Makes the writes in their order; stops at the first that fails.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), DatapathError> {
        writes.iter().try_for_each(|write| self.write_one(write))?;
        self.remove_guards(writes)
    }

    fn write_one(&mut self, write: &Write) -> Result<(), DatapathError> {
        let maps = &mut self.maps;
        match write {
            Write::Config(config) => put(&mut maps.config, name::CONFIG, 0_u32, *config),
            Write::Local(addr, present) => maps.set_local(*addr, LOCAL_OWN, *present),
            Write::Group(addr, present) => maps.set_local(*addr, LOCAL_GROUP, *present),
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
            Write::Source(key, named) => {
                set(&mut maps.sources, name::SOURCES, *key, named.then_some(0))
            }
            Write::Guarded(key, lets) => {
                set(&mut maps.guarded, name::GUARDED, *key, lets.then_some(0))
            }
            Write::Configured(key, configured) => {
                let value = configured.then_some(0);
                set(&mut maps.configured, name::CONFIGURED, *key, value)
            }
            Write::Bridge(number, bridge) => {
                set(&mut maps.bridges, name::BRIDGES, *number, *bridge)
            }
            Write::Vni(vni, segment) => {
                let word = segment.map_or(0, |segment| numbered(segment.get()));
                put_word(&mut maps.vnis, name::VNIS, vni_key(*vni), word)
            }
            Write::Segment(number, segment) => {
                if !segment.has(Segment::IN_USE) {
                    maps.drops.owner_gone(OwnerKind::Segment, number.get());
                }
                put(&mut maps.segments, name::SEGMENTS, *number, **segment)
            }
            Write::PortIndex(key, slot) => {
                let word = slot.map_or(0, |slot| numbered(slot.get()));
                put_word(&mut maps.port_index, name::PORT_INDEX, key.word(), word)
            }
            Write::Port(slot, port) => {
                if !port.has(Port::IN_USE) {
                    maps.drops.owner_gone(OwnerKind::Port, slot.get());
                }
                put(&mut maps.ports, name::PORTS, *slot, *port)
            }
            Write::Policer(slot, what, policer) => {
                let index = what.index(*slot);
                put(&mut maps.policers, name::POLICERS, index, *policer)
            }
            Write::Trunk(ifindex, vlans) => set(
                &mut maps.trunks,
                name::TRUNKS,
                *ifindex,
                vlans.as_deref().copied(),
            ),
            Write::PortName(slot, text) => {
                put(&mut maps.port_names, name::PORT_NAMES, *slot, *text)
            }
            Write::Fdb(key, value) => {
                let word = value.map_or(0, |value| value.word().get());
                put_word(&mut maps.fdb, name::FDB, key.word(), word)
            }
            Write::Flood(number, list) => set(
                &mut maps.flood,
                name::FLOOD,
                *number,
                list.as_deref().copied(),
            ),
            Write::Peer(number, peer) => {
                if !peer.has(Peer::IN_USE) {
                    maps.drops.owner_gone(OwnerKind::Peer, number.get());
                }
                put(&mut maps.peers, name::PEERS, *number, **peer)
            }
            Write::PeerIndex(addr, number) => maps.set_peer(*addr, *number),
            Write::ClearSegmentCounters(number) => {
                let number = number.get();
                maps.drops.owner_new(OwnerKind::Segment, number)?;
                clear(&mut maps.segment_counters, name::SEGMENT_COUNTERS, number)
            }
            Write::ClearPortCounters(slot) => {
                let slot = slot.get();
                maps.drops.owner_new(OwnerKind::Port, slot)?;
                clear(&mut maps.port_counters, name::PORT_COUNTERS, slot)
            }
            Write::ClearPeerCounters(number) => {
                let number = number.get();
                maps.drops.owner_new(OwnerKind::Peer, number)?;
                clear(&mut maps.peer_counters, name::PEER_COUNTERS, number)
            }
        }
    }

    /// All that the tables hold.
    pub fn dump(&self) -> Result<Dump, DatapathError> {
        let maps = &self.maps;
        let now = monotonic_ns();
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
            sources: entries::<_, u32>(&maps.sources, name::SOURCES)?
                .into_iter()
                .map(|(key, _)| key)
                .collect(),
            guarded: entries::<_, u32>(&maps.guarded, name::GUARDED)?
                .into_iter()
                .map(|(key, _)| key)
                .collect(),
            configured: entries::<_, u32>(&maps.configured, name::CONFIGURED)?
                .into_iter()
                .map(|(key, _)| key)
                .collect(),
            bridges: entries(&maps.bridges, name::BRIDGES)?,
            vnis: many(maps.vnis.entries(), name::VNIS)?
                .into_iter()
                .filter_map(|(key, word)| Some((vni_of(key), SegmentId::new(number(word)?))))
                .collect(),
            segments: in_use(&maps.segments, name::SEGMENTS, MAX_SEGMENTS, |segment| {
                segment.flags != SegmentFlags::NONE
            })?,
            port_index: many(maps.port_index.entries(), name::PORT_INDEX)?
                .into_iter()
                .filter_map(|(key, word)| {
                    Some((PortKey::from_word(key), PortSlot::new(number(word)?)))
                })
                .collect(),
            ports: in_use(&maps.ports, name::PORTS, MAX_PORTS, |port| {
                port.flags != PortFlags::NONE
            })?,
            policers: self.policers()?,
            trunks: entries(&maps.trunks, name::TRUNKS)?,
            port_names: in_use(&maps.port_names, name::PORT_NAMES, MAX_PORTS, |text| {
                !text.is_none()
            })?,
            attached: self.attached_ports()?,
            fdb: many(maps.fdb.entries(), name::FDB)?
                .into_iter()
                .map(|(key, word)| (FdbKey::from_word(key), FdbWord::new(word).value()))
                .map(|(key, value)| (key, value.map(|value| seen_before(value, now))))
                .collect(),
            flood: entries(&maps.flood, name::FLOOD)?,
            peers: in_use(&maps.peers, name::PEERS, MAX_PEERS, |peer| {
                peer.flags != PeerFlags::NONE
            })?,
            peer_index: entries(&maps.peer_index, name::PEER_INDEX)?,
        })
    }

    /// The rates of ports.
    fn policers(&self) -> Result<PolicerEntries, DatapathError> {
        let mut found = Vec::new();
        for index in 0..MAX_PORTS * Policed::PLACES {
            let Some(at) = Policed::at(index) else {
                continue;
            };
            let policer = self.maps.policers.get(&index, 0);
            let policer =
                policer.map_err(|source| DatapathError::map("read", name::POLICERS, source))?;
            if policer.rate != 0 {
                found.push((at, policer));
            }
        }
        Ok(found)
    }

    /// Number of the segment of a VNI.
    #[must_use]
    pub fn segment_number(&self, vni: u32) -> Option<SegmentId> {
        let found = number(self.maps.vnis.get(vni_key(vni)).ok()??);
        found.map(SegmentId::new)
    }

    /// True if a host is known to be a router.
    #[must_use]
    pub fn is_router(&self, segment: SegmentId, host: IpAddr) -> bool {
        let host = host.into();
        let found = self.maps.neighs.get(&NeighKey { segment, host }, 0);
        found.is_ok_and(|value| value.flags & NeighValue::ROUTER != 0)
    }

    /// An entry of the FDB, its stamp as it is in the map.
    #[must_use]
    pub fn fdb(&self, key: FdbKey) -> Option<FdbValue> {
        FdbWord::new(self.maps.fdb.get(key.word()).ok()??).value()
    }

    /// True if the FDB has this MAC at a port here.
    #[must_use]
    pub fn is_at_port(&self, key: FdbKey) -> bool {
        let value = self.fdb(key);
        value.is_some_and(|value| value.target.port().is_some())
    }

    /// Where this instance's things are pinned.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
