//! How frames reach a port, as others set something at its interface and the operator changes his mind.

use vtep_common::abi::{id::Ifindex, port::Port};

use super::lab::*;
use crate::control::{Others, Write};
use crate::model::{Op, PortChange, PortDelivery};

/// A port that XDP can reach.
fn lab() -> (Lab, Ifindex) {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    lab.done(&port_add("tap0", 100));
    let ifindex = Ifindex::new(lab.port("tap0").ifindex);
    let facts = lab.links.get_mut("tap0").unwrap();
    facts.xdp_target = true;
    let facts = facts.clone();
    let writes = lab.state.link_changed(&facts);
    lab.replay(&writes);
    (lab, ifindex)
}

fn tbf() -> Others {
    Others {
        qdisc: Some("tbf".into()),
        ..Others::default()
    }
}

/// Others set so much at the interface of the port.
fn set(lab: &mut Lab, others: Others) -> Vec<Write> {
    let facts = lab.links.get_mut("tap0").unwrap();
    facts.others = others.clone();
    let ifindex = facts.ifindex;
    let writes = lab.state.others_changed(ifindex, others);
    lab.replay(&writes);
    writes
}

fn want(lab: &mut Lab, delivery: PortDelivery) {
    let change = PortChange {
        delivery: Some(delivery),
        ..PortChange::default()
    };
    lab.done(&Op::PortSet {
        dev: "tap0".into(),
        change: Box::new(change),
    });
}

/// Whether XDP delivers to the port, and what its row says.
fn seen(lab: &Lab) -> (bool, String, usize) {
    let port = lab.port("tap0");
    let rows = lab.state.port_rows(Some("tap0")).unwrap();
    let delivery = rows[0].delivery.clone().unwrap();
    let fast = port.has(Port::XDP_TARGET);
    (fast, delivery, rows[0].bypasses.len())
}

#[test]
fn a_queue_that_others_set_is_passed_from_then_on_until_it_goes() {
    let (mut lab, _) = lab();
    assert_eq!(seen(&lab), (true, "xdp".into(), 0));
    assert!(matches!(set(&mut lab, tbf())[..], [Write::Port(..)]));
    assert_eq!(seen(&lab), (false, "qdisc".into(), 0));
    assert_eq!(set(&mut lab, tbf()), []);
    set(&mut lab, Others::default());
    assert_eq!(seen(&lab), (true, "xdp".into(), 0));
}

#[test]
fn what_the_operator_wants_takes_effect_at_once_and_again_after_what_others_do() {
    let (mut lab, ifindex) = lab();
    want(&mut lab, PortDelivery::Fast);
    set(&mut lab, tbf());
    assert_eq!(seen(&lab), (true, "xdp".into(), 1));
    assert_eq!(lab.state.bypasses(ifindex).len(), 1);
    want(&mut lab, PortDelivery::Auto);
    assert_eq!(seen(&lab), (false, "qdisc".into(), 0));
    want(&mut lab, PortDelivery::Qdisc);
    set(&mut lab, Others::default());
    assert_eq!(seen(&lab), (false, "qdisc".into(), 0));
}

#[test]
fn what_others_have_set_at_an_interface_goes_with_it() {
    let (mut lab, ifindex) = lab();
    set(&mut lab, tbf());
    lab.goes("tap0");
    assert_eq!(lab.state.others_changed(ifindex, tbf()), []);
    lab.comes("tap0", 77);
    assert_eq!(lab.state.others_at(Ifindex::new(77)), Others::default());
}
