//! Following what others set at the interfaces of ports. The kernel reports queueing disciplines and filters; what it reports to nobody,
//! programs by tcx and chains of nftables, is looked at whenever somebody looks at the ports.

use vtep_common::abi::id::Ifindex;

use super::{
    super::{
        error::DaemonError,
        others::{Surroundings, Where},
    },
    Core,
};
use crate::causes::with_causes;

impl Core {
    /// Looks at what others have set at interfaces with ports, and delivers by it. A failure is logged: what was known stays.
    pub(super) fn look_at_others(&mut self, at: &Where) {
        if let Err(error) = self.try_to_look_at_others(at) {
            tracing::error!(error = %with_causes(&error), "could not follow what others set at ports");
        }
    }

    fn try_to_look_at_others(&mut self, at: &Where) -> Result<(), DaemonError> {
        // The state may be ahead of the maps: then nothing else is written.
        if self.works.ahead {
            return Ok(());
        }
        let ports = self.state.attachments();
        let ports: Vec<_> = ports.filter(|port| at.has(port.ifindex)).collect();
        if ports.is_empty() {
            return Ok(());
        }
        let surroundings = Surroundings::read(&self.netlink)?;
        let own = self.datapath.own_at_ports();
        for port in ports {
            let found = surroundings.at(&self.netlink, &own, (port.ifindex, &port.name));
            // What cannot be read is taken to be as it was.
            let known = self.state.others_at(port.ifindex);
            let Some(others) = found.filter(|found| *found != known) else {
                continue;
            };
            let before = self.state.bypasses(port.ifindex);
            let writes = self.state.others_changed(port.ifindex, others);
            self.datapath.write(&writes)?;
            if !writes.is_empty() {
                self.log_deliveries(port.ifindex);
            }
            let now = self.state.bypasses(port.ifindex);
            for new in now.difference(&before) {
                tracing::warn!("{new}");
            }
        }
        Ok(())
    }

    /// The same for one interface by its name, or all, where somebody wants to see them.
    pub(super) fn look_at_others_of(&mut self, dev: Option<&str>) {
        let mut at = Where::Nowhere;
        match dev {
            None => at.add(None),
            Some(dev) => {
                let mut ports = self.state.attachments();
                if let Some(port) = ports.find(|port| port.name == dev) {
                    at.add(Some(port.ifindex));
                }
            }
        }
        self.look_at_others(&at);
    }

    /// Says in the log how frames reach the ports of an interface.
    pub(super) fn log_deliveries(&self, ifindex: Ifindex) {
        let dev = self.state.device_name(ifindex).unwrap_or_default();
        for delivery in self.state.deliveries(ifindex) {
            tracing::info!("port {dev}: {delivery}");
        }
    }

    /// Says in the log where the MTU of an interface is larger than what reaches the VTEPs of its VNIs.
    pub(super) fn log_mtu(&self, ifindex: Ifindex) {
        for advice in self.state.mtu_advice(ifindex) {
            tracing::warn!("{advice}");
        }
    }

    /// Says in the log what frames to and from an interface pass by.
    pub(super) fn log_bypasses(&self, ifindex: Ifindex) {
        for bypass in self.state.bypasses(ifindex) {
            tracing::warn!("{bypass}");
        }
    }
}
