//! The daemon as a process: what it says of its uplinks, what it may do, and the port that it holds.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use vtep_tests::daemon::binary;
use vtep_tests::daemon::refusal::text;
use vtep_tests::daemon::{Daemon, mount_bpffs};
use vtep_tests::encoder::inner::udp4;
use vtep_tests::encoder::{Frame, Mac, eth};
use vtep_tests::lab::ns::{Ns, done, unique, with_input};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::wait::{DEADLINE, until_true};
use vtep_tests::{need_root, over_each_family};

over_each_family! {
    no_unreachable_answers_a_vtep,
    a_second_address_does_not_become_the_vteps,
}

/// A port that nobody holds.
const UNHELD: u16 = 4790;

/// A UDP datagram from the far VTEP.
fn datagram(wire: &Wire, to: IpAddr, port: u16) -> Frame {
    eth(FAR_MAC, wire.mac).ip(wire.far_ip, to).udp(50000, port)
}

/// What may come to the UDP port: what belongs there, and what does not.
fn datagrams(wire: &Wire, to: IpAddr) -> Vec<Vec<u8>> {
    let inner = udp4(FAR_VM, VM).build();
    let head = || datagram(wire, to, 4789);
    vec![
        head().vxlan(GREEN).bytes(&inner).build(),
        head().vxlan(GREEN + 1).bytes(&inner).build(),
        head()
            .vxlan_noisy(0, [0; 3], GREEN, 0)
            .bytes(&inner)
            .build(),
        head().vxlan(GREEN).build(),
        head().payload(1, 300).build(),
        head().payload(2, 3).build(),
        head().build(),
    ]
}

/// The UDP port that an `ICMP` or `ICMPv6` message says is unreachable.
fn unreachable(family: Family, frame: &[u8]) -> Option<u16> {
    let (protocol_at, protocol, icmp, kind, quoted) = match family {
        Family::V4 => (23, 1, 34, 3, 42 + 20),
        Family::V6 => (20, 58, 54, 1, 62 + 40),
    };
    let is_one = frame.get(protocol_at) == Some(&protocol) && frame.get(icmp) == Some(&kind);
    let port = frame.get(quoted + 2..quoted + 4)?.try_into().ok()?;
    is_one.then_some(u16::from_be_bytes(port))
}

/// The ports that are said to be unreachable after `datagrams` and one more to a port that is.
fn answers(wire: &Wire, datagrams: &[Vec<u8>]) -> Vec<u16> {
    for datagram in datagrams {
        wire.uplink.send(datagram);
    }
    // Answers keep the order: what is not answered before this is not answered.
    wire.uplink
        .send(&datagram(wire, wire.ip, UNHELD).payload(1, 30).build());
    let of = |frame: &Vec<u8>| unreachable(wire.family, frame);
    let seen = wire
        .uplink
        .collect(DEADLINE, |seen| seen.last().and_then(of) == Some(UNHELD));
    seen.iter().filter_map(of).collect()
}

fn no_unreachable_answers_a_vtep(family: Family) {
    let local = family.address(0, 1).to_string();
    let wire = Wire::with(family, "", &["--local", &local]);
    // Whatever is unreachable is answered, however many answers there were before.
    for key in ["ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"] {
        wire.ns.sysctl(key, "0");
    }
    // What comes to an address that is none of the VTEP's passes the programs.
    let other = family.address(0, 99);
    wire.ns.ip(&format!(
        "addr add {other}/{} dev {UPLINK} {}",
        family.prefix(),
        family.nodad()
    ));
    let sent = [datagrams(&wire, wire.ip), datagrams(&wire, other)].concat();

    assert_eq!(answers(&wire, &sent), [UNHELD], "while the daemon runs");
    let passed: u64 = wire
        .daemon
        .rows("stats")
        .iter()
        .filter(|row| row["reason"] == "not_our_address")
        .filter_map(|row| row["packets"].as_u64())
        .sum();
    assert!(passed > 0, "none came as far as the host's stack");
    wire.daemon.kill();
    assert_eq!(answers(&wire, &sent), [UNHELD], "after a crash");
    wire.daemon.run();
    assert_eq!(answers(&wire, &sent), [UNHELD], "after a restart");
    wire.daemon.kill();

    // With the device gone, every one of them is answered.
    let mut teardown = wire.ns.command(binary::vtep());
    teardown.args(["teardown", "--instance", wire.daemon.instance()]);
    done(&mut teardown, "");
    let mut want = vec![4789; sent.len()];
    want.push(UNHELD);
    assert_eq!(answers(&wire, &sent), want, "after the teardown");
}

