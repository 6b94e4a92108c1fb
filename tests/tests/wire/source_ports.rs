//! The outer UDP source port.

use std::collections::HashSet;

use vtep_tests::encoder::inner::{self};
use vtep_tests::encoder::{Frame, Mac, eth};
use vtep_tests::lab::GREEN;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, VM, Wire};
use vtep_tests::over_each_family;

use crate::source_port;

over_each_family! {
    source_ports_tell_flows_apart_and_keep_each_together,
    fragments_of_one_packet_share_a_source_port,
    source_ports_stay_in_the_range_that_is_set,
}

fn source_ports_tell_flows_apart_and_keep_each_together(family: Family) {
    let wire = Wire::new(family);
    let port = |frame: Frame| source_port(&wire, &wire.encap(&frame.build()));
    let ((a4, b4), (a6, b6)) = (inner::v4(), inner::v6());
    let head = || eth(VM, FAR_VM);
    let flows: [(&str, &dyn Fn(u16) -> Frame); 6] = [
        ("UDP over IPv4", &|n| head().ipv4(a4, b4).udp(n, 53)),
        ("TCP over IPv4", &|n| head().ipv4(a4, b4).tcp(443, n, 7)),
        ("UDP over IPv6", &|n| head().ipv6(a6, b6).udp(n, 53)),
        ("TCP over IPv6", &|n| head().ipv6(a6, b6).tcp(443, n, 7)),
        ("addresses alone", &|n| {
            head().ipv4(
                vtep_tests::traffic::inner_v4(u8::try_from(n % 200).unwrap()),
                b4,
            )
        }),
        ("MACs", &|n| {
            let last = u8::try_from(n % 200).unwrap();
            eth(Mac([0x02, 0, 0, 0, 1, last]), FAR_VM).ethertype(0x88cc)
        }),
    ];

    for (what, flow) in flows {
        let ports: Vec<u16> = (1..=64).map(|n| port(flow(n).payload(1, 40))).collect();
        let different: HashSet<u16> = ports.iter().copied().collect();
        assert!(
            different.len() > 55,
            "{what}: {} ports for 64 flows",
            different.len()
        );
        assert!(
            different.iter().all(|port| *port >= 49152),
            "{what}: {different:?}"
        );
        for (n, first) in (1..=64).zip(&ports) {
            assert_eq!(
                port(flow(n).payload(2, 99)),
                *first,
                "{what}: flow {n} again"
            );
        }
    }
}

fn fragments_of_one_packet_share_a_source_port(family: Family) {
    let wire = Wire::new(family);
    let (from, to) = inner::v4();
    let fragment = |bits| eth(VM, FAR_VM).ipv4(from, to).fragment(7, bits);

    let first = wire.encap(&fragment(0x2000).udp(1, 2).payload(1, 64).build());
    let later = wire.encap(&fragment(9).protocol(17).payload(2, 64).build());

    assert_eq!(source_port(&wire, &first), source_port(&wire, &later));
}

fn source_ports_stay_in_the_range_that_is_set(family: Family) {
    let wire = Wire::with(family, "--srcport 40000-40007", &[]);
    let (from, to) = inner::v4();
    let port = |n| {
        let frame = eth(VM, FAR_VM).ipv4(from, to).udp(n, 53).payload(1, 40);
        source_port(&wire, &wire.encap(&frame.build()))
    };

    let ports: HashSet<u16> = (1..200).map(port).collect();
    assert_eq!(ports, (40000..=40007).collect());

    wire.daemon
        .ok(&format!("vni set {GREEN} --srcport 5000-5000"));
    assert_eq!(port(1), 5000);
}
