//! Ports that are members of a bridge, and the configuration.

use std::fs;
use std::path::PathBuf;

use vtep_tests::daemon::Daemon;
use vtep_tests::lab::GREEN;
use vtep_tests::lab::ns;
use vtep_tests::need_root;
use vtep_tests::traffic::ping;
use vtep_tests::wait::until_true;

use super::{BRIDGE, Host};

#[test]
fn a_dump_has_the_bridge_and_none_of_its_members() {
    need_root!();
    let host = Host::new();
    let dump = host.daemon().ok("dump");
    assert!(
        dump.contains(&format!("vni add {GREEN} --bridge {BRIDGE}\n")),
        "{dump}"
    );
    assert!(!dump.contains("port add"), "{dump}");
    assert!(!dump.contains(&host.mac().to_string()), "{dump}");
}

#[test]
fn a_member_with_settings_of_its_own_keeps_them() {
    need_root!();
    let host = Host::new();
    let (dev, mac) = (&host.a.port, host.a.mac);
    let source = |want: &str| {
        until_true(&format!("{dev} to be a port by {want}"), || {
            host.port(dev).is_some_and(|row| row["source"] == want)
        });
    };

    host.daemon().ok(&format!(
        "port add {dev} --vni {GREEN} --mac {mac} --max-macs 1"
    ));
    source("cli");
    host.has_state(dev, "disabled");
    assert!(host.daemon().ok("dump").contains(&format!(
        "port add {dev} --vni {GREEN} --mac {mac} --max-macs 1"
    )));
    super::reach::all_reach_each_other(&host);

    // It stays when it is no member any more.
    host.ns().ip(&format!("link set {dev} nomaster"));
    ping(&host.a.ns, host.far.v4);
    assert_eq!(host.port(dev).unwrap()["source"], "cli");
    super::attach(host.ns(), dev);
    host.has_state(dev, "disabled");

    // Without settings of its own it is what every member is.
    host.daemon().ok(&format!("port del {dev}"));
    source("bridge");
    host.daemon().ok(&format!("port set {dev} --isolated on"));
    source("cli");
    super::reach::each_is_heard_once(&host, 1);
}

/// A configuration file.
struct File(PathBuf);

impl File {
    fn new(lines: &str) -> Self {
        let path = std::env::temp_dir().join(ns::unique("bridge.conf"));
        fs::write(&path, lines).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

#[test]
fn a_configuration_file_has_the_bridge_and_the_macs_of_its_guests() {
    need_root!();
    let host = Host::without_vni();
    let (a, b) = (&host.a, &host.b);
    let far = host.lab.hypervisors[1].ip;
    let ours = host.lab.hypervisors[0].ip;
    host.daemon().ok("teardown");
    until_true("the daemon to end", || host.daemon().ended().is_some());
    let file = File::new(&format!(
        "run --iface up0 --local {ours}
         vni add {GREEN} --mode l2 --bridge {BRIDGE}
           port add {} --vni {GREEN} --mac {}
           port add {} --vni {GREEN} --mac {}
           fdb append 00:00:00:00:00:00 --vni {GREEN} --dst {far}
           fdb add {} --vni {GREEN} --dst {far}\n",
        a.port, a.mac, b.port, b.mac, host.far.mac
    ));
    let path = file.0.to_str().unwrap();
    let daemon = Daemon::named(host.ns(), &ns::unique("i"), &["--config", path]);
    daemon.run();

    for dev in host.members() {
        host.has_state(dev, "disabled");
    }
    super::reach::all_reach_each_other(&host);
    super::reach::each_is_heard_once(&host, 1);
    assert_eq!(daemon.vtep("apply --dry-run").status.code(), Some(0));

    // A guest of which the file says nothing comes by itself.
    let late = host.lab.vm_unattached(vtep_tests::lab::Attach::Veth, 0, 4);
    super::attach(host.ns(), &late.port);
    let rows = || daemon.rows("port show");
    until_true("the guest", || {
        rows()
            .iter()
            .any(|row| row["dev"] == late.port.as_str() && row["source"] == "bridge")
    });
    assert_eq!(daemon.vtep("apply --dry-run").status.code(), Some(0));
    // Its MAC is to be named, since the VNI learns none; then it is the file's.
    let line = format!("port add {} --vni {GREEN} --mac {}\n", late.port, late.mac);
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, text + &line).unwrap();
    let plan = daemon.ok("apply");
    assert_eq!(plan.trim(), format!("+ {}", line.trim()));
    ping(&late.ns, host.far.v4);
    ping(&late.ns, Host::ips()[0]);
    ping(&late.ns, a.v4);
}
