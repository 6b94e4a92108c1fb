//! XDP sees in-band VLAN tags, and no skb VLAN tags.

use vtep_tests::bpf::asm::{Asm, Helper, Reg};
use vtep_tests::bpf::program::{Program, ProgramType};
use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::refusal::{assert_refused, refused};
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, VM, Wire};
use vtep_tests::lab::{BLUE, GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::Capture;
use vtep_tests::link::offload::set_vlan_offload;
use vtep_tests::need_root;
use vtep_tests::traffic::checks::marked;
use vtep_tests::wait::until_true;

/// A MAC behind the port that is a trunk.
const SENDER: Mac = Mac::nth(0x21);

/// What sends frames out of a device with an skb VLAN tag.
struct SkbTagger {
    way_in: Capture,
    _program: std::os::fd::OwnedFd,
}

impl SkbTagger {
    /// Sends by `dev` in VLAN `vid`.
    fn new(ns: &Ns, dev: &str, vid: i32) -> Self {
        ns.ip("link add name in0 type veth peer name in1\nlink set in0 up\nlink set in1 up");
        for end in ["in0", "in1"] {
            ns.sysctl(&format!("ipv6/conf/{end}/disable_ipv6"), "1");
        }
        let proto = i32::from(0x8100_u16.to_be());
        let push = Asm::new()
            .set(Reg::R2, proto)
            .set(Reg::R3, vid)
            .call(Helper::SkbVlanPush)
            .redirect(ns.ifindex(dev));
        let program = Program::load(ProgramType::Tc, &push).attach(ns, "in1");
        Self {
            way_in: Capture::all(ns, "in0"),
            _program: program,
        }
    }

    fn send(&self, frame: &[u8]) {
        self.way_in.send(frame);
    }
}

/// The hook that a daemon says its one uplink has.
fn uplink_hook(daemon: &Daemon) -> String {
    let status = daemon.status();
    status["uplinks"][0]["hook"]
        .as_str()
        .expect("a hook")
        .to_owned()
}

/// Whether an interface has an XDP program.
fn has_xdp(ns: &Ns, dev: &str) -> bool {
    ns.ip_output(&format!("link show {dev}")).contains(" xdp ")
}

#[test]
fn xdp_is_refused_at_an_uplink_whose_tags_it_does_not_see() {
    need_root!();
    let (ns, far) = (Ns::new("uplink"), Ns::new("far"));
    ns.veth(UPLINK, &far, "far0");
    ns.ip(&format!("addr add 198.18.0.1/24 dev {UPLINK}"));
    let args = ["--iface", UPLINK, "--uplink-hook", "xdp"];
    let daemon = Daemon::named(&ns, &vtep_tests::lab::ns::unique("i"), &args);

    let out = daemon.refused_start(daemon.run_command());

    let needles = [
        UPLINK,
        "VLAN tags",
        "ethtool -K up0 rxvlan off",
        "txvlan off",
        "--uplink-hook tc",
    ];
    assert_refused(&out, 1, &needles, "a start");
    assert!(!has_xdp(&ns, UPLINK));
    set_vlan_offload(&ns, UPLINK, false);
    set_vlan_offload(&far, "far0", false);
    daemon.run();
    assert_eq!(uplink_hook(&daemon), "xdp native");
}

#[test]
fn xdp_is_refused_at_a_port_whose_tags_it_does_not_see() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let far = Ns::new("far");
    wire.ns.veth("p0", &far, "far0");
    let needles = ["ethtool -K p0 rxvlan off", "txvlan off", "--hook tc"];
    let add = format!("port add p0 --vni {GREEN} --hook xdp");
    refused(&wire.daemon, &add, 1, &needles);
    assert!(!has_xdp(&wire.ns, "p0"));
    wire.daemon.ok(&format!("port add p0 --vni {GREEN}"));
    refused(&wire.daemon, "port set p0 --hook xdp", 1, &needles);
    assert!(!has_xdp(&wire.ns, "p0"));

    set_vlan_offload(&wire.ns, "p0", false);
    wire.daemon.ok("port set p0 --hook xdp");
    assert!(has_xdp(&wire.ns, "p0"));
}

