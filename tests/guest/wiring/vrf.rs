//! An uplink in a routing domain of its own.

use std::time::{Duration, Instant};

use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::over_each_family;
use vtep_tests::wait::until_true;

use crate::site::{CABLES, End, Site, UPLINK, Wiring};

over_each_family! {
    an_uplink_in_a_vrf_carries,
    nothing_leaves_the_vrf_by_the_main_table,
    an_uplink_that_leaves_its_vrf_takes_the_slow_path_along,
}

/// Puts the first cable into a VRF, and the address with it.
fn vrf(end: &End<'_>) {
    let card = CABLES[0];
    end.ns.ip(&format!(
        "link add underlay type vrf table 10
         link set underlay up
         link set {card} down
         link set {card} name {UPLINK}
         link set {UPLINK} master underlay up"
    ));
    end.address(UPLINK, 0);
}

/// Pings have to be sent within the VRF.
fn in_vrf(family: Family) -> Wiring<'static> {
    Wiring {
        bound_to: Some("underlay"),
        ..Wiring::new(family, &["--iface", UPLINK])
    }
}

fn an_uplink_in_a_vrf_carries(family: Family) {
    let site = Site::with(&in_vrf(family), vrf);

    site.carries();

    for at in [0, 1] {
        let log = site.lab.daemon(at).log();
        assert!(!log.contains("somebody"), "{log}");
    }
}

fn nothing_leaves_the_vrf_by_the_main_table(family: Family) {
    let site = Site::with(&in_vrf(family), |end| {
        vrf(end);
        // The management network, where everything unknown goes.
        let management = CABLES[1];
        end.address(management, 1);
        end.ns
            .ip(&format!("route add default via {}", end.far_ip(1)));
    });
    let sent = |at: usize| {
        let ns = &site.lab.hypervisors[at].ns;
        let shown = ns.ip_output(&format!("-s -j link show dev {}", CABLES[1]));
        let links: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        links[0]["stats64"]["tx"]["bytes"].as_u64().expect("bytes")
    };
    let before = [sent(0), sent(1)];

    site.carries();

    for (at, before) in before.into_iter().enumerate() {
        // Neighbour discovery goes on there; a mebibyte does not.
        let more = sent(at) - before;
        assert!(more < 10_000, "hypervisor {at} sent {more} bytes there");
    }
}

/// What there is of the slow-path device: its number, how often its carrier changed, its MTU, and whether it is told to use an interface.
fn slow_path(ns: &Ns) -> Option<(u64, u64, u64, bool)> {
    let shown = ns.ip_output("-d -s -j link show type vxlan");
    let links: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let link = links.get(0)?;
    let number = |name: &str| link[name].as_u64().unwrap_or_default();
    let is_bound = !link["linkinfo"]["info_data"]["link"].is_null();
    Some((
        number("ifindex"),
        number("carrier_changes"),
        number("mtu"),
        is_bound,
    ))
}

fn an_uplink_that_leaves_its_vrf_takes_the_slow_path_along(family: Family) {
    let site = Site::with(&in_vrf(family), vrf);
    let ends: Vec<&Ns> = site.lab.hypervisors.iter().map(|host| &host.ns).collect();
    let is_bound = |ns: &&Ns| slow_path(ns).is_some_and(|(.., bound)| bound);
    until_true("the slow path to be in the VRF", || {
        ends.iter().all(is_bound)
    });

    for (ns, number) in ends.iter().zip(0..) {
        ns.ip(&format!("link set {UPLINK} nomaster"));
        // IPv6 addresses go with the VRF.
        ns.ip(&format!("addr flush dev {UPLINK}"));
        End { ns, number, family }.address(UPLINK, 0);
    }
    until_true("the slow path to be in no VRF", || {
        let free = |ns: &&Ns| slow_path(ns).is_some_and(|(.., bound)| !bound);
        ends.iter().all(free)
    });

    // It stays as it is then, and nothing of it is taken for somebody's change.
    let settled: Vec<_> = ends.iter().map(|ns| slow_path(ns)).collect();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        let now: Vec<_> = ends.iter().map(|ns| slow_path(ns)).collect();
        assert_eq!(now, settled);
    }
    for at in [0, 1] {
        let log = site.lab.daemon(at).log();
        assert!(!log.contains("somebody"), "{log}");
    }
}
