//! What has to hold of a segment, whoever encapsulates at its ends.

use std::net::IpAddr;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::dump;
use crate::encoder::inner::every_sort;
use crate::encoder::{Frame, Mac, eth, pattern};
use crate::lab::{Lab, Vm};
use crate::link::Link as _;
use crate::link::capture::Capture;
use crate::traffic::stream::Stream;
use crate::traffic::{ping, tcp_transfer, udp_sizes};
use crate::wait::DEADLINE;

const MEBIBYTE: usize = 1 << 20;

/// Every daemon is ended by `end` and started again while the VMs send to each other; nothing may be lost.
///
/// # Panics
///
/// If a packet or a row of a table is.
#[track_caller]
pub fn restarts_lose_nothing(lab: &Lab, a: &Vm, b: &Vm, end: impl Fn(&Daemon)) {
    let there = Stream::start((&a.ns, a.v4), (&b.ns, b.v4));
    let back = Stream::start((&b.ns, b.v6), (&a.ns, a.v6));
    let before: Vec<_> = (0..2).map(|at| lab.daemon(at).tables()).collect();

    there.wait_for(200);
    for at in 0..2 {
        end(lab.daemon(at));
        there.wait_for(500);
        back.wait_for(10);
    }
    for (at, before) in before.into_iter().enumerate() {
        lab.daemon(at).run();
        there.wait_for(300);
        assert_eq!(lab.daemon(at).tables(), before, "tables of daemon {at}");
    }

    for (what, stream) in [("there", there), ("back", back)] {
        let (sent, lost) = stream.finish();
        assert!(sent > 1800, "{sent} packets sent {what}");
        assert!(
            lost.is_empty(),
            "of {sent} packets {what} these were lost: {lost:?}"
        );
    }
}

/// Ping, over both inner families and in both directions.
#[track_caller]
pub fn ping_both_ways(a: &Vm, b: &Vm) {
    for (from, to) in [(a, b), (b, a)] {
        for ip in to.ips() {
            ping(&from.ns, ip);
        }
    }
}

/// 1 MiB over TCP, over both inner families and in both directions.
#[track_caller]
pub fn tcp_both_ways(a: &Vm, b: &Vm) {
    ping_both_ways(a, b);
    for (from, to) in [(a, b), (b, a)] {
        for ip in to.ips() {
            tcp_transfer(&from.ns, &to.ns, ip, MEBIBYTE);
        }
    }
}

/// UDP with payloads of 0 to 1450 bytes there and back, over both inner families.
#[track_caller]
pub fn udp_every_size(a: &Vm, b: &Vm) {
    ping_both_ways(a, b);
    for (left, right) in a.ips().into_iter().zip(b.ips()) {
        udp_sizes((&a.ns, left), (&b.ns, right), 0..=1450);
    }
}

/// Whatever VMs send crosses between two hypervisors: ARP, pings, TCP, UDP of every size, and what is not IP.
#[track_caller]
pub fn everything_crosses(a: &Vm, b: &Vm) {
    tcp_both_ways(a, b);
    arp_crosses(a, b);
    udp_every_size(a, b);
    non_ip_crosses(a, b);
}

/// After [`everything_crosses`]: programs have finished most frames in place, both ways.
///
/// # Panics
///
/// If the kernel had to.
#[track_caller]
pub fn was_in_place(daemon: &Daemon) {
    // Datagrams alone are more than a thousand.
    more_in_place_than(1000, daemon);
}

/// Programs have finished more frames than that in place, both ways.
///
/// # Panics
///
/// If the kernel had to.
#[track_caller]
pub fn more_in_place_than(wanted: u64, daemon: &Daemon) {
    let rows = daemon.rows("stats");
    for (reason, hooks) in [
        ("encapsulated", &["port"][..]),
        ("decapsulated", &["uplink", "uplink_xdp"]),
    ] {
        let counted = rows
            .iter()
            .filter(|row| row["reason"] == reason && hooks.iter().any(|hook| row["hook"] == *hook))
            .filter_map(|row| row["packets"].as_u64());
        let count: u64 = counted.sum();
        assert!(
            count > wanted,
            "{count} were {reason} at {hooks:?}: {rows:#?}"
        );
    }
}

