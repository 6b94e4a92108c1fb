//! A frame that is decided on while the daemon makes a change: the tables move on between any two looks into them.
//!
//! Whatever the frame meets, it is sent with a VNI that its sender was in on its way, and reaches only ports that are in such a VNI then.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    hash::Hash,
};

use proptest::{collection::vec, prelude::*, sample::select};
use vtep_common::{
    abi::{
        addr::VtepAddr,
        address::Address,
        config::Config,
        fdb::{FdbKey, FdbValue, FdbWord},
        flood::FloodList,
        hash_table::numbered,
        id::{ListId, PeerId, PortSlot, SegmentId},
        neigh::{NeighKey, NeighValue},
        nexthop::NexthopValue,
        peer::Peer,
        policer::{Policed, Policer},
        port::{Port, PortKey},
        segment::Segment,
        uplink::UplinkWord,
    },
    decide::{
        port::PortStage,
        tunnel::{DecapStage, TunnelKey},
    },
    frame::{
        packet::{Meta, Tag},
        vlan::ShownVlan,
    },
    runtime::tables::Tables,
    sim::{
        HostTables, decide_port, decide_tunnel, decide_uplink,
        decision::{Decision, Verdict},
    },
    testkit::build::{Ip, Underlay, ethernet},
    wire::vlan,
};

use super::{lab::*, model::Model, random::any_op};
use crate::model::{Op, PortChange, PortPart};

const MACS: [&str; 4] = [
    "02:00:00:00:00:01",
    "02:00:00:00:00:02",
    "02:00:00:00:00:03",
    "ff:ff:ff:ff:ff:ff",
];
/// A MAC of which nobody knows.
const STRANGER: &str = "02:00:00:00:00:77";
const VTEPS: [&str; 2] = ["192.0.2.2", "192.0.2.3"];
const VNIS: [u32; 3] = [1, 2, 3];

/// Where a frame comes from.
#[derive(Clone, Copy, Debug)]
enum Sender {
    /// The interface with this number, and the VLAN of the frame's tag, if it has one.
    Port(u32, u16),
    /// A VTEP, in a VNI, at a hook.
    Vtep(&'static str, u32, DecapStage),
}

/// A frame, and which writes are made between its looks into the tables.
#[derive(Clone, Debug)]
struct Crossing {
    sender: Sender,
    destination: usize,
    /// Writes that are made before it comes.
    start: usize,
    /// Before which look the daemon goes on, and to which write. Both count round.
    steps: Vec<(usize, usize)>,
}

/// The tables after each write, and which of them is seen now.
struct Moving<'a> {
    states: &'a [HostTables],
    steps: &'a [(usize, usize)],
    now: Cell<usize>,
    looks: Cell<usize>,
    /// When each port was last looked at.
    ports: RefCell<HashMap<PortSlot, usize>>,
}

impl<'a> Moving<'a> {
    fn new(states: &'a [HostTables], crossing: &'a Crossing) -> Self {
        Self {
            states,
            steps: &crossing.steps,
            now: Cell::new(crossing.start % states.len()),
            looks: Cell::new(0),
            ports: RefCell::default(),
        }
    }

    /// The tables before and after the writes that come before this look.
    fn look(&self) -> [&'a HostTables; 2] {
        let look = self.looks.replace(self.looks.get() + 1);
        let before = self.now.get();
        let steps = self.steps.iter().filter(|(at, _)| *at == look);
        let after = steps.map(|(_, to)| to % self.states.len());
        self.now.set(after.fold(before, usize::max));
        [before, self.now.get()].map(|at| &self.states[at])
    }

    fn next(&self) -> &'a HostTables {
        self.look()[1]
    }

    /// The value of a key. One that is replaced meanwhile can lead to the value of the key that takes its place (ADR 10).
    fn value<K, V>(&self, key: &K, map: impl Fn(&'a HostTables) -> &'a HashMap<K, V>) -> Option<V>
    where
        K: Eq + Hash + Debug + 'a,
        V: Copy + 'a,
    {
        let [before, after] = self.look().map(map);
        let replaced = before.contains_key(key) && !after.contains_key(key);
        let new = || {
            let new = after.keys().filter(|new| !before.contains_key(new));
            let new = new.min_by_key(|key| format!("{key:?}"))?;
            after.get(new)
        };
        let value = after.get(key);
        value.or_else(|| new().filter(|_| replaced)).copied()
    }
}

