//! Two cards that are one.

use vtep_tests::lab::underlay::Family;
use vtep_tests::over_each_family;
use vtep_tests::traffic::checks;
use vtep_tests::traffic::stream::Stream;
use vtep_tests::wait::until_true;

use crate::site::{CABLES, End, Site, UPLINK};

over_each_family! {
    a_bond_with_one_active_card_carries_and_changes_over,
    a_bond_by_lacp_carries,
    a_vlan_of_a_bond_carries,
}

/// Makes a bond of both cards.
fn bond(end: &End<'_>, dev: &str, mode: &str) {
    // A bond takes only cards that are down.
    let cards = CABLES.map(|card| format!("link set {card} down\nlink set {card} master {dev}\n"));
    end.ns.ip(&format!(
        "link add {dev} type bond mode {mode} miimon 10\n{}link set {dev} up",
        cards.concat()
    ));
}

fn a_bond_with_one_active_card_carries_and_changes_over(family: Family) {
    let site = Site::new(family, &["--iface", UPLINK], |end| {
        bond(end, UPLINK, "active-backup");
        end.address(UPLINK, 0);
    });
    site.carries_in_place();
    let active = |ns: &vtep_tests::lab::ns::Ns| {
        let said = ns.ip_output(&format!("-d link show dev {UPLINK}"));
        let mut words = said
            .split_whitespace()
            .skip_while(|word| *word != "active_slave");
        words.nth(1).map(str::to_owned)
    };

    let stream = Stream::start((&site.a.ns, site.a.v4), (&site.b.ns, site.b.v4));
    stream.wait_for(200);
    for hypervisor in &site.lab.hypervisors {
        hypervisor.ns.ip(&format!("link set {} down", CABLES[0]));
    }
    for hypervisor in &site.lab.hypervisors {
        until_true("the other card to be active", || {
            active(&hypervisor.ns).as_deref() == Some(CABLES[1])
        });
    }
    stream.wait_for(500);
    let (sent, lost) = stream.finish();

    println!("{} of {sent} packets were lost", lost.len());
    checks::tcp_both_ways(&site.a, &site.b);
}

fn a_bond_by_lacp_carries(family: Family) {
    let site = Site::new(family, &["--iface", UPLINK], |end| {
        bond(
            end,
            UPLINK,
            "802.3ad lacp_rate fast xmit_hash_policy layer3+4",
        );
        end.address(UPLINK, 0);
    });

    site.carries_in_place();
}

fn a_vlan_of_a_bond_carries(family: Family) {
    let site = Site::new(family, &["--iface", UPLINK], |end| {
        bond(end, "bond0", "active-backup");
        end.ns.ip(&format!(
            "link add link bond0 name {UPLINK} type vlan id 5\nlink set {UPLINK} up"
        ));
        end.address(UPLINK, 0);
    });

    site.carries_in_place();
}
