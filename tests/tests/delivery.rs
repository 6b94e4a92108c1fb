//! What the operator has set at the interface of a port, filters and limits, is honoured, or `port show` says that it is not.

use std::net::UdpSocket;
use std::time::Duration;

use vtep_tests::bpf::dropper::{DROPPED, PASSES, Pinned, dropper, tc, udp};
use vtep_tests::encoder::Mac;
use vtep_tests::lab::ns::{self, Ns};
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{GREEN, Kind, Lab};
use vtep_tests::link::Link as _;
use vtep_tests::link::tap::Tap;
use vtep_tests::traffic::checks::marked;
use vtep_tests::wait::{DEADLINE, poll, until_true};
use vtep_tests::{need_programs, need_root};

/// A MAC behind a second port.
const NEIGHBOUR: Mac = Mac::nth(0x21);
/// A MAC behind a third port.
const OTHER: Mac = Mac::nth(0x22);
fn nft(ns: &Ns, rules: &str) {
    ns::done(ns.command("nft").args(["-f", "-"]), rules);
}

/// A hypervisor with a second port whose frames reach the first.
fn wire(run_args: &[&str]) -> (Wire, Tap) {
    let wire = Wire::with(Family::V4, "", run_args);
    let neighbour = wire.add_port("tap1", &format!("--mac {NEIGHBOUR}"));
    (wire, neighbour)
}

/// What sends a frame.
type Sender<'a> = Box<dyn Fn(&[u8]) + 'a>;

/// A way to the port: where it begins, whom frames are from, and what sends one.
struct Way<'a> {
    what: &'static str,
    from: Mac,
    send: Sender<'a>,
}

/// By the program at the uplink.
fn at_uplink(wire: &Wire) -> Way<'_> {
    Way {
        what: "at the uplink",
        from: FAR_VM,
        send: Box::new(|inner: &[u8]| wire.uplink.send(&wire.tunnelled(GREEN, inner))),
    }
}

/// By the slow-path device, which gets packets with bytes behind them that belong to nothing.
fn by_slow_path(wire: &Wire) -> Way<'_> {
    Way {
        what: "by the slow path",
        from: FAR_VM,
        send: Box::new(|inner: &[u8]| {
            let outer = wire.tunnelled(GREEN, inner);
            wire.uplink.send(&[outer, vec![0; 4]].concat());
        }),
    }
}

/// From a guest of the same host.
fn from_guest(guest: &Tap, from: Mac) -> Way<'_> {
    Way {
        what: "from another port",
        from,
        send: Box::new(|inner: &[u8]| guest.send(inner)),
    }
}

/// Every way to the port.
fn ways<'a>(wire: &'a Wire, neighbour: &'a Tap) -> [Way<'a>; 3] {
    [
        at_uplink(wire),
        by_slow_path(wire),
        from_guest(neighbour, NEIGHBOUR),
    ]
}

/// Whether a filter drops what comes to the port by a way: of two frames, only the second arrives.
#[track_caller]
fn is_filtered(port: &Tap, way: &Way<'_>, mark: u32) -> bool {
    let Way { what, from, send } = way;
    let [first, fence] = [DROPPED, PASSES].map(|to| udp(*from, VM, to, mark));
    send(&first);
    send(&fence);
    let seen = port.collect(DEADLINE, |seen| seen.last() == Some(&fence));
    assert_eq!(seen.last(), Some(&fence), "nothing arrives {what}");
    !seen.contains(&first)
}

/// The row of a port.
fn row(wire: &Wire, dev: &str) -> serde_json::Value {
    let rows = wire.daemon.rows(&format!("port show {dev}"));
    rows.into_iter().next().expect("a row")
}

fn delivery(wire: &Wire) -> String {
    row(wire, PORT)["delivery"]
        .as_str()
        .expect("a word")
        .to_owned()
}

