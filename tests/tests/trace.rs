//! `vtep trace`: what it says becomes of a frame is what becomes of it, and nothing else happens.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use vtep_tests::daemon::refusal::{refused, text};
use vtep_tests::encoder::inner::v4;
use vtep_tests::encoder::{Frame, Mac, eth};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{BLUE, GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::traffic::checks::marked;
use vtep_tests::wait::until_true;

over_each_family! {
    a_frame_for_a_remote_vm_is_told_to_the_bytes_of_its_outer_header,
    an_unknown_mac_is_flooded_to_the_vteps_and_ports_of_the_list,
    a_packet_in_an_unknown_vni_is_told_at_the_uplink,
    a_packet_for_a_vm_here_is_told_through_every_hook,
    what_the_slow_path_device_hands_on_is_counted_and_delivered_as_traced,
    a_frame_in_a_wrong_vlan_is_told_to_be_dropped,
    a_frame_that_is_too_big_is_told_with_the_numbers,
    a_host_is_found_by_its_ip,
    nothing_is_sent_counted_learned_or_spent,
    every_frame_of_a_capture_is_traced,
    what_was_traced_before_a_bad_frame_is_whole,
    an_uplink_that_is_waited_for_is_named_as_that,
    what_cannot_be_traced_is_refused_with_what_to_type,
}

fn hex(frame: &[u8]) -> String {
    let digits = |byte: &u8| {
        [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).expect("below 16"))
    };
    frame.iter().flat_map(digits).collect()
}

/// A capture of these frames, as tcpdump would write it.
fn capture(wire: &Wire, frames: &[&Vec<u8>]) -> PathBuf {
    let mut bytes = Vec::new();
    let mut add = |words: &[u32], frame: &[u8]| {
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(frame);
    };
    add(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1], &[]);
    for frame in frames {
        let len = u32::try_from(frame.len()).unwrap();
        add(&[0, 0, len, len], frame);
    }
    let file = std::env::temp_dir().join(format!("{}.pcap", wire.daemon.instance()));
    fs::write(&file, bytes).unwrap();
    file
}

/// The rows of a trace.
fn trace(wire: &Wire, args: &str) -> Vec<Value> {
    let rows = wire.daemon.rows(&format!("trace {args}"));
    assert!(!rows.is_empty(), "trace {args}");
    rows
}

/// The last row: what becomes of the frame.
fn verdict(wire: &Wire, args: &str) -> Value {
    trace(wire, args).pop().unwrap()
}

/// The words of the rows about something.
fn words(rows: &[Value], step: &str) -> Vec<String> {
    let rows = rows.iter().filter(|row| row["step"] == step);
    rows.map(|row| row["text"].as_str().unwrap().to_owned())
        .collect()
}

/// A packet from the near guest to the far one.
fn packet(to: Mac) -> Frame {
    let (a, b) = v4();
    eth(VM, to).ipv4(a, b)
}

fn a_frame_for_a_remote_vm_is_told_to_the_bytes_of_its_outer_header(family: Family) {
    let wire = Wire::new(family);
    let frame = packet(FAR_VM).udp(1000, 2000).payload(1, 64).build();

    let rows = trace(&wire, &format!("{PORT} --frame {}", hex(&frame)));

    let last = rows.last().unwrap();
    assert_eq!(last["step"], "verdict");
    let far = wire.far_ip.to_string();
    assert_eq!(last["vteps"], serde_json::json!([far]));
    assert_eq!(last["ports"], serde_json::json!([]));
    let left = wire.encap(&frame);
    // A checksum over IPv6 is the slow-path device's, unless offload has left it to us.
    if family == Family::V4 {
        assert_eq!(last["reason"], "encapsulated");
        assert_eq!(last["outer"], hex(&left[..family.outer_len()]).as_str());
    } else {
        assert_eq!(last["reason"], "encapsulated_by_kernel");
    }
    for (step, says) in [
        ("frame", "UDP 1000 to 2000"),
        ("port", "port vm0 is in vni 100"),
        ("source", "at port vm0, static"),
        ("destination", &*format!("behind VTEP {far}, static")),
        ("peer", "is resolved: packets leave by up0"),
        ("mtu", "which fits"),
        ("outer", &far),
    ] {
        let said = words(&rows, step);
        assert!(
            said.iter().any(|text| text.contains(says)),
            "{step}: {said:?}"
        );
    }
    let text = wire.daemon.ok(&format!("trace {PORT} --dst {FAR_VM}"));
    assert!(text.contains(&format!("It goes to VTEP {far}.")), "{text}");
}

