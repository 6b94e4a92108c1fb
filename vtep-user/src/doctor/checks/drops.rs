//! Drops that grow.

use std::collections::BTreeMap;

use crate::doctor::{facts::Facts, finding::Finding};
use crate::instance;
use crate::model::DropsRow;

/// Reasons that are as the operator wants it.
const WANTED: [&str; 8] = [
    "bum_rate",
    "flood_off",
    "isolated",
    "l2_control",
    "nowhere_to_flood",
    "rate",
    "split_horizon",
    "too_big_answered",
];

/// Reasons by which more frames were dropped while this looked.
pub(in crate::doctor) fn growing(facts: &Facts) -> Vec<Finding> {
    let option = instance::option(&facts.instance);
    let grown = grown(facts);
    let grown = grown
        .iter()
        .filter(|(row, _)| !WANTED.contains(&row.reason.as_str()));
    grown
        .map(|(row, more)| {
            let DropsRow {
                hook,
                reason,
                meaning,
                ..
            } = row;
            let frames = if *more == 1 {
                "frame was"
            } else {
                "frames were"
            };
            Finding::warn(
                format!("{more} {frames} dropped within a second. {meaning}"),
                format!("vtep drops{option}"),
            )
            .about(&format_args!("{reason} at {hook}"))
        })
        .collect()
}

/// The rows that grew while this looked, each with how much.
pub(in crate::doctor) fn grown(facts: &Facts) -> Vec<(&DropsRow, u64)> {
    let before: BTreeMap<_, _> = facts
        .rows(|daemon| &daemon.drops)
        .iter()
        .map(|row| ((&row.hook, &row.reason), row.packets))
        .collect();
    let later = facts.rows(|daemon| &daemon.later).iter();
    later
        .filter_map(|row| {
            let old = before.get(&(&row.hook, &row.reason)).copied();
            let more = row.packets.saturating_sub(old.unwrap_or_default());
            (more > 0).then_some((row, more))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::testkit::{drops_row, healthy, with};

    #[test]
    fn what_grows_is_named_and_what_was_dropped_before_is_not() {
        assert_eq!(growing(&healthy()), []);

        let found = growing(&with(|daemon| {
            daemon.later = vec![drops_row("truncated", 9), drops_row("no_route", 1)];
        }));

        let told: Vec<_> = found.iter().map(Finding::told).collect();
        let mend = "vtep drops --instance blue";
        assert_eq!(
            told,
            [
                ("WARN", "truncated at port", mend),
                ("WARN", "no_route at port", mend)
            ]
        );
    }

    #[test]
    fn what_the_operator_wants_dropped_is_not_named() {
        for reason in WANTED {
            let found = growing(&with(|daemon| daemon.later.push(drops_row(reason, 1))));
            assert_eq!(found, [], "{reason}");
        }
    }
}