fn bypasses(wire: &Wire, dev: &str) -> Vec<String> {
    let row = row(wire, dev);
    let sentences = row["bypasses"].as_array().expect("a list").iter();
    let sentences = sentences.map(|it| it.as_str().expect("a sentence").to_owned());
    sentences.collect()
}

/// Insists on one sentence, with these words.
#[track_caller]
fn bypasses_one(wire: &Wire, words: &[&str]) {
    let got = bypasses(wire, PORT);
    let fits = got.len() == 1 && words.iter().all(|word| got[0].contains(word));
    assert!(fits, "not one sentence with {words:?} but {got:#?}");
}

fn counted(wire: &Wire, hook: &str, reason: &str) -> u64 {
    let rows = wire.daemon.rows("stats");
    let of = rows
        .iter()
        .filter(|row| row["hook"] == hook && row["reason"] == reason);
    of.filter_map(|row| row["packets"].as_u64()).sum()
}

#[test]
fn an_egress_filter_sees_what_goes_to_a_port_by_every_way() {
    need_root!();
    let pinned = Pinned::new();
    for hook in ["xdp", "tc"] {
        let (wire, neighbour) = wire(&["--uplink-hook", hook]);
        tc(&wire.ns, &format!("qdisc add dev {PORT} clsact"));
        // A qdisc without filters is no filter.
        assert_eq!(delivery(&wire), "xdp");
        pinned.hang(&wire.ns, PORT, "egress", 7);
        assert_eq!(delivery(&wire), "qdisc", "{hook}");
        assert_eq!(bypasses(&wire, PORT), [""; 0]);
        let ways = ways(&wire, &neighbour);
        for (mark, way) in (1..).zip(&ways) {
            assert!(is_filtered(&wire.port, way, mark), "{hook}: {}", way.what);
        }

        // The fast way passes it by, where there is one, and says so.
        wire.daemon.ok(&format!("port set {PORT} --delivery fast"));
        assert_eq!(delivery(&wire), "xdp");
        bypasses_one(
            &wire,
            &["XDP", "egress filter bpf (pref 7)", "--delivery auto"],
        );
        assert_eq!(!is_filtered(&wire.port, &ways[0], 11), hook == "xdp");
        // With `qdisc` it does not depend on what there is.
        wire.daemon.ok(&format!("port set {PORT} --delivery qdisc"));
        assert_eq!(delivery(&wire), "qdisc");
        for (mark, way) in (21..).zip(&ways) {
            assert!(is_filtered(&wire.port, way, mark), "{hook}: {}", way.what);
        }
    }
}

#[test]
fn what_xdp_leaves_to_the_queue_is_counted_once() {
    need_root!();
    let (wire, _neighbour) = wire(&["--uplink-hook", "xdp"]);
    wire.daemon.ok(&format!("port set {PORT} --delivery qdisc"));
    let inner = marked(FAR_VM, VM, 1).build();
    let count = || {
        [
            counted(&wire, "uplink_xdp", "left_to_tc"),
            counted(&wire, "uplink_xdp", "decapsulated"),
            counted(&wire, "uplink", "decapsulated"),
            counted(&wire, "tunnel", "decapsulated"),
        ]
    };
    let before = count();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
    let after = count();
    let more: Vec<_> = before.iter().zip(after).map(|(a, b)| b - a).collect();
    assert_eq!(more, [1, 0, 1, 0]);
}