fn an_unknown_mac_is_flooded_to_the_vteps_and_ports_of_the_list(family: Family) {
    let wire = Wire::new(family);
    let unknown = Mac::nth(0x77);
    let alone = verdict(&wire, &format!("{PORT} --dst {unknown}"));
    assert_eq!(alone["reason"], "nowhere_to_flood");
    let _other = wire.add_port("vm1", "");
    let far = wire.far_ip.to_string();
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {far}",
        Mac::ZERO
    ));

    let rows = trace(&wire, &format!("{PORT} --dst {unknown}"));

    let last = rows.last().unwrap();
    assert_eq!(last["reason"], "flooded");
    assert_eq!(last["vteps"], serde_json::json!([far]));
    assert_eq!(last["ports"], serde_json::json!(["vm1"]));
    let copies = words(&rows, "copy");
    assert_eq!(
        copies,
        [
            "a copy goes to port vm1".to_owned(),
            format!("a copy goes to VTEP {far}")
        ]
    );
    let entry = words(&rows, "destination");
    assert_eq!(entry, [format!("vni {GREEN} has no entry for {unknown}")]);
}

fn a_packet_in_an_unknown_vni_is_told_at_the_uplink(family: Family) {
    let wire = Wire::new(family);
    let packet = wire.tunnelled(999, &marked(FAR_VM, VM, 1).build());

    let rows = trace(&wire, &format!("{UPLINK} --frame {}", hex(&packet)));

    let last = rows.last().unwrap();
    assert_eq!(last["reason"], "unknown_vni");
    assert_eq!(words(&rows, "segment"), ["vni 999 does not exist here"]);
    wire.refuses(&packet, "unknown_vni");
}

fn a_packet_for_a_vm_here_is_told_through_every_hook(family: Family) {
    let wire = Wire::with(
        family,
        "",
        &["--uplink-hook", "xdp", "--xdp-mode", "generic"],
    );
    let known = wire.tunnelled(GREEN, &marked(FAR_VM, VM, 1).build());
    let last = verdict(&wire, &format!("{UPLINK} --frame {}", hex(&known)));
    assert_eq!(last["reason"], "decapsulated");
    assert_eq!(last["ports"], serde_json::json!([PORT]));

    let group = wire.tunnelled(GREEN, &marked(FAR_VM, Mac::BROADCAST, 2).build());
    let rows = trace(&wire, &format!("{UPLINK} --frame {}", hex(&group)));

    let ends: Vec<_> = rows.iter().filter(|row| row["step"] == "verdict").collect();
    let hooks: Vec<_> = ends
        .iter()
        .map(|row| row["hook"].as_str().unwrap())
        .collect();
    assert_eq!(hooks, ["uplink_xdp", "uplink", "tunnel"]);
    let last = rows.last().unwrap();
    assert_eq!(last["reason"], "flooded_locally");
    assert_eq!(last["ports"], serde_json::json!([PORT]));
    wire.delivers(&group, &marked(FAR_VM, Mac::BROADCAST, 2).build());
}

/// Packets that have ended at a hook for a reason.
fn counted(wire: &Wire, hook: &Value, reason: &Value) -> u64 {
    let rows = wire.daemon.rows("stats");
    let of_both = rows
        .iter()
        .filter(|row| row["hook"] == *hook && row["reason"] == *reason);
    of_both.filter_map(|row| row["packets"].as_u64()).sum()
}

