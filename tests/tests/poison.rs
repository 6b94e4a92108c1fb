//! ARP and ND that is malformed, or that claims to be of somebody else, is neither believed nor answered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vtep_tests::dump;
use vtep_tests::encoder::neighbour::{
    self, ADVERTISEMENT, ALL_NODES, Host, OVERRIDE, SOLICITATION,
};
use vtep_tests::encoder::{Frame, Mac, eth};
use vtep_tests::lab::GREEN;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::wait::until_true;

/// Makes a test of each case: frames that the VM sends, each of which claims that [`THIEF`] has the
/// addresses of [`VICTIM`] or asks for [`KNOWN`].
macro_rules! teaches_nothing {
    ($($test:ident: $frames:expr;)+) => {
        $(
            #[test]
            fn $test() {
                need_root!();
                let lies: Vec<Vec<u8>> = $frames;
                check(&lies);
            }
        )+
    };
}

/// The VM that sends everything.
const THIEF: Host = Host::at(VM, 0x0a);
/// A host of the segment that nobody knows yet.
const VICTIM: Host = Host::nth(0x42);
/// A host that is answered for.
const KNOWN: Host = Host::at(FAR_VM, 0x0b);
/// Says something true after each lie.
const WITNESS: Host = Host::nth(0x43);

teaches_nothing! {
    arp_of_another_hardware_type: with_byte(&arps(), 15, 6);
    arp_of_another_protocol_type: with_byte(&arps(), 16, 0x86);
    arp_with_another_hardware_length: with_byte(&arps(), 18, 8);
    arp_with_a_hardware_length_of_zero: with_byte(&arps(), 18, 0);
    arp_with_another_protocol_length: with_byte(&arps(), 19, 16);
    arp_of_an_unknown_operation: with_byte(&arps(), 21, 9);
    arp_that_ends_early: cut(&arps(), &[14, 15, 21, 22, 28, 32, 38, 41]);
    arp_from_another_ethernet_source: vec![
        eth(VM, Mac::BROADCAST).arp_request((VICTIM.mac, VICTIM.v4), VICTIM.v4).build(),
        eth(VM, Mac::BROADCAST).arp_reply((VICTIM.mac, VICTIM.v4), (VICTIM.mac, VICTIM.v4)).build(),
        eth(VM, Mac::BROADCAST).arp_request((VICTIM.mac, VICTIM.v4), THIEF.v4).build(),
    ];
    arp_of_a_group_or_no_mac: [Mac::BROADCAST, Mac::ZERO, Mac([1, 0, 0x5e, 0, 0, 1])]
        .map(|mac| eth(VM, Mac::BROADCAST).arp_reply((mac, VICTIM.v4), (mac, VICTIM.v4)).build())
        .to_vec();
    arp_of_an_address_that_no_host_has: [
        Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::LOCALHOST, Ipv4Addr::new(224, 0, 0, 1),
    ]
        .map(|ip| eth(VM, Mac::BROADCAST).arp_reply((VM, ip), (VM, ip)).build())
        .to_vec();
    nd_with_a_wrong_checksum: nds().into_iter().map(|mut frame| {
        frame[56] ^= 0x5a;
        frame
    }).collect();
    nd_with_a_checksum_of_zero: nds().into_iter().map(|mut frame| {
        frame[56..58].fill(0);
        frame
    }).collect();
    nd_with_another_hop_limit: [0, 1, 64, 254]
        .map(|limit| claim().ttl(limit).icmp6(ADVERTISEMENT, [OVERRIDE, 0, 0, 0])
            .bytes(&VICTIM.v6.octets()).bytes(&neighbour::target(VM)).build())
        .into_iter()
        .chain([question().ttl(64).icmp6(SOLICITATION, [0; 4]).bytes(&KNOWN.v6.octets()).build()])
        .collect();
    nd_with_a_code: nds().into_iter().map(|frame| with_icmp_code(frame, 1)).collect();
    nd_with_an_option_of_length_zero: ended_with(&[2, 0, 2, 0, 0, 0, 0, 0x0a]);
    nd_with_an_option_that_ends_late: ended_with(&[2, 2, 2, 0, 0, 0, 0, 0x0a]);
    nd_with_an_option_cut_off: ended_with(&[2, 1, 2, 0, 0]);
    nd_that_ends_early: [0, 4, 15].map(|len| {
        claim().ttl(255).icmp6(ADVERTISEMENT, [OVERRIDE, 0, 0, 0])
            .bytes(&VICTIM.v6.octets()[..len]).build()
    }).into_iter().chain([question().ttl(255).icmp6(SOLICITATION, [0; 4])
        .bytes(&KNOWN.v6.octets()[..8]).build()]).collect();
    nd_with_another_mac_in_its_option: vec![
        neighbour::advertisement(to_all(VM), VICTIM.v6, ALL_NODES, OVERRIDE)
            .bytes(&neighbour::target(VICTIM.mac)).build(),
        neighbour::solicitation((VM, VICTIM.v6), THIEF.v6)
            .bytes(&neighbour::source(VICTIM.mac)).build(),
    ];
    nd_of_an_address_that_no_host_has: [Ipv6Addr::UNSPECIFIED, ALL_NODES, Ipv6Addr::LOCALHOST]
        .map(|ip| to_all(VM).ipv6(THIEF.v6, ALL_NODES).ttl(255)
            .icmp6(ADVERTISEMENT, [OVERRIDE, 0, 0, 0])
            .bytes(&ip.octets()).bytes(&neighbour::target(VM)).build())
        .to_vec();
    nd_in_a_fragment: vec![
        claim().ttl(255).protocol(44).bytes(&[58, 0, 0, 1, 0, 0, 0, 9])
            .bytes(&[ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0])
            .bytes(&VICTIM.v6.octets()).bytes(&neighbour::target(VM)).build(),
    ];
    nd_longer_than_the_frame: nds().into_iter().map(|mut frame| {
        frame[19] += 8;
        frame
    }).collect();
}

