//! The rates that ports are held to.

use vtep_common::abi::{
    id::PortSlot,
    policer::{Policed, Policer},
    port::Port,
};

use super::super::Write;
use super::lab::*;
use crate::model::{BitRate, FrameRate, Op, PortChange, PortHook, PortSpec};

/// A VNI without ports.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    lab
}

fn set(dev: &str, change: PortChange) -> Op {
    Op::PortSet {
        dev: dev.into(),
        change: Box::new(change),
    }
}

/// What the maps have of rates.
fn policers(lab: &Lab) -> Vec<((PortSlot, Policed), u64)> {
    let policers = lab.maps.policers.iter();
    policers.map(|(at, policer)| (*at, policer.rate)).collect()
}

fn bum_rate(lab: &Lab, dev: &str) -> Option<u64> {
    let rows = lab.state.port_rows(Some(dev)).unwrap();
    rows[0].bum_rate.map(FrameRate::get)
}

#[test]
fn a_port_has_a_thousand_floods_a_second_unless_the_user_says_otherwise() {
    let mut lab = lab();
    lab.done(&port_add("tap0", 100));
    assert_eq!(bum_rate(&lab, "tap0"), Some(1_000));
    let slot = PortSlot::new(0);
    let at = (slot, Policed::Bum);
    assert_eq!(lab.maps.policers[&at], Policer::frames(1_000));
    assert!(lab.port("tap0").has(Port::BUM_RATE));

    lab.done(&Op::PortAdd(Box::new(PortSpec {
        bum_rate: FrameRate::new(7),
        ..port_spec("tap1", 100)
    })));
    lab.done(&Op::PortAdd(Box::new(PortSpec {
        bum_rate: FrameRate::new(0),
        ..port_spec("tap2", 100)
    })));
    assert_eq!(bum_rate(&lab, "tap1"), Some(7));
    assert_eq!(bum_rate(&lab, "tap2"), None);
    assert!(!lab.port("tap2").has(Port::BUM_RATE));
    let other = (PortSlot::new(1), Policed::Bum);
    assert_eq!(policers(&lab), [(at, 1_000), (other, 7)]);
}

#[test]
fn a_rate_changes_alone_and_goes_with_its_port() {
    let mut lab = lab();
    lab.done(&port_add("tap0", 100));
    let slot = PortSlot::new(0);
    let change = |rate| PortChange {
        bum_rate: FrameRate::new(rate),
        ..PortChange::default()
    };
    let write = |rate| Write::Policer(slot, Policed::Bum, Policer::frames(rate));

    // Another rate begins with a full bucket; the same one does not.
    let effect = lab.done(&set("tap0", change(20)));
    assert_eq!(effect.writes, [write(20)]);
    assert_eq!(lab.done(&set("tap0", change(20))).writes, []);
    let other = PortChange {
        max_macs: Some(9),
        ..PortChange::default()
    };
    let effect = lab.done(&set("tap0", other));
    assert_eq!(effect.writes, [Write::Port(slot, lab.port("tap0"))]);
    assert_eq!(bum_rate(&lab, "tap0"), Some(20));

    // No frame meets a flag without a rate.
    let effect = lab.done(&set("tap0", change(0)));
    let port = lab.port("tap0");
    assert!(!port.has(Port::BUM_RATE));
    assert_eq!(effect.writes, [Write::Port(slot, port), write(0)]);
    assert_eq!(policers(&lab), []);
    let effect = lab.done(&set("tap0", change(5)));
    assert_eq!(effect.writes[0], write(5));
    assert_eq!(bum_rate(&lab, "tap0"), Some(5));

    let gone = lab.state.link_gone(lab.links["tap0"].ifindex);
    lab.replay(&gone.writes);
    assert_eq!(bum_rate(&lab, "tap0"), Some(5), "it waits with its rates");
    lab.done(&port_add("tap1", 100));
    lab.done(&vni_del(vni(100)));
    assert_eq!(policers(&lab), []);
}

#[test]
fn rates_in_and_out_are_kept_apart() {
    let mut lab = lab();
    lab.done(&Op::PortAdd(Box::new(PortSpec {
        rate_in: BitRate::new(10_000_000),
        bum_rate: FrameRate::new(0),
        ..port_spec("tap0", 100)
    })));
    let slot = PortSlot::new(0);
    let row = |lab: &Lab| {
        let row = lab.state.port_rows(Some("tap0")).unwrap().remove(0);
        (
            row.rate_in.map(BitRate::get),
            row.rate_out.map(BitRate::get),
        )
    };
    assert_eq!(row(&lab), (Some(10_000_000), None));
    assert_eq!(policers(&lab), [((slot, Policed::In), 10_000_000)]);
    let change = PortChange {
        rate_in: BitRate::new(0),
        rate_out: BitRate::new(500_000),
        ..PortChange::default()
    };
    lab.done(&set("tap0", change));
    assert_eq!(row(&lab), (None, Some(500_000)));
    let port = lab.port("tap0");
    assert!(port.has(Port::RATE_OUT) && !port.has(Port::RATE_IN | Port::BUM_RATE));
    let policer = lab.maps.policers[&(slot, Policed::Out)];
    assert_eq!(policer, Policer::bits(500_000));
    assert_eq!(lab.adopt().writes, []);
    assert_eq!(rows(&lab.adopt().state), lab.rows());
}

#[test]
fn a_refused_attachment_gives_the_old_rate_back() {
    let mut lab = lab();
    lab.done(&Op::PortAdd(Box::new(PortSpec {
        bum_rate: FrameRate::new(0),
        ..port_spec("tap0", 100)
    })));
    let change = PortChange {
        hook: Some(PortHook::Xdp),
        bum_rate: FrameRate::new(9),
        ..PortChange::default()
    };
    let effect = lab.done(&set("tap0", change));
    lab.roll_back(&effect.undo.unwrap());
    assert_eq!(bum_rate(&lab, "tap0"), None);
}

#[test]
fn a_new_daemon_takes_rates_over_and_mends_what_does_not_fit() {
    let mut lab = lab();
    lab.done(&port_add("tap0", 100));
    lab.done(&port_add("tap1", 100));
    let at = |slot| (PortSlot::new(slot), Policed::Bum);
    // In use meanwhile.
    let used = lab.maps.policers.get_mut(&at(0)).unwrap();
    used.used_until = 77;
    let adopted = lab.adopt();
    assert_eq!(adopted.writes, []);
    assert_eq!(rows(&adopted.state), lab.rows());

    // Of another build; of a port that has none; of no port; and none where a port has one.
    lab.maps.policers.get_mut(&at(0)).unwrap().burst = 1;
    lab.maps.policers.remove(&at(1));
    lab.maps.policers.insert(at(9), Policer::frames(1));
    let adopted = lab.adopt();
    lab.state = adopted.state;
    lab.replay(&adopted.writes);
    assert_eq!(policers(&lab), [(at(0), 1_000)]);
    assert_eq!(lab.maps.policers[&at(0)], Policer::frames(1_000));
    assert_eq!(bum_rate(&lab, "tap1"), None);
    assert!(!lab.maps.ports[&PortSlot::new(1)].has(Port::BUM_RATE));
    assert_eq!(lab.adopt().writes, []);
}
