//! VMs across a routed underlay behave as if they shared one layer-2 segment.

use std::collections::HashSet;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use vtep_tests::dump::assert_same;
use vtep_tests::encoder::{Mac, eth, pattern};
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{Attach, BLUE, GREEN, Kind, Lab, Vm};
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::{Capture, carrying};
use vtep_tests::link::offload::{set_offloads, set_segmentation};
use vtep_tests::traffic::checks::{self, marked, reaches_exactly_once};
use vtep_tests::traffic::{ping, pings, send_udp_gso, tcp_transfer, udp_pair, udp_sizes};
use vtep_tests::wait::DEADLINE;
use vtep_tests::{lab, over_each_family, over_each_underlay};

const TWO: [Kind; 2] = [Kind::Vtep; 2];
const THREE: [Kind; 3] = [Kind::Vtep; 3];
const FOUR: [Kind; 4] = [Kind::Vtep; 4];

over_each_underlay! {
    pings_are_answered_both_ways,
    tcp_carries_a_mebibyte_both_ways,
    udp_of_every_size_arrives_as_sent,
    arp_is_asked_and_answered,
    frames_that_are_not_ip_cross_as_sent,
    a_jumbo_underlay_carries_jumbo_frames,
    floods_reach_every_other_vm_exactly_once,
    floods_reach_three_remote_vteps_exactly_once,
    two_vnis_with_the_same_macs_and_ips_stay_apart,
    the_hosts_own_traffic_is_untouched,
    frames_between_ports_of_one_host_stay_there,
    tagged_frames_cross_where_the_vni_passes_them,
    tagged_frames_are_dropped_by_default,
    a_trunk_maps_each_vlan_to_its_vni,
    a_trunk_floods_with_the_tag_of_each_vlan,
}

over_each_family! {
    vms_without_static_entries_find_each_other_by_flooding,
    gso_packets_leave_as_one,
    udp_gso_packets_leave_as_one,
    udp_gso_packets_arrive_segmented,
    every_kind_of_port_works,
    hosts_behind_one_access_port_are_reached,
    a_multicast_mac_goes_to_the_vteps_that_are_named_for_it,
    a_vtep_that_is_taken_off_the_flood_list_gets_no_more,
    an_entry_that_moves_takes_effect_at_once,
    a_port_that_is_taken_away_is_cut_off,
    tc_on_the_uplink_works,
    generic_xdp_on_the_uplink_works,
    native_xdp_on_the_uplink_works,
}

fn flat(family: Family) -> Underlay {
    Underlay {
        family,
        topology: Topology::Flat,
    }
}

fn pings_are_answered_both_ways(underlay: Underlay) {
    let lab = Lab::green(underlay, &TWO);
    let (a, b) = lab.pair();

    checks::ping_both_ways(&a, &b);
}

fn tcp_carries_a_mebibyte_both_ways(underlay: Underlay) {
    let lab = Lab::green(underlay, &TWO);
    let (a, b) = lab.pair();

    checks::tcp_both_ways(&a, &b);
}

fn udp_of_every_size_arrives_as_sent(underlay: Underlay) {
    let lab = Lab::green(underlay, &TWO);
    let (a, b) = lab.pair();

    checks::udp_every_size(&a, &b);
}

fn arp_is_asked_and_answered(underlay: Underlay) {
    let lab = Lab::green(underlay, &TWO);
    let (a, b) = lab.pair();

    checks::arp_crosses(&a, &b);
    checks::arp_crosses(&b, &a);
}

fn frames_that_are_not_ip_cross_as_sent(underlay: Underlay) {
    let lab = Lab::green(underlay, &TWO);
    let (a, b) = lab.pair();

    checks::non_ip_crosses(&a, &b);
}

fn a_jumbo_underlay_carries_jumbo_frames(underlay: Underlay) {
    let lab = Lab::with(underlay, &TWO, 9000, &[]);
    lab.segment(GREEN);
    let (a, b) = lab.pair();
    let largest = usize::try_from(lab.inner_mtu()).unwrap() - 20 - 8;

    checks::tcp_both_ways(&a, &b);
    udp_sizes(
        (&a.ns, a.v4),
        (&b.ns, b.v4),
        [1451, 4000, largest - 1, largest].into_iter(),
    );
}

