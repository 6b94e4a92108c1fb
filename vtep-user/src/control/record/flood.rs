//! Flood lists: that of each VNI, and those of multicast MACs with VTEPs of their own.
//!
//! A list names all ports of its VNI, the one a frame came from included (the data path skips it), and then its VTEPs.

use std::collections::{BTreeMap, BTreeSet};

use vtep_common::abi::{
    addr::MacAddr,
    flood::FloodList,
    id::{Id, ListId, PeerId, PortSlot, SegmentId},
    map::{MAX_FLOOD_LISTS, MAX_SEGMENTS},
};

use super::{
    author,
    numbered::Numbered,
    slots::{SlotId, Slots},
};
use crate::model::Source;

/// Which of the lists that are no VNI's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupList(u32);

impl GroupList {
    /// From the number of a list, if it is one of these.
    fn from_list(list: ListId) -> Option<Self> {
        let number = list.get().checked_sub(MAX_SEGMENTS)?;
        (list.get() < MAX_FLOOD_LISTS).then_some(Self(number))
    }

    /// The list.
    const fn list(self) -> ListId {
        ListId::new(MAX_SEGMENTS + self.0)
    }
}

impl Id for GroupList {
    fn from_number(number: u32) -> Self {
        Self(number)
    }
}

impl SlotId for GroupList {
    const ROOM: u32 = MAX_FLOOD_LISTS - MAX_SEGMENTS;
}

impl From<GroupList> for u32 {
    fn from(list: GroupList) -> Self {
        list.0
    }
}

/// A multicast MAC with VTEPs of its own.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    /// Its list.
    number: GroupList,
    /// Its peers.
    remotes: Remotes,
}

/// The peers on a list.
#[derive(Clone, Debug, Default, PartialEq)]
struct Remotes {
    /// Their numbers.
    peers: Vec<PeerId>,
    /// Those of them that the configuration file put there.
    configured: BTreeSet<PeerId>,
}

impl From<Vec<PeerId>> for Remotes {
    fn from(peers: Vec<PeerId>) -> Self {
        Self {
            peers,
            configured: BTreeSet::new(),
        }
    }
}

impl Group {
    /// Its flood list.
    const fn list(&self) -> ListId {
        self.number.list()
    }
}

/// The lists of a segment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Lists {
    /// Number of the peer that is its multicast group.
    multicast: Option<PeerId>,
    /// The peers on its own list.
    remotes: Remotes,
    /// The multicast MACs with VTEPs of their own; each has an entry in the FDB too.
    groups: BTreeMap<MacAddr, Group>,
}

/// The lists of all VNIs, by the numbers of their segments. The zero MAC names the VNI's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FloodLists {
    segments: Numbered<SegmentId, Lists>,
    /// The lists of multicast MACs, numbered from [`MAX_SEGMENTS`] on.
    numbers: Slots<GroupList, ()>,
}

impl FloodLists {
    /// How many multicast MACs have a list.
    pub(crate) fn groups(&self) -> u32 {
        self.numbers.len()
    }

    /// The multicast MACs of a segment that have a list.
    pub(crate) fn macs(&self, number: SegmentId) -> Vec<MacAddr> {
        let lists = self.segments.get(number);
        lists.map_or_else(Vec::new, |lists| lists.groups.keys().copied().collect())
    }

    /// True if a multicast MAC has a list.
    pub(crate) fn has(&self, number: SegmentId, mac: MacAddr) -> bool {
        let lists = self.segments.get(number);
        lists.is_some_and(|lists| lists.groups.contains_key(&mac))
    }

    /// The number of the list of `mac`.
    pub(crate) fn list_of(&self, number: SegmentId, mac: MacAddr) -> ListId {
        let lists = self.segments.get(number);
        let group = lists.and_then(|lists| lists.groups.get(&mac));
        group.map_or(number.into(), Group::list)
    }

    /// The peers on the list of `mac`.
    pub(crate) fn remotes(&self, number: SegmentId, mac: MacAddr) -> &[PeerId] {
        let list = self.list(number, mac);
        list.map_or(&[], |list| list.peers.as_slice())
    }

    /// Of these, those that the configuration file put there.
    pub(crate) fn configured(&self, number: SegmentId, mac: MacAddr) -> BTreeSet<PeerId> {
        let list = self.list(number, mac);
        list.map_or_else(BTreeSet::new, |list| list.configured.clone())
    }

    /// Who put a peer on the list of `mac`.
    pub(crate) fn source(&self, number: SegmentId, mac: MacAddr, peer: PeerId) -> Source {
        let list = self.list(number, mac);
        author::source(list.is_some_and(|list| list.configured.contains(&peer)))
    }

    /// Says who put a peer on the list of `mac`; true if that is news.
    pub(crate) fn set_source(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        peer: PeerId,
        source: Source,
    ) -> bool {
        let configured = &mut self.remotes_mut(number, mac).configured;
        if author::is_configured(source) {
            configured.insert(peer)
        } else {
            configured.remove(&peer)
        }
    }

    fn list(&self, number: SegmentId, mac: MacAddr) -> Option<&Remotes> {
        let lists = self.segments.get(number)?;
        if mac.is_zero() {
            return Some(&lists.remotes);
        }
        lists.groups.get(&mac).map(|group| &group.remotes)
    }

