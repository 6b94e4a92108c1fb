//! The addresses of ports: which port has an address, which addresses a port has, and how many there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::numbered::Numbered;

/// The addresses of all ports.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PortAddresses {
    /// The slot of the port that has an address, by the numbers of segments.
    segments: Numbered<BTreeMap<IpAddr, u32>>,
    /// The addresses of each port, by slot.
    ports: Numbered<BTreeSet<IpAddr>>,
    len: u32,
}

impl PortAddresses {
    /// How many there are.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// The slot of the port that has an address.
    pub(crate) fn port(&self, number: u32, ip: IpAddr) -> Option<u32> {
        self.segments.get(number)?.get(&ip).copied()
    }

    /// The addresses of a port.
    pub(crate) fn of(&self, slot: u32) -> &BTreeSet<IpAddr> {
        const NONE: &BTreeSet<IpAddr> = &BTreeSet::new();
        self.ports.get(slot).unwrap_or(NONE)
    }

    /// Gives an address, which no port of the segment has, to a port.
    pub(crate) fn add(&mut self, number: u32, ip: IpAddr, slot: u32) {
        self.segments.at(number).insert(ip, slot);
        self.ports.at(slot).insert(ip);
        self.len += 1;
    }

    /// Takes an address from the port that has it.
    pub(crate) fn remove(&mut self, number: u32, ip: IpAddr) {
        if let Some(slot) = self.segments.at(number).remove(&ip) {
            self.ports.at(slot).remove(&ip);
            self.len -= 1;
        }
    }

    /// Takes all addresses of a segment away.
    pub(crate) fn remove_segment(&mut self, number: u32) {
        for (ip, slot) in self.segments.take(number) {
            self.ports.at(slot).remove(&ip);
            self.len -= 1;
        }
    }
}
