//! VNIs on bridges: what may be asked of them, and which steps lead to what they ask for, wherever a daemon was killed.

use std::collections::{HashMap, HashSet};

use vtep_common::abi::port::Port;

use super::{
    super::{
        Author, BridgeFacts, BridgePlan, BridgeStep, BridgeView, GateFacts, MemberFacts,
        ReservedFor, Unfit,
    },
    lab::*,
};
use crate::model::{EventKind, Op, PortChange, PortPart, Source, Vni, VniSpec, write};

const BRIDGE: Ifindex = Ifindex::new(50);
const HOST: &str = "02:00:00:00:00:64";
/// The numbers of the first gate's ends.
const INNER: u32 = 60;

fn bridge(name: &str) -> VniSpec {
    VniSpec {
        bridge: Some(name.to_owned()),
        ..VniSpec::default()
    }
}

/// A host whose kernel has a bridge, and what a daemon makes of it.
#[derive(Clone)]
struct Host {
    lab: Lab,
    view: BridgeView,
    refused: HashSet<String>,
    gates_made: u32,
}

impl Host {
    /// With the bridge `br0` and members.
    fn new(members: &[&str]) -> Self {
        let lab = Lab::new();
        let facts = BridgeFacts {
            ifindex: BRIDGE,
            mac: mac(HOST),
            mtu: 1500,
            unfit: None,
            members: members.iter().map(|name| member(&lab, name)).collect(),
        };
        Self {
            lab,
            view: BridgeView {
                bridges: HashMap::from([("br0".to_owned(), facts)]),
                gates: Vec::new(),
            },
            refused: HashSet::new(),
            gates_made: 0,
        }
    }

    /// With a VNI on the bridge, and everything done for it.
    fn settled(members: &[&str]) -> Self {
        let mut host = Self::new(members);
        host.lab.done(&vni_add_with(100, bridge("br0")));
        host.settle();
        host
    }

    fn bridge(&mut self) -> &mut BridgeFacts {
        self.view.bridges.get_mut("br0").unwrap()
    }

    fn plan(&self) -> BridgePlan {
        self.lab.state.tend(&self.view, &self.refused)
    }

    /// The next steps as text.
    fn steps(&self) -> Vec<String> {
        self.plan().steps.iter().map(text).collect()
    }

    /// Does what is to be done, but no more than `most` steps; true if there is no more.
    fn settle_within(&mut self, mut most: usize) -> bool {
        for _ in 0..20 {
            let steps = self.plan().steps;
            if steps.is_empty() {
                return true;
            }
            for step in steps {
                if most == 0 {
                    return false;
                }
                most -= 1;
                self.take(step);
            }
        }
        panic!("it never ends: {:?}", self.steps());
    }

    fn settle(&mut self) {
        assert!(self.settle_within(usize::MAX));
    }

    fn take(&mut self, step: BridgeStep) {
        match step {
            BridgeStep::MakeGate {
                vni, bridge, mtu, ..
            } => {
                let number = INNER + 2 * self.gates_made;
                self.gates_made += 1;
                let outer = (Ifindex::new(number + 1), format!("vtbr{vni}p"));
                let known = facts(outer.0, &outer.1);
                self.lab.links.insert(outer.1.clone(), known);
                self.view.gates.push(GateFacts {
                    vni,
                    inner: (Ifindex::new(number), format!("vtbr{vni}")),
                    outer,
                    mtu,
                    bridge: Some(bridge),
                    up: true,
                });
                self.reserve();
            }
            BridgeStep::SetMtu(gate, mtu) => self.gate(&gate).mtu = mtu,
            BridgeStep::SwitchOn(gate) => self.gate(&gate).up = true,
            BridgeStep::Port(op) => {
                self.lab.author = Author::BRIDGE;
                self.lab.done(&op);
                self.lab.author = Author::CLI;
            }
            BridgeStep::Close(member) => self.member(&member).closed = true,
            BridgeStep::Open(member) => self.member(&member).closed = false,
            BridgeStep::RemoveGate(gate) => {
                self.view.gates.retain(|other| *other != gate);
                if self.lab.state.has_ports_at(gate.outer.0) {
                    self.lab.goes(&gate.outer.1);
                } else {
                    self.lab.links.remove(&gate.outer.1);
                }
                self.reserve();
            }
        }
    }

