//! The four modes, with three hypervisors of which one is Linux with its `vxlan` device and a bridge.

use std::net::IpAddr;
use std::time::Duration;

use vtep_tests::encoder::Mac;
use vtep_tests::lab::kernel;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Kind, Lab, UPLINK, Vm, drain};
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::{Capture, carrying};
use vtep_tests::over_each_family;
use vtep_tests::traffic::checks::{self, marked, reaches_exactly_once};
use vtep_tests::traffic::pings;
use vtep_tests::wait::{DEADLINE, until_true};

over_each_family! {
    multicast_sends_one_copy_to_the_group,
    multicast_finds_vteps_that_nobody_named,
    flood_sends_a_copy_to_each_vtep_until_it_has_learned,
    l2_floods_and_learns_nothing,
    l3_floods_nothing_and_learns_nothing,
    l3_works_with_next_hops_alone,
    the_mode_changes_while_vms_talk,
    each_part_of_a_mode_is_a_switch_of_its_own,
}

const MIXED: [Kind; 3] = [Kind::Vtep, Kind::Vtep, Kind::Kernel];
const THREE: [Kind; 3] = [Kind::Vtep; 3];
/// For what would have come by then.
const SOON: Duration = Duration::from_millis(50);
/// Nobody's MAC.
const UNKNOWN: Mac = Mac::nth(0x99);

fn lab(family: Family, kinds: &[Kind], topology: Topology) -> Lab {
    Lab::new(Underlay { family, topology }, kinds)
}

/// Makes [`GREEN`] at every hypervisor, without flood lists.
fn segment(lab: &Lab, ours: &str, theirs: &str) {
    for hypervisor in &lab.hypervisors {
        match &hypervisor.vtep {
            Some(vtep) => drop(vtep.ok(&format!("vni add {GREEN} {ours}"))),
            None => kernel::add_vni_with(
                &hypervisor.ns,
                GREEN,
                hypervisor.ip,
                lab.inner_mtu(),
                theirs,
            ),
        }
    }
}

/// Puts every VTEP on the flood list of every other one.
fn flood_lists(lab: &Lab) {
    for here in &lab.hypervisors {
        for there in &lab.hypervisors {
            if here.ip != there.ip {
                here.flood_to(GREEN, there.ip);
            }
        }
    }
}

/// A VM behind each hypervisor.
fn vms(lab: &Lab) -> Vec<Vm> {
    (0..lab.hypervisors.len())
        .zip(1..)
        .map(|(at, number)| lab.vm(at, number, GREEN))
        .collect()
}

/// Tells everybody by hand where every VM is, Linux too.
fn teach_macs(lab: &Lab, vms: &[Vm]) {
    for vm in vms {
        lab.teach(GREEN, vm);
        for (at, hypervisor) in lab.hypervisors.iter().enumerate() {
            if hypervisor.vtep.is_none() && at != vm.at {
                hypervisor.ns.bridge(&format!(
                    "fdb append {} dev vx{GREEN} dst {}",
                    vm.mac, lab.hypervisors[vm.at].ip
                ));
            }
        }
    }
}

/// Tells everybody by hand which MAC every VM has.
fn teach_hosts(lab: &Lab, vms: &[Vm]) {
    for hypervisor in &lab.hypervisors {
        for (vm, ip) in vms.iter().flat_map(|vm| vm.ips().map(|ip| (vm, ip))) {
            let mac = vm.mac;
            if let Some(vtep) = &hypervisor.vtep {
                vtep.ok(&format!("neigh add {ip} --vni {GREEN} --lladdr {mac}"));
            } else {
                let entry = format!("neigh add {ip} lladdr {mac} dev vx{GREEN}");
                hypervisor.ns.ip(&entry);
            }
        }
    }
}

/// Captures of what each hypervisor sends.
fn uplinks(lab: &Lab) -> Vec<Capture> {
    (0..lab.hypervisors.len())
        .map(|at| Capture::arriving(&lab.fabric, &format!("hv{at}")))
        .collect()
}

