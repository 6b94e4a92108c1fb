//! VLANs: whether the tags of a guest's frames are those that its port is for.

use super::drops::grown;
use crate::doctor::{facts::Facts, finding::Finding};
use crate::instance;
use crate::model::PortRow;
use crate::netlink::LinkKind;

/// Reasons that say that a tag did not fit, and what that is.
const REASONS: [(&str, &str); 4] = [
    (
        "vlan_unmapped",
        "with a VLAN tag that no port of their interface is for",
    ),
    (
        "not_a_port",
        "without a VLAN tag, at interfaces whose untagged frames are in no VNI",
    ),
    (
        "inner_vlan",
        "from VTEPs with a VLAN tag, which their VNI does not pass",
    ),
    (
        "vlan_hop",
        "for the untagged port of an interface with the tag of another",
    ),
];

/// Tags that do not fit.
pub(in crate::doctor) fn fit(facts: &Facts) -> Vec<Finding> {
    let mut found = on_vlan_interfaces(facts);
    found.extend(dropped(facts));
    found
}

/// VLANs of interfaces that have removed the tag already.
fn on_vlan_interfaces(facts: &Facts) -> Vec<Finding> {
    let option = instance::option(&facts.instance);
    let ports = facts.rows(|daemon| &daemon.ports).iter();
    let found = ports.filter_map(|port| {
        let PortRow { dev, vlan, .. } = port;
        let vlan = (*vlan)?;
        let is_vlan = |kind: &LinkKind| matches!(kind, LinkKind::Other(kind) if kind == "vlan");
        facts.link(dev).filter(|link| is_vlan(&link.kind))?;
        Some(
            Finding::warn(
                format!(
                    "VLAN {vlan} of it never has a frame: it is the interface of a VLAN, and its frames have lost their tag. Let them in as untagged"
                ),
                format!("vtep port add {dev} --vni {}{option}", port.vni),
            )
            .about(dev),
        )
    });
    found.collect()
}

/// Frames that were dropped for their tag: while this looked, or ever, if a VLAN has had no frame yet.
fn dropped(facts: &Facts) -> Vec<Finding> {
    let unused = unused_vlan(facts);
    let grown = grown(facts);
    let mut found = Vec::new();
    for (reason, what) in REASONS {
        let rows = facts.rows(|daemon| &daemon.later).iter();
        let ever: u64 = rows
            .filter(|row| row.reason == reason)
            .map(|row| row.packets)
            .sum();
        let is_growing = grown.iter().any(|(row, _)| row.reason == reason);
        let at_ports = matches!(reason, "vlan_unmapped" | "not_a_port");
        let suspect = unused.filter(|_| at_ports && ever > 0);
        if !is_growing && suspect.is_none() {
            continue;
        }
        let option = instance::option(&facts.instance);
        let finding = format!("{ever} frames were dropped {what}");
        found.push(match suspect {
            Some(port) => {
                let vlan = port.vlan.map_or("?".to_owned(), |vlan| vlan.to_string());
                Finding::warn(
                    format!(
                        "{finding}, and VLAN {vlan} has had none. See with which tag they come"
                    ),
                    format!("vtep capture --reason {reason}{option}"),
                )
                .about(&port.dev)
            }
            None => Finding::warn(
                format!("{finding}. See which"),
                format!("vtep capture --reason {reason}{option}"),
            )
            .about(reason),
        });
    }
    found
}

/// A VLAN whose interface has had no frame in any VNI.
fn unused_vlan(facts: &Facts) -> Option<&PortRow> {
    let has_sent = |dev: &str| {
        let mut rows = facts.rows(|daemon| &daemon.stats).iter();
        rows.any(|row| {
            let sent = row.reason.as_deref() == Some("tx") && row.packets > 0;
            sent && row.dev.as_deref() == Some(dev)
        })
    };
    let mut ports = facts.rows(|daemon| &daemon.ports).iter();
    ports.find(|port| port.vlan.is_some() && !has_sent(&port.dev))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::testkit::{drops_row, healthy, link, with};
    use crate::model::{StatsRow, VlanId};

    /// The port is for VLAN 10; so many frames were dropped before and after, and so many came through.
    fn of_vlan_10(before: u64, after: u64, sent: u64) -> Vec<Finding> {
        fit(&with(|daemon| {
            daemon.ports[0].vlan = VlanId::new(10);
            daemon.drops = vec![drops_row("vlan_unmapped", before)];
            daemon.later = vec![drops_row("vlan_unmapped", after)];
            let row = daemon.stats[0].clone();
            daemon.stats.push(StatsRow {
                peer: None,
                dev: Some("vm0".into()),
                packets: sent,
                ..row
            });
        }))
    }

    #[test]
    fn a_vlan_without_a_frame_is_named_where_others_are_dropped() {
        assert_eq!(fit(&healthy()), []);
        assert_eq!([of_vlan_10(0, 0, 0), of_vlan_10(3, 3, 5)], [vec![], vec![]]);

        let found = of_vlan_10(3, 3, 0);

        let mend = "vtep capture --reason vlan_unmapped --instance blue";
        assert_eq!(found[0].told(), ("WARN", "vm0", mend));
    }

    #[test]
    fn tags_that_are_dropped_now_are_named_by_their_reason() {
        let found = of_vlan_10(3, 4, 5);
        assert_eq!(
            found[0].told(),
            (
                "WARN",
                "vlan_unmapped",
                "vtep capture --reason vlan_unmapped --instance blue"
            )
        );
        for (reason, _) in REASONS {
            let found = fit(&with(|daemon| daemon.later.push(drops_row(reason, 1))));
            assert_eq!(found[0].told().1, reason);
        }
    }

    #[test]
    fn a_vlan_of_a_vlans_own_interface_never_matches() {
        let mut facts = with(|daemon| daemon.ports[0].vlan = VlanId::new(10));
        facts.host.links[1] = link(7, "vm0", LinkKind::Other("vlan".into()));

        let found = fit(&facts);

        assert_eq!(
            found[0].told().2,
            "vtep port add vm0 --vni 100 --instance blue"
        );
    }
}
