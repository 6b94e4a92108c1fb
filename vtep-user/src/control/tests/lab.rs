//! A state, the interfaces around it, and the maps that it writes.

use std::{collections::HashMap, net::IpAddr};

use bytemuck::Zeroable;
use vtep_common::abi::{
    addr::{MacAddr, VtepAddr},
    event::Event,
    fdb::FdbKey,
    flags::ConfigFlags,
    peer::Peer,
    port::Port,
};
/// For the tests, which name what they find in the maps.
pub(super) use vtep_common::abi::{
    fdb::FdbTarget,
    id::{Ifindex, ListId, PeerId, PortSlot, SegmentId},
};
use vtep_common::frame::path_report::PathReport;

use super::{
    super::{
        Adopted, Author, Effect, Limits, LinkFacts, ReservedFor, Resolution, Stamps, State, Undo,
        Write,
    },
    model::Model,
};
use crate::control::record::{others::Others, queue::SECOND};
use crate::model::{
    EntryState, FdbDel, FdbFilter, FdbRow, FdbSpec, NeighRow, NeighState, NexthopRow, Op, PeerRow,
    PortRow, PortSpec, Refusal, Source, Sources, VlanId, Vni, VniDelete, VniRow, VniSpec,
};

pub(super) const UDP_PORT: u16 = 4789;
/// When a lab begins, long after the machine did.
pub(super) const START: u64 = 1_000 * SECOND;
/// The segment of the first VNI that is made.
pub(super) const SEGMENT: SegmentId = SegmentId::new(0);
pub(super) const UPLINK: Ifindex = Ifindex::new(1);
pub(super) const TUNNEL: Ifindex = Ifindex::new(2);
/// Interfaces that exist, `tap0` having number 10.
pub(super) const TAPS: [&str; 4] = ["tap0", "tap1", "tap2", "tap3"];

/// Deletes a VNI with all that it has.
pub(super) fn vni_del(vni: Vni) -> Op {
    let options = VniDelete { force: true };
    Op::VniDel { vni, options }
}

/// A clock that stands still, and a map without stamps.
pub(super) struct NoClock;

impl Stamps for NoClock {
    fn now(&self) -> u64 {
        0
    }

    fn last_seen(&self, _: FdbKey) -> Option<u64> {
        None
    }
}

/// Everything that the user sees.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    pub(super) vnis: Vec<VniRow>,
    pub(super) ports: Vec<PortRow>,
    pub(super) fdb: Vec<FdbRow>,
    pub(super) peers: Vec<PeerRow>,
    pub(super) neighs: Vec<NeighRow>,
    pub(super) nexthops: Vec<NexthopRow>,
}

impl Rows {
    /// What the user made, and what follows from that alone. Nexthops may follow a MAC that was learned, and the advice on MTUs a VTEP.
    pub(super) fn by_user(mut self) -> Self {
        self.fdb.retain(|row| row.state == EntryState::Static);
        self.neighs.retain(|row| row.state != NeighState::Snooped);
        for row in &mut self.nexthops {
            row.usable = true;
            row.dev = row.dev.take().filter(|_| row.state == NeighState::Port);
        }
        for row in &mut self.ports {
            row.mtu_advice = None;
        }
        self.peers.clear();
        self
    }
}

impl Rows {
    /// The same, whoever set it.
    pub(super) fn without_sources(mut self) -> Self {
        for row in &mut self.vnis {
            row.source = Source::Cli;
        }
        for row in &mut self.ports {
            row.source = Source::Cli;
        }
        for row in &mut self.fdb {
            row.source = None;
        }
        for row in &mut self.neighs {
            row.source = None;
        }
        for row in &mut self.nexthops {
            row.source = None;
        }
        self
    }

    /// The same, whoever put VTEPs on lists: that stands in a map of its own.
    pub(super) fn without_sources_of_lists(mut self) -> Self {
        for row in &mut self.fdb {
            if row.mac.is_zero() || row.mac.is_group() {
                row.source = None;
            }
        }
        self
    }
}

