//! Attachments that may be refused are made in a transaction: a refused start rolls back and leaves everything as it was.

use vtep_common::abi::id::Ifindex;
use vtep_common::abi::{config::Config, flags::ConfigFlags};

use super::{
    Datapath, XdpOutcome,
    attached::{has_tcx, link_path, remove_if_there},
    error::DatapathError,
    link::{self, Place},
    pins,
};
use crate::model::XdpMode;

/// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE` (kernel `include/uapi/linux/if_link.h`).
const SKB_MODE: u32 = 2;
const DRV_MODE: u32 = 4;

/// What has been changed so far, in order.
#[derive(Debug, Default)]
pub struct Transaction(Vec<Change>);

#[derive(Debug)]
enum Change {
    /// A program is attached where none of ours was.
    New {
        program: &'static str,
        ifindex: Ifindex,
    },
    /// XDP is attached in another mode than before.
    Mode {
        program: &'static str,
        ifindex: Ifindex,
        before: XdpMode,
    },
    /// What holds for the whole instance is no longer this.
    Config(Config),
}

impl Datapath {
    /// Sets flags beside those that are set. Each of them makes the programs more careful, and what XDP is attached to afterwards may
    /// need it.
    pub fn try_flags(
        &mut self,
        flags: ConfigFlags,
        transaction: &mut Transaction,
    ) -> Result<(), DatapathError> {
        let before = self.config()?;
        let both = before.flags | flags;
        if both == before.flags {
            return Ok(());
        }
        transaction.0.push(Change::Config(before));
        self.configure(Ifindex::new(before.device), before.udp_port, both)
    }

    /// Attaches TC, unless it is there.
    pub fn try_tc(
        &mut self,
        program: &'static str,
        device: &str,
        ifindex: Ifindex,
        transaction: &mut Transaction,
    ) -> Result<(), DatapathError> {
        let there = if has_tcx() {
            let place = link::place(&self.link_path(program, ifindex));
            place.is_ok_and(|place| place == Place::Here(ifindex))
        } else {
            self.attached(program)?.contains(&ifindex)
        };
        if !there {
            // Noted first: half of it can be done when it fails.
            transaction.0.push(Change::New { program, ifindex });
            self.attach_tc(program, device, ifindex)?;
        }
        Ok(())
    }

    /// Attaches XDP, unless it is there in a mode that will do. `now` is the mode of the program that the interface has, if it has one.
    pub fn try_xdp(
        &mut self,
        program: &'static str,
        (device, ifindex): (&str, Ifindex),
        mode: XdpMode,
        now: Option<XdpMode>,
        transaction: &mut Transaction,
    ) -> Result<XdpOutcome, DatapathError> {
        if !self.is_attached(program, ifindex)? {
            transaction.0.push(Change::New { program, ifindex });
        } else if mode == XdpMode::Auto && now == Some(XdpMode::Generic) {
            // An earlier build chose that by itself.
            transaction.0.push(Change::Mode {
                program,
                ifindex,
                before: XdpMode::Generic,
            });
            self.detach_link(program, ifindex)?;
        } else if mode == XdpMode::Auto {
            return Ok(XdpOutcome::Kept);
        } else if now == Some(mode) {
            return Ok(match mode {
                XdpMode::Generic => XdpOutcome::asked_generic(),
                XdpMode::Auto | XdpMode::Native => XdpOutcome::Native,
            });
        } else {
            transaction.0.push(Change::Mode {
                program,
                ifindex,
                before: now.unwrap_or(XdpMode::Auto),
            });
        }
        self.attach_xdp(program, device, ifindex, mode)
    }

    fn is_attached(&self, program: &str, ifindex: Ifindex) -> Result<bool, DatapathError> {
        let path = self.link_path(program, ifindex);
        let found = link::interface(&path);
        let found = found.map_err(|source| DatapathError::file("look at", path, source))?;
        Ok(found == Some(ifindex))
    }

    /// Makes everything as it was, the latest change first. What cannot be is logged.
    pub fn rollback(&mut self, transaction: Transaction) {
        for change in transaction.0.into_iter().rev() {
            if let Err(error) = self.undo(&change) {
                tracing::error!(%error, ?change, "could not roll back a change");
            }
        }
    }

    fn undo(&mut self, change: &Change) -> Result<(), DatapathError> {
        match *change {
            Change::New { program, ifindex } if program.starts_with("xdp") => {
                self.detach_link(program, ifindex)
            }
            Change::New { program, ifindex } => self.detach_tc(program, ifindex),
            Change::Mode {
                program,
                ifindex,
                before,
            } => {
                self.detach_link(program, ifindex)?;
                self.attach_last(program, ifindex, before)
            }
            Change::Config(before) => {
                let device = Ifindex::new(before.device);
                self.configure(device, before.udp_port, before.flags)
            }
        }
    }

    /// Attaches the XDP program of the last daemon, and pins the link where that daemon had it.
    fn attach_last(
        &self,
        name: &'static str,
        ifindex: Ifindex,
        mode: XdpMode,
    ) -> Result<(), DatapathError> {
        let home = self.home();
        let last = pins::programs_dir(home).join(name);
        let flags = match mode {
            XdpMode::Auto => 0,
            XdpMode::Native => DRV_MODE,
            XdpMode::Generic => SKB_MODE,
        };
        let path = link_path(home, name, ifindex);
        remove_if_there(&path)?;
        link::attach_xdp(&last, ifindex, flags, &path)
            .map_err(|source| DatapathError::file("attach", last, source))
    }
}
