//! An uplink in a routing domain of its own.

use vtep_tests::lab::underlay::Family;
use vtep_tests::over_each_family;

use crate::site::{CABLES, End, Site, UPLINK, Wiring};

over_each_family! {
    an_uplink_in_a_vrf_carries,
    nothing_leaves_the_vrf_by_the_main_table,
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
