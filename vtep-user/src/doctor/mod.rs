//! `vtep doctor`: what keeps frames from arriving, or may.
//!
//! [`collect`] reads facts, of the daemon and of the host; a check is a function from facts to findings, and [`examine`] goes through all of
//! them. A new check is a file in `checks/` and a line in `CHECKS`.

mod checks;
mod collect;
mod facts;
mod finding;
mod firewall;
mod namespace;

pub use collect::{CollectError, collect};
pub use facts::{DaemonFacts, Facts, FdbFacts, Firewall, HostFacts};

use crate::model::{CheckRow, CheckState};
use checks::{
    cards, conflicts, daemon, drops, duplicates, flood, limits, paths, ports, rules, uplinks, vlans,
};
use finding::Finding;

/// A check.
struct Check {
    name: &'static str,
    /// What is said where it finds nothing.
    well: &'static str,
    /// Whether it goes by what a daemon says.
    of_daemon: bool,
    run: fn(&Facts) -> Vec<Finding>,
}

/// A check that needs a daemon.
const fn of_daemon(
    name: &'static str,
    well: &'static str,
    run: fn(&Facts) -> Vec<Finding>,
) -> Check {
    Check {
        name,
        well,
        of_daemon: true,
        run,
    }
}

/// A check of the host alone.
const fn of_host(name: &'static str, well: &'static str, run: fn(&Facts) -> Vec<Finding>) -> Check {
    Check {
        name,
        well,
        of_daemon: false,
        run,
    }
}

/// All checks, in the order that they are printed in.
static CHECKS: &[Check] = &[
    of_host(
        "daemon",
        "the daemon answers and waits for nothing",
        daemon::answers,
    ),
    of_daemon(
        "config",
        "nothing differs from the configuration file, if there is one",
        daemon::config,
    ),
    of_daemon(
        "repairs",
        "nobody changes what is vtep's",
        daemon::left_alone,
    ),
    of_daemon(
        "uplinks",
        "all are up, with an address to send from",
        uplinks::work,
    ),
    of_daemon("routes", "every VTEP has a route", paths::routes),
    of_daemon(
        "silence",
        "every VTEP that is sent to is heard",
        paths::silence,
    ),
    of_daemon(
        "path_mtu",
        "no guest's packets are larger than the path to its VTEPs carries",
        paths::mtu,
    ),
    of_host(
        "firewall",
        "no rule of the host drops VXLAN packets",
        rules::drop_vxlan,
    ),
    of_daemon(
        "rp_filter",
        "no uplink drops packets by the way back to their sender",
        uplinks::rp_filter,
    ),
    of_daemon(
        "promiscuous",
        "no uplink takes frames that are not for this host",
        uplinks::promiscuous,
    ),
    of_daemon(
        "cards",
        "rings and offloads are as they should be",
        cards::settings,
    ),
    of_host(
        "conflicts",
        "nobody else has the UDP port or one of the VNIs",
        conflicts::others,
    ),
    of_daemon(
        "flood_list",
        "every VTEP behind an entry gets the VNI's floods",
        flood::missing,
    ),
    of_daemon("duplicates", "no MAC is in two places", duplicates::frozen),
    of_daemon("vlans", "tags fit the ports", vlans::fit),
    of_daemon(
        "bypasses",
        "frames meet all filters and limits at the ports",
        ports::bypasses,
    ),
    of_daemon("limits", "every table has room", limits::room),
    of_daemon(
        "drops",
        "nothing was dropped while this looked",
        drops::growing,
    ),
];

/// Goes through all checks. Each has a row for each thing that it finds, or one that says that it found nothing.
#[must_use]
pub fn examine(facts: &Facts) -> Vec<CheckRow> {
    let run = CHECKS
        .iter()
        .filter(|check| facts.daemon.is_some() || !check.of_daemon);
    run.flat_map(|check| {
        let mut found = (check.run)(facts);
        if found.is_empty() {
            found.push(Finding::new(CheckState::Ok, check.well));
        }
        found.into_iter().map(|finding| finding.row(check.name))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use facts::testkit::{healthy, without_daemon};

    #[test]
    fn a_healthy_overlay_has_one_good_row_for_each_check() {
        let rows = examine(&healthy());

        let bad: Vec<_> = rows
            .iter()
            .filter(|row| row.state != CheckState::Ok)
            .collect();
        assert!(bad.is_empty(), "{bad:?}");
        let names: HashSet<_> = rows.iter().map(|row| &row.check).collect();
        assert_eq!((names.len(), rows.len()), (CHECKS.len(), CHECKS.len()));
    }

    #[test]
    fn without_a_daemon_the_host_is_looked_at_all_the_same() {
        let rows = examine(&without_daemon());

        let states: Vec<_> = rows
            .iter()
            .map(|row| (row.check.as_str(), row.state))
            .collect();
        let ok = CheckState::Ok;
        assert_eq!(
            states,
            [
                ("daemon", CheckState::Fail),
                ("firewall", ok),
                ("conflicts", ok)
            ]
        );
        assert!(rows[0].finding.contains("no daemon answers"), "{rows:?}");
        assert_eq!(rows[0].mend.as_deref(), Some("vtep run --instance blue"));
    }
}
