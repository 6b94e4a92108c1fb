//! What aya does only for links and programs of its own: detaching what a pinned link attaches, and attaching a pinned program; and
//! where a link attaches, which aya does not say.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use vtep_common::abi::id::Ifindex;

use super::bpf::{self, call, number, open, owned};

/// Commands of `bpf(2)` (kernel `include/uapi/linux/bpf.h`).
const QUERY: libc::c_int = 16;
const LINK_CREATE: libc::c_int = 28;
const LINK_UPDATE: libc::c_int = 29;
const LINK_DETACH: libc::c_int = 34;

/// `BPF_XDP`, `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS`, where a link attaches.
const ATTACH_XDP: u32 = 37;
const ATTACH_TCX_INGRESS: u32 = 46;
const ATTACH_TCX_EGRESS: u32 = 47;

/// Programs that tcx has at one interface at most (kernel `include/linux/bpf_mprog.h`, `BPF_MPROG_MAX`).
const TCX_MAX: u32 = 64;

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

/// What `BPF_LINK_UPDATE` takes.
#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    program_fd: u32,
    flags: u32,
    old_program_fd: u32,
}

/// What `BPF_PROG_QUERY` takes.
#[repr(C)]
#[derive(Default)]
struct Query {
    ifindex: Ifindex,
    attach_type: u32,
    flags: u32,
    attach_flags: u32,
    program_ids: u64,
    count: u32,
    zero: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Where a pinned link of TC attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At this interface of our network namespace: the very one that it was made for, whatever that is called by now.
    Here(Ifindex),
    /// At an interface of another network namespace.
    Elsewhere,
    /// Nowhere: its interface is gone, or somebody has detached it.
    Nowhere,
}

/// Words of `struct bpf_link_info` up to where the interface is, of a link by XDP or tcx.
const INFO_WORDS: usize = 5;

/// The interface at which the link that is pinned at `path` attaches; `None` where none is pinned, or its interface is gone.
pub(super) fn interface(path: &Path) -> io::Result<Option<Ifindex>> {
    let link = match open(path) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (_, ifindex) = info(&link)?;
    Ok(ifindex)
}

/// Where the TC program attaches whose link is pinned at `path`.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`] where nothing is pinned there, [`io::ErrorKind::InvalidInput`] where it is no link; what the kernel says.
pub(super) fn place(path: &Path) -> io::Result<Place> {
    let (id, ifindex) = info(&open(path)?)?;
    let Some(ifindex) = ifindex else {
        return Ok(Place::Nowhere);
    };
    // The number counts in the namespace of the link's interface. The kernel answers for ours.
    let found = query(ifindex, ATTACH_TCX_INGRESS)?;
    Ok(if found.iter().any(|attached| attached.link == id) {
        Place::Here(ifindex)
    } else {
        Place::Elsewhere
    })
}

/// A program at an interface, by tcx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AttachedByTcx {
    program: u32,
    /// Its link, if it hangs on one.
    link: u32,
}

/// The programs that are attached to an interface of our namespace by tcx, in the order in which they see frames.
fn query(ifindex: Ifindex, attach_type: u32) -> io::Result<Vec<AttachedByTcx>> {
    let (mut programs, mut links) = ([0_u32; TCX_MAX as usize], [0_u32; TCX_MAX as usize]);
    let mut query = Query {
        ifindex,
        attach_type,
        program_ids: &raw mut programs as u64,
        count: TCX_MAX,
        link_ids: &raw mut links as u64,
        ..Query::default()
    };
    match call(QUERY, &mut query) {
        Ok(_) => {}
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    }
    let found = programs.into_iter().zip(links).take(query.count as usize);
    Ok(found
        .map(|(program, link)| AttachedByTcx { program, link })
        .collect())
}

/// The programs of others at an interface, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcxPrograms {
    /// Those that see what comes in before the one whose link was named; all, where that is not there.
    pub first: Vec<u32>,
    /// Those that would see it afterwards.
    pub behind: Vec<u32>,
    /// Those that see what goes out.
    pub egress: Vec<u32>,
}

/// The programs at an interface by tcx, but for the one whose link is pinned at `path`.
pub(super) fn others(ifindex: Ifindex, path: &Path) -> io::Result<TcxPrograms> {
    let own = open(path).and_then(|link| info(&link));
    let own = own.ok().map(|(id, _)| id);
    let mut found = TcxPrograms::default();
    let mut passed = false;
    for attached in query(ifindex, ATTACH_TCX_INGRESS)? {
        if Some(attached.link) == own {
            passed = true;
        } else if passed {
            found.behind.push(attached.program);
        } else {
            found.first.push(attached.program);
        }
    }
    let egress = query(ifindex, ATTACH_TCX_EGRESS)?.into_iter();
    found.egress = egress.map(|attached| attached.program).collect();
    Ok(found)
}

/// The number of a link, and the interface at which it attaches.
fn info(link: &OwnedFd) -> io::Result<(u32, Option<Ifindex>)> {
    if !bpf::is_link(link)? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let [_, id, .., ifindex] = bpf::info::<INFO_WORDS>(link)?;
    // The number is zero once the interface is gone.
    Ok((id, (ifindex != 0).then(|| Ifindex::new(ifindex))))
}

/// Detaches the link that is pinned at `path`; the pin stays, and is of no more use.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`] where nothing is pinned there; what the kernel says, for one `ENOLINK` where the link's interface
/// is gone.
pub(super) fn detach(path: &Path) -> io::Result<()> {
    let link = open(path)?;
    let mut detach = LinkDetach {
        link_fd: number(&link),
    };
    call(LINK_DETACH, &mut detach).map(drop)
}

/// Has the link that is pinned at `path` run the program that is pinned at `program`, at once for every frame.
pub(super) fn update(path: &Path, program: &Path) -> io::Result<()> {
    update_to(path, open(program)?.as_fd())
}

/// The same with a program that is open.
pub(super) fn update_to(path: &Path, program: BorrowedFd<'_>) -> io::Result<()> {
    let link = open(path)?;
    let mut update = LinkUpdate {
        link_fd: number(&link),
        program_fd: program.as_raw_fd().cast_unsigned(),
        flags: 0,
        old_program_fd: 0,
    };
    call(LINK_UPDATE, &mut update).map(drop)
}

/// Attaches the XDP program that is pinned at `program`, with flags that say in which mode, and pins the link at `path`.
pub(super) fn attach_xdp(
    program: &Path,
    ifindex: Ifindex,
    flags: u32,
    path: &Path,
) -> io::Result<()> {
    let program = open(program)?;
    let mut create = LinkCreate {
        program_fd: number(&program),
        ifindex,
        attach_type: ATTACH_XDP,
        flags,
    };
    let link = owned(call(LINK_CREATE, &mut create)?);
    bpf::pin(&link, path)
}