    fn reserve(&mut self) {
        let mut reserved = HashMap::from([
            (UPLINK, ReservedFor::Uplink),
            (TUNNEL, ReservedFor::SlowPath),
        ]);
        for gate in &self.view.gates {
            reserved.insert(gate.outer.0, ReservedFor::Gate);
            reserved.insert(gate.inner.0, ReservedFor::Gate);
        }
        self.lab.state.set_reserved(reserved);
    }

    fn gate(&mut self, gate: &GateFacts) -> &mut GateFacts {
        let mut gates = self.view.gates.iter_mut();
        gates.find(|other| other.inner == gate.inner).unwrap()
    }

    fn member(&mut self, member: &MemberFacts) -> &mut MemberFacts {
        let members = self.view.bridges.values_mut();
        let mut members = members.flat_map(|bridge| &mut bridge.members);
        members
            .find(|other| other.ifindex == member.ifindex)
            .unwrap()
    }

    /// An interface leaves the bridge.
    fn leaves(&mut self, name: &str) {
        self.bridge().members.retain(|member| member.name != name);
    }

    /// An interface joins the bridge.
    fn joins(&mut self, name: &str) {
        let member = member(&self.lab, name);
        self.bridge().members.push(member);
    }

    /// `DEV source` of each port of the VNI.
    fn ports(&self) -> Vec<String> {
        let rows = self.lab.rows().ports;
        let text = rows.iter().map(|row| format!("{} {}", row.dev, row.source));
        text.collect()
    }

    fn closed(&self) -> Vec<&str> {
        let members = self.view.bridges.values();
        let members = members.flat_map(|bridge| &bridge.members);
        let closed = members.filter(|member| member.closed);
        closed.map(|member| &*member.name).collect()
    }

    /// A new daemon takes over.
    fn restart(&mut self) {
        let adopted = self.lab.adopt();
        self.lab.state = adopted.state;
        self.lab.replay(&adopted.writes);
        self.reserve();
    }
}

fn member(lab: &Lab, name: &str) -> MemberFacts {
    MemberFacts {
        ifindex: lab.links[name].ifindex,
        name: name.to_owned(),
        mtu: 1500,
        carrier: true,
        closed: false,
    }
}

fn text(step: &BridgeStep) -> String {
    match step {
        BridgeStep::MakeGate { vni, mac, mtu, .. } => format!("gate {vni} {mac} {mtu}"),
        BridgeStep::SetMtu(gate, mtu) => format!("mtu {} {mtu}", gate.inner.1),
        BridgeStep::SwitchOn(gate) => format!("up {}", gate.inner.1),
        BridgeStep::Port(op) => write::command(op),
        BridgeStep::Close(member) => format!("close {}", member.name),
        BridgeStep::Open(member) => format!("open {}", member.name),
        BridgeStep::RemoveGate(gate) => format!("remove {}", gate.inner.1),
    }
}

fn port_del(dev: &str) -> Op {
    Op::PortDel {
        dev: dev.to_owned(),
        part: PortPart::default(),
    }
}

