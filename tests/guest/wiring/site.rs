//! Two hypervisors with two cables between them, and the interfaces that a test makes of the cables' ends.

use std::net::IpAddr;

use vtep_tests::daemon::Daemon;
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Hypervisor, Lab, Vm};
use vtep_tests::traffic::checks;
use vtep_tests::wait::until_true;

/// The ends of the cables.
pub(crate) const CABLES: [&str; 2] = ["cable0", "cable1"];
/// What most tests call the uplink.
pub(crate) const UPLINK: &str = "up0";

/// A hypervisor that is being wired.
pub(crate) struct End<'a> {
    /// Its namespace, with [`CABLES`] in it.
    pub(crate) ns: &'a Ns,
    /// 0 or 1.
    pub(crate) number: u8,
    /// The underlay's family.
    pub(crate) family: Family,
}

impl End<'_> {
    /// Its address on underlay network `net`.
    pub(crate) fn ip(&self, net: u8) -> IpAddr {
        self.family.address(net, self.number + 1)
    }

    /// The other hypervisor's.
    pub(crate) fn far_ip(&self, net: u8) -> IpAddr {
        self.family.address(net, 2 - self.number)
    }

    /// Gives an interface its address on network `net`.
    pub(crate) fn address(&self, dev: &str, net: u8) {
        let (ip, prefix, nodad) = (self.ip(net), self.family.prefix(), self.family.nodad());
        self.ns
            .ip(&format!("addr add {ip}/{prefix} dev {dev} {nodad}"));
    }
}

/// How the hypervisors are wired.
pub(crate) struct Wiring<'a> {
    /// The underlay's family.
    pub(crate) family: Family,
    /// The arguments of `vtep run`.
    pub(crate) run: &'a [&'a str],
    /// Whether the address of network 0 lies elsewhere than on an uplink, so that `vtep run` has to be told.
    pub(crate) elsewhere: bool,
    /// The interface that pings between the hypervisors have to be bound to.
    pub(crate) bound_to: Option<&'a str>,
}

impl<'a> Wiring<'a> {
    /// With addresses on the uplinks.
    pub(crate) fn new(family: Family, run: &'a [&'a str]) -> Self {
        Self {
            family,
            run,
            elsewhere: false,
            bound_to: None,
        }
    }
}

/// Two hypervisors, each with a VM in [`GREEN`].
pub(crate) struct Site {
    /// The VM at the first.
    pub(crate) a: Vm,
    /// The VM at the second.
    pub(crate) b: Vm,
    /// The hypervisors.
    pub(crate) lab: Lab,
}

impl Site {
    /// Sets it up: `wire` makes the uplinks, and gives them addresses on network 0.
    pub(crate) fn new(family: Family, run: &[&str], wire: impl Fn(&End<'_>)) -> Self {
        Self::with(&Wiring::new(family, run), wire)
    }

    /// The same with more of it stated.
    pub(crate) fn with(wiring: &Wiring<'_>, wire: impl Fn(&End<'_>)) -> Self {
        let family = wiring.family;
        let spaces = [Ns::new("hv0"), Ns::new("hv1")];
        for cable in CABLES {
            spaces[0].veth(cable, &spaces[1], cable);
        }
        let ends = [0, 1].map(|number| End {
            ns: &spaces[usize::from(number)],
            number,
            family,
        });
        for end in &ends {
            wire(end);
        }
        let ips = ends.each_ref().map(|end| end.ip(0));
        for end in &ends {
            let bound = wiring
                .bound_to
                .map_or(String::new(), |dev| format!("-I {dev}"));
            let ping = format!("-c 1 -W 1 {bound} {}", end.far_ip(0));
            until_true("the hypervisors to reach each other", || {
                let out = end
                    .ns
                    .command("ping")
                    .args(ping.split_whitespace())
                    .output();
                out.expect("run ping").status.success()
            });
        }
        let hypervisors = spaces
            .into_iter()
            .zip(ips)
            .map(|(ns, ip)| {
                let mut run = wiring.run.to_vec();
                let ip_text = ip.to_string();
                if wiring.elsewhere {
                    run.extend(["--local", &ip_text]);
                }
                let vtep = Some(Daemon::start(&ns, &run));
                Hypervisor { vtep, ns, ip }
            })
            .collect();
        let underlay = Underlay {
            family,
            topology: Topology::Flat,
        };
        let lab = Lab::of(Ns::new("fabric"), hypervisors, underlay, 1500);
        lab.segment(GREEN);
        let (a, b) = lab.pair();
        Self { a, b, lab }
    }

    /// Everything crosses: pings, TCP, UDP of every size, floods.
    #[track_caller]
    pub(crate) fn carries(&self) {
        for at in 0..2 {
            let uplinks = &self.lab.daemon(at).status()["uplinks"];
            println!("hypervisor {at}: {uplinks}");
        }
        checks::everything_crosses(&self.a, &self.b);
    }

    /// Everything crosses, and frames for a known VM are encapsulated and delivered in place.
    #[track_caller]
    pub(crate) fn carries_in_place(&self) {
        self.carries();
        for at in 0..2 {
            checks::was_in_place(self.lab.daemon(at));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for hypervisor in &self.lab.hypervisors {
                for what in ["peer show", "stats"] {
                    let shown = hypervisor.daemon().vtep(what);
                    println!("vtep {what}\n{}", String::from_utf8_lossy(&shown.stdout));
                }
                println!("{}", hypervisor.ns.ip_output("-s link show"));
            }
        }
    }
}
