//! Look-ups in the tables of buckets ([`vtep_common::abi::hash_table`]).

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use vtep_common::{
    abi::{
        addr::VtepAddr,
        address::Address,
        fdb::{FdbKey, FdbValue},
        hash_table::{Bucket, Shape, Table, WAYS},
        map::{DEFAULT_FDB_ENTRIES, MAX_LOCALS, MAX_PEERS, MAX_PORTS, MAX_SEGMENTS},
        peer::Peer,
        port::PortKey,
        segment::vni_key,
    },
    decide::lookup::Known,
    frame::{
        inner::{Inner, Received},
        outer::Ends,
    },
    runtime::{Keyed, Tables as _, place},
};

use crate::{
    clock::now,
    maps::{KernelTables, PEERS, PORTS},
};

#[map]
static SHAPES: Array<Shape> = Array::pinned(Table::COUNT, 0);

/// Makes a table of buckets. The daemon writes into its memory.
macro_rules! buckets {
    ($name:ident, $room:expr) => {
        #[map]
        static $name: Array<Bucket> = Array::pinned(Shape::buckets($room), BPF_F_MMAPABLE);
    };
}
buckets!(ADDRESSES, MAX_LOCALS + MAX_PEERS);
buckets!(VNIS, MAX_SEGMENTS);
buckets!(PORT_INDEX, MAX_PORTS);
// The daemon says how many there are to be.
buckets!(FDB, DEFAULT_FDB_ENTRIES);

/// How the keys of a table are spread.
#[inline(always)]
fn shape(table: Table) -> Option<&'static Shape> {
    SHAPES.get(table as u32)
}

/// The word of a key in one table, or zero; `$second` looks in the second bucket that the key belongs into.
///
/// The daemon may be changing the bucket: a word is whole in any case, and is written before its key and cleared after it.
macro_rules! word {
    ($table:ident, $map:ident, $second:ident, $key:expr) => {
        match shape(Table::$table) {
            Some(shape) => {
                let key = $key(shape);
                let [first, second] = shape.places(key);
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

impl Keyed for KernelTables {
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
    fn segment_of_port(&self, slot: u32) -> u32 {
        PORTS.get(slot).map_or(0, |port| port.segment)
    }

    #[inline(always)]
    fn fdb_word(&self, key: &FdbKey) -> u64 {
        word!(Fdb, FDB, second_mac, |_| key.word())
    }

    #[inline(always)]
    fn peer(&self, number: u32) -> Option<&Peer> {
        PEERS.get(number).filter(|peer| peer.has(Peer::IN_USE))
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        now()
    }
}

/// Answers in the scratch memory what is known of a packet from a VTEP that was put down there.
///
/// It is not inlined and visible from outside: such a function the verifier checks once, by itself, and of what it leaves behind
/// it knows nothing. Inlined, it would walk through each way to an answer, and on from there. What it returns says nothing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn know_tunnel() -> u64 {
    if let Some(tables) = KernelTables::new() {
        // SAFETY: whoever calls this has put both down, the first perhaps as the start of an `Outer`.
        let (ends, read): (&Ends, &Received) = unsafe {
            (
                tables.put_down_just_now::<{ place::OUTER }, _>(),
                tables.put_down_just_now::<{ place::INNER }, _>(),
            )
        };
        tables.put_down::<{ place::KNOWN }, _>(&Known::of_tunnel(ends, read, &tables));
    }
    0
}

/// As [`know_tunnel`], of a frame from the port with this key.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn know_port(key: u64) -> u64 {
    if let Some(tables) = KernelTables::new() {
        let key = PortKey::from_word(key);
        // SAFETY: whoever calls this has put it down.
        let inner: &Inner = unsafe { tables.put_down_just_now::<{ place::INNER }, _>() };
        tables.put_down::<{ place::KNOWN }, _>(&Known::of_port(key, inner, &tables));
    }
    0
}

/// The word of an address, or zero.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_address(a: u32, b: u32, c: u32, d: u32) -> u64 {
    let addr = VtepAddr::from_v6_be([a, b, c, d]);
    word!(Addresses, ADDRESSES, second_address, |shape: &Shape| addr
        .key(shape.seed))
}

/// Sets the stamp of the FDB entry with this key. A function of its own as those above; what it returns says nothing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn set_stamp(key: u64) -> u64 {
    let stamp = FdbValue::stamp(now());
    let Some(shape) = shape(Table::Fdb) else {
        return 0;
    };
    for place in shape.places(key) {
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