#[test]
fn the_gate_comes_first_and_members_are_closed_last() {
    let mut host = Host::new(&["tap0", "tap1"]);
    host.bridge().members[1].mtu = 1450;
    host.lab.done(&vni_add_with(100, bridge("br0")));
    let mut seen = Vec::new();
    loop {
        let plan = host.plan();
        assert_eq!(plan.waits_for, Vec::<String>::new());
        if plan.steps.is_empty() {
            break;
        }
        seen.push(plan.steps.iter().map(text).collect::<Vec<_>>());
        for step in plan.steps {
            host.take(step);
        }
    }

    assert_eq!(
        seen,
        [
            vec![format!("gate 100 {HOST} 1450")],
            vec![
                format!("port add vtbr100p --vni 100 --mac {HOST}"),
                "port add tap0 --vni 100".into(),
                "port add tap1 --vni 100".into()
            ],
            vec!["close tap0".into(), "close tap1".into()],
        ]
    );
    assert_eq!(
        host.ports(),
        ["tap0 bridge", "tap1 bridge", "vtbr100p bridge"]
    );
    let row = host.lab.row(HOST);
    assert_eq!(
        (row.dev, row.source),
        (Some("vtbr100p".into()), Some(Source::Bridge))
    );
}

#[test]
fn a_bridge_that_is_missing_or_unfit_is_waited_for_and_let_go() {
    let mut host = Host::settled(&["tap0"]);
    host.bridge().unfit = Some(Unfit::SpanningTree);
    let why = Unfit::SpanningTree.sentence("br0");
    assert_eq!(
        host.plan().waits_for,
        [format!("bridge br0 of vni 100: {why}")]
    );
    host.settle();
    assert_eq!(host.ports(), Vec::<String>::new());
    assert_eq!(host.closed(), Vec::<&str>::new());
    assert_eq!(host.view.gates, []);

    host.bridge().unfit = None;
    host.settle();
    assert_eq!(host.closed(), ["tap0"]);
    let bridge = host.view.bridges.remove("br0").unwrap();
    host.view.gates[0].bridge = None;
    assert_eq!(
        host.plan().waits_for,
        ["bridge br0 of vni 100, which does not exist"]
    );
    host.settle();
    assert_eq!(host.ports(), Vec::<String>::new());

    // Another one by that name has its own number.
    host.view.bridges.insert(
        "br0".to_owned(),
        BridgeFacts {
            ifindex: Ifindex::new(51),
            ..bridge
        },
    );
    host.settle();
    assert_eq!(host.ports(), ["tap0 bridge", "vtbr100p bridge"]);
    assert_eq!(host.view.gates[0].bridge, Some(Ifindex::new(51)));
}

#[test]
fn members_are_ports_as_long_as_they_are_members() {
    let mut host = Host::settled(&["tap0"]);
    host.joins("tap1");
    assert_eq!(host.steps(), ["port add tap1 --vni 100"]);
    host.settle();
    assert_eq!(host.closed(), ["tap0", "tap1"]);

    host.leaves("tap0");
    assert_eq!(host.steps(), ["port del tap0"]);
    host.lab.state.set_watched(true);
    let Some(BridgeStep::Port(op)) = host.plan().steps.pop() else {
        panic!("it is a port's");
    };
    host.lab.author = Author::BRIDGE;
    let said = host.lab.done(&op).events;
    assert_eq!(
        (said[0].event, said[0].dev.as_deref()),
        (EventKind::PortDown, Some("tap0"))
    );
    let said = host.lab.done(&port_add("tap0", 100)).events;
    assert_eq!(
        (said[0].event, said[0].dev.as_deref()),
        (EventKind::PortUp, Some("tap0"))
    );
    host.lab.author = Author::CLI;
    host.settle();
    assert_eq!(host.ports(), ["tap1 bridge", "vtbr100p bridge"]);

    // Its interface goes: it does not wait.
    host.leaves("tap1");
    let said = host.lab.goes("tap1").events;
    assert_eq!(
        (said[0].event, said[0].dev.as_deref()),
        (EventKind::PortDown, Some("tap1"))
    );
    assert_eq!(host.ports(), ["vtbr100p bridge"]);
    assert_eq!(host.steps(), Vec::<String>::new());
}

#[test]
fn what_the_kernel_opens_is_closed_again() {
    let mut host = Host::settled(&["tap0", "tap1"]);
    host.bridge().members[1].closed = false;
    assert_eq!(host.steps(), ["close tap1"]);
    // The host would reach nobody.
    host.view.gates[0].up = false;
    assert_eq!(host.steps(), ["up vtbr100"]);
    host.settle();
    assert_eq!(host.closed(), ["tap0", "tap1"]);
}

