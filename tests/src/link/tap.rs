//! A tap device whose other end, where a VM or a wire would be, is the test.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lab::ns::Ns;
use crate::link::{Link, readable};

const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const TUNSETOFFLOAD: libc::Ioctl = 0x4004_54d0;
const TUNSETIFINDEX: libc::Ioctl = 0x4004_54da;
const TUNSETVNETHDRSZ: libc::Ioctl = 0x4004_54d8;
/// Checksum offload, TCP segmentation of both families.
const OFFLOADS: libc::c_ulong = 0x1 | 0x2 | 0x4;
/// Length of the header before each frame of a tap opened [`Tap::with_vnet_header`].
pub const VNET_LEN: usize = 10;

/// What a GSO packet is segmented into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoType {
    /// Into segments of a stream.
    Tcp,
    /// Into datagrams.
    Udp,
}

impl GsoType {
    /// Its number in an IP header.
    #[must_use]
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// Length of its header.
    #[must_use]
    pub const fn header_len(self) -> usize {
        match self {
            Self::Tcp => 20,
            Self::Udp => 8,
        }
    }

    /// Where in its header the checksum is.
    #[must_use]
    pub const fn sum_at(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }
}

/// The device and the descriptor that keeps it alive.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
    vnet: bool,
}

impl Tap {
    /// Makes a tap in `ns`, up, as a plain Ethernet wire.
    #[must_use]
    pub fn new(ns: &Ns, dev: &str) -> Self {
        Self::open(ns, dev, false, None)
    }

    /// The same, with a number of its own choice.
    #[must_use]
    pub fn numbered(ns: &Ns, dev: &str, ifindex: u32) -> Self {
        Self::open(ns, dev, false, Some(ifindex))
    }

    /// Makes a tap in `ns`, up, as virtio's offloads use it: each frame has a header before it
    /// and may be a GSO packet.
    #[must_use]
    pub fn with_vnet_header(ns: &Ns, dev: &str) -> Self {
        Self::open(ns, dev, true, None)
    }

    fn open(ns: &Ns, dev: &str, vnet: bool, ifindex: Option<u32>) -> Self {
        let file = ns.run(|| {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open("/dev/net/tun")
                .expect("open /dev/net/tun");
            if let Some(ifindex) = ifindex {
                ioctl(&file, TUNSETIFINDEX, (&raw const ifindex) as libc::c_ulong);
            }
            // SAFETY: all-zero is a valid ifreq.
            let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
            for (to, from) in request.ifr_name.iter_mut().zip(dev.bytes()) {
                *to = from.cast_signed();
            }
            let flags = libc::IFF_TAP | libc::IFF_NO_PI | if vnet { libc::IFF_VNET_HDR } else { 0 };
            request.ifr_ifru.ifru_flags = i16::try_from(flags).expect("flags of 16 bits");
            ioctl(&file, TUNSETIFF, (&raw mut request) as libc::c_ulong);
            if vnet {
                let len = i32::try_from(VNET_LEN).expect("a small constant");
                ioctl(&file, TUNSETVNETHDRSZ, (&raw const len) as libc::c_ulong);
                ioctl(&file, TUNSETOFFLOAD, OFFLOADS);
            }
            file
        });
        ns.ip(&format!(
            "link set {dev} addrgenmode none\nlink set {dev} up"
        ));
        Self {
            file,
            name: format!("{}/{dev}", ns.name()),
            vnet,
        }
    }

    /// Sends a GSO packet as a guest does: to be segmented, with of `size` bytes of payload,
    /// with the checksum of its transport header, which begins at `l4`, still to be filled in.
    ///
    /// # Panics
    ///
    /// If the tap does not take it.
    pub fn send_gso(&self, frame: &[u8], transport: GsoType, size: u16, l4: usize) {
        let kind = match (transport, frame[12..14] == [0x86, 0xdd]) {
            (GsoType::Tcp, false) => 1,
            (GsoType::Tcp, true) => 4,
            (GsoType::Udp, _) => 5,
        };
        let mut framed = vec![1, kind];
        for word in [
            l4 + transport.header_len(),
            size.into(),
            l4,
            transport.sum_at(),
        ] {
            framed.extend(u16::try_from(word).expect("a short header").to_ne_bytes());
        }
        framed.extend(frame);
        let sent = self.write(&framed);
        assert!(
            sent.as_ref().is_ok_and(|n| *n == framed.len()),
            "send on {}: {sent:?}",
            self.name
        );
    }

    /// Reads one frame with its header, if there is one.
    fn read(&self, buffer: &mut [u8]) -> Option<usize> {
        (&self.file).read(buffer).ok()
    }

    /// Writes one frame with its header.
    fn write(&self, frame: &[u8]) -> io::Result<usize> {
        (&self.file).write(frame)
    }
}

impl Link for Tap {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&self, frame: &[u8]) {
        let framed = if self.vnet {
            [&[0; VNET_LEN], frame].concat()
        } else {
            frame.to_vec()
        };
        let sent = self.write(&framed);
        assert!(
            sent.as_ref().is_ok_and(|n| *n == framed.len()),
            "send on {}: {sent:?}",
            self.name
        );
    }

    fn recv(&self, within: Duration) -> Option<Vec<u8>> {
        if !readable(self.file.as_raw_fd(), within) {
            return None;
        }
        let mut frame = vec![0; 1 << 17];
        let len = self.read(&mut frame)?;
        frame.truncate(len);
        Some(if self.vnet {
            frame.split_off(VNET_LEN)
        } else {
            frame
        })
    }
}

/// Carries frames between two taps, as a hypervisor's virtio backend does between a VM and its tap.
#[derive(Debug)]
pub struct Pump {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Pump {
    /// Starts to carry. Both taps need to be of one kind, with the header or without.
    #[must_use]
    pub fn start(a: Tap, b: Tap) -> Self {
        let (stop, a, b) = (Arc::new(AtomicBool::new(false)), Arc::new(a), Arc::new(b));
        let carry = |from: Arc<Tap>, to: Arc<Tap>| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 17];
                while !stop.load(Ordering::Relaxed) {
                    if readable(from.file.as_raw_fd(), Duration::from_millis(20)) {
                        while let Some(len) = from.read(&mut buffer) {
                            // A frame that the far side refuses (down, full) is lost, as on a wire.
                            drop(to.write(&buffer[..len]));
                        }
                    }
                }
            })
        };
        let threads = vec![carry(Arc::clone(&a), Arc::clone(&b)), carry(b, a)];
        Self { stop, threads }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn ioctl(file: &File, request: libc::Ioctl, argument: libc::c_ulong) {
    // SAFETY: each caller passes the argument that its request takes, alive for the call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), request, argument) };
    assert_eq!(
        done,
        0,
        "tun request {request:#x}: {}",
        io::Error::last_os_error()
    );
}
