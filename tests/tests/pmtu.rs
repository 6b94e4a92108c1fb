//! The path's MTU: guests are told what fits.

use std::net::{IpAddr, UdpSocket};

use serde_json::Value;
use vtep_tests::encoder::inner::{v4, v6};
use vtep_tests::encoder::{Frame, Mac, eth};
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, PORT, SECOND, VM, Wire};
use vtep_tests::lab::{Attach, GREEN, Kind, Lab, UPLINK, VM_DEV, Vm};
use vtep_tests::link::Link as _;
use vtep_tests::link::tap::GsoType;
use vtep_tests::traffic;
use vtep_tests::wait::until_true;
use vtep_tests::{over_each_family, over_each_underlay};

over_each_family! {
    a_packet_that_must_not_be_fragmented_is_answered_byte_by_byte,
    an_answer_is_tagged_as_the_frame_was,
    a_gso_packet_is_answered,
    what_may_be_fragmented_and_what_is_no_host_s_is_dropped_in_silence,
    a_port_is_answered_no_faster_than_its_rate,
    a_guest_behind_a_bridge_and_one_behind_a_router_learn_what_fits,
    what_the_underlay_says_is_heeded,
    forged_messages_change_nothing,
    what_was_learned_is_forgotten_with_the_daemon,
    a_router_on_the_way_is_heard,
    syns_offer_what_fits_both_ways,
    a_connection_that_hears_no_icmp_completes_where_syns_are_clamped,
    a_port_with_a_larger_mtu_than_fits_is_named,
}

over_each_underlay! {
    a_guest_with_an_mtu_of_1500_sends_all_that_it_has_to_say,
}

/// Bytes of an IP packet that every guest here may send, and that fit no tunnel here.
const LEN: usize = 1500;

/// Both families of guests: addresses of the near and the far one.
fn guests() -> [(IpAddr, IpAddr); 2] {
    let ((a, b), (a6, b6)) = (v4(), v6());
    [(a.into(), b.into()), (a6.into(), b6.into())]
}

const fn header_len(ip: IpAddr) -> usize {
    if ip.is_ipv4() { 20 } else { 40 }
}

/// A packet of so many bytes from the near guest to the far one that must not be fragmented.
fn packet((from, to): (IpAddr, IpAddr), head: Frame, len: usize) -> Vec<u8> {
    let ip = head.ip(from, to);
    let ip = if from.is_ipv4() { ip.df() } else { ip };
    ip.tcp(40_000, 443, 7)
        .payload(3, len - header_len(from) - 20)
        .build()
}

/// The answer to an untagged frame of the near guest: what a router would send, from the far guest's address.
fn answer((from, to): (IpAddr, IpAddr), frame: &[u8], mtu: u32) -> Vec<u8> {
    let quoted = &frame[14..];
    let rest = mtu.to_be_bytes();
    let head = eth(FAR_VM, VM).ip(to, from);
    if from.is_ipv4() {
        let quoted = &quoted[..quoted.len().min(548)];
        let head = head.df().tos(0xc0);
        head.icmp(3, 4, rest).bytes(quoted).build()
    } else {
        let quoted = &quoted[..quoted.len().min(1232)];
        head.icmp6(2, rest).bytes(quoted).build()
    }
}

fn mtu_of(wire: &Wire) -> u32 {
    1500 - wire.family.overhead()
}

fn a_packet_that_must_not_be_fragmented_is_answered_byte_by_byte(family: Family) {
    let wire = Wire::new(family);
    let fits = usize::try_from(mtu_of(&wire)).unwrap();
    for (sent, guests) in (1..).zip(guests()) {
        wire.encap(&packet(guests, eth(VM, FAR_VM), fits));
        let frame = packet(guests, eth(VM, FAR_VM), fits + 1);

        wire.port.send(&frame);

        wire.port.expect(&answer(guests, &frame, mtu_of(&wire)));
        wire.daemon.expect_dropped("too_big_answered", sent);
    }
    assert_eq!(wire.daemon.dropped("too_big"), 0);
}

