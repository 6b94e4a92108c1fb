//! Flood lists: that of each VNI, and those of multicast MACs with VTEPs of their own.
//!
//! A list names all ports of its VNI, the one a frame came from included (the data path skips it), and then its VTEPs.

use std::collections::{BTreeMap, BTreeSet};

use bytemuck::Zeroable;
use vtep_common::abi::{addr::MacAddr, flood::FloodList, map::MAX_SEGMENTS};

use super::{numbered::Numbered, slots::Slots};

/// A multicast MAC with VTEPs of its own.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    /// Which of the lists that are no VNI's own.
    number: u32,
    /// Numbers of its peers.
    remotes: Vec<u32>,
}

impl Group {
    /// Number of its flood list.
    const fn list(&self) -> u32 {
        MAX_SEGMENTS + self.number
    }
}

/// The lists of a segment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Lists {
    /// Number of the peer that is its multicast group.
    multicast: Option<u32>,
    /// Numbers of the peers on its own list.
    remotes: Vec<u32>,
    /// The multicast MACs with VTEPs of their own; each has an entry in the FDB too.
    groups: BTreeMap<MacAddr, Group>,
}

/// The lists of all VNIs, by the numbers of their segments. The zero MAC names the VNI's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FloodLists {
    segments: Numbered<Lists>,
    /// The lists of multicast MACs, numbered from [`MAX_SEGMENTS`] on.
    numbers: Slots<()>,
}

impl FloodLists {
    /// How many multicast MACs have a list.
    pub(crate) fn groups(&self) -> u32 {
        self.numbers.len()
    }

    /// The multicast MACs of a segment that have a list.
    pub(crate) fn macs(&self, number: u32) -> Vec<MacAddr> {
        let lists = self.segments.get(number);
        lists.map_or_else(Vec::new, |lists| lists.groups.keys().copied().collect())
    }

    /// True if a multicast MAC has a list.
    pub(crate) fn has(&self, number: u32, mac: MacAddr) -> bool {
        let lists = self.segments.get(number);
        lists.is_some_and(|lists| lists.groups.contains_key(&mac))
    }

    /// The number of the list of `mac`.
    pub(crate) fn list_of(&self, number: u32, mac: MacAddr) -> u32 {
        let lists = self.segments.get(number);
        let group = lists.and_then(|lists| lists.groups.get(&mac));
        group.map_or(number, Group::list)
    }

    /// The peers on the list of `mac`.
    pub(crate) fn remotes(&self, number: u32, mac: MacAddr) -> &[u32] {
        let Some(lists) = self.segments.get(number) else {
            return &[];
        };
        if mac.is_zero() {
            return &lists.remotes;
        }
        let group = lists.groups.get(&mac);
        group.map_or(&[], |group| group.remotes.as_slice())
    }

    fn remotes_mut(&mut self, number: u32, mac: MacAddr) -> &mut Vec<u32> {
        let lists = self.segments.at(number);
        if mac.is_zero() {
            return &mut lists.remotes;
        }
        let group = lists.groups.get_mut(&mac);
        &mut group.expect("checked by the caller").remotes
    }

    /// The multicast group of a VNI.
    pub(crate) fn multicast(&self, number: u32) -> Option<u32> {
        self.segments.get(number)?.multicast
    }

    /// Makes another peer, or none, the multicast group of a VNI; returns the one so far.
    pub(crate) fn set_multicast(&mut self, number: u32, new: Option<u32>) -> Option<u32> {
        std::mem::replace(&mut self.segments.at(number).multicast, new)
    }

    /// Where floods of a VNI leave for: its multicast group, and the peers on its own list.
    pub(crate) fn targets(&self, number: u32) -> impl Iterator<Item = u32> {
        self.multicast(number)
            .into_iter()
            .chain(self.remotes(number, MacAddr::ZERO).iter().copied())
    }

    /// Targets on the list of `mac` beside ports.
    pub(crate) fn targets_on(&self, number: u32, mac: MacAddr) -> usize {
        let multicast = self.multicast_on(number, mac);
        self.remotes(number, mac).len() + usize::from(multicast.is_some())
    }