fn a_second_address_does_not_become_the_vteps(family: Family) {
    let wire = Wire::new(family);
    let locals = wire.daemon.status()["locals"].clone();
    let (second, prefix) = (family.address(0, 77), family.prefix());
    wire.ns.ip(&format!(
        "addr add {second}/{prefix} dev {UPLINK} {}",
        family.nodad()
    ));

    let add = format!("fdb add {} --vni {GREEN} --dst {second}", Mac::nth(7));
    until_true("the daemon to have heard of it", || {
        let out = wire.daemon.vtep(&add);
        drop(
            wire.daemon
                .vtep(&format!("fdb del {} --vni {GREEN}", Mac::nth(7))),
        );
        String::from_utf8_lossy(&out.stderr).contains("own address")
    });

    assert_eq!(wire.daemon.status()["locals"], locals);
    wire.daemon.kill();
    wire.daemon.run();
    assert_eq!(wire.daemon.status()["locals"], locals, "after a restart");
}

/// What the daemon is told, the hook that it gets, a word of the reason if it has one, and what `ip` shows.
type Fixture<'a> = (&'a [&'a str], &'a str, Option<&'a str>, Option<&'a str>);

/// Starts a daemon on a new veth; returns what it says of its uplink, and what the kernel does.
fn uplink_of(args: &[&str]) -> (Value, String) {
    let (ns, far) = (Ns::new("uplink"), Ns::new("far"));
    ns.veth_for_xdp(UPLINK, &far, "far0");
    ns.ip(&format!("addr add 198.18.0.1/24 dev {UPLINK}"));
    let daemon = Daemon::start(&ns, &[&["--iface", UPLINK], args].concat());
    let status = daemon.status();
    let uplinks = status["uplinks"].as_array().expect("a list of uplinks");
    assert_eq!(uplinks.len(), 1, "{status}");
    assert_eq!(uplinks[0]["dev"], UPLINK);
    println!("{args:?}: {}", uplinks[0]);
    (
        uplinks[0].clone(),
        ns.ip_output(&format!("link show {UPLINK}")),
    )
}

#[test]
fn the_daemon_says_which_hook_an_uplink_has_and_why() {
    need_root!();
    let xdp = ["--uplink-hook", "xdp"];
    let cases: [Fixture<'_>; 5] = [
        (&[], "tc", Some("veth"), None),
        (&["--uplink-hook", "tc"], "tc", Some("requested"), None),
        (&xdp, "xdp native", None, Some(" xdp ")),
        (
            &[xdp, ["--xdp-mode", "native"]].concat(),
            "xdp native",
            None,
            Some(" xdp "),
        ),
        (
            &[xdp, ["--xdp-mode", "generic"]].concat(),
            "xdp generic",
            Some("requested"),
            Some(" xdpgeneric "),
        ),
    ];

    for (args, hook, why, shown) in cases {
        let (uplink, link) = uplink_of(args);

        assert_eq!(uplink["hook"], hook, "{args:?}");
        match why {
            Some(word) => {
                let said = uplink["why"].as_str().expect("a reason");
                assert!(said.contains(word), "{args:?}: {said}");
            }
            None => assert_eq!(uplink["why"], Value::Null, "{args:?}"),
        }
        match shown {
            Some(word) => assert!(link.contains(word), "{args:?}: {link}"),
            None => assert!(!link.contains(" xdp"), "{args:?}: {link}"),
        }
    }
}

/// `CAP_NET_ADMIN`, `CAP_PERFMON` and `CAP_BPF`.
const KEPT: u64 = 1 << 12 | 1 << 38 | 1 << 39;

/// `CAP_NET_RAW`: sockets are opened with it at the start.
const AT_START: u64 = 1 << 13;

