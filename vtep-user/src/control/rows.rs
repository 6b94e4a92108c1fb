//! The state as rows, in a fixed order.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::MacAddr,
    fdb::{FdbKey, FdbTarget},
    id::{PeerId, SegmentId},
    neigh::NeighOrigin,
    peer::Peer,
};

use super::{
    ops::{fdb, find, neigh, peer, port_row, refuse},
    record::{
        claims::MAX_CLAIMED,
        entry::{Entry, key},
        limits::MAX_HOSTS_OF_MAC,
        locals::distinct,
        peer::PeerRecord,
        peers::Peers,
        queue::SECOND,
        segments::Segments,
        settings,
        stamps::Stamps,
    },
    state::State,
};
use crate::model::{
    EntryState, FdbFilter, FdbRow, LimitStatus, NeighRow, NeighState, NexthopRow, PeerRow,
    PeerState, PortRow, Refusal, Vni, VniRow,
};

/// Who made a neigh entry, as rows have it.
const fn neigh_state(origin: NeighOrigin) -> NeighState {
    match origin {
        NeighOrigin::Static => NeighState::Static,
        NeighOrigin::Snooped => NeighState::Snooped,
        NeighOrigin::Port => NeighState::Port,
        NeighOrigin::Nexthop => NeighState::Nexthop,
    }
}

impl State {
    /// What there is room for, and how much of it is used.
    #[must_use]
    pub fn limit_rows(&self) -> Vec<LimitStatus> {
        let Self { limits, fdb, .. } = self;
        let learned: u32 = self
            .segments
            .numbers()
            .map(|number| fdb.learned_in(number))
            .sum();
        let shared = |limit: &str, used: u32, max: u32| LimitStatus {
            limit: limit.to_owned(),
            used: Some(used.into()),
            max: max.into(),
        };
        let each = |limit: &str, max: u32| LimitStatus {
            limit: limit.to_owned(),
            used: None,
            max: max.into(),
        };
        let share = limits.fdb_share(fdb.len()).min(limits.fdb);
        vec![
            shared("fdb", fdb.len(), limits.fdb),
            shared("fdb_learned", learned, limits.fdb - limits.fdb_kept()),
            each("fdb_learned_by_one", share),
            shared("peers", self.peers.len(), limits.peers),
            shared("peers_learned", self.peers.found(), limits.found_peers),
            shared("hosts", neigh::hosts_used(self), limits.neighs),
            shared("hosts_snooped", self.hosts.snooped(), limits.snooped()),
            each("hosts_of_mac", MAX_HOSTS_OF_MAC),
            shared("hosts_claimed", self.run.claims.len(), MAX_CLAIMED),
            shared("vnis", self.segments.len(), limits.segments),
            shared("ports", self.ports.len(), limits.ports),
            shared("nexthops", self.nexthops.room(), limits.nexthops),
        ]
    }

    /// One VNI, or all by number.
    pub fn vni_rows(&self, vni: Option<Vni>) -> Result<Vec<VniRow>, Refusal> {
        let row = |number: SegmentId| vni_row(self, number);
        Ok(match vni {
            Some(vni) => vec![row(find::known_segment(&self.segments, vni)?)],
            None => self.segments.numbers().map(row).collect(),
        })
    }

    /// The ports of one interface, or all, by name and VLAN.
    pub fn port_rows(&self, dev: Option<&str>) -> Result<Vec<PortRow>, Refusal> {
        let mut devices: Vec<_> = match dev {
            Some(dev) => vec![find::known_device(&self.ports, dev)?],
            None => self.ports.devices().collect(),
        };
        devices.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        let mut rows = Vec::new();
        for (_, device) in devices {
            for (_, slot) in device.ports() {
                rows.push(port_row::row(self, slot, device));
            }
        }
        Ok(rows)
    }

