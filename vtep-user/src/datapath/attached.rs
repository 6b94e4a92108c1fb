//! One program at one interface: attached, taken over, detached.
//!
//! Links are pinned below `links/`, by the program and the interface number. A link that is there is given the new program in
//! place, which the kernel does at once for both sides: no frame meets an interface without a program.
//!
//! Where the kernel has no tcx (before 6.6), there are no links of TC programs ([`clsact`]). The program is pinned in the place of
//! the link then, to say where it is attached.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::{
    programs::{
        ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode as AyaXdpMode,
        links::{FdLink, LinkError, LinkOrder, PinnedLink},
        tc::{self, SchedClassifierLink, TcAttachOptions},
        xdp::{XdpError, XdpLink},
    },
    util::KernelVersion,
};
use vtep_common::abi::id::Ifindex;

use super::{
    clsact,
    error::DatapathError,
    link::{self, Place},
    pins,
};
use crate::{causes::with_causes, model::XdpMode};

/// First kernel with tcx (commit e420bed02507, "bpf: Add fd-based tcx multi-prog infra with link support").
const TCX_SINCE: KernelVersion = KernelVersion::new(6, 6, 0);

/// How XDP came to be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XdpOutcome {
    /// Native mode, in the driver.
    Native,
    /// In the stack, and why not in the driver.
    Generic(String),
    /// As the last daemon left it.
    Kept,
}

impl XdpOutcome {
    pub(super) fn asked_generic() -> Self {
        Self::Generic("it was requested".to_owned())
    }
}

pub(super) fn link_path(dir: &Path, program: &str, ifindex: Ifindex) -> PathBuf {
    pins::links_dir(dir).join(format!("{program}-{ifindex}"))
}

/// The program and the interface that a pin below `links/` is named after.
pub(super) fn parts(name: &str) -> Option<(&str, Ifindex)> {
    let (program, ifindex) = name.rsplit_once('-')?;
    Some((program, Ifindex::new(ifindex.parse().ok()?)))
}