/// Insists that every thread of a process has three capabilities, is bounded to `bound`, and gets no new rights from any program.
fn has_few_rights(pid: u32, bound: u64) {
    // They are a thread's own.
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let mut threads = 0;
    for task in tasks {
        let path = task.expect("a thread").path().join("status");
        let status = fs::read_to_string(&path).expect("it runs");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect("a line of that name").trim()
        };
        let set = |name| u64::from_str_radix(field(name), 16).expect("a hexadecimal number");
        for (name, want) in [("CapEff:", KEPT), ("CapPrm:", KEPT), ("CapBnd:", bound)] {
            assert_eq!(set(name), want, "{name} {:#x}", set(name));
        }
        for name in ["CapInh:", "CapAmb:"] {
            assert_eq!(set(name), 0, "{name} {:#x}", set(name));
        }
        assert_eq!(field("NoNewPrivs:"), "1");
        threads += 1;
    }
    assert!(threads > 2, "{threads} threads");
}

#[test]
fn the_daemon_keeps_three_capabilities() {
    need_root!();
    let wire = Wire::new(Family::V4);

    has_few_rights(wire.daemon.pid(), KEPT);

    // And it works with them.
    wire.daemon.ok("vni add 7");
    wire.encap(&udp4(VM, FAR_VM).build());
}

/// The unit for systemd.
const UNIT: &str = include_str!("../../dist/systemd/vtep@.service");

/// What the unit says of a key.
fn unit(key: &str) -> &'static str {
    let line = UNIT.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.strip_prefix('='))
        .expect("a line")
}

/// A daemon with the user and the rights that the unit for systemd gives it.
struct Hardened {
    ns: Ns,
    far: Ns,
    instance: String,
    child: Child,
}

impl Hardened {
    fn start() -> Self {
        let (ns, far) = (Ns::new("hardened"), Ns::new("far"));
        ns.veth(UPLINK, &far, "far0");
        ns.ip(&format!("addr add 198.18.0.1/24 dev {UPLINK}"));
        mount_bpffs();
        fs::create_dir_all("/run/vtep").expect("a place for sockets");
        assert_eq!(
            unit("AmbientCapabilities"),
            unit("CapabilityBoundingSet"),
            "it gets what it may have"
        );
        let rights = unit("AmbientCapabilities").to_lowercase();
        let rights: Vec<&str> = rights
            .split(' ')
            .map(|name| &name["cap_".len()..])
            .collect();
        let rights = format!("-all,+{}", rights.join(",+"));
        let instance = unique("hardened");
        // Pins and sockets of its own, which go with it.
        let script = format!(
            "mount -t bpf -o mode=0711 bpf /sys/fs/bpf && mkdir /sys/fs/bpf/vtep && \
             mount -t tmpfs tmpfs /run/vtep && chown 65534:65534 /sys/fs/bpf/vtep /run/vtep && \
             exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs \
             --bounding-set {rights} --inh-caps {rights} --ambient-caps {rights} \
             {} run --iface {UPLINK} --instance {instance}",
            binary::vtep().display()
        );
        let mut command = ns.command("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        let child = command.spawn().expect("start the daemon");
        let started = Self {
            ns,
            far,
            instance,
            child,
        };
        until_true("the daemon to answer", || {
            started.vtep("vni show").status.success()
        });
        started
    }

    /// Runs `vtep` where it sees the daemon's socket.
    fn vtep(&self, args: &str) -> Output {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.child.id()))
            .arg(binary::vtep())
            .args(args.split(' '))
            .args(["--instance", &self.instance]);
        with_input(&mut command, "")
    }

    /// Runs `vtep`, which succeeds; returns what it prints.
    #[track_caller]
    fn ok(&self, args: &str) -> String {
        let out = self.vtep(args);
        assert!(out.status.success(), "vtep {args}: {}", text(&out.stderr));
        text(&out.stdout)
    }
}

impl Drop for Hardened {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn the_daemon_works_with_no_more_than_the_unit_for_systemd_grants() {
    need_root!();
    let mut daemon = Hardened::start();
    let pid = daemon.child.id();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    assert!(
        status.contains("\nUid:\t65534\t65534\t65534\t65534\n"),
        "{status}"
    );
    // It may not bound itself: whoever started it has.
    has_few_rights(pid, KEPT | AT_START);

