//! Tables: whether there is room.

use crate::doctor::{facts::Facts, finding::Finding};
use crate::instance;
use crate::model::LimitStatus;

/// How full a table may be, in percent.
const FULL_PERCENT: u64 = 90;

/// Tables that are nearly full.
pub(in crate::doctor) fn room(facts: &Facts) -> Vec<Finding> {
    let option = instance::option(&facts.instance);
    let limits = facts.rows(|daemon| &daemon.status.limits).iter();
    let found = limits.filter_map(|limit| {
        let LimitStatus { limit, used, max } = limit;
        let used = (*used)?;
        if u128::from(used) * 100 < u128::from(*max) * u128::from(FULL_PERCENT) {
            return None;
        }
        let what = if used < *max { "nearly full" } else { "full" };
        let (more, mend) = mend(limit);
        let finding = format!("{used} of {max} are used: it is {what}{more}");
        Some(Finding::warn(finding, format!("{mend}{option}")).about(limit))
    });
    found.collect()
}

/// How there is more room, where the daemon can have it, and what shows what takes it.
fn mend(limit: &str) -> (&'static str, &'static str) {
    let mend = match limit {
        "fdb" | "fdb_learned" | "fdb_learned_by_one" => {
            return (
                "; a daemon that is started with a larger --fdb-max has more room",
                "vtep status",
            );
        }
        "peers" | "peers_learned" => "vtep peer show",
        "vnis" => "vtep vni show",
        "ports" => "vtep port show",
        "nexthops" => "vtep nexthop show",
        limit if limit.starts_with("hosts") => "vtep neigh show",
        _ => "vtep status",
    };
    ("", mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::testkit::{healthy, limit, with};

    #[test]
    fn a_table_is_named_from_nine_tenths_on() {
        assert_eq!(room(&healthy()), []);
        let of = |name, used, max| {
            room(&with(|daemon| {
                daemon.status.limits = vec![limit(name, used, max)];
            }))
        };

        assert_eq!(of("fdb", Some(89), 100), []);
        assert_eq!(
            of("fdb", Some(90), 100)[0].told(),
            ("WARN", "fdb", "vtep status --instance blue")
        );
        let text = of("fdb_learned", Some(90), 100).remove(0).row("limits");
        assert!(text.finding.contains("--fdb-max"), "{text:?}");
        assert_eq!(
            of("vnis", Some(16_384), 16_384)[0].told(),
            ("WARN", "vnis", "vtep vni show --instance blue")
        );
        assert_eq!(of("hosts_of_mac", None, 0), []);
    }
}
