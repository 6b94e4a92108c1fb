//! Look-ups in the tables of buckets ([`vtep_common::buckets`]).

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use vtep_common::{
    addr::VtepAddr,
    buckets::{Bucket, Shape, Table, WAYS},
    learn::Seen,
    maps::{
        DEFAULT_FDB_ENTRIES, FdbValue, MAX_LOCALS, MAX_PEERS, MAX_PORTS, MAX_SEGMENTS, vni_key,
    },
};

use crate::maps::now;

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

/// The word of a key, or zero.
///
/// The daemon may be changing the bucket: a word is whole in any case, and is written before its key and cleared after it.
#[inline(always)]
fn find(table: &Array<Bucket>, shape: &Shape, key: u64) -> u64 {
    let [first, second] = shape.places(key);
    let Some(bucket) = table.get(first) else {
        return 0;
    };
    let word = bucket.find(key);
    if word != 0 {
        return word;
    }
    match table.get(second) {
        Some(bucket) => bucket.find(key),
        None => 0,
    }
}

/// Makes functions that look a key up in one table.
///
/// They are not inlined and visible from outside: such a function the verifier checks once, by itself, and of what it returns it
/// knows only that it is a number. Inlined, it would walk through each way to an answer, and on from there.
macro_rules! finders {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),+), $table:ident, $map:ident, $key:expr;)+) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $name($($arg: $type),+) -> u64 {
            match shape(Table::$table) {
                Some(shape) => find(&$map, shape, $key(shape)),
                None => 0,
            }
        }
    )+};
}

finders! {
    /// The word of an FDB key.
    find_mac(key: u64), Fdb, FDB, |_| key;
    /// The word of a VNI.
    find_vni(vni: u32), Vnis, VNIS, |_| vni_key(vni);
    /// The word of a port's key.
    find_port(key: u64), PortIndex, PORT_INDEX, |_| key;
    /// The word of an address.
    find_address(a: u32, b: u32, c: u32, d: u32), Addresses, ADDRESSES, |shape: &Shape| VtepAddr::from_v6_be([a, b, c, d]).key(shape.seed);
}

/// What an FDB entry says of a frame whose source it is for: the code of a [`Seen`].
#[unsafe(no_mangle)]
#[inline(never)]
#[expect(clippy::cast_possible_truncation, reason = "the kind is a byte")]
pub extern "C" fn see_mac(key: u64, kind: u32, target: u32) -> u64 {
    let found = FdbValue::from_word(find_mac(key));
    Seen::of(found, kind as u8, target, now).code().into()
}

/// Sets the stamp of the FDB entry with this key. A function of its own as those above; what it returns says nothing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn set_stamp(key: u64, stamp: u32) -> u64 {
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
