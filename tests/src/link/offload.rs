//! Switching a device's offloads, as `ethtool -K` does.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

use crate::lab::ns::Ns;

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const SET_RX_CHECKSUM: u32 = 0x15;
const SET_TX_CHECKSUM: u32 = 0x17;
const SET_SCATTER_GATHER: u32 = 0x19;
const GET_STRINGS: u32 = 0x1b;
const SET_TSO: u32 = 0x1f;
const SET_GSO: u32 = 0x24;
const SET_GRO: u32 = 0x2c;
const COUNT_STRINGS: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
const SET_FEATURES: u32 = 0x3b;
/// The set of strings that are the names of features.
const FEATURES: u32 = 4;
/// Length of a feature's name, padding included.
const NAME_LEN: usize = 32;

/// Whether a feature makes a device take GSO packets, of whatever protocol and in whatever tunnel.
fn takes_gso(feature: &str) -> bool {
    feature.ends_with("-segmentation") || feature == "tx-gso-list"
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

/// Has GSO packets segmented before a device gets them, as for a card that segments none, or lets them pass.
///
/// # Panics
///
/// If the device does not do as told.
pub fn set_segmentation(ns: &Ns, dev: &str, on: bool) {
    set_features(ns, dev, takes_gso, on);
}

/// Has the frames that a device receives and sends carry skb VLAN tags, or in-band ones, which XDP sees.
///
/// # Panics
///
/// If the device does not do as told.
pub fn set_vlan_offload(ns: &Ns, dev: &str, on: bool) {
    const VLAN: [&str; 4] = [
        "rx-vlan-hw-parse",
        "rx-vlan-stag-hw-parse",
        "tx-vlan-hw-insert",
        "tx-vlan-stag-hw-insert",
    ];
    set_features(ns, dev, |name| VLAN.contains(&name), on);
}

/// Turns the features that are meant on or off.
fn set_features(ns: &Ns, dev: &str, is_meant: impl Fn(&str) -> bool, on: bool) {
    let socket = asking(ns);
    let names = feature_names(&socket, dev);
    // Each block of 32 features: which are meant, and what they are to be.
    let mut request = vec![SET_FEATURES, 0];
    for block in names.chunks(32) {
        let meant = block
            .iter()
            .enumerate()
            .filter(|(_, name)| is_meant(name))
            .fold(0, |bits, (at, _)| bits | 1 << at);
        request.extend([meant, if on { meant } else { 0 }]);
    }
    request[1] = u32::try_from(names.len().div_ceil(32)).expect("few features");
    ask(&socket, dev, &mut request);
    let active = active_features(&socket, dev, &names);
    let has = active.iter().any(|name| is_meant(name));
    assert_eq!(has, on, "offloads of {dev}: {active:?}");
}

/// The names of all features, each at its number.
fn feature_names(socket: &UdpSocket, dev: &str) -> Vec<String> {
    // Command, reserved, the sets asked for (64 bits), the count of the one.
    let mut count = [COUNT_STRINGS, 0, 1 << FEATURES, 0, 0];
    ask(socket, dev, &mut count);
    let number = usize::try_from(count[4]).expect("a count");
    let mut strings = vec![GET_STRINGS, FEATURES, count[4]];
    strings.resize(3 + number * NAME_LEN / 4, 0);
    ask(socket, dev, &mut strings);
    let bytes: Vec<u8> = strings[3..]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    bytes
        .chunks(NAME_LEN)
        .map(|name| {
            let text = name.split(|byte| *byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(text).into_owned()
        })
        .collect()
}

fn active_features<'a>(socket: &UdpSocket, dev: &str, names: &'a [String]) -> Vec<&'a str> {
    let blocks = names.len().div_ceil(32);
    let mut request = vec![GET_FEATURES, u32::try_from(blocks).expect("few features")];
    request.resize(2 + 4 * blocks, 0);
    ask(socket, dev, &mut request);
    names
        .iter()
        .enumerate()
        // Each block: available, requested, active, never changed.
        .filter(|(at, _)| request[2 + at / 32 * 4 + 2] >> (at % 32) & 1 == 1)
        .map(|(_, name)| name.as_str())
        .collect()
}

fn set(ns: &Ns, dev: &str, command: u32, on: bool) {
    ask(&asking(ns), dev, &mut [command, u32::from(on)]);
}

/// A socket to ask by.
fn asking(ns: &Ns) -> UdpSocket {
    ns.run(|| UdpSocket::bind("127.0.0.1:0").expect("a socket to ask by"))
}

/// One request, which begins with its command and has room for the answer.
fn ask(socket: &UdpSocket, dev: &str, words: &mut [u32]) {
    let command = words[0];
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(dev.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: the request points to words that outlive the call, as many as the command reads and writes.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    // SET_FEATURES answers with bits that say what was not done as asked.
    assert!(
        done >= 0,
        "ethtool {command:#x} on {dev}: {}",
        io::Error::last_os_error()
    );
}
