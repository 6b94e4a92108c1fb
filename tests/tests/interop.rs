//! A VM behind vtep and a VM behind a default Linux `vxlan` device with a bridge, on one segment.

use vtep_tests::encoder::Mac;
use vtep_tests::lab::underlay::Underlay;
use vtep_tests::lab::{Attach, BLUE, GREEN, Kind, Lab, VM_DEV, Vm};
use vtep_tests::link::offload::set_offloads;
use vtep_tests::over_each_underlay;
use vtep_tests::traffic::checks::{self, marked, reaches_exactly_once};

const MIXED: [Kind; 2] = [Kind::Vtep, Kind::Kernel];

over_each_underlay! {
    pings_and_arp_cross,
    tcp_crosses_with_offloads,
    tcp_crosses_without_offloads,
    tcp_crosses_between_a_virtio_tap_and_the_kernel,
    udp_of_every_size_arrives_as_sent,
    every_sort_of_frame_crosses_as_sent,
    floods_reach_everybody_exactly_once,
    two_vnis_stay_apart,
}

fn pings_and_arp_cross(underlay: Underlay) {
    let lab = Lab::green(underlay, &MIXED);
    let (ours, theirs) = lab.pair();

    checks::ping_both_ways(&ours, &theirs);
    checks::arp_crosses(&ours, &theirs);
    checks::arp_crosses(&theirs, &ours);
    checks::non_ip_crosses(&ours, &theirs);
}

fn tcp_crosses_with_offloads(underlay: Underlay) {
    tcp_crosses(underlay, true);
}

fn tcp_crosses_without_offloads(underlay: Underlay) {
    tcp_crosses(underlay, false);
}

fn tcp_crosses(underlay: Underlay, offloads: bool) {
    let lab = Lab::green(underlay, &MIXED);
    let (ours, theirs) = lab.pair();
    for vm in [&ours, &theirs] {
        set_offloads(&vm.ns, VM_DEV, offloads);
    }

    checks::tcp_both_ways(&ours, &theirs);
}

fn tcp_crosses_between_a_virtio_tap_and_the_kernel(underlay: Underlay) {
    let lab = Lab::green(underlay, &MIXED);
    let ours = lab.vm_by(Attach::TapVnet, 0, 1, GREEN);
    let theirs = lab.vm(1, 2, GREEN);
    lab.teach(GREEN, &ours);
    lab.teach(GREEN, &theirs);

    checks::tcp_both_ways(&ours, &theirs);
}

fn udp_of_every_size_arrives_as_sent(underlay: Underlay) {
    let lab = Lab::green(underlay, &MIXED);
    let (ours, theirs) = lab.pair();

    checks::udp_every_size(&ours, &theirs);
}

fn every_sort_of_frame_crosses_as_sent(underlay: Underlay) {
    let lab = Lab::green(underlay, &MIXED);
    let (ours, theirs) = lab.pair();

    checks::every_sort_crosses(&ours, &theirs);
}

fn floods_reach_everybody_exactly_once(underlay: Underlay) {
    let lab = Lab::green(underlay, &[Kind::Vtep, Kind::Kernel, Kind::Vtep]);
    let vms: Vec<Vm> = (0_u8..6)
        .map(|n| lab.vm(usize::from(n / 2), n + 1, GREEN))
        .collect();
    let links: Vec<_> = vms.iter().map(Vm::link).collect();

    for (sender, mark) in (0..6).zip(1..) {
        for dst in [
            Mac::BROADCAST,
            Mac([0x01, 0, 0x5e, 1, 1, 1]),
            Mac::nth(0x99),
        ] {
            let frame = marked(vms[sender].mac, dst, mark).build();
            let receivers: Vec<_> = (0..6)
                .filter(|at| *at != sender)
                .map(|at| &links[at])
                .collect();
            reaches_exactly_once(&links[sender], &frame, &receivers, &[&links[sender]]);
        }
    }
}

fn two_vnis_stay_apart(underlay: Underlay) {
    let lab = Lab::green(underlay, &MIXED);
    lab.segment(BLUE);
    let (green_ours, green_theirs) = lab.pair();
    let (blue_ours, blue_theirs) = (lab.vm(0, 1, BLUE), lab.vm(1, 2, BLUE));

    checks::ping_both_ways(&green_ours, &green_theirs);
    checks::ping_both_ways(&blue_ours, &blue_theirs);
    for (from, to, others) in [
        (&green_ours, &green_theirs, [&blue_ours, &blue_theirs]),
        (&blue_theirs, &blue_ours, [&green_ours, &green_theirs]),
    ] {
        let [near, far, one, two] = [from, to, others[0], others[1]].map(Vm::link);
        let frame = marked(from.mac, Mac::BROADCAST, 8).build();
        reaches_exactly_once(&near, &frame, &[&far], &[&one, &two]);
    }
}
