//! Traces: which frame is made for one, what is refused, and what the rows say.

use vtep_common::{abi::port::PortKey, sim::trace::trace};

use super::{interleaving::host_tables, lab::*};
use crate::{
    control::{Traced, TracedUplink},
    model::{
        FrameBytes, NeighSpec, NexthopSpec, Op, PortSpec, TraceAt, TraceRow, TraceSpec, TraceStep,
        TraceTo, Value as _, VniSpec,
    },
};

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";
const FAR: &str = "192.0.2.2";

/// A lab with VNI 100, a port with a MAC, and a MAC behind a VTEP.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    let spec = PortSpec {
        macs: vec![mac(A)],
        ..port_spec("tap0", 100)
    };
    lab.done(&Op::PortAdd(Box::new(spec)));
    lab.done(&Op::FdbAdd(entry(B, 100, FAR)));
    lab.resolve(FAR);
    lab
}

fn to(dev: &str, dst: &str) -> TraceAt {
    TraceAt {
        dev: dev.into(),
        spec: TraceSpec {
            dst: Some(TraceTo::read(dst).unwrap()),
            ..TraceSpec::default()
        },
    }
}

fn bytes(dev: &str, hex: &str) -> TraceAt {
    TraceAt {
        dev: dev.into(),
        spec: TraceSpec {
            frame: Some(FrameBytes::read(hex).unwrap()),
            ..TraceSpec::default()
        },
    }
}

fn traced(lab: &Lab, at: &TraceAt) -> Traced {
    lab.state.traced(at, TracedUplink::None).unwrap()
}

fn refused(lab: &Lab, at: &TraceAt) -> String {
    let refusal = lab
        .state
        .traced(at, TracedUplink::None)
        .expect_err("refused");
    refusal.to_string()
}

/// The rows of a trace, by the maps.
fn rows(lab: &Lab, at: &TraceAt) -> Vec<TraceRow> {
    let tables = host_tables(&lab.maps);
    let traced = traced(lab, at);
    let hops = trace(traced.arrived(false), &tables);
    lab.state.trace_rows(&traced, &hops, &tables)
}

/// The first row: what the frame is.
fn frame(lab: &Lab, at: &TraceAt) -> String {
    rows(lab, at).remove(0).text
}

#[test]
fn a_made_frame_comes_from_a_mac_that_is_known_behind_the_port() {
    let mut lab = lab();
    assert!(frame(&lab, &to("tap0", B)).contains(&format!("from {A} to {B}")));

    lab.done(&port_add("tap1", 100));
    let rows_of_stranger = rows(&lab, &to("tap1", B));
    let notes = &rows_of_stranger[1].text;
    assert!(
        notes.starts_with("no MAC is known behind port tap1"),
        "{notes}"
    );
    lab.links.get_mut("tap2").unwrap().other_end = Some(mac("02:00:00:00:00:0e"));
    lab.done(&port_add("tap2", 100));
    assert!(frame(&lab, &to("tap2", B)).contains("from 02:00:00:00:00:0e"));
    let slot = lab.maps.port_index[&PortKey::new(11, 0)];
    lab.learn("02:00:00:00:00:0d", From::Port(slot.get()));
    assert!(frame(&lab, &to("tap1", B)).contains("from 02:00:00:00:00:0d"));
    let mut named = to("tap1", B);
    named.spec.src = Some(mac("02:00:00:00:00:0f"));
    assert!(frame(&lab, &named).contains("from 02:00:00:00:00:0f"));
    named.spec.src = Some(mac("ff:ff:ff:ff:ff:ff"));
    assert!(refused(&lab, &named).contains("--src MAC"));
}