#[test]
fn auto_follows_a_filter_that_comes_and_goes_and_asks_nobody() {
    need_root!();
    let pinned = Pinned::new();
    let (wire, neighbour) = wire(&["--uplink-hook", "xdp"]);
    let ways = ways(&wire, &neighbour);
    assert!(!is_filtered(&wire.port, &ways[0], 1));
    tc(&wire.ns, &format!("qdisc add dev {PORT} clsact"));
    pinned.hang(&wire.ns, PORT, "egress", 7);
    let mut mark = 1;
    let mut becomes = |filtered: bool| {
        let within = Duration::from_secs(1);
        let followed = poll(within, || {
            mark += 1;
            (is_filtered(&wire.port, &ways[0], mark) == filtered).then_some(())
        });
        assert!(
            followed.is_some(),
            "not filtered: {filtered}, within a second"
        );
    };
    becomes(true);
    // By XDP again.
    let by_xdp = || counted(&wire, "uplink_xdp", "decapsulated");
    let before = by_xdp();
    assert_eq!(by_xdp(), before);
    tc(&wire.ns, &format!("filter del dev {PORT} egress"));
    becomes(false);
    until_true("frames to go by XDP again", || {
        is_filtered(&wire.port, &ways[0], 1_000);
        by_xdp() > before
    });
    // A queueing discipline likewise.
    tc(
        &wire.ns,
        &format!("qdisc add dev {PORT} root pfifo limit 100"),
    );
    until_true("frames to pass the queue", || {
        let before = by_xdp();
        is_filtered(&wire.port, &ways[0], 2_000);
        by_xdp() == before
    });
    tc(&wire.ns, &format!("qdisc del dev {PORT} root"));
    until_true("frames to go by XDP once more", || {
        let before = by_xdp();
        is_filtered(&wire.port, &ways[0], 3_000);
        by_xdp() > before
    });
}

#[test]
fn a_root_qdisc_limits_what_goes_to_a_port() {
    need_root!();
    let frames = 50;
    for hook in ["xdp", "tc"] {
        let (wire, _neighbour) = wire(&["--uplink-hook", hook]);
        tc(
            &wire.ns,
            &format!("qdisc add dev {PORT} root tbf rate 8kbit burst 2kb limit 3kb"),
        );
        assert_eq!(delivery(&wire), "qdisc");
        let send = |from: u32| {
            for mark in from..from + frames {
                let inner = marked(FAR_VM, VM, mark).bytes(&[0; 900]).build();
                wire.uplink.send(&wire.tunnelled(GREEN, &inner));
            }
        };
        let before = counted(&wire, "uplink", "decapsulated");
        send(0);
        until_true("all frames to be dealt with", || {
            counted(&wire, "uplink", "decapsulated") + counted(&wire, "uplink", "redirect")
                >= before + u64::from(frames)
        });
        let came = wire.port.collect(Duration::ZERO, |_| false).len();
        assert!((1..10).contains(&came), "{hook}: {came} of {frames} came");

        wire.daemon.ok(&format!("port set {PORT} --delivery fast"));
        bypasses_one(
            &wire,
            &["XDP", "queueing discipline tbf", "--delivery auto"],
        );
        if hook == "xdp" {
            send(100);
            let last = marked(FAR_VM, VM, 149).bytes(&[0; 900]).build();
            let came = wire
                .port
                .collect(DEADLINE, |seen| seen.last() == Some(&last));
            assert!(came.len() >= 50, "{} of {frames} came", came.len());
        }
    }
}

