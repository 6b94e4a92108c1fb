//! The addresses of this host.

use std::net::IpAddr;

/// Our VTEP addresses, and every address of this host: none of them is another VTEP's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Locals {
    locals: Vec<IpAddr>,
    own: Vec<IpAddr>,
}

impl Locals {
    /// These, in their order.
    pub(crate) fn new(locals: Vec<IpAddr>) -> Self {
        Self {
            locals: distinct(locals),
            own: Vec::new(),
        }
    }

    /// Our VTEP addresses, in the order given.
    pub(crate) fn all(&self) -> &[IpAddr] {
        &self.locals
    }

    /// The address that packets to `peer` come from: the first local one of its family.
    pub(crate) fn towards(&self, peer: IpAddr) -> Option<IpAddr> {
        let mut locals = self.locals.iter().copied();
        locals.find(|local| local.is_ipv4() == peer.is_ipv4())
    }

    /// Whether this host has an address now.
    pub(crate) fn is_here(&self, ip: IpAddr) -> bool {
        self.own.contains(&ip)
    }

    /// An address of this host, whether or not it is sent from.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        self.locals.contains(&ip) || self.own.contains(&ip)
    }

    /// Takes on what addresses this host has.
    pub(crate) fn set_own(&mut self, own: Vec<IpAddr>) {
        self.own = own;
    }

    /// Takes on other local VTEP addresses, and returns those so far.
    pub(crate) fn replace(&mut self, locals: Vec<IpAddr>) -> Vec<IpAddr> {
        std::mem::replace(&mut self.locals, distinct(locals))
    }
}

/// The values, each once, in their order.
pub(crate) fn distinct<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(values.len());
    for value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}
