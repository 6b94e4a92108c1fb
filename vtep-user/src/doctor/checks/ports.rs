//! Ports: whose filters and limits are passed by.

use crate::doctor::{facts::Facts, finding::Finding};
use crate::instance;

/// What others have set at a port's interface and frames do not meet.
pub(in crate::doctor) fn bypasses(facts: &Facts) -> Vec<Finding> {
    let option = instance::option(&facts.instance);
    let ports = facts.rows(|daemon| &daemon.ports);
    let mut found = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        // Each VLAN of an interface has the same.
        if ports[..at].iter().any(|other| other.dev == port.dev) {
            continue;
        }
        found.extend(port.bypasses.iter().map(|bypass| {
            // Some say themselves what to type.
            let command = match bypass.rsplit_once(" with: ") {
                Some((_, command)) => command.to_owned(),
                None => format!("vtep port show {}", port.dev),
            };
            Finding::warn(bypass, command + &option).about(&port.dev)
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::testkit::{healthy, with};

    #[test]
    fn a_filter_that_frames_pass_by_is_named_once() {
        assert_eq!(bypasses(&healthy()), []);

        let found = bypasses(&with(|daemon| {
            daemon.ports[0].bypasses = vec![
                "frames to vm0 do not pass its tbf; have them pass it with: vtep port set vm0 --delivery qdisc".into(),
                "frames from vm0 do not meet its chain".into(),
            ];
            daemon.ports.push(daemon.ports[0].clone());
        }));

        assert_eq!(
            found.iter().map(Finding::told).collect::<Vec<_>>(),
            [
                (
                    "WARN",
                    "vm0",
                    "vtep port set vm0 --delivery qdisc --instance blue"
                ),
                ("WARN", "vm0", "vtep port show vm0 --instance blue")
            ]
        );
    }
}
