//! Rates: what two samples say of the time between them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use super::sample::{About, Count, Flow, Sample};

/// Frames and bits in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) packets: f64,
    pub(super) bits: f64,
}

/// A port, a VNI or a VTEP.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FlowRate {
    /// What it is called.
    pub(super) name: String,
    /// What else is said of it; empty for nothing.
    pub(super) about: String,
    /// From the VMs.
    pub(super) tx: Rate,
    /// To them.
    pub(super) rx: Rate,
}

/// A reason at a hook.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DropRate {
    pub(super) reason: String,
    pub(super) hook: String,
    /// The reason as a sentence.
    pub(super) meaning: String,
    pub(super) rate: Rate,
    /// Frames so far.
    pub(super) total: u64,
}

/// All rates.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) ports: Vec<FlowRate>,
    pub(super) vnis: Vec<FlowRate>,
    pub(super) peers: Vec<FlowRate>,
    pub(super) drops: Vec<DropRate>,
}

impl Rates {
    /// The rates between two samples, of what the second one has. What only that has is new, and counted from zero on; a counter that is smaller
    /// than before was made anew, and counted from zero on too. Without a first sample, and where no time went by, all rates are zero.
    pub(super) fn between(before: Option<&Sample>, after: &Sample) -> Self {
        let time = before.map(|before| after.at.saturating_duration_since(before.at));
        let per_second = PerSecond(time.unwrap_or_default());
        Self {
            ports: per_second.flows(before.map(|it| &it.ports), &after.ports, &after.about_ports),
            vnis: per_second.flows(before.map(|it| &it.vnis), &after.vnis, &About::new()),
            peers: per_second.flows(before.map(|it| &it.peers), &after.peers, &after.about_peers),
            drops: per_second.drops(before, after),
        }
    }

    /// Frames that are dropped in a second.
    pub(super) fn dropped(&self) -> f64 {
        self.drops.iter().map(|drop| drop.rate.packets).sum()
    }
}

/// Makes rates of what was counted in a time.
struct PerSecond(Duration);

impl PerSecond {
    fn rate(&self, before: Count, after: Count) -> Rate {
        let seconds = self.0.as_secs_f64();
        if seconds <= 0.0 {
            return Rate::default();
        }
        // Frames without a byte do not exist: if either is smaller, both were made anew.
        let anew = after.packets < before.packets || after.bytes < before.bytes;
        let before = if anew { Count::default() } else { before };
        Rate {
            packets: float(after.packets - before.packets) / seconds,
            bits: 8.0 * float(after.bytes - before.bytes) / seconds,
        }
    }

    fn flows<K: Ord + Display>(
        &self,
        before: Option<&BTreeMap<K, Flow>>,
        after: &BTreeMap<K, Flow>,
        about: &About<K>,
    ) -> Vec<FlowRate> {
        let rows = after.iter().map(|(key, now)| {
            let then = before.and_then(|before| before.get(key));
            let then = then.copied().unwrap_or_default();
            FlowRate {
                name: key.to_string(),
                about: about.get(key).cloned().unwrap_or_default(),
                tx: self.rate(then.tx, now.tx),
                rx: self.rate(then.rx, now.rx),
            }
        });
        rows.collect()
    }

    fn drops(&self, before: Option<&Sample>, after: &Sample) -> Vec<DropRate> {
        let rows = after.drops.iter().map(|(key, (now, meaning))| {
            let then = before.and_then(|before| before.drops.get(key));
            let then = then.map(|(count, _)| *count).unwrap_or_default();
            let (reason, hook) = key.clone();
            DropRate {
                reason,
                hook,
                meaning: meaning.clone(),
                rate: self.rate(then, *now),
                total: now.packets,
            }
        });
        rows.collect()
    }
}

