//! Machines as they run on hypervisors: QEMU with virtio-net on taps, and one that moves while it runs.
//!
//! `cargo xtask test machines` makes what they start with. They are emulated where they run: their speed says nothing.

mod machine;
mod stream;

use std::time::Duration;

use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Kind, Lab};
use vtep_tests::traffic::checks;
use vtep_tests::{note, over_each_family};

use crate::machine::{Card, Machine};
use crate::stream::{Came, Talk};

over_each_family! {
    machines_talk,
    machines_without_offloads_talk,
    machines_with_two_queues_talk,
    a_machine_moves_while_it_talks,
}

const CARD: Card = Card {
    offloads: true,
    queues: 1,
};

fn machines_talk(family: Family) {
    talk(family, CARD);
}

fn machines_without_offloads_talk(family: Family) {
    let offloads = false;
    talk(family, Card { offloads, ..CARD });
}

fn machines_with_two_queues_talk(family: Family) {
    talk(family, Card { queues: 2, ..CARD });
}

fn lab(family: Family, kind: Kind, count: usize) -> Lab {
    let topology = Topology::Flat;
    Lab::green(Underlay { family, topology }, &vec![kind; count])
}

/// Two machines, each at a hypervisor of its own, send each other TCP and UDP, and look at every byte.
fn talk(family: Family, card: Card) {
    let lab = lab(family, Kind::Vtep, 2);
    let machines = [(0, 1), (1, 2)].map(|(at, number)| Machine::start(&lab, at, number, card));
    for machine in &machines {
        machine.ready();
    }
    let [a, b] = &machines;
    let largest = lab.inner_mtu();

    for (from, to) in [(a, b), (b, a)] {
        for ip in to.ips {
            from.run(&format!("ping -c 3 -W 5 {ip}"));
            from.run(&format!("/peer tcp {ip} {}", 4 << 20));
            let headers = if ip.is_ipv4() { 28 } else { 48 };
            from.run(&format!("/peer udp {ip} {}", largest - headers));
        }
    }

    let queues = a.run("ls -d /sys/class/net/eth0/queues/rx-* | wc -l");
    assert_eq!(queues.trim(), card.queues.to_string());
    // Over IPv6 there is a checksum over all of a frame, which only the kernel takes where the machine has taken its own.
    if family == Family::V4 || card.offloads {
        for at in 0..2 {
            checks::more_in_place_than(300, lab.daemon(at));
        }
    }
}

/// A machine moves from the first hypervisor to the second while someone behind the third talks to it.
fn a_machine_moves_while_it_talks(family: Family) {
    let theirs = moved(family, Kind::Kernel);
    let ours = moved(family, Kind::Vtep);

    let words = |(came, still): (Came, Duration)| {
        let (gap, still) = (came.gap.as_millis(), still.as_millis());
        format!("no answer for {gap} ms, of which QEMU stood still for {still} ms")
    };
    note(&format!(
        "{family:?}: a machine moved: vtep: {}; the kernel's bridge and vxlan: {}",
        words(ours),
        words(theirs)
    ));
    for (came, _) in [ours, theirs] {
        let [sent, back] = came.bytes;
        assert_eq!(sent, back, "bytes of the stream");
        assert!(sent > 0, "nothing was sent");
    }
    // What the network adds to it. QEMU announces the machine at once, and again after 50 ms.
    let added = |(came, still): (Came, Duration)| came.gap.saturating_sub(still);
    assert!(
        added(ours) <= added(theirs) + Duration::from_millis(500),
        "{ours:?} against {theirs:?}"
    );
}

/// What came of a talk in the midst of which the machine moved, and for how long it stood still.
fn moved(family: Family, kind: Kind) -> (Came, Duration) {
    let lab = lab(family, kind, 3);
    let talker = lab.vm(2, 9, GREEN);
    let machine = Machine::start(&lab, 0, 1, CARD);
    machine.ready();
    let talk = Talk::start(&talker.ns, machine.ips[0]);
    talk.wait_for(100);

    let (there, still) = machine.migrate(&lab, 1);

    talk.wait_for(200);
    let came = talk.finish();
    // It is the same machine.
    assert_eq!(there.run("cat /tmp/serve"), "");
    (came, still)
}