impl Tables for Moving<'_> {
    fn config(&self) -> Config {
        self.next().config()
    }

    fn segment(&self, segment: SegmentId) -> Option<&Segment> {
        self.next().segment(segment)
    }

    fn port(&self, slot: PortSlot) -> Option<&Port> {
        let tables = self.next();
        self.ports.borrow_mut().insert(slot, self.now.get());
        tables.port(slot)
    }

    fn peer(&self, peer: PeerId) -> Option<&Peer> {
        self.next().peer(peer)
    }

    fn flood_list(&self, list: ListId) -> Option<&FloodList> {
        self.next().flood_list(list)
    }

    fn neigh(&self, key: &NeighKey) -> Option<NeighValue> {
        self.next().neigh(key)
    }

    fn nexthop(&self, segment: SegmentId, host: &VtepAddr) -> Option<NexthopValue> {
        self.next().nexthop(segment, host)
    }

    fn address(&self, addr: &VtepAddr) -> Address {
        self.next().address(addr)
    }

    fn vni_word(&self, vni: u32) -> u64 {
        let number = self.value(&vni, |tables| &tables.vnis);
        number.map_or(0, |number| numbered(number.get()))
    }

    fn port_word(&self, key: &PortKey) -> u64 {
        let slot = self.value(key, |tables| &tables.port_index);
        slot.map_or(0, |slot| numbered(slot.get()))
    }

    fn segment_of_port(&self, slot: PortSlot) -> SegmentId {
        self.next().segment_of_port(slot)
    }

    fn fdb_word(&self, key: &FdbKey) -> FdbWord {
        let value = self.value(key, |tables| &tables.fdb);
        value.as_ref().map_or(FdbWord::default(), FdbValue::word)
    }

    fn is_listed(&self, segment: SegmentId, peer: PeerId) -> bool {
        self.next().is_listed(segment, peer)
    }

    fn owns(&self, slot: PortSlot, addr: &VtepAddr) -> bool {
        self.next().owns(slot, addr)
    }

    fn is_uplink(&self, word: UplinkWord) -> bool {
        self.next().is_uplink(word)
    }

    fn is_mapped(&self, ifindex: u32, vlan: ShownVlan) -> bool {
        self.next().is_mapped(ifindex, vlan)
    }

    fn policer(&self, slot: PortSlot, what: Policed) -> Policer {
        self.next().policer(slot, what)
    }

    fn answers(&self, slot: PortSlot) -> Policer {
        self.next().answers(slot)
    }

    fn now(&self) -> u64 {
        START
    }

    fn tick(&self) -> u64 {
        0
    }
}

/// The tables as the kernel side sees them.
pub(super) fn host_tables(model: &Model) -> HostTables {
    let nexthops = model.nexthops.iter();
    HostTables {
        config: model.config,
        locals: model.locals.clone(),
        groups: model.groups.clone(),
        vnis: model.vnis.clone(),
        segments: model.segments.clone().into_iter().collect(),
        port_index: model.port_index.clone(),
        ports: model.ports.clone().into_iter().collect(),
        fdb: model.fdb.clone(),
        flood: model.flood.iter().map(|(at, list)| (*at, **list)).collect(),
        peers: model.peers.clone().into_iter().collect(),
        peer_index: model.peer_index.clone(),
        neighs: model.neighs.clone(),
        nexthops: nexthops
            .map(|((bits, key), value)| (*bits, *key, *value))
            .collect(),
        sources: model.sources.iter().map(|key| key.parts()).collect(),
        answered: HashMap::new(),
        policers: model.policers.clone().into_iter().collect(),
        trunks: model
            .trunks
            .iter()
            .map(|(at, vlans)| (*at, **vlans))
            .collect(),
        guarded: model
            .guarded
            .iter()
            .map(|key| (key.port, key.host))
            .collect(),
        uplinks: [(UPLINK.get(), Underlay::DESTINATION)].into(),
        now: START,
        tick: 0,
    }
}

/// The tables now, and after each write of these changes. Refused ones make none.
fn states(lab: &mut Lab, changes: &[Op]) -> Vec<HostTables> {
    let mut states = vec![host_tables(&lab.maps)];
    for change in changes {
        let Ok(effect) = lab.state.apply(change, &lab.links) else {
            continue;
        };
        for write in &effect.writes {
            lab.maps.replay(std::slice::from_ref(write));
            states.push(host_tables(&lab.maps));
        }
    }
    states
}

