//! Putting right what others have changed about what is ours. What the kernel reports is looked at then; what it reports to nobody,
//! programs that are detached, once a second.

use futures::FutureExt as _;
use vtep_common::abi::id::Ifindex;

use super::{
    super::{
        attacher::{BrokenPort, LookAt},
        repairs::Tended,
        slow_path::Recreated,
    },
    Core,
};
use crate::{
    causes::with_causes,
    control::{self, Attachment, Broken},
    model::PortHook,
    netlink::Link,
};

/// Ports that are looked at in a second.
const PORTS_A_SECOND: usize = 512;

impl Core {
    /// Looks at what is ours without being asked, once a second.
    pub(super) async fn tend_own(&mut self) {
        if self.works.ahead {
            return;
        }
        self.tend_slow_path(false).await;
        self.tend_uplinks();
        let interfaces_rest = self.works.leaves_interfaces_alone();
        if interfaces_rest && !self.repairs.looking {
            let next = self.repairs.next;
            let ports: Vec<Attachment> = self
                .ports_to_tend()
                .skip(next)
                .take(PORTS_A_SECOND)
                .collect();
            self.repairs.next = if ports.len() < PORTS_A_SECOND {
                0
            } else {
                next + PORTS_A_SECOND
            };
            if !ports.is_empty() {
                self.repairs.looking = true;
                self.look_at_ports_for_repairs(ports, LookAt::Programs);
            }
        }
    }

    /// Interfaces with ports, each with the hook that takes its frames now.
    pub(super) fn ports_to_tend(&self) -> impl Iterator<Item = Attachment> {
        self.state.attachments().map(|mut port| {
            if self.blind.has(port.ifindex) {
                port.hook = PortHook::Tc;
            }
            port
        })
    }

    /// Has one interface with ports looked at.
    pub(super) fn tend_port(&mut self, ifindex: Ifindex, at: LookAt) {
        // Most interfaces that change have none.
        if !self.state.has_ports_at(ifindex) {
            return;
        }
        let mut ports = self.ports_to_tend();
        let port = ports.find(|port| port.ifindex == ifindex);
        drop(ports);
        if let Some(port) = port {
            self.look_at_ports_for_repairs(vec![port], at);
        }
    }

    fn look_at_ports_for_repairs(&self, ports: Vec<Attachment>, at: LookAt) {
        let looked = self.attacher.look_at(ports, at);
        let looked = looked.map(Tended::Looked);
        self.repairs.tended.push(looked.boxed_local());
    }

    /// Goes on with what was found at ports.
    pub(super) fn take_tended(&mut self, tended: Tended) {
        self.look_for_watchers();
        match tended {
            Tended::Looked(broken) => {
                self.repairs.looking = false;
                self.repair_ports(broken);
            }
            Tended::Mended(mended) => {
                for (broken, done) in mended {
                    let BrokenPort { port, what } = broken;
                    if let Ok(false) = done {
                        continue;
                    }
                    let dev = &port.name;
                    let cause = match what {
                        Broken::Promiscuous => format!("somebody ended promiscuous mode of {dev}"),
                        _ => format!("somebody detached our program from {dev}"),
                    };
                    let event = self.repairs.note(dev, what, &cause, done.map(drop));
                    self.events.publish(event.into_iter().collect());
                }
            }
        }
    }

    /// Has what is wrong with ports put right.
    pub(super) fn repair_ports(&mut self, broken: Vec<BrokenPort>) {
        // What is being attached or let go right now is found again if it stays wrong.
        if !self.works.leaves_interfaces_alone() {
            return;
        }
        let mut mend = Vec::new();
        for broken in broken {
            let there = self.state.has_ports_at(broken.port.ifindex);
            if there && self.repairs.may(&broken.port.name, broken.what) {
                mend.push(broken);
            }
        }
        if !mend.is_empty() {
            let mended = self.attacher.mend(mend).map(Tended::Mended);
            self.repairs.tended.push(mended.boxed_local());
        }
    }

