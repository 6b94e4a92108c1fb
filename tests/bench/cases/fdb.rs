//! The FDB at its sizes: what a look-up takes, alone and beside a writer, how fast it is changed and read, and its memory.

mod command;

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vtep_common::abi::addr::MacAddr;
use vtep_common::abi::fdb::FdbTarget;
use vtep_common::abi::hash_table::{self, Geometry, WAYS};
use vtep_common::abi::id::{PeerId, SegmentId};
use vtep_common::abi::{
    fdb::{FdbKey, FdbValue},
    map::name,
};
use vtep_tests::bpf::asm::{Asm, Helper, Reg, Size};
use vtep_tests::bpf::program::{Program, ProgramType, array, number_at, numbers_at, open_map};
use vtep_tests::daemon::mount_bpffs;
use vtep_tests::lab::ns::unique;
use vtep_user::control::Write;
use vtep_user::datapath::{BPFFS, Datapath, remove_pins};

use crate::measure::{Contender, Scale, compare, pin, process};
use crate::report::{Goal, Report};

/// Look-ups of one measurement.
const LOOKS: u32 = 1_000_000;
/// Look-ups that are timed together where single delays are looked for.
const FEW: u32 = 256;
/// Places of the table that keys are drawn from where some are drawn more often than others: a power of two.
const DRAWS: usize = 1 << 20;
/// Entries that a writer changes in one go.
const CHUNK: usize = 4_096;
/// A thousandth of the delays may be longer than this, in microseconds: a ring of 256 frames holds what comes in that time at a
/// quarter of a million frames a second.
const STALL_US: f64 = 1_000.0;
/// The size that goals are about.
const GOAL_SIZE: u32 = 262_144;
/// Mixes the number of an entry into a MAC: an odd number, so that no two get the same.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
/// Leaves the upper 40 bits of the mixed number, below the first byte of a MAC.
const MIX_SHIFT: i32 = 24;

/// Measures.
pub(crate) fn run(scale: &Scale, report: &mut Report) {
    mount_bpffs();
    for count in scale.pick(
        [
            (1_000, 1_000),
            (65_536, 65_536),
            (GOAL_SIZE, GOAL_SIZE),
            (1_000_000, 1_100_000),
        ],
        [(100, 100), (200, 200), (300, 300), (400, 500)],
    ) {
        let mut table = FdbTable::new(count);
        table.updates(scale, report);
        table.memory(report);
        table.look_ups(scale, report);
        if count.0 >= 65_536 || scale.smoke {
            table.beside_a_writer(scale, report);
        }
    }
    for count in scale.pick([65_536, GOAL_SIZE], [500, 1_000]) {
        command::rows(scale, report, count);
    }
}

/// The FDB of an instance that has no daemon.
struct FdbTable {
    datapath: Datapath,
    map: OwnedFd,
    geometry: Geometry,
    count: u32,
    room: u32,
    /// Look-ups that found nothing.
    misses: OwnedFd,
    _pins: PinnedProgram,
}

/// Removes what an instance has pinned, when dropped.
struct PinnedProgram(PathBuf);

impl Drop for PinnedProgram {
    fn drop(&mut self) {
        if let Err(error) = remove_pins(&self.0) {
            eprintln!("remove {}: {error}", self.0.display());
        }
    }
}

impl FdbTable {
    /// One with that many entries, and room for so many.
    fn new((count, room): (u32, u32)) -> Self {
        let pins = PinnedProgram(PathBuf::from(BPFFS).join("vtep").join(unique("fdb")));
        let datapath = Datapath::open(&pins.0, room)
            .unwrap_or_else(|error| panic!("load the programs: {error}"));
        let map = open_map(&pins.0.join(name::FDB));
        let geometries = open_map(&pins.0.join(name::SHAPES));
        let geometry: [u64; 2] = numbers_at(&geometries, hash_table::Table::Fdb as u32);
        let mut table = Self {
            datapath,
            map,
            geometry: bytemuck::cast(geometry),
            count,
            room,
            misses: array(&[0]),
            _pins: pins,
        };
        table.write(&sets(0..count, PeerId::new(1)));
        table
    }

    fn write(&mut self, writes: &[Write]) {
        self.datapath
            .write(writes)
            .unwrap_or_else(|error| panic!("write the FDB: {error}"));
    }

