//! The tables as the daemon writes and reads them, in a real kernel.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use aya::Pod;
use aya::maps::{Array, HashMap, Map, MapData};
use vtep_common::abi::addr::{MacAddr, VtepAddr};
use vtep_common::abi::fdb::FdbTarget;
use vtep_common::abi::flags::ConfigFlags;
use vtep_common::abi::hash_table::{Bucket, Geometry, Table};
use vtep_common::abi::id::{Ifindex, PeerId, PortSlot, SegmentId};
use vtep_common::abi::{
    address::{Address, LOCAL_GROUP, LOCAL_OWN},
    fdb::{FdbKey, FdbValue},
    map::name,
    neigh::{NeighKey, NeighOrigin, NeighValue},
    nexthop::{NexthopKey, NexthopOrigin, NexthopValue},
};
use vtep_tests::daemon::mount_bpffs;
use vtep_tests::lab::ns::unique;
use vtep_tests::need_root;
use vtep_user::control::{Stamps as _, Write};
use vtep_user::datapath::{BPFFS, Datapath, remove_pins};

/// More than the kernel reads in one call.
const MANY: u64 = 10_000;
/// Room in the FDB.
const ROOM: u32 = 16_384;

#[test]
fn many_entries_of_the_fdb_are_written_read_and_deleted() {
    need_root!();
    let mut tables = OpenTables::new();
    let all: Vec<_> = (0..MANY).map(entry).collect();
    let set = |entries: &[(FdbKey, FdbValue)]| -> Vec<Write> {
        let writes = entries.iter();
        writes
            .map(|&(key, value)| Write::Fdb(key, Some(value)))
            .collect()
    };
    tables.datapath.write(&set(&all)).unwrap();
    assert_eq!(tables.fdb(), all);

    // Every third goes; each is named twice, so that every other delete finds nothing.
    let (gone, left): (Vec<_>, Vec<_>) = all.iter().partition(|(key, _)| key.mac().get() % 3 == 0);
    let deletes: Vec<Write> = gone
        .iter()
        .flat_map(|(key, _)| [Write::Fdb(*key, None), Write::Fdb(*key, None)])
        .collect();
    tables.datapath.write(&deletes).unwrap();
    assert_eq!(tables.fdb(), left);

    // Of two writes to one entry the later counts, in one batch and in single calls.
    let (key, value) = left[0];
    let target = FdbTarget::Port(PortSlot::new(99));
    let moved = FdbValue { target, ..value };
    tables
        .datapath
        .write(&set(&[(key, value), (key, moved)]))
        .unwrap();
    assert_eq!(tables.fdb()[0], (key, moved));
    assert_eq!(tables.datapath.last_seen(key), Some(value.last_seen));
}

#[test]
fn an_fdb_that_is_full_is_an_error() {
    need_root!();
    let mut tables = OpenTables::new();
    let writes: Vec<Write> = (0..=u64::from(ROOM))
        .map(entry)
        .map(|(key, value)| Write::Fdb(key, Some(value)))
        .collect();

    let refused = tables.datapath.write(&writes).unwrap_err().to_string();

    assert!(refused.starts_with("write the map FDB: "), "{refused}");
}

#[test]
fn hosts_and_prefixes_are_written_read_and_deleted() {
    need_root!();
    let mut tables = OpenTables::new();
    let neigh = |last: u8| {
        let host = VtepAddr::from(std::net::IpAddr::from([10, 0, 0, last]));
        (
            NeighKey {
                segment: SegmentId::new(1),
                host,
            },
            NeighValue::new(
                MacAddr::from_number(last.into()),
                NeighOrigin::Static,
                PortSlot::NONE,
                0,
            ),
        )
    };
    let prefix = |bits: u32, last: u8| {
        let host = VtepAddr::from(std::net::IpAddr::from([10, 0, 0, last]));
        let target = FdbTarget::Peer(PeerId::new(bits));
        let value = NexthopValue::new(target.into(), MacAddr::ZERO, NexthopOrigin::Static, 0);
        let bits = NexthopKey::SEGMENT_BITS + NexthopKey::V4_BITS + bits;
        (
            bits,
            NexthopKey {
                segment: SegmentId::new(1),
                host,
            },
            value,
        )
    };
    let neighs = [neigh(1), neigh(2)];
    let nexthops = [prefix(24, 0), prefix(31, 2), prefix(32, 2)];
    let mut writes: Vec<Write> = Vec::new();
    writes.extend(neighs.map(|(key, value)| Write::Neigh(key, Some(value))));
    writes.extend(nexthops.map(|(bits, key, value)| Write::Nexthop(bits, key, Some(value))));
    tables.datapath.write(&writes).unwrap();

    let dump = tables.datapath.dump().unwrap();
    let mut found = dump.neighs;
    found.sort_by_key(|(_, value)| value.mac);
    assert_eq!(found, neighs);
    let mut found = dump.nexthops;
    found.sort_by_key(|(bits, ..)| *bits);
    assert_eq!(found, nexthops);

    // Twice: what is not there is no failure.
    for _ in 0..2 {
        let mut writes: Vec<Write> = Vec::new();
        writes.extend(neighs.map(|(key, _)| Write::Neigh(key, None)));
        writes.extend(nexthops.map(|(bits, key, _)| Write::Nexthop(bits, key, None)));
        tables.datapath.write(&writes).unwrap();
        let dump = tables.datapath.dump().unwrap();
        assert_eq!((dump.neighs.len(), dump.nexthops.len()), (0, 0));
    }
}

