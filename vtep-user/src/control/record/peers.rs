//! The peers, by number and by address, and how many FDB entries, flood lists and nexthops point to each.

use std::{net::IpAddr, ops::Index};

use vtep_common::abi::{id::PeerId, peer::Peer};

use super::{hash::Map, heard::Heard, peer::PeerRecord, slots::Slots};

/// A peer and what points to it.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    peer: PeerRecord,
    /// FDB entries, flood lists and nexthops.
    references: u32,
    /// Of these, the entries that frames made.
    learned: u32,
}

impl Held {
    /// True if nothing but frames named it.
    const fn is_found(&self) -> bool {
        self.references == self.learned
    }
}

/// All peers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Peers {
    slots: Slots<PeerId, Held>,
    /// Address to number.
    numbers: Map<IpAddr, PeerId>,
    /// Those that nothing but frames named.
    found: u32,
}

impl Peers {
    /// How many there are.
    pub(crate) fn len(&self) -> u32 {
        self.slots.len()
    }

    /// The peer with a number.
    pub(crate) fn get(&self, number: PeerId) -> Option<&PeerRecord> {
        self.slots.get(number).map(|held| &held.peer)
    }

    /// The address of a peer that there is.
    pub(crate) fn ip(&self, number: PeerId) -> IpAddr {
        self[number].ip
    }

    /// All peers, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &PeerRecord)> {
        self.slots.iter().map(|(number, held)| (number, &held.peer))
    }

    /// The number of the VTEP or multicast group `ip`.
    pub(crate) fn number_of(&self, ip: IpAddr) -> Option<PeerId> {
        self.numbers.get(&ip).copied()
    }

    /// The number of the VTEP `ip`.
    pub(crate) fn vtep(&self, ip: IpAddr) -> Option<PeerId> {
        self.number_of(ip).filter(|&number| self.is_vtep(number))
    }

    /// True if there is a peer of that number, and it is no multicast group.
    pub(crate) fn is_vtep(&self, number: PeerId) -> bool {
        self.get(number).is_some_and(|peer| !peer.is_group())
    }

    /// True if more than frames named a peer: the user, or a control plane.
    pub(crate) fn is_named(&self, number: PeerId) -> bool {
        !self.slots[number].is_found()
    }

    /// Refers to a peer once more.
    pub(crate) fn refer(&mut self, number: PeerId) {
        self.change_references(number, |held| held.references += 1);
    }

    /// Says that of the references to a peer one more is an entry that a frame made.
    pub(crate) fn learn(&mut self, number: PeerId) {
        self.change_references(number, |held| held.learned += 1);
    }

    /// How many there are that nothing but frames named.
    pub(crate) const fn found(&self) -> u32 {
        self.found
    }

    /// One that nothing but frames named.
    pub(crate) fn any_found(&self) -> Option<PeerId> {
        let mut found = self.slots.iter().filter(|(_, held)| held.is_found());
        found.next().map(|(number, _)| number)
    }

    fn change_references(&mut self, number: PeerId, change: impl FnOnce(&mut Held)) {
        let held = &mut self.slots[number];
        self.found -= u32::from(held.is_found());
        change(held);
        self.found += u32::from(held.is_found());
    }

    /// Puts a new peer into a free slot, which is returned, and refers to it.
    pub(crate) fn insert(&mut self, peer: PeerRecord) -> PeerId {
        let ip = peer.ip;
        let number = self.slots.insert(Held {
            peer,
            references: 1,
            learned: 0,
        });
        self.numbers.insert(ip, number);
        number
    }

    /// Takes a peer over that has its number, and to which nothing refers yet.
    pub(crate) fn adopt(&mut self, number: PeerId, peer: PeerRecord) {
        self.numbers.insert(peer.ip, number);
        self.slots.put(
            number,
            Held {
                peer,
                references: 0,
                learned: 0,
            },
        );
        self.found += 1;
    }

    /// Refers to a peer once less, where it was referred to by an entry that a frame made, or otherwise. With the last reference it
    /// goes, and is returned.
    pub(crate) fn release(&mut self, number: PeerId, learned: bool) -> Option<PeerRecord> {
        self.change_references(number, |held| {
            held.references -= 1;
            held.learned -= u32::from(learned);
        });
        if self.slots[number].references > 0 {
            return None;
        }
        self.remove(number)
    }

    /// Takes those away to which nothing refers, and returns their numbers.
    pub(crate) fn remove_unused(&mut self) -> Vec<PeerId> {
        let unused = self.slots.iter().filter(|(_, held)| held.references == 0);
        let unused: Vec<PeerId> = unused.map(|(number, _)| number).collect();
        for &number in &unused {
            self.remove(number);
        }
        unused
    }

    fn remove(&mut self, number: PeerId) -> Option<PeerRecord> {
        let held = self.slots.remove(number)?;
        self.found -= u32::from(held.is_found());
        let peer = held.peer;
        self.numbers.remove(&peer.ip);
        Some(peer)
    }

    /// Changes a peer, though not its address, and brings its record in line, `local` being the address that it is sent to from.
    /// Returns the record if it is another than before.
    pub(crate) fn change(
        &mut self,
        number: PeerId,
        (local, udp_port): (Option<IpAddr>, u16),
        change: impl FnOnce(&mut PeerRecord),
    ) -> Option<Peer> {
        let peer = &mut self.slots[number].peer;
        let old = peer.pod;
        change(peer);
        peer.refresh(local, udp_port);
        (peer.pod != old).then_some(peer.pod)
    }

    /// Changes what is known of when a peer was heard, if there is such a peer.
    pub(crate) fn hear(&mut self, number: PeerId, change: impl FnOnce(&mut Heard)) {
        if let Some(held) = self.slots.get_mut(number) {
            change(&mut held.peer.heard);
        }
    }

    /// The multicast groups that something refers to.
    pub(crate) fn used_groups(&self) -> impl Iterator<Item = &PeerRecord> {
        let used = self.slots.iter().filter(|(_, held)| held.references > 0);
        used.map(|(_, held)| &held.peer)
            .filter(|peer| peer.is_group())
    }
}

impl Index<PeerId> for Peers {
    type Output = PeerRecord;

    fn index(&self, number: PeerId) -> &PeerRecord {
        &self.slots[number].peer
    }
}