#[derive(Clone)]
pub(super) struct Lab {
    pub(super) state: State,
    pub(super) maps: Model,
    pub(super) links: HashMap<String, LinkFacts>,
    /// The time, in nanoseconds.
    pub(super) now: u64,
    /// In whose name changes are made.
    pub(super) author: Author,
}

/// A clock that stands, and the stamps in the maps.
struct MapStamps<'a>(u64, &'a Model);

impl Stamps for MapStamps<'_> {
    fn now(&self) -> u64 {
        self.0
    }

    fn last_seen(&self, key: FdbKey) -> Option<u64> {
        self.1.fdb.get(&key).map(|value| value.last_seen)
    }
}

/// Where a frame comes from: a VTEP's address or a port's slot.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Port(u32),
    Vtep(&'static str),
}

impl Lab {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Self {
        let mut state = State::new(limits, locals(), UDP_PORT);
        state.set_reserved(reserved());
        let mut maps = Model::default();
        maps.replay(&state.start(TUNNEL, ConfigFlags::NONE));
        let taps = (10..)
            .zip(TAPS)
            .map(|(ifindex, name)| (Ifindex::new(ifindex), name.to_owned()));
        let others = [(UPLINK, "eth0".to_owned()), (TUNNEL, "vtep4789".to_owned())];
        let links = taps
            .chain(others)
            .map(|(ifindex, name)| (name.clone(), facts(ifindex, &name)));
        Self {
            state,
            maps,
            links: links.collect(),
            now: START,
            author: Author::CLI,
        }
    }

    /// Lets seconds pass, and the state look at the time.
    pub(super) fn wait(&mut self, seconds: u64) -> Effect {
        self.now += seconds * SECOND;
        let mut all = Effect::default();
        loop {
            let effect = self.tick();
            all = all.then(effect);
            if !self.state.is_behind() {
                return all;
            }
        }
    }

    /// Lets the state look at the time once.
    pub(super) fn tick(&mut self) -> Effect {
        let effect = self.state.tick(&MapStamps(self.now, &self.maps));
        self.replay(&effect.writes);
        effect
    }

    /// As [`Lab::tick`], without the maps.
    pub(super) fn tick_unchecked(&mut self) -> Effect {
        self.state.tick(&MapStamps(self.now, &self.maps))
    }

    /// The event of a frame for one unicast MAC.
    pub(super) fn event(&self, kind: u32, segment: SegmentId, at: &str, from: From) -> Event {
        let mac = mac(at).get();
        let (vtep, port) = match from {
            From::Port(slot) => (VtepAddr::zeroed(), PortSlot::new(slot)),
            From::Vtep(vtep) => (ip(vtep).into(), PortSlot::NONE),
        };
        Event {
            kind,
            segment,
            mac,
            vtep,
            host: VtepAddr::zeroed(),
            port,
            flags: 0,
            time: self.now,
        }
    }

    pub(super) fn take(&mut self, events: &[Event]) -> Effect {
        let effect = self.state.learn(events, &MapStamps(self.now, &self.maps));
        self.replay(&effect.writes);
        effect
    }

    /// As [`Lab::take`], without the maps.
    pub(super) fn learn_unchecked(&mut self, events: &[Event]) -> Effect {
        self.state.learn(events, &MapStamps(self.now, &self.maps))
    }

    /// A frame whose source is not where the FDB has it.
    pub(super) fn learn(&mut self, at: &str, from: From) -> Effect {
        let event = self.event(Event::LEARN, SEGMENT, at, from);
        self.take(&[event])
    }

    /// A host at a MAC says where it is.
    pub(super) fn snoop(&mut self, at: &str, from: From, host: &str, flags: u32) -> Effect {
        let event = Event {
            host: ip(host).into(),
            flags,
            ..self.event(Event::SNOOPED, SEGMENT, at, from)
        };
        self.take(&[event])
    }

