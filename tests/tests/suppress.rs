//! ARP and ND questions of VMs are answered at their port, and not one of them crosses the underlay.

use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::dump::assert_same;
use vtep_tests::encoder::neighbour::{self, Host};
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::GREEN;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::wait::{DEADLINE, until_true};

over_each_family! {
    a_question_for_a_known_host_is_answered_and_nothing_leaves,
    a_probe_for_a_known_host_is_answered,
    a_solicitation_is_answered_whatever_its_options,
    a_router_is_called_one,
    a_question_in_a_vlan_is_answered_in_it,
    answers_go_on_without_a_daemon,
    polls_of_one_host_are_let_through,
    a_host_is_not_answered_about_its_own_address,
    announcements_are_let_through,
    questions_from_the_tunnel_are_not_answered,
    questions_for_unknown_hosts_are_flooded,
    questions_for_unknown_hosts_are_counted_where_nothing_floods,
    a_host_that_is_taken_away_is_not_answered_for,
    without_suppress_nothing_is_answered,
}

const ASKER: Host = Host::at(VM, 0x0a);
const KNOWN: Host = Host::at(FAR_VM, 0x0b);
const UNKNOWN: u8 = 0x55;

/// A hypervisor that answers, that knows [`KNOWN`], and that has the far VTEP on its flood list.
fn wire(family: Family, vni_args: &str) -> Wire {
    let wire = Wire::with(family, vni_args, &[]);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    if !vni_args.is_empty() {
        for ip in KNOWN.ips() {
            wire.daemon
                .ok(&format!("neigh add {ip} --vni {GREEN} --lladdr {FAR_VM}"));
        }
    }
    wire
}

/// The VM asks, gets exactly this answer, and nothing leaves.
#[track_caller]
fn answered(wire: &Wire, question: &[u8], answer: &[u8]) {
    let before = delivered(wire, "answered");
    wire.port.drain();
    wire.port.send(question);
    let got = wire
        .port
        .recv(DEADLINE)
        .unwrap_or_else(|| panic!("no answer: {}", wire.daemon.ok("stats")));
    assert_same(&got, answer, "the answer");
    assert_eq!(wire.left(), Vec::<Vec<u8>>::new(), "left on the underlay");
    assert_eq!(wire.port.recv(std::time::Duration::ZERO), None);
    until_true("the answer to be counted", || {
        delivered(wire, "answered") == before + 1
    });
}

/// The VM sends a frame that leaves as it is, and gets no answer.
#[track_caller]
fn let_through(wire: &Wire, frame: &[u8]) {
    wire.port.drain();
    wire.port.send(frame);
    assert_eq!(wire.left(), [frame.to_vec()], "left on the underlay");
    assert_eq!(
        wire.port.recv(std::time::Duration::ZERO),
        None,
        "an answer came"
    );
}

/// Frames counted under a reason at all hooks.
fn delivered(wire: &Wire, reason: &str) -> u64 {
    let rows = wire.daemon.rows("stats");
    rows.iter()
        .filter(|row| row["reason"] == reason && row["vni"].is_null())
        .map(|row| row["packets"].as_u64().expect("a number"))
        .sum()
}

fn a_question_for_a_known_host_is_answered_and_nothing_leaves(family: Family) {
    for args in ["--suppress on", "--mode l3", "--mode l2 --suppress on"] {
        let wire = wire(family, args);
        for ip in KNOWN.ips() {
            answered(
                &wire,
                &ASKER.asks(ip).build(),
                &KNOWN.answers(&ASKER, ip).build(),
            );
        }
        assert_eq!(wire.daemon.dropped("unknown_neigh"), 0);
    }
}

fn a_probe_for_a_known_host_is_answered(family: Family) {
    let wire = wire(family, "--suppress on");

    for ip in KNOWN.ips() {
        answered(
            &wire,
            &ASKER.probes(ip).build(),
            &KNOWN.answers_probe(&ASKER, ip).build(),
        );
    }
    // With a nonce, as RFC 7527 has it.
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    answered(
        &wire,
        &ASKER.probes(KNOWN.v6.into()).bytes(&nonce).build(),
        &KNOWN.answers_probe(&ASKER, KNOWN.v6.into()).build(),
    );
}

