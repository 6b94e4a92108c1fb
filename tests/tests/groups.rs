//! Multicast groups against a real kernel: memberships, the routes by which the slow-path device sends, and announcements.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use vtep_common::abi::id::Ifindex;
use vtep_tests::lab::ns::Ns;
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::Capture;
use vtep_tests::need_root;
use vtep_tests::wait::{DEADLINE, until_true};
use vtep_user::netlink::{GroupRoute, Memberships, Netlink, udp};

const OWNER: u16 = 4789;
/// For what would have come by then.
const SOON: Duration = Duration::from_millis(50);
const V4: &str = "239.1.1.100";
const V6: &str = "ff05::100";

/// A hypervisor with two uplinks `u0` and `u1`, and what lies at their other ends, `r0` and `r1`.
fn two_uplinks() -> (Ns, Ns) {
    let (here, there) = (Ns::new("here"), Ns::new("there"));
    for at in 0..2 {
        here.veth(&format!("u{at}"), &there, &format!("r{at}"));
        here.ip(&format!(
            "address add 192.0.{at}.1/24 dev u{at}\n\
             address add 2001:db8:{at}::1/64 dev u{at}"
        ));
    }
    (here, there)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn index(ns: &Ns, dev: &str) -> Ifindex {
    Ifindex::new(ns.ifindex(dev))
}

/// Groups of which an interface is a member, as the kernel lists them.
fn members(here: &Ns, dev: &str) -> Vec<String> {
    let shown = here.ip_output(&format!("maddress show dev {dev}"));
    shown
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            line.strip_prefix("inet6 ")
                .or_else(|| line.strip_prefix("inet "))
        })
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect()
}

#[test]
fn memberships_last_until_they_are_left() {
    need_root!();
    let (here, _there) = two_uplinks();
    let (u0, u1) = (index(&here, "u0"), index(&here, "u1"));

    let mut memberships = here.run(|| {
        let mut memberships = Memberships::default();
        for group in [V4, V6] {
            memberships.join(ip(group), u1).unwrap();
            memberships.join(ip(group), u1).unwrap();
        }
        memberships
    });

    for group in [V4, V6] {
        assert!(members(&here, "u1").contains(&group.to_owned()), "{group}");
        assert!(!members(&here, "u0").contains(&group.to_owned()), "{group}");
        memberships.leave(ip(group), u0).unwrap();
        assert!(members(&here, "u1").contains(&group.to_owned()), "{group}");
        memberships.leave(ip(group), u1).unwrap();
        memberships.leave(ip(group), u1).unwrap();
        assert!(!members(&here, "u1").contains(&group.to_owned()), "{group}");
    }
}

#[test]
fn there_can_be_any_number_of_groups() {
    const GROUPS: u8 = 50;
    need_root!();
    let (here, _there) = two_uplinks();
    let u0 = index(&here, "u0");
    // Less than usual: each socket takes five.
    here.sysctl("ipv4/igmp_max_memberships", "5");
    let of_each = |number: u8| {
        [
            ip(&format!("239.1.2.{number}")),
            ip(&format!("ff05::2:{number:x}")),
        ]
    };

    let mut memberships = here.run(|| {
        let mut memberships = Memberships::default();
        for group in (1..=GROUPS).flat_map(of_each) {
            memberships.join(group, u0).unwrap();
        }
        memberships
    });

    let joined = members(&here, "u0");
    for group in (1..=GROUPS).flat_map(of_each) {
        assert!(joined.contains(&group.to_string()), "{group}: {joined:?}");
        memberships.leave(group, u0).unwrap();
    }
    let left = members(&here, "u0");
    assert!(
        !left
            .iter()
            .any(|group| group.starts_with("239.") || group.starts_with("ff05")),
        "{left:?}"
    );
}

#[test]
fn memberships_of_an_interface_that_is_gone_can_be_left() {
    need_root!();
    let (here, _there) = two_uplinks();
    let u0 = index(&here, "u0");
    here.run(|| {
        let mut memberships = Memberships::default();
        for group in [V4, V6] {
            memberships.join(ip(group), u0).unwrap();
        }
        here.ip("link delete u0");
        for group in [V4, V6] {
            memberships.leave(ip(group), u0).unwrap();
        }
        assert_eq!(memberships.iter().count(), 0);
    });
}

