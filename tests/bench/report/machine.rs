//! Where something was measured: what of a machine moves figures.

use std::fs;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The machine and how it was used.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MeasuredOn {
    /// The command that measured.
    pub(crate) command: String,
    /// Seconds since 1970 when it began.
    pub(crate) began: u64,
    /// How many seconds it took.
    pub(crate) took: u64,
    /// The processor's model.
    pub(crate) processor: String,
    /// How many of them.
    pub(crate) processors: usize,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Each weakness of the processor that costs something to mend, and how it is mended.
    pub(crate) mitigations: Vec<(String, String)>,
    /// Settings of the kernel that move figures, by their paths below `/proc/sys`.
    pub(crate) settings: Vec<(String, String)>,
}

/// Settings of the kernel that move figures.
const SETTINGS: [&str; 6] = [
    "net/core/bpf_jit_enable",
    "net/core/bpf_jit_harden",
    "kernel/bpf_stats_enabled",
    "net/core/netdev_max_backlog",
    "net/ipv4/tcp_congestion_control",
    "net/core/default_qdisc",
];

impl MeasuredOn {
    /// This one, now.
    pub(crate) fn this() -> Self {
        let info = read("/proc/cpuinfo");
        let memory = read("/proc/meminfo");
        Self {
            command: command(std::env::args().skip(1)),
            began: now(),
            took: 0,
            processor: field(&info, "model name").unwrap_or("unknown").to_owned(),
            processors: thread::available_parallelism().map_or(0, usize::from),
            memory_mib: field(&memory, "MemTotal")
                .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok())
                .map_or(0, |kib| kib / 1024),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            mitigations: mitigations(),
            settings: SETTINGS
                .iter()
                .map(|path| {
                    let value = read(&format!("/proc/sys/{path}"));
                    ((*path).to_owned(), value.trim().to_owned())
                })
                .collect(),
        }
    }

    /// Notes how long it all took.
    pub(super) fn finish(&mut self) {
        self.took = now().saturating_sub(self.began);
    }
}

fn command(args: impl Iterator<Item = String>) -> String {
    ["cargo xtask bench".to_owned()]
        .into_iter()
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first line `name: value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

fn mitigations() -> Vec<(String, String)> {
    let Ok(files) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return Vec::new();
    };
    let mut found: Vec<_> = files
        .filter_map(Result::ok)
        .map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            let how = fs::read_to_string(file.path()).unwrap_or_default();
            (name, how.trim().to_owned())
        })
        .filter(|(_, how)| how != "Not affected")
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_names() {
        let text = "processor\t: 0\nmodel name\t: A b\nmodel name\t: C\nMemTotal:       2048 kB\n";

        assert_eq!(field(text, "model name"), Some("A b"));
        assert_eq!(field(text, "MemTotal"), Some("2048 kB"));
        assert_eq!(field(text, "model"), None);
    }
}