    /// How fast entries are set, changed and deleted.
    fn updates(&mut self, scale: &Scale, report: &mut Report) {
        let (count, goal) = (self.count, self.goal(Goal::AtLeast(1_000_000.0)));
        let new = sets(0..count, PeerId::new(1));
        let other = sets(0..count, PeerId::new(2));
        let gone: Vec<Write> = (0..count)
            .map(|number| Write::Fdb(key(number), None))
            .collect();
        let table = std::cell::RefCell::new(self);
        let timed = |writes: &[Write]| {
            let start = Instant::now();
            for chunk in writes.chunks(CHUNK) {
                table.borrow_mut().write(chunk);
            }
            f64::from(count) / start.elapsed().as_secs_f64()
        };
        let [mut set, mut deleted] = [0.0, 0.0];
        let figures = compare(
            scale,
            11,
            &mut [Contender::new("changed", || {
                let changed = timed(&other);
                deleted = timed(&gone);
                set = timed(&new);
                Ok(changed)
            })],
        );
        report.figure(
            &format!("{count} MACs, entries changed in bulk"),
            "/s",
            &figures,
            goal,
        );
        report.note(format!(
            "set anew {set:.0}/s, deleted {deleted:.0}/s (the last round's)"
        ));
    }

    /// What an entry takes, when the table is as full as it is here.
    fn memory(&self, report: &mut Report) {
        let path = format!("/proc/self/fdinfo/{}", self.map.as_raw_fd());
        let info = fs::read_to_string(path).unwrap_or_default();
        let line = info.lines().find_map(|line| line.strip_prefix("memlock:"));
        let bytes: f64 = line
            .and_then(|text| text.trim().parse().ok())
            .expect("the memory of a map");
        report.single(
            &format!(
                "{} MACs, room for {}: memory for each",
                self.count, self.room
            ),
            "B",
            bytes / f64::from(self.count),
            self.goal(Goal::AtMost(110.0)),
        );
    }

    /// What a look-up takes, of keys that are all drawn as often and of keys that are not.
    fn look_ups(&self, scale: &Scale, report: &mut Report) {
        let zipf = zipf(self.count, scale.pick(DRAWS, 1 << 10));
        for (draw, what, goal) in [
            (
                Draw::Uniform(self.count),
                "all keys alike",
                self.goal(Goal::AtMost(120.0)),
            ),
            (
                Draw::Table(&zipf.0, zipf.1),
                "keys by Zipf's law (1.0)",
                None,
            ),
        ] {
            let looking = Program::load(ProgramType::Xdp, &self.program(draw, true));
            let empty = Program::load(ProgramType::Xdp, &self.program(draw, false));
            let looks = scale.pick(LOOKS, 1_000);
            let mut figures = compare(
                scale,
                15,
                &mut [
                    Contender::new("looking up", || Ok(each_ns(&looking, looks))),
                    Contender::new("empty", || Ok(each_ns(&empty, looks))),
                ],
            );
            figures.derive("look-up", ["looking up", "empty"], |[with, without]| {
                with - without
            });
            report.figure(
                &format!("{} MACs, a look-up, {what}", self.count),
                "ns",
                &figures.only(&["look-up", "looking up", "empty"]),
                goal,
            );
            assert_eq!(number_at(&self.misses, 0), 0, "every key is there");
        }
    }

