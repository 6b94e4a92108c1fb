//! Programs as the kernel knows them, our own or assembled on the spot: to run them over one frame many times, to have them
//! send live frames, and to hang them on an interface.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::bpf::asm::{Asm, Reg, Size};
use crate::bpf::{Attr, OBJ_GET, bpf, number, owned, path_text, pin, set_address};
use crate::lab::ns::Ns;

const MAP_CREATE: i64 = 0;
const MAP_LOOKUP: i64 = 1;
const MAP_UPDATE: i64 = 2;
const PROG_GET_FD_BY_ID: i64 = 13;
const PROG_LOAD: i64 = 5;
const PROG_TEST_RUN: i64 = 10;
const LINK_CREATE: i64 = 28;
const MAP_UPDATE_BATCH: i64 = 26;
const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_PROG_ARRAY: u32 = 3;
const MAP_TYPE_PERCPU_ARRAY: u32 = 6;
const ATTACH_XDP: u32 = 37;
const ATTACH_TCX_INGRESS: u32 = 46;
const ATTACH_TCX_EGRESS: u32 = 47;
const XDP_DRIVER_MODE: u32 = 1 << 2;
const LIVE_FRAMES: u32 = 1 << 1;
const XDP_HAS_FRAGS: u32 = 1 << 5;
/// Frames of a live run that are handed on together, as a driver does with what it finds in one poll.
const BATCH: u32 = 64;

/// `XDP_DROP`
pub const XDP_DROP: i32 = 1;
/// `XDP_PASS`
pub const XDP_PASS: i32 = 2;
/// `XDP_REDIRECT`
pub const XDP_REDIRECT: u32 = 4;
/// `TC_ACT_SHOT`
pub const TC_SHOT: i32 = 2;
/// `TC_ACT_REDIRECT`
pub const TC_REDIRECT: u32 = 7;

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramType {
    /// `BPF_PROG_TYPE_SCHED_CLS`
    Tc = 3,
    /// `BPF_PROG_TYPE_XDP`
    Xdp = 6,
}

/// What a test run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// What the program returned the last time.
    pub action: u32,
    /// The frame after the last time.
    pub frame: Vec<u8>,
    /// How long one time took on average, in whole nanoseconds, as the kernel rounds it.
    pub each: Duration,
}