/// Two VNIs with two ports, a VTEP and a MAC each; one port has a VLAN of the other VNI too.
fn two_tenants() -> Lab {
    let mut lab = Lab::new();
    for (number, devs, vtep) in [
        (1, ["tap0", "tap1"], VTEPS[0]),
        (2, ["tap2", "tap3"], VTEPS[1]),
    ] {
        lab.done(&vni_add(number));
        for dev in devs {
            lab.done(&port_add(dev, number));
        }
        lab.done(&Op::FdbAppend(entry("00:00:00:00:00:00", number, vtep)));
        lab.done(&Op::FdbAdd(entry(MACS[0], number, devs[0])));
        lab.done(&Op::FdbAdd(entry(MACS[1], number, devs[1])));
        lab.done(&Op::FdbAdd(entry(MACS[2], number, vtep)));
    }
    let mut tagged = port_spec("tap1", 2);
    tagged.vlan = vlan(10);
    lab.done(&Op::PortAdd(Box::new(tagged)));
    for vtep in VTEPS {
        lab.resolve(vtep);
    }
    lab
}

/// Changes by which numbers come and go, and ports change hands.
fn any_changes() -> impl Strategy<Value = Vec<Op>> {
    let any_vni = || select(&VNIS[..]);
    let any_dev = || select(&TAPS[..]);
    let del = |number| vni_del(vni(number));
    let set = |dev: &str, number| Op::PortSet {
        dev: dev.to_owned(),
        change: Box::new(PortChange {
            vni: Some(vni(number)),
            ..PortChange::default()
        }),
    };
    let gives_way = (any_vni(), any_vni(), any_dev());
    let moves = (any_dev(), any_vni());
    // Another key takes the place of the one that goes.
    let swap = |(gone, new): (&str, &str), number| {
        let part = PortPart::default();
        let dev = gone.to_owned();
        let mut tagged = port_spec(new, number);
        tagged.vlan = vlan(20);
        vec![Op::PortDel { dev, part }, Op::PortAdd(Box::new(tagged))]
    };
    let some = prop_oneof![
        1 => vec(any_op(), 1..3),
        2 => gives_way.prop_map(move |(old, new, dev)| vec![del(old), vni_add(new), set(dev, new)]),
        1 => ((any_dev(), any_dev()), any_vni()).prop_map(move |(devs, number)| swap(devs, number)),
        1 => moves.clone().prop_map(move |(dev, number)| vec![set(dev, number)]),
        1 => moves.prop_map(|(dev, number)| vec![port_add(dev, number)]),
    ];
    vec(some, 1..4).prop_map(|changes| changes.concat())
}

fn any_crossing() -> impl Strategy<Value = Crossing> {
    let stage = select(
        &[
            DecapStage::Xdp,
            DecapStage::Tc,
            DecapStage::Device,
            DecapStage::Device,
        ][..],
    );
    let vni = prop_oneof![4 => 1_usize..3, 1 => Just(3)];
    let sender = prop_oneof![
        5 => (10_u32..14).prop_map(|dev| Sender::Port(dev, 0)),
        1 => select(&[10, 20][..]).prop_map(|vid| Sender::Port(11, vid)),
        5 => (vni, stage).prop_map(|(vni, stage)| Sender::Vtep(VTEPS[(vni - 1) & 1], VNIS[vni - 1], stage)),
    ];
    let steps = vec((0_usize..40, 0_usize..120), 1..6);
    (sender, 0..MACS.len(), 0_usize..120, steps).prop_map(|(sender, destination, start, steps)| {
        Crossing {
            sender,
            destination,
            start,
            steps,
        }
    })
}