#[test]
fn xdp_leaves_a_port_while_it_does_not_see_tags_and_comes_back() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let far = Ns::new("far");
    wire.ns.veth_for_xdp("p0", &far, "far0");
    wire.daemon
        .ok(&format!("port add p0 --vni {GREEN} --hook xdp"));
    wire.daemon.ok(&format!("vni add {BLUE}"));
    wire.daemon
        .ok(&format!("port add p0 --vni {BLUE} --vlan 20"));
    let in_vlan_20 = SkbTagger::new(&far, "far0", 20);
    let stays_out = |mark| {
        let frame = marked(SENDER, FAR_VM, mark).build();
        let before = wire.daemon.dropped("nowhere_to_flood");
        in_vlan_20.send(&frame);
        wire.daemon.expect_dropped("nowhere_to_flood", before + 1);
        assert!(!wire.left().contains(&frame), "it left in another VNI");
    };
    // In the frame: the other end leaves it there.
    stays_out(1);

    for (ns, dev) in [(&wire.ns, "p0"), (&far, "far0")] {
        set_vlan_offload(ns, dev, true);
    }
    until_true("XDP to be gone", || !has_xdp(&wire.ns, "p0"));
    stays_out(2);
    // Also for a daemon that takes over.
    wire.daemon.kill();
    wire.daemon.run();
    assert!(!has_xdp(&wire.ns, "p0"));
    stays_out(3);

    for (ns, dev) in [(&far, "far0"), (&wire.ns, "p0")] {
        set_vlan_offload(ns, dev, false);
    }
    until_true("XDP to be back", || has_xdp(&wire.ns, "p0"));
    stays_out(4);
}

#[test]
fn xdp_leaves_an_uplink_while_it_does_not_see_tags_and_comes_back() {
    need_root!();
    let (ns, far) = (Ns::new("hv"), Ns::new("far"));
    ns.veth_for_xdp(UPLINK, &far, "far0");
    let family = Family::V4;
    let (ip, far_ip) = (family.address(0, 1), family.address(0, 2));
    ns.ip(&format!("addr add {ip}/{} dev {UPLINK}", family.prefix()));
    let port = vtep_tests::link::tap::Tap::new(&ns, "vm0");
    ns.sysctl("ipv6/conf/vm0/disable_ipv6", "1");
    let args = ["--iface", UPLINK, "--uplink-hook", "xdp"];
    let daemon = Daemon::start(&ns, &args);
    daemon.ok(&format!("vni add {GREEN} --sources any"));
    daemon.ok(&format!("port add vm0 --vni {GREEN} --mac {VM}"));
    let packet = |mark| {
        let inner = marked(FAR_VM, VM, mark).build();
        let outer = eth(FAR_MAC, ns.mac(UPLINK))
            .ip(far_ip, ip)
            .udp_unchecked(50000, 4789)
            .vxlan(GREEN)
            .bytes(&inner)
            .build();
        (outer, inner)
    };
    let plain = Capture::all(&far, "far0");
    let in_vlan_666 = SkbTagger::new(&far, "far0", 666);
    let stays_out = |mark| {
        in_vlan_666.send(&packet(mark).0);
        // What comes later has come after it.
        let (outer, inner) = packet(mark + 100);
        plain.send(&outer);
        port.expect(&inner);
        assert_eq!(port.recv(std::time::Duration::ZERO), None);
    };
    assert_eq!(uplink_hook(&daemon), "xdp native");
    stays_out(1);

    set_vlan_offload(&ns, UPLINK, true);
    set_vlan_offload(&far, "far0", true);
    until_true("TC alone to be left", || uplink_hook(&daemon) == "tc");
    assert!(!has_xdp(&ns, UPLINK));
    stays_out(2);

    set_vlan_offload(&far, "far0", false);
    set_vlan_offload(&ns, UPLINK, false);
    until_true("XDP to be back", || uplink_hook(&daemon) == "xdp native");
    stays_out(3);
}
