//! A second MAC of a card.

use vtep_tests::lab::underlay::Family;
use vtep_tests::over_each_family;

use crate::site::{CABLES, Site, UPLINK};

over_each_family! {
    a_macvlan_carries,
    an_address_on_a_macvlan_of_the_uplink_is_reached,
}

fn a_macvlan_carries(family: Family) {
    let site = Site::new(family, &["--iface", UPLINK], |end| {
        let card = CABLES[0];
        end.ns.ip(&format!(
            "link add link {card} name {UPLINK} type macvlan mode bridge\nlink set {UPLINK} up"
        ));
        end.address(UPLINK, 0);
    });

    site.carries_in_place();
}

fn an_address_on_a_macvlan_of_the_uplink_is_reached(family: Family) {
    let site = Site::new(family, &["--iface", UPLINK, "--iface", CABLES[0]], |end| {
        let card = CABLES[0];
        end.ns.ip(&format!(
            "link add link {card} name {UPLINK} type macvlan mode bridge\nlink set {UPLINK} up"
        ));
        end.address(UPLINK, 0);
    });

    site.carries();
}
