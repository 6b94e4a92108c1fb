//! The multicast groups of a daemon, over its life: it is a member on every uplink, and the kernel sends to them by one.

use std::net::IpAddr;
use std::time::Duration;

use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::binary;
use vtep_tests::lab::ns::{Ns, done};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{SECOND, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::wait::{poll, until, until_true};
use vtep_tests::{need_root, over_each_family};

over_each_family! {
    a_group_is_joined_on_every_uplink_and_left_again,
    a_restarted_daemon_joins_its_groups_again,
    a_group_is_sent_to_by_an_uplink_that_is_up,
    an_uplink_that_is_made_again_is_joined_again,
    teardown_takes_the_routes_to_groups,
    teardown_of_a_dead_daemon_takes_the_routes_to_groups,
}

/// A hypervisor with two uplinks, and a VNI that floods to [`Family::group`].
fn wire(family: Family) -> Wire {
    let vni = format!("--mode multicast --group {}", family.group());
    Wire::with(family, &vni, &["--iface", SECOND])
}

fn a_group_is_joined_on_every_uplink_and_left_again(family: Family) {
    let wire = wire(family);
    let first = family.group();
    assert_eq!(members(&wire.ns, first), [UPLINK, SECOND]);
    assert_eq!(routes(&wire.ns), [(first, UPLINK.to_owned())]);

    // Two VNIs may flood to one group.
    let other = GREEN + 1;
    wire.daemon
        .ok(&format!("vni add {other} --mode multicast --group {first}"));
    let second = another(family, 1);
    wire.daemon.ok(&format!("vni set {GREEN} --group {second}"));
    for group in [first, second] {
        assert_eq!(members(&wire.ns, group), [UPLINK, SECOND], "{group}");
    }
    let both = [(first, UPLINK.to_owned()), (second, UPLINK.to_owned())];
    assert_eq!(routes(&wire.ns), both);

    wire.daemon.ok(&format!("vni del {other} --force"));
    wire.daemon.ok(&format!("vni set {GREEN} --mode flood"));
    for group in [first, second] {
        assert!(members(&wire.ns, group).is_empty(), "{group}");
    }
    assert_eq!(routes(&wire.ns), []);
}

fn a_restarted_daemon_joins_its_groups_again(family: Family) {
    let wire = wire(family);
    let route = [(family.group(), UPLINK.to_owned())];
    wire.daemon.kill();
    // The kernel goes on sending; of a membership only a process can be the owner.
    assert_eq!(routes(&wire.ns), route);
    until_true("the kernel to leave the group", || {
        members(&wire.ns, family.group()).is_empty()
    });
    // Nobody wants this one any more.
    let stale = another(family, 7);
    wire.ns.ip(&format!(
        "route add multicast {stale} dev {UPLINK} table local proto 118 metric 4789"
    ));

    wire.daemon.run();

    assert_eq!(members(&wire.ns, family.group()), [UPLINK, SECOND]);
    assert_eq!(routes(&wire.ns), route);
    let line = format!("joining multicast group {}", family.group());
    assert_eq!(wire.daemon.log().matches(&line).count(), 2);
}

fn a_group_is_sent_to_by_an_uplink_that_is_up(family: Family) {
    let wire = wire(family);
    wire.ns
        .sysctl(&format!("ipv6/conf/{UPLINK}/keep_addr_on_down"), "1");
    let by = |dev: &str| {
        let want = [(family.group(), dev.to_owned())];
        until(&format!("a route by {dev}"), || {
            (routes(&wire.ns) == want).then_some(())
        });
    };
    by(UPLINK);

    wire.ns.ip(&format!("link set {UPLINK} down"));
    by(SECOND);

    wire.ns.ip(&format!("link set {UPLINK} up"));
    by(UPLINK);
    assert_eq!(members(&wire.ns, family.group()), [UPLINK, SECOND]);
}

fn an_uplink_that_is_made_again_is_joined_again(family: Family) {
    let ns = Ns::new("here");
    let far = Ns::new("far");
    ns.veth(UPLINK, &far, UPLINK);
    // Addresses that stay when the uplink goes.
    let [v4, v6] = Family::BOTH.map(|family| family.address(9, 1));
    ns.ip(&format!(
        "link set lo up\naddr add {v4}/32 dev lo\naddr add {v6}/128 dev lo nodad"
    ));
    let (v4, v6) = (v4.to_string(), v6.to_string());
    let daemon = Daemon::start(&ns, &["--iface", UPLINK, "--local", &v4, "--local", &v6]);
    let group = family.group();
    daemon.ok(&format!("vni add {GREEN} --mode multicast --group {group}"));
    assert_eq!(members(&ns, group), [UPLINK]);

    ns.ip(&format!("link delete {UPLINK}"));
    assert!(members(&ns, group).is_empty());
    ns.veth(UPLINK, &far, UPLINK);

    until_true("the group to be joined again", || {
        members(&ns, group) == [UPLINK]
    });
    until_true("a route to the group", || {
        routes(&ns) == [(group, UPLINK.to_owned())]
    });
}

fn teardown_takes_the_routes_to_groups(family: Family) {
    let wire = wire(family);
    assert_eq!(routes(&wire.ns).len(), 1);

    wire.daemon.ok("teardown");

    assert_eq!(routes(&wire.ns), []);
}

fn teardown_of_a_dead_daemon_takes_the_routes_to_groups(family: Family) {
    let wire = wire(family);
    wire.daemon.kill();
    assert_eq!(routes(&wire.ns).len(), 1);

    let mut command = wire.ns.command(binary::vtep());
    command.args(["teardown", "--instance", wire.daemon.instance()]);
    done(&mut command, "");

    assert_eq!(routes(&wire.ns), []);
}

#[test]
fn an_uplink_that_cannot_join_is_logged_once_and_joins_later() {
    need_root!();
    let ns = Ns::new("here");
    let far = Ns::new("far");
    for dev in [UPLINK, SECOND] {
        ns.veth(dev, &far, dev);
    }
    // Less than IPv6 needs: the kernel takes it off the interface.
    ns.ip(&format!("link set {SECOND} mtu 1200"));
    ns.ip(&format!("address add 2001:db8::1/64 dev {UPLINK}"));
    let daemon = Daemon::start(&ns, &["--iface", UPLINK, "--iface", SECOND]);
    let group = Family::V6.group();

    daemon.ok(&format!("vni add {GREEN} --mode multicast --group {group}"));

    // It is tried again each second.
    assert_eq!(poll(Duration::from_millis(2500), || None::<()>), None);
    assert_eq!(members(&ns, group), [UPLINK]);
    let line = format!("could not join the multicast group {group} on {SECOND}");
    assert_eq!(daemon.log().matches(&line).count(), 1);
    ns.ip(&format!("link set {SECOND} mtu 1500"));
    until_true("the group to be joined", || {
        members(&ns, group) == [UPLINK, SECOND]
    });
}

#[test]
fn there_can_be_more_groups_than_local_addresses() {
    const GROUPS: u16 = 300;
    need_root!();
    let wire = Wire::without_peer(Family::V4, "", &[]);
    let lines: Vec<String> = (1..=GROUPS)
        .map(|number| {
            let (vni, group) = (1000 + number, another(Family::V4, number));
            format!("vni add {vni} --mode multicast --group {group}")
        })
        .collect();

    let out = wire.daemon.vtep_input("batch", &lines.join("\n"));

    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let shown = wire.ns.ip_output(&format!("maddress show dev {UPLINK}"));
    for number in 1..=GROUPS {
        let group = another(Family::V4, number);
        let line = format!("inet  {group}\n");
        assert!(shown.contains(&line), "{group} is not in {shown}");
    }
    assert_eq!(routes(&wire.ns).len(), usize::from(GROUPS));
}

/// Another group of the site.
fn another(family: Family, number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    match family {
        Family::V4 => IpAddr::from([239, 1, 2 + high, low]),
        Family::V6 => IpAddr::from([0xff05, 0, 0, 0, 0, 0, 2, number]),
    }
}

/// The uplinks that are members of a group.
fn members(ns: &Ns, group: IpAddr) -> Vec<&'static str> {
    let member = |dev: &&str| {
        ns.has_device(dev) && {
            let shown = ns.ip_output(&format!("maddress show dev {dev}"));
            let group = group.to_string();
            shown.split_whitespace().any(|word| word == group)
        }
    };
    [UPLINK, SECOND].into_iter().filter(member).collect()
}

/// The routes to groups that are ours, each with its interface, by group.
fn routes(ns: &Ns) -> Vec<(IpAddr, String)> {
    let of_family =
        |family: &str| ns.ip_output(&format!("{family} route show table local proto 118"));
    let shown = of_family("-4") + &of_family("-6");
    let mut found: Vec<_> = shown.lines().map(route).collect();
    found.sort();
    found
}

/// `multicast GROUP dev DEV …`.
fn route(line: &str) -> (IpAddr, String) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["multicast", group, "dev", dev, ..] = words[..] else {
        panic!("an odd route: {line}");
    };
    (group.parse().expect("a group"), dev.to_owned())
}
