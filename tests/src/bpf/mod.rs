//! The few bpf(2) calls that tests need: to look at what is attached, and to spoil what is pinned.

pub mod asm;
pub mod dropper;
pub mod map;
pub mod program;
pub mod stack;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::lab::ns::Ns;

const MAP_CREATE: i64 = 0;
const MAP_LOOKUP: i64 = 1;
const MAP_UPDATE: i64 = 2;
const OBJ_PIN: i64 = 6;
pub(crate) const OBJ_GET: i64 = 7;
const GET_INFO: i64 = 15;
const PROG_QUERY: i64 = 16;
const LINK_DETACH: i64 = 34;
const ARRAY: u32 = 2;
const TCX_INGRESS: u32 = 46;

/// The union that bpf(2) takes, as words of 32 bits.
pub(crate) type Attr = [u32; 32];

pub(crate) fn bpf(command: i64, attr: &mut Attr) -> io::Result<i64> {
    // SAFETY: the attribute is alive for the call and of the size stated; addresses in it are of
    // live buffers of the sizes that the command takes, which each caller sees to.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of::<Attr>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

pub(crate) fn owned(result: io::Result<i64>, what: &str) -> OwnedFd {
    let fd = result.unwrap_or_else(|e| panic!("{what}: {e}"));
    let fd = i32::try_from(fd).expect("a descriptor");
    // SAFETY: the kernel just made it and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Writes an address into two words of an attribute.
pub(crate) fn set_address<T: ?Sized>(attr: &mut Attr, at: usize, pointer: *const T) {
    let address = pointer.cast::<u8>() as u64;
    for (word, half) in attr[at..at + 2].iter_mut().zip([address, address >> 32]) {
        *word = u32::try_from(half & 0xffff_ffff).expect("32 bits");
    }
}

pub(crate) fn path_text(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path without NUL")
}

pub(crate) fn number(fd: &OwnedFd) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("a descriptor")
}

/// How many programs sit at the TC ingress of a device by tcx; `None` where the kernel has no tcx.
#[must_use]
pub fn tcx_programs(ns: &Ns, dev: &str) -> Option<u32> {
    let mut attr: Attr = [0; 32];
    (attr[0], attr[1]) = (ns.ifindex(dev), TCX_INGRESS);
    ns.run(|| bpf(PROG_QUERY, &mut attr).ok().map(|_| attr[6]))
}

/// Makes a small array map and pins it.
pub fn pin_new_array(path: &Path, value_len: u32) {
    let mut attr: Attr = [0; 32];
    (attr[0], attr[1], attr[2], attr[3]) = (ARRAY, 4, value_len, 1);
    let map = owned(bpf(MAP_CREATE, &mut attr), "create a map");
    pin(&map, path);
}

/// Pins a map, a program or a link.
///
/// # Panics
///
/// If the kernel refuses.
pub fn pin(object: &impl AsFd, path: &Path) {
    let text = path_text(path);
    let mut attr: Attr = [0; 32];
    set_address(&mut attr, 0, text.as_ptr());
    let fd = object.as_fd().as_raw_fd();
    attr[2] = u32::try_from(fd).expect("a descriptor");
    bpf(OBJ_PIN, &mut attr).unwrap_or_else(|e| panic!("pin {}: {e}", path.display()));
}

/// Detaches a program by its pinned link, as `bpftool link detach pinned PATH` does. The pin stays.
///
/// # Panics
///
/// If the kernel refuses.
pub fn detach_link(path: &Path) {
    let text = path_text(path);
    let mut attr: Attr = [0; 32];
    set_address(&mut attr, 0, text.as_ptr());
    let link = owned(bpf(OBJ_GET, &mut attr), "open a pinned link");
    let mut attr: Attr = [0; 32];
    attr[0] = number(&link);
    bpf(LINK_DETACH, &mut attr).unwrap_or_else(|e| panic!("detach {}: {e}", path.display()));
}

/// The number of the program that a pinned link runs.
///
/// # Panics
///
/// If nothing is pinned there.
#[must_use]
pub fn program_of_link(path: &Path) -> u32 {
    let text = path_text(path);
    let mut attr: Attr = [0; 32];
    set_address(&mut attr, 0, text.as_ptr());
    let link = owned(bpf(OBJ_GET, &mut attr), "open a pinned link");
    // Kind, number of the link, number of the program.
    let mut info = [0_u32; 3];
    let mut attr: Attr = [0; 32];
    attr[0] = number(&link);
    attr[1] = u32::try_from(size_of_val(&info)).expect("a few words");
    set_address(&mut attr, 2, info.as_mut_ptr().cast_const());
    bpf(GET_INFO, &mut attr).unwrap_or_else(|e| panic!("ask of {}: {e}", path.display()));
    info[2]
}

/// Changes the first word of the first value of a pinned array map.
pub fn set_first_word(path: &Path, word: u32) {
    let mut value = first_value(path);
    value[0] = word;
    at_first(MAP_UPDATE, path, &mut value);
}

/// The first value of a pinned array map, in words, and zeros behind it; of a program array it is the program's number.
#[must_use]
pub fn first_value(path: &Path) -> [u32; 64] {
    let mut value = [0; 64];
    at_first(MAP_LOOKUP, path, &mut value);
    value
}

/// Reads or writes the first value of a pinned map.
fn at_first(command: i64, path: &Path, value: &mut [u32; 64]) {
    let text = path_text(path);
    let mut attr: Attr = [0; 32];
    set_address(&mut attr, 0, text.as_ptr());
    let map = owned(bpf(OBJ_GET, &mut attr), "open a pinned map");
    let key = 0_u32;
    let mut attr: Attr = [0; 32];
    attr[0] = number(&map);
    set_address(&mut attr, 2, &raw const key);
    set_address(&mut attr, 4, value.as_mut_ptr().cast_const());
    bpf(command, &mut attr).unwrap_or_else(|e| panic!("open {}: {e}", path.display()));
}

/// Makes every bpf(2) call of this thread and its children fail, as on a kernel without BPF.
pub fn forbid() -> io::Result<()> {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt,
        jf,
        k,
    };
    let call = u32::try_from(libc::SYS_bpf).unwrap_or(u32::MAX);
    let error = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::ENOSYS).unwrap_or(1);
    let mut filter = [
        // Load the number of the call, and jump over the refusal unless it is bpf.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, error),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program points to a filter that outlives the call.
    let set = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
