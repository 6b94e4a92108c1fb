//! What becomes of a frame by its VLAN, its addresses and its VNI.

use std::net::Ipv4Addr;

use vtep_common::abi::counter::Direction::{Decap, Encap};
use vtep_common::abi::counter::Hook::{Port, PortXdp};
use vtep_common::abi::reason::Reason;
use vtep_common::testkit::frames::{
    GONE_PEER, GONE_PORT, LONE, PEER_JUMBO, PEER_UNREACHABLE, PEER_V4, PEER_V4_UNRESOLVED, PEER_V6,
    PEER_V6_UNRESOLVED, PEER_V6_ZERO, PLAIN, PORT_ABSENT, PORT_ACCESS, PORT_CARRIER, PORT_FAST,
    PORT_LONE, PORT_NARROW, PORT_NATIVE, PORT_NOISY, PORT_OWN, PORT_QUIET, PORT_VLAN_10,
    PORT_VLAN_20, PORT_VLAN_40, QUIET, ROUTED, TRUNK, group, host_mac,
};
use vtep_tests::encoder::{Frame, Mac, eth};
use vtep_tests::need_root;
use vtep_tests::testrun::fixture::Count::{Hop, Lost, Peer, Port as ToPort, Segment};
use vtep_tests::testrun::fixture::{Count, case, raw_case};

use crate::named::{
    AtBothHooks as _, FAR_V4, HOP_MAC, INNER_V4, JUMBO_V4, LLDP, OWN_MAC, OWN_V4, VM, VXLAN,
    access, all, at, carrier, from_port, lldp, lone, mac, quiet, sent, to_peer, trunk, udp4,
    uplink,
};

use super::outer_v4;

#[test]
fn a_port_maps_vlans() {
    need_root!();
    let (a, b) = INNER_V4;
    let tagged = |to, tci| {
        eth(VM, to)
            .vlan(tci)
            .ipv4(a, b)
            .udp(1000, 2000)
            .payload(1, 64)
    };
    let v4 = at(PLAIN, PEER_V4);
    let stripped = udp4(v4).build();
    let in_trunk = tagged(at(TRUNK, PEER_JUMBO), 99).build();
    let twice = eth(VM, v4).vlan(10).vlan(5).ipv4(a, b).udp(1, 2);
    let range = |inner: Vec<u8>| {
        move |port: u16| {
            assert!((50_000..=50_999).contains(&port), "source port {port}");
            eth(OWN_MAC, HOP_MAC)
                .ipv4(OWN_V4, JUMBO_V4)
                .fragment(0, 0)
                .udp_unchecked(port, VXLAN)
                .vxlan(200)
                .bytes(&inner)
                .build()
        }
    };
    let strips = |name, device, tci, port| {
        let counts = sent(PLAIN, port, PEER_V4);
        // Ports count a frame with the tag that it came with.
        let len = stripped.len() + 4;
        case(name, device, &tagged(v4, tci))
            .encapsulates(Port, outer_v4(100, FAR_V4, 0, stripped.clone()))
            .counts(len, &counts)
            .encapsulates(PortXdp, outer_v4(100, FAR_V4, 0, stripped.clone()))
            .counts(len, &counts)
    };
    let carried_counts = sent(TRUNK, PORT_NATIVE, PEER_JUMBO);
    all(&[
        strips("a mapped tag goes", trunk, 10, PORT_VLAN_10),
        strips("its priority goes with it", trunk, 0xe00a, PORT_VLAN_10),
        strips(
            "a tag with a priority alone is no VLAN",
            access,
            0x6000,
            PORT_ACCESS,
        ),
        raw_case(
            "any other tag is carried where the VNI passes tags",
            trunk,
            in_trunk.clone(),
        )
        .encapsulates(Port, range(in_trunk.clone()))
        .counts(in_trunk.len(), &carried_counts)
        .encapsulates(PortXdp, range(in_trunk.clone()))
        .counts(in_trunk.len(), &carried_counts),
        case("an unmapped tag is dropped", access, &tagged(v4, 10))
            .drops_at_ports(Reason::VlanUnmapped)
            .of(from_port(PLAIN, PORT_ACCESS)),
        case("a second tag is dropped", trunk, &twice)
            .drops_at_ports(Reason::VlanUnmapped)
            .of(from_port(PLAIN, PORT_VLAN_10)),
        case(
            "untagged where only a VLAN is mapped",
            lone,
            &udp4(at(LONE, PEER_V4)),
        )
        .drops_at_ports(Reason::NotAPort),
        case("an interface that is no port", uplink, &udp4(v4)).drops_at_ports(Reason::NotAPort),
        raw_case(
            "cut off within its tag",
            access,
            tagged(v4, 10).build()[..16].to_vec(),
        )
        .drops_at_ports(Reason::Truncated),
    ]);
}