/// An ARP question crosses as sent, and its answer comes back.
#[track_caller]
pub fn arp_crosses(a: &Vm, b: &Vm) {
    let (IpAddr::V4(mine), IpAddr::V4(theirs)) = (a.v4, b.v4) else {
        panic!("v4 holds an IPv4 address")
    };
    let (near, far) = (a.link(), b.link());

    let question = eth(a.mac, Mac::BROADCAST)
        .arp_request((a.mac, mine), theirs)
        .build();
    near.send(&question);

    far.expect(&question);
    near.expect(
        &eth(b.mac, a.mac)
            .arp_reply((b.mac, theirs), (a.mac, mine))
            .build(),
    );
}

/// Frames that are neither IP nor ARP cross as sent: LLDP-like, to a unicast MAC and to a group, short
/// and long, with lengths odd and even.
#[track_caller]
pub fn non_ip_crosses(a: &Vm, b: &Vm) {
    for (from, to) in [(a, b), (b, a)] {
        let (near, far) = (from.link(), to.link());
        for dst in [
            to.mac,
            Mac([0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]),
            Mac::BROADCAST,
        ] {
            for len in [0, 1, 46, 333, 1400] {
                let seed = u32::try_from(len).unwrap_or(0);
                let frame = eth(from.mac, dst)
                    .ethertype(0x88cc)
                    .payload(seed, len)
                    .build();
                near.send(&frame);
                far.expect(&frame);
            }
        }
    }
}

/// Frames of every sort cross as sent, to a unicast MAC and to everybody.
#[track_caller]
pub fn every_sort_crosses(a: &Vm, b: &Vm) {
    // So that whoever learns knows both.
    ping_both_ways(a, b);
    for (from, to) in [(a, b), (b, a)] {
        let (near, far) = (from.link(), to.link());
        for dst in [to.mac, Mac::BROADCAST] {
            for (what, frame) in every_sort(from.mac, dst) {
                eprintln!("{what} from {} to {dst}", from.mac);
                near.send(&frame);
                // The kernel's GRO cuts padding off, which is then no loss.
                let least = if what.contains("padded") {
                    frame.len() - 18
                } else {
                    frame.len()
                };
                far.wait_for(what, |got| got.len() >= least && frame.starts_with(got));
            }
        }
    }
}

/// A frame from `from`, marked so that it is told apart from every other one.
#[must_use]
pub fn marked(from: Mac, to: Mac, mark: u32) -> Frame {
    eth(from, to)
        .ethertype(0x88b6)
        .bytes(&mark.to_be_bytes())
        .bytes(&pattern(mark, 60))
}

/// A frame sent once by `sender` reaches each of `receivers` exactly once and none of `others`.
/// The links of `receivers` and `others` have to be open on what arrives.
#[track_caller]
pub fn reaches_exactly_once(
    sender: &Capture,
    frame: &[u8],
    receivers: &[&Capture],
    others: &[&Capture],
) {
    // From the sender's own MAC: one that moved from sender to sender would be taken for a duplicate.
    let from = Mac(frame[6..12].try_into().expect("six bytes"));
    let markers = [1, 2, 3].map(|n| {
        let mut marker = marked(from, Mac::BROADCAST, 0x4d41_5200 + n).build();
        marker.extend(&frame[..frame.len().min(40)]);
        marker
    });
    sender.send(frame);
    for marker in &markers {
        sender.send(marker);
    }
    // Floods keep their order, so what has not come before the last marker does not come.
    let came = |link: &Capture, enough: &[u8]| {
        let seen = link.collect(DEADLINE, |seen| {
            seen.last().map(Vec::as_slice) == Some(enough)
        });
        let late = link.collect(Duration::from_millis(20), |_| false);
        seen.iter().chain(&late).filter(|got| *got == frame).count()
    };
    for receiver in receivers {
        let count = came(receiver, &markers[2]);
        assert_eq!(count, 1, "{} got the frame {count} times", receiver.name());
    }
    for other in others {
        let seen = other.collect(Duration::from_millis(20), |_| false);
        let strays: Vec<_> = seen
            .iter()
            .filter(|got| *got == frame)
            .map(|f| dump::hex(f))
            .collect();
        assert!(
            strays.is_empty(),
            "{} got the frame: {}",
            other.name(),
            strays.join("\n")
        );
    }
}
