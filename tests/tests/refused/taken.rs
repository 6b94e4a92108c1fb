//! Interfaces that belong to somebody else already.

use vtep_tests::bpf::asm::Asm;
use vtep_tests::bpf::program::{Program, ProgramType};
use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::refusal::refused;
use vtep_tests::encoder::Mac;
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::{bpf, need_root};

use crate::wire;

/// An XDP program's word for a frame that the host shall have.
const XDP_PASS: i32 = 2;

#[test]
fn a_port_whose_xdp_is_another_s_is_refused_and_nothing_of_it_is_left() {
    need_root!();
    let wire = wire();
    let far = Ns::new("far");
    wire.ns.veth_for_xdp("vm9", &far, "vm9");
    let pass = Program::load(ProgramType::Xdp, &Asm::new().returns(XDP_PASS));
    let held = pass.attach(&wire.ns, "vm9");
    let add = "port add vm9 --vni 100 --hook xdp --mac 02:00:00:00:00:0c --ip 10.0.0.9";
    let programs = bpf::tcx_programs(&wire.ns, "vm9");
    refused(
        &wire.daemon,
        add,
        1,
        &["vm9", "ip link set dev vm9 xdp off"],
    );
    assert_eq!(
        bpf::tcx_programs(&wire.ns, "vm9"),
        programs,
        "still attached"
    );

    drop(held);
    wire.daemon.ok(add);
    assert!(wire.daemon.fdb(GREEN, Mac([2, 0, 0, 0, 0, 0x0c])).is_some());
}

#[test]
fn a_port_that_is_another_instance_s_is_refused_and_nothing_of_it_is_left() {
    need_root!();
    let wire = wire();
    let far = Ns::new("far");
    wire.ns.veth_for_xdp("vm9", &far, "vm9");
    wire.daemon
        .ok(&format!("port add vm9 --vni {GREEN} --hook xdp"));
    let other = Daemon::start(
        &wire.ns,
        &[
            "--iface",
            UPLINK,
            "--uplink-hook",
            "tc",
            "--udp-port",
            "4790",
        ],
    );
    other.ok("vni add 7");
    let add = "port add vm9 --vni 7 --hook xdp --mac 02:00:00:00:00:0c --ip 10.0.0.9";
    let programs = bpf::tcx_programs(&wire.ns, "vm9");
    let instead = format!("vtep port del vm9 --instance {}", wire.daemon.instance());
    refused(&other, add, 1, &["vm9", &instead]);
    assert_eq!(
        bpf::tcx_programs(&wire.ns, "vm9"),
        programs,
        "still attached"
    );

    wire.daemon.ok("port del vm9");
    other.ok(add);
    assert!(other.fdb(7, Mac([2, 0, 0, 0, 0, 0x0c])).is_some());
}