    /// The FDB entries that match, by VNI, MAC and VTEP; a flood list is a row with the zero MAC for each VTEP.
    pub fn fdb_rows(&self, filter: &FdbFilter, clock: &dyn Stamps) -> Result<Vec<FdbRow>, Refusal> {
        let FdbFilter {
            vni,
            dst,
            dev,
            learned,
            with_static: _,
        } = filter;
        let numbers = numbers(&self.segments, *vni)?;
        if let Some(dev) = dev {
            find::known_device(&self.ports, dev)?;
        }
        let mut rows = Vec::new();
        for number in numbers {
            let start = rows.len();
            for (mac, entry) in self.fdb.entries(number) {
                if !entry.is_list()
                    && (entry.ages() || !learned)
                    && fdb::points_to(&self.ports, &self.peers, entry, *dst, dev.as_deref())
                {
                    rows.push(entry_row(self, number, mac, entry, clock));
                }
            }
            if dev.is_none() && !learned {
                for mac in self.flood.macs(number).into_iter().chain([MacAddr::ZERO]) {
                    let peers = self.flood.remotes(number, mac).iter();
                    let peers =
                        peers.filter(|&&peer| dst.is_none_or(|dst| dst == self.peers.ip(peer)));
                    rows.extend(peers.map(|&peer| list_row(self, number, mac, peer)));
                }
            }
            rows[start..].sort_unstable_by_key(|row| (row.mac, row.dst));
        }
        Ok(rows)
    }

    /// The entries of one MAC; of the zero MAC the VTEPs on the flood list.
    pub fn fdb_get(
        &self,
        mac: MacAddr,
        vni: Vni,
        clock: &dyn Stamps,
    ) -> Result<Vec<FdbRow>, Refusal> {
        let number = find::known_segment(&self.segments, vni)?;
        let rows = match self.fdb.get(number, mac) {
            Some(entry) if !entry.is_list() => {
                vec![entry_row(self, number, mac, entry, clock)]
            }
            _ => {
                let peers = self.flood.remotes(number, mac).iter();
                let mut rows: Vec<_> = peers
                    .map(|&peer| list_row(self, number, mac, peer))
                    .collect();
                rows.sort_unstable_by_key(|row| row.dst);
                rows
            }
        };
        if rows.is_empty() {
            return Err(refuse::no_entry(mac, vni));
        }
        Ok(rows)
    }

    /// One peer, or all by address.
    pub fn peer_rows(&self, ip: Option<IpAddr>) -> Result<Vec<PeerRow>, Refusal> {
        if let Some(ip) = ip.filter(|&ip| self.peers.vtep(ip).is_none()) {
            return Err(refuse::no_such_peer(ip));
        }
        let mut rows: Vec<_> = self
            .peers
            .iter()
            .map(|(_, peer)| peer)
            .filter(|peer| !peer.is_group() && ip.is_none_or(|ip| ip == peer.ip))
            .map(|peer| {
                let resolved = peer.state == PeerState::Resolved;
                let csum6 = !peer.pod.has(Peer::CSUM6_OFF);
                PeerRow {
                    ip: peer.ip,
                    dev: peer.dev.clone(),
                    mac: resolved.then(|| peer.macs().0),
                    state: if resolved && peer.heard.is_silent() {
                        PeerState::Silent
                    } else {
                        peer.state
                    },
                    mtu: resolved.then_some(peer.pod.mtu),
                    csum6: peer.ip.is_ipv6().then_some(csum6),
                    via: peer.via,
                    source: peer::source(peer),
                    last_heard_s: peer.heard.last_heard_s(self.run.now),
                    mtu_expires_s: resolved.then(|| self.path_expires_s(peer)).flatten(),
                }
            })
            .collect();
        rows.sort_unstable_by_key(|row| row.ip);
        Ok(rows)
    }

    /// For how many seconds what the underlay says of a path is still believed.
    fn path_expires_s(&self, peer: &PeerRecord) -> Option<u64> {
        let until = u64::from(peer.path.learned?.until);
        Some(until.saturating_sub(self.run.now.div_ceil(SECOND)))
    }

    /// The hosts of one VNI, or all, by VNI and address.
    pub fn neigh_rows(
        &self,
        vni: Option<Vni>,
        clock: &dyn Stamps,
    ) -> Result<Vec<NeighRow>, Refusal> {
        let now = clock.now();
        let mut rows = Vec::new();
        for number in numbers(&self.segments, vni)? {
            let start = rows.len();
            for (ip, neigh) in self.hosts.entries(number) {
                let snooped = neigh.is_snooped();
                let seen = match neigh.last_snooped.0 {
                    0 => now,
                    seen => seen,
                };
                rows.push(NeighRow {
                    vni: self.segments.vni(number),
                    ip,
                    lladdr: neigh.mac,
                    state: neigh_state(neigh.origin),
                    dev: neigh
                        .port
                        .and_then(|slot| self.port_name(slot))
                        .map(|(dev, _)| dev.to_owned()),
                    router: neigh.router == Some(true),
                    age_s: snooped.then(|| now.saturating_sub(seen) / SECOND),
                    source: (neigh.origin == NeighOrigin::Static).then_some(neigh.source),
                });
            }
            rows[start..].sort_unstable_by_key(|row| row.ip);
        }
        Ok(rows)
    }