fn floods_reach_every_other_vm_exactly_once(underlay: Underlay) {
    let lab = Lab::green(underlay, &THREE);
    let vms: Vec<Vm> = (0_u8..6)
        .map(|n| lab.vm(usize::from(n / 2), n + 1, GREEN))
        .collect();
    for vm in &vms {
        lab.teach(GREEN, vm);
    }
    let links: Vec<Capture> = vms.iter().map(Vm::link).collect();
    let sent: Vec<Capture> = (0..3)
        .map(|at| Capture::arriving(&lab.fabric, &format!("hv{at}")))
        .collect();
    let unknown = Mac::nth(0x99);
    let group = Mac([0x33, 0x33, 0, 0, 0x12, 0x34]);

    for (mark, dst) in (1..).zip([Mac::BROADCAST, group, unknown]) {
        for sender in [0, 3] {
            let frame = marked(vms[sender].mac, dst, mark).build();
            lab::drain(&sent);
            let receivers: Vec<&Capture> = (0..6)
                .filter(|at| *at != sender)
                .map(|at| &links[at])
                .collect();
            reaches_exactly_once(&links[sender], &frame, &receivers, &[&links[sender]]);
            for (at, uplink) in sent.iter().enumerate() {
                let seen = uplink.collect(Duration::from_millis(20), |_| false);
                let copies = seen.iter().filter(|outer| outer.ends_with(&frame)).count();
                let want = if at == sender / 2 { 2 } else { 0 };
                assert_eq!(
                    copies, want,
                    "copies that hypervisor {at} sent of a frame to {dst}"
                );
            }
        }
    }
}

fn floods_reach_three_remote_vteps_exactly_once(underlay: Underlay) {
    let lab = Lab::green(underlay, &FOUR);
    let vms: Vec<Vm> = (0_u8..4)
        .map(|n| lab.vm(usize::from(n), n + 1, GREEN))
        .collect();
    let links: Vec<Capture> = vms.iter().map(Vm::link).collect();
    let [leaving, coming] = [Capture::arriving, Capture::all].map(|open| {
        (0..4)
            .map(|at| open(&lab.fabric, &format!("hv{at}")))
            .collect::<Vec<Capture>>()
    });
    let group = Mac([0x33, 0x33, 0, 0, 0x12, 0x34]);

    for (mark, dst) in (1..).zip([Mac::BROADCAST, group, Mac::nth(0x99)]) {
        for sender in 0..4 {
            let frame = marked(vms[sender].mac, dst, mark).build();
            lab::drain(&leaving);
            lab::drain(&coming);
            let receivers: Vec<&Capture> = (0..4)
                .filter(|at| *at != sender)
                .map(|at| &links[at])
                .collect();

            reaches_exactly_once(&links[sender], &frame, &receivers, &[&links[sender]]);

            // All of it has come by now.
            let within = Duration::from_millis(2);
            let sent = carrying(&leaving, &frame, 3, within);
            let passed = carrying(&coming, &frame, 6, within);
            for at in 0..4 {
                // What passes at a hypervisor is what it sent and what came to it.
                let want = if at == sender { (3, 3) } else { (0, 1) };
                let got = (sent[at].len(), passed[at].len());
                assert_eq!(got, want, "sent and seen at {at}, from {sender} to {dst}");
            }
            let to: HashSet<IpAddr> = sent[sender]
                .iter()
                .map(|outer| underlay.family.destination(outer).1)
                .collect();
            assert_eq!(to.len(), 3, "a copy to each: {to:?}");
        }
    }
}