/// Sends a frame as a VM and returns where the copies of it went that each hypervisor sent; waits until there are `want`.
fn copies(
    lab: &Lab,
    uplinks: &[Capture],
    from: &Vm,
    to: Mac,
    mark: u32,
    want: usize,
) -> Vec<Vec<(Mac, IpAddr)>> {
    drain(uplinks);
    let frame = marked(from.mac, to, mark).build();
    from.link().send(&frame);
    carrying(uplinks, &frame, want, SOON)
        .into_iter()
        .map(|outers| {
            let mut to: Vec<_> = outers
                .iter()
                .map(|outer| lab.underlay.family.destination(outer))
                .collect();
            to.sort();
            to
        })
        .collect()
}

/// The IPs that copies went to.
fn ips(copies: &[(Mac, IpAddr)]) -> Vec<IpAddr> {
    copies.iter().map(|(_, ip)| *ip).collect()
}

/// The tables that learning would change, of every vtep.
fn learnable(lab: &Lab) -> Vec<Vec<serde_json::Value>> {
    let daemons = lab.hypervisors.iter().filter_map(|h| h.vtep.as_ref());
    daemons
        .flat_map(|vtep| ["fdb", "neigh", "nexthop", "vni"].map(|table| vtep.table(table)))
        .collect()
}

/// A frame from each VM comes to every other one exactly once.
#[track_caller]
fn floods_reach_everybody(vms: &[Vm], mark: u32) {
    let links: Vec<Capture> = vms.iter().map(Vm::link).collect();
    for sender in 0..vms.len() {
        for (dst, mark) in [Mac::BROADCAST, UNKNOWN].into_iter().zip(mark..) {
            let frame = marked(vms[sender].mac, dst, mark).build();
            let others: Vec<_> = (0..vms.len())
                .filter(|at| *at != sender)
                .map(|at| &links[at])
                .collect();
            reaches_exactly_once(&links[sender], &frame, &others, &[&links[sender]]);
        }
    }
}

#[track_caller]
fn everybody_pings_everybody(vms: &[Vm]) {
    for a in vms {
        for b in vms.iter().filter(|b| b.at > a.at) {
            checks::ping_both_ways(a, b);
        }
    }
}

/// A lab whose VTEPs know of each other by a group alone.
fn multicast_lab(family: Family) -> (Lab, Vec<Vm>) {
    let lab = lab(family, &MIXED, Topology::Flat);
    let group = family.group();
    segment(
        &lab,
        &format!("--mode multicast --group {group}"),
        &format!("group {group} dev {UPLINK} ttl 5"),
    );
    let vms = vms(&lab);
    (lab, vms)
}

fn multicast_sends_one_copy_to_the_group(family: Family) {
    let (lab, vms) = multicast_lab(family);
    let uplinks = uplinks(&lab);
    let group = (family.group_mac(), family.group());

    floods_reach_everybody(&vms, 0x100);
    for (at, mark) in [0, 1].into_iter().zip(1..) {
        for dst in [Mac::BROADCAST, UNKNOWN, Mac([1, 0, 0x5e, 1, 2, 3])] {
            let mut want = vec![vec![]; 3];
            want[at] = vec![group];
            let got = copies(&lab, &uplinks, &vms[at], dst, mark, 1);
            assert_eq!(got, want, "copies of a frame from {at} to {dst}");
        }
    }
}

fn multicast_finds_vteps_that_nobody_named(family: Family) {
    let (lab, vms) = multicast_lab(family);
    let uplinks = uplinks(&lab);
    for at in [0, 1] {
        let fdb = lab.daemon(at).table("fdb");
        assert!(fdb.iter().all(|row| row["state"] == "learned"), "{fdb:?}");
        let vni = &lab.daemon(at).table("vni")[0];
        assert_eq!(vni["remotes"], serde_json::json!([]));
        assert_eq!(vni["group"], family.group().to_string().as_str());
        assert_eq!(
            (&vni["mode"], &vni["flood"]),
            (&"multicast".into(), &"multicast".into())
        );
    }

    everybody_pings_everybody(&vms);

    for (at, other) in [(0, 1), (0, 2), (1, 0), (1, 2)] {
        let far = lab.hypervisors[other].ip;
        until_true("the other VTEP to be known", || {
            let row = lab.daemon(at).fdb(GREEN, vms[other].mac);
            row.is_some_and(|row| {
                row["dst"] == far.to_string().as_str() && row["state"] == "learned"
            })
        });
        let got = copies(&lab, &uplinks, &vms[at], vms[other].mac, 9, 1);
        assert_eq!(ips(&got[at]), [far], "of a frame from {at} to {other}");
    }
}

