//! Flood lists: whether every VTEP gets a VNI's broadcasts.

use crate::doctor::{facts::Facts, finding::Finding};
use crate::instance;
use crate::model::Flood;

/// VTEPs that MACs of a VNI are behind, and that its flood list does not have.
pub(in crate::doctor) fn missing(facts: &Facts) -> Vec<Finding> {
    let Some(daemon) = &facts.daemon else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for row in daemon.vnis.iter().filter(|row| row.flood == Flood::Her) {
        let vni = row.vni;
        let behind = daemon.fdb.behind.get(&vni).into_iter().flatten();
        for vtep in behind.filter(|vtep| !row.remotes.contains(vtep)) {
            let elsewhere = daemon
                .vnis
                .iter()
                .any(|other| other.vni != vni && other.remotes.contains(vtep));
            let what = if row.remotes.is_empty() {
                "the flood list is empty"
            } else if elsewhere {
                "the flood lists of other VNIs have the VTEP, and this one has not"
            } else {
                "the flood list has not the VTEP"
            };
            let option = instance::option(&facts.instance);
            found.push(
                Finding::warn(
                    format!(
                        "MACs are behind {vtep}, but {what}: no ARP request and no other broadcast gets there"
                    ),
                    format!("vtep fdb append 00:00:00:00:00:00 --vni {vni} --dst {vtep}{option}"),
                )
                .about(&format_args!("vni {vni}")),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::testkit::{far, healthy, vni_row, with};
    use crate::model::{Vni, VniRow};

    const MEND: &str =
        "vtep fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.2 --instance blue";

    #[test]
    fn an_empty_flood_list_is_named_where_macs_are_behind_vteps() {
        assert_eq!(missing(&healthy()), []);

        let found = missing(&with(|daemon| daemon.vnis[0].remotes.clear()));

        assert_eq!(found[0].told(), ("WARN", "vni 100", MEND));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_vtep_that_only_other_vnis_flood_to_is_named() {
        let found = missing(&with(|daemon| {
            daemon.vnis[0].remotes = vec!["198.18.0.9".parse().unwrap()];
            daemon.vnis.push(VniRow {
                vni: Vni::new(200).unwrap(),
                remotes: vec![far()],
                ..vni_row()
            });
        }));

        assert_eq!(found[0].told(), ("WARN", "vni 100", MEND));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_vni_that_floods_to_a_group_or_not_at_all_needs_no_list() {
        for flood in [Flood::Multicast, Flood::None] {
            let found = missing(&with(|daemon| {
                daemon.vnis[0].remotes.clear();
                daemon.vnis[0].flood = flood;
            }));
            assert_eq!(found, [], "{flood}");
        }
    }
}
