//! Uplinks that are not there yet, or not any more.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::UPLINK;
use vtep_tests::lab::ns::{self, Ns};
use vtep_tests::link::Link as _;
use vtep_tests::link::tap::Tap;
use vtep_tests::need_root;
use vtep_tests::wait::until_true;

const OURS: &str = "198.18.0.1";
const FAR: &str = "198.18.0.2";
const VM: Mac = Mac::nth(0x0a);
const FAR_VM: Mac = Mac::nth(0x0b);

/// A hypervisor whose uplink is missing, with the tap of a VM and a configuration file.
struct Host {
    daemon: Daemon,
    ns: Ns,
    vm: Tap,
    file: PathBuf,
}

impl Host {
    fn new(run: &str) -> Self {
        let ns = Ns::new("uplinks");
        let vm = Tap::new(&ns, "vm0");
        let file = std::env::temp_dir().join(ns::unique("uplinks.conf"));
        fs::write(
            &file,
            format!(
                "run {run}\nvni add 100 --mode l2\nport add vm0 --vni 100 --mac {VM}\nfdb add {FAR_VM} --vni 100 --dst {FAR}\n"
            ),
        )
        .unwrap();
        let daemon = Daemon::named(&ns, &ns::unique("i"), &["--config", file.to_str().unwrap()]);
        daemon.run();
        Self {
            daemon,
            ns,
            vm,
            file,
        }
    }

    fn waits_for(&self) -> Vec<String> {
        let status = self.daemon.status();
        let clauses = status["waits_for"].as_array().unwrap().iter();
        clauses
            .map(|clause| clause.as_str().unwrap().to_owned())
            .collect()
    }

    fn state(&self) -> Value {
        self.daemon.status()["uplinks"][0]["state"].clone()
    }

    /// The uplink comes, with an address and a next hop.
    fn uplink(&self) -> Tap {
        let uplink = Tap::new(&self.ns, UPLINK);
        self.address();
        uplink
    }

    fn address(&self) {
        self.ns.ip(&format!(
            "addr add {OURS}/24 dev {UPLINK}\nneigh replace {FAR} lladdr 02:aa:00:00:00:02 dev {UPLINK} nud permanent"
        ));
    }

    /// Insists that what the VM sends leaves by the uplink.
    #[track_caller]
    fn forwards(&self, uplink: &Tap) {
        let frame = udp4(VM, FAR_VM).build();
        until_true("the VTEP", || {
            let rows = self.daemon.rows(&format!("peer show {FAR}"));
            rows.first().is_some_and(|row| row["state"] == "resolved")
        });
        self.vm.send(&frame);
        uplink.wait_for("the frame in VXLAN", |sent| {
            sent.len() > frame.len() && sent.ends_with(&frame)
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.file));
    }
}

#[test]
fn a_daemon_with_a_file_waits_for_its_uplink_and_for_an_address() {
    need_root!();
    let host = Host::new(&format!("--iface {UPLINK}"));
    let missing = format!("uplink {UPLINK}, which does not exist");
    let no_address = "an address of an uplink to send from";
    assert_eq!(host.waits_for(), [&missing, no_address]);
    assert_eq!(host.state(), "absent");
    let said = host.daemon.ok("status");
    assert!(
        said.contains(&format!("waits for            {missing}")),
        "{said}"
    );
    // All else is there.
    assert_eq!(host.daemon.rows("port show")[0]["state"], "attached");
    assert_eq!(host.daemon.vtep("apply --dry-run").status.code(), Some(0));
    host.daemon.ok("vni add 300");
    let monitor = Monitor::start(&host.daemon, 300, "198.18.0.99".parse().unwrap());
    let said = |event: &str| {
        monitor.wait_for(event, |row| row["event"] == event && row["dev"] == UPLINK);
        monitor.clear();
    };

    // Down first, then up, then with an address: as a machine starts.
    host.ns.ip(&format!("tuntap add dev {UPLINK} mode tap"));
    until_true("the uplink", || host.state() == "down");
    let down = format!("uplink {UPLINK}, which is down");
    assert_eq!(host.waits_for(), [&down, no_address]);
    host.ns.ip(&format!("link del {UPLINK}"));
    until_true("the uplink to go", || host.state() == "absent");
    let uplink = Tap::new(&host.ns, UPLINK);
    said("uplink_up");
    until_true("the uplink", || host.state() == "up");
    assert_eq!(host.waits_for(), [no_address]);
    host.address();
    until_true("the address", || host.waits_for().is_empty());
    assert_eq!(host.daemon.status()["locals"], json!([OURS]));
    host.forwards(&uplink);

    // It goes, and comes again by another number.
    drop(uplink);
    said("uplink_down");
    assert_eq!(host.waits_for()[0], missing);
    let uplink = host.uplink();
    said("uplink_up");
    until_true("the uplink", || host.waits_for().is_empty());
    host.forwards(&uplink);
}

#[test]
fn an_address_that_was_named_is_waited_for() {
    need_root!();
    let host = Host::new(&format!("--iface {UPLINK} --local {OURS}"));
    let address = format!("{OURS}, which is not an address of this host");
    assert!(host.waits_for().contains(&address));
    let uplink = host.uplink();
    until_true("the address", || host.waits_for().is_empty());
    host.forwards(&uplink);
}

#[test]
fn a_daemon_that_starts_before_the_address_sends_from_the_last_one() {
    need_root!();
    let host = Host::new(&format!("--iface {UPLINK}"));
    let uplink = host.uplink();
    host.forwards(&uplink);
    host.daemon.kill();
    host.ns.ip(&format!("addr del {OURS}/24 dev {UPLINK}"));

    host.daemon.run();

    assert_eq!(host.daemon.status()["locals"], json!([OURS]));
    assert_eq!(
        host.waits_for(),
        [format!("{OURS}, which is not an address of this host")]
    );
    host.address();
    until_true("the address", || host.waits_for().is_empty());
    host.forwards(&uplink);
}

#[test]
fn without_a_file_uplinks_are_waited_for_where_that_is_asked_for() {
    need_root!();
    let ns = Ns::new("uplinks");
    let refused = Daemon::named(&ns, &ns::unique("i"), &["--iface", "nope0"]);
    let out = refused.refused_start(refused.run_command());
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("nope0"), "{said}");

    let waits = Daemon::start(&ns, &["--iface", "nope0", "--wait"]);

    assert_eq!(waits.status()["uplinks"][0]["state"], "absent");
}
