//! What runs in guests: which tests, and for how long.

use std::time::Duration;

use super::card::{CARDS, Card};

/// One guest for each kernel.
#[derive(Debug)]
pub(super) struct Job {
    /// The test target of `vtep-tests`.
    pub(super) target: &'static str,
    /// The cards, for tests of cards.
    pub(super) card: Option<&'static Card>,
    /// Tests of it that are not run, each with the reason.
    pub(super) left_out: &'static [(&'static str, &'static str)],
    /// Only the tests of it with this in their names.
    only: Option<String>,
    /// Whether the tests' own output is wanted.
    shows: bool,
}

/// The targets whose tests depend on the kernel.
const TARGETS: [&str; 36] = [
    "kernel_budget",
    "kernel_fixtures",
    "kernel_traffic",
    "overlay",
    "interop",
    "underlay",
    "wire",
    "options",
    "clsact",
    "restart",
    "learning",
    "tables",
    "netlink",
    "hostile",
    "modes",
    "seed",
    "multicast",
    "groups",
    "nexthop",
    "suppress",
    "snoop",
    "poison",
    "policy",
    "rates",
    "delivery",
    "mobility",
    "duplicates",
    "tags",
    "owner",
    "uplinks",
    "absent",
    "containers",
    "reuse",
    "bridge",
    "wiring",
    SERVICE_TARGET,
];

/// The few that run on every change, on the oldest kernel alone.
const BRIEF: [&str; 2] = ["kernel_budget", "kernel_fixtures"];

/// The target that wants a service manager as the guest's first process, and the Debian package.
const SERVICE_TARGET: &str = "installed_service";

/// The target that runs once for each sort of card.
const CARD_TARGET: &str = "cards";

/// What is not run, and why; the results say so too.
const LEFT_OUT: [(&str, &[(&str, &str)]); 1] = [(
    "kernel_budget",
    &[(
        "a_loaded_daemon_holds_less_than_30_mib",
        "does not depend on the kernel",
    )],
)];

/// How long the tests of one guest may take by the guest's own clock.
pub(super) const GUEST_LIMIT: Duration = Duration::from_secs(3600);

/// How long a guest may take by the host's.
pub(super) const fn host_limit(brief: bool) -> Duration {
    // Those of every change take some minutes, longer beside other builds, and should not keep a change for an hour.
    // Nobody waits for the others.
    Duration::from_secs(if brief { 2700 } else { 10_800 })
}

impl Job {
    fn new(target: &'static str, card: Option<&'static Card>, only: Option<&str>) -> Self {
        let left_out = LEFT_OUT.iter().find(|(of, _)| *of == target);
        Self {
            target,
            card,
            left_out: left_out.map_or(&[], |(_, tests)| tests),
            only: only.map(str::to_owned),
            shows: target == "kernel_budget",
        }
    }

    /// What the results call it.
    pub(super) fn name(&self) -> String {
        match self.card {
            None => self.target.to_owned(),
            Some(card) => format!("{}: {}", self.target, card.name),
        }
    }

    /// Whether the guest's first process is a service manager.
    pub(super) fn is_managed(&self) -> bool {
        self.target == SERVICE_TARGET
    }

    /// The arguments of the test binary.
    pub(super) fn arguments(&self) -> String {
        let shows = self.shows.then_some("--nocapture");
        let skips = self.left_out.iter().flat_map(|(test, _)| ["--skip", test]);
        let only = self.only.as_deref();
        shows
            .into_iter()
            .chain(only)
            .chain(skips)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The jobs whose names contain one of `filters`, and of these the tests whose names contain `only`; with `brief`, of the few that run on
/// every change.
pub(super) fn jobs(filters: &[String], only: Option<&str>, brief: bool) -> Vec<Job> {
    let plain = TARGETS
        .into_iter()
        .map(|target| Job::new(target, None, only));
    let cards = CARDS
        .iter()
        .map(|card| Job::new(CARD_TARGET, Some(card), only));
    plain
        .chain(cards)
        .filter(|job| !brief || BRIEF.contains(&job.target))
        .filter(|job| {
            filters.is_empty() || filters.iter().any(|filter| job.name().contains(filter))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_left_out_is_told_to_the_binary() {
        let jobs = jobs(&["kernel_budget".to_owned()], None, true);

        assert_eq!(jobs.len(), 1);
        assert_eq!(
            jobs[0].arguments(),
            "--nocapture --skip a_loaded_daemon_holds_less_than_30_mib"
        );
    }

    #[test]
    fn every_card_has_a_guest_of_its_own() {
        let jobs = jobs(&["cards: ".to_owned()], None, false);

        assert_eq!(jobs.len(), CARDS.len());
        assert_eq!(jobs[0].target, "cards");
    }
}