    fn remotes_mut(&mut self, number: SegmentId, mac: MacAddr) -> &mut Remotes {
        let lists = self.segments.at(number);
        if mac.is_zero() {
            return &mut lists.remotes;
        }
        let group = lists.groups.get_mut(&mac);
        &mut group.expect("checked by the caller").remotes
    }

    /// The multicast group of a VNI.
    pub(crate) fn multicast(&self, number: SegmentId) -> Option<PeerId> {
        self.segments.get(number)?.multicast
    }

    /// Makes another peer, or none, the multicast group of a VNI; returns the one so far.
    pub(crate) fn set_multicast(
        &mut self,
        number: SegmentId,
        new: Option<PeerId>,
    ) -> Option<PeerId> {
        std::mem::replace(&mut self.segments.at(number).multicast, new)
    }

    /// Where floods of a VNI leave for: its multicast group, and the peers on its own list.
    pub(crate) fn targets(&self, number: SegmentId) -> impl Iterator<Item = PeerId> {
        self.multicast(number)
            .into_iter()
            .chain(self.remotes(number, MacAddr::ZERO).iter().copied())
    }

    /// Targets on the list of `mac` beside ports.
    pub(crate) fn targets_on(&self, number: SegmentId, mac: MacAddr) -> usize {
        let multicast = self.multicast_on(number, mac);
        self.remotes(number, mac).len() + usize::from(multicast.is_some())
    }

    /// The multicast group on the list of `mac`.
    fn multicast_on(&self, number: SegmentId, mac: MacAddr) -> Option<PeerId> {
        self.multicast(number).filter(|_| mac.is_zero())
    }

    /// The list of `mac` as it stands in the map.
    pub(crate) fn pod(
        &self,
        number: SegmentId,
        mac: MacAddr,
        ports: &BTreeSet<PortSlot>,
    ) -> Option<Box<FloodList>> {
        pod(
            ports,
            self.multicast_on(number, mac),
            self.remotes(number, mac),
        )
    }

    /// Makes an empty list for a multicast MAC that has none, and returns its number.
    pub(crate) fn add(&mut self, number: SegmentId, mac: MacAddr) -> ListId {
        let own = self.numbers.insert(());
        self.put(number, mac, own, Vec::new())
    }

    /// Takes the list of a multicast MAC over; false if it can be no such list.
    pub(crate) fn adopt(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        list: ListId,
        remotes: &[PeerId],
    ) -> bool {
        let own = GroupList::from_list(list);
        if let Some(own) = own {
            self.numbers.put(own, ());
            self.put(number, mac, own, remotes.to_vec());
        }
        own.is_some()
    }

    fn put(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        own: GroupList,
        remotes: Vec<PeerId>,
    ) -> ListId {
        let group = Group {
            number: own,
            remotes: remotes.into(),
        };
        let list = group.list();
        self.segments.at(number).groups.insert(mac, group);
        list
    }

    /// Takes the list of a multicast MAC away. Returns its number and its peers.
    pub(crate) fn remove(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
    ) -> Option<(ListId, Vec<PeerId>)> {
        let group = self.segments.at(number).groups.remove(&mac)?;
        self.numbers.remove(group.number);
        Some((group.list(), group.remotes.peers))
    }

    /// Puts a peer on the list of `mac`.
    pub(crate) fn push(&mut self, number: SegmentId, mac: MacAddr, peer: PeerId) {
        self.remotes_mut(number, mac).peers.push(peer);
    }

    /// Makes `peer` the only one on the list of `mac`. Returns those so far.
    pub(crate) fn set(&mut self, number: SegmentId, mac: MacAddr, peer: PeerId) -> Vec<PeerId> {
        let list = self.remotes_mut(number, mac);
        list.configured.retain(|other| *other == peer);
        std::mem::replace(&mut list.peers, vec![peer])
    }

    /// Takes those peers off the list of `mac` that `goes` says, and returns them.
    pub(crate) fn take(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        goes: impl Fn(PeerId) -> bool,
    ) -> Vec<PeerId> {
        let list = self.remotes_mut(number, mac);
        let (gone, kept) = list.peers.drain(..).partition(|&peer| goes(peer));
        list.peers = kept;
        list.configured.retain(|&peer| !goes(peer));
        gone
    }

    /// Takes all lists of a segment away. Returns the numbers of those of multicast MACs, and all peers, each as often as it was on
    /// one.
    pub(crate) fn remove_segment(&mut self, number: SegmentId) -> (Vec<ListId>, Vec<PeerId>) {
        let Lists {
            multicast,
            remotes,
            groups,
        } = self.segments.take(number);
        let mut numbers = Vec::new();
        let mut peers: Vec<PeerId> = multicast.into_iter().collect();
        for group in groups.into_values() {
            self.numbers.remove(group.number);
            numbers.push(group.list());
            peers.extend(group.remotes.peers);
        }
        peers.extend(remotes.peers);
        (numbers, peers)
    }
}

/// The list of these ports and peers; `None` if there are none, for an empty list is not kept. The multicast group of the VNI
/// comes before the VTEPs.
fn pod(
    ports: &BTreeSet<PortSlot>,
    multicast: Option<PeerId>,
    remotes: &[PeerId],
) -> Option<Box<FloodList>> {
    let remotes = || multicast.iter().chain(remotes);
    if ports.is_empty() && remotes().next().is_none() {
        return None;
    }
    let list = FloodList::new(ports.iter().copied(), remotes().copied());
    Some(Box::new(list.expect("limited")))
}
