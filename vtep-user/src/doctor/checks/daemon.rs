//! The daemon itself: whether it answers, what it waits for, whether it is in step with its file.

use crate::doctor::{facts::Facts, finding::Finding};
use crate::instance;

/// Whether a daemon answers, is of this version, has all that it needs, and is where we look.
pub(in crate::doctor) fn answers(facts: &Facts) -> Vec<Finding> {
    let option = instance::option(&facts.instance);
    let Some(daemon) = &facts.daemon else {
        let finding = "no daemon answers: what is pinned goes on forwarding, nothing is learned, and the checks that ask a daemon are left out";
        return vec![Finding::fail(finding).mend(format!("vtep run{option}"))];
    };
    let mut found = Vec::new();
    if daemon.status.version != facts.version {
        found.push(
            Finding::warn(format!(
                "the daemon is of version {}, and this program of {}",
                daemon.status.version, facts.version
            ))
            .mend(format!("systemctl restart vtep@{}", facts.instance)),
        );
    }
    if let Some(why) = &facts.host.elsewhere {
        let finding = format!(
            "the daemon's network namespace cannot be entered, and this looks at another host: {why}"
        );
        let command = format!(
            "nsenter --net=/proc/{}/ns/net vtep doctor{option}",
            daemon.status.pid
        );
        found.push(Finding::warn(finding).mend(command));
    }
    let waits = daemon.status.waits_for.iter();
    found.extend(waits.map(|what| Finding::warn(format!("it waits for {what}"))));
    found
}

/// Whether what is set is what the configuration file says.
pub(in crate::doctor) fn config(facts: &Facts) -> Vec<Finding> {
    let config = facts.daemon.as_ref();
    let Some(config) = config.and_then(|daemon| daemon.status.config.as_ref()) else {
        return Vec::new();
    };
    let option = instance::option(&facts.instance);
    let finding = match (&config.error, config.in_step) {
        (None, true) => return Vec::new(),
        (None, false) => Finding::warn("what is set is not what the file says"),
        (Some(error), _) => Finding::warn(format!("the file cannot be had: {error}")),
    };
    vec![
        finding
            .about(&config.file)
            .mend(format!("vtep apply{option}")),
    ]
}

/// What the daemon does not put right any more.
pub(in crate::doctor) fn left_alone(facts: &Facts) -> Vec<Finding> {
    let left = facts.rows(|daemon| &daemon.status.left_alone).iter();
    left.map(|what| Finding::warn(format!("the daemon leaves alone: {what}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::testkit::{at_host, healthy, with};
    use crate::model::ConfigStatus;

    #[test]
    fn another_version_another_namespace_and_waiting_are_named() {
        assert_eq!(answers(&healthy()), []);

        let old = answers(&with(|daemon| daemon.status.version = "0.0.9".into()));
        let elsewhere = answers(&at_host(|host| {
            host.elsewhere = Some("not permitted".into());
        }));
        let waiting = answers(&with(|daemon| {
            daemon.status.waits_for.push("uplink eth1".into());
        }));

        assert_eq!(old[0].told(), ("WARN", "-", "systemctl restart vtep@blue"));
        assert_eq!(
            elsewhere[0].told(),
            (
                "WARN",
                "-",
                "nsenter --net=/proc/7/ns/net vtep doctor --instance blue"
            )
        );
        assert_eq!(waiting[0].told().0, "WARN");
    }

    #[test]
    fn a_file_that_is_not_in_step_is_to_be_applied() {
        let of = |in_step, error: Option<&str>| {
            config(&with(|daemon| {
                daemon.status.config = Some(ConfigStatus {
                    file: "/etc/vtep/blue.conf".into(),
                    in_step,
                    error: error.map(str::to_owned),
                });
            }))
        };
        assert_eq!((of(true, None), config(&healthy())), (vec![], vec![]));

        for found in [of(false, None), of(false, Some("line 3: no such verb"))] {
            assert_eq!(
                found[0].told(),
                ("WARN", "/etc/vtep/blue.conf", "vtep apply --instance blue")
            );
        }
    }

    #[test]
    fn what_is_left_alone_is_named() {
        assert_eq!(left_alone(&healthy()), []);
        let found = left_alone(&with(|daemon| {
            daemon.status.left_alone.push("the MTU of vtep4789".into());
        }));
        assert_eq!(found.len(), 1);
    }
}