fn an_answer_is_tagged_as_the_frame_was(family: Family) {
    let wire = Wire::with(family, "--inner-vlan pass", &[]);
    let trunk = wire.add_port("trunk0", "--vlan 7");
    for guests in guests() {
        // One that is carried takes room, one that the port's VLAN takes away does not.
        for (port, mac, vid, mtu) in [
            (&wire.port, VM, 5, mtu_of(&wire) - 4),
            (&trunk, Mac::nth(0x0c), 7, mtu_of(&wire)),
        ] {
            let frame = packet(guests, eth(mac, FAR_VM).vlan(vid), LEN);
            let untagged = [&frame[..12], &frame[16..]].concat();
            let answer = answer(guests, &untagged, mtu);

            port.send(&frame);

            port.expect(&[&mac.0, &answer[6..12], &frame[12..16], &answer[12..]].concat());
        }
    }
}

fn a_gso_packet_is_answered(family: Family) {
    let wire = Wire::with_vnet_port(family);
    for guests in guests() {
        let l4 = 14 + header_len(guests.0);
        let frame = packet(guests, eth(VM, FAR_VM), 9000);
        let segment = |mtu: u32| u16::try_from(mtu).unwrap() - u16::try_from(l4 - 14 + 20).unwrap();
        wire.port
            .send_gso(&frame, GsoType::Tcp, segment(mtu_of(&wire)), l4);
        wire.uplink
            .wait_for("a segment", |packet| wire.is_vxlan(packet));

        wire.port
            .send_gso(&frame, GsoType::Tcp, segment(mtu_of(&wire)) + 1, l4);

        wire.port.expect(&answer(guests, &frame, mtu_of(&wire)));
    }
}

fn what_may_be_fragmented_and_what_is_no_host_s_is_dropped_in_silence(family: Family) {
    let wire = Wire::new(family);
    let (a, b) = v4();
    let (a6, b6) = v6();
    let group = [224, 0, 0, 9].into();
    let frames = [
        eth(VM, FAR_VM).ipv4(a, b).udp(1, 2),
        eth(VM, FAR_VM).ipv4(a, group).df().udp(1, 2),
        eth(VM, FAR_VM).ipv4([0, 0, 0, 0].into(), b).df().udp(1, 2),
        eth(VM, FAR_VM).ipv4(a, b).df().icmp(3, 4, [0; 4]),
        eth(VM, FAR_VM)
            .ipv4(a, b)
            .fragment(1, 0x4000 | 0x00b9)
            .protocol(17),
        eth(VM, FAR_VM).ipv6(a6, b6).icmp6(2, [0; 4]),
        eth(VM, FAR_VM)
            .ipv6(a6, "ff02::9".parse().unwrap())
            .udp(1, 2),
        eth(VM, FAR_VM).ethertype(0x88b6),
    ];
    for frame in frames {
        wire.refuses_from_vm(&frame.payload(1, LEN).build(), "too_big");
    }
    assert_eq!(wire.daemon.dropped("too_big_answered"), 0);
    // The next that is answered is the first.
    let [guests, _] = guests();
    let frame = packet(guests, eth(VM, FAR_VM), LEN);
    wire.port.send(&frame);
    let first = wire.port.wait_for("an IP packet", |frame| {
        frame[12..14] == [8, 0] || frame[12..14] == [0x86, 0xdd]
    });
    assert_eq!(first, answer(guests, &frame, mtu_of(&wire)));
}

