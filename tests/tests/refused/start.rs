//! Daemons that do not start.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::binary;
use vtep_tests::daemon::refusal::assert_refused;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::UPLINK;
use vtep_tests::lab::ns::{self, Ns};
use vtep_tests::lab::wire::{FAR_VM, VM};
use vtep_tests::{bpf, need_root};

use crate::{stopped, wire};

/// The daemon does not start, says why, and leaves nothing behind.
#[track_caller]
fn refused_start(ns: &Ns, daemon: &Daemon, command: Command, code: i32, needles: &[&str]) {
    ns.settled();
    let links = ns.ip_output("-o -d link show");
    let what = format!("{command:?}");
    assert_refused(&daemon.refused_start(command), code, needles, &what);
    assert!(!daemon.socket().exists(), "{what}: a socket is left");
    assert!(!daemon.pins().exists(), "{what}: pins are left");
    assert_eq!(
        ns.ip_output("-o -d link show"),
        links,
        "{what}: devices changed"
    );
}

#[test]
fn an_uplink_that_is_missing_or_down_is_named() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", "nope0"]);
    refused_start(&ns, &daemon, daemon.run_command(), 1, &["nope0"]);
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    ns.ip("link set up0 down");
    refused_start(
        &ns,
        &daemon,
        daemon.run_command(),
        1,
        &[UPLINK, "down", "ip link set"],
    );
    let (ns, daemon) = stopped(&["--iface", UPLINK, "--iface", "nope0"]);
    refused_start(&ns, &daemon, daemon.run_command(), 1, &["nope0"]);
}

#[test]
fn a_daemon_without_an_uplink_is_wrong_usage() {
    need_root!();
    let (ns, daemon) = stopped(&[]);
    refused_start(&ns, &daemon, daemon.run_command(), 2, &["--iface"]);
    let (ns, daemon) = stopped(&["--iface", UPLINK, "--local", "198.18.0"]);
    refused_start(&ns, &daemon, daemon.run_command(), 2, &["198.18.0"]);
    let (ns, daemon) = stopped(&["--iface", UPLINK, "--udp-port", "0"]);
    refused_start(&ns, &daemon, daemon.run_command(), 2, &["0"]);
}

#[test]
fn a_log_filter_that_is_none_is_refused() {
    need_root!();
    for filter in ["loud", "info,warning", "vtep_user=loud"] {
        let (ns, daemon) = stopped(&["--iface", UPLINK]);
        let mut command = daemon.run_command();
        command.env("VTEP_LOG", filter);
        let needles = [&format!("VTEP_LOG={filter}"), "debug"];
        refused_start(&ns, &daemon, command, 1, &needles);
    }
}

#[test]
fn a_local_address_that_no_vtep_can_have_is_refused() {
    need_root!();
    for (local, what) in [
        ("127.0.0.1", "loopback"),
        ("fe80::1", "link-local"),
        ("239.1.1.1", "multicast"),
        ("0.0.0.0", "unspecified"),
    ] {
        let (ns, daemon) = stopped(&["--iface", UPLINK, "--local", local]);
        ns.ip("link set lo up\naddr add fe80::1/64 dev up0 nodad");
        refused_start(
            &ns,
            &daemon,
            daemon.run_command(),
            1,
            &[local, what, "--local"],
        );
    }
    let (ns, daemon) = stopped(&["--iface", UPLINK, "--local", "198.18.0.9"]);
    let add = "ip address add 198.18.0.9/32 dev up0";
    refused_start(&ns, &daemon, daemon.run_command(), 1, &["198.18.0.9", add]);
}

#[test]
fn a_driver_without_native_xdp_is_named_with_what_to_choose() {
    need_root!();
    let args = [
        "--iface",
        "mv0",
        "--uplink-hook",
        "xdp",
        "--xdp-mode",
        "native",
    ];
    let (ns, daemon) = stopped(&args);
    ns.ip(
        "link add link far0 name mv0 type macvlan\nlink set mv0 up\naddr add 198.18.9.1/24 dev mv0",
    );
    refused_start(
        &ns,
        &daemon,
        daemon.run_command(),
        1,
        &["mv0", "native XDP", "--xdp-mode auto"],
    );
}

