//! What the demo shows, one part after the other.

use std::process::Command;
use std::time::Duration;

use vtep_tests::interrupt::stop_if_interrupted;
use vtep_tests::lab::ns::{Ns, done, with_input};
use vtep_tests::lab::{GREEN, Hypervisor, Lab, VM_DEV, Vm};
use vtep_tests::traffic::beat::{Beat, Beats};
use vtep_tests::traffic::{ping, tcp_timed};
use vtep_tests::wait::until_true;

use crate::script::Script;

/// How many bytes the machines exchange by TCP.
const TRANSFER: usize = 100_000_000;
/// Between two echo requests of a ping that something happens to.
const EVERY: Duration = Duration::from_millis(5);
/// How many answers there are before something happens, and after it.
const SOME: u32 = 100;
/// The terminal that tables are shown on.
const COLUMNS: u16 = 120;
/// The device by which the machine that moves hangs on where it goes.
const NEW_DEV: &str = "eth1";

/// Two machines on three hypervisors.
pub(crate) struct Scene<'a> {
    pub(crate) script: &'a Script,
    pub(crate) lab: &'a Lab,
    pub(crate) a: &'a Vm,
    pub(crate) b: &'a Vm,
}

impl Scene<'_> {
    /// Everything.
    pub(crate) fn play(&self) {
        let parts = [
            Self::pings,
            Self::transfers,
            Self::tables,
            Self::a_kill,
            Self::a_move,
            Self::too_big,
            Self::counters,
        ];
        for part in parts {
            stop_if_interrupted();
            part(self);
        }
    }

    fn pings(&self) {
        self.script.part(
            "Ping",
            "Nobody has told the hypervisors where the machines are. The first frame is flooded, and both sides learn.",
        );
        ping(&self.a.ns, self.b.v4);
        let line = format!("ping -c 3 -i 0.2 {}", self.b.v4);
        self.run(&self.a.ns, &line);
    }

    fn transfers(&self) {
        self.script
            .part("TCP, both ways", "Every byte is compared at the other end.");
        for (from, to) in [(self.a, self.b), (self.b, self.a)] {
            stop_if_interrupted();
            let took = tcp_timed(&from.ns, &to.ns, to.v4, TRANSFER);
            self.script.line(&format!(
                "{} -> {}: {TRANSFER} bytes, {:.2} Gbit/s",
                from.ns.name(),
                to.ns.name(),
                gigabits(TRANSFER, took),
            ));
        }
    }

    fn tables(&self) {
        self.script
            .part("The tables", "What the first hypervisor knows.");
        until_true("both machines to be learned", || {
            let daemon = self.at(0).daemon();
            [self.a, self.b]
                .iter()
                .all(|vm| daemon.fdb(GREEN, vm.mac).is_some())
        });
        // The one that was heard just now: whether the other counts as silent yet depends on how long the transfers took.
        let peer = format!("peer show {}", self.at(self.b.at).ip);
        for line in ["port show", "fdb show", &peer] {
            self.vtep(self.at(0), line);
        }
    }

    fn a_kill(&self) {
        self.script.part(
            "A daemon is killed in the middle of a ping",
            "The programs in the kernel go on without it, and the next daemon takes over what it left. No answer is lost.",
        );
        let (beat, here) = (self.beat(), self.at(self.b.at));
        beat.wait_for(SOME);
        self.script
            .command(here.ns.name(), "kill -KILL `pidof vtep`");
        here.daemon().kill();
        beat.wait_for(SOME);
        here.daemon().run();
        beat.wait_for(SOME);
        let beats = self.beats(beat);
        assert_eq!(beats.answered, beats.sent, "a reply was lost");
    }

    fn a_move(&self) {
        self.script.part(
            "A machine moves to another hypervisor",
            "It keeps its MAC and its IP. The port waits for it where it goes. As it comes up there it says so by gratuitous ARP, as a migrated guest does, \
             and the other hypervisors follow. The machine itself stands still only for as long as its interface takes to be changed.",
        );
        let (b, from, to) = (self.b, self.at(self.b.at), self.at(2));
        // Until it is the machine's, the new device says nothing.
        b.ns.sysctl("ipv6/conf/default/disable_ipv6", "1");
        to.ns.veth(&b.port, &b.ns, NEW_DEV);
        b.ns.sysctl(&format!("ipv4/conf/{NEW_DEV}/arp_notify"), "1");
        let mtu = self.lab.inner_mtu();
        to.ns.ip(&format!("link set {} mtu {mtu}", b.port));
        b.ns.ip(&format!("link set {NEW_DEV} mtu {mtu}"));
        to.daemon()
            .ok(&format!("port add {} --vni {GREEN}", b.port));
        let beat = self.beat();
        beat.wait_for(SOME);

        self.script.line(&format!(
            "{} leaves {} and comes to {}",
            b.ns.name(),
            from.ns.name(),
            to.ns.name()
        ));
        b.ns.ip(&format!(
            "link set {VM_DEV} down
             addr add {}/24 dev {NEW_DEV}
             link set {NEW_DEV} address {}",
            b.v4, b.mac
        ));

        beat.wait_for(SOME);
        from.daemon().ok(&format!("port del {}", b.port));
        b.ns.ip(&format!("link del {VM_DEV}"));
        beat.wait_for(SOME);
        let _beats = self.beats(beat);
        self.vtep(self.at(0), &format!("fdb get {} --vni {GREEN}", b.mac));
    }

    fn too_big(&self) {
        self.script.part(
            "Frames that are too big",
            "A machine with an MTU of 1500 on an underlay that carries 1500, which has no room for the outer header. A packet that may be fragmented is lost: \
             `vtep drops` has the reason, and `vtep trace` the numbers. The sender of one that may not is told what fits.",
        );
        let (a, here) = (self.a, self.at(self.a.at));
        let set_mtu = |mtu: u32| {
            self.run(&here.ns, &format!("ip link set {} mtu {mtu}", a.port));
            self.run(&a.ns, &format!("ip link set {VM_DEV} mtu {mtu}"));
        };
        set_mtu(1500);
        let asked = |options: &str| format!("ping {options} {}", self.b.v4);
        self.fails(&a.ns, &asked("-c 3 -i 0.2 -W 1 -M dont -s 1472"));
        self.vtep(here, &format!("drops --dev {}", a.port));
        let frame = format!("trace {} --dst {} --size 1514", a.port, self.b.mac);
        self.vtep(here, &frame);
        self.fails(&a.ns, &asked("-c 1 -W 10 -M do -s 1472"));
        set_mtu(self.lab.inner_mtu());
        self.run(&a.ns, &asked("-c 1 -M do -s 1422"));
    }

    fn counters(&self) {
        self.script.part(
            "The counters",
            "Every frame ends under one reason. `tx` is from the machines, `rx` to them.",
        );
        for line in ["stats", "drops"] {
            self.vtep(self.at(0), line);
        }
    }

    fn at(&self, number: usize) -> &Hypervisor {
        &self.lab.hypervisors[number]
    }

    /// Shows a command of vtep and what it prints on a terminal.
    fn vtep(&self, at: &Hypervisor, line: &str) {
        self.script.command(at.ns.name(), &format!("vtep {line}"));
        self.script.printed(&at.daemon().on_terminal(line, COLUMNS));
    }

    /// Shows a command and what it prints.
    fn run(&self, at: &Ns, line: &str) {
        self.script.command(at.name(), line);
        let out = done(&mut inside(at, line), "");
        self.script.printed(&String::from_utf8_lossy(&out.stdout));
    }

    /// The same with one that is to fail.
    fn fails(&self, at: &Ns, line: &str) {
        self.script.command(at.name(), line);
        let out = with_input(&mut inside(at, line), "");
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(!out.status.success(), "{line} succeeded: {text}");
        self.script.printed(&text);
    }

    /// Has one machine ping the other until [`Scene::beats`].
    fn beat(&self) -> Beat {
        let every = EVERY.as_secs_f64();
        let line = format!("ping -i {every} {} &", self.b.v4);
        self.script.command(self.a.ns.name(), &line);
        Beat::start(&self.a.ns, self.b.v4, EVERY)
    }

    /// Ends it, and says what it cost.
    fn beats(&self, beat: Beat) -> Beats {
        let beats = beat.end();
        self.script.line(&format!(
            "{} requests, one every {} ms, {} lost; the longest time between two answers was {:.1} ms",
            beats.sent,
            EVERY.as_millis(),
            beats.sent - beats.answered,
            beats.longest_gap.as_secs_f64() * 1e3,
        ));
        beats
    }
}

/// A command of words that are parted by spaces.
fn inside(at: &Ns, line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = at.command(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Returns the rate in Gbit/s.
#[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
fn gigabits(bytes: usize, took: Duration) -> f64 {
    bytes as f64 * 8.0 / took.as_secs_f64() / 1e9
}
