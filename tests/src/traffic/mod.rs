//! Traffic between two namespaces, checked by content.

pub mod beat;
pub mod checks;
pub mod roam;
pub mod stream;

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::time::{Duration, Instant};

use crate::dump::assert_same;
use crate::encoder::{checksum, pattern};
use crate::lab::ns::Ns;
use crate::wait::{DEADLINE, poll};

/// Sends one echo request and says whether its answer came within `within`.
#[must_use]
pub fn ping_once(from: &Ns, to: IpAddr, seq: u16, within: Duration) -> bool {
    Pinger::new(from, to).once(seq, within)
}

/// Pings until an answer comes.
///
/// # Panics
///
/// If none does in time.
#[track_caller]
pub fn ping(from: &Ns, to: IpAddr) {
    assert!(
        pings(from, to, DEADLINE),
        "no answer to pings from {} to {to}",
        from.name()
    );
}

/// Whether pings are answered before `within` has passed.
#[must_use]
pub fn pings(from: &Ns, to: IpAddr, within: Duration) -> bool {
    let (pinger, mut seq) = (Pinger::new(from, to), 0);
    poll(within, || {
        seq += 1;
        pinger.once(seq, Duration::from_millis(200)).then_some(())
    })
    .is_some()
}

/// A raw ICMP socket and whom it asks.
#[derive(Debug)]
pub struct Pinger {
    socket: UdpSocket,
    to: IpAddr,
}

impl Pinger {
    /// Opens the socket in `from`.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    #[must_use]
    pub fn new(from: &Ns, to: IpAddr) -> Self {
        let (family, protocol) = match to {
            IpAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_ICMP),
            IpAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_ICMPV6),
        };
        let socket = from.run(|| {
            // SAFETY: plain call; the result is checked before it becomes an owner.
            let fd = unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
            assert!(fd >= 0, "raw socket: {}", io::Error::last_os_error());
            // SAFETY: `fd` was just opened and nobody else knows it. Sending and receiving of a
            // UdpSocket are plain sendto and recvfrom, which a raw socket takes as well.
            unsafe { UdpSocket::from_raw_fd(fd) }
        });
        Self { socket, to }
    }

    /// Asks once.
    #[must_use]
    pub fn once(&self, seq: u16, within: Duration) -> bool {
        self.send(seq)
            && poll(within, || {
                let answer = self.answer(Duration::from_millis(50));
                (answer == Some(seq)).then_some(())
            })
            .is_some()
    }

    /// Sends a request; says whether the kernel took it.
    pub(crate) fn send(&self, seq: u16) -> bool {
        let mut message = self.message(seq, true);
        // The kernel fills in the checksum of ICMPv6 by itself.
        let sum = checksum(&[&message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let to = SocketAddr::new(self.to, 0);
        self.socket.send_to(&message, to).is_ok()
    }

    /// Waits for one message, `within` at most; returns the number of the request that it answers whole.
    pub(crate) fn answer(&self, within: Duration) -> Option<u16> {
        // A timeout of zero would be none.
        let within = within.max(Duration::from_micros(1));
        self.socket.set_read_timeout(Some(within)).ok()?;
        let mut got = [0; 2048];
        let (len, from) = self.socket.recv_from(&mut got).ok()?;
        let header = if self.to.is_ipv4() { 20 } else { 0 };
        let body = got[..len].get(header..)?;
        let seq = u16::from_be_bytes(*body.get(6..)?.first_chunk()?);
        let want = self.message(seq, false);
        let right = from.ip() == self.to && body[0] == want[0] && body[4..] == want[4..];
        right.then_some(seq)
    }

    /// A request or its answer, without its checksum.
    fn message(&self, seq: u16, is_request: bool) -> Vec<u8> {
        let kind = match (self.to, is_request) {
            (IpAddr::V4(_), true) => 8,
            (IpAddr::V4(_), false) => 0,
            (IpAddr::V6(_), true) => 128,
            (IpAddr::V6(_), false) => 129,
        };
        let mut message = vec![kind, 0, 0, 0, 0x56, 0x54];
        message.extend(seq.to_be_bytes());
        message.extend(pattern(seq.into(), 56));
        message
    }
}

/// Carries `len` bytes from one namespace to the other over TCP and compares them.
///
/// # Panics
///
/// If they do not arrive whole.
#[track_caller]
pub fn tcp_transfer(from: &Ns, to: &Ns, to_ip: IpAddr, len: usize) {
    let _took = tcp_timed(from, to, to_ip, len);
}

/// The same; returns the time from when the receiver was accepted until it had all.
///
/// # Panics
///
/// If the bytes do not arrive whole.
#[must_use]
#[track_caller]
pub fn tcp_timed(from: &Ns, to: &Ns, to_ip: IpAddr, len: usize) -> Duration {
    let listener = to.run(|| TcpListener::bind((to_ip, 0)).expect("listen"));
    let address = listener.local_addr().expect("the listener's address");
    let mut sender = from.run(|| {
        TcpStream::connect_timeout(&address, DEADLINE)
            .unwrap_or_else(|e| panic!("connect from {} to {address}: {e}", from.name()))
    });
    let (receiver, _) = listener.accept().expect("accept");
    receiver
        .set_read_timeout(Some(DEADLINE))
        .expect("a read timeout");
    sender
        .set_write_timeout(Some(DEADLINE))
        .expect("a write timeout");
    let want = pattern(7, len);
    let mut got: Vec<u8> = Vec::with_capacity(len);
    let took = std::thread::scope(|scope| {
        let mut receiver = receiver;
        scope.spawn(|| {
            sender.write_all(&want).expect("send all");
            sender
                .shutdown(std::net::Shutdown::Write)
                .expect("end the stream");
        });
        let (start, mut part) = (Instant::now(), vec![0; 1 << 16]);
        loop {
            match receiver.read(&mut part) {
                Ok(0) => break,
                Ok(more) => got.extend(&part[..more]),
                Err(e) => panic!("TCP from {} to {to_ip} stalled: {e}", from.name()),
            }
            // Unread when the socket goes, the rest is an error for the sender, who then ends too.
            assert!(
                start.elapsed() < DEADLINE,
                "TCP to {to_ip}: only {} bytes",
                got.len()
            );
        }
        start.elapsed()
    });
    let at = got.iter().zip(&want).position(|(g, w)| g != w);
    assert!(
        got == want,
        "TCP to {to_ip}: got {} of {len} bytes, first wrong {at:?}",
        got.len()
    );
    took
}

/// Two UDP sockets in two namespaces, connected to each other.
///
/// # Panics
///
/// If they cannot be made.
#[must_use]
pub fn udp_pair(a: (&Ns, IpAddr), b: (&Ns, IpAddr)) -> (UdpSocket, UdpSocket) {
    let open = |(ns, ip): (&Ns, IpAddr)| {
        ns.run(|| UdpSocket::bind((ip, 0)).unwrap_or_else(|e| panic!("bind {ip}: {e}")))
    };
    let (left, right) = (open(a), open(b));
    left.connect(right.local_addr().expect("an address"))
        .expect("connect");
    right
        .connect(left.local_addr().expect("an address"))
        .expect("connect");
    for socket in [&left, &right] {
        socket
            .set_read_timeout(Some(DEADLINE))
            .expect("a read timeout");
    }
    (left, right)
}

/// Gives a socket a receive buffer of `bytes`, however little the system allows to others.
///
/// # Panics
///
/// If the kernel refuses.
pub fn set_receive_buffer(socket: &UdpSocket, bytes: i32) {
    // SAFETY: the value is of the size stated and outlives the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast(),
            4,
        )
    };
    assert_eq!(set, 0, "SO_RCVBUFFORCE: {}", io::Error::last_os_error());
}

