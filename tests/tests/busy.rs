//! The daemon answers and learns, whatever else it has to do.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use vtep_tests::daemon::binary;
use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::GREEN;
use vtep_tests::lab::busy::{Waits, add_vteps, change_other_routes, load, ports, waits_during};
use vtep_tests::lab::ns::unique;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, VM, Wire};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::wait::{DEADLINE, until_true};

/// How long an answer, or learning a MAC, may take at most. The goals are a fifth of it and less: `cargo xtask bench` measures
/// them. Here others may need the processors too.
const PATIENCE: Duration = Duration::from_millis(500);

/// Ports of one batch, and of one VNI.
const PORTS: u32 = 100;

#[track_caller]
fn nobody_waited(waits: &Waits) {
    println!("{waits:?}");
    assert!(
        waits.answer < PATIENCE && waits.learned < PATIENCE,
        "{waits:?}"
    );
}

#[test]
fn changes_of_other_routes_keep_nobody_waiting() {
    need_root!();
    let wire = Wire::new(Family::V4);
    add_vteps(&wire, 4000);

    let waits = waits_during(&wire, 0, || change_other_routes(&wire, 600));

    nobody_waited(&waits);
}

#[test]
fn many_ports_keep_nobody_waiting_while_they_come_and_go() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.daemon.ok("vni add 7");
    let batch = ports(&wire, PORTS, 7);

    let waits = waits_during(&wire, 0, || load(&wire, &batch));

    nobody_waited(&waits);
    let rows = wire.daemon.rows("port show");
    assert_eq!(rows.len(), PORTS as usize + 1);

    let waits = waits_during(&wire, 1 << 16, || {
        wire.daemon.ok("vni del 7 --force --timeout 120");
    });

    nobody_waited(&waits);
    assert_eq!(wire.daemon.rows("port show").len(), 1);
    let links = fs::read_dir(wire.daemon.pins().join("links")).expect("the links");
    let of_ports = links
        .map(|link| link.expect("a link").file_name())
        .filter(|name| name.to_string_lossy().starts_with("tc_port"));
    assert_eq!(of_ports.count(), 1, "detached when the answer came");
}

#[test]
fn ports_with_xdp_keep_nobody_waiting() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.daemon.ok("vni add 7");
    let batch = ports(&wire, 50, 7).replace('\n', " --hook xdp\n");

    let waits = waits_during(&wire, 0, || load(&wire, &batch));

    nobody_waited(&waits);
    let rows = wire.daemon.rows("port show");
    let with_xdp = rows.iter().filter(|row| row["hook"] == "xdp");
    assert_eq!(with_xdp.count(), 50);
    assert!(wire.ns.ip_output("link show t0").contains("xdp"));
}

/// A file that goes with the test.
struct TempFile(PathBuf);

impl Drop for TempFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

#[test]
fn a_configuration_of_many_entries_keeps_nobody_waiting() {
    const ENTRIES: u32 = 200_000;
    need_root!();
    let wire = Wire::new(Family::V4);
    let file = TempFile(std::env::temp_dir().join(unique("many")));
    let path = &file.0;
    let write = |dst: u32| {
        let mut text = String::from("vni add 7\n");
        for number in 0..ENTRIES {
            let [_, a, b, c] = number.to_be_bytes();
            let dst = if number == 9 { dst } else { 2 };
            writeln!(
                text,
                "fdb add 02:00:00:{a:02x}:{b:02x}:{c:02x} --vni 7 --dst 198.18.0.{dst}"
            )
            .expect("room");
        }
        fs::write(path, text).expect("write the file");
    };
    let apply = format!("apply {} --timeout 120", path.display());
    write(2);
    wire.daemon.ok(&apply);
    write(3);
    let mut done = String::new();

    let waits = waits_during(&wire, 0, || done = wire.daemon.ok(&apply));

    nobody_waited(&waits);
    let changed = "~ fdb replace 02:00:00:00:00:09 --vni 7 --dst 198.18.0.3";
    assert_eq!(done.trim(), changed);
    assert_eq!(wire.daemon.rows("vni show 7").len(), 1);
}

#[test]
fn a_batch_of_ports_ends_at_the_one_that_is_refused() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.daemon.ok("vni add 7");
    let batch = ports(&wire, 6, 7).replace("t3", "missing");

    let refused = wire.daemon.vtep_input("batch - --timeout 120", &batch);

    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(
        said.contains("4: interface missing does not exist"),
        "{said}"
    );
    let rows = wire.daemon.rows("port show");
    let devs: Vec<&str> = rows.iter().filter_map(|row| row["dev"].as_str()).collect();
    assert_eq!(devs, ["t0", "t1", "t2", "vm0"]);
}

#[test]
fn a_batch_ends_when_its_client_is_gone() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.daemon.ok("vni add 7");
    let batch = ports(&wire, PORTS, 7);
    let there = || wire.daemon.rows("port show").len();
    let mut client = Command::new(binary::vtep());
    client
        .args(["batch", "-", "--instance", wire.daemon.instance()])
        .stdin(Stdio::piped());
    let mut client = client.spawn().expect("start the client");
    let mut lines = client.stdin.take().expect("its input");
    std::io::Write::write_all(&mut lines, batch.as_bytes()).expect("send the batch");
    drop(lines);
    until_true("the first ports to be there", || there() > 3);

    client.kill().expect("kill the client");
    client.wait().expect("its end");

    until_true("the daemon to leave the rest", || {
        wire.daemon.log().contains("because the client is gone")
    });
    let left = there();
    assert!(left < PORTS as usize, "{left} ports");
    wire.daemon.ok("vni del 7 --force --timeout 120");
    assert_eq!(there(), 1);
}

/// Whether a packet over IPv4 is VXLAN of the VNI 7.
fn is_of_vni_7(packet: &[u8]) -> bool {
    packet.get(36..38) == Some(&4789_u16.to_be_bytes()) && packet.get(46..49) == Some(&[0, 0, 7])
}

#[test]
fn one_vm_with_many_macs_does_not_delay_anothers_announcement() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let router = wire.far_ip;
    wire.ns.ip(&format!("route add 10.0.0.0/8 via {router}"));
    let mut batch = String::from("vni add 7\n");
    for vtep in 1..=64 {
        writeln!(
            batch,
            "fdb append {} --vni {GREEN} --dst 10.0.0.{vtep}",
            Mac::ZERO
        )
        .expect("a line");
    }
    writeln!(batch, "fdb append {} --vni 7 --dst {router}", Mac::ZERO).expect("a line");
    load(&wire, &batch);
    let _tap = wire.tap("t0");

    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let packets = wire.uplink.collect(DEADLINE, |packets| {
                packets.last().is_some_and(|packet| is_of_vni_7(packet))
            });
            (packets.len(), Instant::now())
        });
        for number in 0..256_u16 {
            let [high, low] = number.to_be_bytes();
            let mut frame = udp4(VM, FAR_VM).build();
            frame[6..12].copy_from_slice(&[2, 2, 0, 0, high, low]);
            wire.port.send(&frame);
        }
        until_true("its MACs to be learned", || wire.daemon.fdb_len() > 256);

        let start = Instant::now();
        let host = Mac::nth(0x77);
        wire.daemon.ok(&format!("port add t0 --vni 7 --mac {host}"));

        let (packets, when) = reader.join().expect("the packets");
        let took = when.duration_since(start);
        println!("{took:?}, after {packets} packets");
        assert!(took < Duration::from_secs(1), "{took:?}");
    });
}
