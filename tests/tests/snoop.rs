//! With `--suppress on`, hosts are known from what they say at their ports.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::neighbour::Host;
use vtep_tests::encoder::{Frame, Mac, eth};
use vtep_tests::lab::GREEN;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::wait::{until, until_true};

over_each_family! {
    a_host_is_known_from_its_announcement,
    a_host_is_known_from_its_question,
    a_host_is_known_from_its_answer,
    a_snooped_host_is_answered_for_and_then_ages,
    a_snooped_host_goes_with_its_port,
    a_host_that_takes_another_mac_is_followed,
    the_user_is_believed_more_than_a_host,
    a_host_that_shows_up_behind_a_vtep_is_not_answered_for_any_more,
    a_far_host_that_asks_takes_away_what_a_thief_claimed,
    what_a_far_host_has_said_is_not_answered_for_a_thief,
    five_polls_of_the_owner_take_away_what_a_thief_claimed,
    an_answer_of_the_owner_takes_away_what_a_thief_claimed,
    without_suppress_nobody_listens,
}

const HERE: Host = Host::at(VM, 0x0a);
const FAR: Host = Host::at(FAR_VM, 0x0b);

/// A hypervisor that listens, with an ageing time that no test waits for.
fn wire(family: Family) -> Wire {
    let wire = Wire::with(family, "--suppress on", &[]);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    wire
}

/// Waits until both addresses of a host are snooped at a port; returns the rows.
#[track_caller]
fn snooped(wire: &Wire, host: &Host, dev: &str) -> Vec<Value> {
    host.ips()
        .map(|ip| {
            until(&format!("{ip} to be at {} on {dev}", host.mac), || {
                let row = wire.daemon.neigh(GREEN, ip)?;
                let right = row["state"] == "snooped"
                    && row["lladdr"] == host.mac.to_string().as_str()
                    && row["dev"] == dev;
                right.then_some(row)
            })
        })
        .into()
}

/// Sends what a host says of both its addresses.
fn says(wire: &Wire, frames: impl IntoIterator<Item = Frame>) {
    for frame in frames {
        wire.port.send(&frame.build());
    }
}

fn a_host_is_known_from_its_announcement(family: Family) {
    let wire = wire(family);

    says(&wire, HERE.ips().map(|ip| HERE.announces(ip)));

    for row in snooped(&wire, &HERE, PORT) {
        assert_eq!(row["router"], false, "{row}");
        assert!(row["age_s"].as_u64().is_some_and(|age| age < 5), "{row}");
    }
}

fn a_host_is_known_from_its_question(family: Family) {
    let wire = wire(family);

    says(&wire, Host::nth(0x55).ips().map(|ip| HERE.asks(ip)));

    snooped(&wire, &HERE, PORT);
    // A probe says nothing of who asks.
    let other = Host::nth(0x31);
    says(&wire, other.ips().map(|ip| other.probes(ip)));
    says(&wire, HERE.ips().map(|ip| HERE.announces(ip)));
    for ip in other.ips() {
        assert_eq!(wire.daemon.neigh(GREEN, ip), None);
    }
}

fn a_host_is_known_from_its_answer(family: Family) {
    let wire = wire(family);

    says(&wire, FAR.ips().map(|ip| HERE.answers(&FAR, ip)));

    snooped(&wire, &HERE, PORT);
}

fn a_snooped_host_is_answered_for_and_then_ages(family: Family) {
    let wire = wire(family);
    let monitor = Monitor::start(&wire.daemon, GREEN, family.address(0, 250));
    let other = wire.add_port("vm1", "");
    let asker = Host::nth(0x31);

    says(&wire, HERE.ips().map(|ip| HERE.announces(ip)));
    snooped(&wire, &HERE, PORT);
    wire.port.drain();
    drop(wire.left());
    for ip in HERE.ips() {
        other.send(&asker.asks(ip).build());
        other.expect(&HERE.answers(&asker, ip).build());
    }
    let questions = HERE.ips().map(|ip| asker.asks(ip).build());
    assert!(!wire.left().iter().any(|frame| questions.contains(frame)));

    wire.daemon.ok(&format!("vni set {GREEN} --ageing 2"));
    for ip in HERE.ips() {
        until_true("the host to age", || wire.daemon.neigh(GREEN, ip).is_none());
        monitor.wait_for("the host's ageing", |row| {
            row["event"] == "aged" && row["ip"] == ip.to_string().as_str()
        });
        other.send(&asker.asks(ip).build());
        wire.port.expect(&asker.asks(ip).build());
    }
}

