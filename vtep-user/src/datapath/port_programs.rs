//! The programs of ports, opened by their pins: for the thread that attaches them while the core goes on.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::programs::{SchedClassifier, Xdp};
use aya_obj::programs::XdpAttachType;
use vtep_common::abi::id::Ifindex;

use super::{
    attached, clsact,
    error::DatapathError,
    link::{self, Place, TcxPrograms},
    pins, promiscuous,
};
use crate::model::XdpMode;

/// The program at TC, and the one that may stand in front of it.
const TC: &str = "tc_port";
const XDP: &str = "xdp_port";

/// The programs of ports.
pub struct PortPrograms {
    dir: PathBuf,
    tc: SchedClassifier,
    xdp: Xdp,
}

impl PortPrograms {
    pub(super) fn open(dir: &Path) -> Result<Self, DatapathError> {
        let pin = |name| pins::programs_dir(dir).join(name);
        Ok(Self {
            tc: SchedClassifier::from_pin(pin(TC))
                .map_err(|source| DatapathError::program("open", TC, source))?,
            xdp: Xdp::from_pin(pin(XDP), XdpAttachType::Interface)
                .map_err(|source| DatapathError::program("open", XDP, source))?,
            dir: dir.to_owned(),
        })
    }

    /// The other instance that takes the frames of an interface, if there is one. Before tcx nobody can say.
    #[must_use]
    pub fn other_instance(&self, ifindex: Ifindex) -> Option<String> {
        let instances = fs::read_dir(self.dir.parent()?).ok()?;
        let mut others = instances
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|dir| *dir != self.dir);
        let other = others.find(|dir| {
            let place = link::place(&attached::link_path(dir, TC, ifindex));
            matches!(place, Ok(Place::Here(at)) if at == ifindex)
        })?;
        Some(other.file_name()?.to_string_lossy().into_owned())
    }

    /// Who has set what at the interfaces of ports is told apart by these.
    #[must_use]
    pub fn own(&self) -> OwnAtPorts {
        OwnAtPorts::of(&self.dir)
    }

    /// Attaches TC, and XDP in front of it if `xdp`, to a port; or updates the links that are there.
    pub fn attach(
        &mut self,
        device: &str,
        ifindex: Ifindex,
        xdp: bool,
    ) -> Result<(), DatapathError> {
        let (dir, port) = (&self.dir, (device, ifindex));
        attached::attach_tc(dir, &mut self.tc, TC, port)?;
        if !xdp {
            return attached::detach_link(dir, XDP, ifindex);
        }
        match attached::attach_xdp(dir, &mut self.xdp, XDP, port, XdpMode::Auto) {
            Ok(_) => Ok(()),
            Err(error) => {
                detach(dir, ifindex)?;
                Err(error)
            }
        }
    }

    /// Detaches everything from a port. The interface may be gone.
    pub fn detach(&mut self, ifindex: Ifindex) -> Result<(), DatapathError> {
        detach(&self.dir, ifindex)
    }
}

/// What is this instance's own at the interfaces of ports.
#[derive(Clone, Debug)]
pub struct OwnAtPorts {
    dir: PathBuf,
    /// The priority and the handle of its filters, where the kernel has no tcx.
    pub filter: Option<(u16, u32)>,
}

impl OwnAtPorts {
    /// Of the instance whose pins are below `dir`.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        let filter = || (clsact::PRIORITY, clsact::handle(dir).into());
        Self {
            dir: dir.to_owned(),
            filter: (!attached::has_tcx()).then(filter),
        }
    }

    /// Whether a program is attached to an interface by its link: not if somebody has detached it. `None` where it hangs on no link: TC has
    /// none before tcx.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn has_program(&self, program: &str, ifindex: Ifindex) -> io::Result<Option<bool>> {
        attached::has_program(&self.dir, program, ifindex)
    }

    /// Notes that vtep has made an interface promiscuous. The note outlives the daemon.
    pub fn note_promiscuous(&self, ifindex: Ifindex) -> Result<(), DatapathError> {
        promiscuous::note(&self.dir, ifindex)
    }

    /// Whether that was noted.
    #[must_use]
    pub fn is_noted_promiscuous(&self, ifindex: Ifindex) -> bool {
        promiscuous::is_noted(&self.dir, ifindex)
    }

    /// The interfaces of which it was noted.
    pub fn noted_promiscuous(&self) -> Result<Vec<Ifindex>, DatapathError> {
        promiscuous::noted(&self.dir)
    }

    /// Takes the note back.
    pub fn forget_promiscuous(&self, ifindex: Ifindex) -> Result<(), DatapathError> {
        promiscuous::forget(&self.dir, ifindex)
    }

    /// The programs of others at an interface, by tcx; none where the kernel has none.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn other_programs(&self, ifindex: Ifindex) -> io::Result<TcxPrograms> {
        let own = attached::link_path(&self.dir, TC, ifindex);
        match link::others(ifindex, &own) {
            // Before Linux 6.6.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(TcxPrograms::default()),
            found => found,
        }
    }
}

pub(super) fn detach(dir: &Path, ifindex: Ifindex) -> Result<(), DatapathError> {
    attached::detach_link(dir, XDP, ifindex)?;
    attached::detach_tc(dir, TC, ifindex)
}