#[test]
fn the_slow_path_device_sends_to_a_group_by_the_uplink_of_its_route() {
    need_root!();
    let (here, there) = two_uplinks();
    device_to(&here, "10.9.4.9", &format!("ip id 100 dst {V4}"));
    // As the data path: over IPv6 the source comes with the packet.
    let encap = format!("ip6 id 100 src 2001:db8:1::1 dst {V6}");
    device_to(&here, "10.9.6.9", &encap);

    for (dev, v4_source) in [("u1", "192.0.1.1"), ("u0", "192.0.0.1")] {
        let oif = index(&here, dev);
        let source = Some(v4_source.parse().unwrap());
        inside(&here, async |netlink| {
            let v4 = GroupRoute { oif, source };
            netlink.set_group_route(ip(V4), v4, OWNER).await.unwrap();
            let v6 = GroupRoute { oif, source: None };
            netlink.set_group_route(ip(V6), v6, OWNER).await.unwrap();
        });

        let came = sent_to(&here, &there, "10.9.4.9");
        assert_eq!(came, [(dev, ip(v4_source))], "IPv4 by {dev}");
        let came = sent_to(&here, &there, "10.9.6.9");
        assert_eq!(came, [(dev, ip("2001:db8:1::1"))], "IPv6 by {dev}");
    }
}

#[test]
fn routes_to_groups_are_told_apart_by_their_owner() {
    need_root!();
    let (here, _there) = two_uplinks();
    let oif = index(&here, "u1");
    let route = |group: IpAddr| GroupRoute {
        oif,
        source: group.is_ipv4().then_some(Ipv4Addr::new(192, 0, 1, 1)),
    };
    here.ip(&format!(
        "route add multicast {V4}/32 dev u0 table local proto static metric 1\n\
         route add multicast {V6}/128 dev u0 table local proto static metric 1"
    ));

    inside(&here, async |netlink| {
        for owner in [OWNER, OWNER + 1] {
            for group in [V4, V6].map(ip) {
                netlink
                    .set_group_route(group, route(group), owner)
                    .await
                    .unwrap();
                // Again, as after a restart.
                netlink
                    .set_group_route(group, route(group), owner)
                    .await
                    .unwrap();
            }
        }
        let mine = netlink.group_routes(OWNER).await.unwrap();
        let want = [V4, V6].map(|group| (ip(group), route(ip(group))));
        assert_eq!(mine, want.into());

        netlink.delete_group_routes(OWNER).await.unwrap();
        netlink.delete_group_route(ip(V4), OWNER).await.unwrap();
        assert!(netlink.group_routes(OWNER).await.unwrap().is_empty());
        let others = netlink.group_routes(OWNER + 1).await.unwrap();
        assert_eq!(others.len(), 2, "another instance's stay");
    });

    let left = [
        here.ip_output("route show table local proto static"),
        here.ip_output("-6 route show table local proto static"),
    ];
    assert!(left.iter().all(|routes| routes.contains("u0")), "{left:?}");
}

#[test]
fn what_is_sent_to_a_vtep_looks_as_from_the_data_path() {
    need_root!();
    let (here, there) = two_uplinks();
    there.ip("address add 192.0.0.2/24 dev r0\n\
         address add 2001:db8:0::2/64 dev r0");
    for (local, remote) in [("192.0.0.1", "192.0.0.2"), ("2001:db8::1", "2001:db8::2")] {
        let capture = Capture::arriving(&there, "r0");
        here.run(|| {
            let socket = udp::sender(ip(local), None).unwrap();
            socket.send_to(b"vxlan", (ip(remote), OWNER)).unwrap();
        });

        let packet = vxlan(&capture, DEADLINE).expect("the packet");
        assert_eq!(packet.source, ip(local));
        assert_eq!(packet.destination, ip(remote));
        assert!(packet.source_port >= 49_152, "{packet:?}");
        assert_eq!(packet.ttl, 64);
        assert!(packet.may_not_be_cut);
        assert_eq!(packet.without_checksum, local.contains('.'), "{packet:?}");
    }
}