    /// `IP MAC state dev` of each host of VNI 100.
    pub(super) fn neighs(&self) -> Vec<String> {
        let clock = MapStamps(self.now, &self.maps);
        let rows = self.state.neigh_rows(Some(vni(100)), &clock).unwrap();
        let text = |row: NeighRow| {
            let router = if row.router { " router" } else { "" };
            let age = row.age_s.map_or(String::new(), |age| format!(" {age}s"));
            let dev = row.dev.map_or(String::new(), |dev| format!(" {dev}"));
            format!("{} {} {}{dev}{age}{router}", row.ip, row.lladdr, row.state)
        };
        rows.into_iter().map(text).collect()
    }

    /// `PREFIX via MAC dev state` of each entry of VNI 100, with a question mark where it leads nowhere.
    pub(super) fn nexthops(&self) -> Vec<String> {
        let rows = self.state.nexthop_rows(Some(vni(100))).unwrap();
        let text = |row: NexthopRow| {
            let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            format!(
                "{} {} {} {} {}{}",
                row.ip,
                or(row.via.map(|ip| ip.to_string())),
                or(row.lladdr.map(|mac| mac.to_string())),
                or(row.dev),
                row.state,
                if row.usable { "" } else { "?" }
            )
        };
        rows.into_iter().map(text).collect()
    }

    /// A frame from a learned MAC.
    pub(super) fn seen(&mut self, at: &str) {
        let key = FdbKey::new(SEGMENT, mac(at));
        self.maps.fdb.get_mut(&key).unwrap().last_seen = self.now;
    }

    /// The one row of a MAC.
    pub(super) fn row(&self, at: &str) -> FdbRow {
        let clock = MapStamps(self.now, &self.maps);
        let rows = self.state.fdb_get(mac(at), vni(100), &clock);
        rows.unwrap().remove(0)
    }

    /// Makes a change and its writes. What is refused leaves everything as it was.
    pub(super) fn apply(&mut self, op: &Op) -> Result<Effect, Refusal> {
        let before = self.state.clone();
        let result = self.state.apply_as(self.author, op, &self.links);
        match &result {
            Ok(effect) => {
                self.maps.replay(&effect.writes);
                self.check();
            }
            Err(_) => assert!(
                self.state == before,
                "{op:?} was refused and changed something"
            ),
        }
        result
    }

    /// Makes a change that is not refused.
    pub(super) fn done(&mut self, op: &Op) -> Effect {
        self.apply(op)
            .unwrap_or_else(|refusal| panic!("{op:?}: {refusal}"))
    }

    /// Takes a change back whose interface cannot be attached.
    pub(super) fn roll_back(&mut self, undo: &Undo) -> Effect {
        let effect = self.state.roll_back(undo, &self.links).unwrap();
        self.replay(&effect.writes);
        effect
    }

    /// An interface goes.
    pub(super) fn goes(&mut self, dev: &str) -> Effect {
        let ifindex = self.links.remove(dev).unwrap().ifindex;
        let effect = self.state.link_gone(ifindex);
        self.replay(&effect.writes);
        effect
    }

    /// An interface comes, and the ports that wait for it.
    pub(super) fn comes(&mut self, dev: &str, ifindex: u32) -> Effect {
        self.links
            .insert(dev.into(), facts(Ifindex::new(ifindex), dev));
        let Some((op, author)) = self.state.link_came(dev) else {
            return Effect::default();
        };
        let before = std::mem::replace(&mut self.author, author);
        let effect = self.done(&op);
        self.author = before;
        effect
    }

    /// The sentence with which a change is refused.
    pub(super) fn refused(&mut self, op: &Op) -> String {
        match self.apply(op) {
            Ok(_) => panic!("{op:?} was not refused"),
            Err(refusal) => refusal.message,
        }
    }

    /// Makes writes that belong to no change of the user's.
    pub(super) fn replay(&mut self, writes: &[Write]) {
        self.maps.replay(writes);
        self.check();
    }

    pub(super) fn resolve(&mut self, peer: &str) {
        let writes = self.state.resolved(ip(peer), resolved());
        self.replay(&writes);
    }

