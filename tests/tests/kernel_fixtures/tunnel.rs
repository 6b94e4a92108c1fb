//! What the slow-path device hands on.

use vtep_common::abi::counter::Hook::Tunnel;
use vtep_common::abi::reason::Reason;
use vtep_common::testkit::frames::{Interfaces, PLAIN, PORT_ACCESS};
use vtep_tests::encoder::Mac;
use vtep_tests::need_root;
use vtep_tests::testrun::fixture::case;

use crate::named::{all, at, lldp, udp4, udp6};

#[test]
fn behind_the_slow_path_device_nothing_goes_on_without_a_tunnel_key() {
    need_root!();
    // A test run cannot give one: with a key, the tunnel program is tested with real packets.
    let device = |interfaces: &Interfaces| interfaces.device;
    all(&[
        case("IPv4", device, &udp4(at(PLAIN, PORT_ACCESS))).drops(Tunnel, Reason::TableGap),
        case("IPv6", device, &udp6(at(PLAIN, PORT_ACCESS))).drops(Tunnel, Reason::TableGap),
        case("a broadcast", device, &lldp(Mac::BROADCAST, 46)).drops(Tunnel, Reason::TableGap),
    ]);
}
