//! Drops by owner: which VNI, port and VTEP a dropped frame counts for, and that only those that exist have rows.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use vtep_common::abi::drops::DropKey;
use vtep_tests::bpf::map::MapDump;
use vtep_tests::daemon::refusal::refused;
use vtep_tests::daemon::samples::sum;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{BLUE, GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::wait;

/// Why frames were dropped, and how many: by hook and reason.
type Drops = BTreeMap<(String, String), u64>;

/// What `vtep drops` has, with these options.
fn drops(wire: &Wire, options: &str) -> Drops {
    let rows = wire.daemon.rows(&format!("drops {options}"));
    by_reason(rows.iter())
}

/// What of `vtep stats` with these options is dropped.
fn stats(wire: &Wire, options: &str) -> Drops {
    let rows = wire.daemon.rows(&format!("stats {options}"));
    by_reason(rows.iter().filter(|row| !row["hook"].is_null()))
}

fn by_reason<'a>(rows: impl Iterator<Item = &'a Value>) -> Drops {
    let text = |row: &Value, key| row[key].as_str().unwrap().to_owned();
    let rows = rows.map(|row| {
        let packets = row["packets"].as_u64().unwrap();
        ((text(row, "hook"), text(row, "reason")), packets)
    });
    rows.collect()
}

/// One row.
fn row(hook: &str, reason: &str, packets: u64) -> Drops {
    [((hook.to_owned(), reason.to_owned()), packets)].into()
}

/// A frame that no port may send, and no VTEP.
fn from_group(to: Mac) -> Vec<u8> {
    eth(Mac::BROADCAST, to)
        .ethertype(0x88b6)
        .payload(1, 60)
        .build()
}

/// A port `tap1` in a VNI of its own.
fn with_blue_port(wire: &Wire) -> vtep_tests::link::tap::Tap {
    let tap = wire.tap("tap1");
    wire.daemon.ok(&format!("vni add {BLUE}"));
    wire.daemon.ok(&format!("port add tap1 --vni {BLUE}"));
    tap
}

/// The rows in the kernel, by key.
fn rows_in_kernel(wire: &Wire) -> usize {
    MapDump::read(&wire.daemon.pins().join("DROPS"))
        .entries
        .len()
}

#[test]
fn a_dropped_frame_counts_for_its_port_its_vni_and_its_vtep_and_for_no_other() {
    need_root!();
    let wire = Wire::with(Family::V4, "", &["--uplink-hook", "tc"]);
    let blue = with_blue_port(&wire);
    let peer = format!("--peer {}", wire.far_ip);
    let (green_vni, blue_vni) = (format!("--vni {GREEN}"), format!("--vni {BLUE}"));

    for _ in 0..3 {
        wire.refuses_from_vm(&from_group(FAR_VM), "invalid_source_mac");
    }
    blue.send(&udp4(VM, Mac::BROADCAST).build());
    wire.daemon.expect_dropped("nowhere_to_flood", 1);
    let sent = from_group(VM);
    wire.refuses(&wire.tunnelled(GREEN, &sent), "invalid_source_mac");

    let from_port = row("port", "invalid_source_mac", 3);
    let from_blue = row("port", "nowhere_to_flood", 1);
    let from_peer = row("uplink", "invalid_source_mac", 1);
    let of_green: Drops = from_port
        .clone()
        .into_iter()
        .chain(from_peer.clone())
        .collect();
    for (options, want) in [
        (&*format!("--dev {PORT}"), &from_port),
        ("--dev tap1", &from_blue),
        (&*peer, &from_peer),
        (&*green_vni, &of_green),
        (&*blue_vni, &from_blue),
    ] {
        assert_eq!(drops(&wire, options), *want, "{options}");
        assert_eq!(stats(&wire, options), *want, "{options}");
    }
    // The row of one owner is as every row is.
    let rows = wire.daemon.rows(&format!("drops --dev {PORT}"));
    let bytes = 3 * u64::try_from(from_group(FAR_VM).len()).unwrap();
    let meaning = "The inner source MAC is zero or a group address.";
    assert_eq!(
        rows,
        [json!({
            "hook": "port", "reason": "invalid_source_mac", "packets": 3, "bytes": bytes, "meaning": meaning,
        })]
    );
    let rows = wire.daemon.rows(&format!("stats --dev {PORT}"));
    assert_eq!(
        rows,
        [json!({
            "hook": "port", "reason": "invalid_source_mac", "vni": null, "dev": PORT, "peer": null, "packets": 3, "bytes": bytes,
        })]
    );
    // Among all counters, each frame is there once by its reason.
    let all = wire.daemon.rows("stats");
    let of_reason = all
        .iter()
        .filter(|row| row["reason"] == "invalid_source_mac");
    let packets = of_reason.map(|row| row["packets"].as_u64().unwrap());
    assert_eq!(packets.sum::<u64>(), 4);
}