/// A program in the kernel.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    kind: ProgramType,
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Program {
    /// Loads what was assembled.
    ///
    /// # Panics
    ///
    /// If the verifier refuses, with what it said.
    #[must_use]
    pub fn load(kind: ProgramType, asm: &Asm) -> Self {
        Self::load_with(kind, asm, 0)
    }

    /// Loads an XDP program that takes frames in more than one piece, as vtep's do: tail calls are between programs that agree
    /// on that.
    ///
    /// # Panics
    ///
    /// If the verifier refuses, with what it said.
    #[must_use]
    pub fn load_xdp_with_frags(asm: &Asm) -> Self {
        Self::load_with(ProgramType::Xdp, asm, XDP_HAS_FRAGS)
    }

    fn load_with(kind: ProgramType, asm: &Asm, flags: u32) -> Self {
        let license = c"GPL";
        let mut log = vec![0_u8; 1 << 16];
        let mut attr: Attr = [0; 32];
        attr[0] = kind as u32;
        attr[1] = u32::try_from(asm.words().len()).expect("a short program");
        set_address(&mut attr, 2, asm.words().as_ptr());
        set_address(&mut attr, 4, license.as_ptr());
        attr[6] = 1;
        attr[7] = u32::try_from(log.len()).expect("a length");
        set_address(&mut attr, 8, log.as_mut_ptr().cast_const());
        attr[11] = flags;
        if kind == ProgramType::Xdp {
            // What it will be attached as, on which tail calls agree too.
            attr[17] = ATTACH_XDP;
        }
        match bpf(PROG_LOAD, &mut attr) {
            Ok(fd) => Self {
                fd: owned(Ok(fd), "load a program"),
                kind,
            },
            Err(error) => panic!("load a program: {error}\n{}", String::from_utf8_lossy(&log)),
        }
    }

    /// Opens a pinned one.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn open(kind: ProgramType, pin: &Path) -> Self {
        let text = path_text(pin);
        let mut attr: Attr = [0; 32];
        set_address(&mut attr, 0, text.as_ptr());
        let fd = owned(bpf(OBJ_GET, &mut attr), &pin.display().to_string());
        Self { fd, kind }
    }

    /// Opens the one with this number.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn of_number(kind: ProgramType, number: u32) -> Self {
        let mut attr: Attr = [0; 32];
        attr[0] = number;
        let fd = owned(bpf(PROG_GET_FD_BY_ID, &mut attr), "open a program");
        Self { fd, kind }
    }

    /// Runs it over a frame `repeat` times. It meets the frame as the time before left it.
    ///
    /// `context` is an `xdp_md` or `__sk_buff`, or empty.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn run(&self, frame: &[u8], context: &[u8], repeat: u32) -> io::Result<Timed> {
        let mut out = vec![0; frame.len() + 4096];
        let mut attr = self.test_run(frame, context, repeat);
        attr[3] = u32::try_from(out.len()).expect("a length");
        set_address(&mut attr, 6, out.as_mut_ptr().cast_const());
        bpf(PROG_TEST_RUN, &mut attr)?;
        out.truncate(usize::try_from(attr[3]).expect("a length"));
        Ok(Timed {
            action: attr[1],
            frame: out,
            each: Duration::from_nanos(attr[9].into()),
        })
    }

    /// Runs it `count` times over a frame, each time over a new copy: for programs whose work cannot be undone. What it made of
    /// them is not said.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn run_apart(&self, frame: &[u8], context: &[u8], count: u32) -> io::Result<()> {
        let attr = self.test_run(frame, context, 1);
        for _ in 0..count {
            bpf(PROG_TEST_RUN, &mut { attr })?;
        }
        Ok(())
    }

    /// Has it handle `count` frames as if they had come to an interface, and does with each what it returns
    /// (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18).
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn run_live(&self, frame: &[u8], context: &[u8], count: u32) -> io::Result<()> {
        self.run_live_by(BATCH, frame, context, count)
    }

    /// As [`Program::run_live`], with `batch` frames, at most 256, handed on together.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn run_live_by(
        &self,
        batch: u32,
        frame: &[u8],
        context: &[u8],
        count: u32,
    ) -> io::Result<()> {
        let mut attr = self.test_run(frame, context, count);
        attr[16] = LIVE_FRAMES;
        attr[18] = batch;
        bpf(PROG_TEST_RUN, &mut attr).map(drop)
    }

    fn test_run(&self, frame: &[u8], context: &[u8], repeat: u32) -> Attr {
        let mut attr: Attr = [0; 32];
        attr[0] = number(&self.fd);
        attr[2] = u32::try_from(frame.len()).expect("a length");
        set_address(&mut attr, 4, frame.as_ptr());
        attr[8] = repeat;
        if !context.is_empty() {
            attr[10] = u32::try_from(context.len()).expect("a length");
            set_address(&mut attr, 12, context.as_ptr());
        }
        attr
    }

    /// Pins it at a path in bpffs.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    pub fn pin(&self, path: &Path) {
        pin(&self.fd, path);
    }

    /// Attaches it where frames come in: an XDP program in the driver, another by tcx, behind those that are there. It is there until the
    /// link is dropped.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    #[must_use]
    pub fn attach(&self, ns: &Ns, device: &str) -> OwnedFd {
        self.attach_as(
            ns,
            device,
            match self.kind {
                ProgramType::Xdp => (ATTACH_XDP, XDP_DRIVER_MODE),
                ProgramType::Tc => (ATTACH_TCX_INGRESS, 0),
            },
        )
    }

    /// Attaches a TC program where frames go out, by tcx. It is there until the link is dropped.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    #[must_use]
    pub fn attach_egress(&self, ns: &Ns, device: &str) -> OwnedFd {
        self.attach_as(ns, device, (ATTACH_TCX_EGRESS, 0))
    }

    fn attach_as(&self, ns: &Ns, device: &str, (place, flags): (u32, u32)) -> OwnedFd {
        let mut attr: Attr = [0; 32];
        attr[0] = number(&self.fd);
        attr[1] = ns.ifindex(device);
        (attr[2], attr[3]) = (place, flags);
        owned(
            ns.run(|| bpf(LINK_CREATE, &mut attr)),
            &format!("attach to {device}"),
        )
    }
}

/// XDP programs held ready to be run many times.
///
/// A program that no interface has, the kernel puts into its dispatcher, by which it spares itself an indirect call, before
/// it runs it many times, and takes it out afterwards: some 20 ms of waiting in each test run. One that some interface has
/// is there already.
#[derive(Debug)]
pub struct Ready {
    ns: Ns,
    made: AtomicU32,
}

impl Default for Ready {
    fn default() -> Self {
        Self {
            ns: Ns::new("ready"),
            made: AtomicU32::new(0),
        }
    }
}

impl Ready {
    /// Holds a program ready until what is returned is dropped, by an interface to which nothing comes.
    #[must_use]
    pub fn hold(&self, program: &Program) -> OwnedFd {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let device = format!("ready{number}");
        self.ns.ip(&format!(
            "link add name {device} type veth peer name far{number}"
        ));
        program.attach(&self.ns, &device)
    }
}

