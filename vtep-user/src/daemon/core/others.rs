//! Following what others set at the interfaces of ports. The kernel reports queueing disciplines and filters; what it reports to nobody,
//! programs by tcx and chains of nftables, is looked at whenever somebody looks at the ports.

use std::collections::HashSet;

use vtep_common::abi::id::Ifindex;

use super::{
    super::{error::DaemonError, others::Surroundings},
    Core,
};

/// The interfaces to look at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Where {
    #[default]
    Nowhere,
    At(HashSet<Ifindex>),
    Everywhere,
}

impl Where {
    /// One more, or all.
    pub(super) fn add(&mut self, ifindex: Option<Ifindex>) {
        match (&mut *self, ifindex) {
            (Self::Everywhere, _) => {}
            (_, None) => *self = Self::Everywhere,
            (Self::At(some), Some(ifindex)) => drop(some.insert(ifindex)),
            (Self::Nowhere, Some(ifindex)) => *self = Self::At(HashSet::from([ifindex])),
        }
    }

    /// One of them, if it is one.
    pub(super) fn only(&self, ifindex: Ifindex) -> Self {
        let mut only = Self::Nowhere;
        if self.has(ifindex) {
            only.add(Some(ifindex));
        }
        only
    }

    fn has(&self, ifindex: Ifindex) -> bool {
        match self {
            Self::Nowhere => false,
            Self::At(some) => some.contains(&ifindex),
            Self::Everywhere => true,
        }
    }
}

impl Core {
    /// Looks at what others have set at interfaces with ports, and delivers by it.
    pub(super) fn look_at_others(&mut self, at: &Where) -> Result<(), DaemonError> {
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
            let others = surroundings.at(&self.netlink, &own, (port.ifindex, &port.name));
            if others == self.state.others_at(port.ifindex) {
                continue;
            }
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
        if let Err(error) = self.look_at_others(&at) {
            tracing::error!(%error, "could not see what others have set at ports");
        }
    }

    /// Says in the log how frames reach the ports of an interface.
    pub(super) fn log_deliveries(&self, ifindex: Ifindex) {
        let dev = self.state.device_name(ifindex).unwrap_or_default();
        for delivery in self.state.deliveries(ifindex) {
            tracing::info!("port {dev}: {delivery}");
        }
    }

    /// Says in the log what frames to and from an interface pass by.
    pub(super) fn log_bypasses(&self, ifindex: Ifindex) {
        for bypass in self.state.bypasses(ifindex) {
            tracing::warn!("{bypass}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_add_up_to_everywhere() {
        let [one, two] = [7, 8].map(Ifindex::new);
        let mut at = Where::default();
        assert!(!at.has(one));
        at.add(Some(one));
        assert!(at.has(one) && !at.has(two));
        assert_eq!((at.only(one) == at, at.only(two)), (true, Where::Nowhere));
        at.add(Some(two));
        assert!(at.has(one) && at.has(two));
        at.add(None);
        at.add(Some(one));
        assert_eq!(at, Where::Everywhere);
    }
}
