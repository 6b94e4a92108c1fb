//! A hypervisor on which an earlier build of `vtep` has worked.

use std::path::Path;

use crate::daemon::{Daemon, binary};
use crate::encoder::Mac;
use crate::encoder::inner::udp4;
use crate::lab::ns::{Ns, unique};
use crate::lab::underlay::Family;
use crate::lab::wire::{FAR_MAC, FAR_VM, PORT, VM, Wire};
use crate::lab::{GREEN, UPLINK};
use crate::link::Link as _;
use crate::link::tap::Tap;
use crate::upgrade::fixture::Fixture;
use crate::wait::until_true;

/// A second port, of [`GREEN`] as well.
pub const NEIGHBOUR: &str = "vm1";
/// The VM behind it, whose MAC is learned.
pub const NEIGHBOUR_VM: Mac = Mac::nth(0x1a);
/// A VM behind the far VTEP, whose MAC is learned.
pub const FAR_LEARNED: Mac = Mac::nth(0x1b);
/// A VNI with many settings.
pub const OTHER: u32 = 200;

/// Numbers of the interfaces, which are in the pins.
const NUMBERS: [(&str, u32); 3] = [(UPLINK, 1_101), (PORT, 1_102), (NEIGHBOUR, 1_103)];

/// A hypervisor with two ports and an uplink.
#[derive(Debug)]
pub struct Scene {
    /// The hypervisor, its uplink and its first port.
    pub wire: Wire,
    /// The VM's end of the second port.
    pub neighbour: Tap,
}

impl Scene {
    /// One on which a build works, has been told everything, and has seen frames.
    #[must_use]
    pub fn of_build(binary: &Path) -> Self {
        let scene = Self::new(binary);
        scene.wire.daemon.run();
        scene.tell();
        scene.send();
        scene
    }

    /// One where a build has left its pins, and runs no more.
    #[must_use]
    pub fn of_pins(fixture: &Fixture) -> Self {
        let scene = Self::new(binary::vtep());
        fixture.pin(&scene.wire.daemon);
        scene
    }

    fn new(binary: &Path) -> Self {
        let ns = Ns::new("upgrade");
        let [uplink, port, neighbour] =
            NUMBERS.map(|(dev, ifindex)| Tap::numbered(&ns, dev, ifindex));
        let family = Family::V4;
        let (ip, far_ip) = (family.address(0, 1), family.address(0, 2));
        ns.ip(&format!(
            "addr add {ip}/{} dev {UPLINK}\nneigh replace {far_ip} lladdr {FAR_MAC} dev {UPLINK} nud permanent",
            family.prefix()
        ));
        let daemon = Daemon::named(&ns, &unique("i"), &["--iface", UPLINK]);
        daemon.set_build(binary);
        let mac = ns.mac(UPLINK);
        let wire = Wire {
            daemon,
            uplink,
            second: None,
            port,
            ns,
            family,
            ip,
            mac,
            far_ip,
        };
        Self { wire, neighbour }
    }

    /// What the earlier build is told: commands that every build knows.
    fn tell(&self) {
        let far = self.wire.far_ip;
        for command in [
            // What is learned is there whatever the clock of the machine shows.
            format!("vni add {GREEN} --mode flood --ageing 0"),
            format!("port add {PORT} --vni {GREEN}"),
            format!("port add {NEIGHBOUR} --vni {GREEN} --max-macs 9"),
            format!("fdb add {VM} --vni {GREEN} --dev {PORT}"),
            format!("fdb add {FAR_VM} --vni {GREEN} --dst {far}"),
            format!("fdb append {} --vni {GREEN} --dst {far}", Mac::ZERO),
            format!(
                "vni add {OTHER} --mode l3 --max-macs 70 --reserved strict --df unset --ttl 99 --srcport 40000-40001"
            ),
            format!(
                "port add {PORT} --vni {OTHER} --vlan 20 --mac {} --ip 10.9.0.4",
                Mac::nth(0x2a)
            ),
            format!(
                "neigh add 10.9.0.5 --vni {OTHER} --lladdr {}",
                Mac::nth(0x2b)
            ),
            format!("nexthop add 10.9.1.0/24 --vni {OTHER} --via {far}"),
        ] {
            self.wire.daemon.ok(&command);
        }
        self.wire.resolved();
    }

    /// What it then sees.
    fn send(&self) {
        let wire = &self.wire;
        for _ in 0..5 {
            wire.encap(&udp4(VM, FAR_VM).build());
        }
        for _ in 0..3 {
            wire.refuses(
                &wire.tunnelled(999, &udp4(FAR_VM, VM).build()),
                "unknown_vni",
            );
        }
        let inner = udp4(FAR_LEARNED, VM).build();
        wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
        self.neighbour.send(&udp4(NEIGHBOUR_VM, VM).build());
        for mac in [FAR_LEARNED, NEIGHBOUR_VM] {
            until_true("the MAC to be learned", || {
                wire.daemon.fdb(GREEN, mac).is_some()
            });
        }
    }
}