fn two_vnis_with_the_same_macs_and_ips_stay_apart(underlay: Underlay) {
    let lab = Lab::green(underlay, &TWO);
    lab.segment(BLUE);
    let (green_a, green_b) = lab.pair();
    let (blue_a, blue_b) = (lab.vm(0, 1, BLUE), lab.vm(1, 2, BLUE));
    lab.teach(BLUE, &blue_a);
    lab.teach(BLUE, &blue_b);
    assert_eq!((green_a.mac, green_b.v4), (blue_a.mac, blue_b.v4));

    checks::ping_both_ways(&green_a, &green_b);
    checks::ping_both_ways(&blue_a, &blue_b);
    for ((a, b), (other_a, other_b)) in [
        ((&green_a, &green_b), (&blue_a, &blue_b)),
        ((&blue_a, &blue_b), (&green_a, &green_b)),
    ] {
        let [near, far, other_near, other_far] = [a, b, other_a, other_b].map(Vm::link);
        for dst in [Mac::BROADCAST, b.mac, Mac::nth(0x99)] {
            let frame = marked(a.mac, dst, 5).build();
            reaches_exactly_once(&near, &frame, &[&far], &[&other_near, &other_far]);
        }
    }
    tcp_transfer(&green_a.ns, &green_b.ns, green_b.v4, 1 << 20);
    tcp_transfer(&blue_a.ns, &blue_b.ns, blue_b.v4, 1 << 20);
}

fn the_hosts_own_traffic_is_untouched(underlay: Underlay) {
    let lab = Lab::green(underlay, &TWO);
    let (a, b) = (&lab.hypervisors[0], &lab.hypervisors[1]);

    ping(&a.ns, b.ip);
    ping(&b.ns, a.ip);
    tcp_transfer(&a.ns, &b.ns, b.ip, 1 << 20);
    tcp_transfer(&b.ns, &a.ns, a.ip, 1 << 20);
    // The sizes past the MTU leave as fragments.
    let sizes = [0, 1, 8, 64, 1400, 1472, 1473, 3000, 9000, 40_000];
    udp_sizes((&a.ns, a.ip), (&b.ns, b.ip), sizes.into_iter());
}

fn vms_without_static_entries_find_each_other_by_flooding(family: Family) {
    let lab = Lab::green(flat(family), &THREE);
    let (a, b, c) = (
        lab.vm(0, 1, GREEN),
        lab.vm(1, 2, GREEN),
        lab.vm(2, 3, GREEN),
    );

    checks::ping_both_ways(&a, &b);
    checks::ping_both_ways(&b, &c);
    checks::tcp_both_ways(&a, &c);
}

fn frames_between_ports_of_one_host_stay_there(underlay: Underlay) {
    let lab = Lab::green(underlay, &TWO);
    let (a, b) = (lab.vm(0, 1, GREEN), lab.vm(0, 2, GREEN));
    lab.teach(GREEN, &a);
    lab.teach(GREEN, &b);
    checks::tcp_both_ways(&a, &b);
    checks::arp_crosses(&a, &b);
    let (near, far) = (a.link(), b.link());
    let underlay = Capture::arriving(&lab.fabric, "hv0");

    let frame = marked(a.mac, b.mac, 1).build();
    near.send(&frame);

    far.expect(&frame);
    let left = underlay.collect(Duration::from_millis(50), |_| false);
    assert!(
        !left.iter().any(|outer| outer.ends_with(&frame)),
        "it left the host"
    );
}

fn gso_packets_leave_as_one(family: Family) {
    let lab = Lab::green(flat(family), &TWO);
    let (a, b) = lab.pair();
    for vm in [&a, &b] {
        set_offloads(&vm.ns, lab::VM_DEV, true);
    }
    checks::ping_both_ways(&a, &b);
    let underlay = Capture::arriving(&lab.fabric, "hv0");

    for ip in b.ips() {
        tcp_transfer(&a.ns, &b.ns, ip, 8 << 20);

        let seen = underlay.collect(Duration::from_millis(50), |_| false);
        let longest = seen.iter().map(Vec::len).max().unwrap_or(0);
        assert!(
            longest > 8000,
            "the longest frame on the uplink had {longest} bytes"
        );
    }
}

/// GSO packets to send: how many bytes, and of how many a datagram.
const SUPER: [(usize, u16); 4] = [(1500, 1380), (28_300, 1380), (6000, 100), (44_000, 1001)];

/// Sends `len` bytes from VM to VM as datagrams of `size`, and insists on each of them; returns all.
#[track_caller]
fn udp_super_crosses(sockets: &(UdpSocket, UdpSocket), len: usize, size: u16) -> Vec<u8> {
    let data = pattern(u32::from(size), len);
    send_udp_gso(&sockets.0, &data, size);
    let mut got = vec![0; 1 << 16];
    for (at, want) in data.chunks(size.into()).enumerate() {
        let len = sockets
            .1
            .recv(&mut got)
            .unwrap_or_else(|e| panic!("datagram {at} of {size} bytes: {e}"));
        assert_same(&got[..len], want, &format!("datagram {at} of {size} bytes"));
    }
    data
}

