//! Frames of every sort, out and in.

use std::net::IpAddr;

use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::{every_sort, headless};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::wait::{DEADLINE, until_true};

use crate::{assert_encapsulated, assert_encapsulated_for, flood_to, source_port};

over_each_family! {
    every_sort_of_frame_leaves_as_rfc_7348_has_it,
    every_sort_of_flood_leaves_as_rfc_7348_has_it,
    every_sort_of_frame_is_delivered_as_it_came,
    every_sort_of_flood_is_delivered_as_it_came,
    a_flood_reaches_every_sort_of_target_once,
}

fn every_sort_of_frame_leaves_as_rfc_7348_has_it(family: Family) {
    let wire = Wire::new(family);

    // Over IPv6 these go through the slow-path device (docs/limits.md), which drops headless ones.
    let headless = if family == Family::V4 {
        headless(VM, FAR_VM)
    } else {
        vec![]
    };
    for (what, frame) in every_sort(VM, FAR_VM).into_iter().chain(headless) {
        eprintln!("{what}");
        let got = wire.encap(&frame);

        assert_encapsulated(&wire, &got, &frame, what);
    }
}

fn every_sort_of_flood_leaves_as_rfc_7348_has_it(family: Family) {
    let wire = Wire::new(family);
    flood_to(&wire, wire.far_ip);

    for (what, frame) in every_sort(VM, Mac::BROADCAST) {
        eprintln!("{what}");
        let got = wire.encap(&frame);

        assert_encapsulated(&wire, &got, &frame, what);
    }
}

fn every_sort_of_frame_is_delivered_as_it_came(family: Family) {
    let wire = Wire::new(family);

    for (what, frame) in every_sort(FAR_VM, VM)
        .into_iter()
        .chain(headless(FAR_VM, VM))
    {
        eprintln!("{what}");
        wire.delivers(&wire.tunnelled(GREEN, &frame), &frame);
    }
}

fn every_sort_of_flood_is_delivered_as_it_came(family: Family) {
    let wire = Wire::new(family);

    // A group that bridges forward: the first behind those that they keep to themselves.
    let group = Mac([0x01, 0x80, 0xc2, 0, 0, 0x10]);
    for dst in [Mac::BROADCAST, group, Mac::nth(0x99)] {
        for (what, frame) in every_sort(FAR_VM, dst) {
            eprintln!("{what}");
            wire.delivers(&wire.tunnelled(GREEN, &frame), &frame);
        }
    }
}

fn a_flood_reaches_every_sort_of_target_once(family: Family) {
    let wire = Wire::new(family);
    let neighbour = wire.add_port("tap2", "");
    let [second, unresolved] = [3, 4].map(|host| family.address(0, host));
    wire.ns.ip(&format!(
        "neigh replace {second} lladdr {FAR_MAC} dev {UPLINK} nud permanent"
    ));
    for far in [wire.far_ip, unresolved, second] {
        flood_to(&wire, far);
    }
    until_true("the second peer to be resolved", || {
        let rows = wire.daemon.rows(&format!("peer show {second}"));
        rows.first().is_some_and(|row| !row["mac"].is_null())
    });
    let sorts = every_sort(VM, Mac::BROADCAST);

    for (what, frame) in &sorts {
        eprintln!("{what}");
        neighbour.drain();
        wire.port.send(frame);

        let is_copy = |packet: &&Vec<u8>| wire.is_vxlan(packet) && packet.ends_with(frame);
        let seen = wire
            .uplink
            .collect(DEADLINE, |seen| seen.iter().filter(is_copy).count() == 2);
        let copies: Vec<&Vec<u8>> = seen.iter().filter(is_copy).collect();
        assert_eq!(copies.len(), 2, "{what}: copies to two resolved VTEPs");
        for (far, copy) in [wire.far_ip, second].into_iter().zip(&copies) {
            assert_encapsulated_for(&wire, far, copy, frame, what);
            if family == Family::V4 {
                assert_eq!(
                    copy[18..20],
                    [0, 0],
                    "{what}: made in place, without identification"
                );
            }
        }
        assert_eq!(
            source_port(&wire, copies[0]),
            source_port(&wire, copies[1]),
            "{what}"
        );
        neighbour.expect(frame);
    }

    assert_eq!(wire.left(), Vec::<Vec<u8>>::new(), "no copy more");
    let rows = wire.daemon.rows("stats");
    let sent = |peer: IpAddr| {
        let row = rows
            .iter()
            .find(|row| row["peer"] == peer.to_string() && row["reason"] == "tx");
        row.expect("a row of the peer")["packets"].as_u64()
    };
    let floods = u64::try_from(sorts.len()).unwrap();
    // One more is what `left` sends.
    assert_eq!(sent(wire.far_ip), Some(floods + 1));
    assert_eq!(sent(second), Some(floods));
    assert_eq!(sent(unresolved), Some(floods));
    assert_eq!(wire.daemon.dropped("copy_lost"), 0);
}
