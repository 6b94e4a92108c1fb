//! MACs in two places.

use crate::doctor::{facts::Facts, finding::Finding};
use crate::instance;
use crate::model::FdbRow;

/// MACs that moved too often, and are frozen.
pub(in crate::doctor) fn frozen(facts: &Facts) -> Vec<Finding> {
    let option = instance::option(&facts.instance);
    let rows = facts.rows(|daemon| &daemon.fdb.frozen).iter();
    rows.map(|row| {
        let FdbRow { vni, mac, .. } = row;
        let at = place(row.dst.as_ref(), row.dev.as_ref());
        let other = place(row.other_dst.as_ref(), row.other_dev.as_ref());
        Finding::warn(
            format!(
                "the MAC is at {at} and at {other} too, and frames from {other} are dropped; give one of the two another MAC"
            ),
            format!("vtep fdb del {mac} --vni {vni}{option}"),
        )
        .about(&format_args!("{mac} in vni {vni}"))
    })
    .collect()
}

fn place(dst: Option<&impl ToString>, dev: Option<&String>) -> String {
    let dst = dst.map(ToString::to_string);
    dst.or_else(|| dev.cloned())
        .unwrap_or_else(|| "another place".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::testkit::{far, fdb_row, healthy, with};

    #[test]
    fn a_frozen_mac_is_named_with_both_its_places() {
        assert_eq!(frozen(&healthy()), []);

        let found = frozen(&with(|daemon| {
            daemon.fdb.frozen = vec![FdbRow {
                duplicate: true,
                other_dst: Some(far()),
                ..fdb_row(None, Some("vm0"))
            }];
        }));

        assert_eq!(
            found[0].told(),
            (
                "WARN",
                "02:00:00:00:00:0b in vni 100",
                "vtep fdb del 02:00:00:00:00:0b --vni 100 --instance blue"
            )
        );
        let row = found[0].clone().row("duplicates");
        assert!(row.finding.contains("at vm0 and at 192.0.2.2"), "{row:?}");
    }
}
