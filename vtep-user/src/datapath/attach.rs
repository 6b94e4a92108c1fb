//! Attaching the programs to uplinks, ports and the slow-path device; how each is attached: [`attached`].

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use vtep_common::abi::{addr::MacAddr, id::Ifindex, map::name, uplink::UplinkWord};

use super::{
    Datapath,
    attached::{self, XdpOutcome},
    clsact,
    error::DatapathError,
    link::{self, Place},
    pins,
    port_programs::{self, OwnAtPorts, PortPrograms},
    programs,
    tables::put,
};
use crate::model::XdpMode;

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

    /// Attaches a program again that somebody has detached.
    pub fn reattach(
        &mut self,
        program: &'static str,
        (device, ifindex): (&str, Ifindex),
        mode: XdpMode,
    ) -> Result<(), DatapathError> {
        if program.starts_with("xdp") {
            self.attach_xdp(program, device, ifindex, mode).map(drop)
        } else {
            self.attach_tc(program, device, ifindex)
        }
    }

    /// Says to which MACs the host takes packets at its uplinks, in place of those of the last call.
    pub fn set_uplink_macs(
        &mut self,
        macs: impl IntoIterator<Item = (Ifindex, MacAddr)>,
    ) -> Result<(), DatapathError> {
        let words = macs.into_iter();
        let words = words.map(|(ifindex, mac)| UplinkWord::new(ifindex.get(), mac));
        let new: HashSet<UplinkWord> = words.collect();
        if new == self.uplink_words {
            return Ok(());
        }
        let map = &mut self.maps.uplinks;
        for gone in self.uplink_words.difference(&new) {
            put(map, name::UPLINKS, gone.place(), UplinkWord::default())?;
        }
        for word in &new {
            put(map, name::UPLINKS, word.place(), *word)?;
        }
        self.uplink_words = new;
        Ok(())
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
        port_programs::detach(&self.dir, ifindex)
    }

    /// The programs of ports once more, to attach them from another thread. They are pinned by now.
    pub fn port_programs(&self) -> Result<PortPrograms, DatapathError> {
        PortPrograms::open(&self.dir)
    }

    /// What is this instance's own at the interfaces of ports.
    #[must_use]
    pub fn own_at_ports(&self) -> OwnAtPorts {
        OwnAtPorts::of(&self.dir)
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
            let parts = name.to_str().and_then(attached::parts);
            found.extend(parts.filter(|(of, _)| *of == program).map(|(_, at)| at));
        }
        Ok(found)
    }

    /// Of each interface that was a port, whether the one that has its number here is the one that it was: the program is attached
    /// to it. Interfaces of which nobody can say so are left out.
    pub(super) fn attached_ports(&self) -> Result<HashMap<Ifindex, bool>, DatapathError> {
        let mut ports = HashMap::new();
        for ifindex in self.attached("tc_port")? {
            let path = self.link_path("tc_port", ifindex);
            // A pin that is no link notes a filter.
            if let Ok(place) = link::place(&path) {
                ports.insert(ifindex, place == Place::Here(ifindex));
            }
        }
        Ok(ports)
    }

    /// The handle of this instance's filters, where the kernel has no links that say where TC programs are attached.
    #[must_use]
    pub fn filter_handle(&self) -> Option<u32> {
        (!attached::has_tcx()).then(|| clsact::handle(&self.dir).into())
    }

    /// Pins the programs in place of the last daemon's. Those are needed until nothing has to be rolled back any more.
    pub fn pin_programs(&mut self) -> Result<(), DatapathError> {
        let dir = pins::programs_dir(&self.dir);
        for name in programs() {
            let path = dir.join(name);
            attached::remove_if_there(&path)?;
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
        attached::link_path(&self.dir, program, ifindex)
    }

    pub(super) fn detach_link(
        &mut self,
        program: &str,
        ifindex: Ifindex,
    ) -> Result<(), DatapathError> {
        attached::detach_link(&self.dir, program, ifindex)
    }

    pub(super) fn detach_tc(
        &mut self,
        program: &'static str,
        ifindex: Ifindex,
    ) -> Result<(), DatapathError> {
        attached::detach_tc(&self.dir, program, ifindex)
    }

    pub(super) fn attach_tc(
        &mut self,
        name: &'static str,
        device: &str,
        ifindex: Ifindex,
    ) -> Result<(), DatapathError> {
        let dir = self.dir.clone();
        self.touch_links();
        attached::attach_tc(&dir, self.tc_program(name)?, name, (device, ifindex))
    }

    pub(super) fn attach_xdp(
        &mut self,
        name: &'static str,
        device: &str,
        ifindex: Ifindex,
        mode: XdpMode,
    ) -> Result<XdpOutcome, DatapathError> {
        let dir = self.dir.clone();
        self.touch_links();
        attached::attach_xdp(&dir, self.xdp_program(name)?, name, (device, ifindex), mode)
    }
}

/// Takes the filters of the instance at `dir` off the interfaces called `devices`, where the kernel has no links that go with
/// their pins.
pub fn detach_all_without_links(dir: &Path, devices: &[String]) -> Result<(), DatapathError> {
    if attached::has_tcx() {
        return Ok(());
    }
    let handle = clsact::handle(dir);
    for device in devices {
        clsact::detach(device, handle)
            .map_err(|source| DatapathError::program("detach from", device, source))?;
    }
    Ok(())
}
