//! Switching a device's offloads, as `ethtool -K` does.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

use crate::ns::Ns;

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const SET_RX_CHECKSUM: u32 = 0x15;
const SET_TX_CHECKSUM: u32 = 0x17;
const SET_SCATTER_GATHER: u32 = 0x19;
const SET_TSO: u32 = 0x1f;
const SET_GSO: u32 = 0x24;
const SET_GRO: u32 = 0x2c;

#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Turns transmit checksums, scatter-gather, TSO, GSO and GRO of a device all on or all off.
pub fn set_offloads(ns: &Ns, dev: &str, on: bool) {
    let order = [
        SET_RX_CHECKSUM,
        SET_TX_CHECKSUM,
        SET_SCATTER_GATHER,
        SET_TSO,
        SET_GSO,
        SET_GRO,
    ];
    for command in order {
        set(ns, dev, command, on);
    }
}

/// Turns GRO of a device on or off, and with it the NAPI of a veth.
pub fn set_gro(ns: &Ns, dev: &str, on: bool) {
    set(ns, dev, SET_GRO, on);
}

fn set(ns: &Ns, dev: &str, command: u32, on: bool) {
    let socket = ns.run(|| UdpSocket::bind("127.0.0.1:0").expect("a socket to ask by"));
    let mut value = Value {
        command,
        data: u32::from(on),
    };
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(dev.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request points to a value that outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    assert_eq!(
        done,
        0,
        "ethtool {command:#x} on {dev}: {}",
        io::Error::last_os_error()
    );
}
