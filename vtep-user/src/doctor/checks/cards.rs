//! Network cards: rings and offloads.

use crate::doctor::{facts::Facts, finding::Finding};
use crate::netlink::Card;

/// Fewest frames that should be able to wait for the host.
const SHORT_RING: u32 = 512;

/// Offloads that should be on where the card has them, and what is lost without.
const ON: [(&str, &str); 3] = [
    ("rx-gro", "packets from VTEPs come one by one"),
    (
        "tx-udp_tnl-segmentation",
        "the host cuts large packets to VTEPs itself",
    ),
    (
        "rx-checksum",
        "the host computes the checksums of packets from VTEPs itself",
    ),
];

/// The offload that must be off: what it puts together cannot be sent on.
const LRO: &str = "rx-lro";

/// Rings and offloads of the uplinks that cost speed, or frames.
pub(in crate::doctor) fn settings(facts: &Facts) -> Vec<Finding> {
    let cards = facts.host.cards.iter();
    let found = cards.flat_map(|(dev, card)| match card {
        Ok(card) => of_card(dev, card),
        Err(why) => vec![
            Finding::warn(
                format!("rings and offloads cannot be read: {why}"),
                format!("ethtool -g {dev}; ethtool -k {dev}"),
            )
            .about(dev),
        ],
    });
    found.collect()
}

fn of_card(dev: &str, card: &Card) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some((rx, most)) = card.rx_ring
        && rx < SHORT_RING
        && rx < most
    {
        let better = most.min(4 * SHORT_RING);
        found.push(
            Finding::warn(
                format!(
                    "the receive ring holds {rx} frames of {most} at most, and bursts are lost"
                ),
                format!("ethtool -G {dev} rx {better}"),
            )
            .about(dev),
        );
    }
    for (offload, loss) in ON {
        let is_off = |name: &String| name == offload && !card.active.contains(name);
        if card.changeable.iter().any(is_off) {
            found.push(
                Finding::warn(
                    format!("{offload} is off: {loss}"),
                    format!("ethtool -K {dev} {offload} on"),
                )
                .about(dev),
            );
        }
    }
    if card.active.contains(LRO) {
        let finding =
            format!("{LRO} is on: what it puts together cannot be sent on, and XDP is refused");
        let mend = format!("ethtool -K {dev} {LRO} off");
        found.push(Finding::warn(finding, mend).about(dev));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::doctor::facts::testkit::at_host;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn good() -> Card {
        Card {
            rx_ring: Some((512, 4096)),
            active: names(&["rx-gro", "rx-checksum"]),
            changeable: names(&["rx-gro", "rx-checksum", LRO]),
        }
    }

    fn mends(card: &Card) -> Vec<String> {
        let found = of_card("eth0", card);
        found
            .iter()
            .map(|finding| finding.told().2.to_owned())
            .collect()
    }

    #[test]
    fn a_card_that_cannot_be_read_is_named() {
        let found = settings(&at_host(|host| {
            host.cards.insert("eth0".into(), Err("busy".into()));
            host.cards.insert("eth1".into(), Ok(good()));
        }));
        assert_eq!(found.len(), 1);
        let mend = "ethtool -g eth0; ethtool -k eth0";
        assert_eq!(found[0].told(), ("WARN", "eth0", mend));
    }

    #[test]
    fn a_short_ring_is_to_be_made_longer_where_the_card_can() {
        let of = |rx, most| {
            mends(&Card {
                rx_ring: Some((rx, most)),
                ..good()
            })
        };
        assert!(mends(&good()).is_empty());
        assert!(of(256, 256).is_empty());
        assert_eq!(of(256, 4096), ["ethtool -G eth0 rx 2048"]);
        assert_eq!(of(256, 1024), ["ethtool -G eth0 rx 1024"]);
    }

    #[test]
    fn offloads_that_the_card_has_are_to_be_on_and_lro_off() {
        let off = Card {
            active: names(&[LRO]),
            ..good()
        };
        assert_eq!(
            mends(&off),
            [
                "ethtool -K eth0 rx-gro on",
                "ethtool -K eth0 rx-checksum on",
                "ethtool -K eth0 rx-lro off"
            ]
        );
    }
}
