//! The lab itself: everything that is asked of vtep holds of the kernel's own device, and the
//! checks fail where they should.

use std::panic::catch_unwind;
use std::time::Duration;

use vtep_tests::capture::Capture;
use vtep_tests::checks::{self, marked};
use vtep_tests::frame::{Mac, eth};
use vtep_tests::lab::{Attach, GREEN, Kind, Lab};
use vtep_tests::link::Link as _;
use vtep_tests::ns::Ns;
use vtep_tests::tap::Tap;
use vtep_tests::traffic::{inner_v4, ping_once, pings};
use vtep_tests::underlay::{Family, Topology, Underlay};
use vtep_tests::{need_root, over_each_underlay};

const KERNELS: [Kind; 2] = [Kind::Kernel; 2];
const FLAT: Underlay = Underlay {
    family: Family::V4,
    topology: Topology::Flat,
};

over_each_underlay! {
    the_kernel_device_passes_every_check,
    the_kernel_device_floods_exactly_once,
}

fn the_kernel_device_passes_every_check(underlay: Underlay) {
    let lab = Lab::green(underlay, &KERNELS);
    let (a, b) = lab.pair();

    checks::ping_both_ways(&a, &b);
    checks::tcp_both_ways(&a, &b);
    checks::udp_every_size(&a, &b);
    checks::arp_crosses(&a, &b);
    checks::non_ip_crosses(&a, &b);
    checks::every_sort_crosses(&a, &b);
}

fn the_kernel_device_floods_exactly_once(underlay: Underlay) {
    let lab = Lab::green(underlay, &[Kind::Kernel; 3]);
    let vms: Vec<_> = (0..3)
        .map(|at| lab.vm(at, u8::try_from(at).unwrap() + 1, GREEN))
        .collect();
    let links: Vec<_> = vms.iter().map(vtep_tests::lab::Vm::link).collect();

    let frame = marked(vms[0].mac, Mac::BROADCAST, 1).build();

    checks::reaches_exactly_once(&links[0], &frame, &[&links[1], &links[2]], &[&links[0]]);
}

#[test]
fn vms_of_two_vnis_do_not_see_each_other_so_a_ping_can_fail() {
    need_root!();
    let lab = Lab::green(FLAT, &KERNELS);
    lab.segment(200);
    let (a, b) = (lab.vm(0, 1, GREEN), lab.vm(1, 2, 200));

    assert!(!pings(&a.ns, b.v4, Duration::from_millis(600)));
}

#[test]
fn a_vm_behind_a_virtio_tap_has_offloads_and_reaches_the_others() {
    need_root!();
    let lab = Lab::green(FLAT, &KERNELS);
    let (a, b) = (
        lab.vm_by(Attach::TapVnet, 0, 1, GREEN),
        lab.vm_by(Attach::TapPlain, 1, 2, GREEN),
    );

    checks::tcp_both_ways(&a, &b);
}

#[test]
fn a_frame_that_arrives_twice_is_noticed() {
    need_root!();
    let (near, far) = (Ns::new("near"), Ns::new("far"));
    near.veth("v0", &far, "v0");
    let [sender, receiver] = [&near, &far].map(|ns| Capture::arriving(ns, "v0"));
    let frame = marked(Mac::nth(1), Mac::BROADCAST, 1).build();
    sender.send(&frame);

    let twice = catch_unwind(|| checks::reaches_exactly_once(&sender, &frame, &[&receiver], &[]));

    assert!(twice.is_err());
}

#[test]
fn a_tag_that_the_kernel_took_out_is_seen_all_the_same() {
    need_root!();
    let (near, far) = (Ns::new("near"), Ns::new("far"));
    near.veth("v0", &far, "v0");
    let [sender, receiver] = [&near, &far].map(|ns| Capture::arriving(ns, "v0"));
    let tagged = eth(Mac::nth(1), Mac::nth(2))
        .vlan(0x600a)
        .ethertype(0x88cc)
        .payload(1, 50)
        .build();

    sender.send(&tagged);

    receiver.expect(&tagged);
}

#[test]
fn a_tap_carries_frames_byte_for_byte_both_ways() {
    need_root!();
    let ns = Ns::new("tap");
    for (dev, open) in [
        ("plain", Tap::new as fn(&Ns, &str) -> Tap),
        ("vnet", Tap::with_vnet_header),
    ] {
        let tap = open(&ns, dev);
        let inside = Capture::arriving(&ns, dev);
        let frame = marked(Mac::nth(1), ns.mac(dev), 9).build();

        tap.send(&frame);
        inside.expect(&frame);
        inside.send(&frame);
        tap.expect(&frame);
    }
}

#[test]
fn nobody_answers_for_an_address_that_is_not_there() {
    need_root!();
    let ns = Ns::new("alone");

    assert!(!ping_once(
        &ns,
        inner_v4(9).into(),
        1,
        Duration::from_millis(50)
    ));
}