/// What is decided on the frame.
fn decide(crossing: &Crossing, tables: &Moving<'_>) -> Decision {
    let [source, destination] = [STRANGER, MACS[crossing.destination]].map(mac);
    let plain = |tags: &[Tag]| ethernet(destination, source, tags, 0x88b5, &[0x5a; 46]);
    match crossing.sender {
        Sender::Port(ifindex, vid) => {
            let tag = [Tag {
                tpid: vlan::TYPE_8021Q,
                tci: vid,
            }];
            let frame = plain(if vid == 0 { &[] } else { &tag });
            let meta = Meta {
                ifindex,
                ..Meta::default()
            };
            decide_port(&frame, &meta, PortStage::Tc, tables)
        }
        Sender::Vtep(vtep, vni, DecapStage::Device) => {
            let meta = Meta {
                ifindex: TUNNEL.get(),
                ..Meta::default()
            };
            let key = TunnelKey {
                source: ip(vtep).into(),
                destination: Some(locals()[0].into()),
                vni,
            };
            decide_tunnel(&plain(&[]), &meta, &key, tables)
        }
        Sender::Vtep(vtep, vni, stage) => {
            let meta = Meta {
                ifindex: UPLINK.get(),
                ..Meta::default()
            };
            let outer = Underlay::new(Ip::new(ip(vtep), locals()[0]), vni);
            decide_uplink(&outer.frame(&plain(&[])), &meta, stage, tables)
        }
    }
}

/// The VNIs that the sender was in.
fn vnis_of(sender: Sender, states: &[HostTables]) -> BTreeSet<u32> {
    let Sender::Port(ifindex, vlan) = sender else {
        let Sender::Vtep(_, vni, _) = sender else {
            unreachable!()
        };
        return [vni].into();
    };
    let vni = |tables: &HostTables| {
        let at = |vlan| tables.port_index.get(&PortKey::new(ifindex, vlan));
        let slot = at(vlan).or_else(|| at(0))?;
        Some(tables.segments.get(&tables.ports.get(slot)?.segment)?.vni)
    };
    states.iter().filter_map(vni).collect()
}

/// The ports that a decision delivers to, and the VNI that it sends with, if it does.
fn reached(decision: &Decision, tables: &Moving<'_>) -> (Vec<PortSlot>, Option<u32>) {
    let copies = |list, goes: &dyn Fn(PortSlot, &Port) -> bool| {
        let slots = tables
            .flood_list(list)
            .into_iter()
            .flat_map(FloodList::ports);
        let goes = |slot: &PortSlot| tables.port(*slot).is_some_and(|port| goes(*slot, port));
        slots.filter(goes).collect()
    };
    match &decision.verdict {
        Verdict::Encap(encap) => (vec![], Some(encap.fields.vni.get())),
        Verdict::ViaKernel(via) => (vec![], Some(via.vni)),
        Verdict::Deliver(deliver) => (vec![deliver.slot], None),
        Verdict::Flood(flood) => (
            copies(flood.list, &|slot, port| flood.reaches(slot, port)),
            Some(flood.encap.fields.vni.get()),
        ),
        Verdict::FloodPorts(flood) => (copies(flood.list, &|_, port| flood.reaches(port)), None),
        Verdict::Answer(_)
        | Verdict::AnswerTooBig(_)
        | Verdict::Guard
        | Verdict::Neigh
        | Verdict::Unknown
        | Verdict::Resolved(_)
        | Verdict::Clamp(_)
        | Verdict::ClampReceived(_)
        | Verdict::TooBigFor(_)
        | Verdict::Leave(_) => (vec![], None),
    }
}

/// The VNI of a port when it was last looked at.
fn vni_of(slot: PortSlot, tables: &Moving<'_>) -> Option<u32> {
    let at = *tables.ports.borrow().get(&slot)?;
    let tables = &tables.states[at];
    Some(tables.segment(tables.port(slot)?.segment)?.vni)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn a_frame_reaches_only_ports_that_are_in_a_vni_of_its_sender(
        before in vec(any_op(), 0..4),
        during in any_changes(),
        crossings in vec(any_crossing(), 1..64),
    ) {
        let mut lab = two_tenants();
        states(&mut lab, &before);
        let states = states(&mut lab, &during);
        for crossing in &crossings {
            let tables = Moving::new(&states, crossing);
            let decision = decide(crossing, &tables);

            let vnis = vnis_of(crossing.sender, &states);
            let (delivered, sent) = reached(&decision, &tables);
            for slot in delivered {
                let vni = vni_of(slot, &tables).expect("a port that is there");
                prop_assert!(vnis.contains(&vni), "{crossing:?}: {decision:?} reached {slot:?}");
            }
            if let Some(vni) = sent {
                prop_assert!(vnis.contains(&vni), "{crossing:?}: {decision:?} was sent with {vni}");
            }
        }
    }
}