/// A count as a number to divide; what does not fit exactly is not shown exactly either.
#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::cli::top::number::short;
    use crate::model::{DropsRow, StatsRow};

    #[test]
    fn a_rate_is_what_was_counted_by_the_time_that_went_by() {
        let begun = Instant::now();
        let before = sample(begun, 0, &[("tap0", 100, 10_000)], 5);
        let after = sample(begun, 2, &[("tap0", 300, 30_000)], 9);

        let rates = Rates::between(Some(&before), &after);

        let port = &rates.ports[0];
        assert_eq!(port.name, "tap0");
        assert_eq!(
            (packets(&port.tx), short(port.tx.bits)),
            ("100".into(), "80.0k".into())
        );
        assert_eq!(port.rx, Rate::default());
        let drop = &rates.drops[0];
        assert_eq!((packets(&drop.rate), drop.total), ("2.0".into(), 9));
        assert_eq!(short(rates.dropped()), "2.0");
    }

    #[test]
    fn a_counter_that_was_made_anew_is_counted_from_zero() {
        let begun = Instant::now();
        let before = sample(begun, 0, &[("tap0", 1_000, 100_000)], 50);
        let after = sample(begun, 1, &[("tap0", 30, 3_000)], 2);

        let rates = Rates::between(Some(&before), &after);

        assert_eq!(packets(&rates.ports[0].tx), "30");
        assert_eq!(packets(&rates.drops[0].rate), "2.0");
    }

    #[test]
    fn a_port_that_goes_has_no_row_and_one_that_comes_counts_from_zero() {
        let begun = Instant::now();
        let both = sample(begun, 0, &[("tap0", 10, 1_000), ("tap1", 70, 7_000)], 0);
        let one = sample(begun, 1, &[("tap0", 20, 2_000)], 0);
        let again = sample(begun, 2, &[("tap0", 30, 3_000), ("tap1", 5, 500)], 0);

        let gone = Rates::between(Some(&both), &one);
        let came = Rates::between(Some(&one), &again);

        assert_eq!(names(&gone), ["tap0"]);
        assert_eq!(names(&came), ["tap0", "tap1"]);
        assert_eq!(packets(&came.ports[0].tx), "10");
        assert_eq!(packets(&came.ports[1].tx), "5.0");
    }

    #[test]
    fn the_first_sample_and_one_of_the_same_moment_have_no_rates() {
        let begun = Instant::now();
        let first = sample(begun, 0, &[("tap0", 10, 1_000)], 3);

        for rates in [
            Rates::between(None, &first),
            Rates::between(Some(&sample(begun, 0, &[], 0)), &first),
        ] {
            assert_eq!(rates.ports[0].tx, Rate::default());
            assert_eq!(
                (short(rates.dropped()), rates.drops[0].total),
                ("0".into(), 3)
            );
        }
    }

    #[test]
    fn all_vlans_of_an_interface_are_one_port() {
        let begun = Instant::now();
        let before = sample(begun, 0, &[("tap0", 10, 1_000), ("tap0", 10, 1_000)], 0);
        let after = sample(begun, 1, &[("tap0", 20, 2_000), ("tap0", 15, 1_500)], 0);

        let rates = Rates::between(Some(&before), &after);

        assert_eq!(
            (rates.ports.len(), packets(&rates.ports[0].tx)),
            (1, "15".into())
        );
    }

    fn packets(rate: &Rate) -> String {
        short(rate.packets)
    }

    fn names(rates: &Rates) -> Vec<&str> {
        rates.ports.iter().map(|port| port.name.as_str()).collect()
    }

    /// A sample so many seconds after the beginning: ports with what they have sent, and frames that were dropped.
    fn sample(begun: Instant, seconds: u64, ports: &[(&str, u64, u64)], drops: u64) -> Sample {
        let stats = ports.iter().map(|&(dev, packets, bytes)| StatsRow {
            hook: None,
            reason: Some("tx".into()),
            vni: None,
            dev: Some(dev.into()),
            peer: None,
            packets,
            bytes,
        });
        let drops = DropsRow {
            hook: "port".into(),
            reason: "truncated".into(),
            packets: drops,
            bytes: 60 * drops,
            meaning: "few bytes".into(),
        };
        let at = begun + Duration::from_secs(seconds);
        Sample::of(at, stats.collect(), vec![drops], vec![], vec![])
    }
}