fn a_snooped_host_goes_with_its_port(family: Family) {
    let wire = wire(family);
    let guest = Host::nth(0x31);
    let other = wire.add_port("vm1", "");
    for ip in guest.ips() {
        other.send(&guest.announces(ip).build());
    }
    snooped(&wire, &guest, "vm1");

    wire.daemon.ok("port del vm1");

    for ip in guest.ips() {
        assert_eq!(wire.daemon.neigh(GREEN, ip), None);
    }
}

fn a_host_that_takes_another_mac_is_followed(family: Family) {
    let wire = wire(family);
    let monitor = Monitor::start(&wire.daemon, GREEN, family.address(0, 250));
    says(&wire, HERE.ips().map(|ip| HERE.announces(ip)));
    snooped(&wire, &HERE, PORT);

    let replaced = Host::at(Mac::nth(0x31), 0x0a);
    says(&wire, replaced.ips().map(|ip| replaced.announces(ip)));

    snooped(&wire, &replaced, PORT);
    for ip in HERE.ips() {
        let (_, row) = monitor.wait_for("the move of the host", |row| {
            row["event"] == "moved" && row["ip"] == ip.to_string().as_str()
        });
        assert_eq!(row["mac"], replaced.mac.to_string().as_str(), "{row}");
    }
}

fn the_user_is_believed_more_than_a_host(family: Family) {
    let wire = wire(family);
    for ip in FAR.ips() {
        wire.daemon
            .ok(&format!("neigh add {ip} --vni {GREEN} --lladdr {FAR_VM}"));
    }
    let before = wire.daemon.table("neigh");

    let thief = Host::at(VM, 0x0b);
    says(&wire, thief.ips().map(|ip| thief.announces(ip)));
    says(&wire, HERE.ips().map(|ip| HERE.announces(ip)));
    snooped(&wire, &HERE, PORT);

    let after = wire.daemon.table("neigh");
    let kept: Vec<_> = after
        .iter()
        .filter(|row| row["state"] == "static")
        .collect();
    assert_eq!(kept, before.iter().collect::<Vec<_>>());
    let asker = Host::nth(0x31);
    let other = wire.add_port("vm1", "");
    for ip in FAR.ips() {
        other.send(&asker.asks(ip).build());
        other.expect(&FAR.answers(&asker, ip).build());
    }
}

fn a_host_that_shows_up_behind_a_vtep_is_not_answered_for_any_more(family: Family) {
    let wire = wire(family);
    says(&wire, HERE.ips().map(|ip| HERE.announces(ip)));
    snooped(&wire, &HERE, PORT);

    // The host is another machine now, which is far.
    let moved = Host::at(Mac::nth(0x32), 0x0a);
    for ip in moved.ips() {
        let said = moved.announces(ip).build();
        wire.delivers(&wire.tunnelled(GREEN, &said), &said);
    }

    for ip in HERE.ips() {
        until_true("the host to be forgotten", || {
            wire.daemon.neigh(GREEN, ip).is_none()
        });
    }
    // What a VTEP says adds nothing.
    let stranger = Host::nth(0x33);
    for ip in stranger.ips() {
        let said = stranger.announces(ip).build();
        wire.delivers(&wire.tunnelled(GREEN, &said), &said);
    }
    says(&wire, HERE.ips().map(|ip| HERE.announces(ip)));
    snooped(&wire, &HERE, PORT);
    for ip in stranger.ips() {
        assert_eq!(wire.daemon.neigh(GREEN, ip), None);
    }
}

