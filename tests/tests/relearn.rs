//! What was learned outlives the daemon, and what changed while there was none is caught up on.

use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::neighbour::Host;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{GREEN, Kind, Lab, Vm};
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::Capture;
use vtep_tests::over_each_family;
use vtep_tests::traffic::checks::{marked, ping_both_ways, reaches_exactly_once};
use vtep_tests::wait::until_true;

over_each_family! {
    a_crash_loses_nothing_that_was_learned,
    learned_entries_age_under_the_next_daemon,
    what_moved_while_there_was_no_daemon_is_caught_up_on,
    a_crash_leaves_no_group,
}

const HERE: Host = Host::at(VM, 0x0a);

fn says(wire: &Wire, mac: Mac, far: bool) {
    let frame = eth(mac, if far { VM } else { FAR_VM })
        .ethertype(0x88b6)
        .payload(1, 46)
        .build();
    if far {
        wire.uplink.send(&wire.tunnelled(GREEN, &frame));
    } else {
        wire.port.send(&frame);
    }
}

#[track_caller]
fn learned(wire: &Wire, mac: Mac, key: &str, place: &str) {
    until_true("a MAC to be learned", || {
        let row = wire.daemon.fdb(GREEN, mac);
        row.is_some_and(|row| row[key] == place)
    });
}

fn a_crash_loses_nothing_that_was_learned(family: Family) {
    let wire = Wire::with(family, "--suppress on --ageing 77", &[]);
    let far = wire.far_ip.to_string();
    for last in 0x31..0x39 {
        says(&wire, Mac::nth(last), last % 2 == 0);
    }
    for last in 0x31..0x39 {
        let (key, place) = if last % 2 == 0 {
            ("dst", far.as_str())
        } else {
            ("dev", PORT)
        };
        learned(&wire, Mac::nth(last), key, place);
    }
    for ip in HERE.ips() {
        wire.port.send(&HERE.announces(ip).build());
        until_true("the host to be snooped", || {
            wire.daemon.neigh(GREEN, ip).is_some()
        });
    }
    let host = Host::nth(0x55);
    let _tap = wire.add_port(
        "vm1",
        &format!("--ip {} --ip {} --mac {}", host.v4, host.v6, host.mac),
    );
    for ip in Host::nth(0x56).ips() {
        wire.daemon.ok(&format!(
            "nexthop add {ip} --vni {GREEN} --via {far} --lladdr {}",
            Mac::nth(0x56)
        ));
        wire.daemon.ok(&format!(
            "neigh replace {ip} --vni {GREEN} --lladdr {} --router",
            Mac::nth(0x57)
        ));
    }
    wire.daemon.ok(&format!(
        "nexthop add 192.0.2.0/24 --vni {GREEN} --via {far}"
    ));
    wire.daemon.ok(&format!(
        "nexthop add ::/0 --vni {GREEN} --lladdr {}",
        Mac::nth(0x31)
    ));
    let before = wire.daemon.tables();

    wire.daemon.kill();
    wire.daemon.run();

    assert_eq!(wire.daemon.tables(), before);
    // And it is in charge of all that.
    wire.daemon
        .ok(&format!("fdb flush --vni {GREEN} --learned"));
    wire.daemon.ok(&format!("nexthop del ::/0 --vni {GREEN}"));
    wire.daemon.ok("port del vm1");
    for ip in host.ips() {
        assert_eq!(wire.daemon.neigh(GREEN, ip), None);
    }
    says(&wire, Mac::nth(0x31), true);
    learned(&wire, Mac::nth(0x31), "dst", &far);
}

fn learned_entries_age_under_the_next_daemon(family: Family) {
    // Long enough for a restart on a busy machine, so that the entry is not old before it is looked at.
    let wire = Wire::with(family, "--ageing 10", &[]);
    let before = wire.daemon.table("fdb");
    says(&wire, Mac::nth(0x31), false);
    learned(&wire, Mac::nth(0x31), "dev", PORT);

    wire.daemon.kill();
    wire.daemon.run();

    let row = wire
        .daemon
        .fdb(GREEN, Mac::nth(0x31))
        .expect("the MAC, which is not old yet");
    assert_eq!(row["state"], "learned", "{row}");
    let monitor = Monitor::start(&wire.daemon, GREEN, family.address(0, 250));
    let _aged = monitor.event("aged", Mac::nth(0x31));
    assert_eq!(wire.daemon.table("fdb"), before);
}

fn what_moved_while_there_was_no_daemon_is_caught_up_on(family: Family) {
    let wire = Wire::new(family);
    let (moved, new) = (Mac::nth(0x31), Mac::nth(0x32));
    says(&wire, moved, false);
    learned(&wire, moved, "dev", PORT);

    wire.daemon.kill();
    says(&wire, moved, true);
    says(&wire, new, true);
    wire.daemon.run();

    let far = wire.far_ip.to_string();
    until_true("the next frame to be learned from", || {
        says(&wire, moved, true);
        says(&wire, new, true);
        [moved, new].iter().all(|mac| {
            let row = wire.daemon.fdb(GREEN, *mac);
            row.is_some_and(|row| row["dst"] == far.as_str())
        })
    });
}

fn a_crash_leaves_no_group(family: Family) {
    let underlay = Underlay {
        family,
        topology: Topology::Flat,
    };
    let lab = Lab::new(underlay, &[Kind::Vtep; 3]);
    for at in 0..3 {
        lab.daemon(at).ok(&format!(
            "vni add {GREEN} --mode multicast --group {}",
            family.group()
        ));
    }
    let vms: Vec<Vm> = (0..3)
        .zip(1..)
        .map(|(at, number)| lab.vm(at, number, GREEN))
        .collect();
    let links: Vec<Capture> = vms.iter().map(Vm::link).collect();
    ping_both_ways(&vms[0], &vms[1]);

    lab.daemon(1).kill();
    lab.daemon(1).run();

    for (mark, at) in [(1, 0), (2, 1), (3, 2)] {
        let frame = marked(vms[at].mac, Mac::BROADCAST, mark).build();
        let others: Vec<_> = (0..3)
            .filter(|other| *other != at)
            .map(|other| &links[other])
            .collect();
        reaches_exactly_once(&links[at], &frame, &others, &[&links[at]]);
    }
    ping_both_ways(&vms[1], &vms[2]);
    // Left when the VNI goes.
    lab.daemon(1).ok(&format!("vni del {GREEN} --force"));
    until_true("the group to be left", || {
        !lab.hypervisors[1]
            .ns
            .ip_output("maddress show dev up0")
            .contains(&family.group().to_string())
    });
}
