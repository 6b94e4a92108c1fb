//! Whether two copies are the same, but for what each sender chooses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vtep_tests::dump;
use vtep_tests::encoder::{checksum, pseudo};
use vtep_tests::lab::underlay::Family;

/// Compares each VTEP's copy with the other of the same VTEP, byte by byte. The identification and the source port, which a
/// sender chooses, and the checksums that follow from them, are compared by their sense alone.
pub(super) fn assert_same(
    family: Family,
    ours: &BTreeMap<IpAddr, Vec<u8>>,
    theirs: &BTreeMap<IpAddr, Vec<u8>>,
) {
    assert!(ours.keys().eq(theirs.keys()), "copies for other VTEPs");
    for ((remote, ours), theirs) in ours.iter().zip(theirs.values()) {
        let what = format!("the copy for {remote}, beside the kernel's");
        dump::assert_same(&plain(family, ours), &plain(family, theirs), &what);
    }
}

/// A copy with zeros for what its sender chose.
fn plain(family: Family, copy: &[u8]) -> Vec<u8> {
    let udp = family.outer_len() - 16;
    let mut plain = copy.to_vec();
    if family == Family::V4 {
        assert_eq!(checksum(&[&copy[14..34]]), 0, "{}", dump::hex(copy));
        plain[18..20].fill(0);
        plain[24..26].fill(0);
    }
    assert!(sound(family, copy), "checksum: {}", dump::hex(copy));
    plain[udp..udp + 2].fill(0);
    if copy[udp + 6..udp + 8] != [0, 0] {
        plain[udp + 6..udp + 8].fill(1);
    }
    plain
}

/// Whether the outer UDP checksum is left out, right, or left to the device to finish.
fn sound(family: Family, copy: &[u8]) -> bool {
    let udp = family.outer_len() - 16;
    let given = u16::from_be_bytes([copy[udp + 6], copy[udp + 7]]);
    let [from, to] = match family {
        Family::V4 => [&copy[26..30], &copy[30..34]].map(v4),
        Family::V6 => [&copy[22..38], &copy[38..54]].map(v6),
    };
    let body = &copy[udp..];
    let length = u32::try_from(body.len()).expect("a length");
    let head = pseudo(from, to, 17, length);
    given == 0 || checksum(&[&head, body]) == 0 || given == !checksum(&[&head])
}

fn v4(bytes: &[u8]) -> IpAddr {
    <[u8; 4]>::try_from(bytes).expect("four bytes").into()
}

fn v6(bytes: &[u8]) -> IpAddr {
    <[u8; 16]>::try_from(bytes).expect("sixteen bytes").into()
}
