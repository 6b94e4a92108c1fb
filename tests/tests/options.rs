//! TCP behind IP options and extension headers: whatever segments it, all of it arrives.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Instant;

use vtep_tests::encoder::pattern;
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{Kind, Lab, VM_DEV};
use vtep_tests::link::offload::set_vlan_offload;
use vtep_tests::wait::DEADLINE;
use vtep_tests::{over_each_family, traffic};

over_each_family! {
    tcp_behind_options_arrives_whole,
    tcp_behind_options_arrives_whole_where_xdp_takes_the_frames,
}

/// Bytes that are sent.
const LEN: usize = 4 << 20;

/// Two VMs behind two hypervisors.
fn lab(family: Family) -> Lab {
    let topology = Topology::Flat;
    Lab::green(Underlay { family, topology }, &[Kind::Vtep, Kind::Vtep])
}

/// Has every packet of a connection carry options that say nothing.
fn with_options(socket: &TcpStream, ip: IpAddr) {
    // IPv6: a header of destination options, with padding alone. IPv4: four times "no operation".
    let (level, name, options): (_, _, &[u8]) = match ip {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_OPTIONS, &[1, 1, 1, 1]),
        IpAddr::V6(_) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_DSTOPTS,
            &[0, 0, 1, 4, 0, 0, 0, 0],
        ),
    };
    let len = u32::try_from(options.len()).expect("a few bytes");
    // SAFETY: the options are readable for their length.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            options.as_ptr().cast(),
            len,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// Sends [`LEN`] bytes over a connection whose sender sets options once it is made.
fn transfer(from: &Ns, to: &Ns, ip: IpAddr) {
    let listener = to.run(|| TcpListener::bind((ip, 0)).expect("listen"));
    let address = listener.local_addr().expect("its address");
    let mut sender = from.run(|| TcpStream::connect_timeout(&address, DEADLINE).expect("connect"));
    let (mut receiver, _) = listener.accept().expect("accept");
    with_options(&sender, ip);
    sender.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    receiver
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout");
    let sent = pattern(3, LEN);
    let mut got: Vec<u8> = Vec::with_capacity(LEN);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // What does not arrive is missed there.
            if sender.write_all(&sent).is_ok() {
                drop(sender.shutdown(Shutdown::Write));
            }
        });
        let (start, mut part) = (Instant::now(), vec![0; 1 << 16]);
        while let Ok(more @ 1..) = receiver.read(&mut part) {
            got.extend(&part[..more]);
            if start.elapsed() > DEADLINE {
                break;
            }
        }
        // Unread when the socket goes, the rest is an error for the sender, who then ends too.
        drop(receiver);
    });
    assert!(got == sent, "{} of {LEN} bytes to {ip}", got.len());
}

fn tcp_behind_options_arrives_whole(family: Family) {
    let lab = lab(family);
    let (a, b) = lab.pair();
    for ip in b.ips() {
        traffic::ping(&a.ns, ip);
        transfer(&a.ns, &b.ns, ip);
    }
    // IPv6 comes in GSO packets that no program can encapsulate.
    let stats = lab.daemon(0).rows("stats");
    let by_kernel = stats
        .iter()
        .any(|row| row["reason"] == "encapsulated_by_kernel" && row["hook"] == "port");
    assert!(by_kernel, "{stats:#?}");
    assert_eq!(lab.daemon(0).dropped("too_big"), 0);
    assert_eq!(lab.daemon(0).dropped("too_big_answered"), 0);
}

fn tcp_behind_options_arrives_whole_where_xdp_takes_the_frames(family: Family) {
    let lab = lab(family);
    let (a, b) = lab.pair();
    for (ns, dev) in [(&lab.hypervisors[0].ns, &*a.port), (&a.ns, VM_DEV)] {
        set_vlan_offload(ns, dev, false);
    }
    lab.daemon(0).ok(&format!("port set {} --hook xdp", a.port));
    for ip in b.ips() {
        traffic::ping(&a.ns, ip);
        transfer(&a.ns, &b.ns, ip);
    }
}
