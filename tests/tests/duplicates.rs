//! A MAC that is in two places at once stays where it is, after five moves, until the freeze is over.

use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::neighbour::Host;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Kind, Lab};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::traffic::roam::{ROAMER, Site};
use vtep_tests::wait::{poll, until_true};

over_each_family! {
    a_mac_behind_two_hypervisors_freezes_and_thaws,
    a_mac_behind_two_ports_freezes,
    a_frozen_mac_is_freed_by_hand,
    four_moves_freeze_nothing,
}

const VM: Host = Host::at(ROAMER, 0x42);

/// Two hypervisors with the VM's MAC behind each, and what one of them says.
struct TwoSites {
    monitor: Monitor,
    sites: [Site; 2],
    lab: Lab,
}

impl TwoSites {
    fn new(family: Family, freeze: u32, places: [(usize, &str); 2]) -> Self {
        let underlay = Underlay {
            family,
            topology: Topology::Flat,
        };
        let freeze = freeze.to_string();
        let lab = Lab::with(underlay, &[Kind::Vtep; 2], 1500, &["--dup-freeze", &freeze]);
        lab.segment(GREEN);
        let sites = places.map(|(at, port)| Site::new(&lab, at, port));
        for site in &sites {
            site.plug(&lab, "");
        }
        let monitor = Monitor::start(lab.daemon(0), GREEN, family.address(0, 250));
        Self {
            monitor,
            sites,
            lab,
        }
    }

    fn daemon(&self) -> &Daemon {
        self.lab.daemon(0)
    }

    /// The VM at one site speaks; true if the first hypervisor then has it there.
    fn speaks(&self, at: usize) -> bool {
        let site = &self.sites[at];
        let place = if site.at == 0 {
            site.port.clone()
        } else {
            self.lab.hypervisors[site.at].ip.to_string()
        };
        poll(std::time::Duration::from_millis(1500), || {
            // Again and again, for repeats of one event are held back for a second.
            site.link.send(&VM.announces(VM.v4.into()).build());
            let row = self.daemon().fdb(GREEN, ROAMER)?;
            (row["dev"] == place.as_str() || row["dst"] == place.as_str()).then_some(())
        })
        .is_some()
    }

    /// Moves of the MAC at the first hypervisor.
    fn moves(&self) -> usize {
        self.monitor.count(|row| row["event"] == "moved")
    }

    fn frozen(&self) -> bool {
        let row = self.daemon().fdb(GREEN, ROAMER);
        row.is_some_and(|row| row["duplicate"] == true)
    }

    /// Speaks at one site and the other until the MAC is frozen; returns the site it is at.
    #[track_caller]
    fn fights(&self) -> usize {
        assert!(self.speaks(0));
        for turn in 1..=5 {
            assert!(self.speaks(turn % 2), "move {turn} was not followed");
            assert_eq!(self.frozen(), turn == 5, "after {turn} moves");
        }
        1
    }
}

fn a_mac_behind_two_hypervisors_freezes_and_thaws(family: Family) {
    let world = TwoSites::new(family, 3, [(0, "vm0"), (1, "vm0")]);

    let at = world.fights();

    let row = world.monitor.event("duplicate", ROAMER);
    assert_eq!(row["vni"], GREEN, "{row}");
    let moves = world.moves();
    assert!(!world.speaks(1 - at), "a frozen MAC moved");
    assert_eq!(world.moves(), moves);
    let _thawed = world.monitor.event("thawed", ROAMER);
    assert!(!world.frozen());
    assert!(world.speaks(1 - at), "a MAC that has thawed does not move");
}

fn a_mac_behind_two_ports_freezes(family: Family) {
    let world = TwoSites::new(family, 600, [(0, "vm0"), (0, "vm1")]);

    let at = world.fights();

    assert!(!world.speaks(1 - at), "a frozen MAC moved");
    assert!(world.frozen());
    // When the port that it is behind goes, the other one may have it.
    world.sites[at].unplug(&world.lab);
    assert!(
        world.speaks(1 - at),
        "the MAC is not learned where it is left"
    );
    assert!(!world.frozen());
}

fn a_frozen_mac_is_freed_by_hand(family: Family) {
    let world = TwoSites::new(family, 600, [(0, "vm0"), (1, "vm0")]);
    let at = world.fights();

    world
        .daemon()
        .ok(&format!("fdb del {ROAMER} --vni {GREEN}"));

    assert!(world.speaks(1 - at), "a MAC that was freed is not learned");
    assert!(!world.frozen());
    assert!(world.speaks(at), "a MAC that was freed does not move");
}

fn four_moves_freeze_nothing(family: Family) {
    let world = TwoSites::new(family, 600, [(0, "vm0"), (1, "vm0")]);

    assert!(world.speaks(0));
    for turn in 1..=4 {
        assert!(world.speaks(turn % 2));
    }

    until_true("four moves", || world.moves() == 4);
    assert!(!world.frozen());
    assert_eq!(world.monitor.count(|row| row["event"] == "duplicate"), 0);
}
