//! A MAC that is in two places at once stays where it is, after five moves, until the freeze is over.

use std::time::Duration;

use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::neighbour::Host;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Kind, Lab};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::traffic::roam::{ROAMER, Site};
use vtep_tests::wait::{DEADLINE, poll, until_true};

over_each_family! {
    a_mac_behind_two_hypervisors_freezes_and_thaws,
    a_mac_behind_two_ports_freezes,
    a_frozen_mac_is_freed_by_hand,
    four_moves_freeze_nothing,
}

/// For what does not happen: longer than repeats of one event are held back.
const WHILE: Duration = Duration::from_millis(1500);

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

    /// The VM at one site speaks until the first hypervisor has it there, or `within` has passed; true if it has.
    fn speaks(&self, at: usize, within: Duration) -> bool {
        let site = &self.sites[at];
        let place = if site.at == 0 {
            site.port.clone()
        } else {
            self.lab.hypervisors[site.at].ip.to_string()
        };
        poll(within, || {
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
        assert!(self.speaks(0, DEADLINE));
        for turn in 1..=5 {
            assert!(
                self.speaks(turn % 2, DEADLINE),
                "move {turn} was not followed"
            );
            assert_eq!(self.frozen(), turn == 5, "after {turn} moves");
        }
        1
    }
}

fn a_mac_behind_two_hypervisors_freezes_and_thaws(family: Family) {
    let world = TwoSites::new(family, 5, [(0, "vm0"), (1, "vm0")]);

    let at = world.fights();

    let row = world.monitor.event("duplicate", ROAMER);
    assert_eq!(row["vni"], GREEN, "{row}");
    world.speaks(1 - at, WHILE);
    let _thawed = world.monitor.event("thawed", ROAMER);
    assert!(!world.frozen());
    assert!(
        world.speaks(1 - at, DEADLINE),
        "a MAC that has thawed does not move"
    );
    // Until then it has not moved, however long it took to look.
    let rows = world.monitor.rows();
    let place = |event: &str| rows.iter().position(|row| row["event"] == event);
    let (frozen, thawed) = (place("duplicate"), place("thawed"));
    let meanwhile = &rows[frozen.expect("it froze")..thawed.expect("it thawed")];
    let moved = meanwhile.iter().filter(|row| row["event"] == "moved");
    assert_eq!(moved.count(), 0, "a frozen MAC moved: {rows:?}");
}

fn a_mac_behind_two_ports_freezes(family: Family) {
    let world = TwoSites::new(family, 600, [(0, "vm0"), (0, "vm1")]);

    let at = world.fights();

    assert!(!world.speaks(1 - at, WHILE), "a frozen MAC moved");
    assert!(world.frozen());
    // When the port that it is behind goes, the other one may have it.
    world.sites[at].unplug(&world.lab);
    assert!(
        world.speaks(1 - at, DEADLINE),
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

    assert!(
        world.speaks(1 - at, DEADLINE),
        "a MAC that was freed is not learned"
    );
    assert!(!world.frozen());
    assert!(
        world.speaks(at, DEADLINE),
        "a MAC that was freed does not move"
    );
}

fn four_moves_freeze_nothing(family: Family) {
    let world = TwoSites::new(family, 600, [(0, "vm0"), (1, "vm0")]);

    assert!(world.speaks(0, DEADLINE));
    for turn in 1..=4 {
        assert!(world.speaks(turn % 2, DEADLINE));
    }

    until_true("four moves", || world.moves() == 4);
    assert!(!world.frozen());
    assert_eq!(world.monitor.count(|row| row["event"] == "duplicate"), 0);
}