#[test]
fn the_next_daemon_finds_what_the_last_one_wrote() {
    need_root!();
    let mut tables = OpenTables::new();
    assert!(!tables.datapath.adopted());
    let (key, value) = entry(7);
    tables
        .datapath
        .write(&[Write::Fdb(key, Some(value))])
        .unwrap();

    let mut next = Datapath::open(&tables.dir, 1).unwrap();

    assert!(next.adopted());
    assert_eq!(next.fdb_max(), ROOM);
    assert_eq!(next.dump().unwrap().fdb, [(key, Some(value))]);
    assert_eq!(next.events(10), []);
    assert_eq!(next.lost_events().unwrap(), 0);
}

#[test]
fn what_a_killed_daemon_has_half_changed_in_the_fdb_the_next_one_clears() {
    need_root!();
    let mut tables = OpenTables::new();
    let all: Vec<_> = (0..MANY).map(entry).collect();
    let writes = all.iter().map(|&(key, value)| Write::Fdb(key, Some(value)));
    tables.datapath.write(&writes.collect::<Vec<_>>()).unwrap();
    // As if it had been killed when the first entry that has two buckets was in both, and before it had written the key of a
    // new one.
    let geometries: Array<_, Geometry> = tables.array(name::SHAPES);
    let mut buckets: Array<_, Bucket> = tables.array(name::FDB);
    let geometry = geometries.get(&(Table::Fdb as u32), 0).unwrap();
    let has_room = |at: u32| buckets.get(&at, 0).unwrap().keys[3] == 0;
    let (twice, other) = all
        .iter()
        .map(|&(key, value)| ((key, value), geometry.places(key.word())))
        .find(|(_, [first, second])| first != second && has_room(*second))
        .map(|(entry, [_, second])| (entry, second))
        .unwrap();
    let half = (0..=geometry.mask)
        .find(|at| *at != other && has_room(*at))
        .unwrap();
    for (at, key) in [(other, twice.0.word()), (half, 0)] {
        let mut bucket = buckets.get(&at, 0).unwrap();
        (bucket.keys[3], bucket.words[3]) = (key, twice.1.word().get());
        buckets.set(at, bucket, 0).unwrap();
    }

    assert!(tables.fdb().iter().all(|(key, _)| key.word() != 0));
    tables.datapath = Datapath::open(&tables.dir, ROOM).unwrap();

    for at in [other, half] {
        let bucket = buckets.get(&at, 0).unwrap();
        assert_eq!((bucket.keys[3], bucket.words[3]), (0, 0));
    }
    assert_eq!(tables.fdb(), all);
    tables.datapath.write(&[Write::Fdb(twice.0, None)]).unwrap();
    assert_eq!(tables.datapath.fdb(twice.0), None);
    // There is room for as many as ever.
    let rest = (MANY..=u64::from(ROOM)).map(entry);
    let writes = rest.map(|(key, value)| Write::Fdb(key, Some(value)));
    tables.datapath.write(&writes.collect::<Vec<_>>()).unwrap();
    assert_eq!(tables.fdb().len(), ROOM as usize);
}

#[test]
fn what_addresses_are_is_said_anew_where_it_was_lost() {
    need_root!();
    let mut tables = OpenTables::new();
    let all = [
        (ours(), Address::default().with(Address::OWN, true)),
        (
            group(),
            Address::default()
                .with(Address::GROUP, true)
                .with_peer(Some(PeerId::new(0))),
        ),
        (peer(), Address::default().with_peer(Some(PeerId::new(7)))),
        (stranger(), Address::default()),
    ];
    tables
        .datapath
        .write(&[
            Write::Local(ours().into(), true),
            Write::Group(group().into(), true),
            Write::PeerIndex(group().into(), Some(PeerId::new(0))),
            Write::PeerIndex(peer().into(), Some(PeerId::new(7))),
        ])
        .unwrap();
    for (addr, what) in all {
        assert_eq!(tables.datapath.address(addr), what, "{addr}");
    }

    fs::remove_file(tables.dir.join(name::ADDRESSES)).unwrap();
    let next = Datapath::open(&tables.dir, ROOM).unwrap();

    for (addr, what) in all {
        assert_eq!(next.address(addr), what, "{addr}");
    }
}