#[test]
fn what_is_sent_to_a_group_leaves_by_the_interface_named() {
    need_root!();
    let (here, there) = two_uplinks();
    let u1 = index(&here, "u1");
    // Our address is that of another interface.
    for (local, group) in [("192.0.0.1", V4), ("2001:db8::1", V6)] {
        let (r0, r1) = (
            Capture::arriving(&there, "r0"),
            Capture::arriving(&there, "r1"),
        );
        here.run(|| {
            let socket = udp::sender(ip(local), Some(u1)).unwrap();
            socket.send_to(b"vxlan", (ip(group), OWNER)).unwrap();
        });

        let packet = vxlan(&r1, DEADLINE).expect("the packet");
        assert_eq!((packet.source, packet.destination), (ip(local), ip(group)));
        assert_eq!(packet.ttl, 64);
        assert!(vxlan(&r0, SOON).is_none());
    }
}

#[test]
fn sockets_to_send_with_find_a_port_each() {
    need_root!();
    let (here, _there) = two_uplinks();
    here.run(|| {
        let sockets = [(); 3].map(|()| udp::sender(ip("192.0.0.1"), None).unwrap());
        let ports = sockets.map(|socket| socket.local_addr().unwrap().port());
        assert_eq!(ports, [49_152, 49_153, 49_154]);
    });
}

// Helpers

/// Has packets for `host` leave by a vxlan device with this encapsulation, as the data path has it with the tunnel key.
fn device_to(here: &Ns, host: &str, encap: &str) {
    if !here.has_device("vx0") {
        here.ip(&format!(
            "link add vx0 type vxlan external dstport {OWNER} nolearning udp6zerocsumrx\n\
             link set vx0 up\n\
             address add 10.9.0.1/16 dev vx0"
        ));
    }
    here.ip(&format!(
        "neighbour replace {host} lladdr 02:00:00:00:00:99 dev vx0 nud permanent\n\
         route add {host}/32 encap {encap} dev vx0"
    ));
}

/// By which uplinks, and from which addresses, a packet for `host` leaves.
fn sent_to(here: &Ns, there: &Ns, host: &str) -> Vec<(&'static str, IpAddr)> {
    let ends = [("u0", "r0"), ("u1", "r1")].map(|(dev, end)| (dev, Capture::arriving(there, end)));
    here.run(|| {
        let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
        socket.send_to(b"hello", (ip(host), 9)).unwrap();
    });
    let mut came = Vec::new();
    let mut look = |within| {
        for (dev, capture) in &ends {
            came.extend(vxlan(capture, within).map(|packet| (*dev, packet.source)));
        }
        !came.is_empty()
    };
    until_true("the packet", || look(Duration::ZERO));
    // One too many would have come by then.
    look(SOON);
    came
}

/// What stands in the outer headers of a packet.
#[derive(Debug)]
struct SeenPacket {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    may_not_be_cut: bool,
    source_port: u16,
    without_checksum: bool,
}

/// The first packet to VXLAN's port that comes within `within`.
fn vxlan(capture: &Capture, within: Duration) -> Option<SeenPacket> {
    let seen = capture.collect(within, |seen| {
        seen.iter().any(|frame| packet(frame).is_some())
    });
    seen.iter().find_map(|frame| packet(frame))
}

fn packet(frame: &[u8]) -> Option<SeenPacket> {
    let (addresses, ttl, may_not_be_cut, udp) = match *frame.get(12..14)? {
        [0x08, 0] if *frame.get(23)? == 17 => {
            let [source, destination] = [26, 30].map(|at| ipv4(&frame[at..at + 4]));
            let df = frame[20] & 0x40 != 0;
            ((source, destination), frame[22], df, 34)
        }
        [0x86, 0xdd] if *frame.get(20)? == 17 => {
            let [source, destination] = [22, 38].map(|at| ipv6(&frame[at..at + 16]));
            ((source, destination), frame[21], true, 54)
        }
        _ => return None,
    };
    let word = |at: usize| u16::from_be_bytes([frame[udp + at], frame[udp + at + 1]]);
    (word(2) == OWNER).then(|| SeenPacket {
        source: addresses.0,
        destination: addresses.1,
        ttl,
        may_not_be_cut,
        source_port: word(0),
        without_checksum: word(6) == 0,
    })
}

fn ipv4(bytes: &[u8]) -> IpAddr {
    IpAddr::from(<[u8; 4]>::try_from(bytes).unwrap())
}

fn ipv6(bytes: &[u8]) -> IpAddr {
    IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap())
}

/// Runs `test` inside the namespace.
fn inside(ns: &Ns, test: impl AsyncFnOnce(Netlink) + Send) {
    ns.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let netlink = Netlink::open().unwrap();
            test(netlink).await;
        });
    });
}
