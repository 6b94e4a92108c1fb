//! Two hypervisors, each with a card.

use vtep_tests::daemon::Daemon;
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Hypervisor, Lab, Vm};
use vtep_tests::traffic::{checks, ping};
use vtep_tests::wait::{until, until_true};

/// The MACs that the cards are made with.
const MACS: [&str; 2] = ["02:ca:00:00:00:00", "02:ca:00:00:00:01"];

/// Both cards, each in a namespace of its own.
pub(crate) struct Cards {
    ends: [(Ns, String); 2],
}

impl Cards {
    /// Takes them from the machine.
    pub(crate) fn take() -> Self {
        let ends = [0, 1].map(|number| {
            // A test before may have given it back just now.
            let dev = until("the card", || device(MACS[number]));
            let ns = Ns::new(&format!("hv{number}"));
            let moved = std::process::Command::new("ip")
                .args(["link", "set", &dev, "netns", ns.name()])
                .status();
            assert!(moved.expect("run ip").success(), "move {dev}");
            (ns, dev)
        });
        Self { ends }
    }

    /// The namespace and the device of a card.
    pub(crate) fn end(&self, at: usize) -> (&Ns, &str) {
        let (ns, dev) = &self.ends[at];
        (ns, dev)
    }

    /// Gives them an MTU and addresses, and waits until they have a carrier.
    pub(crate) fn address(&self, family: Family, mtu: u32) {
        for (at, number) in (0..2).zip(1..) {
            let (ns, dev) = self.end(at);
            let (ip, prefix) = (family.address(0, number), family.prefix());
            ns.ip(&format!(
                "link set {dev} mtu {mtu} up\naddr replace {ip}/{prefix} dev {dev}"
            ));
            ns.settled();
        }
        for (at, number) in [(0, 2), (1, 1)] {
            ping(self.end(at).0, family.address(0, number));
        }
    }
}

/// The device with a MAC, if it is here.
fn device(mac: &str) -> Option<String> {
    std::fs::read_dir("/sys/class/net")
        .ok()?
        .flatten()
        .find_map(|entry| {
            let address = std::fs::read_to_string(entry.path().join("address")).ok()?;
            (address.trim() == mac).then(|| entry.file_name().to_string_lossy().into_owned())
        })
}

/// Two hypervisors, each with a VM in [`GREEN`].
pub(crate) struct Site {
    /// The VM at the first.
    pub(crate) a: Vm,
    /// The VM at the second.
    pub(crate) b: Vm,
    lab: Lab,
    devices: [String; 2],
}

impl Site {
    /// Sets it up with the daemon's arguments.
    pub(crate) fn new(cards: Cards, family: Family, mtu: u32, run: &[&str]) -> Self {
        cards.address(family, mtu);
        let devices = cards.ends.each_ref().map(|(_, dev)| dev.clone());
        let hypervisors = cards
            .ends
            .into_iter()
            .zip(1..)
            .map(|((ns, dev), number)| Hypervisor {
                vtep: Some(Daemon::start(&ns, &[&["--iface", &dev], run].concat())),
                ns,
                ip: family.address(0, number),
            })
            .collect();
        let underlay = Underlay {
            family,
            topology: Topology::Flat,
        };
        let lab = Lab::of(Ns::new("fabric"), hypervisors, underlay, mtu);
        lab.segment(GREEN);
        let (a, b) = lab.pair();
        Self { a, b, lab, devices }
    }

    /// The hook that takes the packets of the first card first.
    pub(crate) fn hook(&self) -> String {
        let status = self.lab.daemon(0).status();
        println!("{}", status["uplinks"]);
        let hook = status["uplinks"][0]["hook"].as_str();
        hook.expect("a hook").to_owned()
    }

    /// Everything crosses, and frames for a known VM are encapsulated and delivered in place.
    #[track_caller]
    pub(crate) fn carries_in_place(&self) {
        checks::everything_crosses(&self.a, &self.b);
        for at in 0..2 {
            checks::was_in_place(self.lab.daemon(at));
        }
    }

    /// Has the first card go down and up.
    #[track_caller]
    pub(crate) fn bounce(&self) {
        let (daemon, dev) = (self.lab.daemon(0), &self.devices[0]);
        let ns = &self.lab.hypervisors[0].ns;
        let state = |state: &str| {
            until_true("the uplink's state", || {
                daemon.status()["uplinks"][0]["state"] == state
            });
        };
        ns.sysctl("ipv6/conf/all/keep_addr_on_down", "1");
        ns.ip(&format!("link set {dev} down"));
        state("down");
        ns.ip(&format!("link set {dev} up"));
        state("up");
    }
}