fn a_solicitation_is_answered_whatever_its_options(family: Family) {
    let wire = wire(family, "--suppress on");
    let plain = || neighbour::solicitation((VM, ASKER.v6), KNOWN.v6);
    let source = neighbour::source(VM);
    let nonce = vec![14, 1, 1, 2, 3, 4, 5, 6];
    let unknown = vec![200, 1, 1, 2, 3, 4, 5, 6];

    for options in [
        vec![],
        source.clone(),
        unknown.clone(),
        [nonce.clone(), source.clone()].concat(),
        [source.clone(), nonce.clone()].concat(),
        [unknown, source.clone()].concat(),
    ] {
        answered(
            &wire,
            &plain().bytes(&options).build(),
            &KNOWN.answers(&ASKER, KNOWN.v6.into()).build(),
        );
    }
    // What is longer than any host sends is for others to read.
    let long = [&nonce[..], &nonce, &source].concat();
    let_through(&wire, &plain().bytes(&long).build());
}

fn a_router_is_called_one(family: Family) {
    let wire = wire(family, "--suppress on");
    wire.daemon.ok(&format!(
        "neigh replace {} --vni {GREEN} --lladdr {FAR_VM} --router",
        KNOWN.v6
    ));
    let flags = neighbour::ROUTER | neighbour::SOLICITED | neighbour::OVERRIDE;

    answered(
        &wire,
        &ASKER.asks(KNOWN.v6.into()).build(),
        &neighbour::advertisement(eth(FAR_VM, VM), KNOWN.v6, ASKER.v6, flags)
            .bytes(&neighbour::target(FAR_VM))
            .build(),
    );
}

fn a_question_in_a_vlan_is_answered_in_it(family: Family) {
    let wire = wire(family, "--suppress on");
    wire.daemon
        .ok(&format!("port add {PORT} --vni {GREEN} --vlan 10"));

    // The VM's own MAC is known to be elsewhere: without a tag.
    let asker = Host::nth(0x31);

    for ip in KNOWN.ips() {
        let tagged = |frame: Vec<u8>| {
            let (macs, rest) = frame.split_at(12);
            [macs, &[0x81, 0, 0, 10], rest].concat()
        };
        wire.port.drain();
        wire.port.send(&tagged(asker.asks(ip).build()));
        wire.port.expect(&tagged(KNOWN.answers(&asker, ip).build()));
    }
    // That the asker is here may be said, but not what it asked.
    let questions = KNOWN.ips().map(|ip| asker.asks(ip).build());
    assert!(!wire.left().iter().any(|frame| questions.contains(frame)));
}

fn answers_go_on_without_a_daemon(family: Family) {
    let wire = wire(family, "--mode l3");

    wire.daemon.kill();

    for ip in KNOWN.ips() {
        wire.port.send(&ASKER.asks(ip).build());
        wire.port.expect(&KNOWN.answers(&ASKER, ip).build());
    }
}

fn polls_of_one_host_are_let_through(family: Family) {
    for args in ["--suppress on", "--mode l3"] {
        let wire = wire(family, args);
        for ip in KNOWN.ips() {
            let_through(&wire, &ASKER.polls(&KNOWN, ip).build());
        }
    }
}

fn a_host_is_not_answered_about_its_own_address(family: Family) {
    let wire = wire(family, "--suppress on");
    for ip in ASKER.ips() {
        wire.daemon
            .ok(&format!("neigh add {ip} --vni {GREEN} --lladdr {VM}"));
    }

    for ip in ASKER.ips() {
        let_through(&wire, &ASKER.probes(ip).build());
    }
    let_through(&wire, &ASKER.announces(ASKER.v4.into()).build());
}