fn what_the_slow_path_device_hands_on_is_counted_and_delivered_as_traced(family: Family) {
    let wire = Wire::new(family);
    let far = wire.far_ip.to_string();
    // A VNI without a port.
    wire.daemon.ok(&format!("vni add {BLUE}"));
    wire.daemon.ok(&format!(
        "fdb append {} --vni {BLUE} --dst {far}",
        Mac::ZERO
    ));
    let group = Mac([0x01, 0, 0x5e, 0, 0, 1]);
    let (a, b) = v4();
    let frames = [
        (GREEN, marked(FAR_VM, Mac::BROADCAST, 1).build()),
        (
            GREEN,
            eth(FAR_VM, group)
                .ipv4(a, b)
                .udp(1, 2)
                .payload(2, 64)
                .build(),
        ),
        (GREEN, marked(FAR_VM, Mac::nth(0x66), 3).build()),
        (BLUE, marked(FAR_VM, Mac::BROADCAST, 4).build()),
    ];
    let mut reasons = Vec::new();
    for (vni, frame) in frames {
        let packet = wire.tunnelled(vni, &frame);
        let last = verdict(&wire, &format!("{UPLINK} --frame {}", hex(&packet)));
        let (hook, reason) = (&last["hook"], &last["reason"]);
        assert_eq!(hook, "tunnel", "{last}");
        let before = counted(&wire, hook, reason);

        if last["ports"] == serde_json::json!([PORT]) {
            wire.delivers(&packet, &frame);
        } else {
            assert_eq!(last["ports"], serde_json::json!([]));
            wire.uplink.send(&packet);
        }

        until_true("the frame to be counted as traced", || {
            counted(&wire, hook, reason) == before + 1
        });
        reasons.push(reason.as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(reasons[..3], ["flooded_locally"; 3]);
    assert_ne!(reasons[3], "flooded_locally");
}

fn a_frame_in_a_wrong_vlan_is_told_to_be_dropped(family: Family) {
    let wire = Wire::new(family);
    let tagged = eth(VM, FAR_VM).vlan(7).ethertype(0x88b5).payload(1, 60);
    let tagged = tagged.build();

    let rows = trace(&wire, &format!("{PORT} --frame {}", hex(&tagged)));

    assert_eq!(rows.last().unwrap()["reason"], "vlan_unmapped");
    assert_eq!(
        words(&rows, "port")[0],
        format!("{PORT} has no port for VLAN 7")
    );
    wire.refuses_from_vm(&tagged, "vlan_unmapped");
    let inner = eth(FAR_VM, VM).vlan(7).ethertype(0x88b5).payload(1, 60);
    let packet = wire.tunnelled(GREEN, &inner.build());
    let last = verdict(&wire, &format!("{UPLINK} --frame {}", hex(&packet)));
    assert_eq!(last["reason"], "inner_vlan");
}

fn a_frame_that_is_too_big_is_told_with_the_numbers(family: Family) {
    let wire = Wire::new(family);
    let far = wire.far_ip.to_string();

    let rows = trace(&wire, &format!("{PORT} --dst {FAR_VM} --size 1514"));

    let last = rows.last().unwrap();
    assert_eq!(last["reason"], "too_big");
    assert_eq!(last["vteps"], serde_json::json!([far]));
    let needed = 1500 + wire.family.overhead();
    let says = format!(
        "the packet to VTEP {far} has {needed} bytes, of 1500 that the path carries, which does not fit"
    );
    assert_eq!(words(&rows, "mtu"), [says]);
    let fits = 1514 - wire.family.overhead();
    for (size, reason) in [(fits, false), (fits + 1, true)] {
        let last = verdict(&wire, &format!("{PORT} --dst {FAR_VM} --size {size}"));
        assert_eq!(last["reason"] == "too_big", reason, "{size}: {last}");
    }
    // A sender that can be told is told.
    let frame = packet(FAR_VM).df().udp(1, 2).payload(1, 1472).build();
    let rows = trace(&wire, &format!("{PORT} --frame {}", hex(&frame)));
    assert_eq!(rows.last().unwrap()["reason"], "too_big_answered");
    wire.port.send(&frame);
    wire.daemon.expect_dropped("too_big_answered", 1);
}

fn a_host_is_found_by_its_ip(family: Family) {
    let wire = Wire::new(family);
    let (near, far) = v4();
    refused(
        &wire.daemon,
        &format!("trace {PORT} --dst {far}"),
        1,
        &["does not know the MAC of", "vtep trace vm0 --dst MAC"],
    );
    wire.daemon
        .ok(&format!("neigh add {far} --vni {GREEN} --lladdr {FAR_VM}"));
    wire.daemon
        .ok(&format!("neigh add {near} --vni {GREEN} --lladdr {VM}"));

    let rows = trace(&wire, &format!("{PORT} --dst {far}"));

    let frame = &words(&rows, "frame")[0];
    let says = format!("from {VM} to {FAR_VM}, IPv4 {near} to {far}");
    assert!(frame.contains(&says), "{frame}");
    let vteps = &rows.last().unwrap()["vteps"];
    assert_eq!(*vteps, serde_json::json!([wire.far_ip.to_string()]));
}

fn nothing_is_sent_counted_learned_or_spent(family: Family) {
    let wire = Wire::new(family);
    let far = wire.far_ip.to_string();
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {far}",
        Mac::ZERO
    ));
    wire.daemon
        .ok(&format!("port set {PORT} --bum-rate 1 --rate-in 8000"));
    wire.port.drain();
    wire.uplink.drain();
    let before = (wire.daemon.rows("stats"), wire.daemon.tables());
    let stranger = Mac::nth(0x55);
    let flooded = marked(stranger, Mac::BROADCAST, 1).build();
    let big = packet(FAR_VM).df().udp(1, 2).payload(1, 1472).build();

    let many: Vec<_> = [&flooded, &big].into_iter().cycle().take(400).collect();
    let file = capture(&wire, &many);
    let traced = trace(&wire, &format!("{PORT} --pcap {}", file.display()));
    fs::remove_file(&file).unwrap();

    let rows = trace(&wire, &format!("{PORT} --frame {}", hex(&flooded)));

    let event = words(&rows, "event");
    assert_eq!(
        event,
        [format!(
            "a frame like it would have {stranger} learned at port {PORT}"
        )]
    );
    let rates = words(&rows, "rate");
    assert_eq!(rates.len(), 2, "{rates:?}");
    assert!(
        rates.iter().all(|rate| rate.contains("is within")),
        "{rates:?}"
    );
    let ends = traced.iter().filter(|row| row["step"] == "verdict");
    let ends: Vec<_> = ends.map(|row| row["reason"].as_str().unwrap()).collect();
    assert_eq!(ends.len(), 400);
    for two in ends.chunks(2) {
        assert_eq!(two, ["flooded", "too_big_answered"]);
    }
    assert_eq!((wire.daemon.rows("stats"), wire.daemon.tables()), before);
    // The buckets are full: one frame a second, and 64 KiB; and the sender may still be told.
    let left = wire.encap(&flooded);
    assert!(left.ends_with(&flooded));
    wire.port.send(&big);
    wire.daemon.expect_dropped("too_big_answered", 1);
}