#[test]
fn what_does_not_exist_has_no_drops() {
    need_root!();
    let wire = Wire::new(Family::V4);
    for (args, needles) in [
        ("drops --vni 999", &["vni 999"][..]),
        ("drops --dev nope", &["nope", "vtep port show"]),
        ("drops --peer 198.18.0.9", &["198.18.0.9"]),
        (
            &format!("drops --dev {UPLINK}"),
            &[UPLINK, "is an uplink", "vtep drops"],
        ),
    ] {
        refused(&wire.daemon, args, 1, needles);
    }
}

#[test]
fn ten_thousand_unknown_vnis_and_vteps_grow_no_row() {
    need_root!();
    let wire = Wire::with(Family::V4, "", &["--uplink-hook", "tc"]);
    let inner = udp4(FAR_VM, VM).build();
    let own = match wire.ip {
        std::net::IpAddr::V4(ip) => ip,
        std::net::IpAddr::V6(ip) => panic!("{ip}"),
    };
    let nobody = DropKey::of_nobody().count();
    assert_eq!(rows_in_kernel(&wire), nobody);

    let mut sent = 0;
    for vni in 10_000..20_000_u32 {
        // Every frame from another VTEP.
        let [_, _, high, low] = vni.to_be_bytes();
        let from = std::net::Ipv4Addr::new(198, 18, high, low);
        let frame = eth(FAR_MAC, wire.mac)
            .ipv4(from, own)
            .udp_unchecked(55_555, 4789)
            .vxlan(vni)
            .bytes(&inner);
        wire.uplink.send(&frame.build());
        sent += 1;
        // No more at once than a queue holds.
        if sent % 250 == 0 {
            wire.daemon.expect_dropped("unknown_vni", sent);
        }
    }

    assert_eq!(rows_in_kernel(&wire), nobody);
    let metrics = wire.daemon.metrics();
    for family in [
        "vtep_vni_dropped_packets_total",
        "vtep_port_dropped_packets_total",
        "vtep_peer_dropped_packets_total",
    ] {
        let of = |labels: &[&str]| sum(&metrics, family, labels);
        assert_eq!(of(&["hook=\"uplink\",reason=\"unknown_vni\""]), 10_000);
        assert_eq!(of(&["=\"\"", "reason=\"unknown_vni\""]), 10_000, "{family}");
        let samples = metrics
            .lines()
            .filter(|line| line.starts_with(family) && line.contains("unknown_vni"));
        assert_eq!(samples.count(), 1, "{family}");
    }
}