fn announcements_are_let_through(family: Family) {
    let wire = wire(family, "--suppress on");

    for ip in ASKER.ips() {
        let_through(&wire, &ASKER.announces(ip).build());
    }
    let reply = eth(VM, Mac::BROADCAST)
        .arp_reply((VM, ASKER.v4), (VM, ASKER.v4))
        .build();
    let_through(&wire, &reply);
    let_through(&wire, &neighbour::rarp(VM).build());
    // An answer that a VM gives to somebody far.
    for ip in ASKER.ips() {
        let_through(&wire, &ASKER.answers(&KNOWN, ip).build());
    }
}

fn questions_from_the_tunnel_are_not_answered(family: Family) {
    for args in ["--suppress on", "--mode l3"] {
        let wire = wire(family, args);
        let known_here = Host::nth(0x21);
        for ip in known_here.ips() {
            wire.daemon.ok(&format!(
                "neigh add {ip} --vni {GREEN} --lladdr {}",
                known_here.mac
            ));
        }
        for ip in known_here.ips() {
            let question = wire.tunnelled(GREEN, &KNOWN.asks(ip).build());
            if args == "--mode l3" {
                wire.refuses(&question, "flood_off");
            } else {
                wire.delivers(&question, &KNOWN.asks(ip).build());
            }
            assert_eq!(wire.left(), Vec::<Vec<u8>>::new(), "an answer left");
        }
    }
}

fn questions_for_unknown_hosts_are_flooded(family: Family) {
    for args in ["--suppress on", "--mode l2 --suppress on"] {
        let wire = wire(family, args);
        for ip in Host::nth(UNKNOWN).ips() {
            let_through(&wire, &ASKER.asks(ip).build());
            let_through(&wire, &ASKER.probes(ip).build());
        }
        assert_eq!(wire.daemon.dropped("unknown_neigh"), 0);
    }
}

fn questions_for_unknown_hosts_are_counted_where_nothing_floods(family: Family) {
    for args in ["--mode l3", "--flood none --suppress on"] {
        let wire = wire(family, args);
        let monitor = Monitor::start(&wire.daemon, GREEN, family.address(0, 250));
        for (ip, count) in Host::nth(UNKNOWN).ips().into_iter().zip(1..) {
            wire.refuses_from_vm(&ASKER.asks(ip).build(), "unknown_neigh");
            assert_eq!(wire.daemon.dropped("unknown_neigh"), count);
            let (_, row) = monitor.wait_for("the miss", |row| {
                row["event"] == "miss" && row["ip"] == ip.to_string().as_str()
            });
            assert_eq!(row["vni"], GREEN);
        }
        assert_eq!(wire.left(), Vec::<Vec<u8>>::new());
    }
}

fn a_host_that_is_taken_away_is_not_answered_for(family: Family) {
    let wire = wire(family, "--suppress on");

    for ip in KNOWN.ips() {
        wire.daemon.ok(&format!("neigh del {ip} --vni {GREEN}"));
        let_through(&wire, &ASKER.asks(ip).build());
        // Another MAC is answered with from then on.
        let other = Host::at(Mac::nth(0x31), 0x0b);
        for mac in [FAR_VM, other.mac] {
            wire.daemon
                .ok(&format!("neigh replace {ip} --vni {GREEN} --lladdr {mac}"));
        }
        answered(
            &wire,
            &ASKER.asks(ip).build(),
            &other.answers(&ASKER, ip).build(),
        );
    }
}

fn without_suppress_nothing_is_answered(family: Family) {
    let wire = wire(family, "--suppress on");
    wire.daemon.ok(&format!("vni set {GREEN} --suppress off"));

    for ip in KNOWN.ips() {
        let_through(&wire, &ASKER.asks(ip).build());
    }
    wire.daemon.ok(&format!("vni set {GREEN} --suppress on"));
    for ip in KNOWN.ips() {
        answered(
            &wire,
            &ASKER.asks(ip).build(),
            &KNOWN.answers(&ASKER, ip).build(),
        );
    }
}