fn every_frame_of_a_capture_is_traced(family: Family) {
    let wire = Wire::new(family);
    let frames = [
        packet(FAR_VM).udp(1, 2).payload(1, 20).build(),
        packet(Mac::nth(0x77)).udp(1, 2).payload(1, 20).build(),
    ];
    let file = capture(&wire, &[&frames[0], &frames[1]]);

    let rows = trace(&wire, &format!("{PORT} --pcap {}", file.display()));
    let text = wire
        .daemon
        .ok(&format!("trace {PORT} --pcap {}", file.display()));

    fs::remove_file(&file).unwrap();
    let ends: Vec<_> = rows
        .iter()
        .filter(|row| row["step"] == "verdict")
        .map(|row| (row["frame"].as_u64().unwrap(), row["vteps"].clone()))
        .collect();
    let far = wire.far_ip.to_string();
    let wanted = [(1, serde_json::json!([far])), (2, serde_json::json!([]))];
    assert_eq!(ends, wanted);
    assert_eq!(text.split("\n\n").count(), 2, "{text}");
}

fn what_was_traced_before_a_bad_frame_is_whole(family: Family) {
    let wire = Wire::new(family);
    let good = packet(FAR_VM).udp(1, 2).payload(1, 20).build();
    let long = packet(FAR_VM).payload(1, 17_000).build();
    let file = capture(&wire, &[&good, &long]);

    let out = wire
        .daemon
        .vtep(&format!("trace {PORT} --pcap {} -j", file.display()));

    fs::remove_file(&file).unwrap();
    assert_eq!(out.status.code(), Some(1));
    let said = text(&out.stderr);
    assert!(said.contains("frame 2 of"), "{said}");
    let rows: Vec<Value> = serde_json::from_slice(&out.stdout).expect("an array");
    assert_eq!(rows.last().expect("rows")["step"], "verdict");
    assert!(rows.iter().all(|row| row["frame"] == 1), "{rows:?}");
}

fn an_uplink_that_is_waited_for_is_named_as_that(family: Family) {
    let wire = Wire::with(family, "", &["--iface", "later0", "--wait"]);

    refused(
        &wire.daemon,
        "trace later0 --frame 00",
        1,
        &["uplink later0 waits for its interface", "vtep status"],
    );
}

fn what_cannot_be_traced_is_refused_with_what_to_type(family: Family) {
    let wire = Wire::new(family);
    let daemon = &wire.daemon;
    for (args, code, needles) in [
        ("vm0", 2, &["--frame", "--pcap", "--dst"][..]),
        ("vm0 --frame 0g", 2, &["hexadecimal"]),
        (
            "vm0 --frame 00 --dst 02:00:00:00:00:01",
            2,
            &["cannot be used"],
        ),
        ("vm0 --frame 00 --size 100", 2, &["cannot be used"]),
        ("vm0 --dst vm1", 2, &["neither a MAC nor an IP"]),
        (
            "nope --dst 02:00:00:00:00:01",
            1,
            &["neither a port nor an uplink", "vtep port show"],
        ),
        ("up0 --dst 02:00:00:00:00:01", 1, &["uplink", "--frame HEX"]),
        (
            "vm0 --dst 02:00:00:00:00:01 --size 20",
            1,
            &["--size from 60"],
        ),
        ("vm0 --dst 02:00:00:00:00:01 --vlan 7", 1, &["no vlan 7"]),
        (
            "vm0 --dst 02:00:00:00:00:01 --src ff:ff:ff:ff:ff:ff",
            1,
            &["--src MAC"],
        ),
        ("vm0 --pcap /dev/null", 1, &["no capture"]),
        ("vm0 --pcap /nonexistent", 1, &["cannot read"]),
    ] {
        refused(daemon, &format!("trace {args}"), code, needles);
    }
}