    daemon.ns.veth("t0", &daemon.far, "vm0");
    daemon.far.ip("addr add 10.0.0.1/24 dev vm0");
    for args in [
        "vni add 100",
        "port add t0 --vni 100",
        "fdb add 02:00:00:00:00:02 --vni 100 --dst 198.18.0.2",
        "vni add 7 --mode multicast --group 239.1.1.7",
        "vni del 7 --force",
        "trace t0 --dst 02:00:00:00:00:02",
    ] {
        daemon.ok(args);
    }
    // What reads frames and the host's facts, while somebody asks for a host that is not there.
    let mut asking = daemon.far.command("ping");
    asking.args(["-q", "-c", "60", "-I", "vm0", "10.0.0.2"]);
    let mut asking = asking
        .stdout(Stdio::null())
        .spawn()
        .expect("ask for a host");
    let captured = daemon.ok("capture t0 --count 1");
    let traced = daemon.ok("trace t0 --live 1 --seconds 50");
    drop(asking.kill());
    drop(asking.wait());
    // What comes first may be a word of IPv6's own.
    assert!(!captured.is_empty() && !traced.is_empty());
    let findings = text(&daemon.vtep("doctor -j").stdout);
    let findings: Vec<Value> = serde_json::from_str(&findings).expect("JSON");
    let could_not = findings.iter().filter(|finding| {
        let said = finding.to_string().to_lowercase();
        said.contains("permi") || said.contains("cannot be read")
    });
    assert!(
        !findings.is_empty() && could_not.count() == 0,
        "{findings:#?}"
    );
    for args in ["port del t0", "teardown"] {
        daemon.ok(args);
    }
    let ended = daemon.child.wait().expect("its end");
    assert!(ended.success(), "{ended}");
}

/// Where metrics are served.
const METRICS: &str = "127.0.0.1:9472";

/// A request whose end does not come.
const HALF: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: vtep\r\n";

/// How many files a process may have open from now on, up to its own hard limit.
fn set_open_files(pid: u32, files: u64) {
    let pid = i32::try_from(pid).expect("a process id");
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let new = std::ptr::null();
    // SAFETY: the call writes the limit that it is given, and reads none.
    let known = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, new, &raw mut limit) };
    limit.rlim_cur = files;
    let old = std::ptr::null_mut();
    // SAFETY: the call reads the limit that it is given, and writes none.
    let set = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, old) };
    assert_eq!((known, set), (0, 0), "{}", std::io::Error::last_os_error());
}

/// The number of a group whose members may use the socket.
const MAY_CHANGE: u32 = 65_001;
/// The number of one whose members may look.
const MAY_LOOK: u32 = 65_002;

#[test]
fn members_of_a_group_may_use_the_socket_and_those_of_another_only_look() {
    need_root!();
    let groups = [MAY_CHANGE, MAY_LOOK].map(|group| group.to_string());
    let run = ["--socket-group", &groups[0], "--view-group", &groups[1]];
    let wire = Wire::without_peer(Family::V4, "", &run);
    let vtep = |group: u32, args: &str| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "65534", "--clear-groups", "--regid"])
            .arg(group.to_string())
            .arg(binary::vtep())
            .args(args.split(' '))
            .args(["--instance", wire.daemon.instance()]);
        let out = command.output().expect("run setpriv");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        (out.status.code(), said)
    };
    let done = (Some(0), String::new());

    for (group, vni) in [(MAY_CHANGE, 301), (MAY_LOOK, 302), (65_003, 303)] {
        let shown = vtep(group, "vni show");
        let added = vtep(group, &format!("vni add {vni}"));
        match group {
            MAY_CHANGE => assert_eq!((&shown, &added), (&done, &done)),
            MAY_LOOK => {
                assert_eq!(shown, done);
                assert_eq!(added.0, Some(1), "{added:?}");
                assert!(added.1.contains("only shows"), "{added:?}");
            }
            _ => {
                assert_eq!(shown, added);
                assert_eq!(shown.0, Some(1), "{shown:?}");
                assert!(shown.1.contains("not permitted to use"), "{shown:?}");
            }
        }
    }
    assert_eq!(wire.daemon.rows("vni show").len(), 2);
    let watch = vtep(MAY_LOOK, "batch /dev/null");
    assert_eq!(watch.0, Some(1), "{watch:?}");
}