/// The VM sends each of `lies`; none is answered, and none is believed.
#[track_caller]
fn check(lies: &[Vec<u8>]) {
    let wire = Wire::with(Family::V4, "--suppress on", &[]);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    for ip in KNOWN.ips() {
        wire.daemon
            .ok(&format!("neigh add {ip} --vni {GREEN} --lladdr {FAR_VM}"));
    }
    let before = wire.daemon.table("neigh");
    let fdb = wire.daemon.table("fdb");

    for lie in lies {
        wire.port.drain();
        wire.port.send(lie);
        drop(wire.left());
        let answer = wire.port.recv(std::time::Duration::ZERO);
        assert_eq!(answer, None, "answered:\n{}", dump::hex(lie));
    }

    // Events keep their order, so what has not been learned before this is not learned.
    wire.port
        .send(&WITNESS.announces(WITNESS.v4.into()).build());
    until_true("the truth to be learned", || {
        wire.daemon.neigh(GREEN, WITNESS.v4.into()).is_some()
    });
    let mut after = wire.daemon.table("neigh");
    after.retain(|row| row["ip"] != IpAddr::from(WITNESS.v4).to_string().as_str());
    assert_eq!(after, before, "one of these was believed: {lies:02x?}");
    let mut learned = wire.daemon.table("fdb");
    learned.retain(|row| row["mac"] != WITNESS.mac.to_string().as_str());
    assert_eq!(learned, fdb, "one of these was learned from: {lies:02x?}");
}

#[test]
fn what_is_right_of_these_is_believed() {
    need_root!();
    let wire = Wire::with(Family::V4, "--suppress on", &[]);
    for ip in KNOWN.ips() {
        wire.daemon
            .ok(&format!("neigh add {ip} --vni {GREEN} --lladdr {FAR_VM}"));
    }
    for frame in arps().into_iter().chain(nds()) {
        wire.port.send(&frame);
    }
    for ip in KNOWN.ips() {
        wire.port.expect(&KNOWN.answers_probe(&THIEF, ip).build());
    }
    for ip in VICTIM.ips() {
        until_true("the claim to be believed", || {
            wire.daemon.neigh(GREEN, ip).is_some()
        });
    }
}

/// A claim to [`VICTIM`]'s address as well formed as can be, and a question that is answered.
fn arps() -> Vec<Vec<u8>> {
    vec![
        eth(VM, Mac::BROADCAST)
            .arp_request((VM, VICTIM.v4), VICTIM.v4)
            .build(),
        question_frame(KNOWN.v4.into()),
    ]
}

/// The same in ND.
fn nds() -> Vec<Vec<u8>> {
    vec![
        neighbour::advertisement(to_all(VM), VICTIM.v6, ALL_NODES, OVERRIDE)
            .bytes(&neighbour::target(VM))
            .build(),
        question_frame(KNOWN.v6.into()),
    ]
}

/// The VM asks for a host that is answered for, under an address that nobody may learn of.
fn question_frame(target: IpAddr) -> Vec<u8> {
    THIEF.probes(target).build()
}

fn to_all(from: Mac) -> Frame {
    eth(from, Mac([0x33, 0x33, 0, 0, 0, 1]))
}

/// The head of a claim to [`VICTIM`]'s address.
fn claim() -> Frame {
    to_all(VM).ipv6(VICTIM.v6, ALL_NODES)
}

/// The head of a question for [`KNOWN`].
fn question() -> Frame {
    let group = "ff02::1:ff00:b".parse().expect("an address");
    eth(VM, Mac([0x33, 0x33, 0xff, 0, 0, 0x0b])).ipv6(Ipv6Addr::UNSPECIFIED, group)
}

/// A claim and a question with these bytes where options are.
fn ended_with(options: &[u8]) -> Vec<Vec<u8>> {
    vec![
        neighbour::advertisement(to_all(VM), VICTIM.v6, ALL_NODES, OVERRIDE)
            .bytes(options)
            .build(),
        question()
            .ttl(255)
            .icmp6(SOLICITATION, [0; 4])
            .bytes(&KNOWN.v6.octets())
            .bytes(options)
            .build(),
    ]
}

/// Each frame with another byte at one place.
fn with_byte(frames: &[Vec<u8>], at: usize, value: u8) -> Vec<Vec<u8>> {
    let change = |frame: &Vec<u8>| {
        let mut frame = frame.clone();
        frame[at] = value;
        frame
    };
    frames.iter().map(change).collect()
}

/// Each frame cut to each length.
fn cut(frames: &[Vec<u8>], lens: &[usize]) -> Vec<Vec<u8>> {
    frames
        .iter()
        .flat_map(|frame| lens.iter().map(|len| frame[..*len].to_vec()))
        .collect()
}

/// An `ICMPv6` frame with another code, whose checksum is right.
fn with_icmp_code(mut frame: Vec<u8>, code: u8) -> Vec<u8> {
    frame[55] = code;
    let sum = u16::from_be_bytes([frame[56], frame[57]]);
    // One's complement: what is added to the data is taken from the checksum (RFC 1624).
    let (less, borrow) = sum.overflowing_sub(code.into());
    let sum = less - u16::from(borrow);
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}
