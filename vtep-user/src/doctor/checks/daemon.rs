//! The daemon itself: whether it answers, what it waits for, whether it is in step with its file.

use crate::doctor::{
    facts::{Facts, Unseen},
    finding::Finding,
};
use crate::instance;

/// Whether a daemon answers, is of this version, has all that it needs, and is where we look.
pub(in crate::doctor) fn answers(facts: &Facts) -> Vec<Finding> {
    let option = instance::option(&facts.instance);
    let Some(daemon) = &facts.daemon else {
        return vec![Finding::fail(
            "no daemon answers: what is pinned goes on forwarding, nothing is learned, and the checks that ask a daemon are left out",
            format!("vtep run{option}"),
        )];
    };
    let mut found = Vec::new();
    if daemon.status.version != facts.version {
        found.push(Finding::warn(
            format!(
                "the daemon is of version {}, and this program of {}",
                daemon.status.version, facts.version
            ),
            format!("systemctl restart vtep@{}", facts.instance),
        ));
    }
    if let Some(Unseen { why, denied }) = &facts.host.unseen {
        let pid = daemon.status.pid;
        found.push(Finding::warn(
            format!(
                "the network namespace of the daemon (pid {pid}) cannot be entered, and the checks that look at its interfaces and rules are left out: {why}"
            ),
            if *denied {
                format!("sudo vtep doctor{option}")
            } else {
                // The number is of another namespace of processes: it is for those who are there to look.
                "lsns -t net".to_owned()
            },
        ));
    }
    let waits = daemon.status.waits_for.iter();
    found.extend(waits.map(|what| {
        Finding::warn(
            format!("it waits for {what}"),
            format!("vtep status{option}"),
        )
    }));
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
        (None, false) => "what is set is not what the file says".to_owned(),
        (Some(error), _) => format!("the file cannot be had: {error}"),
    };
    vec![Finding::warn(finding, format!("vtep apply{option}")).about(&config.file)]
}

/// What the daemon does not put right any more.
pub(in crate::doctor) fn left_alone(facts: &Facts) -> Vec<Finding> {
    let option = instance::option(&facts.instance);
    let left = facts.rows(|daemon| &daemon.status.left_alone).iter();
    left.map(|what| {
        Finding::warn(
            format!("the daemon leaves alone: {what}"),
            // Each time that it is put right again, and why.
            format!("vtep monitor{option}"),
        )
    })
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
        let unseen = |denied| {
            answers(&at_host(|host| {
                host.unseen = Some(Unseen {
                    why: "it is not there".into(),
                    denied,
                });
            }))
        };
        let waiting = answers(&with(|daemon| {
            daemon.status.waits_for.push("uplink eth1".into());
        }));

        assert_eq!(old[0].told(), ("WARN", "-", "systemctl restart vtep@blue"));
        for (denied, mend) in [
            (true, "sudo vtep doctor --instance blue"),
            (false, "lsns -t net"),
        ] {
            assert_eq!(unseen(denied)[0].told(), ("WARN", "-", mend));
        }
        assert_eq!(
            waiting[0].told(),
            ("WARN", "-", "vtep status --instance blue")
        );
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
        assert_eq!(
            found[0].told(),
            ("WARN", "-", "vtep monitor --instance blue")
        );
    }
}
