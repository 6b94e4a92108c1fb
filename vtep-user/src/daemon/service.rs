//! What the service manager is told that has started the daemon: that it is ready, that it is alive, and what it is about (`sd_notify(3)`).
//! Where none has, nothing is told.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

/// How often it is told that the daemon is alive, and what it is about.
const EACH: Duration = Duration::from_secs(1);

/// The service manager.
pub(super) struct ServiceManager {
    /// It ends a daemon that does not say that it is alive.
    watches: bool,
    /// When it is told again.
    next: Instant,
    /// What it was told last.
    said: String,
}

impl ServiceManager {
    pub(super) fn new() -> Self {
        Self {
            watches: sd_notify::watchdog_enabled().is_some(),
            next: Instant::now(),
            said: String::new(),
        }
    }

    /// The daemon serves.
    pub(super) fn ready() {
        tell(&[NotifyState::Ready]);
    }

    /// The daemon is told to end.
    pub(super) fn stopping() {
        tell(&[NotifyState::Stopping]);
    }

    /// Whether it is to be told that the daemon is alive.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// The core's task goes round, and `about` is what it is about.
    pub(super) fn alive(&mut self, about: String) {
        self.next = Instant::now() + EACH;
        if self.watches {
            tell(&[NotifyState::Watchdog]);
        }
        if about != self.said {
            tell(&[NotifyState::Status(&about)]);
            self.said = about;
        }
    }
}

/// Nobody waits for an answer, and a manager that takes nothing is none of the daemon's troubles.
fn tell(state: &[NotifyState<'_>]) {
    drop(sd_notify::notify(state));
}

/// What a daemon is about, in a line.
pub(super) fn about(vnis: u32, ports: u32, peers: u32, waits_for: &[String]) -> String {
    let counted = |count: u32, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let [vnis, ports, peers] =
        [(vnis, "VNI"), (ports, "port"), (peers, "VTEP")].map(|(count, what)| counted(count, what));
    match waits_for {
        [] => format!("{vnis}, {ports}, {peers}"),
        waits_for => format!(
            "{vnis}, {ports}, {peers}; waits for {}",
            waits_for.join("; ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_there_is_and_what_is_waited_for() {
        assert_eq!(about(1, 2, 0, &[]), "1 VNI, 2 ports, 0 VTEPs");
        let waits = ["eth0".to_owned(), "an address".to_owned()];
        assert_eq!(
            about(0, 1, 1, &waits),
            "0 VNIs, 1 port, 1 VTEP; waits for eth0; an address"
        );
    }
}