#[test]
fn a_gate_that_somebody_deletes_is_made_again_and_its_port_not_taken_for_the_new_one() {
    let mut host = Host::settled(&["tap0"]);
    host.view.gates.clear();
    let make = host.plan().steps.remove(0);
    host.take(make);
    assert_eq!(
        host.steps(),
        [format!("port add vtbr100p --vni 100 --mac {HOST}")]
    );
    // The MAC is still behind the last one.
    let gone = host.lab.state.link_gone(Ifindex::new(INNER + 1));
    host.lab.replay(&gone.writes);
    host.settle();
    assert_eq!(host.ports(), ["tap0 bridge", "vtbr100p bridge"]);
    assert_eq!(host.lab.fdb(100), [format!("{HOST} vtbr100p")]);
}

#[test]
fn the_gate_follows_the_bridge() {
    let mut host = Host::settled(&["tap0"]);
    let other = "02:00:00:00:00:65";
    host.bridge().mac = mac(other);
    host.bridge().members[0].mtu = 1400;
    assert_eq!(
        host.steps(),
        [
            "mtu vtbr100 1400".to_owned(),
            format!("port set vtbr100p --mac {other}")
        ]
    );
    host.settle();
    assert_eq!(host.lab.fdb(100), [format!("{other} vtbr100p")]);
    // A bridge without members has no MAC for a while.
    host.bridge().mac = mac("00:00:00:00:00:00");
    host.settle();
    assert_eq!(host.lab.fdb(100), Vec::<String>::new());
}

#[test]
fn a_member_that_cannot_be_a_port_is_left_to_the_bridge() {
    let mut host = Host::settled(&["tap0"]);
    host.joins("tap1");
    host.refused.insert("tap1".into());
    assert_eq!(host.steps(), Vec::<String>::new());
    host.bridge().members[1].closed = true;
    assert_eq!(host.steps(), ["open tap1"]);
    // Without a link it stays closed whatever is asked.
    host.bridge().members[1].carrier = false;
    assert_eq!(host.steps(), Vec::<String>::new());
}

#[test]
fn a_member_with_settings_of_its_own_is_whose_those_are() {
    let mut host = Host::settled(&["tap0", "tap1"]);
    let spec = PortSpecOf::mac("tap0", "02:00:00:00:00:01");
    host.lab.done(&spec);
    host.lab.done(&Op::PortSet {
        dev: "tap1".into(),
        change: Box::new(PortChange {
            isolated: Some(true),
            ..PortChange::default()
        }),
    });
    assert_eq!(host.ports(), ["tap0 cli", "tap1 cli", "vtbr100p bridge"]);
    assert_eq!(host.steps(), Vec::<String>::new());
    let dump: Vec<String> = host
        .lab
        .state
        .dump(None, None)
        .into_iter()
        .map(|row| row.command)
        .collect();
    assert_eq!(
        dump,
        [
            "vni add 100 --bridge br0",
            "port add tap0 --vni 100 --mac 02:00:00:00:00:01",
            "port add tap1 --vni 100 --isolated on",
        ]
    );

    // They stay when they leave, and wait when they go.
    host.leaves("tap0");
    host.leaves("tap1");
    host.lab.goes("tap1");
    assert_eq!(host.ports(), ["tap0 cli", "tap1 cli", "vtbr100p bridge"]);
    // What waits for it is brought to it.
    host.lab
        .links
        .insert("tap1".into(), facts(Ifindex::new(30), "tap1"));
    host.joins("tap1");
    assert_eq!(host.steps(), Vec::<String>::new());
    host.lab.comes("tap1", 30);
    assert_eq!(host.steps(), ["close tap1"]);
    // Without settings of its own it is what every member is.
    host.lab.done(&port_del("tap1"));
    host.settle();
    assert_eq!(host.ports(), ["tap0 cli", "tap1 bridge", "vtbr100p bridge"]);
}

