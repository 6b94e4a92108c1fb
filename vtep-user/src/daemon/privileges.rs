//! Rights: the capabilities that are needed to start, those that are kept, and that there will be no others.

use std::io;

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

/// Sees to it that no program gives this process, and the threads that it starts, more rights than it has.
pub(super) fn take_no_new_ones() -> Result<(), DaemonError> {
    // SAFETY: the call takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0 {
        return Ok(());
    }
    Err(failed(io::Error::last_os_error()))
}

/// Gives this thread's capabilities up, all but those, for good where it may.
pub(super) fn drop_all_but_needed() -> Result<(), DaemonError> {
    let kept: CapsHashSet = NEEDED.into_iter().collect();
    let failed = |error| failed(io::Error::other(error));
    // Who starts the daemon with just what it needs has bounded it already.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        for capability in caps::read(None, CapSet::Bounding)
            .map_err(failed)?
            .difference(&kept)
        {
            caps::drop(None, CapSet::Bounding, *capability).map_err(failed)?;
        }
    }
    for (set, wanted) in [
        (CapSet::Inheritable, CapsHashSet::new()),
        (CapSet::Effective, kept.clone()),
        (CapSet::Permitted, kept.clone()),
    ] {
        caps::set(None, set, &wanted).map_err(failed)?;
    }
    Ok(())
}

fn failed(source: io::Error) -> DaemonError {
    DaemonError::System {
        what: "give up rights",
        source,
    }
}