#[test]
fn a_port_answers_for_hosts_and_finds_them_by_their_address() {
    need_root!();
    let asker = Ipv4Addr::new(10, 0, 0, 7);
    let host = Ipv4Addr::new(10, 0, 0, 50);
    let known = mac(host_mac(0));
    let ask = |target| eth(VM, Mac::BROADCAST).arp_request((VM, asker), target);
    let answer = eth(known, VM).arp_reply((known, host), (VM, asker));
    let own = [
        Segment(TRUNK, Encap),
        ToPort(PORT_CARRIER, Encap),
        ToPort(PORT_CARRIER, Decap),
    ];
    let unknown = |tag: bool, to| {
        let frame = eth(VM, Mac::nth(0x99));
        let frame = if tag { frame.vlan(40) } else { frame };
        frame.ipv4(asker, to).udp(1, 2).payload(1, 30)
    };
    let (behind, nowhere) = (Ipv4Addr::new(10, 0, 5, 9), Ipv4Addr::new(10, 1, 0, 1));
    let elsewhere = eth(at(PLAIN, PEER_V4), at(PLAIN, PEER_V6))
        .ethertype(LLDP)
        .payload(1, 50);
    all(&[
        case("ARP for a known host", carrier, &ask(host))
            .becomes(Port, Reason::Answered, &answer.build())
            .counts(ask(host).build().len(), &own)
            .passes(PortXdp, Reason::LeftToTc),
        case(
            "ARP for a host that nobody knows, where the VNI does not flood",
            trunk,
            &eth(VM, Mac::BROADCAST)
                .vlan(40)
                .arp_request((VM, asker), Ipv4Addr::new(10, 0, 0, 99)),
        )
        .drops(Port, Reason::UnknownNeigh)
        .of(from_port(ROUTED, PORT_VLAN_40))
        .passes(PortXdp, Reason::LeftToTc),
        case(
            "a host behind a VTEP, found by its address",
            trunk,
            &unknown(true, behind),
        )
        .encapsulates(
            Port,
            outer_v4(500, FAR_V4, 0, unknown(false, behind).build()),
        )
        .counts(
            unknown(true, behind).build().len(),
            &sent(ROUTED, PORT_VLAN_40, PEER_V4),
        )
        .passes(PortXdp, Reason::LeftToTc),
        case(
            "a host that no address leads to",
            trunk,
            &unknown(true, nowhere),
        )
        .drops(Port, Reason::NoFdbEntry)
        .of(from_port(ROUTED, PORT_VLAN_40))
        .passes(PortXdp, Reason::LeftToTc),
        case("a source that is elsewhere for good", access, &elsewhere)
            .drops_at_ports(Reason::StaticElsewhere)
            .of(from_port(PLAIN, PORT_ACCESS)),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list, one entry for each case")]
fn a_port_switches_floods_and_drops_by_its_vni() {
    need_root!();
    let from = |source| {
        eth(source, at(PLAIN, PEER_V4))
            .ethertype(LLDP)
            .payload(1, 50)
    };
    let local = udp4(at(PLAIN, PORT_NARROW));
    let to_vlan = udp4(at(PLAIN, PORT_VLAN_10));
    let everybody = [
        Segment(PLAIN, Encap),
        ToPort(PORT_ACCESS, Encap),
        ToPort(PORT_NARROW, Decap),
        ToPort(PORT_VLAN_10, Decap),
        Peer(PEER_V4, Encap),
        Peer(PEER_V6, Encap),
    ];
    let own_list = [
        Segment(PLAIN, Encap),
        ToPort(PORT_ACCESS, Encap),
        ToPort(PORT_VLAN_10, Decap),
        Peer(PEER_JUMBO, Encap),
        // The other VTEP of the list has no route.
        Lost(to_peer(PLAIN, PORT_ACCESS, PEER_UNREACHABLE)),
    ];
    let no_copies_to_vteps = [
        Segment(PLAIN, Encap),
        ToPort(PORT_ACCESS, Encap),
        ToPort(PORT_NARROW, Decap),
        ToPort(PORT_VLAN_10, Decap),
        Lost(to_peer(PLAIN, PORT_ACCESS, PEER_V4)),
        Lost(to_peer(PLAIN, PORT_ACCESS, PEER_V6)),
    ];
    let switched = |name, frame: &Frame, port| {
        case(name, access, frame)
            .redirects(Port, Reason::Switched)
            .counts(
                frame.build().len(),
                &[
                    Segment(PLAIN, Encap),
                    ToPort(PORT_ACCESS, Encap),
                    ToPort(port, Decap),
                ],
            )
            .passes(PortXdp, Reason::LeftToTc)
    };
    let flooded = |name, frame: &Frame, counts: &[Count]| {
        case(name, access, frame)
            .floods(Port, Reason::Flooded)
            .counts(frame.build().len(), counts)
            .passes(PortXdp, Reason::LeftToTc)
    };
    let unresolved = |name, peer| {
        let frame = udp4(at(PLAIN, peer));
        case(name, access, &frame)
            .redirects(Port, Reason::EncapsulatedUnresolved)
            .counts(frame.build().len(), &sent(PLAIN, PORT_ACCESS, peer))
            .passes(PortXdp, Reason::LeftToTc)
    };
    let between_vlans = eth(VM, at(TRUNK, PORT_VLAN_20))
        .ethertype(LLDP)
        .payload(1, 80);
    let local_access = lldp(at(PLAIN, PORT_ACCESS), 60);
    let out_of_vlan = eth(VM, at(PLAIN, PORT_ACCESS))
        .vlan(10)
        .ethertype(LLDP)
        .payload(3, 60);
    let (a, b) = INNER_V4;
    let from_noisy = eth(VM, at(PLAIN, PORT_ACCESS)).ipv4(a, b).udp(1, 2);
    let lonely = eth(VM, Mac::BROADCAST)
        .vlan(30)
        .ethertype(LLDP)
        .payload(1, 50);
    all(&[
        switched("to another port of the VNI", &local, PORT_NARROW),
        switched("to a VLAN of the VNI", &to_vlan, PORT_VLAN_10),
        case("between VLANs of one trunk", trunk, &between_vlans)
            .redirects(Port, Reason::Switched)
            .counts(
                94,
                &[
                    Segment(TRUNK, Encap),
                    ToPort(PORT_NATIVE, Encap),
                    ToPort(PORT_VLAN_20, Decap),
                ],
            )
            .passes(PortXdp, Reason::LeftToTc),
        case("out of a VLAN", trunk, &out_of_vlan)
            .becomes(Port, Reason::Switched, &local_access.build())
            .counts(
                out_of_vlan.build().len(),
                &[
                    Segment(PLAIN, Encap),
                    ToPort(PORT_VLAN_10, Encap),
                    ToPort(PORT_ACCESS, Decap),
                ],
            )
            .passes(PortXdp, Reason::LeftToTc),
        case(
            "for the port that it came from",
            access,
            &udp4(at(PLAIN, PORT_ACCESS)),
        )
        .drops_at_ports(Reason::SamePort)
        .of(from_port(PLAIN, PORT_ACCESS)),
        case(
            "for a port that waits for its interface",
            access,
            &udp4(at(PLAIN, PORT_ABSENT)),
        )
        .drops(Port, Reason::PortAbsent)
        .of(from_port(PLAIN, PORT_ACCESS))
        .passes(PortXdp, Reason::LeftToTc),
        flooded("a broadcast", &udp4(Mac::BROADCAST), &everybody),
        flooded("unknown unicast", &udp4(Mac::nth(0x99)), &everybody),
        flooded(
            "a group",
            &lldp(Mac([0x01, 0x80, 0xc2, 0, 0, 0x10]), 46),
            &everybody,
        ),
        case("LLDP", access, &lldp(Mac::LLDP, 46))
            .drops_at_ports(Reason::L2Control)
            .of(from_port(PLAIN, PORT_ACCESS)),
        case(
            "a broadcast above the port's rate",
            lone,
            &eth(VM, Mac::BROADCAST).vlan(44).ipv4(a, b).udp(1, 2),
        )
        .drops(Port, Reason::BumRate)
        .of(from_port(PLAIN, PORT_NOISY))
        .passes(PortXdp, Reason::LeftToTc),
        case(
            "a frame above what the port may send",
            lone,
            &eth(VM, at(PLAIN, PORT_ACCESS))
                .vlan(45)
                .ipv4(a, b)
                .udp(1, 2),
        )
        .drops(Port, Reason::Rate)
        .of(from_port(PLAIN, PORT_FAST))
        .passes(PortXdp, Reason::LeftToTc),
        case(
            "to one place, where floods are above the port's rate",
            lone,
            &eth(VM, at(PLAIN, PORT_ACCESS))
                .vlan(44)
                .ipv4(a, b)
                .udp(1, 2),
        )
        .becomes(Port, Reason::Switched, &from_noisy.build())
        .counts(
            from_noisy.build().len() + 4,
            &[
                Segment(PLAIN, Encap),
                ToPort(PORT_NOISY, Encap),
                ToPort(PORT_ACCESS, Decap),
            ],
        )
        .passes(PortXdp, Reason::LeftToTc),
        flooded(
            "a group with VTEPs of its own",
            &udp4(mac(group(PLAIN))),
            &own_list,
        ),
        case(
            "unknown unicast where the VNI does not flood",
            quiet,
            &udp4(Mac::nth(0x99)),
        )
        .drops(Port, Reason::NoFdbEntry)
        .of(from_port(QUIET, PORT_QUIET))
        .passes(PortXdp, Reason::LeftToTc),
        case(
            "a broadcast where the VNI does not flood",
            quiet,
            &udp4(Mac::BROADCAST),
        )
        .drops(Port, Reason::FloodOff)
        .of(from_port(QUIET, PORT_QUIET))
        .passes(PortXdp, Reason::LeftToTc),
        case("a broadcast with nobody to hear it", lone, &lonely)
            .drops(Port, Reason::NowhereToFlood)
            .of(from_port(LONE, PORT_LONE))
            .passes(PortXdp, Reason::LeftToTc),
        case("a source of zero", access, &from(Mac::ZERO))
            .drops_at_ports(Reason::InvalidSourceMac)
            .of(from_port(PLAIN, PORT_ACCESS)),
        case("a source that is a group", access, &from(Mac::BROADCAST))
            .drops_at_ports(Reason::InvalidSourceMac)
            .of(from_port(PLAIN, PORT_ACCESS)),
        flooded(
            "a broadcast larger than the underlay carries",
            &lldp(Mac::BROADCAST, 1480),
            &no_copies_to_vteps,
        ),
        case(
            "a VTEP without a route",
            access,
            &udp4(at(PLAIN, PEER_UNREACHABLE)),
        )
        .drops_at_ports(Reason::NoRoute)
        .of(to_peer(PLAIN, PORT_ACCESS, PEER_UNREACHABLE)),
        unresolved("a VTEP that is not resolved", PEER_V4_UNRESOLVED),
        unresolved("a VTEP over IPv6 that is not resolved", PEER_V6_UNRESOLVED),
        case("a VTEP that is gone", access, &udp4(at(PLAIN, GONE_PEER)))
            .drops_at_ports(Reason::TableGap)
            .of(from_port(PLAIN, PORT_ACCESS)),
        case("a port that is gone", access, &udp4(at(PLAIN, GONE_PORT)))
            .drops_at_ports(Reason::TableGap)
            .of(from_port(PLAIN, PORT_ACCESS)),
        // None is encapsulated in place: the skb of a test run has a GSO size, but no type, and the kernel does not make room in that.
        case(
            "a GSO packet that the kernel is to encapsulate",
            access,
            &big_tcp(PEER_V6),
        )
        .gso(1000)
        .redirects(Port, Reason::EncapsulatedByKernel)
        .counts(
            big_tcp(PEER_V6).build().len(),
            &sent(PLAIN, PORT_ACCESS, PEER_V6),
        ),
        case(
            "a GSO packet to another port",
            access,
            &big_tcp(PORT_NARROW),
        )
        .gso(1000)
        .redirects(Port, Reason::Switched)
        .counts(
            big_tcp(PORT_NARROW).build().len(),
            &[
                Segment(PLAIN, Encap),
                ToPort(PORT_ACCESS, Encap),
                ToPort(PORT_NARROW, Decap),
            ],
        ),
        case(
            "a GSO packet whose segments do not fit",
            access,
            &big_tcp(PEER_V4),
        )
        .gso(1420)
        .drops(Port, Reason::TooBig)
        .of(to_peer(PLAIN, PORT_ACCESS, PEER_V4)),
    ]);
}

#[test]
fn no_frame_hops_into_a_vlan_or_out_of_it() {
    need_root!();
    let tagged = |to, vids: &[u16]| {
        let frame = vids.iter().fold(eth(VM, to), |frame, vid| frame.vlan(*vid));
        frame.ethertype(LLDP).payload(1, 60)
    };
    let native = at(TRUNK, PORT_NATIVE);
    let hops = |name, (device, slot), frame: &Frame| {
        case(name, device, frame)
            .drops(Port, Reason::VlanHop)
            .of(from_port(TRUNK, slot))
            .passes(PortXdp, Reason::LeftToTc)
    };
    let stays = tagged(native, &[99]);
    let counts = [
        Segment(TRUNK, Encap),
        ToPort(PORT_CARRIER, Encap),
        ToPort(PORT_NATIVE, Decap),
    ];
    let everybody = |copies: &[Count]| {
        let mut counts = vec![
            Segment(TRUNK, Encap),
            ToPort(PORT_CARRIER, Encap),
            ToPort(PORT_VLAN_20, Decap),
            Peer(PEER_V6, Encap),
            Peer(PEER_V6_UNRESOLVED, Encap),
            Peer(PEER_V6_ZERO, Encap),
            Peer(PEER_V4, Encap),
        ];
        counts.extend(copies);
        counts
    };
    let flooded = |name, frame: &Frame, copies: &[Count]| {
        case(name, carrier, frame)
            .floods(Port, Reason::Flooded)
            .counts(frame.build().len(), &everybody(copies))
            .passes(PortXdp, Reason::LeftToTc)
    };
    all(&[
        hops(
            "into a VLAN that another port has",
            (carrier, PORT_CARRIER),
            &tagged(native, &[10]),
        ),
        hops(
            "into a VLAN behind a priority tag",
            (carrier, PORT_CARRIER),
            &tagged(native, &[0, 40]),
        ),
        hops(
            "into a VLAN by the tag behind the one that goes",
            (trunk, PORT_VLAN_20),
            &tagged(native, &[20, 10]),
        ),
        case(
            "out of a VLAN behind a priority tag",
            trunk,
            &tagged(at(TRUNK, PORT_CARRIER), &[0, 10]),
        )
        .drops_at_ports(Reason::VlanHop)
        .of(from_port(TRUNK, PORT_NATIVE)),
        case("in a VLAN that has no port", carrier, &stays)
            .redirects(Port, Reason::Switched)
            .counts(stays.build().len(), &counts)
            .passes(PortXdp, Reason::LeftToTc),
        flooded(
            "a broadcast in a VLAN that another port has",
            &tagged(Mac::BROADCAST, &[40]),
            &[Hop(from_port(TRUNK, PORT_NATIVE))],
        ),
        flooded(
            "a broadcast in a VLAN that has no port",
            &tagged(Mac::BROADCAST, &[99]),
            &[ToPort(PORT_NATIVE, Decap)],
        ),
    ]);
}

#[test]
fn a_guarded_port_sends_as_itself_alone() {
    need_root!();
    let own = at(PLAIN, PORT_OWN);
    let to = at(PLAIN, PEER_V4);
    let tagged = |source| eth(source, to).vlan(47);
    let [yes, second, no] = [7, 1, 9].map(|host| Ipv4Addr::new(10, 0, 0, host));
    let (far, probe) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::UNSPECIFIED);
    let udp = |source: Ipv4Addr| tagged(own).ipv4(source, far).udp(1000, 2000).payload(1, 30);
    let arp = |sender: Ipv4Addr| tagged(own).arp_request((own, sender), far);
    let inner = |frame: &Frame| {
        let bytes = frame.build();
        [&bytes[..12], &bytes[16..]].concat()
    };
    let counts = sent(PLAIN, PORT_OWN, PEER_V4);
    let passes = |name, frame: &Frame| {
        case(name, lone, frame)
            .encapsulates(Port, outer_v4(100, FAR_V4, 0, inner(frame)))
            .counts(frame.build().len(), &counts)
            .passes(PortXdp, Reason::LeftToTc)
    };
    let drops = |name, frame: &Frame| {
        case(name, lone, frame)
            .drops(Port, Reason::SpoofedIp)
            .of(from_port(PLAIN, PORT_OWN))
            .passes(PortXdp, Reason::LeftToTc)
    };
    let dhcp = tagged(own)
        .ipv4(probe, Ipv4Addr::BROADCAST)
        .udp(68, 67)
        .payload(1, 240);
    all(&[
        case("a packet from the first own address", lone, &udp(yes))
            .encapsulates(Port, outer_v4(100, FAR_V4, 0, inner(&udp(yes))))
            .counts(udp(yes).build().len(), &counts)
            .encapsulates(PortXdp, outer_v4(100, FAR_V4, 0, inner(&udp(yes))))
            .counts(udp(yes).build().len(), &counts),
        passes("a packet from another own address", &udp(second)),
        passes("an own address asks", &arp(yes)),
        passes("a probe", &arp(probe)),
        passes("DHCP", &dhcp),
        drops("a packet from another's address", &udp(no)),
        drops("another's address asks", &arp(no)),
        drops("a packet from nobody", &udp(probe)),
        case(
            "from another MAC",
            lone,
            &tagged(VM).ipv4(yes, far).udp(1, 2),
        )
        .drops_at_ports(Reason::SpoofedMac)
        .of(from_port(PLAIN, PORT_OWN)),
    ]);
}

/// A TCP packet larger than the underlay carries.
fn big_tcp(to: impl Into<u32>) -> Frame {
    let (a, b) = INNER_V4;
    eth(VM, at(PLAIN, to))
        .ipv4(a, b)
        .tcp(1, 2, 3)
        .payload(6, 2800)
}
