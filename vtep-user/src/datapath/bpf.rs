//! Calls of bpf(2) that aya does not make, or makes only for what is its own.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// Commands of `bpf(2)` (kernel `include/uapi/linux/bpf.h`).
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const GET_INFO: libc::c_int = 15;

/// What `BPF_OBJ_GET` and `BPF_OBJ_PIN` take.
#[repr(C)]
struct Object {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// What `BPF_OBJ_GET_INFO_BY_FD` takes.
#[repr(C)]
struct GetInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// Opens what is pinned at `path`.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut get = Object {
        pathname: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    call(OBJ_GET, &mut get).map(owned)
}

/// Pins an object at `path`.
pub(super) fn pin(object: &OwnedFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut pin = Object {
        pathname: path.as_ptr() as u64,
        bpf_fd: number(object),
        file_flags: 0,
    };
    call(OBJ_PIN, &mut pin).map(drop)
}

/// True if an object is a link. Asked what it is, the kernel answers for programs and maps in their own ways, with the same call.
pub(super) fn is_link(object: &OwnedFd) -> io::Result<bool> {
    let name = fs::read_link(format!("/proc/self/fd/{}", object.as_raw_fd()))?;
    // The kernel calls it so where it was made, and where it was opened.
    let names = ["anon_inode:bpf_link", "anon_inode:bpf-link"];
    Ok(names.iter().any(|link| name == Path::new(link)))
}

/// The first words of what the kernel says of an object.
#[expect(
    clippy::cast_possible_truncation,
    reason = "there are a few words of four bytes"
)]
pub(super) fn info<const WORDS: usize>(object: &OwnedFd) -> io::Result<[u32; WORDS]> {
    let mut info = [0_u32; WORDS];
    let mut get = GetInfo {
        bpf_fd: number(object),
        info_len: size_of::<[u32; WORDS]>() as u32,
        info: &raw mut info as u64,
    };
    call(GET_INFO, &mut get)?;
    Ok(info)
}

/// The number of the program that a link runs, or of a program.
pub(super) fn program(object: &OwnedFd) -> io::Result<u32> {
    // `struct bpf_link_info` has the kind, the number of the link and that of its program; `struct bpf_prog_info` the kind and the number.
    if is_link(object)? {
        let [_, _, program] = info::<3>(object)?;
        Ok(program)
    } else {
        let [_, program] = info::<2>(object)?;
        Ok(program)
    }
}

/// The number of a descriptor, as the kernel takes it.
pub(super) fn number(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// Takes a descriptor that a [`call`] has just made.
pub(super) fn owned(fd: i32) -> OwnedFd {
    // SAFETY: nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Makes a call of `bpf(2)` with what `command` takes, in which the kernel may answer.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the call returns a descriptor, zero or -1"
)]
pub(super) fn call<T>(command: libc::c_int, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` is what the command takes, of its size; what it points to outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer as i32)
    }
}