#[test]
fn what_a_killed_daemon_has_not_said_of_addresses_the_next_one_does() {
    need_root!();
    let mut tables = OpenTables::new();
    tables
        .datapath
        .write(&[
            Write::Local(ours().into(), true),
            Write::PeerIndex(ours().into(), Some(PeerId::new(5))),
            Write::PeerIndex(peer().into(), Some(PeerId::new(7))),
            Write::PeerIndex(stranger().into(), Some(PeerId::new(8))),
        ])
        .unwrap();
    // One address goes, one comes, and a peer gets another number, as if the daemon had ended before it wrote them twice.
    let (mut locals, mut peers) = (tables.hash(name::LOCALS), tables.hash(name::PEER_INDEX));
    locals.remove(&ours().into()).unwrap();
    locals
        .insert(VtepAddr::from(group()), LOCAL_GROUP, 0)
        .unwrap();
    locals.insert(VtepAddr::from(peer()), LOCAL_OWN, 0).unwrap();
    peers.insert(VtepAddr::from(peer()), 9, 0).unwrap();
    peers.remove(&stranger().into()).unwrap();

    let next = Datapath::open(&tables.dir, ROOM).unwrap();

    for (addr, what) in [
        (ours(), Address::default().with_peer(Some(PeerId::new(5)))),
        (group(), Address::default().with(Address::GROUP, true)),
        (
            peer(),
            Address::default()
                .with(Address::OWN, true)
                .with_peer(Some(PeerId::new(9))),
        ),
        (stranger(), Address::default()),
    ] {
        assert_eq!(next.address(addr), what, "{addr}");
    }
}

/// Addresses of the underlay.
fn ours() -> IpAddr {
    "2001:db8::1".parse().unwrap()
}

fn group() -> IpAddr {
    "239.1.1.1".parse().unwrap()
}

fn peer() -> IpAddr {
    "192.0.2.2".parse().unwrap()
}

fn stranger() -> IpAddr {
    "2001:db8::2".parse().unwrap()
}

/// Tables of their own.
struct OpenTables {
    datapath: Datapath,
    dir: PathBuf,
}

impl OpenTables {
    fn new() -> Self {
        mount_bpffs();
        let dir = PathBuf::from(BPFFS).join("vtep").join(unique("tables"));
        let mut datapath = Datapath::open(&dir, ROOM).unwrap();
        // What has no version yet would be made anew.
        datapath
            .configure(Ifindex::new(1), 4789, ConfigFlags::NONE)
            .unwrap();
        Self { datapath, dir }
    }

    /// What the daemon alone reads, to be changed behind its back.
    fn hash(&self, name: &str) -> HashMap<MapData, VtepAddr, u32> {
        let data = MapData::from_pin(self.dir.join(name)).unwrap();
        HashMap::try_from(Map::HashMap(data)).unwrap()
    }

    /// An array as it is.
    fn array<V: Pod>(&self, name: &str) -> Array<MapData, V> {
        let data = MapData::from_pin(self.dir.join(name)).unwrap();
        Array::try_from(Map::Array(data)).unwrap()
    }

    /// The FDB by MAC.
    fn fdb(&self) -> Vec<(FdbKey, FdbValue)> {
        let found = self.datapath.dump().unwrap().fdb.into_iter();
        let mut found: Vec<_> = found.map(|(key, value)| (key, value.unwrap())).collect();
        found.sort_by_key(|(key, _)| key.mac());
        found
    }
}

impl Drop for OpenTables {
    fn drop(&mut self) {
        remove_pins(&self.dir).unwrap();
    }
}

fn entry(number: u64) -> (FdbKey, FdbValue) {
    let [_, _, a, b, c, d, e, f] = (number + 1).to_be_bytes();
    let key = FdbKey::new(SegmentId::new(3), MacAddr::from_bytes([a, b, c, d, e, f]));
    let slot = PortSlot::new(u32::try_from(number).unwrap());
    let last_seen = number << FdbValue::STAMP_SHIFT;
    let value = FdbValue::learned(FdbTarget::Port(slot), last_seen);
    (key, value)
}
