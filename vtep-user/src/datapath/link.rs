//! What aya does only for links and programs of its own: detaching what a pinned link attaches, and attaching a pinned program; and
//! where a link attaches, which aya does not say.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use vtep_common::abi::id::Ifindex;

/// Commands of `bpf(2)`, the first `BPF_OBJ_PIN` (kernel `include/uapi/linux/bpf.h`).
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const GET_INFO: libc::c_int = 15;
const LINK_CREATE: libc::c_int = 28;
const LINK_DETACH: libc::c_int = 34;

/// `BPF_XDP`, where a link attaches.
const ATTACH_XDP: u32 = 37;

/// What `BPF_OBJ_GET` and `BPF_OBJ_PIN` take.
#[repr(C)]
struct Object {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// What `BPF_LINK_CREATE` takes.
#[repr(C)]
struct LinkCreate {
    program_fd: u32,
    ifindex: Ifindex,
    attach_type: u32,
    flags: u32,
}

/// What `BPF_LINK_DETACH` takes.
#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

/// What `BPF_OBJ_GET_INFO_BY_FD` takes.
#[repr(C)]
struct GetInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// Words of `struct bpf_link_info` up to where the interface is, of a link by XDP or tcx.
const INFO_WORDS: usize = 5;
const INFO_LEN: u32 = 20;
const _: () = assert!(size_of::<[u32; INFO_WORDS]>() == INFO_LEN as usize);

/// The interface at which the link that is pinned at `path` attaches; `None` where none is pinned, or its interface is gone.
pub(super) fn interface(path: &Path) -> io::Result<Option<Ifindex>> {
    let link = match open(path) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut info = [0_u32; INFO_WORDS];
    let get = GetInfo {
        bpf_fd: link.as_raw_fd().cast_unsigned(),
        info_len: INFO_LEN,
        info: &raw mut info as u64,
    };
    bpf(GET_INFO, &get)?;
    let [.., ifindex] = info;
    // The number is zero once the interface is gone.
    Ok((ifindex != 0).then(|| Ifindex::new(ifindex)))
}

/// Detaches the link that is pinned at `path`; the pin stays, and is of no more use.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`] where nothing is pinned there; what the kernel says, for one `ENOLINK` where the link's interface
/// is gone.
pub(super) fn detach(path: &Path) -> io::Result<()> {
    let link = open(path)?;
    let detach = LinkDetach {
        link_fd: link.as_raw_fd().cast_unsigned(),
    };
    bpf(LINK_DETACH, &detach).map(drop)
}

/// Attaches the XDP program that is pinned at `program`, with flags that say in which mode, and pins the link at `path`.
pub(super) fn attach_xdp(
    program: &Path,
    ifindex: Ifindex,
    flags: u32,
    path: &Path,
) -> io::Result<()> {
    let program = open(program)?;
    let create = LinkCreate {
        program_fd: program.as_raw_fd().cast_unsigned(),
        ifindex,
        attach_type: ATTACH_XDP,
        flags,
    };
    let link = owned(bpf(LINK_CREATE, &create)?);
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let pin = Object {
        pathname: path.as_ptr() as u64,
        bpf_fd: link.as_raw_fd().cast_unsigned(),
        file_flags: 0,
    };
    bpf(OBJ_PIN, &pin).map(drop)
}

/// Opens what is pinned at `path`.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let get = Object {
        pathname: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    bpf(OBJ_GET, &get).map(owned)
}

/// Takes a descriptor that a call of [`bpf`] has just made.
fn owned(fd: i32) -> OwnedFd {
    // SAFETY: nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Makes a call of `bpf(2)` with what `command` takes.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the call returns a descriptor, zero or -1"
)]
fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<i32> {
    // SAFETY: `attr` is what the command takes, readable for its size; what it points to outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attr, size_of::<T>()) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer as i32)
    }
}
