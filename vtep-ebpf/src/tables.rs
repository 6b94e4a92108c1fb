//! Look-ups in the maps.

use aya_ebpf::maps::lpm_trie::Key;
use vtep_common::{
    abi::{
        addr::VtepAddr,
        address::Address,
        config::Config,
        fdb::{FdbKey, FdbValue, FdbWord},
        flood::FloodList,
        hash_table::{Geometry, Table, WAYS},
        id::{Ifindex, ListId, PeerId, PortSlot, SegmentId},
        neigh::{NeighKey, NeighValue},
        nexthop::{NexthopKey, NexthopOrigin, NexthopValue},
        peer::Peer,
        policer::{Policed, Policer},
        port::{GuardedKey, Port, PortKey},
        segment::{Segment, SourceKey, vni_key},
        uplink::UplinkWord,
    },
    frame::vlan::ShownVlan,
    runtime::{tables::Tables, verdict::Resolved},
};

use crate::{
    clock::{now, time},
    maps::{
        ADDRESSES, CONFIG, FDB, FLOOD, GUARDED, HANDOVER, NEIGHS, NEXTHOPS, PEERS, POLICERS,
        PORT_INDEX, PORTS, SEGMENTS, SHAPES, SOURCES, TRUNKS, UPLINKS, VNIS,
    },
};

/// A value of a hash map. It may change under the reader; every reader here takes single words that are valid in any state.
macro_rules! look_up {
    ($map:ident, $key:expr) => {
        // SAFETY: values are plain integers, valid in any bit pattern, and the verifier keeps the reference within the value.
        unsafe { $map.get($key) }
    };
}

/// How the keys of a table are spread.
#[inline(always)]
fn geometry(table: Table) -> Option<&'static Geometry> {
    SHAPES.get(table as u32)
}

/// The word of a key in one table, or zero; `$second` looks in the second bucket that the key belongs into.
///
/// The daemon may be changing the bucket: a word is whole in any case, and is written before its key and cleared after it.
macro_rules! word {
    ($table:ident, $map:ident, $second:ident, $key:expr) => {
        match geometry(Table::$table) {
            Some(geometry) => {
                let key = $key(geometry);
                let [first, second] = geometry.places(key);
                match $map.get(first).map_or(0, |bucket| bucket.find(key)) {
                    0 => $second(key, second),
                    word => word,
                }
            }
            None => 0,
        }
    };
}

/// Makes functions that look in the second bucket of a key. Few keys are there, so they need not be fast.
macro_rules! seconds {
    ($($name:ident: $map:ident;)+) => {$(
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $name(key: u64, place: u32) -> u64 {
            $map.get(place).map_or(0, |bucket| bucket.find(key))
        }
    )+};
}

seconds! {
    second_address: ADDRESSES;
    second_vni: VNIS;
    second_port: PORT_INDEX;
    second_mac: FDB;
}

/// The BPF maps as the decisions see them.
pub struct KernelTables;