#[test]
fn multicast_groups_leave_files_to_the_operator() {
    need_root!();
    let wire = Wire::without_peer(Family::V4, "", &[]);
    let add = |vni: u32| {
        wire.daemon.ok(&format!(
            "vni add {vni} --mode multicast --group 239.1.1.{}",
            vni - 1000
        ));
    };
    let member = |vni: u32| {
        let maddr = wire.ns.ip_output(&format!("maddr show dev {UPLINK}"));
        maddr.contains(&format!("239.1.1.{}\n", vni - 1000))
    };
    add(1001);
    assert!(member(1001));
    // The socket that there is takes 20 in all. None is opened in addition, since few files are left.
    set_open_files(wire.daemon.pid(), 250);
    for vni in 1002..=1021 {
        add(vni);
    }
    assert!(member(1020) && !member(1021));
    let log = wire.daemon.log();
    assert!(log.contains("Too many open files"), "{log}");
    for _ in 0..100 {
        let mut stream = UnixStream::connect(wire.daemon.socket()).expect("connect to the API");
        // The daemon may have closed it before.
        drop(stream.write_all(HALF));
    }
    assert_eq!(wire.daemon.rows("vni show").len(), 22);

    set_open_files(wire.daemon.pid(), 1024);
    until_true("the group to be joined", || member(1021));
}

#[test]
fn half_requests_do_not_lock_the_operator_out() {
    need_root!();
    let patience = Duration::from_secs(10);
    let wire = Wire::with(Family::V4, "", &["--metrics", METRICS]);
    set_open_files(wire.daemon.pid(), 1024);
    set_open_files(std::process::id(), 4096);

    let (halves, scraped) = wire.ns.run(|| {
        let connect = || {
            let address = METRICS.parse().expect("an address");
            TcpStream::connect_timeout(&address, patience).ok()
        };
        let halves: Vec<TcpStream> = (0..1500)
            .map_while(|_| {
                let mut stream = connect()?;
                // The daemon may have closed it before.
                drop(stream.write_all(HALF));
                Some(stream)
            })
            .collect();
        let scraped = connect().map(|mut stream| {
            stream.set_read_timeout(Some(patience)).expect("a time-out");
            drop(stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n"));
            let mut scraped = String::new();
            drop(stream.read_to_string(&mut scraped));
            scraped
        });
        (halves, scraped)
    });
    let mut at_socket = Vec::new();
    for _ in 0..500 {
        let mut stream = UnixStream::connect(wire.daemon.socket()).expect("connect to the API");
        // The daemon may have closed it before.
        drop(stream.write_all(HALF));
        at_socket.push(stream);
    }

    let mut operator = UnixStream::connect(wire.daemon.socket()).expect("connect to the API");
    operator
        .set_read_timeout(Some(patience))
        .expect("a time-out");
    operator
        .write_all(b"GET /v1/status HTTP/1.0\r\n\r\n")
        .expect("ask the API");
    let mut status = String::new();
    drop(operator.read_to_string(&mut status));

    assert!(status.starts_with("HTTP/1.0 200"), "{status:.200}");
    assert_eq!(halves.len(), 1500);
    let scraped = scraped.expect("a connection to the metrics");
    assert!(scraped.contains("vtep_vnis 1"), "{scraped:.200}");
    drop(at_socket);
}

#[test]
fn without_native_xdp_tc_takes_the_packets_and_the_cause_is_told() {
    need_root!();
    let (ns, far) = (Ns::new("uplink"), Ns::new("far"));
    ns.veth(UPLINK, &far, "far0");
    // A macvlan has no native XDP.
    ns.ip(&format!(
        "link add link {UPLINK} name mv0 type macvlan\nlink set mv0 up\naddr add 198.18.9.1/24 dev mv0\n\
         link add link {UPLINK} name mv1 type macvlan\nlink set mv1 up"
    ));

    let daemon = Daemon::start(&ns, &["--iface", "mv0", "--uplink-hook", "xdp"]);

    let uplink = daemon.status()["uplinks"][0].clone();
    assert_eq!(uplink["hook"], "tc", "{uplink}");
    let why = uplink["why"].as_str().expect("a cause");
    assert!(why.contains("native XDP"), "{why}");
    assert!(daemon.log().contains(why), "{}", daemon.log());
    // Nor has a port any.
    daemon.ok("vni add 100");
    daemon.ok("port add mv1 --vni 100 --hook xdp");
    let log = daemon.log();
    assert!(log.contains("port mv1: tc, because its driver"), "{log}");
    let shown = ns.ip_output("link show");
    assert!(!shown.contains("xdp"), "{shown}");

    // A restart changes nothing, nor takes it for something that somebody did.
    daemon.kill();
    daemon.run();
    until_true("the port to be looked at", || {
        daemon.log().matches("port mv1: tc, because").count() == 2
    });
    assert_eq!(daemon.status()["uplinks"][0]["hook"], "tc");
    assert_eq!(daemon.status()["repairs"], 0);
}