/// The far host asks for somebody, which the VM gets.
fn far_asks(wire: &Wire) {
    for ip in Host::nth(0x55).ips() {
        let question = FAR.asks(ip).build();
        wire.delivers(&wire.tunnelled(GREEN, &question), &question);
    }
}

fn a_far_host_that_asks_takes_away_what_a_thief_claimed(family: Family) {
    let wire = wire(family);
    let thief = Host::at(VM, 0x0b);
    says(&wire, thief.ips().map(|ip| thief.announces(ip)));
    snooped(&wire, &thief, PORT);

    far_asks(&wire);

    for ip in FAR.ips() {
        until_true("the thief not to be answered for", || {
            wire.daemon.neigh(GREEN, ip).is_none()
        });
    }
}

fn what_a_far_host_has_said_is_not_answered_for_a_thief(family: Family) {
    let wire = wire(family);
    let monitor = Monitor::start(&wire.daemon, GREEN, family.address(0, 250));
    let other = wire.add_port("vm1", "");
    let asker = Host::nth(0x31);
    far_asks(&wire);

    let thief = Host::at(VM, 0x0b);
    says(&wire, thief.ips().map(|ip| thief.announces(ip)));

    for ip in FAR.ips() {
        monitor.wait_for("the second claim", |row| {
            row["event"] == "duplicate" && row["ip"] == ip.to_string().as_str()
        });
        drop(wire.left());
        let question = asker.asks(ip).build();
        other.send(&question);
        wire.port.expect(&question);
        let answer = thief.answers(&asker, ip).build();
        assert_ne!(other.recv(Duration::ZERO), Some(answer), "{ip}");
    }
}

/// The far host says each of `frames` to a VM that is known, after a thief has claimed the address; nobody is answered for it then.
#[track_caller]
fn settles(family: Family, frames: impl Fn(IpAddr) -> Vec<Frame>) {
    let wire = wire(family);
    let monitor = Monitor::start(&wire.daemon, GREEN, family.address(0, 250));
    let other = wire.add_port("vm1", "");
    let asker = Host::nth(0x31);
    let thief = Host::at(VM, 0x0b);
    says(&wire, thief.ips().map(|ip| thief.announces(ip)));
    snooped(&wire, &thief, PORT);

    for ip in FAR.ips() {
        for said in frames(ip) {
            let said = said.build();
            wire.delivers(&wire.tunnelled(GREEN, &said), &said);
        }
    }

    for ip in FAR.ips() {
        monitor.wait_for("the second claim", |row| {
            row["event"] == "duplicate" && row["ip"] == ip.to_string().as_str()
        });
        assert_eq!(wire.daemon.neigh(GREEN, ip), None);
        let question = asker.asks(ip).build();
        wire.port.drain();
        other.send(&question);
        wire.port.expect(&question);
        let answer = thief.answers(&asker, ip).build();
        assert_ne!(other.recv(Duration::ZERO), Some(answer), "{ip}");
    }
}

fn five_polls_of_the_owner_take_away_what_a_thief_claimed(family: Family) {
    settles(family, |ip| vec![FAR.polls(&HERE, ip); 5]);
}

fn an_answer_of_the_owner_takes_away_what_a_thief_claimed(family: Family) {
    settles(family, |ip| vec![FAR.answers(&HERE, ip)]);
}

fn without_suppress_nobody_listens(family: Family) {
    let wire = wire(family);
    wire.daemon.ok(&format!("vni set {GREEN} --suppress off"));

    says(&wire, HERE.ips().map(|ip| HERE.announces(ip)));
    // An event behind all of those: a MAC that is learned.
    let after = Mac::nth(0x31);
    wire.port
        .send(&eth(after, Mac::BROADCAST).ethertype(0x88b6).build());
    until_true("a later event to be acted on", || {
        wire.daemon.fdb(GREEN, after).is_some()
    });

    assert_eq!(wire.daemon.table("neigh"), Vec::<Value>::new());
}
