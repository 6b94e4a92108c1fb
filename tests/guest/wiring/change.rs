//! Uplinks that go and come again.

use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::over_each_family;
use vtep_tests::traffic::checks;
use vtep_tests::wait::until_true;

use crate::site::{CABLES, End, Site, UPLINK};

over_each_family! {
    an_uplink_that_is_deleted_and_made_again_carries,
    an_uplink_that_visits_another_namespace_carries,
}

fn vlan(ns: &Ns) {
    let card = CABLES[0];
    ns.ip(&format!(
        "link add link {card} name {UPLINK} type vlan id 5\nlink set {UPLINK} up"
    ));
}

fn site(family: Family) -> Site {
    Site::new(family, &["--iface", UPLINK, "--wait"], |end| {
        vlan(end.ns);
        end.address(UPLINK, 0);
    })
}

/// Waits until the first hypervisor's uplink is as stated.
#[track_caller]
fn until_uplink(site: &Site, state: &str) {
    until_true("the uplink's state", || {
        site.lab.daemon(0).status()["uplinks"][0]["state"] == state
    });
}

fn address(site: &Site, family: Family) {
    let end = End {
        ns: &site.lab.hypervisors[0].ns,
        number: 0,
        family,
    };
    end.address(UPLINK, 0);
}

fn an_uplink_that_is_deleted_and_made_again_carries(family: Family) {
    let site = site(family);
    site.carries_in_place();
    let ns = &site.lab.hypervisors[0].ns;

    ns.ip(&format!("link del {UPLINK}"));
    until_uplink(&site, "absent");
    vlan(ns);
    address(&site, family);
    until_uplink(&site, "up");

    checks::tcp_both_ways(&site.a, &site.b);
}

fn an_uplink_that_visits_another_namespace_carries(family: Family) {
    let site = site(family);
    site.carries_in_place();
    let (here, elsewhere) = (&site.lab.hypervisors[0].ns, Ns::new("elsewhere"));

    here.ip(&format!("link set {UPLINK} netns {}", elsewhere.name()));
    until_uplink(&site, "absent");
    elsewhere.ip(&format!("link set {UPLINK} netns {}", here.name()));
    here.ip(&format!("link set {UPLINK} up"));
    address(&site, family);
    until_uplink(&site, "up");

    checks::tcp_both_ways(&site.a, &site.b);
}
