//! Programs as the kernel knows them, our own or assembled on the spot: to run them over one frame many times, to have them
//! send live frames, and to hang them on an interface.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use crate::asm::Asm;
use crate::bpf::{Attr, OBJ_GET, bpf, number, owned, path_text, set_address};
use crate::ns::Ns;

const MAP_CREATE: i64 = 0;
const MAP_UPDATE: i64 = 2;
const PROG_LOAD: i64 = 5;
const PROG_TEST_RUN: i64 = 10;
const LINK_CREATE: i64 = 28;
const MAP_TYPE_PROG_ARRAY: u32 = 3;
const ATTACH_XDP: u32 = 37;
const ATTACH_TCX_INGRESS: u32 = 46;
const XDP_DRIVER_MODE: u32 = 1 << 2;
const LIVE_FRAMES: u32 = 1 << 1;
/// Frames of a live run that are handed on together, as a driver does with what it finds in one poll.
const BATCH: u32 = 64;

/// `XDP_DROP`
pub const XDP_DROP: i32 = 1;
/// `XDP_PASS`
pub const XDP_PASS: i32 = 2;
/// `TC_ACT_SHOT`
pub const TC_SHOT: i32 = 2;

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `BPF_PROG_TYPE_SCHED_CLS`
    Tc = 3,
    /// `BPF_PROG_TYPE_XDP`
    Xdp = 6,
}

/// What a test run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
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
    kind: Kind,
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
    pub fn load(kind: Kind, asm: &Asm) -> Self {
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
    pub fn open(kind: Kind, pin: &Path) -> Self {
        let text = path_text(pin);
        let mut attr: Attr = [0; 32];
        set_address(&mut attr, 0, text.as_ptr());
        let fd = owned(bpf(OBJ_GET, &mut attr), &pin.display().to_string());
        Self { fd, kind }
    }

    /// Runs it over a frame `repeat` times. It meets the frame as the time before left it.
    ///
    /// `context` is an `xdp_md` or `__sk_buff`, or empty.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn run(&self, frame: &[u8], context: &[u8], repeat: u32) -> io::Result<Ran> {
        let mut out = vec![0; frame.len() + 4096];
        let mut attr = self.test_run(frame, context, repeat);
        attr[3] = u32::try_from(out.len()).expect("a length");
        set_address(&mut attr, 6, out.as_mut_ptr().cast_const());
        bpf(PROG_TEST_RUN, &mut attr)?;
        out.truncate(usize::try_from(attr[3]).expect("a length"));
        Ok(Ran {
            action: attr[1],
            frame: out,
            each: Duration::from_nanos(attr[9].into()),
        })
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

    /// Attaches it where frames come in: an XDP program in the driver, another by tcx. It is there until the link is dropped.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    #[must_use]
    pub fn attach(&self, ns: &Ns, device: &str) -> OwnedFd {
        let mut attr: Attr = [0; 32];
        attr[0] = number(&self.fd);
        attr[1] = ns.ifindex(device);
        (attr[2], attr[3]) = match self.kind {
            Kind::Xdp => (ATTACH_XDP, XDP_DRIVER_MODE),
            Kind::Tc => (ATTACH_TCX_INGRESS, 0),
        };
        owned(
            ns.run(|| bpf(LINK_CREATE, &mut attr)),
            &format!("attach to {device}"),
        )
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