/// Ports with a MAC.
struct PortSpecOf;

impl PortSpecOf {
    fn mac(dev: &str, at: &str) -> Op {
        let mut spec = port_spec(dev, 100);
        spec.macs = vec![mac(at)];
        Op::PortAdd(Box::new(spec))
    }
}

#[test]
fn what_is_there_for_a_bridge_is_not_changed_by_hand() {
    let mut host = Host::settled(&["tap0"]);
    let gate = |state: &str| state.contains("vtep's own gate");
    assert!(gate(&host.lab.refused(&port_del("vtbr100p"))));
    assert!(gate(&host.lab.refused(&port_add("vtbr100p", 100))));
    let said = host.lab.refused(&port_del("tap0"));
    assert_eq!(
        said,
        "tap0 is a port of vni 100 because it is a member of bridge br0; take it out of that with: ip link set tap0 nomaster"
    );
    let named = Op::FdbAdd(entry("02:00:00:00:00:01", 100, "tap0"));
    let said = host.lab.refused(&named);
    assert!(
        said.ends_with("vtep port add tap0 --vni 100 --mac MAC"),
        "{said}"
    );
    // Its members are ports of the VNI, and the gate is none of the user's.
    let gentle = |vni| Op::VniDel {
        vni,
        options: crate::model::VniDelete::default(),
    };
    let said = host.lab.refused(&gentle(vni(100)));
    assert!(said.starts_with("vni 100 has 1 port;"), "{said}");
    host.leaves("tap0");
    host.settle();
    host.lab.done(&gentle(vni(100)));
}

#[test]
fn a_bridge_is_in_one_vni() {
    let mut host = Host::settled(&["tap0"]);
    let said = host.lab.refused(&vni_add_with(200, bridge("br0")));
    assert_eq!(
        said,
        "bridge br0 is in vni 100, and a bridge is in one; take it away there first with: vtep vni set 100 --bridge none"
    );
    host.lab.done(&vni_set(100, bridge("none")));
    host.lab.done(&vni_add_with(200, bridge("br0")));
    host.settle();
    assert_eq!(host.lab.vni(200).ports, ["tap0", "vtbr200p"]);
    assert_eq!(host.lab.vni(100).ports, Vec::<String>::new());
    assert_eq!(host.closed(), ["tap0"]);
    assert_eq!(host.view.gates.len(), 1);
}

#[test]
fn a_vni_can_change_to_another_bridge() {
    let mut host = Host::settled(&["tap0"]);
    let other = BridgeFacts {
        ifindex: Ifindex::new(51),
        mac: mac("02:00:00:00:00:65"),
        mtu: 1500,
        unfit: None,
        members: vec![member(&host.lab, "tap1")],
    };
    host.view.bridges.insert("br1".to_owned(), other);

    host.lab.done(&vni_set(100, bridge("br1")));

    assert_eq!(
        host.steps(),
        ["open tap0", "remove vtbr100", "port del tap0"]
    );
    host.settle();
    assert_eq!(host.ports(), ["tap1 bridge", "vtbr100p bridge"]);
    assert_eq!(host.closed(), ["tap1"]);
}

#[test]
fn a_silent_guest_is_found_at_its_port_once_it_has_one() {
    let mut host = Host::settled(&["tap0"]);
    let guest = "02:00:00:00:00:0a";
    let ports = host.lab.state.port_names();
    let gate = ports.filter(|(_, dev, _)| *dev == "vtbr100p");
    let gate = gate.map(|(slot, ..)| slot.get()).next().unwrap();
    host.lab.learn(guest, From::Port(gate));
    assert_eq!(host.lab.fdb(100).len(), 2);

    host.joins("tap1");
    host.settle();

    // It is flooded to until it speaks.
    assert_eq!(host.lab.fdb(100), [format!("{HOST} vtbr100p")]);
}

