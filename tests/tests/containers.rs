//! Ports whose other end is a container's: frames are handed straight to it, where they are for it.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use vtep_tests::encoder::{Frame, Mac, checksum, eth, pseudo};
use vtep_tests::lab::GREEN;
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::Capture;
use vtep_tests::link::tap::GsoType;
use vtep_tests::wait::DEADLINE;
use vtep_tests::{need_root, wait};

/// The port.
const POD: &str = "pod0";
/// The UDP port that the container listens on.
const LISTENS: u16 = 7777;
/// A MAC behind the port that is not the container's.
const BEYOND: Mac = Mac::nth(0x31);
/// Whose packets they say they are.
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The container's address.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// A hypervisor with a container behind a port.
struct Pod {
    wire: Wire,
    ns: Ns,
    seen: Capture,
    socket: UdpSocket,
}

impl Pod {
    fn new(family: Family) -> Self {
        Self::on(Wire::new(family))
    }

    fn on(wire: Wire) -> Self {
        let ns = Ns::new("pod");
        wire.ns.veth(POD, &ns, "eth0");
        wire.ns
            .sysctl(&format!("ipv6/conf/{POD}/disable_ipv6"), "1");
        ns.ip(&format!("addr add {ADDRESS}/24 dev eth0"));
        wire.daemon.ok(&format!("port add {POD} --vni {GREEN}"));
        for mac in [ns.mac("eth0"), BEYOND] {
            let line = format!("fdb add {mac} --vni {GREEN} --dev {POD}");
            wire.daemon.ok(&line);
        }
        let seen = Capture::arriving(&ns, "eth0");
        let socket = ns.run(|| UdpSocket::bind((ADDRESS, LISTENS)).unwrap());
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self {
            wire,
            ns,
            seen,
            socket,
        }
    }

    /// A datagram for the container's address, and for this MAC.
    fn datagram(from: Mac, to: Mac, mark: u8) -> Frame {
        eth(from, to)
            .ip(SENDER.into(), ADDRESS.into())
            .udp(1000, LISTENS)
            .bytes(&[mark; 20])
    }

    /// Sends a frame from the far VTEP, or from the VM next door.
    fn send(&self, frame: &[u8], local: bool) {
        if local {
            self.wire.port.send(frame);
        } else {
            self.wire.uplink.send(&self.wire.tunnelled(GREEN, frame));
        }
    }

    /// What the container takes in, which is to be the datagram with this mark.
    #[track_caller]
    fn takes(&self, mark: u8) {
        let mut data = [0; 64];
        let len = self.socket.recv(&mut data).expect("a datagram");
        assert_eq!(data[..len], [mark; 20]);
    }

    /// How many frames went to the container by the hypervisor's end of the veth. What is handed straight over does not.
    fn sent_by_veth(&self) -> u64 {
        let rows = self.wire.ns.ip_output(&format!("-s -j link show {POD}"));
        let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
        rows[0]["stats64"]["tx"]["packets"].as_u64().unwrap()
    }
}

#[test]
fn a_container_takes_no_frame_for_another_mac() {
    need_root!();
    for family in [Family::V4, Family::V6] {
        let pod = Pod::new(family);
        let own = pod.ns.mac("eth0");
        let before = pod.sent_by_veth();
        for (mark, local) in [(1, false), (3, true)] {
            let sender = if local { VM } else { FAR_VM };
            let other = Pod::datagram(sender, BEYOND, mark).build();
            pod.send(&other, local);
            pod.seen.expect(&other);

            pod.send(&Pod::datagram(sender, own, mark + 1).build(), local);
            // The first that it takes in is its own.
            pod.takes(mark + 1);
        }
        assert_eq!(pod.sent_by_veth() - before, 2, "its own take the short way");
    }
}

#[test]
fn the_mac_of_a_container_may_change() {
    need_root!();
    let pod = Pod::new(Family::V4);
    let mut before = pod.sent_by_veth();
    pod.ns.ip("link set eth0 down");
    pod.ns.ip(&format!("link set eth0 address {BEYOND}"));
    pod.ns.ip("link set eth0 up");

    let mut mark: u8 = 0;
    wait::until_true("its own to take the short way", || {
        mark = mark.wrapping_add(1);
        pod.send(&Pod::datagram(FAR_VM, BEYOND, mark).build(), false);
        pod.takes(mark);
        let long = pod.sent_by_veth();
        long == std::mem::replace(&mut before, long)
    });
}

/// Bytes of payload that a GSO packet is cut into here.
const SEGMENT: u16 = 1_000;

/// A TCP packet to the container of so many bytes, of which its header names `says`, as the far VTEP sends it in a GSO packet. What is left
/// to the kernel is cut into pieces that are no packets of a VTEP, but for the first.
fn merged(pod: &Pod, (v6, len, says): (bool, usize, usize)) -> Vec<u8> {
    let head = eth(FAR_VM, pod.ns.mac("eth0"));
    let (head, at, says) = if v6 {
        let ends = ["fd00::1", "fd00::2"].map(|end| end.parse::<IpAddr>().unwrap());
        (head.ip(ends[0], ends[1]), 18, says - 40)
    } else {
        (head.ip(SENDER.into(), ADDRESS.into()), 16, says)
    };
    let headers = if v6 { 60 } else { 40 };
    let mut inner = head.tcp(1, 2, 3).bytes(&vec![0; len - headers]).build();
    inner[at..at + 2].copy_from_slice(&u16::try_from(says).unwrap().to_be_bytes());
    inner
}

#[test]
fn a_packet_that_was_merged_without_mending_its_length_is_not_handed_over_to_be_cut() {
    need_root!();
    for family in [Family::V4, Family::V6] {
        let pod = Pod::on(Wire::with_vnet_uplink(family));
        let l4 = family.outer_len() - 16;
        let send = |inner: &[u8]| {
            let mut outer = pod.wire.tunnelled(GREEN, inner);
            let (from, to) = (pod.wire.far_ip, pod.wire.ip);
            let len = u32::try_from(outer.len() - l4).unwrap();
            let sum = !checksum(&[&pseudo(from, to, 17, len)]);
            outer[l4 + 6..l4 + 8].copy_from_slice(&sum.to_be_bytes());
            pod.wire.uplink.send_gso(&outer, GsoType::Udp, SEGMENT, l4);
        };
        for v6 in [false, true] {
            let whole = merged(&pod, (v6, 2_500, 2_500));
            send(&whole);
            pod.seen.expect(&whole);

            send(&merged(&pod, (v6, 2_500, 1_300)));
            send(&merged(&pod, (v6, 2_600, 2_600)));
            let arrived = pod.seen.collect(DEADLINE, |seen| {
                seen.last().is_some_and(|last| last.len() == 14 + 2_600)
            });
            // Where a piece arrives, it is one that the container refuses: longer by its own word.
            for frame in arrived
                .iter()
                .filter(|frame| frame[..6] == whole[..6] && frame[12..14] == whole[12..14])
            {
                let word = u16::from_be_bytes(if v6 {
                    [frame[18], frame[19]]
                } else {
                    [frame[16], frame[17]]
                });
                let end = 14 + usize::from(word) + if v6 { 40 } else { 0 };
                assert!(end >= frame.len(), "{} of {} bytes", end, frame.len());
            }
        }
    }
}
