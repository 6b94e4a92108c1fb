//! The hypervisor's own MACs, which are never learned.

use std::collections::HashMap;

use vtep_common::abi::addr::MacAddr;
use vtep_common::abi::id::Ifindex;

use crate::netlink::Link;

/// The MACs of all interfaces, and whether the state knows those that are our own.
#[derive(Debug)]
pub(super) struct OwnMacs {
    macs: HashMap<Ifindex, MacAddr>,
    stale: bool,
}

impl Default for OwnMacs {
    fn default() -> Self {
        Self {
            macs: HashMap::new(),
            stale: true,
        }
    }
}

impl OwnMacs {
    /// Takes note of which MAC an interface has.
    pub(super) fn note(&mut self, link: &Link) {
        let mac = MacAddr::from_bytes(link.mac);
        if self.macs.insert(link.index, mac) != Some(mac) {
            self.stale = true;
        }
    }

    /// The MAC of an interface.
    pub(super) fn of(&self, ifindex: Ifindex) -> Option<MacAddr> {
        self.macs.get(&ifindex).copied()
    }

    /// Forgets an interface that is gone.
    pub(super) fn forget(&mut self, ifindex: Ifindex) {
        self.stale |= self.macs.remove(&ifindex).is_some();
    }

    /// Forgets every interface, before all of them are noted anew.
    pub(super) fn clear(&mut self) {
        self.macs.clear();
    }

    /// Takes note that other interfaces are our own now.
    pub(super) const fn invalidate(&mut self) {
        self.stale = true;
    }

    /// The MACs of our own `interfaces`, if they may have changed since this was last asked.
    pub(super) fn take_changed(
        &mut self,
        interfaces: impl Iterator<Item = Ifindex>,
    ) -> Option<Vec<MacAddr>> {
        std::mem::take(&mut self.stale).then(|| {
            interfaces
                .filter_map(|ifindex| self.macs.get(&ifindex).copied())
                .filter(|mac| !mac.is_zero())
                .collect()
        })
    }
}