    /// Takes in what the underlay says of a path, by an interface.
    pub(super) fn hear(&mut self, report: &PathReport, came_by: Ifindex) -> Option<(IpAddr, u32)> {
        let clock = MapStamps(self.now, &self.maps);
        let (writes, lowered) = self.state.path_report(report, came_by, &clock);
        self.replay(&writes);
        lowered
    }

    /// Checks that the maps are whole, and that a new daemon would make just this state of them again.
    fn check(&self) {
        self.maps.check_whole(self.state.locals());
        let limits = self.state.limits;
        let mut lists = self.maps.flood.values();
        assert!(lists.all(|list| list.len as usize <= limits.flood_targets));
        assert!(self.maps.fdb.len() <= limits.fdb as usize);
        assert!(self.maps.peers.len() <= limits.peers as usize);
        assert!(self.maps.neighs.len() <= limits.neighs as usize);
        assert!(self.maps.nexthops.len() <= limits.nexthops as usize);
        assert!(self.maps.sources.len() <= limits.sources as usize);
        let known = |ifindex| self.links.values().any(|facts| facts.ifindex == ifindex);
        if !self.state.ports.devices().map(|(at, _)| at).all(known) {
            return;
        }
        let mut adopted = self.adopt();
        assert_eq!(
            (&adopted.writes[..], &adopted.notes[..]),
            (&[][..], &[][..])
        );
        for (number, peer) in self.state.peers.iter() {
            // How an unresolved peer came to be so is asked of the kernel again.
            if !peer.pod.has(Peer::RESOLVED) {
                let path = (peer.state, peer.dev.clone(), peer.via);
                let from = (self.state.local_for(peer.ip), UDP_PORT);
                let peers = &mut adopted.state.peers;
                peers.change(number, from, |new| (new.state, new.dev, new.via) = path);
            }
        }
        assert_eq!(rows(&adopted.state), self.rows());
        assert!(
            adopted.state == self.state,
            "{:#?} is not {:#?}",
            adopted.state,
            self.state
        );
    }

    /// What a new daemon makes of the maps.
    pub(super) fn adopt(&self) -> Adopted {
        let links = self
            .links
            .values()
            .map(|facts| (facts.ifindex, facts.clone()));
        let mut adopted = State::adopt(
            &self.maps.dump(),
            self.state.locals().to_vec(),
            self.state.udp_port,
            self.state.limits,
            &links.collect(),
        );
        adopted.state.set_reserved(self.state.reserved.clone());
        adopted.state.set_own_macs(self.state.own_macs.clone());
        adopted
    }

    pub(super) fn rows(&self) -> Rows {
        rows(&self.state)
    }

    pub(super) fn vni(&self, vni: u32) -> VniRow {
        self.state.vni_rows(Some(self::vni(vni))).unwrap().remove(0)
    }

    /// `MAC dst` or `MAC dev` of each entry of a VNI.
    pub(super) fn fdb(&self, vni: u32) -> Vec<String> {
        let filter = FdbFilter {
            vni: Some(self::vni(vni)),
            ..FdbFilter::default()
        };
        let text = |row: FdbRow| {
            let dst = row.dst.map(|ip| ip.to_string());
            format!("{} {}", row.mac, dst.or(row.dev).unwrap())
        };
        self.state
            .fdb_rows(&filter, &NoClock)
            .unwrap()
            .into_iter()
            .map(text)
            .collect()
    }

    /// The same for all VNIs.
    pub(super) fn fdb_all(&self) -> Vec<String> {
        let vnis = self.rows().vnis;
        vnis.iter()
            .flat_map(|row| self.fdb(row.vni.get()))
            .collect()
    }

    pub(super) fn peers(&self) -> Vec<String> {
        let rows = self.state.peer_rows(None).unwrap();
        rows.iter().map(|row| row.ip.to_string()).collect()
    }

    /// The record of the one port of `dev`.
    pub(super) fn port(&self, dev: &str) -> Port {
        let ifindex = self.links[dev].ifindex;
        *self
            .maps
            .ports
            .values()
            .find(|port| port.ifindex == ifindex.get())
            .unwrap()
    }
}

