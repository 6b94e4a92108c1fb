//! What bad input gets: a sentence on stderr, exit code 1 or 2, and nothing half done.

mod command;
mod start;
mod taken;

use vtep_tests::daemon::Daemon;
use vtep_tests::lab::ns::{self, Ns};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::Wire;

/// One daemon for what only reads or is refused.
fn wire() -> Wire {
    Wire::new(Family::V4)
}

/// A namespace with an uplink, and a daemon for it that does not run.
fn stopped(args: &[&str]) -> (Ns, Daemon) {
    let ns = Ns::new("cli");
    ns.ip("link add name up0 type veth peer name far0
         link set far0 up
         link set up0 up
         addr add 198.18.0.1/24 dev up0");
    let daemon = Daemon::named(&ns, &ns::unique("i"), args);
    (ns, daemon)
}
