//! Routing rules: what is encapsulated in place leaves as what the kernel itself would send.

use std::net::{IpAddr, UdpSocket};

use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::wait::until_true;

over_each_family! {
    a_rule_for_vxlan_is_followed_and_so_is_its_end,
    under_random_rules_frames_leave_as_the_kernels_own_packets,
}

/// The main table's gateway, and those of the tables 101 and 102.
const GATEWAYS: [Mac; 3] = [
    Mac([0x02, 0xbb, 0, 0, 0, 1]),
    Mac([0x02, 0xbb, 0, 0, 0, 2]),
    Mac([0x02, 0xbb, 0, 0, 0, 3]),
];

/// A far VTEP behind a gateway, and two tables with other gateways.
struct Ruled {
    wire: Wire,
    far: IpAddr,
}

impl Ruled {
    fn new(family: Family) -> Self {
        let wire = Wire::new(family);
        let far = family.address(5, 1);
        for (number, mac) in (0_u8..).zip(GATEWAYS) {
            let gateway = family.address(0, 11 + number);
            wire.ns.ip(&format!(
                "neigh replace {gateway} lladdr {mac} dev {UPLINK} nud permanent"
            ));
            let table = match number {
                0 => "main".to_owned(),
                number => (100 + number).to_string(),
            };
            wire.ns
                .ip(&format!("route add {far} via {gateway} table {table}"));
        }
        wire.daemon
            .ok(&format!("fdb replace {FAR_VM} --vni {GREEN} --dst {far}"));
        if family == Family::V6 {
            // With a checksum over IPv6 it is the kernel that sends.
            wire.daemon.ok(&format!("peer set {far} --csum6 off"));
        }
        Self { wire, far }
    }

    fn rule(&self, what: &str) {
        let family = match self.wire.family {
            Family::V4 => "-4",
            Family::V6 => "-6",
        };
        let mut command = self.wire.ns.command("ip");
        command.args([family, "rule"]).args(what.split(' '));
        ns::done(&mut command, "");
    }

    /// The MAC that a frame for the far VM leaves for.
    fn ours(&self) -> [u8; 6] {
        let frame = udp4(VM, FAR_VM).build();
        self.wire.encap(&frame)[..6].try_into().unwrap()
    }

    /// The MAC that a packet of the kernel's own leaves for, from the same address to the same port.
    fn kernels(&self) -> [u8; 6] {
        let (from, to) = (self.wire.ip, self.far);
        self.wire.ns.run(|| {
            let socket = UdpSocket::bind((from, 0)).expect("a socket");
            socket.send_to(b"which way?", (to, 4789)).expect("a route");
        });
        let packet = self
            .wire
            .uplink
            .wait_for("the kernel's own packet", |packet| {
                packet.ends_with(b"which way?")
            });
        packet[..6].try_into().unwrap()
    }
}

fn a_rule_for_vxlan_is_followed_and_so_is_its_end(family: Family) {
    let ruled = Ruled::new(family);
    let leaves_for = |mac: Mac| until_true("the gateway", || ruled.ours() == mac.0);
    leaves_for(GATEWAYS[0]);

    ruled.rule("add pref 100 ipproto udp dport 4789 lookup 101");
    leaves_for(GATEWAYS[1]);
    ruled.rule("add pref 99 dport 4789 lookup 102");
    leaves_for(GATEWAYS[2]);
    ruled.rule("del pref 99");
    leaves_for(GATEWAYS[1]);
    // Others' packets are none of its business.
    ruled.rule("add pref 98 ipproto tcp lookup 102");
    ruled.rule("add pref 97 ipproto udp dport 4790 lookup 102");
    ruled.rule("del pref 100");
    leaves_for(GATEWAYS[0]);
}

fn under_random_rules_frames_leave_as_the_kernels_own_packets(family: Family) {
    let ruled = Ruled::new(family);
    let (from, to) = (ruled.wire.ip, ruled.far);
    let selectors = [
        "ipproto udp dport 4789".to_owned(),
        "ipproto udp".to_owned(),
        "ipproto tcp".to_owned(),
        "ipproto udp dport 4000-4788".to_owned(),
        "dport 4789-5000".to_owned(),
        "ipproto udp sport 1024-65534".to_owned(),
        format!("from {from}"),
        format!("from {to}"),
        format!("to {to}"),
        format!("from {from} ipproto udp"),
        format!("from {from} to {to} dport 4789"),
        format!("not from {from}"),
        "not ipproto udp".to_owned(),
        "fwmark 7".to_owned(),
        "not fwmark 7".to_owned(),
        "tos 0x10".to_owned(),
        "uidrange 0-0".to_owned(),
        "uidrange 1-70000".to_owned(),
        "iif lo".to_owned(),
        format!("oif {UPLINK}"),
    ];
    // Any numbers will do, the same each time.
    let mut state = 0x2545_f491_u32;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        usize::try_from(state).expect("a number") % below
    };
    let mut led_elsewhere = 0;
    for round in 0..24 {
        let chosen: Vec<String> = (0..=random(3))
            .map(|pref| {
                let selector = &selectors[random(selectors.len())];
                format!("{selector} pref {} lookup {}", 10 + pref, 101 + random(2))
            })
            .collect();
        for rule in &chosen {
            ruled.rule(&format!("add {rule}"));
        }
        let kernels = ruled.kernels();

        until_true(&format!("round {round}: {chosen:?}"), || {
            ruled.ours() == kernels
        });

        led_elsewhere += usize::from(kernels != GATEWAYS[0].0);
        for rule in &chosen {
            ruled.rule(&format!("del {rule}"));
        }
    }
    assert!((5..24).contains(&led_elsewhere), "{led_elsewhere}");
}
