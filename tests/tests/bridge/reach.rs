//! Who reaches whom, and how often.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use socket2::SockRef;
use vtep_tests::encoder::Mac;
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::{GREEN, VM_DEV, Vm};
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::Capture;
use vtep_tests::need_root;
use vtep_tests::traffic::checks::{marked, reaches_exactly_once};
use vtep_tests::traffic::{ping, tcp_transfer};
use vtep_tests::wait::DEADLINE;

use super::{BRIDGE, Host};

/// In which a copy too many would come.
const MORE: Duration = Duration::from_millis(300);
const MULTICAST: Mac = Mac([0x33, 0x33, 0, 0, 0, 0x77]);
/// Which of [`Host::ears`] is the host's.
const HOST_S_EAR: usize = 2;
/// A MAC that nobody has.
const NOBODY: Mac = Mac::nth(0x7e);

/// Insists that what each one sends to all comes to all others exactly once: guests, host and the guest far away.
#[track_caller]
pub(super) fn each_is_heard_once(host: &Host, round: u32) {
    let ears = host.ears();
    let mouths = [
        (Capture::all(&host.a.ns, VM_DEV), host.a.mac),
        (Capture::all(&host.b.ns, VM_DEV), host.b.mac),
        (Capture::all(host.ns(), BRIDGE), host.mac()),
        (Capture::all(&host.far.ns, VM_DEV), host.far.mac),
    ];
    let mut mark = round * 100;
    for to in [Mac::BROADCAST, MULTICAST, NOBODY] {
        for (at, (mouth, from)) in mouths.iter().enumerate() {
            mark += 1;
            let frame = marked(*from, to, mark).build();
            // A bridge hands no frame for another MAC to its host.
            let (hear, do_not): (Vec<_>, Vec<_>) = (0..)
                .zip(&ears)
                .partition(|(ear, _)| *ear != at && (to != NOBODY || *ear != HOST_S_EAR));
            let [hear, do_not] = [hear, do_not]
                .map(|of| -> Vec<&Capture> { of.into_iter().map(|(_, ear)| ear).collect() });
            reaches_exactly_once(mouth, &frame, &hear, &do_not);
        }
    }
}

/// Insists that guests, host and the guest far away reach each other.
#[track_caller]
pub(super) fn all_reach_each_other(host: &Host) {
    let far = host.far.ips();
    let ends: [(&Ns, [IpAddr; 2]); 4] = [
        (&host.a.ns, host.a.ips()),
        (&host.b.ns, host.b.ips()),
        (host.ns(), Host::ips()),
        (&host.far.ns, far),
    ];
    for (from, _) in &ends {
        for (to, ips) in &ends {
            if from.name() != to.name() {
                for ip in ips {
                    ping(from, *ip);
                }
            }
        }
    }
}

#[test]
fn guests_the_host_and_guests_far_away_reach_each_other() {
    need_root!();
    let host = Host::new();
    all_reach_each_other(&host);
    // Large ones too, with the offloads that each has.
    let ends: [(&Ns, IpAddr); 4] = [
        (&host.a.ns, host.a.v4),
        (&host.b.ns, host.b.v4),
        (host.ns(), Host::ips()[0]),
        (&host.far.ns, host.far.v4),
    ];
    for (from, _) in &ends {
        for (to, ip) in &ends {
            if from.name() != to.name() {
                tcp_transfer(from, to, *ip, 1 << 20);
            }
        }
    }
    let row = host
        .daemon()
        .fdb(GREEN, host.mac())
        .expect("the host's MAC");
    assert_eq!(row["dev"], super::GATE_PORT, "{row}");
    for vm in [&host.a, &host.b] {
        let row = host.daemon().fdb(GREEN, vm.mac).expect("a guest's MAC");
        assert_eq!(row["dev"], vm.port.as_str(), "{row}");
    }
}

#[test]
fn every_broadcast_comes_exactly_once_to_everybody() {
    need_root!();
    let host = Host::new();
    all_reach_each_other(&host);

    each_is_heard_once(&host, 1);
}

#[test]
fn a_guest_that_claims_the_host_s_mac_does_not_get_its_frames() {
    need_root!();
    let host = Host::new();
    all_reach_each_other(&host);
    let thief = Capture::all(&host.a.ns, VM_DEV);
    let before = host.daemon().dropped("static_elsewhere");

    thief.send(&marked(host.mac(), Mac::BROADCAST, 7).build());

    host.daemon().expect_dropped("static_elsewhere", before + 1);
    ping(&host.far.ns, Host::ips()[0]);
    ping(&host.b.ns, Host::ips()[0]);
}

/// A socket on an interface, as a DHCP client or server has it.
fn dhcp_socket(ns: &Ns, dev: &str, port: u16) -> UdpSocket {
    ns.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("bind");
        socket.set_broadcast(true).expect("broadcast");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        SockRef::from(&socket.as_fd())
            .bind_device(Some(dev.as_bytes()))
            .expect("bind to the device");
        socket
    })
}

fn to_all(port: u16) -> SocketAddr {
    (Ipv4Addr::BROADCAST, port).into()
}

/// What came to a socket until now, and within the time in which one too many would come.
fn got(socket: &UdpSocket) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(MORE)).expect("a timeout");
    let mut got = Vec::new();
    let mut buffer = [0; 2048];
    while let Ok(len) = socket.recv(&mut buffer) {
        got.push(buffer[..len].to_vec());
    }
    got
}

#[test]
fn a_dhcp_server_on_the_bridge_serves_guests_here_and_far_away() {
    need_root!();
    let host = Host::new();
    let server = dhcp_socket(host.ns(), BRIDGE, 67);
    let vms: [&Vm; 3] = [&host.a, &host.b, &host.far];
    for vm in vms {
        vm.ns.ip(&format!("addr flush dev {VM_DEV}"));
        // Without an address the kernel needs to know where broadcasts go.
        vm.ns.ip(&format!("route add default dev {VM_DEV}"));
    }
    let clients: Vec<_> = vms.map(|vm| dhcp_socket(&vm.ns, VM_DEV, 68)).into();
    for (number, client) in clients.iter().enumerate() {
        let discover = format!("DISCOVER {number}").into_bytes();
        client.send_to(&discover, to_all(67)).expect("ask");
        let mut buffer = [0; 2048];
        let (len, _) = server.recv_from(&mut buffer).expect("what the guest asks");
        assert_eq!(buffer[..len], discover);
        assert_eq!(got(&server), Vec::<Vec<u8>>::new(), "asked once");
        let offer = format!("OFFER {number}").into_bytes();
        server.send_to(&offer, to_all(68)).expect("answer");
        for client in &clients {
            client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            let len = client.recv(&mut buffer).expect("the answer");
            assert_eq!(buffer[..len], offer);
        }
        for client in &clients {
            assert_eq!(got(client), Vec::<Vec<u8>>::new(), "answered once");
        }
    }
}