    /// The entries of one VNI, or all, by VNI and prefix.
    pub fn nexthop_rows(&self, vni: Option<Vni>) -> Result<Vec<NexthopRow>, Refusal> {
        let mut rows = Vec::new();
        for number in numbers(&self.segments, vni)? {
            for (ip, value) in self.nexthops.routes(number) {
                if value.origin().is_none() {
                    continue;
                }
                let nexthop = self.nexthops.get(number, ip);
                let via = nexthop.and_then(|nexthop| nexthop.via);
                let mac = value.mac();
                let slot = value.target().get().and_then(FdbTarget::port);
                rows.push(NexthopRow {
                    vni: self.segments.vni(number),
                    ip,
                    via: via.map(|peer| self.peers.ip(peer)),
                    lladdr: (!mac.is_zero()).then_some(mac),
                    dev: slot
                        .and_then(|slot| self.port_name(slot))
                        .map(|(dev, _)| dev.to_owned()),
                    state: match nexthop {
                        Some(_) => NeighState::Static,
                        None => NeighState::Port,
                    },
                    usable: !value.target().is_none(),
                    source: nexthop.map(|nexthop| nexthop.source),
                });
            }
        }
        Ok(rows)
    }
}

fn vni_row(state: &State, number: SegmentId) -> VniRow {
    let pod = &state.segments[number];
    let ports = state.ports.of_segment(number);
    let mut ports: Vec<_> = ports
        .map(|slot| state.ports.device_name(slot).to_owned())
        .collect();
    ports.sort_unstable();
    let mut remotes = ips(&state.peers, state.flood.remotes(number, MacAddr::ZERO));
    remotes.sort_unstable();
    let bridge = state.bridges.of(number);
    VniRow {
        bridge: bridge.map(|name| name.as_str().to_owned()),
        ..settings::row(pod, state.segments.vni(number), distinct(ports), remotes)
    }
}

fn entry_row(
    state: &State,
    number: SegmentId,
    mac: MacAddr,
    entry: Entry,
    clock: &dyn Stamps,
) -> FdbRow {
    let other = state.run.moves.seen_also_at(key(number, mac));
    let (other_dst, other_dev) = state.names_of(other);
    FdbRow {
        vni: state.segments.vni(number),
        mac,
        dst: entry.peer().map(|peer| state.peers.ip(peer)),
        dev: entry
            .port()
            .map(|slot| state.ports.device_name(slot).to_owned()),
        state: entry.state(),
        age_s: age_s(key(number, mac), entry.state(), clock),
        duplicate: entry.is_frozen(),
        source: entry
            .is_static()
            .then(|| port_row::entry_source(state, entry)),
        other_dst,
        other_dev,
    }
}

/// Numbers of the segments of one VNI, or of all, by VNI.
pub(crate) fn numbers(segments: &Segments, vni: Option<Vni>) -> Result<Vec<SegmentId>, Refusal> {
    Ok(match vni {
        Some(vni) => vec![find::known_segment(segments, vni)?],
        None => segments.numbers().collect(),
    })
}

/// The addresses of peers.
fn ips(peers: &Peers, numbers: &[PeerId]) -> Vec<IpAddr> {
    numbers.iter().map(|&number| peers.ip(number)).collect()
}

/// One VTEP of a list.
fn list_row(state: &State, number: SegmentId, mac: MacAddr, peer: PeerId) -> FdbRow {
    let (ip, source) = (state.peers.ip(peer), state.flood.source(number, mac, peer));
    FdbRow {
        vni: state.segments.vni(number),
        mac,
        dst: Some(ip),
        dev: None,
        state: EntryState::Static,
        age_s: None,
        duplicate: false,
        source: Some(source),
        other_dst: None,
        other_dev: None,
    }
}

/// Seconds since a learned entry was last seen.
fn age_s(key: FdbKey, state: EntryState, clock: &dyn Stamps) -> Option<u64> {
    match state {
        EntryState::Static | EntryState::Evpn => None,
        EntryState::Learned => clock
            .last_seen(key)
            .map(|seen| clock.now().saturating_sub(seen) / SECOND),
    }
}