fn flood_sends_a_copy_to_each_vtep_until_it_has_learned(family: Family) {
    let lab = lab(family, &MIXED, Topology::Routed);
    segment(&lab, "--mode flood", "");
    flood_lists(&lab);
    let (vms, uplinks) = (vms(&lab), uplinks(&lab));
    let mut others: Vec<_> = [1, 2].map(|at: usize| lab.hypervisors[at].ip).into();
    others.sort();

    for (dst, mark) in [Mac::BROADCAST, UNKNOWN].into_iter().zip(1..) {
        let mut got = ips(&copies(&lab, &uplinks, &vms[0], dst, mark, 2)[0]);
        got.sort();
        assert_eq!(got, others, "copies of a frame to {dst}");
    }
    floods_reach_everybody(&vms, 0x100);
    everybody_pings_everybody(&vms);
    for (other, mark) in [1, 2].into_iter().zip(10..) {
        until_true("the VM to be learned", || {
            lab.daemon(0).fdb(GREEN, vms[other].mac).is_some()
        });
        let got = copies(&lab, &uplinks, &vms[0], vms[other].mac, mark, 1);
        assert_eq!(ips(&got[0]), [lab.hypervisors[other].ip]);
    }
}

fn l2_floods_and_learns_nothing(family: Family) {
    let lab = lab(family, &MIXED, Topology::Routed);
    segment(&lab, "--mode l2", "nolearning");
    flood_lists(&lab);
    let (vms, uplinks) = (vms(&lab), uplinks(&lab));
    teach_macs(&lab, &vms);
    let before = learnable(&lab);

    everybody_pings_everybody(&vms);
    checks::tcp_both_ways(&vms[0], &vms[2]);
    floods_reach_everybody(&vms, 0x100);
    for dst in [Mac::BROADCAST, UNKNOWN] {
        let got = copies(&lab, &uplinks, &vms[0], dst, 1, 2);
        assert_eq!(got[0].len(), 2, "copies of a frame to {dst}");
    }
    let known = copies(&lab, &uplinks, &vms[0], vms[2].mac, 2, 1);
    assert_eq!(ips(&known[0]), [lab.hypervisors[2].ip]);

    assert_eq!(learnable(&lab), before, "something was learned");
}

fn l3_floods_nothing_and_learns_nothing(family: Family) {
    let lab = lab(family, &MIXED, Topology::Routed);
    segment(&lab, "--mode l3", "nolearning proxy");
    let (vms, uplinks) = (vms(&lab), uplinks(&lab));
    teach_macs(&lab, &vms);
    teach_hosts(&lab, &vms);
    let before = learnable(&lab);

    everybody_pings_everybody(&vms);
    checks::tcp_both_ways(&vms[0], &vms[2]);
    checks::tcp_both_ways(&vms[0], &vms[1]);
    // ARP and multicast, ND too, stayed at home all the while.
    for (at, uplink) in uplinks.iter().enumerate() {
        let inner = family.outer_len();
        for outer in uplink.collect(SOON, |_| false) {
            let group = outer.get(inner).is_some_and(|first| first & 1 != 0);
            let vxlan = outer.get(inner - 14..inner - 12) == Some(&4789_u16.to_be_bytes());
            assert!(!(group && vxlan), "hypervisor {at} flooded");
        }
    }
    for (dst, reason) in [(Mac::BROADCAST, "flood_off"), (UNKNOWN, "no_fdb_entry")] {
        let dropped = lab.daemon(0).dropped(reason);
        let got = copies(&lab, &uplinks, &vms[0], dst, 1, 0);
        assert_eq!(got, vec![vec![]; 3], "copies of a frame to {dst}");
        // VMs say something by themselves too.
        until_true("the frame to be counted", || {
            lab.daemon(0).dropped(reason) > dropped
        });
    }

    assert_eq!(learnable(&lab), before, "something was learned");
}

