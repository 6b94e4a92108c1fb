//! An underlay within `WireGuard`.

use std::process::Stdio;

use vtep_tests::daemon::Daemon;
use vtep_tests::lab::ns::{self, Ns};
use vtep_tests::lab::underlay::Family;
use vtep_tests::{need_root, over_each_family};

use crate::site::{CABLES, End, Site, Wiring};

over_each_family! {
    vteps_behind_wireguard_are_reached_by_the_slow_path,
}

/// A private key of each hypervisor; any 32 bytes are one.
const KEYS: [&str; 2] = [
    "QAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=",
    "QAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=",
];

/// The public key of a private one.
fn public(key: &str) -> String {
    let mut command = std::process::Command::new("wg");
    let out = ns::done(command.arg("pubkey").stderr(Stdio::inherit()), key);
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Joins the ends of the first cable by `WireGuard`; the addresses of network 0 are within, those of network 1 outside.
fn wireguard(end: &End<'_>) {
    // With room for what `WireGuard` adds.
    end.ns.ip(&format!("link set {} mtu 1600", CABLES[0]));
    end.address(CABLES[0], 1);
    end.ns
        .ip("link add wg0 type wireguard\nlink set wg0 mtu 1500");
    let [ours, theirs] = [end.number, 1 - end.number].map(|number| KEYS[usize::from(number)]);
    let file = std::env::temp_dir().join(ns::unique("key"));
    std::fs::write(&file, ours).expect("write the key");
    let endpoint = match end.family {
        Family::V4 => format!("{}:51820", end.far_ip(1)),
        Family::V6 => format!("[{}]:51820", end.far_ip(1)),
    };
    ns::done(
        end.ns
            .command("wg")
            .args(["set", "wg0", "listen-port", "51820", "private-key"])
            .arg(&file)
            .args(["peer", &public(theirs), "allowed-ips", "0.0.0.0/0,::/0"])
            .args(["endpoint", &endpoint]),
        "",
    );
    drop(std::fs::remove_file(&file));
    end.ns.ip("link set wg0 up");
    end.address("wg0", 0);
}

fn vteps_behind_wireguard_are_reached_by_the_slow_path(family: Family) {
    let wiring = Wiring {
        elsewhere: true,
        ..Wiring::new(family, &["--iface", CABLES[0]])
    };
    let site = Site::with(&wiring, wireguard);

    site.carries();
}

#[test]
fn a_wireguard_device_is_refused_as_uplink() {
    need_root!();
    let ns = Ns::new("wg");
    ns.ip("link add wg0 type wireguard\nlink set wg0 up\naddr add 198.18.0.1/24 dev wg0");
    let daemon = Daemon::named(&ns, &ns::unique("i"), &["--iface", "wg0"]);

    let out = daemon.refused_start(daemon.run_command());

    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("wg0") && said.contains("Ethernet"), "{said}");
}