#[test]
fn a_port_whose_other_end_is_in_another_namespace_passes_its_queue_too() {
    need_root!();
    let flat = Underlay {
        family: Family::V4,
        topology: Topology::Flat,
    };
    let lab = Lab::green(flat, &[Kind::Vtep; 2]);
    let (a, b) = lab.pair();
    let c = lab.vm(1, 3, GREEN);
    lab.teach(GREEN, &c);
    let here = &lab.hypervisors[1];
    let pinned = Pinned::new();
    tc(&here.ns, &format!("qdisc add dev {} clsact", b.port));
    pinned.hang(&here.ns, &b.port, "egress", 7);
    let sockets = [DROPPED, PASSES].map(|port| {
        let socket = b.ns.run(|| UdpSocket::bind((b.v4, port)).expect("bind"));
        socket.set_nonblocking(true).expect("set nonblocking");
        socket
    });
    let arrived = |socket: &UdpSocket| socket.recv(&mut [0; 64]).is_ok();
    let is_filtered = |from: &Ns| {
        let sender = from.run(|| UdpSocket::bind("0.0.0.0:0").expect("bind"));
        let mut came = false;
        until_true("a packet to arrive that no filter drops", || {
            for port in [DROPPED, PASSES] {
                sender.send_to(b"hello", (b.v4, port)).expect("send");
            }
            came |= arrived(&sockets[0]);
            arrived(&sockets[1])
        });
        until_true("what is on its way to have arrived", || {
            came |= arrived(&sockets[0]);
            !arrived(&sockets[1])
        });
        !came
    };
    let port_row = || {
        let rows = here.daemon().rows(&format!("port show {}", b.port));
        (rows[0]["delivery"].clone(), rows[0]["bypasses"].to_string())
    };
    assert_eq!(port_row(), ("qdisc".into(), "[]".into()));
    for (what, from) in [("from a VTEP", &a.ns), ("from another port", &c.ns)] {
        assert!(is_filtered(from), "{what}");
    }
    here.daemon()
        .ok(&format!("port set {} --delivery fast", b.port));
    let (delivery, said) = port_row();
    assert_eq!(delivery, "tc");
    assert!(said.contains("redirect_peer"), "{said}");
    for (what, from) in [("from a VTEP", &a.ns), ("from another port", &c.ns)] {
        assert!(!is_filtered(from), "{what}");
    }
}

#[test]
fn a_program_before_ours_sees_what_comes_from_a_port_and_one_behind_it_is_named() {
    need_root!();
    let (wire, _neighbour) = wire(&[]);
    let filtered = wire.tap("tap2");
    let _before = dropper().attach(&wire.ns, "tap2");
    wire.daemon
        .ok(&format!("port add tap2 --vni {GREEN} --mac {OTHER}"));
    assert_eq!(bypasses(&wire, "tap2"), [""; 0]);
    assert!(is_filtered(&wire.port, &from_guest(&filtered, OTHER), 1));
    // XDP takes some of its frames before any of that.
    wire.daemon.ok("port set tap2 --hook xdp");
    let said = bypasses(&wire, "tap2");
    assert!(said.len() == 1 && said[0].contains("--hook tc"), "{said:?}");

    let program = dropper();
    let behind = program.attach(&wire.ns, PORT);
    bypasses_one(&wire, &["the tcx ingress program", "vtep takes them first"]);
    drop(behind);
    assert_eq!(bypasses(&wire, PORT), [""; 0]);
    // Nobody is told of a program by tcx: it is looked for whenever the ports are looked at.
    let egress = program.attach_egress(&wire.ns, PORT);
    assert_eq!(delivery(&wire), "qdisc");
    assert!(is_filtered(&wire.port, &at_uplink(&wire), 2));
    drop(egress);
    assert_eq!(delivery(&wire), "xdp");
}

#[test]
fn an_ingress_filter_behind_ours_is_named_and_the_log_says_so_at_port_add() {
    need_root!();
    let pinned = Pinned::new();
    let (wire, _neighbour) = wire(&[]);
    let tap = wire.tap("tap3");
    tc(&wire.ns, "qdisc add dev tap3 clsact");
    pinned.hang(&wire.ns, "tap3", "ingress", 9);
    wire.daemon.ok(&format!("port add tap3 --vni {GREEN}"));
    let said = bypasses(&wire, "tap3");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("ingress filter bpf (pref 9)"), "{said:?}");
    assert!(
        wire.daemon.log().contains(&said[0]),
        "{}",
        wire.daemon.log()
    );
    drop(tap);

    // One that comes later is named in the log without a question.
    tc(&wire.ns, &format!("qdisc add dev {PORT} clsact"));
    pinned.hang(&wire.ns, PORT, "ingress", 11);
    until_true("the log to name the filter", || {
        wire.daemon.log().contains("ingress filter bpf (pref 11)")
    });
}