#[test]
fn a_frame_counts_once_in_the_sum_of_each_kind_of_owner() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let blue = with_blue_port(&wire);
    // One that is known, one that is not, and a copy that is lost of a flood that is not.
    wire.refuses_from_vm(&from_group(FAR_VM), "invalid_source_mac");
    blue.send(&udp4(VM, Mac::BROADCAST).build());
    wire.daemon.expect_dropped("nowhere_to_flood", 1);
    wire.refuses(&wire.tunnelled(999, &from_group(VM)), "unknown_vni");
    wire.refuses(
        &wire.tunnelled(GREEN, &from_group(VM)),
        "invalid_source_mac",
    );
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    let long = eth(VM, Mac::BROADCAST)
        .ethertype(0x88b6)
        .payload(1, 1490)
        .build();
    wire.port.send(&long);
    wire.daemon.expect_dropped("copy_lost", 1);

    let metrics = wire.daemon.metrics();

    for unit in ["packets", "bytes"] {
        let of = |family: &str, labels: &[&str]| {
            sum(&metrics, &format!("vtep_{family}_{unit}_total"), labels)
        };
        let family = |class| sum(&metrics, &format!("vtep_{unit}_total"), &[class]);
        let want =
            family("class=\"dropped\"") + family("class=\"aborted\"") + of("copies_lost", &[]);
        assert!(want >= 5, "{want} {unit}");
        for kind in ["vni_dropped", "port_dropped", "peer_dropped"] {
            assert_eq!(of(kind, &[]), want, "{kind} {unit}");
        }
        assert!(of("vni_dropped", &[&format!("vni=\"{GREEN}\"")]) >= 3);
        let lost = format!(
            "peer=\"{}\",hook=\"port\",reason=\"copy_lost\"",
            wire.far_ip
        );
        assert!(of("peer_dropped", &[&lost]) >= 1, "{metrics}");
    }
}

#[test]
fn rows_outlive_the_daemon_and_go_with_their_owner() {
    need_root!();
    let wire = Wire::with(Family::V4, "", &["--uplink-hook", "tc"]);
    let blue = with_blue_port(&wire);
    let nobody = DropKey::of_nobody().count();
    let flood = udp4(VM, Mac::BROADCAST).build();
    blue.send(&flood);
    wire.daemon.expect_dropped("nowhere_to_flood", 1);

    wire.daemon.kill();
    // The programs count on without one.
    blue.send(&flood);
    wire.daemon.run();

    let blue_vni = format!("--vni {BLUE}");
    wire.daemon.expect_dropped("nowhere_to_flood", 2);
    let want = row("port", "nowhere_to_flood", 2);
    assert_eq!(drops(&wire, "--dev tap1"), want);
    assert_eq!(drops(&wire, &blue_vni), want);
    assert_eq!(rows_in_kernel(&wire), nobody + 2);

    // Whoever gets its number next has dropped nothing.
    wire.daemon.ok("port del tap1");
    wire.daemon.ok(&format!("port add tap1 --vni {BLUE}"));
    assert_eq!(drops(&wire, "--dev tap1"), Drops::new());
    assert_eq!(drops(&wire, &blue_vni), want);
    wait::until_true("the port's row to be gone", || {
        rows_in_kernel(&wire) == nobody + 1
    });
    wire.daemon.ok("port del tap1");
    wire.daemon.ok(&format!("vni del {BLUE}"));
    wire.daemon.ok(&format!("vni add {BLUE}"));
    assert_eq!(drops(&wire, &blue_vni), Drops::new());
    // And what nobody takes the place of goes by itself.
    wire.daemon.ok(&format!("port add tap1 --vni {BLUE}"));
    blue.send(&flood);
    wire.daemon.expect_dropped("nowhere_to_flood", 3);
    wire.daemon.ok(&format!("vni del {BLUE} --force"));
    wait::until_true("the rows to be gone", || rows_in_kernel(&wire) == nobody);
    // What all have dropped stays.
    assert_eq!(drops(&wire, ""), row("port", "nowhere_to_flood", 3));
}

#[test]
fn a_daemon_makes_the_rows_beside_pins_that_have_none() {
    need_root!();
    let wire = Wire::with(Family::V4, "", &["--uplink-hook", "tc"]);
    let path = wire.daemon.pins().join("DROPS");
    wire.refuses_from_vm(&from_group(FAR_VM), "invalid_source_mac");
    let nobody = DropKey::of_nobody().count();
    assert_eq!(rows_in_kernel(&wire), nobody + 2);
    wire.daemon.kill();

    // As an earlier build leaves them: without the map.
    fs::remove_file(&path).unwrap();
    wire.daemon.run();

    assert_eq!(rows_in_kernel(&wire), nobody);
    assert_eq!(drops(&wire, &format!("--dev {PORT}")), Drops::new());
    wire.refuses_from_vm(&from_group(FAR_VM), "invalid_source_mac");
    let one = row("port", "invalid_source_mac", 1);
    assert_eq!(drops(&wire, &format!("--dev {PORT}")), one);
}
