//! What the tables know of a packet, all at once.

use std::net::IpAddr;
use vtep_common::runtime::lookup::Lookup;

use vtep_common::abi::id::PeerId;
use vtep_common::{
    abi::{
        addr::{MacAddr, VtepAddr},
        peer::Peer,
    },
    frame::{inner::Received, outer::OuterAddresses},
    runtime::tables::Tables as _,
    sim::HostTables,
    testkit::frames::{
        GONE_PEER, PEER_UNREACHABLE, PEER_V4, PEER_V4_UNRESOLVED, PEER_V6, PLAIN, PORT_ACCESS,
        World, unicast,
    },
};

use crate::shared::{OURS_V4, OURS_V6, REMOTE_V4, REMOTE_V6};

fn addr(text: &str) -> VtepAddr {
    text.parse::<IpAddr>().expect("an address").into()
}

fn lookup(tables: &HostTables, from: &str, to: &str, source: MacAddr) -> Lookup {
    let ends = OuterAddresses {
        source: addr(from),
        destination: addr(to),
        vni: 100,
    };
    let read = Received {
        source,
        destination: unicast(PLAIN, PORT_ACCESS),
        ethertype: 0x0800,
        whole: true,
    };
    Lookup::of_tunnel(&ends, &read, tables)
}

/// Whatever the source MAC leads to, the addresses are what the table of addresses says they are.
fn agrees_with_the_table_of_addresses(tables: &HostTables) {
    let addresses = [
        REMOTE_V4,
        REMOTE_V6,
        OURS_V4,
        OURS_V6,
        "203.0.113.9",
        "2001:db8:9::9",
        "0.0.0.0",
        "::",
    ];
    let macs = [
        PEER_V4,
        PEER_V6,
        PEER_V4_UNRESOLVED,
        PEER_UNREACHABLE,
        GONE_PEER,
        PeerId::new(PORT_ACCESS.get()),
        PeerId::new(0xffff),
    ]
    .map(|target| unicast(PLAIN, target));
    for from in addresses {
        for to in addresses {
            for source in macs {
                let lookup = lookup(tables, from, to, source);

                let (source, destination) =
                    (tables.address(&addr(from)), tables.address(&addr(to)));
                let what = format!("{from} to {to}, {source:?}");
                assert_eq!(lookup.from().peer(), source.peer(), "{what}");
                assert_eq!(lookup.from().is_local(), source.is_local(), "{what}");
                assert_eq!(lookup.to().is_local(), destination.is_local(), "{what}");
            }
        }
    }
}

#[test]
fn the_way_by_the_source_mac_says_what_the_table_of_addresses_says() {
    let mut world = World::default();
    agrees_with_the_table_of_addresses(&world.tables);

    // An address that was a VTEP's becomes our own: then there is no next hop to it.
    world
        .tables
        .add_local(REMOTE_V4.parse().expect("an address"));
    let peer = world.tables.peers.get_mut(&PEER_V4).expect("added");
    peer.set(Peer::RESOLVED, false);
    agrees_with_the_table_of_addresses(&world.tables);
}