#[test]
fn a_command_is_refused_what_can_be_no_bridge_and_a_file_waits_for_it() {
    let mut host = Host::new(&[]);
    let unfit = ("br0".to_owned(), Unfit::VlanAware);
    host.lab.state.set_unfit([unfit]);
    let add = vni_add_with(100, bridge("br0"));
    assert_eq!(host.lab.refused(&add), Unfit::VlanAware.sentence("br0"));
    host.lab.author = Author::CONFIG;
    host.lab.done(&add);
    host.lab.author = Author::CLI;
    // It has it, and other settings can be changed.
    host.lab.done(&vni_set(
        100,
        VniSpec {
            ageing_s: Some(9),
            ..VniSpec::default()
        },
    ));
    let said = host.lab.refused(&vni_set(100, bridge("a/b")));
    assert!(said.contains("is not the name of an interface"), "{said}");
}

#[test]
fn a_vni_made_anew_has_the_bridge_that_is_given() {
    let mut host = Host::settled(&["tap0"]);
    let replace = |spec| Op::VniReplace {
        vni: vni(100),
        spec: Box::new(spec),
    };
    host.lab.done(&replace(bridge("br0")));
    assert_eq!(host.steps(), Vec::<String>::new());
    host.lab.done(&replace(VniSpec::default()));
    assert_eq!(host.lab.vni(100).bridge, None);
    assert_eq!(
        host.steps(),
        ["open tap0", "remove vtbr100", "port del tap0"]
    );
}

/// Something that happens, in words and as it is done.
type NamedChange = (&'static str, fn(&mut Host));

/// What a VNI with a bridge can come to.
fn ends() -> [NamedChange; 5] {
    [
        ("is made", |_| ()),
        ("loses it", |host| {
            drop(host.lab.done(&vni_set(100, bridge("none"))));
        }),
        ("is deleted", |host| drop(host.lab.done(&vni_del(vni(100))))),
        ("has a member less", |host| host.leaves("tap1")),
        ("gets a member", |host| host.joins("tap2")),
    ]
}

#[test]
fn a_daemon_that_was_killed_anywhere_leaves_what_the_next_one_puts_right() {
    for (what, happens) in ends() {
        let fresh = || {
            let mut host = Host::new(&["tap0", "tap1"]);
            host.lab.done(&vni_add_with(100, bridge("br0")));
            if what != "is made" {
                host.settle();
            }
            happens(&mut host);
            host
        };
        let mut straight = fresh();
        straight.settle();
        let mut most = 0;
        loop {
            let mut host = fresh();
            let done = host.settle_within(most);
            host.restart();
            host.settle();
            let at = format!("the VNI {what}, killed after {most} steps");
            assert_eq!(host.ports(), straight.ports(), "{at}");
            assert_eq!(host.closed(), straight.closed(), "{at}");
            assert_eq!(host.view.gates.len(), straight.view.gates.len(), "{at}");
            assert_eq!(host.lab.fdb_all(), straight.lab.fdb_all(), "{at}");
            if done {
                break;
            }
            most += 1;
        }
        assert!(most > 0, "the VNI {what}");
    }
}

#[test]
fn pins_keep_the_bridge_and_drop_what_is_nobody_s() {
    let mut host = Host::settled(&["tap0"]);
    let stray = SegmentId::new(9);
    let name = vtep_common::abi::port::PortName::new("br9");
    host.lab.maps.bridges.insert(stray, name);
    host.lab.links.remove("tap0");

    let adopted = host.lab.adopt();

    assert_eq!(adopted.notes, Vec::<String>::new());
    host.lab.state = adopted.state;
    host.lab.maps.replay(&adopted.writes);
    assert!(!host.lab.maps.bridges.contains_key(&stray));
    assert_eq!(host.ports(), ["vtbr100p bridge"]);
    assert_eq!(host.lab.vni(100).bridge.as_deref(), Some("br0"));
    let gate = host.lab.port("vtbr100p");
    assert!(gate.has(Port::BRIDGED));
    let of: Vec<Vni> = host.lab.rows().vnis.iter().map(|row| row.vni).collect();
    assert_eq!(of, [vni(100)]);
}
