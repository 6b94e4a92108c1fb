//! The lab itself: everything that is asked of vtep holds of the kernel's own device, and the
//! checks fail where they should.

use std::net::IpAddr;
use std::panic::catch_unwind;
use std::time::Duration;

use vtep_tests::encoder::inner::every_sort;
use vtep_tests::encoder::{Mac, checksum, eth, pseudo};
use vtep_tests::lab::kernel;
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{Attach, GREEN, Kind, Lab};
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::Capture;
use vtep_tests::link::tap::{GsoType, Tap};
use vtep_tests::traffic::checks::{self, marked};
use vtep_tests::traffic::stream::Stream;
use vtep_tests::traffic::{inner_v4, ping, ping_once, pings};
use vtep_tests::{need_root, over_each_underlay};

const KERNELS: [Kind; 2] = [Kind::Kernel; 2];
const FLAT: Underlay = Underlay {
    family: Family::V4,
    topology: Topology::Flat,
};

over_each_underlay! {
    the_kernels_vxlan_passes_every_check,
    the_kernels_vxlan_floods_exactly_once,
}

fn the_kernels_vxlan_passes_every_check(underlay: Underlay) {
    let lab = Lab::green(underlay, &KERNELS);
    let (a, b) = lab.pair();

    checks::ping_both_ways(&a, &b);
    checks::tcp_both_ways(&a, &b);
    checks::udp_every_size(&a, &b);
    checks::arp_crosses(&a, &b);
    checks::non_ip_crosses(&a, &b);
    checks::every_sort_crosses(&a, &b);
}

fn the_kernels_vxlan_floods_exactly_once(underlay: Underlay) {
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
    for tci in [0x600a, 0x0fff, 0x0001, 0x0000] {
        let tagged = eth(Mac::nth(1), Mac::nth(2)).vlan(tci).ethertype(0x88cc);
        let frame = tagged.payload(1, 50).build();
        sender.send(&frame);
        receiver.expect(&frame);
    }
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

#[test]
fn a_stream_counts_what_is_lost_and_nothing_else() {
    need_root!();
    let (near, far) = (Ns::new("near"), Ns::new("far"));
    near.veth("v0", &far, "v0");
    let ips = [198, 199].map(|last| IpAddr::from([10, 0, 0, last]));
    for (ns, ip) in [(&near, ips[0]), (&far, ips[1])] {
        ns.ip(&format!("addr add {ip}/24 dev v0"));
    }
    // A neighbour that the kernel forgets with the link is asked for anew, and packets that wait for the answer are late, not lost.
    let far_mac = far.mac("v0");
    near.ip(&format!(
        "neigh replace {} lladdr {far_mac} dev v0 nud permanent",
        ips[1]
    ));
    ping(&near, ips[1]);

    let whole = Stream::start((&near, ips[0]), (&far, ips[1]));
    whole.wait_for(300);
    let (sent, lost) = whole.finish();
    assert!(sent >= 300 && lost.is_empty(), "{lost:?} of {sent}");

    let holed = Stream::start((&near, ips[0]), (&far, ips[1]));
    holed.wait_for(100);
    far.ip("link set v0 down");
    holed.wait_until_sent(100);
    far.ip("link set v0 up");
    holed.wait_for(100);
    assert!(
        holed.finish().1.len() >= 50,
        "a link that was down while 100 packets were sent lost next to nothing"
    );
}

#[test]
fn the_kernels_vxlan_takes_every_packet_of_the_builder() {
    need_root!();
    for family in Family::BOTH {
        let ns = Ns::new("builder");
        let (uplink, port) = (Tap::new(&ns, "up0"), Tap::new(&ns, "port0"));
        let (ip, far) = (family.address(0, 1), family.address(0, 2));
        ns.ip(&format!(
            "addr add {ip}/{} dev up0 {}",
            family.prefix(),
            family.nodad()
        ));
        kernel::add_vni(&ns, GREEN, ip, 1500);
        kernel::add_port(&ns, GREEN, "port0");
        let head = eth(Mac::nth(0x66), ns.mac("up0")).ip(far, ip);

        for (what, inner) in every_sort(Mac::nth(1), Mac::nth(2)) {
            let packet = head
                .clone()
                .udp(50000, 4789)
                .vxlan(GREEN)
                .bytes(&inner)
                .build();
            uplink.send(&packet);
            port.wait_for(what, |got| got == inner);
        }
    }
}

#[test]
fn a_gso_packet_written_to_a_tap_is_segmented_as_told() {
    need_root!();
    let ns = Ns::new("super");
    let (guest, wire) = (Tap::with_vnet_header(&ns, "guest"), Tap::new(&ns, "wire"));
    ns.ip("link add sw0 type bridge stp_state 0 mcast_snooping 0
         link set guest master sw0
         link set wire master sw0
         link set sw0 up");
    let ips = [inner_v4(1), inner_v4(2)];
    let big = eth(Mac::nth(1), Mac::nth(2))
        .ipv4(ips[0], ips[1])
        .tcp(1, 2, 0)
        .payload(1, 2500);
    let mut frame = big.build();
    let sum = !checksum(&[&pseudo(ips[0].into(), ips[1].into(), 6, 2520)]);
    frame[50..52].copy_from_slice(&sum.to_be_bytes());

    guest.send_gso(&frame, GsoType::Tcp, 1000, 34);

    for (seq, len) in [(0, 1000), (1000, 1000), (2000, 500)] {
        let segment = wire.wait_for("a segment", |got| got[..12] == frame[..12]);
        assert_eq!(segment.len(), 54 + len);
        assert_eq!(segment[38..42], u32::to_be_bytes(seq));
        let head = pseudo(
            ips[0].into(),
            ips[1].into(),
            6,
            u32::try_from(20 + len).unwrap(),
        );
        assert_eq!(checksum(&[&head, &segment[34..]]), 0);
    }
}