#[test]
fn netfilters_hooks_at_a_port_see_nothing_and_are_named() {
    need_root!();
    need_programs!(["nft"]);
    let (wire, neighbour) = wire(&["--uplink-hook", "xdp"]);
    let ways = ways(&wire, &neighbour);
    let mut mark = 0;
    for (side, reaches) in [
        ("ingress", "vtep takes them first"),
        ("egress", "the kernel skips it"),
    ] {
        nft(
            &wire.ns,
            &format!(
                "table netdev guests {{
                     chain {side}s {{ type filter hook {side} device {PORT} priority 0; policy drop; }}
                 }}"
            ),
        );
        let hook = format!("netfilter's {side} hook");
        let chain = format!("netdev guests {side}s");
        bypasses_one(&wire, &[&hook, &chain, reaches]);
        // Nor does the queue change that.
        for delivery in ["auto", "qdisc"] {
            wire.daemon
                .ok(&format!("port set {PORT} --delivery {delivery}"));
            for way in &ways {
                mark += 1;
                assert!(!is_filtered(&wire.port, way, mark), "{side}: {}", way.what);
            }
            mark += 1;
            wire.encap(&marked(VM, FAR_VM, mark).build());
            bypasses_one(&wire, &[&hook, &chain, reaches]);
        }
        nft(&wire.ns, "delete table netdev guests");
        assert_eq!(bypasses(&wire, PORT), [""; 0]);
    }
}

#[test]
fn what_a_bridge_and_its_filters_would_do_is_not_asked() {
    need_root!();
    need_programs!(["nft"]);
    let (wire, _neighbour) = wire(&[]);
    wire.ns.ip(&format!(
        "link add br0 type bridge
         link set br0 up
         link set {PORT} master br0"
    ));
    nft(
        &wire.ns,
        "table bridge guests {
             chain first { type filter hook prerouting priority -300; policy drop; }
             chain on { type filter hook forward priority 0; policy drop; }
             chain last { type filter hook output priority 0; policy drop; }
         }",
    );
    assert_eq!(bypasses(&wire, PORT), [""; 0]);
    wire.encap(&marked(VM, FAR_VM, 1).build());
    let inner = marked(FAR_VM, VM, 2).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
}

#[test]
fn the_setting_is_dumped_kept_and_told_by_the_api() {
    need_root!();
    let (wire, _neighbour) = wire(&[]);
    assert_eq!(row(&wire, PORT)["delivery_wanted"], "auto");
    for wanted in ["qdisc", "fast"] {
        wire.daemon
            .ok(&format!("port set {PORT} --delivery {wanted}"));
        let dumped = wire.daemon.printed("dump");
        assert!(dumped.contains(&format!("--delivery {wanted}")), "{dumped}");
        wire.daemon.kill();
        wire.daemon.run();
        assert_eq!(row(&wire, PORT)["delivery_wanted"], wanted);
        assert_eq!(wire.daemon.printed("dump"), dumped);
    }
    wire.daemon.ok("port del tap1");
    wire.daemon
        .ok(&format!("port add tap1 --vni {GREEN} --delivery qdisc"));
    assert_eq!(row(&wire, "tap1")["delivery_wanted"], "qdisc");
    wire.daemon.ok(&format!("port replace tap1 --vni {GREEN}"));
    assert_eq!(row(&wire, "tap1")["delivery_wanted"], "auto");
}

#[test]
fn a_daemon_that_starts_finds_what_was_set_while_there_was_none() {
    need_root!();
    let pinned = Pinned::new();
    let (wire, neighbour) = wire(&["--uplink-hook", "xdp"]);
    wire.daemon.kill();
    tc(&wire.ns, &format!("qdisc add dev {PORT} clsact"));
    pinned.hang(&wire.ns, PORT, "egress", 7);
    wire.daemon.run();
    for (mark, way) in (1..).zip(&ways(&wire, &neighbour)) {
        assert!(is_filtered(&wire.port, way, mark), "{}", way.what);
    }
}
