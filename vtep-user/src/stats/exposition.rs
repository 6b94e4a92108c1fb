//! Text in Prometheus' exposition format 0.0.4: families of samples.

use std::fmt::{Display, Write as _};

/// What a family's values do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
}

/// Labels of a sample, each with its value.
pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// The text.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family: the samples that follow are its own.
    pub(super) fn family(
        &mut self,
        kind: Kind,
        name: &'static str,
        help: impl Display,
    ) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
        Family { of: self, name }
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, kind: Kind, name: &'static str, help: &str, value: u64) {
        self.family(kind, name, help).sample(&[], value);
    }

    /// Two families of counters with the same labels: frames and their bytes. `help` says which frames.
    pub(super) fn frames(
        &mut self,
        (packets, bytes): (&'static str, &'static str),
        help: &str,
        rows: &[(Labels<'_>, u64, u64)],
    ) {
        let mut family = self.family(Kind::Counter, packets, format_args!("Frames {help}"));
        for (labels, packets, _) in rows {
            family.sample(labels, *packets);
        }
        let mut family = self.family(Kind::Counter, bytes, format_args!("Bytes of frames {help}"));
        for (labels, _, bytes) in rows {
            family.sample(labels, *bytes);
        }
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{text}").expect("a string takes what is written to it");
    }
}

/// A family that is being written.
pub(super) struct Family<'a> {
    of: &'a mut Exposition,
    name: &'static str,
}

impl Family<'_> {
    /// Adds a sample.
    pub(super) fn sample(&mut self, labels: &[(&'static str, &str)], value: u64) {
        let name = self.name;
        if labels.is_empty() {
            self.of.line(format_args!("{name} {value}"));
            return;
        }
        let labels = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
        let labels = labels.collect::<Vec<_>>().join(",");
        self.of.line(format_args!("{name}{{{labels}}} {value}"));
    }
}

/// A label's value as it stands between quotation marks. Interface names can hold any of these.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_label_is_escaped_in_it() {
        let mut out = Exposition::default();

        out.family(Kind::Gauge, "vtep_up", "Whether.")
            .sample(&[("dev", "a\\b\"c\nd"), ("vlan", "")], 1);

        assert_eq!(
            out.finish(),
            "# HELP vtep_up Whether.\n# TYPE vtep_up gauge\nvtep_up{dev=\"a\\\\b\\\"c\\nd\",vlan=\"\"} 1\n"
        );
    }
}
