//! An address on the loopback interface, reached by either of two uplinks.

use vtep_tests::lab::underlay::Family;
use vtep_tests::over_each_family;
use vtep_tests::traffic::checks;
use vtep_tests::wait::until_true;

use crate::site::{CABLES, End, Site, Wiring};

over_each_family! {
    an_address_on_loopback_is_reached_by_two_uplinks,
}

/// Makes a router of each end: its VTEP's address on loopback, and routes to the other's by both cables.
fn wire(end: &End<'_>) {
    let (prefix, nodad) = match end.family {
        Family::V4 => (32, ""),
        Family::V6 => (128, "nodad"),
    };
    end.ns
        .ip(&format!("addr add {}/{prefix} dev lo {nodad}", end.ip(0)));
    for (cable, net) in CABLES.into_iter().zip(1..) {
        end.address(cable, net);
        // Else the kernel, and so vtep, goes on with a next hop that has no carrier.
        for ip in ["ipv4", "ipv6"] {
            let key = format!("{ip}/conf/{cable}/ignore_routes_with_linkdown");
            end.ns.sysctl(&key, "1");
        }
    }
    let hops = CABLES
        .into_iter()
        .zip(1..)
        .map(|(cable, net)| format!("nexthop via {} dev {cable}", end.far_ip(net)));
    end.ns.ip(&format!(
        "route add {}/{prefix} src {} {}",
        end.far_ip(0),
        end.ip(0),
        hops.collect::<Vec<_>>().join(" ")
    ));
}

fn an_address_on_loopback_is_reached_by_two_uplinks(family: Family) {
    let wiring = Wiring {
        elsewhere: true,
        ..Wiring::new(family, &["--iface", CABLES[0], "--iface", CABLES[1]])
    };
    let site = Site::with(&wiring, wire);
    site.carries_in_place();

    // One cable is pulled: the route has the other left.
    site.lab.hypervisors[0]
        .ns
        .ip(&format!("link set {} down", CABLES[0]));
    for (here, there) in [(0, 1), (1, 0)] {
        let there = site.lab.hypervisors[there].ip;
        until_true("the VTEP to be reached by the other cable", || {
            let rows = site.lab.daemon(here).rows(&format!("peer show {there}"));
            rows[0]["state"] == "resolved" && rows[0]["dev"] == CABLES[1]
        });
    }

    checks::tcp_both_ways(&site.a, &site.b);
}