#[test]
fn what_only_a_teardown_changes_is_named_with_the_instance() {
    need_root!();
    let (_ns, daemon) = stopped(&["--iface", UPLINK]);
    daemon.run();
    daemon.kill();
    let teardown = format!("vtep teardown --instance {}", daemon.instance());
    for args in [["--fdb-max", "5"], ["--udp-port", "4790"]] {
        let mut command = daemon.run_command();
        command.args(args);
        assert_refused(
            &daemon.refused_start(command),
            1,
            &[&teardown],
            &format!("{args:?}"),
        );
    }
}

#[test]
fn an_uplink_without_any_address_is_refused() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    ns.sysctl("ipv6/conf/up0/disable_ipv6", "1");
    ns.ip("addr flush dev up0");
    refused_start(&ns, &daemon, daemon.run_command(), 1, &["address", UPLINK]);
}

#[test]
fn somebody_who_is_not_root_is_told_so() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    // Where everybody may run it from.
    let place = std::env::temp_dir().join(ns::unique("bin"));
    std::fs::create_dir(&place).unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = place.join("vtep");
    std::fs::copy(binary::vtep(), &copy).unwrap();
    let mut command = ns.command("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&copy);
    command.args(["run", "--iface", UPLINK, "--instance", daemon.instance()]);

    refused_start(&ns, &daemon, command, 1, &["root"]);

    std::fs::remove_dir_all(&place).unwrap();
}

#[test]
fn a_kernel_without_bpf_is_told_apart() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    let mut command = daemon.run_command();
    // SAFETY: between fork and exec this only makes one system call, with a filter on the stack.
    unsafe { command.pre_exec(bpf::forbid) };

    refused_start(&ns, &daemon, command, 1, &["kernel", "bpf"]);
}

#[test]
fn a_missing_bpffs_is_named_with_the_command_that_mounts_it() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    let run = daemon.run_command();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c"]);
    command
        .arg("umount /sys/fs/bpf && exec \"$@\"")
        .arg("sh")
        .arg(run.get_program());
    command.args(run.get_args());

    refused_start(&ns, &daemon, command, 1, &["mount -t bpf bpf /sys/fs/bpf"]);
}

#[test]
fn a_bpffs_hidden_by_ip_netns_exec_is_told_apart() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", ns.name()])
        .arg(binary::vtep());
    command.args(["run", "--iface", UPLINK, "--instance", daemon.instance()]);

    refused_start(
        &ns,
        &daemon,
        command,
        1,
        &["ip netns exec", "nsenter --net="],
    );
}

#[test]
fn another_vtep_on_the_udp_port_is_named() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    ns.ip("link add old7 type vxlan id 7 dstport 4789 dev up0\nlink set old7 up");
    refused_start(&ns, &daemon, daemon.run_command(), 1, &["4789", "old7"]);

    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    let holder = ns.run(|| std::net::UdpSocket::bind("0.0.0.0:4789").unwrap());
    refused_start(&ns, &daemon, daemon.run_command(), 1, &["4789"]);
    drop(holder);

    let wire = wire();
    let second = Daemon::named(&wire.ns, &ns::unique("i"), &["--iface", UPLINK]);
    let other = format!("vtep teardown --instance {}", wire.daemon.instance());
    refused_start(
        &wire.ns,
        &second,
        second.run_command(),
        1,
        &["4789", &other, "--udp-port"],
    );
    wire.encap(&udp4(VM, FAR_VM).build());
}

#[test]
fn a_file_in_the_place_of_the_socket_is_left_alone() {
    need_root!();
    let (_ns, daemon) = stopped(&["--iface", UPLINK]);
    std::fs::create_dir_all("/run/vtep").unwrap();
    std::fs::write(daemon.socket(), "mine").unwrap();

    let out = daemon.refused_start(daemon.run_command());

    let socket = daemon.socket();
    assert_refused(&out, 1, &[socket.to_str().unwrap()], "a file in the way");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "mine");
}