fn a_port_is_answered_no_faster_than_its_rate(family: Family) {
    const SENT: u64 = 2_000;
    let wire = Wire::new(family);
    let [guests, _] = guests();
    let frame = packet(guests, eth(VM, FAR_VM), LEN);
    let answer = answer(guests, &frame, mtu_of(&wire));
    let start = std::time::Instant::now();

    for _ in 0..SENT {
        wire.port.send(&frame);
    }

    let counted = || {
        let dropped = |reason| wire.daemon.dropped(reason);
        (dropped("too_big_answered"), dropped("too_big"))
    };
    until_true("every frame to be counted", || {
        let (answered, silent) = counted();
        answered + silent == SENT
    });
    let (answered, _) = counted();
    // What a second allows at once, and then a hundredth of a second each.
    let most = 101 + start.elapsed().as_millis() / 10;
    assert!(u128::from(answered) <= most, "{answered} of {most}");
    let got = wire
        .port
        .collect(std::time::Duration::from_secs(2), |seen| {
            let answers = seen.iter().filter(|frame| **frame == answer).count();
            answers >= usize::try_from(answered).unwrap()
        });
    assert!(!got.is_empty());
    let other = wire.add_port("vm1", "");
    other.send(&frame_from(Mac::nth(0x0c), &frame));
    let answer = [&Mac::nth(0x0c).0, &answer[6..]].concat();
    other.expect(&answer);
}

/// The frame, from another MAC.
fn frame_from(mac: Mac, frame: &[u8]) -> Vec<u8> {
    [&frame[..6], &mac.0, &frame[12..]].concat()
}

/// Two guests with an MTU of 1500 behind two hypervisors, on an underlay of 1500.
fn large_guests(lab: &Lab, attach: Attach) -> (Vm, Vm) {
    let guests = [(0, 1), (1, 2)].map(|(at, number)| {
        let vm = lab.vm_by(attach, at, number, GREEN);
        vm.ns.ip(&format!("link set {VM_DEV} mtu 1500"));
        lab.hypervisors[at]
            .ns
            .ip(&format!("link set {} mtu 1500", vm.port));
        lab.teach(GREEN, &vm);
        vm
    });
    guests.into()
}

/// What a guest has learned of the path to an address.
fn path_mtu(ns: &Ns, to: IpAddr) -> Option<u32> {
    let route = ns.ip_output(&format!("route get {to}"));
    let mut words = route.split_whitespace().skip_while(|word| *word != "mtu");
    words.nth(1)?.parse().ok()
}

fn a_guest_with_an_mtu_of_1500_sends_all_that_it_has_to_say(underlay: Underlay) {
    for attach in [Attach::Veth, Attach::TapVnet, Attach::TapPlain] {
        let lab = Lab::green(underlay, &[Kind::Vtep, Kind::Vtep]);
        let (a, b) = large_guests(&lab, attach);
        for (from, to, ip) in [(&a, &b, b.v4), (&b, &a, a.v6)] {
            traffic::tcp_transfer(&from.ns, &to.ns, ip, 4 << 20);
            assert_eq!(path_mtu(&from.ns, ip), Some(lab.inner_mtu()), "{attach:?}");
        }
        // Who knows the path offers no larger segments, so the other end need not be told.
        traffic::tcp_transfer(&b.ns, &a.ns, a.v4, 4 << 20);
        traffic::tcp_transfer(&a.ns, &b.ns, b.v6, 4 << 20);
    }
}

