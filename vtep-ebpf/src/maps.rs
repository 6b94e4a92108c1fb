//! The maps, and the look-ups that the decisions make in them.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    helpers::generated::bpf_ktime_get_coarse_ns,
    macros::map,
    maps::{
        Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf, lpm_trie::Key,
    },
};
use bytemuck::Pod;
use vtep_common::{
    addr::VtepAddr,
    buckets::{Bucket, Shape, Table, WAYS, number},
    learn::Seen,
    maps::{
        Address, Config, Counter, DEFAULT_FDB_ENTRIES, EVENTS_BYTES, EventEnd, FdbKey, FdbValue,
        FloodList, Guard, Hook, MAX_FLOOD_LISTS, MAX_GUARDS, MAX_LOCALS, MAX_NEIGHS, MAX_NEXTHOPS,
        MAX_PEERS, MAX_PORTS, MAX_SEGMENTS, NeighKey, NeighValue, NexthopKey, NexthopValue, Part,
        Peer, Port, PortKey, Segment, vni_key,
    },
    reason::Reason,
    tables::{Tables, place},
    template::TEMPLATE_WORDS,
    verdict::Found,
};

use crate::frame::tc::Headers;

#[map]
static CONFIG: Array<Config> = Array::pinned(1, 0);
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
// What the daemon alone reads.
#[map]
static LOCALS: HashMap<VtepAddr, u32> = HashMap::pinned(MAX_LOCALS, 0);
#[map]
static PEER_INDEX: HashMap<VtepAddr, u32> = HashMap::pinned(MAX_PEERS, 0);
#[map]
static SEGMENTS: Array<Segment> = Array::pinned(MAX_SEGMENTS, 0);
#[map]
static PORTS: Array<Port> = Array::pinned(MAX_PORTS, 0);
// Two kilobytes an entry, and most instances have few: made as they are needed.
#[map]
static FLOOD: HashMap<u32, FloodList> = HashMap::pinned(MAX_FLOOD_LISTS, BPF_F_NO_PREALLOC);
#[map]
static PEERS: Array<Peer> = Array::pinned(MAX_PEERS, 0);
#[map]
pub static NEIGHS: HashMap<NeighKey, NeighValue> = HashMap::pinned(MAX_NEIGHS, BPF_F_NO_PREALLOC);
#[map]
pub static NEXTHOPS: LpmTrie<NexthopKey, NexthopValue> =
    LpmTrie::pinned(MAX_NEXTHOPS, BPF_F_NO_PREALLOC);
#[map]
pub static EVENTS: RingBuf = RingBuf::pinned(EVENTS_BYTES, 0);
#[map]
pub static GUARDS: LruHashMap<u64, Guard> = LruHashMap::pinned(MAX_GUARDS, 0);
#[map]
pub static PARTS: ProgramArray = ProgramArray::pinned(Part::ALL.len() as u32, 0);
#[map]
pub static EVENT_COUNTERS: PerCpuArray<Counter> =
    PerCpuArray::pinned(EventEnd::ALL.len() as u32, 0);
#[map]
pub static REASON_COUNTERS: PerCpuArray<Counter> =
    PerCpuArray::pinned(Hook::ALL.len() as u32 * Reason::SLOTS, 0);
#[map]
pub static SEGMENT_COUNTERS: PerCpuArray<Counter> = PerCpuArray::pinned(MAX_SEGMENTS * 2, 0);
#[map]
pub static PORT_COUNTERS: PerCpuArray<Counter> = PerCpuArray::pinned(MAX_PORTS * 2, 0);
#[map]
pub static PEER_COUNTERS: PerCpuArray<Counter> = PerCpuArray::pinned(MAX_PEERS * 2, 0);

#[map]
static HANDOVER: PerCpuArray<NexthopValue> = PerCpuArray::pinned(1, 0);

/// Hands on what one part of a decision has found. False never happens, but the verifier asks for it.
#[inline(always)]
pub fn hand_over(found: &Found) -> bool {
    let Some(at) = HANDOVER.get_ptr_mut(0) else {
        return false;
    };
    let value = NexthopValue {
        mac: found.mac.get(),
        target: found.target,
        kind: found.kind,
        origin: 0,
        flags: 0,
    };
    // SAFETY: the map gave the pointer, and the value belongs to this CPU, on which programs do not nest.
    unsafe { at.write(value) };
    true
}

/// What the part before has found.
#[inline(always)]
pub fn handed_over() -> Option<Found> {
    let value = HANDOVER.get(0)?;
    Some(Found {
        kind: value.kind,
        target: value.target,
        mac: value.mac(),
    })
}

/// Words of a place for [`Tables::put_down`].
const PLACE_WORDS: usize = 16;

/// What one run of a program puts down for itself.
#[repr(C)]
pub struct Scratch([[u64; PLACE_WORDS]; place::COUNT]);

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// The BPF maps as the decisions see them.
#[derive(Clone, Copy)]
pub struct KernelTables {
    scratch: *mut Scratch,
}

impl KernelTables {
    /// `None` never happens, but the verifier asks for it.
    #[inline(always)]
    pub fn new() -> Option<Self> {
        let scratch = SCRATCH.get_ptr_mut(0)?;
        Some(Self { scratch })
    }