fn l3_works_with_next_hops_alone(family: Family) {
    let lab = lab(family, &THREE, Topology::Routed);
    segment(&lab, "--mode l3", "");
    let vms: Vec<Vm> = (0..3)
        .zip(1..)
        .map(|(at, number)| {
            let vm = lab.vm_unattached(vtep_tests::lab::Attach::Veth, at, number);
            let [v4, v6] = vm.ips();
            lab.daemon(at).ok(&format!(
                "port add {} --vni {GREEN} --ip {v4} --ip {v6}",
                vm.port
            ));
            vm
        })
        .collect();
    for (at, vm) in (0..3).flat_map(|at| vms.iter().map(move |vm| (at, vm))) {
        for ip in vm.ips().into_iter().filter(|_| vm.at != at) {
            let via = lab.hypervisors[vm.at].ip;
            lab.daemon(at).ok(&format!(
                "nexthop add {ip} --vni {GREEN} --via {via} --lladdr {}",
                vm.mac
            ));
        }
    }
    let before = learnable(&lab);
    for at in 0..3 {
        assert_eq!(lab.daemon(at).table("fdb"), Vec::<serde_json::Value>::new());
        let rows = lab.daemon(at).table("nexthop");
        assert_eq!(rows.len(), 6, "{rows:?}");
        assert!(rows.iter().all(|row| row["usable"] == true), "{rows:?}");
    }

    everybody_pings_everybody(&vms);
    checks::tcp_both_ways(&vms[0], &vms[2]);

    assert_eq!(learnable(&lab), before, "something was learned");
}

fn the_mode_changes_while_vms_talk(family: Family) {
    let (lab, vms) = {
        let lab = lab(family, &THREE, Topology::Flat);
        segment(
            &lab,
            &format!("--mode multicast --group {}", family.group()),
            "",
        );
        let vms = vms(&lab);
        (lab, vms)
    };
    let uplinks = uplinks(&lab);
    let set = |args: &str| {
        for at in 0..3 {
            lab.daemon(at).ok(&format!("vni set {GREEN} {args}"));
        }
    };
    let flooded = |mark, want| {
        let copies = copies(&lab, &uplinks, &vms[0], Mac::BROADCAST, mark, want);
        assert_eq!(copies[0].len(), want);
    };
    everybody_pings_everybody(&vms);
    flooded(1, 1);

    set("--mode flood");
    flood_lists(&lab);
    everybody_pings_everybody(&vms);
    flooded(2, 2);

    set("--mode l2");
    everybody_pings_everybody(&vms);
    flooded(3, 2);

    set("--mode l3");
    teach_macs(&lab, &vms);
    teach_hosts(&lab, &vms);
    everybody_pings_everybody(&vms);
    flooded(4, 0);

    for at in 0..3 {
        for other in lab
            .hypervisors
            .iter()
            .filter(|h| h.ip != lab.hypervisors[at].ip)
        {
            lab.daemon(at).ok(&format!(
                "fdb del {} --vni {GREEN} --dst {}",
                Mac::ZERO,
                other.ip
            ));
        }
    }
    set(&format!("--mode multicast --group {}", family.group()));
    everybody_pings_everybody(&vms);
    flooded(5, 1);
}

fn each_part_of_a_mode_is_a_switch_of_its_own(family: Family) {
    let lab = lab(family, &THREE, Topology::Flat);
    segment(&lab, "", "");
    flood_lists(&lab);
    let (vms, uplinks) = (vms(&lab), uplinks(&lab));
    let set = |args: &str| drop(lab.daemon(0).ok(&format!("vni set {GREEN} {args}")));
    let flooded = |mark, want| {
        let copies = copies(&lab, &uplinks, &vms[0], Mac::BROADCAST, mark, want);
        assert_eq!(copies[0].len(), want);
    };

    set("--flood none");
    flooded(1, 0);
    // Nor is what comes in.
    let dropped = lab.daemon(0).dropped("flood_off");
    let frame = marked(vms[1].mac, Mac::BROADCAST, 2).build();
    let near = vms[0].link();
    vms[1].link().send(&frame);
    until_true("the frame to be counted", || {
        lab.daemon(0).dropped("flood_off") > dropped
    });
    assert!(!near.collect(SOON, |_| false).contains(&frame));
    set("--flood her");
    flooded(3, 2);

    set("--learning off");
    drop(
        lab.daemon(0)
            .ok(&format!("fdb flush --vni {GREEN} --learned")),
    );
    let before = lab.daemon(0).table("fdb");
    assert!(pings(&vms[0].ns, vms[1].v4, DEADLINE));
    assert_eq!(lab.daemon(0).table("fdb"), before);
    set("--learning on");
    assert!(pings(&vms[0].ns, vms[1].v4, DEADLINE));
    until_true("the VM to be learned", || {
        lab.daemon(0).fdb(GREEN, vms[1].mac).is_some()
    });
}