/// The pinned link. It stays pinned: a daemon that is killed right here leaves it as it was.
fn pinned_link(
    dir: &Path,
    program: &str,
    ifindex: Ifindex,
) -> Result<Option<FdLink>, DatapathError> {
    let path = link_path(dir, program, ifindex);
    match PinnedLink::from_pin(&path) {
        Ok(pinned) => Ok(Some(pinned.into())),
        Err(LinkError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(DatapathError::file("open", path, io::Error::other(error))),
    }
}

/// Whether a program is attached to an interface by its link; `None` where it hangs on no link.
pub(super) fn has_program(dir: &Path, program: &str, ifindex: Ifindex) -> io::Result<Option<bool>> {
    let path = link_path(dir, program, ifindex);
    if program.starts_with("xdp") {
        return link::interface(&path).map(|at| Some(at == Some(ifindex)));
    }
    if !has_tcx() {
        return Ok(None);
    }
    match link::place(&path) {
        Ok(place) => Ok(Some(place == Place::Here(ifindex))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(false)),
        Err(error) => Err(error),
    }
}

pub(super) fn detach_link(
    dir: &Path,
    program: &str,
    ifindex: Ifindex,
) -> Result<(), DatapathError> {
    let path = link_path(dir, program, ifindex);
    // Without its pin the kernel frees a link some time later, and until then refuses another.
    match link::detach(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // The interface is gone, and with it what there was to detach.
        Err(error) => tracing::debug!(path = %path.display(), %error, "not detached"),
    }
    remove_if_there(&path)
}

pub(super) fn detach_tc(
    dir: &Path,
    program: &'static str,
    ifindex: Ifindex,
) -> Result<(), DatapathError> {
    if has_tcx() {
        return detach_link(dir, program, ifindex);
    }
    // If the interface is gone, the filter is too.
    if let Some(device) = name_of(ifindex) {
        clsact::detach(&device, clsact::handle(dir))
            .map_err(|source| DatapathError::program("detach", program, source))?;
    }
    remove_if_there(&link_path(dir, program, ifindex))
}

pub(super) fn attach_tc(
    dir: &Path,
    program: &mut SchedClassifier,
    name: &'static str,
    (device, ifindex): (&str, Ifindex),
) -> Result<(), DatapathError> {
    let failed = |source| DatapathError::program("attach", format!("{name} to {device}"), source);
    if !has_tcx() {
        return attach_clsact(dir, program, name, (device, ifindex));
    }
    let path = link_path(dir, name, ifindex);
    // A link that has gone to another namespace with its interface would take the new program there.
    let is_here = link::place(&path).is_ok_and(|place| place == Place::Here(ifindex));
    let old = pinned_link(dir, name, ifindex)?.filter(|_| is_here);
    if let Some(link) = old.and_then(|link| SchedClassifierLink::try_from(link).ok()) {
        // It fails where the interface that the link was for is gone and a new one has its number.
        if let Ok(id) = program.attach_to_link(link) {
            return program.take_link(id).map(drop).map_err(failed);
        }
    }
    detach_link(dir, name, ifindex)?;
    let id = new_tcx(program, device).map_err(failed)?;
    let link: Result<FdLink, LinkError> = program.take_link(id).map_err(failed)?.try_into();
    pin(link, path)
}

fn attach_clsact(
    dir: &Path,
    program: &mut SchedClassifier,
    name: &'static str,
    (device, ifindex): (&str, Ifindex),
) -> Result<(), DatapathError> {
    let path = link_path(dir, name, ifindex);
    let handle = clsact::handle(dir);
    // Noted before it is done: what a daemon that is killed right here has attached, or not, its successor finds.
    remove_if_there(&path)?;
    program.pin(&path).map_err(|source| DatapathError::Pin {
        path,
        source: Box::new(source),
    })?;
    clsact::attach(program, device, handle)
        .map_err(|source| DatapathError::program("attach", format!("{name} to {device}"), source))
}

pub(super) fn attach_xdp(
    dir: &Path,
    program: &mut Xdp,
    name: &'static str,
    (device, ifindex): (&str, Ifindex),
    mode: XdpMode,
) -> Result<XdpOutcome, DatapathError> {
    let failed = |source| DatapathError::program("attach", format!("{name} to {device}"), source);
    let path = link_path(dir, name, ifindex);
    let old = pinned_link(dir, name, ifindex)?;
    // The mode of a link cannot change: TC bridges the moment without XDP.
    let old = old.filter(|_| mode == XdpMode::Auto);
    if let Some(link) = old.and_then(|link| XdpLink::try_from(link).ok())
        && let Ok(id) = program.attach_to_link(link)
    {
        return program
            .take_link(id)
            .map(|_| XdpOutcome::Kept)
            .map_err(failed);
    }
    detach_link(dir, name, ifindex)?;
    let (id, outcome) = new_xdp(program, ifindex, mode).map_err(|source| match &source {
        ProgramError::SyscallError(error)
            // The other program may be there in the other mode.
            if matches!(
                error.io_error.raw_os_error(),
                Some(libc::EBUSY | libc::EEXIST)
            ) =>
        {
            DatapathError::XdpTaken {
                device: device.to_owned(),
            }
        }
        ProgramError::SyscallError(error)
            if mode == XdpMode::Auto
                || mode == XdpMode::Native
                    && error.io_error.raw_os_error() == Some(libc::EOPNOTSUPP) =>
        {
            DatapathError::NoNativeXdp {
                device: device.to_owned(),
                cause: error.io_error.to_string(),
            }
        }
        // With EINVAL aya asks again by netlink, for kernels that have no links, and has the driver's own words then.
        ProgramError::XdpError(XdpError::NetlinkError(error)) if mode == XdpMode::Auto => {
            DatapathError::NoNativeXdp {
                device: device.to_owned(),
                cause: with_causes(error),
            }
        }
        _ => failed(source),
    })?;
    let link: Result<FdLink, LinkError> = program.take_link(id).map_err(failed)?.try_into();
    pin(link, path)?;
    Ok(outcome)
}

/// Name of an interface of this network namespace.
pub(super) fn name_of(ifindex: Ifindex) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the call asks for.
    if unsafe { libc::if_indextoname(ifindex.get(), name.as_mut_ptr()) }.is_null() {
        return None;
    }
    // SAFETY: the call has written a name that ends in a zero byte.
    let name = unsafe { std::ffi::CStr::from_ptr(name.as_ptr()) };
    name.to_str().ok().map(str::to_owned)
}

/// True if TC programs attach by tcx links.
///
/// `VTEP_NO_TCX` in the environment has them hang on the clsact qdisc on any kernel: to try what older kernels do.
pub(super) fn has_tcx() -> bool {
    if std::env::var_os("VTEP_NO_TCX").is_some() {
        return false;
    }
    KernelVersion::current().is_ok_and(|version| version >= TCX_SINCE)
}

fn new_tcx(
    program: &mut SchedClassifier,
    device: &str,
) -> Result<tc::SchedClassifierLinkId, ProgramError> {
    program.attach_with_options(
        device,
        TcAttachType::Ingress,
        TcAttachOptions::TcxOrder(LinkOrder::default()),
    )
}

fn new_xdp(
    program: &mut Xdp,
    ifindex: Ifindex,
    mode: XdpMode,
) -> Result<(aya::programs::xdp::XdpLinkId, XdpOutcome), ProgramError> {
    let native = |program: &mut Xdp| program.attach_to_if_index(ifindex.get(), AyaXdpMode::Driver);
    let generic = |program: &mut Xdp| program.attach_to_if_index(ifindex.get(), AyaXdpMode::Skb);
    match mode {
        // Generic XDP is never what was not asked for: it is no faster than TC.
        XdpMode::Native | XdpMode::Auto => Ok((native(program)?, XdpOutcome::Native)),
        XdpMode::Generic => Ok((generic(program)?, XdpOutcome::asked_generic())),
    }
}

fn pin(link: Result<FdLink, LinkError>, path: PathBuf) -> Result<(), DatapathError> {
    let link = link.map_err(|error| {
        DatapathError::file("take the link for", &path, io::Error::other(error))
    })?;
    match link.pin(&path) {
        Ok(_) => Ok(()),
        Err(source) => Err(DatapathError::Pin {
            path,
            source: Box::new(source),
        }),
    }
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), DatapathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DatapathError::file("remove", path, error))
        }
        _ => Ok(()),
    }
}
