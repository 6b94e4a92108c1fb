//! The maps, and the look-ups that the decisions make in them; those in buckets are in [`crate::buckets`].

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{
        Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf, lpm_trie::Key,
    },
};
use bytemuck::Pod;
use vtep_common::{
    abi::{
        addr::VtepAddr,
        config::Config,
        counter::{Counter, Hook},
        event::{EventEnd, Guard},
        flood::FloodList,
        map::{
            EVENTS_BYTES, MAX_FLOOD_LISTS, MAX_GUARDS, MAX_LOCALS, MAX_NEIGHS, MAX_NEXTHOPS,
            MAX_PEERS, MAX_PORTS, MAX_SEGMENTS,
        },
        neigh::{NeighKey, NeighValue},
        nexthop::{NexthopKey, NexthopValue},
        outer_template::TEMPLATE_WORDS,
        peer::Peer,
        port::{Port, PortKey},
        reason::Reason,
        segment::Segment,
        tail_call::Part,
    },
    decide::{lookup::Known, verdict::Found},
    frame::{
        inner::{Inner, Received},
        outer::Ends,
    },
    runtime::{Tables, place},
};

use crate::{
    buckets::{know_port, know_tunnel},
    frame::tc::Headers,
};

#[map]
static CONFIG: Array<Config> = Array::pinned(1, 0);
// What the daemon alone reads.
#[map]
static LOCALS: HashMap<VtepAddr, u32> = HashMap::pinned(MAX_LOCALS, 0);
#[map]
static PEER_INDEX: HashMap<VtepAddr, u32> = HashMap::pinned(MAX_PEERS, 0);
#[map]
static SEGMENTS: Array<Segment> = Array::pinned(MAX_SEGMENTS, 0);
#[map]
pub static PORTS: Array<Port> = Array::pinned(MAX_PORTS, 0);
// Two kilobytes an entry, and most instances have few: made as they are needed.
#[map]
static FLOOD: HashMap<u32, FloodList> = HashMap::pinned(MAX_FLOOD_LISTS, BPF_F_NO_PREALLOC);
#[map]
pub static PEERS: Array<Peer> = Array::pinned(MAX_PEERS, 0);
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
        // Said of none; not a run of zeros, which would become a loop.
        origin: NexthopValue::STATIC,
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
    /// The program is short enough for the verifier to follow what is decided late.
    short: bool,
}

impl KernelTables {
    /// `None` never happens, but the verifier asks for it.
    #[inline(always)]
    pub fn new() -> Option<Self> {
        let scratch = SCRATCH.get_ptr_mut(0)?;
        Some(Self {
            scratch,
            short: false,
        })
    }

    /// For a program that is short enough for the verifier to follow what is decided late: that is not put down, which saves
    /// moving it there and back.
    #[inline(always)]
    pub fn for_short_program() -> Option<Self> {
        Self::new().map(|tables| Self {
            short: true,
            ..tables
        })
    }

    /// A place in the scratch memory.
    #[inline(always)]
    pub const fn place<const PLACE: usize, T>(&self) -> *mut T {
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

    /// As [`Tables::put_down`], for what is changed later.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the memory is the map's, and nothing else is put there"
    )]
    pub fn put_down_mut<const PLACE: usize, T: Copy>(&self, value: &T) -> &mut T {
        let at: *mut T = self.place::<PLACE, T>();
        // SAFETY: the place is large enough and belongs to this CPU, on which programs do not nest.
        unsafe { at.write(*value) };
        // The compiler must not know either what was written.
        let at = core::hint::black_box(at);
        // SAFETY: as above, and it was written just now.
        unsafe { &mut *at }
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

    /// What was put down just now at a place, by whoever calls this function.
    ///
    /// # Safety
    ///
    /// It was a `T`.
    #[inline(always)]
    pub unsafe fn put_down_just_now<const PLACE: usize, T>(&self) -> &T {
        let at: *const T = self.place::<PLACE, T>();
        // SAFETY: the place is large enough and belongs to this CPU, on which programs do not nest; the caller vouches for the
        // rest.
        unsafe { &*at }
    }

    /// Where headers are made: with the outer ones from a template, and behind them what was last there.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the memory is the map's, and only the code that makes headers takes it"
    )]
    pub fn headers(&self, template: &[u64; TEMPLATE_WORDS]) -> &mut Headers {
        let headers: *mut Headers = self.last_headers();
        // SAFETY: it is the one reference, and not into the template's map.
        unsafe {
            core::ptr::copy_nonoverlapping(template, &raw mut (*headers).outer, 1);
            &mut *headers
        }
    }

    /// Where headers are made, with what was last there.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the memory is the map's, and only the code that makes headers takes it"
    )]
    pub fn last_headers(&self) -> &mut Headers {
        let at: *mut Headers = self.place::<{ place::HEADERS }, _>();
        // SAFETY: the place is large enough and belongs to this CPU, on which programs do not nest. Plain numbers are valid in
        // any state.
        unsafe { &mut *at }
    }
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
    fn segment(&self, number: u32) -> Option<&Segment> {
        SEGMENTS
            .get(number)
            .filter(|segment| segment.has(Segment::IN_USE))
    }

    #[inline(always)]
    fn port(&self, slot: u32) -> Option<&Port> {
        PORTS.get(slot).filter(|port| port.has(Port::IN_USE))
    }

    #[inline(always)]
    fn flood_list(&self, number: u32) -> Option<&FloodList> {
        look_up!(FLOOD, &number)
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
    fn of_tunnel(&self, _ends: &Ends, _read: &Received) -> Known {
        know_tunnel();
        *self.put_down_before::<{ place::KNOWN }, _>()
    }

    #[inline(always)]
    fn of_port(&self, key: PortKey, _inner: &Inner) -> Known {
        know_port(key.word());
        *self.put_down_before::<{ place::KNOWN }, _>()
    }

    #[inline(always)]
    fn put_down<'a, const PLACE: usize, T: Copy>(&'a self, value: &'a T) -> &'a T {
        if self.short && matches!(PLACE, place::ARRIVAL | place::VERDICT | place::END) {
            return value;
        }
        self.put_down_mut::<PLACE, T>(value)
    }
}