fn udp_gso_packets_leave_as_one(family: Family) {
    let lab = Lab::green(flat(family), &TWO);
    let (a, b) = lab.pair();
    checks::ping_both_ways(&a, &b);
    let underlay = Capture::arriving(&lab.fabric, "hv0");

    for (here, there) in a.ips().into_iter().zip(b.ips()) {
        let sockets = udp_pair((&a.ns, here), (&b.ns, there));
        for (len, size) in SUPER {
            let data = udp_super_crosses(&sockets, len, size);

            let headers = family.outer_len() + 14 + if here.is_ipv4() { 20 } else { 40 } + 8;
            let frame = underlay.wait_for("frame with all of it", |frame| frame.ends_with(&data));
            assert_eq!(frame.len(), headers + len, "one frame with all of it");
            assert!(frame.len() > 1500, "larger than the MTU");
        }
    }
    for at in [0, 1] {
        assert_eq!(lab.daemon(at).dropped("too_big"), 0);
    }
}

/// Where the underlay's card cuts nothing, the kernel does, and no datagram differs for it.
fn udp_gso_packets_arrive_segmented(family: Family) {
    let lab = Lab::green(flat(family), &TWO);
    let (a, b) = lab.pair();
    checks::ping_both_ways(&a, &b);
    set_segmentation(&lab.hypervisors[0].ns, lab::UPLINK, false);
    let underlay = Capture::arriving(&lab.fabric, "hv0");

    for (here, there) in a.ips().into_iter().zip(b.ips()) {
        let sockets = udp_pair((&a.ns, here), (&b.ns, there));
        for (len, size) in SUPER {
            underlay.drain();
            let data = udp_super_crosses(&sockets, len, size);

            for part in data.chunks(size.into()) {
                let frame = underlay.wait_for("datagram alone", |frame| frame.ends_with(part));
                assert!(frame.len() <= 14 + 1500, "{} bytes", frame.len());
            }
        }
    }
}

fn every_kind_of_port_works(family: Family) {
    let lab = Lab::green(flat(family), &TWO);
    let kinds = [Attach::Veth, Attach::TapVnet, Attach::TapPlain];
    let at = |hv: usize, base: u8| {
        let vms = (base..)
            .zip(kinds)
            .map(|(number, kind)| lab.vm_by(kind, hv, number, GREEN));
        vms.inspect(|vm| lab.teach(GREEN, vm)).collect::<Vec<Vm>>()
    };
    let (near, far) = (at(0, 1), at(1, 11));

    for here in &near {
        for there in &far {
            checks::tcp_both_ways(here, there);
            udp_sizes(
                (&here.ns, here.v4),
                (&there.ns, there.v4),
                (0..=1450).step_by(29),
            );
        }
    }
    // And on one host, from each kind to each other.
    for (here, there) in [(0, 1), (1, 2), (2, 0)] {
        checks::tcp_both_ways(&near[here], &near[there]);
    }
}