    /// The multicast group on the list of `mac`.
    fn multicast_on(&self, number: u32, mac: MacAddr) -> Option<u32> {
        self.multicast(number).filter(|_| mac.is_zero())
    }

    /// The list of `mac` as it stands in the map.
    pub(crate) fn pod(
        &self,
        number: u32,
        mac: MacAddr,
        ports: &BTreeSet<u32>,
    ) -> Option<Box<FloodList>> {
        pod(
            ports,
            self.multicast_on(number, mac),
            self.remotes(number, mac),
        )
    }

    /// Makes an empty list for a multicast MAC that has none, and returns its number.
    pub(crate) fn add(&mut self, number: u32, mac: MacAddr) -> u32 {
        let own = self.numbers.insert(());
        self.put(number, mac, own, Vec::new())
    }

    /// Takes the list of a multicast MAC over; `own` is its number among the lists that are no VNI's own.
    pub(crate) fn adopt(&mut self, number: u32, mac: MacAddr, own: u32, remotes: Vec<u32>) {
        self.numbers.put(own, ());
        self.put(number, mac, own, remotes);
    }

    fn put(&mut self, number: u32, mac: MacAddr, own: u32, remotes: Vec<u32>) -> u32 {
        let group = Group {
            number: own,
            remotes,
        };
        let list = group.list();
        self.segments.at(number).groups.insert(mac, group);
        list
    }

    /// Takes the list of a multicast MAC away. Returns its number and its peers.
    pub(crate) fn remove(&mut self, number: u32, mac: MacAddr) -> Option<(u32, Vec<u32>)> {
        let group = self.segments.at(number).groups.remove(&mac)?;
        self.numbers.remove(group.number);
        Some((group.list(), group.remotes))
    }

    /// Puts a peer on the list of `mac`.
    pub(crate) fn push(&mut self, number: u32, mac: MacAddr, peer: u32) {
        self.remotes_mut(number, mac).push(peer);
    }

    /// Makes `peer` the only one on the list of `mac`. Returns those so far.
    pub(crate) fn set(&mut self, number: u32, mac: MacAddr, peer: u32) -> Vec<u32> {
        std::mem::replace(self.remotes_mut(number, mac), vec![peer])
    }

    /// Takes those peers off the list of `mac` that `goes` says, and returns them.
    pub(crate) fn take(
        &mut self,
        number: u32,
        mac: MacAddr,
        goes: impl Fn(u32) -> bool,
    ) -> Vec<u32> {
        let remotes = self.remotes_mut(number, mac);
        let (gone, kept) = remotes.drain(..).partition(|&peer| goes(peer));
        *remotes = kept;
        gone
    }

    /// Takes all lists of a segment away. Returns the numbers of those of multicast MACs, and all peers, each as often as it was on
    /// one.
    pub(crate) fn remove_segment(&mut self, number: u32) -> (Vec<u32>, Vec<u32>) {
        let Lists {
            multicast,
            remotes,
            groups,
        } = self.segments.take(number);
        let mut numbers = Vec::new();
        let mut peers: Vec<u32> = multicast.into_iter().collect();
        for group in groups.into_values() {
            self.numbers.remove(group.number);
            numbers.push(group.list());
            peers.extend(group.remotes);
        }
        peers.extend(remotes);
        (numbers, peers)
    }
}

/// The list of these ports and peers; `None` if there are none, for an empty list is not kept. The multicast group of the VNI
/// comes before the VTEPs.
fn pod(ports: &BTreeSet<u32>, multicast: Option<u32>, remotes: &[u32]) -> Option<Box<FloodList>> {
    let remotes = || multicast.iter().chain(remotes);
    let len = ports.len() + remotes().count();
    if len == 0 {
        return None;
    }
    let mut list = Box::new(FloodList::zeroed());
    list.len = u32::try_from(len).expect("limited");
    list.ports = u32::try_from(ports.len()).expect("limited");
    for (target, number) in list.targets.iter_mut().zip(ports.iter().chain(remotes())) {
        *target = *number;
    }
    Some(list)
}