pub(super) fn rows(state: &State) -> Rows {
    let mut fdb = state.fdb_rows(&FdbFilter::default(), &NoClock).unwrap();
    for row in &mut fdb {
        // Where else a MAC was seen is not in the maps.
        (row.other_dst, row.other_dev) = (None, None);
    }
    let mut peers = state.peer_rows(None).unwrap();
    for row in &mut peers {
        // Nor is it for how long what the underlay says is believed.
        row.mtu_expires_s = None;
    }
    Rows {
        vnis: state.vni_rows(None).unwrap(),
        // Those that wait for their interfaces are not in the maps.
        ports: state.port_rows(None).unwrap(),
        fdb,
        peers,
        neighs: state.neigh_rows(None, &NoClock).unwrap(),
        nexthops: state.nexthop_rows(None).unwrap(),
    }
}

fn reserved() -> HashMap<Ifindex, ReservedFor> {
    HashMap::from([
        (UPLINK, ReservedFor::Uplink),
        (TUNNEL, ReservedFor::SlowPath),
    ])
}

pub(super) fn locals() -> Vec<IpAddr> {
    vec![ip("192.0.2.1"), ip("2001:db8::1")]
}

pub(super) fn facts(ifindex: Ifindex, name: &str) -> LinkFacts {
    LinkFacts {
        ifindex,
        name: name.to_owned(),
        mtu: 1500,
        xdp_target: false,
        other_end: None,
        others: Others::default(),
    }
}

pub(super) fn resolved() -> Resolution {
    Resolution::Resolved {
        oif: UPLINK,
        dev: "eth0".to_owned(),
        src_mac: MacAddr::from_bytes([2, 0, 0, 0, 0, 1]),
        dst_mac: MacAddr::from_bytes([2, 0, 0, 0, 0, 2]),
        mtu: 1500,
        via: None,
        xdp_target: true,
    }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn mac(text: &str) -> MacAddr {
    text.parse().unwrap()
}

pub(super) fn vni(number: u32) -> Vni {
    Vni::new(number).unwrap()
}

pub(super) fn vlan(number: u16) -> Option<VlanId> {
    VlanId::new(number)
}

/// A VNI that learns from any VTEP.
pub(super) fn vni_add(number: u32) -> Op {
    let spec = VniSpec {
        sources: Some(Sources::Any),
        ..VniSpec::default()
    };
    vni_add_with(number, spec)
}

pub(super) fn vni_add_with(number: u32, spec: VniSpec) -> Op {
    Op::VniAdd {
        vni: vni(number),
        spec: Box::new(spec),
    }
}

pub(super) fn vni_set(number: u32, spec: VniSpec) -> Op {
    Op::VniSet {
        vni: vni(number),
        spec: Box::new(spec),
    }
}

pub(super) fn port_spec(dev: &str, number: u32) -> PortSpec {
    PortSpec {
        dev: dev.to_owned(),
        vni: vni(number),
        vlan: None,
        hook: None,
        macs: Vec::new(),
        ips: Vec::new(),
        max_macs: None,
        isolated: None,
        guard: None,
        router: None,
        over_limit: None,
        bum_rate: None,
        rate_in: None,
        rate_out: None,
        delivery: None,
        wait: false,
    }
}

pub(super) fn port_add(dev: &str, number: u32) -> Op {
    Op::PortAdd(Box::new(port_spec(dev, number)))
}

/// `to` is a VTEP's address or a port.
pub(super) fn entry(at: &str, number: u32, to: &str) -> FdbSpec {
    let dst = to.parse().ok();
    FdbSpec {
        mac: mac(at),
        vni: vni(number),
        dst,
        dev: dst.is_none().then(|| to.to_owned()),
    }
}

pub(super) fn fdb_del(at: &str, number: u32, to: Option<&str>) -> Op {
    let spec = to.map(|to| entry(at, number, to));
    Op::FdbDel(FdbDel {
        mac: mac(at),
        vni: vni(number),
        dst: spec.as_ref().and_then(|spec| spec.dst),
        dev: spec.and_then(|spec| spec.dev),
    })
}