    /// A place in the scratch memory.
    #[inline(always)]
    const fn place<const PLACE: usize, T>(&self) -> *mut T {
        const {
            assert!(PLACE < place::COUNT);
            assert!(size_of::<T>() <= PLACE_WORDS * 8 && align_of::<T>() <= 8);
        };
        // SAFETY: the map gave the pointer, and the place is one of those that there are.
        unsafe {
            (&raw mut (*self.scratch).0)
                .cast::<[u64; PLACE_WORDS]>()
                .add(PLACE)
                .cast()
        }
    }

    /// As [`Tables::put_down`], for words that would else be copied byte by byte.
    #[inline(always)]
    pub fn put_down_words<const PLACE: usize, T: Copy, const N: usize>(
        &self,
        words: [T; N],
    ) -> &[T; N] {
        let at: *mut [T; N] = self.place::<PLACE, _>();
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: as in `put_down`.
            unsafe { at.cast::<T>().add(index).write_volatile(word) };
        }
        let at = core::hint::black_box(at);
        // SAFETY: as in `put_down`.
        unsafe { &*at }
    }

    /// What was put down before at a place: nothing but plain words, so that whatever is there is valid.
    #[inline(always)]
    pub fn put_down_before<const PLACE: usize, T: Pod>(&self) -> &T {
        let at: *const T = self.place::<PLACE, T>();
        // SAFETY: the place is large enough and belongs to this CPU, on which programs do not nest; any bytes are a `T`.
        unsafe { &*at }
    }

    /// Where headers are made: with the outer ones from a template, and behind them what was last there.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the memory is the map's, and only the code that makes headers takes it"
    )]
    pub fn headers(&self, template: &[u64; TEMPLATE_WORDS]) -> &mut Headers {
        let at: *mut Headers = self.place::<{ place::HEADERS }, _>();
        // SAFETY: the place is large enough and belongs to this CPU, on which programs do not nest; it is not the template's
        // map. Plain numbers are valid in any state.
        unsafe {
            core::ptr::copy_nonoverlapping(template, &raw mut (*at).outer, 1);
            &mut *at
        }
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, read coarsely.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_ktime_get_coarse_ns() }
}

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
        extern "C" fn $name($($arg: $type),+) -> u64 {
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
extern "C" fn see_mac(key: u64, kind: u32, target: u32) -> u64 {
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

/// A value of a hash map. It may change under the reader; every reader here takes single words that are valid in any state.
macro_rules! look_up {
    ($map:ident, $key:expr) => {
        // SAFETY: values are plain integers, valid in any bit pattern, and the verifier keeps the reference within the value.
        unsafe { $map.get($key) }
    };
}

impl Tables for KernelTables {
    #[inline(always)]
    fn config(&self) -> Config {
        CONFIG.get(0).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn address(&self, addr: &VtepAddr) -> Address {
        let [a, b, c, d] = addr.words_be();
        Address::from_word(find_address(a, b, c, d))
    }

    #[inline(always)]
    fn segment_number(&self, vni: u32) -> Option<u32> {
        number(find_vni(vni))
    }

    #[inline(always)]
    fn segment(&self, number: u32) -> Option<&Segment> {
        SEGMENTS
            .get(number)
            .filter(|segment| segment.has(Segment::IN_USE))
    }

    #[inline(always)]
    fn port_slot(&self, key: &PortKey) -> Option<u32> {
        number(find_port(key.word()))
    }

    #[inline(always)]
    fn port(&self, slot: u32) -> Option<&Port> {
        PORTS.get(slot).filter(|port| port.has(Port::IN_USE))
    }

    #[inline(always)]
    fn fdb(&self, key: &FdbKey) -> Option<FdbValue> {
        FdbValue::from_word(find_mac(key.word()))
    }

    #[inline(always)]
    fn seen(&self, key: &FdbKey, kind: u8, target: u32) -> Seen {
        Seen::from_code(see_mac(key.word(), kind.into(), target) as u8)
    }

    #[inline(always)]
    fn flood_list(&self, number: u32) -> Option<&FloodList> {
        look_up!(FLOOD, &number)
    }

    #[inline(always)]
    fn peer(&self, number: u32) -> Option<&Peer> {
        PEERS.get(number).filter(|peer| peer.has(Peer::IN_USE))
    }

    #[inline(always)]
    fn neigh(&self, key: &NeighKey) -> Option<NeighValue> {
        look_up!(NEIGHS, key).copied()
    }

    #[inline(always)]
    fn nexthop(&self, segment: u32, host: &VtepAddr) -> Option<NexthopValue> {
        let key = NexthopKey {
            segment,
            host: *host,
        };
        NEXTHOPS.get(Key::new(NexthopKey::BITS, key)).copied()
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        now()
    }

    #[inline(always)]
    fn put_down<'a, const PLACE: usize, T: Copy>(&'a self, value: &'a T) -> &'a T {
        let at: *mut T = self.place::<PLACE, T>();
        // SAFETY: the place is large enough and belongs to this CPU, on which programs do not nest.
        unsafe { at.write(*value) };
        // The compiler must not know either what was written.
        let at = core::hint::black_box(at);
        // SAFETY: as above, and it was written just now.
        unsafe { &*at }
    }
}