/// Two hosts behind a switch behind the access port, as behind a physical NIC of the hypervisor.
fn hosts_behind_one_access_port_are_reached(family: Family) {
    let lab = Lab::green(flat(family), &TWO);
    let remote = lab.vm(1, 9, GREEN);
    lab.teach(GREEN, &remote);
    let switch = Ns::new("switch");
    switch.ip("link add sw0 type bridge stp_state 0 mcast_snooping 0
         link set sw0 addrgenmode none
         link set sw0 up");
    let hypervisor = &lab.hypervisors[0];
    hypervisor.ns.veth("nic0", &switch, "trunk");
    switch.ip("link set trunk addrgenmode none master sw0");
    hypervisor
        .daemon()
        .ok(&format!("port add nic0 --vni {GREEN}"));
    let hosts: Vec<Vm> = (1_u8..=2)
        .map(|number| {
            let host = lab.vm_unattached(Attach::Veth, 0, number);
            hypervisor
                .ns
                .ip(&format!("link set {} netns {}", host.port, switch.name()));
            switch.ip(&format!("link set {} master sw0 up", host.port));
            host
        })
        .collect();

    for host in &hosts {
        hypervisor
            .daemon()
            .ok(&format!("fdb add {} --vni {GREEN} --dev nic0", host.mac));
        checks::tcp_both_ways(host, &remote);
    }
    // What the two say to each other is no business of ours and must not come back to them.
    let (near, far) = (hosts[0].link(), hosts[1].link());
    let frame = marked(hosts[0].mac, Mac::BROADCAST, 3).build();
    reaches_exactly_once(&near, &frame, &[&far, &remote.link()], &[&near]);
}

fn tagged_frames_cross_where_the_vni_passes_them(underlay: Underlay) {
    let lab = Lab::new(underlay, &TWO);
    lab.segment_with(GREEN, "--inner-vlan pass");
    let (a, b) = lab.pair();
    let (near, far) = (a.link(), b.link());

    for dst in [b.mac, Mac::BROADCAST, Mac::nth(0x99)] {
        for tci in [0x0001, 0x0fff, 0xe00a, 0x0000] {
            let tagged = eth(a.mac, dst).vlan(tci);
            for frame in [
                tagged.clone().ethertype(0x88cc).payload(1, 100).build(),
                tagged
                    .clone()
                    .vlan(7)
                    .ethertype(0x88cc)
                    .payload(2, 100)
                    .build(),
                tagged
                    .ipv4("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap())
                    .udp(1, 2)
                    .payload(3, 333)
                    .build(),
            ] {
                near.send(&frame);
                far.expect(&frame);
            }
        }
    }
}

fn tagged_frames_are_dropped_by_default(underlay: Underlay) {
    let lab = Lab::green(underlay, &TWO);
    let (a, b) = lab.pair();
    let (near, far) = (a.link(), b.link());

    near.send(
        &eth(a.mac, b.mac)
            .vlan(10)
            .ethertype(0x88cc)
            .payload(1, 100)
            .build(),
    );
    lab.daemon(0).expect_dropped("vlan_unmapped", 1);
    near.send(
        &eth(a.mac, Mac::BROADCAST)
            .vlan(10)
            .ethertype(0x88cc)
            .payload(1, 100)
            .build(),
    );
    lab.daemon(0).expect_dropped("vlan_unmapped", 2);

    let plain = marked(a.mac, b.mac, 4).build();
    near.send(&plain);
    let seen = far.collect(DEADLINE, |seen| seen.last() == Some(&plain));
    assert!(
        seen.iter().all(|frame| frame[12..14] != [0x81, 0x00]),
        "a tag came through"
    );
}

/// A trunk with VLAN 10 in [`GREEN`] and 20 in [`BLUE`] at the first hypervisor, and a VM of each
/// VNI, without a tag, at the second.
fn trunk_lab(underlay: Underlay) -> (Lab, Vm, [(u16, u32, Vm); 2]) {
    let lab = Lab::green(underlay, &TWO);
    lab.segment(BLUE);
    let trunk = lab.vm_unattached(Attach::Veth, 0, 1);
    let access = [(10, GREEN), (20, BLUE)].map(|(vlan, vni)| {
        lab.daemon(0).ok(&format!(
            "port add {} --vni {vni} --vlan {vlan}",
            trunk.port
        ));
        lab.teach(vni, &trunk);
        let vm = lab.vm(1, 2, vni);
        lab.teach(vni, &vm);
        (vlan, vni, vm)
    });
    (lab, trunk, access)
}

fn a_trunk_maps_each_vlan_to_its_vni(underlay: Underlay) {
    let (lab, trunk, access) = trunk_lab(underlay);
    let near = trunk.link();
    let links: Vec<Capture> = access.iter().map(|(_, _, vm)| vm.link()).collect();

    for (which, (vlan, _, vm)) in access.iter().enumerate() {
        let (far, other) = (&links[which], &links[1 - which]);
        lab::drain(&links);
        // The priority bits of a tag are lost with it: they are not the tag's identity.
        for (mark, dst) in [(1, vm.mac), (2, Mac::BROADCAST), (3, Mac::nth(0x99))] {
            let body = mark_bytes(mark);
            let tagged = eth(trunk.mac, dst)
                .vlan(*vlan)
                .ethertype(0x88b6)
                .bytes(&body)
                .build();
            near.send(&tagged);
            far.expect(&eth(trunk.mac, dst).ethertype(0x88b6).bytes(&body).build());
        }
        let strays = other.collect(Duration::from_millis(50), |_| false);
        let strays = strays
            .iter()
            .filter(|frame| frame[12..14] == [0x88, 0xb6])
            .count();
        assert_eq!(strays, 0, "frames of VLAN {vlan} came to the other VNI");
        for (mark, dst) in [(4, trunk.mac), (5, Mac::BROADCAST), (6, Mac::nth(0x99))] {
            let body = mark_bytes(mark);
            far.send(&eth(vm.mac, dst).ethertype(0x88b6).bytes(&body).build());
            near.expect(
                &eth(vm.mac, dst)
                    .vlan(*vlan)
                    .ethertype(0x88b6)
                    .bytes(&body)
                    .build(),
            );
        }
    }
    // A VLAN without a mapping, and frames without a tag, belong nowhere.
    let body = mark_bytes(7);
    near.send(
        &eth(trunk.mac, access[0].2.mac)
            .vlan(30)
            .ethertype(0x88b6)
            .bytes(&body)
            .build(),
    );
    lab.daemon(0).expect_dropped("vlan_unmapped", 1);
    let before = lab.daemon(0).dropped("not_a_port");
    near.send(
        &eth(trunk.mac, access[0].2.mac)
            .ethertype(0x88b6)
            .bytes(&body)
            .build(),
    );
    vtep_tests::wait::until_true("the frame without a tag to be counted", || {
        lab.daemon(0).dropped("not_a_port") > before
    });
}

fn a_trunk_floods_with_the_tag_of_each_vlan(underlay: Underlay) {
    let (lab, trunk, access) = trunk_lab(underlay);
    let beside = lab.vm(0, 5, GREEN);
    let (near, side) = (trunk.link(), beside.link());
    let far = access[0].2.link();

    let body = mark_bytes(1);
    near.send(
        &eth(trunk.mac, Mac::BROADCAST)
            .vlan(10)
            .ethertype(0x88b6)
            .bytes(&body)
            .build(),
    );
    side.expect(
        &eth(trunk.mac, Mac::BROADCAST)
            .ethertype(0x88b6)
            .bytes(&body)
            .build(),
    );
    far.expect(
        &eth(trunk.mac, Mac::BROADCAST)
            .ethertype(0x88b6)
            .bytes(&body)
            .build(),
    );

    side.send(
        &eth(beside.mac, Mac::BROADCAST)
            .ethertype(0x88b6)
            .bytes(&body)
            .build(),
    );
    near.expect(
        &eth(beside.mac, Mac::BROADCAST)
            .vlan(10)
            .ethertype(0x88b6)
            .bytes(&body)
            .build(),
    );
    far.expect(
        &eth(beside.mac, Mac::BROADCAST)
            .ethertype(0x88b6)
            .bytes(&body)
            .build(),
    );
}

fn mark_bytes(mark: u32) -> Vec<u8> {
    vtep_tests::encoder::pattern(mark, 90)
}

fn a_multicast_mac_goes_to_the_vteps_that_are_named_for_it(family: Family) {
    let lab = Lab::green(flat(family), &THREE);
    let vms = [(0, 1), (0, 2), (1, 3), (2, 4)].map(|(at, number)| lab.vm(at, number, GREEN));
    let [near, beside, named, other] = [0, 1, 2, 3].map(|at: usize| vms[at].link());
    let group = Mac([0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]);
    let append = |at: usize| {
        let ip = lab.hypervisors[at].ip;
        lab.daemon(0)
            .ok(&format!("fdb append {group} --vni {GREEN} --dst {ip}"));
    };
    let frame = |mark| marked(vms[0].mac, group, mark).build();

    append(1);
    reaches_exactly_once(&near, &frame(1), &[&beside, &named], &[&near, &other]);
    append(2);
    reaches_exactly_once(&near, &frame(2), &[&beside, &named, &other], &[&near]);
    lab.daemon(0).ok(&format!("fdb del {group} --vni {GREEN}"));
    reaches_exactly_once(&near, &frame(3), &[&beside, &named, &other], &[&near]);
}

fn a_vtep_that_is_taken_off_the_flood_list_gets_no_more(family: Family) {
    let lab = Lab::green(flat(family), &THREE);
    let vms = [0, 1, 2].map(|at| lab.vm(at, u8::try_from(at).unwrap() + 1, GREEN));
    let [near, kept, gone] = [0, 1, 2].map(|at: usize| vms[at].link());
    let entry = format!(
        "{} --vni {GREEN} --dst {}",
        Mac::ZERO,
        lab.hypervisors[2].ip
    );
    let frame = |mark| marked(vms[0].mac, Mac::BROADCAST, mark).build();

    lab.daemon(0).ok(&format!("fdb del {entry}"));
    reaches_exactly_once(&near, &frame(1), &[&kept], &[&near, &gone]);
    lab.daemon(0).ok(&format!("fdb append {entry}"));
    reaches_exactly_once(&near, &frame(2), &[&kept, &gone], &[&near]);
}

fn an_entry_that_moves_takes_effect_at_once(family: Family) {
    let lab = Lab::green(flat(family), &THREE);
    let (a, b, c) = (
        lab.vm(0, 1, GREEN),
        lab.vm(1, 2, GREEN),
        lab.vm(2, 3, GREEN),
    );
    let [near, first, second] = [&a, &b, &c].map(Vm::link);
    let wanderer = Mac::nth(0x42);
    for at in [1, 2] {
        let port = if at == 1 { &b.port } else { &c.port };
        lab.daemon(at)
            .ok(&format!("fdb add {wanderer} --vni {GREEN} --dev {port}"));
    }

    for (mark, at) in [(1, 1), (2, 2), (3, 1)] {
        let ip = lab.hypervisors[at].ip;
        lab.daemon(0)
            .ok(&format!("fdb replace {wanderer} --vni {GREEN} --dst {ip}"));
        let frame = marked(a.mac, wanderer, mark).build();
        let (to, not_to) = if at == 1 {
            (&first, &second)
        } else {
            (&second, &first)
        };
        reaches_exactly_once(&near, &frame, &[to], &[not_to]);
    }
}

fn a_port_that_is_taken_away_is_cut_off(family: Family) {
    let lab = Lab::green(flat(family), &TWO);
    let (a, b) = lab.pair();
    checks::ping_both_ways(&a, &b);

    lab.daemon(0).ok(&format!("port del {}", a.port));
    assert!(!pings(&b.ns, a.v4, Duration::from_millis(500)));
    assert!(!pings(&a.ns, b.v4, Duration::from_millis(500)));
    lab.daemon(0)
        .ok(&format!("port add {} --vni {GREEN}", a.port));
    lab.teach_at(0, GREEN, &a);
    checks::ping_both_ways(&a, &b);

    lab.daemon(1).ok(&format!("vni del {GREEN} --force"));
    assert!(!pings(&a.ns, b.v4, Duration::from_millis(500)));
}

fn tc_on_the_uplink_works(family: Family) {
    attached_this_way_works(family, &["--uplink-hook", "tc"]);
}

fn generic_xdp_on_the_uplink_works(family: Family) {
    attached_this_way_works(family, &["--uplink-hook", "xdp", "--xdp-mode", "generic"]);
}

fn native_xdp_on_the_uplink_works(family: Family) {
    attached_this_way_works(family, &["--uplink-hook", "xdp", "--xdp-mode", "native"]);
}

fn attached_this_way_works(family: Family, args: &[&str]) {
    let lab = Lab::with(flat(family), &TWO, 1500, args);
    lab.segment(GREEN);
    let (a, b) = lab.pair();
    let tap = lab.vm_by(Attach::TapVnet, 0, 3, GREEN);
    lab.teach(GREEN, &tap);

    checks::tcp_both_ways(&a, &b);
    checks::tcp_both_ways(&tap, &b);
    checks::every_sort_crosses(&a, &b);
    checks::udp_every_size(&tap, &a);
}
