//! Attaching the programs, and taking over what the last daemon attached.
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
        xdp::XdpLink,
    },
    util::KernelVersion,
};
use vtep_common::abi::id::Ifindex;

use super::{Datapath, clsact, error::DatapathError, link, pins, programs};
use crate::model::XdpMode;

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

impl Datapath {
    /// Gives TC at an uplink the new program, and XDP too if it is there and `xdp`; else XDP is detached.
    pub fn replace_uplink(
        &mut self,
        device: &str,
        ifindex: Ifindex,
        xdp: bool,
    ) -> Result<(), DatapathError> {
        self.attach_tc("tc_uplink", device, ifindex)?;
        if xdp {
            self.attach_xdp("xdp_uplink", device, ifindex, XdpMode::Auto)
                .map(drop)
        } else {
            self.detach_link("xdp_uplink", ifindex)
        }
    }

    /// Attaches TC to the slow-path device, or updates the link that is there.
    pub fn attach_slow_path(
        &mut self,
        device: &str,
        ifindex: Ifindex,
    ) -> Result<(), DatapathError> {
        self.attach_tc("tc_tunnel", device, ifindex)
    }

    /// Attaches TC, and XDP in front of it if `xdp`, to a port; or updates the links that are there.
    pub fn attach_port(
        &mut self,
        device: &str,
        ifindex: Ifindex,
        xdp: bool,
    ) -> Result<(), DatapathError> {
        self.attach_tc("tc_port", device, ifindex)?;
        if !xdp {
            return self.detach_link("xdp_port", ifindex);
        }
        match self.attach_xdp("xdp_port", device, ifindex, XdpMode::Auto) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.detach_port(ifindex)?;
                Err(error)
            }
        }
    }

    /// Detaches everything from a port. The interface may be gone.
    pub fn detach_port(&mut self, ifindex: Ifindex) -> Result<(), DatapathError> {
        self.detach_link("xdp_port", ifindex)?;
        self.detach_tc("tc_port", ifindex)
    }

    /// Detaches TC and XDP from an uplink that is no longer one.
    pub fn detach_uplink(&mut self, ifindex: Ifindex) -> Result<(), DatapathError> {
        self.detach_link("xdp_uplink", ifindex)?;
        self.detach_tc("tc_uplink", ifindex)
    }

    /// Detaches TC from a device that is the slow-path device no longer.
    pub fn detach_slow_path(&mut self, ifindex: Ifindex) -> Result<(), DatapathError> {
        self.detach_tc("tc_tunnel", ifindex)
    }

    /// Interfaces that this program is attached to by a link, or by a filter that was noted.
    pub fn attached(&self, program: &str) -> Result<Vec<Ifindex>, DatapathError> {
        let dir = pins::links_dir(&self.dir);
        let entries =
            fs::read_dir(&dir).map_err(|source| DatapathError::file("read", &dir, source))?;
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| DatapathError::file("read", &dir, source))?;
            let name = entry.file_name();
            let number: Option<u32> = name
                .to_str()
                .and_then(|name| name.strip_prefix(program)?.strip_prefix('-')?.parse().ok());
            found.extend(number.map(Ifindex::new));
        }
        Ok(found)
    }

    /// Pins the programs in place of the last daemon's. Those are needed until nothing has to be rolled back any more.
    pub fn pin_programs(&mut self) -> Result<(), DatapathError> {
        let dir = pins::programs_dir(&self.dir);
        for name in programs() {
            let path = dir.join(name);
            remove_if_there(&path)?;
            let program = self
                .ebpf
                .program_mut(name)
                .ok_or(DatapathError::Missing(name))?;
            program.pin(&path).map_err(|source| DatapathError::Pin {
                path,
                source: Box::new(source),
            })?;
        }
        Ok(())
    }

    pub(super) fn link_path(&self, program: &str, ifindex: Ifindex) -> PathBuf {
        pins::links_dir(&self.dir).join(format!("{program}-{ifindex}"))
    }

    /// The pinned link. It stays pinned: a daemon that is killed right here leaves it as it was.
    fn pinned_link(
        &self,
        program: &str,
        ifindex: Ifindex,
    ) -> Result<Option<FdLink>, DatapathError> {
        let path = self.link_path(program, ifindex);
        match PinnedLink::from_pin(&path) {
            Ok(pinned) => Ok(Some(pinned.into())),
            Err(LinkError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(DatapathError::file("open", path, io::Error::other(error))),
        }
    }

    pub(super) fn detach_link(
        &mut self,
        program: &str,
        ifindex: Ifindex,
    ) -> Result<(), DatapathError> {
        let path = self.link_path(program, ifindex);
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
        &mut self,
        program: &'static str,
        ifindex: Ifindex,
    ) -> Result<(), DatapathError> {
        if has_tcx() {
            return self.detach_link(program, ifindex);
        }
        // If the interface is gone, the filter is too.
        if let Some(device) = name_of(ifindex) {
            clsact::detach(&device, clsact::handle(&self.dir))
                .map_err(|source| DatapathError::program("detach", program, source))?;
        }
        remove_if_there(&self.link_path(program, ifindex))
    }

    pub(super) fn attach_tc(
        &mut self,
        name: &'static str,
        device: &str,
        ifindex: Ifindex,
    ) -> Result<(), DatapathError> {
        let failed =
            |source| DatapathError::program("attach", format!("{name} to {device}"), source);
        if !has_tcx() {
            return self.attach_clsact(name, device, ifindex);
        }
        let path = self.link_path(name, ifindex);
        let old = self.pinned_link(name, ifindex)?;
        let program = self.tc_program(name)?;
        if let Some(link) = old.and_then(|link| SchedClassifierLink::try_from(link).ok()) {
            // It fails where the interface that the link was for is gone and a new one has its number.
            if let Ok(id) = program.attach_to_link(link) {
                return program.take_link(id).map(drop).map_err(failed);
            }
        }
        self.detach_link(name, ifindex)?;
        let program = self.tc_program(name)?;
        let id = new_tcx(program, device).map_err(failed)?;
        let link: Result<FdLink, LinkError> = program.take_link(id).map_err(failed)?.try_into();
        pin(link, path)
    }

    fn attach_clsact(
        &mut self,
        name: &'static str,
        device: &str,
        ifindex: Ifindex,
    ) -> Result<(), DatapathError> {
        let path = self.link_path(name, ifindex);
        let handle = clsact::handle(&self.dir);
        // Noted before it is done: what a daemon that is killed right here has attached, or not, its successor finds.
        remove_if_there(&path)?;
        let program = self.tc_program(name)?;
        program.pin(&path).map_err(|source| DatapathError::Pin {
            path,
            source: Box::new(source),
        })?;
        clsact::attach(program, device, handle).map_err(|source| {
            DatapathError::program("attach", format!("{name} to {device}"), source)
        })
    }

    pub(super) fn attach_xdp(
        &mut self,
        name: &'static str,
        device: &str,
        ifindex: Ifindex,
        mode: XdpMode,
    ) -> Result<XdpOutcome, DatapathError> {
        let failed =
            |source| DatapathError::program("attach", format!("{name} to {device}"), source);
        let path = self.link_path(name, ifindex);
        let old = self.pinned_link(name, ifindex)?;
        let program = self.xdp_program(name)?;
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
        self.detach_link(name, ifindex)?;
        let program = self.xdp_program(name)?;
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
                if mode == XdpMode::Native
                    && error.io_error.raw_os_error() == Some(libc::EOPNOTSUPP) =>
            {
                DatapathError::NoNativeXdp {
                    device: device.to_owned(),
                }
            }
            _ => failed(source),
        })?;
        let link: Result<FdLink, LinkError> = program.take_link(id).map_err(failed)?.try_into();
        pin(link, path)?;
        Ok(outcome)
    }
}

