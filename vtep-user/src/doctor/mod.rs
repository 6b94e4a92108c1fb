//! `vtep doctor`: what keeps frames from arriving, or may.
//!
//! [`collect`] reads facts, of the daemon and of the host; a check is a function from facts to findings, and [`examine`] goes through all of
//! them. A new check is a file in `checks/` and a line in `CHECKS`.

mod checks;
mod collect;
#[cfg(test)]
mod documented;
mod facts;
mod finding;
mod firewall;
mod namespace;

pub use collect::{CollectError, collect};
pub use facts::{DaemonFacts, Facts, FdbFacts, Firewall, HostFacts, Tables, Unseen, Way};

use crate::model::CheckRow;
use checks::{
    cards, conflicts, daemon, drops, duplicates, flood, limits, paths, ports, rules, uplinks, vlans,
};
use finding::Finding;

/// A check.
struct Check {
    name: &'static str,
    /// What is said where it finds nothing.
    well: &'static str,
    goes_by: GoesBy,
    run: fn(&Facts) -> Vec<Finding>,
}

/// What a check goes by; without it, it is left out.
#[derive(Clone, Copy)]
enum GoesBy {
    /// Whatever is there.
    Anything,
    /// What a daemon says.
    Daemon,
    /// What the kernel says.
    Host,
    /// What both say.
    Both,
}

impl GoesBy {
    fn is_there(self, facts: &Facts) -> bool {
        let (daemon, host) = (facts.daemon.is_some(), facts.host.unseen.is_none());
        match self {
            Self::Anything => true,
            Self::Daemon => daemon,
            Self::Host => host,
            Self::Both => daemon && host,
        }
    }
}

const fn check(
    name: &'static str,
    well: &'static str,
    goes_by: GoesBy,
    run: fn(&Facts) -> Vec<Finding>,
) -> Check {
    Check {
        name,
        well,
        goes_by,
        run,
    }
}

/// All checks, in the order that they are printed in.
static CHECKS: &[Check] = &[
    check(
        "daemon",
        "the daemon answers and waits for nothing",
        GoesBy::Anything,
        daemon::answers,
    ),
    check(
        "config",
        "nothing differs from the configuration file, if there is one",
        GoesBy::Daemon,
        daemon::config,
    ),
    check(
        "repairs",
        "nobody changes what is vtep's",
        GoesBy::Daemon,
        daemon::left_alone,
    ),
    check(
        "uplinks",
        "all are up, with an address to send from",
        GoesBy::Daemon,
        uplinks::work,
    ),
    check(
        "routes",
        "every VTEP has a route",
        GoesBy::Daemon,
        paths::routes,
    ),
    check(
        "silence",
        "every VTEP with MACs behind it is heard",
        GoesBy::Daemon,
        paths::silence,
    ),
    check(
        "path_mtu",
        "no guest's packets are larger than the path to its VTEPs carries",
        GoesBy::Daemon,
        paths::mtu,
    ),
    check(
        "firewall",
        "no rule of the host drops VXLAN packets",
        GoesBy::Host,
        rules::drop_vxlan,
    ),
    check(
        "rp_filter",
        "no uplink drops packets by the way back to their sender",
        GoesBy::Both,
        uplinks::rp_filter,
    ),
    check(
        "promiscuous",
        "no uplink takes frames that are not for this host",
        GoesBy::Both,
        uplinks::promiscuous,
    ),
    check(
        "cards",
        "rings and offloads are as they should be",
        GoesBy::Both,
        cards::settings,
    ),
    check(
        "conflicts",
        "nobody else has the UDP port or one of the VNIs",
        GoesBy::Host,
        conflicts::others,
    ),
    check(
        "flood_list",
        "every VTEP behind an entry gets the VNI's floods",
        GoesBy::Daemon,
        flood::missing,
    ),
    check(
        "duplicates",
        "no MAC is in two places",
        GoesBy::Daemon,
        duplicates::frozen,
    ),
    check("vlans", "tags fit the ports", GoesBy::Daemon, vlans::fit),
    check(
        "bypasses",
        "frames meet all filters and limits at the ports",
        GoesBy::Daemon,
        ports::bypasses,
    ),
    check(
        "limits",
        "every table has room",
        GoesBy::Daemon,
        limits::room,
    ),
    check(
        "drops",
        "nothing was dropped while this looked",
        GoesBy::Daemon,
        drops::growing,
    ),
];

/// The names of all checks, in the order of their rows.
pub fn names() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|check| check.name)
}

/// Goes through all checks. Each has a row for each thing that it finds, or one that says that it found nothing.
#[must_use]
pub fn examine(facts: &Facts) -> Vec<CheckRow> {
    let run = CHECKS.iter().filter(|check| check.goes_by.is_there(facts));
    run.flat_map(|check| {
        let mut found = (check.run)(facts);
        if found.is_empty() {
            found.push(Finding::ok(check.well));
        }
        found.into_iter().map(|finding| finding.row(check.name))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::model::CheckState;
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