#[test]
fn an_ip_is_looked_up_in_every_table_that_knows_hosts() {
    let mut lab = lab();
    let far = "10.0.0.2";
    let unknown = refused(&lab, &to("tap0", far));
    assert_eq!(
        unknown,
        "vtep does not know the MAC of 10.0.0.2 in vni 100; give the one that the sender writes: vtep trace tap0 --dst MAC"
    );
    lab.done(&Op::NeighAdd(NeighSpec {
        ip: ip(far),
        vni: vni(100),
        lladdr: Some(mac(B)),
        router: false,
    }));
    assert!(frame(&lab, &to("tap0", far)).contains("IPv4 0.0.0.0 to 10.0.0.2"));
    lab.done(&Op::NexthopAdd(NexthopSpec {
        ip: "10.1.0.0/16".parse().unwrap(),
        vni: vni(100),
        via: Some(ip(FAR)),
        lladdr: None,
    }));
    let routed = rows(&lab, &to("tap0", "10.1.2.3"));
    assert!(routed[1].text.contains("the nexthop table has 10.1.0.0/16"));
    let said = routed.iter().find(|row| row.step == TraceStep::Nexthop);
    assert!(said.unwrap().text.contains("behind VTEP 192.0.2.2"));
    for (group, at) in [
        ("255.255.255.255", "ff:ff:ff:ff:ff:ff"),
        ("ff02::1", "33:33:00:00:00:01"),
    ] {
        assert!(frame(&lab, &to("tap0", group)).contains(&format!("to {at}")));
    }
}

#[test]
fn a_port_of_several_vlans_is_asked_which_one() {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    for id in [10, 20] {
        let spec = PortSpec {
            vlan: vlan(id),
            ..port_spec("tap0", 100)
        };
        lab.done(&Op::PortAdd(Box::new(spec)));
    }
    assert_eq!(
        refused(&lab, &to("tap0", B)),
        "port tap0 takes no untagged frames, and has VLANs 10, 20; say which one with: --vlan ID"
    );
    let mut at = to("tap0", B);
    at.spec.vlan = vlan(20);
    assert!(frame(&lab, &at).contains("VLAN 20"));
    at.spec.vlan = vlan(30);
    assert!(refused(&lab, &at).contains("no vlan 30"));
}

#[test]
fn what_is_no_frame_of_the_port_is_refused() {
    let mut lab = lab();
    let neither = TraceAt {
        dev: "tap0".into(),
        spec: TraceSpec::default(),
    };
    assert!(refused(&lab, &neither).contains("--frame HEX"));
    let mut both = to("tap0", B);
    both.spec.frame = Some(FrameBytes::read("00").unwrap());
    assert!(refused(&lab, &both).contains("give either"));
    let mut sized = bytes("tap0", "00");
    sized.spec.size = Some(100);
    assert!(refused(&lab, &sized).contains("give either"));
    for size in [0, 59, 16_385] {
        let mut at = to("tap0", B);
        at.spec.size = Some(size);
        assert!(refused(&lab, &at).contains("give --size from 60 to 16384"));
    }
    assert!(refused(&lab, &to("nope", B)).contains("neither a port nor an uplink"));
    lab.goes("tap0");
    assert!(refused(&lab, &to("tap0", B)).contains("waits for its interface"));
    let uplink = lab
        .state
        .traced(&to("eth0", B), TracedUplink::There(UPLINK));
    assert!(
        uplink
            .unwrap_err()
            .to_string()
            .contains("--frame HEX, or --pcap FILE")
    );
    assert!(
        lab.state
            .traced(&bytes("eth0", "00"), TracedUplink::There(UPLINK))
            .is_ok()
    );
}

#[test]
fn the_last_row_says_where_the_frame_goes_or_would_have_gone() {
    let lab = lab();
    let sent = rows(&lab, &to("tap0", B)).pop().unwrap();
    assert_eq!(
        (sent.step, sent.reason.as_deref()),
        (TraceStep::Verdict, Some("encapsulated"))
    );
    assert_eq!((sent.vteps, sent.ports), (vec![ip(FAR)], vec![]));
    assert_eq!(sent.outer.map(|outer| outer.len()), Some(100));
    let mut at = to("tap0", B);
    at.spec.size = Some(9_000);
    let big = rows(&lab, &at).pop().unwrap();
    assert_eq!(
        (big.reason.as_deref(), big.vteps),
        (Some("too_big"), vec![ip(FAR)])
    );
    assert_eq!(big.outer, None);
    let back = rows(&lab, &to("tap0", A)).pop().unwrap();
    assert_eq!(back.reason.as_deref(), Some("same_port"));
}

#[test]
fn no_frame_is_too_short_or_too_strange_for_a_row() {
    let mut lab = lab();
    lab.done(&vni_add_with(200, VniSpec::default()));
    let whole = "02000000000b02000000000a81000007080045000000".repeat(3);
    for len in 1..whole.len() / 2 {
        let rows = rows(&lab, &bytes("tap0", &whole[..2 * len]));
        assert_eq!(rows.last().unwrap().step, TraceStep::Verdict, "{len}");
    }
}