/// Name of an interface of this network namespace.
fn name_of(ifindex: Ifindex) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the call asks for.
    if unsafe { libc::if_indextoname(ifindex.get(), name.as_mut_ptr()) }.is_null() {
        return None;
    }
    // SAFETY: the call has written a name that ends in a zero byte.
    let name = unsafe { std::ffi::CStr::from_ptr(name.as_ptr()) };
    name.to_str().ok().map(str::to_owned)
}

/// Takes the filters of the instance at `dir` off the interfaces called `devices`, where the kernel has no links that go with
/// their pins.
pub fn detach_all_without_links(dir: &Path, devices: &[String]) -> Result<(), DatapathError> {
    if has_tcx() {
        return Ok(());
    }
    let handle = clsact::handle(dir);
    for device in devices {
        clsact::detach(device, handle)
            .map_err(|source| DatapathError::program("detach from", device, source))?;
    }
    Ok(())
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
        XdpMode::Native => Ok((native(program)?, XdpOutcome::Native)),
        XdpMode::Generic => Ok((generic(program)?, XdpOutcome::asked_generic())),
        XdpMode::Auto => match native(program) {
            Ok(id) => Ok((id, XdpOutcome::Native)),
            Err(ProgramError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::EBUSY) =>
            {
                Err(ProgramError::SyscallError(error))
            }
            Err(error) => {
                let cause = match &error {
                    ProgramError::SyscallError(error) => error.io_error.to_string(),
                    other => other.to_string(),
                };
                Ok((
                    generic(program)?,
                    XdpOutcome::Generic(format!("the driver has no native XDP: {cause}")),
                ))
            }
        },
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

fn remove_if_there(path: &Path) -> Result<(), DatapathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DatapathError::file("remove", path, error))
        }
        _ => Ok(()),
    }
}
