//! The netlink module against a real kernel, in network namespaces of its own.

mod changes;
mod gates;
mod links;
mod neighbours;
mod routes;
mod tunnel;

use std::net::IpAddr;
use std::time::Duration;

use vtep_tests::lab::ns::Ns;
use vtep_tests::wait;
use vtep_user::netlink::{Netlink, NetlinkEvent, NetlinkMonitor, PeerRoute, Sent};

const OWNER: &str = "vtep instance test";
const TUNNEL: &str = "vtep4789";
const PORT: u16 = 4789;

/// A family's addresses: the two ends of a link, and a network behind the far end.
struct Addresses {
    here: &'static str,
    here_net: &'static str,
    there: &'static str,
    there_net: &'static str,
    spare: &'static str,
    spare_net: &'static str,
    far: &'static str,
    far_net: &'static str,
    sysctl: &'static str,
}

const FAMILIES: [Addresses; 2] = [
    Addresses {
        here: "192.0.2.1",
        here_net: "192.0.2.1/24",
        there: "192.0.2.2",
        there_net: "192.0.2.2/24",
        spare: "203.0.113.1",
        spare_net: "203.0.113.1/24",
        far: "198.51.100.9",
        far_net: "198.51.100.0/24",
        sysctl: "ipv4",
    },
    Addresses {
        here: "2001:db8:1::1",
        here_net: "2001:db8:1::1/64",
        there: "2001:db8:1::2",
        there_net: "2001:db8:1::2/64",
        spare: "2001:db8:3::1",
        spare_net: "2001:db8:3::1/64",
        far: "2001:db8:2::9",
        far_net: "2001:db8:2::/64",
        sysctl: "ipv6",
    },
];

/// Two namespaces, `up0` in the first joined with `down0` in the second.
fn pair() -> (Ns, Ns) {
    let (here, there) = (Ns::new("here"), Ns::new("there"));
    here.veth("up0", &there, "down0");
    (here, there)
}

fn addressed_pair(family: &Addresses) -> (Ns, Ns) {
    let (here, there) = pair();
    here.ip(&format!("address add {} dev up0", family.here_net));
    there.ip(&format!("address add {} dev down0", family.there_net));
    (here, there)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The MAC of the second namespace's end of a pair.
fn mac(there: &Ns) -> [u8; 6] {
    there.mac("down0").0
}

/// Runs a test with a socket inside a namespace.
fn inside<T: Send>(ns: &Ns, test: impl AsyncFnOnce(Netlink) -> T + Send) -> T {
    ns.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let netlink = Netlink::open().unwrap();
            test(netlink).await
        })
    })
}

/// Waits until a peer is no longer pending.
async fn resolved_peer(netlink: &Netlink, peer: IpAddr) -> PeerRoute {
    let waiting = async {
        loop {
            match netlink.resolve_peer(peer, Sent::default()).await.unwrap() {
                PeerRoute::Pending { .. } => tokio::time::sleep(Duration::from_millis(5)).await,
                other => return other,
            }
        }
    };
    tokio::time::timeout(wait::DEADLINE, waiting)
        .await
        .expect("the peer is resolved")
}

/// Reads changes until one is as wanted.
async fn until(
    monitor: &mut NetlinkMonitor,
    mut wanted: impl FnMut(&NetlinkEvent) -> bool,
) -> NetlinkEvent {
    let mut seen = Vec::new();
    let reading = async {
        loop {
            let event = monitor.next().await.unwrap();
            if wanted(&event) {
                return event;
            }
            seen.push(event);
        }
    };
    let result = tokio::time::timeout(wait::DEADLINE, reading).await;
    result.unwrap_or_else(|_| panic!("waited in vain; seen: {seen:?}"))
}
