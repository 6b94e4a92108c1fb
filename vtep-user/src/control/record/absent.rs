//! The ports that wait for their interfaces. None of it is in the maps: no frame can come from there or go there.

use std::collections::BTreeMap;

use crate::model::{FdbSpec, PortSpec, Source, VlanId, Vni};

/// A port that waits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AbsentPort {
    /// The port, as somebody would ask for it.
    pub(crate) spec: PortSpec,
    /// Who made it.
    pub(crate) source: Source,
    /// The entries of their own that name it, and who made each.
    pub(crate) entries: Vec<(FdbSpec, Source)>,
}

/// All ports that wait, by interface and VLAN.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AbsentPorts(BTreeMap<(String, Option<VlanId>), AbsentPort>);

impl AbsentPorts {
    /// How many there are in a VNI.
    pub(crate) fn count_in(&self, vni: Vni) -> usize {
        self.iter().filter(|port| port.spec.vni == vni).count()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &AbsentPort> {
        self.0.values()
    }

    /// Those of an interface.
    pub(crate) fn of(&self, dev: &str) -> impl Iterator<Item = &AbsentPort> {
        let from = (dev.to_owned(), None);
        let rest = self.0.range(from..).map(|(_, port)| port);
        rest.take_while(move |port| port.spec.dev == dev)
    }

    pub(crate) fn get(&self, dev: &str, vlan: Option<VlanId>) -> Option<&AbsentPort> {
        self.0.get(&(dev.to_owned(), vlan))
    }

    pub(crate) fn get_mut(&mut self, dev: &str, vlan: Option<VlanId>) -> Option<&mut AbsentPort> {
        self.0.get_mut(&(dev.to_owned(), vlan))
    }

    /// The one in a VNI that an entry means which names the interface.
    pub(crate) fn named_mut(&mut self, dev: &str, vni: Vni) -> Option<&mut AbsentPort> {
        let mut ports = self.0.values_mut();
        ports.find(|port| port.spec.dev == dev && port.spec.vni == vni)
    }

    pub(crate) fn insert(&mut self, port: AbsentPort) {
        let key = (port.spec.dev.clone(), port.spec.vlan);
        self.0.insert(key, port);
    }

    pub(crate) fn remove(&mut self, dev: &str, vlan: Option<VlanId>) -> Option<AbsentPort> {
        self.0.remove(&(dev.to_owned(), vlan))
    }

    /// Forgets those that `goes` says; how many there were.
    pub(crate) fn forget(&mut self, goes: impl Fn(&AbsentPort) -> bool) -> usize {
        let before = self.0.len();
        self.0.retain(|_, port| !goes(port));
        before - self.0.len()
    }
}