/// An `xdp_md` for a frame of `length` bytes that came to interface `ifindex`.
///
/// # Panics
///
/// If the length is out of all bounds.
#[must_use]
pub fn xdp_context(length: usize, ifindex: u32) -> Vec<u8> {
    let mut words = [0_u32; 6];
    words[1] = u32::try_from(length).expect("a length");
    words[3] = ifindex;
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// A `__sk_buff` for a frame that came to interface `ifindex`.
#[must_use]
pub fn tc_context(ifindex: u32) -> Vec<u8> {
    let mut words = [0_u32; 48];
    words[10] = ifindex;
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// A map of numbers by their places, of 8 bytes each.
#[must_use]
pub fn array(numbers: &[u64]) -> OwnedFd {
    let mut attr: Attr = [0; 32];
    let room = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    (attr[0], attr[1], attr[2], attr[3]) = (MAP_TYPE_ARRAY, 4, 8, room);
    let map = owned(bpf(MAP_CREATE, &mut attr), "create a map of numbers");
    let places: Vec<u32> = (0..room).collect();
    let mut attr: Attr = [0; 32];
    set_address(&mut attr, 4, places.as_ptr());
    set_address(&mut attr, 6, numbers.as_ptr());
    (attr[8], attr[9]) = (room, number(&map));
    bpf(MAP_UPDATE_BATCH, &mut attr).unwrap_or_else(|error| panic!("fill a map: {error}"));
    map
}

/// A number of such a map.
#[must_use]
pub fn number_at(map: &OwnedFd, place: u32) -> u64 {
    let [number] = numbers_at(map, place);
    number
}

/// The numbers of 8 bytes that a value of an array map is made of; they are as many as are asked for.
///
/// # Panics
///
/// If it cannot be read.
#[must_use]
pub fn numbers_at<const N: usize>(map: &OwnedFd, place: u32) -> [u64; N] {
    let mut found = [0_u64; N];
    let mut attr: Attr = [0; 32];
    attr[0] = number(map);
    set_address(&mut attr, 2, &raw const place);
    set_address(&mut attr, 4, found.as_mut_ptr().cast_const());
    bpf(MAP_LOOKUP, &mut attr).unwrap_or_else(|error| panic!("read a map: {error}"));
    found
}

/// Opens a pinned map.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn open_map(pin: &Path) -> OwnedFd {
    let text = path_text(pin);
    let mut attr: Attr = [0; 32];
    set_address(&mut attr, 0, text.as_ptr());
    owned(bpf(OBJ_GET, &mut attr), &pin.display().to_string())
}

/// Counts frames, for each processor by itself.
#[derive(Debug)]
pub struct FrameCounter(OwnedFd);

impl Default for FrameCounter {
    fn default() -> Self {
        let mut attr: Attr = [0; 32];
        (attr[0], attr[1], attr[2], attr[3]) = (MAP_TYPE_PERCPU_ARRAY, 4, 8, 1);
        Self(owned(bpf(MAP_CREATE, &mut attr), "create a counter"))
    }
}

impl FrameCounter {
    /// A program that counts every frame of `length` bytes, and returns `action` for all.
    ///
    /// # Panics
    ///
    /// If the length is out of all bounds.
    #[must_use]
    pub fn returning(&self, kind: ProgramType, length: usize, action: i32) -> Asm {
        let asm = match kind {
            ProgramType::Tc => Asm::new().load(Size::Word, Reg::R3, Reg::R1, 0),
            ProgramType::Xdp => Asm::new()
                .load(Size::Word, Reg::R2, Reg::R1, 0)
                .load(Size::Word, Reg::R3, Reg::R1, 4)
                .sub_reg(Reg::R3, Reg::R2),
        };
        let length = i32::try_from(length).expect("a length");
        let counted = self.count(Asm::new()).words().len();
        let skip = i16::try_from(counted).expect("a short program");
        self.count(asm.jump_equal(Reg::R3, length, 1).jump(skip))
            .returns(action)
    }

    fn count(&self, asm: Asm) -> Asm {
        asm.store_number(Size::Word, Reg::R10, Asm::PLACE, 0)
            .look_up(&self.0, 3)
            .load(Size::Double, Reg::R1, Reg::R0, 0)
            .add(Reg::R1, 1)
            .store(Size::Double, Reg::R0, 0, Reg::R1)
    }

    /// How many it has counted.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    #[must_use]
    pub fn read(&self) -> u64 {
        // A value for each processor that there could ever be.
        let (key, mut values) = (0_u32, vec![0_u64; 4096]);
        let mut attr: Attr = [0; 32];
        attr[0] = number(&self.0);
        set_address(&mut attr, 2, &raw const key);
        set_address(&mut attr, 4, values.as_mut_ptr().cast_const());
        bpf(MAP_LOOKUP, &mut attr).unwrap_or_else(|error| panic!("read a counter: {error}"));
        values.iter().sum()
    }
}

/// A map of programs for tail calls, by their places.
#[must_use]
pub fn program_array(programs: &[&Program]) -> OwnedFd {
    let mut attr: Attr = [0; 32];
    let room = u32::try_from(programs.len()).unwrap_or(u32::MAX);
    (attr[0], attr[1], attr[2], attr[3]) = (MAP_TYPE_PROG_ARRAY, 4, 4, room);
    let map = owned(bpf(MAP_CREATE, &mut attr), "create a map of programs");
    for (place, program) in (0_u32..).zip(programs) {
        let fd = number(&program.fd);
        let mut attr: Attr = [0; 32];
        attr[0] = number(&map);
        set_address(&mut attr, 2, &raw const place);
        set_address(&mut attr, 4, &raw const fd);
        bpf(MAP_UPDATE, &mut attr).unwrap_or_else(|error| panic!("put a program in: {error}"));
    }
    map
}
