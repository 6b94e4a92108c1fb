//! What the service manager is told that has started the daemon: that it is ready, that it is alive, and what it is about (`sd_notify(3)`).
//! Where none has, nothing is told.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use std::{env, io};

use sd_notify::NotifyState;
use tokio::time::Instant;

/// How often it is told that the daemon is alive, and what it is about, unless its watchdog asks for more.
const EACH: Duration = Duration::from_secs(1);

/// Where it listens.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The service manager.
pub(super) struct ServiceManager {
    /// It ends a daemon that does not say that it is alive.
    watches: bool,
    /// How often it is told so.
    each: Duration,
    /// When it is told again.
    next: Instant,
    /// What it was told last.
    said: String,
}

impl ServiceManager {
    pub(super) fn new() -> Self {
        let watchdog = sd_notify::watchdog_enabled();
        Self {
            watches: watchdog.is_some(),
            each: watchdog.map_or(EACH, |patience| EACH.min(patience / 2)),
            next: Instant::now(),
            said: String::new(),
        }
    }

    /// The daemon serves.
    pub(super) fn ready() {
        if let Err(why) = try_to_tell(&NotifyState::Ready) {
            tracing::warn!(%why, "the service manager could not be told that the daemon is ready");
        }
    }

    /// The daemon is told to end.
    pub(super) fn stopping() {
        tell(&NotifyState::Stopping);
    }

    /// Whether it is to be told that the daemon is alive.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// The core's task goes round, and `about` is what it is about.
    pub(super) fn alive(&mut self, about: String) {
        self.next = Instant::now() + self.each;
        if self.watches {
            tell(&NotifyState::Watchdog);
        }
        if about != self.said && tell(&NotifyState::Status(&about)) {
            self.said = about;
        }
    }
}

/// A manager that takes nothing is none of the daemon's troubles. Returns whether it was told.
fn tell(state: &NotifyState<'_>) -> bool {
    try_to_tell(state).is_ok()
}

/// Tells the manager, if there is one. Nobody waits: not for an answer, and not for a manager that reads nothing.
fn try_to_tell(state: &NotifyState<'_>) -> io::Result<()> {
    let Some(name) = env::var_os(SOCKET) else {
        return Ok(());
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address(&name)?)?;
    socket.send(format!("{state}\n").as_bytes())?;
    Ok(())
}

/// Where a name leads to: a path, or an abstract name if `@` stands in front (`sd_notify(3)`).
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    }
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