/// Sends a datagram of each size there and back and compares each.
///
/// # Panics
///
/// If one is lost or changed.
#[track_caller]
pub fn udp_sizes(a: (&Ns, IpAddr), b: (&Ns, IpAddr), sizes: impl Iterator<Item = usize>) {
    let (left, right) = udp_pair(a, b);
    let mut buffer = vec![0; 1 << 16];
    for size in sizes {
        let want = pattern(u32::try_from(size).unwrap_or(0), size);
        for (from, to) in [(&left, &right), (&right, &left)] {
            from.send(&want)
                .unwrap_or_else(|e| panic!("send {size} bytes: {e}"));
            let len = to
                .recv(&mut buffer)
                .unwrap_or_else(|e| panic!("a datagram of {size} bytes did not arrive: {e}"));
            assert_same(
                &buffer[..len],
                &want,
                &format!("a datagram of {size} bytes"),
            );
        }
    }
}

/// Sends `data` at once, for the kernel to segment into datagrams of `size` bytes (`UDP_SEGMENT`).
///
/// # Panics
///
/// If the kernel does not take it whole.
#[track_caller]
pub fn send_udp_gso(socket: &UdpSocket, data: &[u8], size: u16) {
    let size = i32::from(size);
    // SAFETY: the value is of the size stated and outlives the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const size).cast(),
            4,
        )
    };
    assert_eq!(set, 0, "UDP_SEGMENT: {}", io::Error::last_os_error());
    let taken = socket
        .send(data)
        .unwrap_or_else(|e| panic!("send {} bytes in datagrams of {size}: {e}", data.len()));
    assert_eq!(taken, data.len(), "sent at once");
}

/// A VM's IPv4 address in the segment.
#[must_use]
pub const fn inner_v4(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 100, 0, host)
}

/// A VM's IPv6 address in the segment.
#[must_use]
pub const fn inner_v6(host: u8) -> Ipv6Addr {
    let octets = [0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host];
    Ipv6Addr::from_bits(u128::from_be_bytes(octets))
}