impl Tables for KernelTables {
    #[inline(always)]
    fn config(&self) -> Config {
        CONFIG.get(0).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn segment(&self, segment: SegmentId) -> Option<&Segment> {
        SEGMENTS
            .get(segment.get())
            .filter(|segment| segment.has(Segment::IN_USE))
    }

    #[inline(always)]
    fn port(&self, slot: PortSlot) -> Option<&Port> {
        PORTS.get(slot.get()).filter(|port| port.has(Port::IN_USE))
    }

    #[inline(always)]
    fn is_mapped(&self, ifindex: u32, vlan: ShownVlan) -> bool {
        is_trunks(ifindex, vlan.get().into()) != 0
    }

    #[inline(always)]
    fn owns(&self, slot: PortSlot, addr: &VtepAddr) -> bool {
        let [a, b, c, d] = addr.words_be();
        is_guarded(slot.get(), a, b, c, d) != 0
    }

    #[inline(always)]
    fn flood_list(&self, list: ListId) -> Option<&FloodList> {
        look_up!(FLOOD, &list)
    }

    #[inline(always)]
    fn neigh(&self, key: &NeighKey) -> Option<NeighValue> {
        look_up!(NEIGHS, key).copied()
    }

    #[inline(always)]
    fn nexthop(&self, segment: SegmentId, host: &VtepAddr) -> Option<NexthopValue> {
        let key = NexthopKey {
            segment,
            host: *host,
        };
        NEXTHOPS.get(Key::new(NexthopKey::BITS, key)).copied()
    }

    #[inline(always)]
    fn address(&self, addr: &VtepAddr) -> Address {
        let [a, b, c, d] = addr.words_be();
        Address::from_word(find_address(a, b, c, d))
    }

    #[inline(always)]
    fn vni_word(&self, vni: u32) -> u64 {
        word!(Vnis, VNIS, second_vni, |_| vni_key(vni))
    }

    #[inline(always)]
    fn port_word(&self, key: &PortKey) -> u64 {
        word!(PortIndex, PORT_INDEX, second_port, |_| key.word())
    }

    #[inline(always)]
    fn is_uplink(&self, word: UplinkWord) -> bool {
        UPLINKS.get(word.place()) == Some(&word)
    }

    #[inline(always)]
    fn segment_of_port(&self, slot: PortSlot) -> SegmentId {
        let port = PORTS.get(slot.get());
        port.map_or(SegmentId::new(0), |port| port.segment)
    }

    #[inline(always)]
    fn fdb_word(&self, key: &FdbKey) -> FdbWord {
        FdbWord::new(word!(Fdb, FDB, second_mac, |_| key.word()))
    }

    #[inline(always)]
    fn peer(&self, peer: PeerId) -> Option<&Peer> {
        PEERS.get(peer.get()).filter(|peer| peer.has(Peer::IN_USE))
    }

    #[inline(always)]
    fn is_listed(&self, segment: SegmentId, peer: PeerId) -> bool {
        find_source(segment.get(), peer.get()) != 0
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        now()
    }

    #[inline(always)]
    fn tick(&self) -> u64 {
        time().1
    }

    #[inline(always)]
    fn policer(&self, slot: PortSlot, what: Policed) -> Policer {
        let found = POLICERS.get(what.index(slot));
        found.copied().unwrap_or(Policer::NONE)
    }

    #[inline(always)]
    fn answers(&self, slot: PortSlot) -> Policer {
        let found = POLICERS.get(Policer::answers_index(slot));
        Policer {
            used_until: found.map_or(0, |found| found.used_until),
            ..Policer::ANSWERS
        }
    }
}

/// Hands off to the next stage of a decision where the frame goes. False never happens, but the verifier asks for it.
#[inline(always)]
pub fn hand_off(resolved: &Resolved) -> bool {
    let Some(at) = HANDOVER.get_ptr_mut(0) else {
        return false;
    };
    // The origin says nothing here; not a run of zeros, which would become a loop.
    let flag = |set: bool, flag| if set { flag } else { 0 };
    let flags =
        flag(resolved.clamped, NexthopValue::CLAMPED) | flag(resolved.cut, NexthopValue::CUT);
    let value = NexthopValue::new(resolved.target, resolved.mac, NexthopOrigin::Static, flags);
    // SAFETY: the map gave the pointer, and the value belongs to this CPU, on which programs do not nest.
    unsafe { at.write(value) };
    true
}

/// What the part before has resolved.
#[inline(always)]
pub fn handoff() -> Option<Resolved> {
    let value = HANDOVER.get(0)?;
    Some(Resolved {
        target: value.target(),
        mac: value.mac(),
        clamped: value.flags & NexthopValue::CLAMPED != 0,
        cut: value.flags & NexthopValue::CUT != 0,
    })
}

/// Not zero if an entry of the segment names the peer.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_source(segment: u32, peer: u32) -> u64 {
    let key = SourceKey::new(SegmentId::new(segment), PeerId::new(peer));
    look_up!(SOURCES, &key).is_some().into()
}

/// Not zero if the VLAN that a frame shows has a port of its own at an interface.
#[unsafe(no_mangle)]
#[inline(never)]
#[expect(clippy::cast_possible_truncation, reason = "it was 16 bits long")]
extern "C" fn is_trunks(ifindex: u32, vlan: u32) -> u64 {
    let vlan = vlan as u16;
    let hidden = vlan == ShownVlan::HIDDEN.get();
    let trunk = look_up!(TRUNKS, &Ifindex::new(ifindex));
    (hidden || trunk.is_some_and(|vlans| vlans.has(vlan))).into()
}

/// Not zero if a port with a guard has an address.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_guarded(slot: u32, a: u32, b: u32, c: u32, d: u32) -> u64 {
    let key = GuardedKey {
        port: PortSlot::new(slot),
        host: VtepAddr::from_v6_be([a, b, c, d]),
    };
    look_up!(GUARDED, &key).is_some().into()
}

/// The word of an address, or zero.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_address(a: u32, b: u32, c: u32, d: u32) -> u64 {
    let addr = VtepAddr::from_v6_be([a, b, c, d]);
    word!(
        Addresses,
        ADDRESSES,
        second_address,
        |geometry: &Geometry| addr.key(geometry.seed)
    )
}

/// Sets the stamp of the FDB entry with this key. What it returns says nothing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn set_stamp(key: u64) -> u64 {
    let stamp = FdbValue::stamp(now());
    let Some(geometry) = geometry(Table::Fdb) else {
        return 0;
    };
    for place in geometry.places(key) {
        let Some(bucket) = FDB.get_ptr_mut(place) else {
            return 0;
        };
        for way in 0..WAYS {
            // SAFETY: the map gave the pointer; keys are aligned words, and stamps aligned halves of words that nothing else
            // is written in. If the daemon puts another entry there meanwhile, that was seen just now as well.
            unsafe {
                if (&raw const (*bucket).keys[way]).read_volatile() == key {
                    let halves: *mut u32 = (&raw mut (*bucket).words[way]).cast();
                    // The upper half, on a little-endian machine, as the target of this program is.
                    halves.add(1).write_volatile(stamp);
                    return 0;
                }
            }
        }
    }
    0
}
