//! Capabilities: what is needed to start, and what is kept.

use caps::{CapSet, Capability, CapsHashSet};

use super::error::DaemonError;

/// What the daemon works with: BPF maps and programs, and the network configuration.
const NEEDED: [Capability; 3] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_PERFMON,
];

/// Checks that the needed capabilities are there.
pub(super) fn check() -> Result<(), DaemonError> {
    let missing: Vec<String> = NEEDED
        .into_iter()
        .filter(|capability| !caps::has_cap(None, CapSet::Effective, *capability).unwrap_or(false))
        .map(|capability| capability.to_string())
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(DaemonError::Rights(missing.join(", ")))
    }
}

/// Gives up every capability but those.
pub(super) fn drop_all_but_needed() -> Result<(), DaemonError> {
    let kept: CapsHashSet = NEEDED.into_iter().collect();
    for (set, wanted) in [
        (CapSet::Inheritable, CapsHashSet::new()),
        (CapSet::Effective, kept.clone()),
        (CapSet::Permitted, kept),
    ] {
        caps::set(None, set, &wanted).map_err(|error| DaemonError::System {
            what: "give up capabilities",
            source: std::io::Error::other(error),
        })?;
    }
    Ok(())
}
