//! A card that is a member of a bridge, as Proxmox and others have it.

use vtep_tests::lab::underlay::Family;
use vtep_tests::over_each_family;

use crate::site::{CABLES, Site, UPLINK};

over_each_family! {
    a_bridge_that_holds_the_card_carries,
    a_vlan_of_a_vlan_aware_bridge_carries,
}

fn a_bridge_that_holds_the_card_carries(family: Family) {
    let site = Site::new(family, &["--iface", "vmbr0"], |end| {
        let card = CABLES[0];
        end.ns.ip(&format!(
            "link add vmbr0 type bridge stp_state 0
             link set {card} master vmbr0
             link set vmbr0 up"
        ));
        end.address("vmbr0", 0);
    });

    site.carries_in_place();
}

fn a_vlan_of_a_vlan_aware_bridge_carries(family: Family) {
    let site = Site::new(family, &["--iface", UPLINK], |end| {
        let card = CABLES[0];
        end.ns.ip(&format!(
            "link add vmbr0 type bridge stp_state 0 vlan_filtering 1
             link set {card} master vmbr0
             link set vmbr0 up
             link add link vmbr0 name {UPLINK} type vlan id 5
             link set {UPLINK} up"
        ));
        end.ns.bridge(&format!(
            "vlan add dev {card} vid 5\nvlan add dev vmbr0 vid 5 self"
        ));
        end.address(UPLINK, 0);
    });

    site.carries_in_place();
}
