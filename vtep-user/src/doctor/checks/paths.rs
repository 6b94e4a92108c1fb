//! The paths to VTEPs: whether they lead there, carry a guest's packets, and something comes back.

use std::net::IpAddr;

use crate::doctor::{facts::Facts, finding::Finding};
use crate::model::{PeerRow, PeerState};

/// Whether every VTEP can be sent to.
pub(in crate::doctor) fn routes(facts: &Facts) -> Vec<Finding> {
    let peers = facts.rows(|daemon| &daemon.peers);
    let found = peers.iter().filter_map(|peer| {
        let PeerRow { ip, dev, via, .. } = peer;
        let found = match (peer.state, dev) {
            (PeerState::Unreachable, None) => Finding::fail("there is no route to this VTEP")
                .mend(format!("ip route add {ip} via GATEWAY")),
            (PeerState::Unreachable, Some(dev)) => Finding::fail(format!(
                "the route to this VTEP leads over {dev}, which is down, or whose next hop does not answer"
            ))
            .mend(format!("ip neighbour show dev {dev}")),
            (PeerState::Resolving, Some(dev)) => Finding::warn(format!(
                "the next hop {} at {dev} has not answered yet",
                via.unwrap_or(*ip)
            ))
            .mend(format!("ip neighbour show dev {dev}")),
            _ => return None,
        };
        Some(found.about(ip))
    });
    found.collect()
}

/// Whether every VTEP that is sent to is heard.
pub(in crate::doctor) fn silence(facts: &Facts) -> Vec<Finding> {
    let peers = facts.rows(|daemon| &daemon.peers);
    // A group of VTEPs sends nothing itself.
    let peers = peers.iter().filter(|peer| !peer.ip.is_multicast());
    let found = peers.filter_map(|peer| {
        let PeerRow { ip, state, .. } = peer;
        let never = counted(facts, *ip, "tx") > 0 && counted(facts, *ip, "rx") == 0;
        let finding = match state.as_str() {
            "silent" => "packets are sent to this VTEP, and none come from it any more",
            "resolved" if never => "packets are sent to this VTEP, and none ever came from it",
            _ => return None,
        };
        Some(
            Finding::warn(format!(
                "{finding}: it may be off, not know this VTEP, or a firewall between may drop UDP port {}",
                facts.udp_port
            ))
            .about(ip)
            .mend(format!("ping {ip}")),
        )
    });
    found.collect()
}

/// Packets of a VTEP that went one way.
fn counted(facts: &Facts, ip: IpAddr, way: &str) -> u64 {
    let rows = facts.rows(|daemon| &daemon.stats).iter();
    rows.filter(|row| row.peer == Some(ip) && row.reason.as_deref() == Some(way))
        .map(|row| row.packets)
        .sum()
}

/// Whether the paths carry what a guest may send.
pub(in crate::doctor) fn mtu(facts: &Facts) -> Vec<Finding> {
    let ports = facts.rows(|daemon| &daemon.ports).iter();
    let found = ports.filter_map(|port| {
        let (fits, mtu) = (port.mtu_advice?, port.mtu?);
        let dev = &port.dev;
        Some(
            Finding::fail(format!(
                "the MTU is {mtu}, and packets of more than {fits} bytes do not reach every VTEP of vni {}; set that in the guest too, or raise the MTU of the underlay by {}",
                port.vni,
                mtu.saturating_sub(fits)
            ))
            .about(dev)
            .mend(format!("ip link set {dev} mtu {fits}")),
        )
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::testkit::{healthy, with};

    #[test]
    fn a_vtep_without_a_route_fails() {
        let of = |state, dev: Option<&str>| {
            routes(&with(|daemon| {
                daemon.peers[0].state = state;
                daemon.peers[0].dev = dev.map(str::to_owned);
            }))
        };
        assert_eq!(routes(&healthy()), []);

        assert_eq!(
            of(PeerState::Unreachable, None)[0].told(),
            ("FAIL", "192.0.2.2", "ip route add 192.0.2.2 via GATEWAY")
        );
        let near = "ip neighbour show dev eth0";
        for (state, word) in [
            (PeerState::Unreachable, "FAIL"),
            (PeerState::Resolving, "WARN"),
        ] {
            assert_eq!(of(state, Some("eth0"))[0].told(), (word, "192.0.2.2", near));
        }
    }

    #[test]
    fn a_vtep_that_is_sent_to_and_never_heard_is_silent() {
        let of = |sent, heard| {
            silence(&with(|daemon| {
                daemon.stats[0].packets = sent;
                daemon.stats[1].packets = heard;
            }))
        };

        assert_eq!([of(0, 0), of(5, 1)], [vec![], vec![]]);
        assert_eq!(of(1, 0)[0].told(), ("WARN", "192.0.2.2", "ping 192.0.2.2"));
    }

    #[test]
    fn a_group_is_never_heard() {
        let found = silence(&with(|daemon| {
            let group = "239.1.1.1".parse().unwrap();
            daemon.peers[0].ip = group;
            daemon.stats[0].peer = Some(group);
        }));
        assert_eq!(found, []);
    }

    #[test]
    fn a_guest_with_a_larger_mtu_than_the_path_fails() {
        assert_eq!(mtu(&healthy()), []);
        let found = mtu(&with(|daemon| {
            daemon.ports[0].mtu = Some(1500);
            daemon.ports[0].mtu_advice = Some(1450);
        }));
        assert_eq!(found[0].told(), ("FAIL", "vm0", "ip link set vm0 mtu 1450"));
    }
}
