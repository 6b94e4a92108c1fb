//! Whether XDP sees the VLAN tags of an interface's frames.
//!
//! It sees in-band tags alone. A driver with receive offload makes a tag the skb VLAN tag: XDP would take a frame of a VLAN for one
//! without. A veth hands a frame over as its other end sent it, with an skb VLAN tag if that end has transmit offload, whatever this
//! end says.

use std::collections::HashSet;

use vtep_common::abi::id::Ifindex;

use crate::netlink::{Error, Link, LinkKind, Netlink, VlanOffload};

/// Why XDP may not see the tags of an interface, and what to type; `None` where it does.
pub(super) fn why_unseen(netlink: &Netlink, link: &Link) -> Result<Option<String>, Error> {
    // An interface that is gone has no frames.
    let Some(own) = netlink.vlan_offload(link.index)? else {
        return Ok(None);
    };
    let peer = match link.peer {
        Some(peer) if link.kind == LinkKind::Veth && link.peer_netns.is_none() => {
            netlink.vlan_offload(peer)?
        }
        _ => None,
    };
    Ok(unseen(&link.name, &link.kind, own, peer))
}

/// The ports from which TC alone takes frames for now, though the operator wants XDP: it does not see their VLAN tags.
#[derive(Default)]
pub(super) struct Blind(HashSet<Ifindex>);

impl Blind {
    /// True if a port is one of them.
    pub(super) fn has(&self, ifindex: Ifindex) -> bool {
        self.0.contains(&ifindex)
    }

    /// Looks at a port that the operator wants XDP for; true if it has become one of them, or is one no more.
    pub(super) fn look(&mut self, netlink: &Netlink, link: &Link) -> Result<bool, Error> {
        Ok(match why_unseen(netlink, link)? {
            Some(why) => {
                let new = self.0.insert(link.index);
                if new {
                    tracing::warn!("port {}: tc for now, because {why}", link.name);
                }
                new
            }
            None => self.forget(link.index),
        })
    }

    /// Forgets a port; true if it was one of them.
    pub(super) fn forget(&mut self, ifindex: Ifindex) -> bool {
        self.0.remove(&ifindex)
    }
}

/// The same, by what is known of an interface, and of the other end of a veth if that is in this namespace.
fn unseen(
    name: &str,
    kind: &LinkKind,
    own: VlanOffload,
    peer: Option<VlanOffload>,
) -> Option<String> {
    let off = |offloads: &[(bool, &'static str)]| -> Vec<&'static str> {
        let on = offloads.iter().filter(|(on, _)| *on);
        on.map(|(_, name)| *name).collect()
    };
    // A veth's own receive offload does nothing. It is the operator's word for the other end, into which nobody can look where that
    // is in another namespace.
    let (here, there) = if *kind == LinkKind::Veth {
        let peer = peer.unwrap_or(VlanOffload {
            tx: own.rx,
            ..VlanOffload::default()
        });
        (
            off(&[(own.rx, "rxvlan off")]),
            off(&[
                (peer.tx, "txvlan off"),
                (peer.tx_service, "tx-vlan-stag-hw-insert off"),
            ]),
        )
    } else {
        let rx = off(&[
            (own.rx, "rxvlan off"),
            (own.rx_service, "rx-vlan-stag-hw-parse off"),
        ]);
        (rx, Vec::new())
    };
    let command = |dev: &str, what: &[&str]| format!("ethtool -K {dev} {}", what.join(" "));
    let commands = match (here.is_empty(), there.is_empty()) {
        (true, true) => return None,
        (false, true) => command(name, &here),
        (true, false) => format!("{} (PEER is its other end)", command("PEER", &there)),
        (false, false) => format!(
            "{} and {} (PEER is its other end)",
            command(name, &here),
            command("PEER", &there)
        ),
    };
    Some(format!(
        "XDP does not see the VLAN tags that offload takes out of the frames of {name}; leave them in the frames with: {commands}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: VlanOffload = VlanOffload {
        rx: false,
        rx_service: false,
        tx: false,
        tx_service: false,
    };
    const ALL: VlanOffload = VlanOffload {
        rx: true,
        rx_service: true,
        tx: true,
        tx_service: true,
    };

    #[test]
    fn tags_are_seen_where_the_driver_leaves_them_in_the_frame() {
        let eth0 = |own| unseen("eth0", &LinkKind::Physical, own, None);
        let why = eth0(ALL).unwrap();
        let command = "ethtool -K eth0 rxvlan off rx-vlan-stag-hw-parse off";
        assert!(why.ends_with(command), "{why}");
        let only_service = VlanOffload {
            rx_service: true,
            ..NONE
        };
        let why = eth0(only_service).unwrap();
        assert!(why.ends_with("ethtool -K eth0 rx-vlan-stag-hw-parse off"));
        let sends = VlanOffload { tx: true, ..NONE };
        assert_eq!(eth0(sends), None);
        assert_eq!(unseen("tap0", &LinkKind::Tap, sends, None), None);
    }

    #[test]
    fn at_a_veth_the_other_end_has_to_leave_them() {
        let veth = |own, peer| unseen("veth0", &LinkKind::Veth, own, peer);
        let sends = VlanOffload { tx: true, ..NONE };
        let why = veth(ALL, None).unwrap();
        assert!(
            why.contains("ethtool -K veth0 rxvlan off and ethtool -K PEER txvlan off"),
            "{why}"
        );
        let why = veth(sends, Some(ALL)).unwrap();
        assert!(why.contains("with: ethtool -K PEER txvlan off tx-vlan-stag-hw-insert off"));
        assert_eq!(veth(sends, Some(NONE)), None);
        // Nobody can look into another namespace: the word of this end counts.
        assert_eq!(veth(sends, None), None);
    }
}
