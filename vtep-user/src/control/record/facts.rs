//! What the daemon finds out for the state: interfaces, and those that can be no ports.

use std::collections::HashMap;

use vtep_common::abi::{addr::MacAddr, id::Ifindex};

use super::others::Others;

/// What the daemon found out about an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Its number.
    pub ifindex: Ifindex,
    /// Its name.
    pub name: String,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// XDP can redirect to it without a frame being lost silently.
    pub xdp_target: bool,
    /// The MAC of its other end, where that lies in another network namespace: TC can hand frames for it straight there.
    pub other_end: Option<MacAddr>,
    /// What others have set at it.
    pub others: Others,
}

impl LinkFacts {
    /// What is known of an interface that is waited for.
    pub(crate) fn absent(ifindex: Ifindex, name: &str) -> Self {
        Self {
            ifindex,
            name: name.to_owned(),
            // No frame for it is too big: each is dropped because there is no interface.
            mtu: u16::MAX.into(),
            xdp_target: false,
            other_end: None,
            others: Others::default(),
        }
    }
}

/// Interfaces by name, looked up by the daemon beforehand.
pub trait Links {
    /// The interface called `name`.
    fn link(&self, name: &str) -> Option<LinkFacts>;
}

impl<S: std::hash::BuildHasher> Links for HashMap<String, LinkFacts, S> {
    fn link(&self, name: &str) -> Option<LinkFacts> {
        self.get(name).cloned()
    }
}

/// The one interface that a change names.
impl Links for Option<LinkFacts> {
    fn link(&self, name: &str) -> Option<LinkFacts> {
        self.clone().filter(|facts| facts.name == name)
    }
}

/// Why an interface cannot be a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedFor {
    /// It leads to the underlay.
    Uplink,
    /// It is the instance's own slow-path device.
    SlowPath,
    /// It is an end of a gate to a bridge.
    Gate,
}
