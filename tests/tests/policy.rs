//! What a port may send to whom.

use std::time::Duration;

use vtep_tests::encoder::Mac;
use vtep_tests::lab::GREEN;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::traffic::checks::marked;

/// A MAC behind a second port.
const NEIGHBOUR: Mac = Mac::nth(0x21);
/// A MAC behind a third port.
const OTHER: Mac = Mac::nth(0x22);

#[test]
fn isolated_ports_exchange_no_frames() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    let neighbour = wire.add_port("tap1", &format!("--mac {NEIGHBOUR} --isolated on"));
    let other = wire.add_port("tap2", &format!("--mac {OTHER}"));
    let to_neighbour = marked(VM, NEIGHBOUR, 1).build();
    wire.port.send(&to_neighbour);
    neighbour.expect(&to_neighbour);

    wire.daemon.ok(&format!("port set {PORT} --isolated on"));
    wire.refuses_from_vm(&marked(VM, NEIGHBOUR, 2).build(), "isolated");
    // Floods as well; whoever is not isolated gets them, and so do VTEPs.
    let flooded = marked(VM, Mac::BROADCAST, 3).build();
    wire.port.send(&flooded);
    other.expect(&flooded);
    assert!(wire.left().contains(&flooded), "no copy left for the VTEP");
    assert_eq!(neighbour.recv(Duration::ZERO), None);
    // What is not isolated reaches both, and is reached by both.
    for (mark, to) in (4..).zip([VM, NEIGHBOUR]) {
        let frame = marked(OTHER, to, mark).build();
        other.send(&frame);
        let at = if to == VM { &wire.port } else { &neighbour };
        at.expect(&frame);
    }
    let outer = wire.tunnelled(GREEN, &marked(FAR_VM, NEIGHBOUR, 6).build());
    wire.uplink.send(&outer);
    neighbour.expect(&marked(FAR_VM, NEIGHBOUR, 6).build());

    wire.daemon.ok("port set tap1 --isolated off");
    let again = marked(VM, NEIGHBOUR, 7).build();
    wire.port.send(&again);
    neighbour.expect(&again);
}
