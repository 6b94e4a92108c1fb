//! A VLAN of a card.

use vtep_tests::lab::underlay::Family;
use vtep_tests::over_each_family;

use crate::site::{CABLES, Site, UPLINK};

over_each_family! {
    a_vlan_device_carries,
    a_vlan_within_a_service_vlan_carries,
}

fn a_vlan_device_carries(family: Family) {
    let site = Site::new(family, &["--iface", UPLINK], |end| {
        let card = CABLES[0];
        end.ns.ip(&format!(
            "link add link {card} name {UPLINK} type vlan id 5\nlink set {UPLINK} up"
        ));
        end.address(UPLINK, 0);
    });

    site.carries_in_place();
}

fn a_vlan_within_a_service_vlan_carries(family: Family) {
    let site = Site::new(family, &["--iface", UPLINK], |end| {
        let card = CABLES[0];
        end.ns.ip(&format!(
            "link set {card} mtu 1504
             link add link {card} name service type vlan protocol 802.1ad id 7
             link set service up
             link add link service name {UPLINK} type vlan id 5
             link set {UPLINK} up mtu 1500"
        ));
        end.address(UPLINK, 0);
    });

    site.carries_in_place();
}
