//! Detaching what a pinned link attaches, which aya does only for links of its own.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// `BPF_OBJ_GET` and `BPF_LINK_DETACH` (kernel `include/uapi/linux/bpf.h`).
const OBJ_GET: libc::c_int = 7;
const LINK_DETACH: libc::c_int = 34;

/// What `BPF_OBJ_GET` takes.
#[repr(C)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// What `BPF_LINK_DETACH` takes.
#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

/// Detaches the link that is pinned at `path`; the pin stays, and is of no more use.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`] where nothing is pinned there; what the kernel says, for one `ENOLINK` where the link's interface
/// is gone.
pub(super) fn detach(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let get = ObjGet {
        pathname: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    let fd = bpf(OBJ_GET, &get)?;
    // SAFETY: the call has just made the descriptor, and nobody else has it.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    let detach = LinkDetach {
        link_fd: link.as_raw_fd().cast_unsigned(),
    };
    bpf(LINK_DETACH, &detach).map(drop)
}

/// Makes a call of `bpf(2)` with what `command` takes.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the call returns a descriptor, zero or -1"
)]
fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<i32> {
    // SAFETY: `attr` is what the command takes, readable for its size; the path in it outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attr, size_of::<T>()) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer as i32)
    }
}