    /// Brings the slow-path device back to what it should be. Addresses are looked at only where some may have come.
    pub(super) async fn tend_slow_path(&mut self, with_addresses: bool) {
        let looked = self.slow_path.look(&self.datapath, with_addresses).await;
        let is = match looked {
            Ok(Some(is)) => is,
            Ok(None) => return self.slow_path_gone().await,
            Err(error) => {
                tracing::debug!(
                    "could not look at the slow-path device: {}",
                    with_causes(&error)
                );
                return;
            }
        };
        if is.vrf != self.vrf {
            return self.move_slow_path().await;
        }
        let dev = self.slow_path.name();
        for step in control::device(&is, &self.slow_path.wanted()) {
            let broken = step.broken();
            if !self.repairs.may(&dev, broken) {
                continue;
            }
            let done = self.slow_path.repair(&step, &mut self.datapath).await;
            let done = done.map_err(|error| with_causes(&error));
            let event = self.repairs.note(&dev, broken, &step.cause(&dev), done);
            self.look_for_watchers();
            self.events.publish(event.into_iter().collect());
        }
    }

    /// Moves the slow-path device to the VRF of the uplinks, or out of it. Where it cannot be made there, it is gone, and is made anew like one
    /// that somebody deleted.
    async fn move_slow_path(&mut self) {
        let dev = self.slow_path.name();
        let to = match self.vrf {
            Some(vrf) => format!("in the VRF of the uplinks (interface {vrf})"),
            None => "in no VRF, like the uplinks".to_owned(),
        };
        match self.slow_path.move_to(self.vrf, &mut self.datapath).await {
            Ok(link) => {
                tracing::info!("the slow-path device {dev} was made anew, {to}");
                self.take_slow_path(&link);
            }
            Err(error) => tracing::warn!(
                "the slow-path device {dev} could not be made anew, {to}: {}. vtep run goes on trying",
                with_causes(&error)
            ),
        }
    }

    /// Goes on with a slow-path device that takes the place of the last.
    fn take_slow_path(&mut self, link: &Link) {
        self.own_macs.note(link);
        self.bridges.note(link);
        self.reserve();
    }

    /// Makes the slow-path device anew. What cannot be done is logged, and tried again: all that needs no slow-path device goes on.
    pub(super) async fn slow_path_gone(&mut self) {
        let name = self.slow_path.name();
        if !self.repairs.may(&name, Broken::Device) {
            return;
        }
        let (cause, done) = match self.slow_path.recreate(self.vrf, &mut self.datapath).await {
            Ok(recreated) => {
                let (link, cause) = match recreated {
                    Recreated::Deleted(link) => {
                        (link, format!("the slow-path device {name} was deleted"))
                    }
                    Recreated::Moved(link) => (
                        link,
                        format!(
                            "the slow-path device {name} was moved to another network namespace"
                        ),
                    ),
                };
                self.take_slow_path(&link);
                (cause, Ok(()))
            }
            Err(error) => (
                format!(
                    "the slow-path device {name} was deleted, and until it exists floods and frames to unresolved VTEPs are lost"
                ),
                Err(format!(
                    "{}. Remove the cause: vtep run goes on trying",
                    with_causes(&error)
                )),
            ),
        };
        let event = self.repairs.note(&name, Broken::Device, &cause, done);
        self.look_for_watchers();
        self.events.publish(event.into_iter().collect());
    }

    /// Attaches to uplinks again from which somebody has detached our programs.
    pub(super) fn tend_uplinks(&mut self) {
        let missing = self.uplinks.missing_programs(&self.netlink, &self.datapath);
        for (dev, ifindex, program) in missing {
            if !self.repairs.may(&dev, Broken::Program) {
                continue;
            }
            let mode = self.options.run.xdp_mode;
            let done = self.datapath.reattach(program, (&dev, ifindex), mode);
            let done = done.map_err(|error| with_causes(&error));
            let cause = format!("somebody detached our program {program} from {dev}");
            let event = self.repairs.note(&dev, Broken::Program, &cause, done);
            self.look_for_watchers();
            self.events.publish(event.into_iter().collect());
        }
    }
}
