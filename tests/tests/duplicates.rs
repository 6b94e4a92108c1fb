//! A MAC that is in two places at once stays where it was longest, after five moves, until the freeze is over.

use std::time::{Duration, Instant};

use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::neighbour::Host;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Kind, Lab};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::traffic::roam::{ROAMER, Site};
use vtep_tests::wait::{DEADLINE, poll, until_true};

over_each_family! {
    a_mac_behind_two_hypervisors_freezes_and_thaws,
    a_mac_behind_two_ports_freezes,
    a_thief_gets_nothing_of_a_frozen_mac,
    a_link_that_flaps_does_not_hide_a_theft,
    a_frozen_mac_is_freed_by_hand,
    four_moves_freeze_nothing,
}

/// For what does not happen: longer than repeats of one event are held back.
const WHILE: Duration = Duration::from_millis(1500);

/// How much longer than the thief the VM has been there whenever it is robbed.
const STAY: Duration = Duration::from_millis(500);

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

    /// The VM lives at the first site, and a thief at the other takes its MAC until that is frozen. Returns the site that the MAC is at.
    #[track_caller]
    fn fights(&self) -> usize {
        self.steals(|| ())
    }

    /// As [`Self::fights`], `before` each theft something else is done.
    #[track_caller]
    fn steals(&self, before: impl Fn()) -> usize {
        // How long the thief has been there at most, and the VM at least: on a busy machine either may have to wait for its turn.
        let (mut robbed, mut peace) = (Duration::ZERO, Duration::ZERO);
        assert!(self.speaks(0, DEADLINE));
        for theft in 1..=3 {
            let since = Instant::now();
            until_true("the VM to have been there longer than the thief", || {
                peace + since.elapsed() > robbed + STAY
            });
            before();
            peace += since.elapsed();
            if theft == 3 {
                break;
            }
            let since = Instant::now();
            for (site, turn) in [(1, 2 * theft - 1), (0, 2 * theft)] {
                assert!(self.speaks(site, DEADLINE), "move {turn} was not followed");
                assert!(!self.frozen(), "after {turn} moves");
            }
            robbed += since.elapsed();
        }
        until_true("the MAC to be frozen", || {
            self.sites[1].link.send(&VM.announces(VM.v4.into()).build());
            self.frozen()
        });
        let row = self.daemon().fdb(GREEN, ROAMER).expect("an entry");
        let at = usize::from(row["dev"] != self.sites[0].port.as_str());
        assert_eq!(at, 0, "it is frozen where the thief is: {row}");
        // Both places are shown.
        let other = &self.sites[1];
        let shown = if other.at == 0 {
            row["other_dev"] == other.port.as_str()
        } else {
            row["other_dst"] == self.lab.hypervisors[other.at].ip.to_string().as_str()
        };
        assert!(shown, "{row}");
        at
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

fn a_thief_gets_nothing_of_a_frozen_mac(family: Family) {
    let world = TwoSites::new(family, 600, [(0, "vm0"), (0, "vm1")]);
    let talker = Site::new(&world.lab, 0, "vm2");
    talker.plug(&world.lab, "");
    world.fights();
    let [victim, thief] = &world.sites;
    thief.link.drain();

    for number in 0..30 {
        thief.link.send(&VM.announces(VM.v4.into()).build());
        let frame = eth(Mac::nth(0x51), ROAMER).ethertype(0x88b6);
        let frame = frame.payload(number, 46).build();
        talker.link.send(&frame);
        victim.link.expect(&frame);
        while let Some(got) = thief.link.recv(Duration::ZERO) {
            assert_ne!(got, frame, "the thief got frame {number}");
        }
    }
}

fn a_link_that_flaps_does_not_hide_a_theft(family: Family) {
    let world = TwoSites::new(family, 600, [(0, "vm0"), (0, "vm1")]);
    let here = &world.lab.hypervisors[0].ns;

    world.steals(|| {
        for state in ["down", "up"] {
            here.ip(&format!("link set vm1 {state}"));
        }
    });
}

fn a_frozen_mac_is_freed_by_hand(family: Family) {
    let world = TwoSites::new(family, 600, [(0, "vm0"), (1, "vm0")]);
    let at = world.fights();

    // Each hypervisor has frozen it for itself.
    for site in &world.sites {
        let daemon = world.lab.daemon(site.at);
        daemon.ok(&format!("fdb del {ROAMER} --vni {GREEN}"));
    }

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