/// Guests that are not at the port themselves: one behind a bridge, one behind a router.
fn a_guest_behind_a_bridge_and_one_behind_a_router_learn_what_fits(family: Family) {
    let wire = Wire::new(family);
    for routed in [false, true] {
        let (middle, guest) = (Ns::new("middle"), Ns::new("guest"));
        let port = if routed { "routed0" } else { "bridged0" };
        wire.ns.veth(port, &middle, "out");
        middle.veth("in", &guest, VM_DEV);
        // The addresses of the guest, of the far guest, and by whom it is reached.
        let net = |host: u8| [format!("10.8.0.{host}"), format!("fd08::{host}")];
        let (near, far) = (net(1), net(9));
        let (towards_far, dev) = if routed {
            (&middle, "out")
        } else {
            (&guest, VM_DEV)
        };
        if routed {
            middle.sysctl("ipv4/ip_forward", "1");
            middle.sysctl("ipv6/conf/all/forwarding", "1");
            middle.ip("addr add 10.8.0.2/24 dev out
                 addr add fd08::2/64 dev out nodad
                 addr add 10.7.0.1/24 dev in
                 addr add fd07::1/64 dev in nodad");
            guest.ip(&format!(
                "addr add 10.7.0.2/24 dev {VM_DEV}
                 addr add fd07::2/64 dev {VM_DEV} nodad
                 route add default via 10.7.0.1
                 route add default via fd07::1"
            ));
        } else {
            middle.ip("link add br0 type bridge stp_state 0 mcast_snooping 0
                 link set br0 up
                 link set out master br0
                 link set in master br0");
            for ip in &near {
                let bits = if ip.contains(':') { "64 nodad" } else { "24" };
                guest.ip(&format!(
                    "addr add {} dev {VM_DEV}",
                    ip.clone() + "/" + bits
                ));
            }
        }
        for ip in &far {
            towards_far.ip(&format!(
                "neigh replace {ip} lladdr {FAR_VM} dev {dev} nud permanent"
            ));
        }
        wire.daemon.ok(&format!("port add {port} --vni {GREEN}"));
        for ip in far {
            let ip: IpAddr = ip.parse().unwrap();
            let any: IpAddr = if ip.is_ipv4() {
                [0; 4].into()
            } else {
                [0_u16; 8].into()
            };
            let socket = guest.run(|| UdpSocket::bind((any, 0)).unwrap());
            until_true("the guest to know what fits", || {
                // The first that is too big for what it knows by then is refused at home.
                drop(socket.send_to(&[1; 1400 + 48], (ip, 9)));
                path_mtu(&guest, ip) == Some(mtu_of(&wire))
            });
        }
        wire.daemon.ok(&format!("port del {port}"));
    }
}

/// What a router in the underlay says of a packet of ours, of which it quotes so much.
fn told(wire: &Wire, mtu: u32, quoted: &[u8]) -> Vec<u8> {
    let router = wire.family.address(0, 9);
    let head = eth(FAR_MAC, wire.mac).ip(router, wire.ip);
    let head = match wire.family {
        Family::V4 => head.icmp(3, 4, mtu.to_be_bytes()),
        Family::V6 => head.icmp6(2, mtu.to_be_bytes()),
    };
    head.bytes(quoted).build()
}

/// A packet of ours, as a router would quote it.
fn quoted(wire: &Wire) -> Vec<u8> {
    let sent = wire.encap(&eth(VM, FAR_VM).ethertype(0x88b6).payload(9, 400).build());
    sent[14..].to_vec()
}

/// Waits for the MTU of the path to the far VTEP, as `vtep` shows it.
fn peer_mtu_is(wire: &Wire, want: u32) {
    let row = || {
        wire.daemon
            .rows(&format!("peer show {}", wire.far_ip))
            .remove(0)
    };
    until_true("the MTU of the path", || row()["mtu"] == want);
    let expires = row()["mtu_expires_s"].as_u64();
    let known = expires.map(|left| (1..=600).contains(&left));
    assert_eq!(known, (want < 1500).then_some(true), "{expires:?}");
}

/// A smaller MTU that has nothing to do with what a message could say wrongly.
const SMALLER: u32 = 1400;

fn what_the_underlay_says_is_heeded(family: Family) {
    let wire = Wire::new(family);
    let packet = quoted(&wire);
    peer_mtu_is(&wire, 1500);

    wire.uplink.send(&told(&wire, SMALLER, &packet));

    peer_mtu_is(&wire, SMALLER);
    let fits = SMALLER - family.overhead();
    for guests in guests() {
        wire.encap(&packet_of(guests, fits));
        let frame = packet_of(guests, fits + 1);
        wire.port.send(&frame);
        wire.port.expect(&answer(guests, &frame, fits));
    }
    // As little as the RFCs ask a router to quote: the IP header and 8 bytes. And no less than every link or host takes.
    let header_len = if family == Family::V4 { 20 } else { 40 };
    wire.uplink
        .send(&told(&wire, 100, &packet[..header_len + 8]));
    peer_mtu_is(&wire, if family == Family::V4 { 576 } else { 1280 });
}

fn packet_of(guests: (IpAddr, IpAddr), len: u32) -> Vec<u8> {
    packet(guests, eth(VM, FAR_VM), usize::try_from(len).unwrap())
}

fn forged_messages_change_nothing(family: Family) {
    const FORGED: u32 = 1300;
    let wire = Wire::with(family, "", &["--iface", SECOND]);
    let packet = quoted(&wire);
    let (ip, udp) = match family {
        Family::V4 => (12, 20),
        Family::V6 => (8, 40),
    };
    let address_len = (udp - ip) / 2;
    let with = |at: usize, byte: u8| {
        let mut forged = packet.clone();
        forged[at] ^= byte;
        forged
    };
    let forged = [
        with(ip + address_len - 1, 0x40),
        with(ip + 2 * address_len - 1, 0x40),
        with(udp, 0xff),
        with(udp + 3, 1),
        with(udp + 8, 0x08),
        with(udp + 8 + 6, 1),
        packet[..udp + 4].to_vec(),
    ];
    for quoted in &forged {
        wire.uplink.send(&told(&wire, FORGED, quoted));
    }
    let mut corrupted = told(&wire, FORGED, &packet);
    *corrupted.last_mut().unwrap() ^= 1;
    wire.uplink.send(&corrupted);
    // A true one, by another interface than that by which the packet left.
    let second = wire.second.as_ref().unwrap();
    let mac = wire.ns.mac(SECOND);
    let elsewhere = [&mac.0, &told(&wire, FORGED, &packet)[6..]].concat();
    second.send(&elsewhere);

    // What is heard before a true one has been dealt with when that one has.
    wire.uplink.send(&told(&wire, SMALLER, &packet));
    peer_mtu_is(&wire, SMALLER);
    wire.uplink.send(&told(&wire, SMALLER - 10, &packet));
    peer_mtu_is(&wire, SMALLER - 10);
}

fn what_was_learned_is_forgotten_with_the_daemon(family: Family) {
    let wire = Wire::new(family);
    let packet = quoted(&wire);
    wire.uplink.send(&told(&wire, SMALLER, &packet));
    peer_mtu_is(&wire, SMALLER);
    // The host's own route cache believes it as well. That is not asked: neither by this daemon nor by the next.
    wire.ns.ip(&format!(
        "neigh replace {} lladdr {} dev {UPLINK} nud permanent",
        wire.far_ip,
        Mac::nth(0x77)
    ));
    let row = || {
        wire.daemon
            .rows(&format!("peer show {}", wire.far_ip))
            .remove(0)
    };
    until_true("the new next hop", || {
        row()["mac"] == Mac::nth(0x77).to_string()
    });
    peer_mtu_is(&wire, SMALLER);

    wire.daemon.stop();
    wire.daemon.run();

    peer_mtu_is(&wire, 1500);
}

/// A router in the underlay whose second link is narrower than all that the hypervisor knows of.
fn a_router_on_the_way_is_heard(family: Family) {
    let topology = Topology::Routed;
    let lab = Lab::green(Underlay { family, topology }, &[Kind::Vtep, Kind::Vtep]);
    let (a, b) = large_guests(&lab, Attach::Veth);
    lab.fabric.ip(&format!("link set hv1 mtu {SMALLER}"));
    lab.hypervisors[1]
        .ns
        .ip(&format!("link set {UPLINK} mtu {SMALLER}"));

    for ip in b.ips() {
        traffic::tcp_transfer(&a.ns, &b.ns, ip, 1 << 20);
        assert_eq!(path_mtu(&a.ns, ip), Some(SMALLER - family.overhead()));
    }

    let far = lab.hypervisors[1].ip;
    let row = &lab.daemon(0).rows(&format!("peer show {far}"))[0];
    assert_eq!(row["mtu"], SMALLER);
}

/// A SYN of the near guest that offers so much, or the same the other way.
fn syn((from, to): (IpAddr, IpAddr), head: Frame, mss: u16) -> Vec<u8> {
    let [high, low] = mss.to_be_bytes();
    head.ip(from, to)
        .tcp_syn(40_000, 443, 7, &[1, 3, 3, 7, 2, 4, high, low, 4, 2, 1, 1])
        .build()
}

fn syns_offer_what_fits_both_ways(family: Family) {
    let wire = Wire::with(family, "--mss-clamp on", &[]);
    for (a, b) in guests() {
        let fits =
            u16::try_from(mtu_of(&wire)).unwrap() - u16::try_from(header_len(a)).unwrap() - 20;
        let (out, back) = ((a, b), (b, a));
        for (offered, want) in [(fits + 1, fits), (8960, fits), (fits, fits), (500, 500)] {
            wire.port.send(&syn(out, eth(VM, FAR_VM), offered));
            let want_out = syn(out, eth(VM, FAR_VM), want);
            wire.uplink
                .wait_for("the SYN", |packet| packet.ends_with(&want_out));

            let frame = syn(back, eth(FAR_VM, VM), offered);
            let want_in = syn(back, eth(FAR_VM, VM), want);
            wire.delivers(&wire.tunnelled(GREEN, &frame), &want_in);
        }
    }
    wire.daemon.ok(&format!("vni set {GREEN} --mss-clamp off"));
    assert_eq!(
        wire.daemon.rows(&format!("vni show {GREEN}"))[0]["mss_clamp"],
        false
    );
    let [(a, b), _] = guests();
    wire.encap(&syn((a, b), eth(VM, FAR_VM), 8960));
    let frame = syn((b, a), eth(FAR_VM, VM), 8960);
    wire.delivers(&wire.tunnelled(GREEN, &frame), &frame);
}

/// Guests that drop what they are told, as many firewalls do.
fn a_connection_that_hears_no_icmp_completes_where_syns_are_clamped(family: Family) {
    let topology = Topology::Flat;
    let lab = Lab::new(Underlay { family, topology }, &[Kind::Vtep, Kind::Kernel]);
    lab.segment_with(GREEN, "--mss-clamp on");
    let (a, b) = large_guests(&lab, Attach::TapVnet);
    let before = lab.daemon(0).dropped("too_big_answered");

    for (from, to) in [(&a, &b), (&b, &a)] {
        for ip in to.ips() {
            traffic::tcp_transfer(&from.ns, &to.ns, ip, 1 << 20);
        }
    }

    assert_eq!(lab.daemon(0).dropped("too_big_answered"), before);
}

fn a_port_with_a_larger_mtu_than_fits_is_named(family: Family) {
    let wire = Wire::new(family);
    let row = |dev: &str| wire.daemon.rows(&format!("port show {dev}")).remove(0);
    let advice = row(PORT);
    assert_eq!(
        (&advice["mtu"], &advice["mtu_advice"]),
        (&1500.into(), &mtu_of(&wire).into())
    );

    drop(wire.add_port("vm1", ""));
    let small = wire.tap("vm2");
    wire.ns.ip(&format!("link set vm2 mtu {}", mtu_of(&wire)));
    wire.daemon.ok(&format!("port add vm2 --vni {GREEN}"));

    assert_eq!(row("vm2")["mtu_advice"], Value::Null);
    drop(small);
    let log = wire.daemon.log();
    let said = |dev: &str| {
        format!(
            "port {dev} has MTU 1500, but packets of more than {} bytes",
            mtu_of(&wire)
        )
    };
    assert!(log.contains(&said("vm1")), "{log}");
    assert!(!log.contains("port vm2 has MTU"), "{log}");
}