    /// Look-ups while another processor changes entries all the time.
    fn beside_a_writer(&mut self, scale: &Scale, report: &mut Report) {
        let count = self.count;
        let draw = Draw::Uniform(count);
        // For an XDP program each test run changes the kernel's own code, and takes milliseconds to begin.
        let looking = Program::load(ProgramType::Tc, &self.program(draw, true));
        let looks = scale.pick(LOOKS, 1_000);
        let (stop, busy, written) = (
            AtomicBool::new(false),
            AtomicBool::new(false),
            AtomicU64::new(0),
        );
        let [mut alone_stalls, mut beside_stalls] = [Vec::new(), Vec::new()];
        // Look-ups beside the writer.
        let looked = std::cell::Cell::new(0_u64);
        let figures = std::thread::scope(|scope| {
            let _stop = StopOnDrop(&stop);
            let (table, stop, busy, written) = (&mut *self, &stop, &busy, &written);
            scope.spawn(move || {
                pin(1);
                table.change_all_the_time(stop, busy, written);
            });
            let measure = |beside: bool, stalls: &mut Vec<f64>| {
                busy.store(beside, Ordering::Relaxed);
                // What comes first is not measured: the writer begins.
                std::thread::scope(|inner| {
                    inner
                        .spawn(|| {
                            pin(0);
                            each_ns(&looking, looks / 10);
                            let each = each_ns(&looking, looks);
                            stalls.extend(
                                (0..looks / FEW)
                                    .map(|_| each_ns(&looking, FEW) * f64::from(FEW) / 1e3),
                            );
                            Ok(each)
                        })
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
            };
            compare(
                scale,
                15,
                &mut [
                    Contender::new("beside a writer", || {
                        looked.set(looked.get() + u64::from(looks) * 21 / 10);
                        measure(true, &mut beside_stalls)
                    }),
                    Contender::new("alone", || measure(false, &mut alone_stalls)),
                ],
            )
        });
        report.ratio(
            &format!("{count} MACs, a look-up beside a writer (program and all)"),
            "ns",
            &figures,
            None,
        );
        report.note(format!(
            "{} entries were changed meanwhile",
            written.load(Ordering::Relaxed)
        ));
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let [missed, asked] = [number_at(&self.misses, 0), looked.get()].map(|count| count as f64);
        report.single(
            &format!("{count} MACs, look-ups beside a writer that miss an entry"),
            "of a million",
            missed * 1e6 / asked.max(1.0),
            None,
        );
        report.note(format!(
            "{missed} of {asked}; every key is there all the time"
        ));
        report.single(
            &format!("{count} MACs, {FEW} look-ups beside a writer: 99.9 of 100 are done within"),
            "us",
            share(&mut beside_stalls, 999),
            self.goal(Goal::AtMost(STALL_US)),
        );
        report.note(format!(
            "alone {:.0} us; half are done within {:.0} us beside a writer, and {:.0} us alone",
            share(&mut alone_stalls, 999),
            share(&mut beside_stalls, 500),
            share(&mut alone_stalls, 500),
        ));
    }

    fn change_all_the_time(&mut self, stop: &AtomicBool, busy: &AtomicBool, written: &AtomicU64) {
        let states = [
            sets(0..self.count, PeerId::new(2)),
            sets(0..self.count, PeerId::new(1)),
        ];
        for chunk in states.iter().flat_map(|all| all.chunks(CHUNK)).cycle() {
            while !busy.load(Ordering::Relaxed) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::park_timeout(Duration::from_millis(1));
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            self.write(chunk);
            written.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
    }

    /// A goal, if this is the size that they are for.
    fn goal(&self, goal: Goal) -> Option<Goal> {
        (self.count == GOAL_SIZE).then_some(goal)
    }

    /// A program that draws a key and looks it up, or only draws it.
    fn program(&self, draw: Draw<'_>, looks: bool) -> Asm {
        let asm = draw.number(Asm::new());
        // The key: the mixed number of the entry, as `key` has it.
        let asm = asm
            .set_long(Reg::R1, MIX)
            .mul_reg(Reg::R0, Reg::R1)
            .shift_right(Reg::R0, MIX_SHIFT)
            .set_long(Reg::R1, LOCAL_BIT)
            .or_reg(Reg::R0, Reg::R1)
            .store(Size::Double, Reg::R10, -16, Reg::R0);
        if looks {
            look_up(asm, &self.map, self.geometry, &self.misses)
        } else {
            asm.returns(1)
        }
    }
}

/// Says that a thread is to end, also if the one that waits for it panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks up the key at R10 - 16 and reads what it finds; counts if it finds nothing. All that is known here of how the table
/// is laid out ([`vtep_common::abi::hash_table`]).
fn look_up(asm: Asm, map: &OwnedFd, geometry: Geometry, misses: &OwnedFd) -> Asm {
    let mask = geometry.mask.cast_signed();
    let mixed = asm
        .load(Size::Double, Reg::R6, Reg::R10, -16)
        .set_long(Reg::R7, geometry.seed)
        .xor_reg(Reg::R7, Reg::R6);
    let first = MIX_STEPS
        .into_iter()
        .fold(mixed, |asm, factor| {
            asm.set_long(Reg::R1, factor)
                .mul_reg(Reg::R7, Reg::R1)
                .copy(Reg::R1, Reg::R7)
                .shift_right(Reg::R1, 32)
                .xor_reg(Reg::R7, Reg::R1)
        })
        .copy(Reg::R1, Reg::R7)
        .shift_right(Reg::R1, 32);
    let second = in_bucket(first, map, mask).copy(Reg::R1, Reg::R7);
    in_bucket(second, map, mask)
        .store_number(Size::Word, Reg::R10, Asm::PLACE, 0)
        .look_up(misses, 2)
        .set(Reg::R1, 1)
        .fetch_add(Reg::R0, 0, Reg::R1)
        .returns(1)
}

/// The factors of [`vtep_common::abi::hash_table::Hasher`], whose steps those above are. Were they others, keys would be missed, which is
/// asserted.
const MIX_STEPS: [u64; 2] = [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53];

/// Looks for the key in R6 in the bucket whose number the lower bits of R1 are; goes on behind if it is not there.
fn in_bucket(asm: Asm, map: &OwnedFd, mask: i32) -> Asm {
    // Instructions for a way: two to compare, three to leave.
    const WAY: i16 = 5;
    let ways = i16::try_from(WAYS).expect("few");
    let found = asm
        .and(Reg::R1, mask)
        .store(Size::Word, Reg::R10, Asm::PLACE, Reg::R1)
        .look_up(map, ways * WAY);
    (0..ways).fold(found, |asm, way| {
        asm.load(Size::Double, Reg::R1, Reg::R0, way * 8)
            .jump_other(Reg::R1, Reg::R6, WAY - 2)
            .load(Size::Double, Reg::R1, Reg::R0, (ways + way) * 8)
            .returns(1)
    })
}

/// How the numbers of entries are drawn.
#[derive(Clone, Copy)]
enum Draw<'a> {
    /// Each of so many is as likely.
    Uniform(u32),
    /// What stands at a place of a map; the number of places is a power of two.
    Table(&'a OwnedFd, u32),
}

impl Draw<'_> {
    /// Draws one into R0.
    fn number(self, asm: Asm) -> Asm {
        let asm = asm.call(Helper::PrandomU32);
        match self {
            // The upper half of a product is below the factor.
            Self::Uniform(count) => asm
                .mul(Reg::R0, count.cast_signed())
                .shift_right(Reg::R0, 32),
            Self::Table(map, places) => asm
                .and(Reg::R0, (places - 1).cast_signed())
                .store(Size::Word, Reg::R10, Asm::PLACE, Reg::R0)
                .look_up(map, 1)
                .jump(2)
                .returns(0)
                .load(Size::Double, Reg::R0, Reg::R0, 0),
        }
    }
}

/// A map of numbers below `count`, of which number `n` in some order stands there 1/n as often as the first.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn zipf(count: u32, places: usize) -> (OwnedFd, u32) {
    let mut sums: Vec<f64> = Vec::new();
    let mut sum = 0.0;
    for rank in 1..=count {
        sum += 1.0 / f64::from(rank);
        sums.push(sum);
    }
    let draws: Vec<u64> = (0..places)
        .map(|place| {
            // Evenly spread, in an order that has nothing to do with the rank.
            let share = (place as f64 + 0.5) / places as f64;
            let rank = sums.partition_point(|&upto| upto < share * sum);
            (rank as u64).min(u64::from(count) - 1)
        })
        .collect();
    (array(&draws), u32::try_from(places).expect("few places"))
}

/// The bit of a MAC that was not given out by anybody.
const LOCAL_BIT: u64 = 0x0200_0000_0000;

/// The key of entry `number`.
fn key(number: u32) -> FdbKey {
    let mixed = u64::from(number).wrapping_mul(MIX) >> MIX_SHIFT;
    FdbKey::new(SegmentId::new(0), MacAddr::from_number(mixed | LOCAL_BIT))
}

/// Writes that set entries, to a peer.
fn sets(numbers: std::ops::Range<u32>, peer: PeerId) -> Vec<Write> {
    let value = FdbValue::static_to(FdbTarget::Peer(peer));
    numbers
        .map(|number| Write::Fdb(key(number), Some(value)))
        .collect()
}

/// Runs a program so many times; returns nanoseconds of processor time for each. A program cannot sleep: where it waits for
/// another processor, that is in it.
fn each_ns(program: &Program, times: u32) -> f64 {
    let frame = [0; 64];
    let start = process::of_thread();
    program
        .run(&frame, &[], times.max(1))
        .expect("run the program");
    process::of_thread().saturating_sub(start).as_secs_f64() * 1e9 / f64::from(times.max(1))
}

/// So many thousandths of the figures are not above this.
fn share(figures: &mut [f64], thousandths: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = figures.len().saturating_sub(1) * thousandths / 1_000;
    figures.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_entries_have_the_same_key() {
        let keys: std::collections::HashSet<FdbKey> = (0..100_000).map(key).collect();
        assert_eq!(keys.len(), 100_000);
        assert!(keys.iter().all(|key| !key.mac().is_group()));
    }

    #[test]
    fn shares_are_of_what_is_sorted() {
        assert!((share(&mut [3.0, 1.0, 2.0], 500) - 2.0).abs() < 1e-9);
        assert!((share(&mut [3.0, 1.0, 2.0], 999) - 2.0).abs() < 1e-9);
    }
}
