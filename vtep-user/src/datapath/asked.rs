//! Reading what a decision asks for, entry by entry: what a trace looks into is the tables of the programs themselves.

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError, lpm_trie::Key},
};
use vtep_common::{
    abi::{
        address::Address,
        fdb::FdbWord,
        hash_table::number,
        id::{Ifindex, PortSlot, SegmentId},
        map::name,
        nexthop::NexthopKey,
        peer::Peer,
        policer::Policer,
        port::{GuardedKey, Port},
        segment::{Segment, SourceKey, vni_key},
    },
    sim::{HostTables, asked::Asked},
};

use super::{Datapath, clock, error::DatapathError, tables::word};

/// The value of a key, if it is there.
fn get<K: Pod, V: Pod>(
    map: &HashMap<MapData, K, V>,
    name: &'static str,
    key: &K,
) -> Result<Option<V>, DatapathError> {
    found(map.get(key, 0), name)
}

/// What was read, or that it is not there: no key, or a number that the table is not long enough for.
fn found<V>(read: Result<V, MapError>, name: &'static str) -> Result<Option<V>, DatapathError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound | MapError::OutOfBounds { .. }) => Ok(None),
        Err(source) => Err(DatapathError::map("read", name, source)),
    }
}

impl Datapath {
    /// Tables in which nothing is yet but what holds for the whole instance, and the time.
    pub fn nothing_read(&self) -> Result<HostTables, DatapathError> {
        let config = self.config()?;
        let (now, tick) = clock::now();
        Ok(HostTables {
            config,
            now,
            tick,
            ..HostTables::default()
        })
    }

    /// Puts what the programs' tables say of one thing into `tables`. Nothing is changed by it.
    pub fn read_asked(&self, asked: Asked, tables: &mut HostTables) -> Result<(), DatapathError> {
        let maps = &self.maps;
        match asked {
            Asked::PortAt(key) => {
                let slot = word(&maps.port_index, name::PORT_INDEX, key.word())?;
                let slot = slot.and_then(number).map(PortSlot::new);
                tables.port_index.extend(slot.map(|slot| (key, slot)));
            }
            Asked::Port(slot) => {
                let port = found(maps.ports.get(&slot.get(), 0), name::PORTS)?;
                let port = port.filter(|port: &Port| port.has(Port::IN_USE));
                tables.ports.extend(port.map(|port| (slot, port)));
            }
            Asked::Policer(slot, what) => {
                let policer = found(maps.policers.get(&what.index(slot), 0), name::POLICERS)?;
                let entry = policer.map(|policer| ((slot, what), policer));
                tables.policers.extend(entry);
            }
            Asked::Answers(slot) => {
                let at = Policer::answers_index(slot);
                let policer = found(maps.policers.get(&at, 0), name::POLICERS)?;
                let until = policer.map(|policer| (slot, policer.used_until));
                tables.answered.extend(until);
            }
            Asked::Mapped(ifindex, _) => {
                let ifindex = Ifindex::new(ifindex);
                let vlans = get(&maps.trunks, name::TRUNKS, &ifindex)?;
                tables.trunks.extend(vlans.map(|vlans| (ifindex, vlans)));
            }
            Asked::Owns(port, host) => {
                let key = GuardedKey { port, host };
                let owns = get(&maps.guarded, name::GUARDED, &key)?;
                tables.guarded.extend(owns.map(|_| (port, host)));
            }
            Asked::Vni(vni) => {
                let id = word(&maps.vnis, name::VNIS, vni_key(vni))?;
                let id = id.and_then(number).map(SegmentId::new);
                tables.vnis.extend(id.map(|id| (vni, id)));
            }
            Asked::Segment(id) => {
                let segment = found(maps.segments.get(&id.get(), 0), name::SEGMENTS)?;
                let segment = segment.filter(|segment: &Segment| segment.has(Segment::IN_USE));
                tables.segments.extend(segment.map(|segment| (id, segment)));
            }
            Asked::Fdb(key) => {
                let entry = word(&maps.fdb, name::FDB, key.word())?;
                let value = entry.and_then(|entry| FdbWord::new(entry).value());
                tables.fdb.extend(value.map(|value| (key, value)));
            }
            Asked::Address(addr) => {
                let key = addr.key(maps.addresses.geometry().seed);
                let found = word(&maps.addresses, name::ADDRESSES, key)?;
                let found = Address::from_word(found.unwrap_or(0));
                let peer = found.peer().map(|peer| (addr, peer));
                tables.peer_index.extend(peer);
                if found.word() & Address::OWN != 0 {
                    tables.locals.insert(addr);
                }
                if found.word() & Address::GROUP != 0 {
                    tables.groups.insert(addr);
                }
            }
            Asked::Listed(id, peer) => {
                let named = get(&maps.sources, name::SOURCES, &SourceKey::new(id, peer))?;
                tables.sources.extend(named.map(|_| (id, peer)));
            }
            Asked::Uplink(word) => {
                let known = self.uplink_words.get(&word);
                tables.uplinks.extend(known.map(|word| word.parts()));
            }
            Asked::Peer(id) => {
                let peer = found(maps.peers.get(&id.get(), 0), name::PEERS)?;
                let peer = peer.filter(|peer: &Peer| peer.has(Peer::IN_USE));
                tables.peers.extend(peer.map(|peer| (id, peer)));
            }
            Asked::FloodList(list) => {
                let found = get(&maps.flood, name::FLOOD, &list)?;
                tables.flood.extend(found.map(|found| (list, found)));
            }
            Asked::Neigh(key) => {
                let found = get(&maps.neighs, name::NEIGHS, &key)?;
                tables.neighs.extend(found.map(|found| (key, found)));
            }
            Asked::Nexthop(segment, host) => {
                let key = NexthopKey { segment, host };
                let of = Key::new(NexthopKey::BITS, key);
                let value = found(maps.nexthops.get(&of, 0), name::NEXTHOPS)?;
                let entry = value.map(|value| (NexthopKey::BITS, key, value));
                tables.nexthops.extend(entry);
            }
        }
        Ok(())
    }
}
