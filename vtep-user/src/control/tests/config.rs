//! What was set, in whose name, and what a configuration file makes of it.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::{
    super::{Author, BuiltOn, Ground, Limits, Plan, ThingKey, Wanted, config::Difference},
    lab::*,
    random::any_op,
};
use crate::model::request::Request;
use crate::model::{ConfigLine, EntryState, Op, PlanRow, PortState, Refusal, Source, line, write};

const FILE: &str = "main.conf";

/// The lines of a file. What a line of a batch may be is not asked here.
fn lines(text: &str) -> Vec<ConfigLine> {
    let lines = (1..)
        .zip(text.lines())
        .map(|(number, text)| (number, text.trim()));
    lines
        .filter(|(_, text)| !text.is_empty())
        .map(|(line, text)| ConfigLine {
            file: FILE.into(),
            line,
            command: op(text),
        })
        .collect()
}

fn op(text: &str) -> Op {
    match line::read(text.split_whitespace()) {
        Some(Request::Change(op)) => op,
        _ => panic!("{text}"),
    }
}

fn ground() -> Ground {
    Ground {
        limits: Limits::default(),
        locals: locals(),
        udp_port: UDP_PORT,
        reserved: vec![("eth0".into(), super::super::ReservedFor::Uplink)],
    }
}

fn wanted(text: &str) -> Result<Wanted, Refusal> {
    Wanted::of(lines(text), ground())
}

fn plan(lab: &Lab, text: &str, built_on: BuiltOn) -> Result<Plan, Refusal> {
    lab.state.plan_for(&wanted(text)?, &lab.links, built_on)
}

/// Applies a file, and returns what was done.
fn apply(lab: &mut Lab, text: &str) -> Vec<String> {
    let plan = plan(lab, text, BuiltOn::Refuse).unwrap_or_else(|refusal| panic!("{refusal}"));
    carry_out(lab, &plan);
    shown(&plan)
}

fn carry_out(lab: &mut Lab, plan: &Plan) {
    for step in &plan.steps {
        if let Some(op) = &step.op {
            lab.author = step.author;
            lab.done(op);
        }
    }
    lab.author = Author::CLI;
}

fn shown(plan: &Plan) -> Vec<String> {
    plan.rows().map(PlanRow::line).collect()
}

fn cli(lab: &mut Lab, text: &str) {
    for line in lines(text) {
        lab.done(&line.command);
    }
}

/// Everything that was set, as the commands that make it, with whose it is.
fn dump(lab: &Lab) -> Vec<String> {
    let rows = lab.state.dump(None, None).into_iter();
    rows.map(|row| format!("{} {}", row.source.unwrap(), row.command))
        .collect()
}

const ALL: &str = "
    vni add 100 --mode l2
    vni add 200 --mode multicast --group 239.1.1.1 --ageing 60 --max-macs 9 --ttl inherit --tos 184
    vni add 300 --mode l3 --sources any --l2cp pass --mss-clamp on
    port add tap0 --vni 100 --hook tc --mac 02:00:00:00:00:01 --ip 10.0.0.1 --max-macs 5 --isolated on --guard mac --over-limit flood
    port add tap1 --vni 100 --vlan 10 --mac 02:00:00:00:00:02
    port add tap1 --vni 200
    fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2
    fdb add 02:00:00:00:00:0c --vni 200 --dev tap1
    fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.2
    fdb append 00:00:00:00:00:00 --vni 100 --dst 2001:db8::2
    fdb append 01:00:5e:00:00:01 --vni 100 --dst 192.0.2.3
    neigh add 10.0.0.9 --vni 100 --lladdr 02:00:00:00:00:0b
    neigh add fd00::9 --vni 100 --lladdr 02:00:00:00:00:0b --router
    nexthop add 10.1.0.0/16 --vni 100 --via 192.0.2.2
    nexthop add 10.2.0.1 --vni 100 --via 192.0.2.3 --lladdr 02:00:00:00:00:0e
    peer set 2001:db8::2 --csum6 off
";

#[test]
fn what_is_set_is_the_source_s_and_stays_it_over_a_restart() {
    let mut lab = Lab::new();
    apply(&mut lab, ALL);
    cli(
        &mut lab,
        "vni add 400
         port add tap2 --vni 100 --mac 02:00:00:00:00:03
         fdb add 02:00:00:00:00:0d --vni 100 --dst 192.0.2.2
         fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.3
         neigh add 10.0.0.8 --vni 100 --lladdr 02:00:00:00:00:0b
         nexthop add 10.3.0.0/16 --vni 100 --via 192.0.2.2",
    );
    let adopted = lab.adopt();
    assert_eq!(adopted.writes, []);
    lab.state = adopted.state;

    let rows = lab.rows();
    let of = |source| {
        let vnis = rows.vnis.iter().filter(|row| row.source == source);
        let ports = rows.ports.iter().filter(|row| row.source == source);
        let fdb = rows.fdb.iter().filter(|row| row.source == Some(source));
        let neighs = rows.neighs.iter().filter(|row| row.source == Some(source));
        let nexthops = rows
            .nexthops
            .iter()
            .filter(|row| row.source == Some(source));
        [
            vnis.count(),
            ports.count(),
            fdb.count(),
            neighs.count(),
            nexthops.count(),
        ]
    };
    assert_eq!(of(Source::Config), [3, 3, 7, 2, 2]);
    assert_eq!(of(Source::Cli), [1, 1, 3, 1, 1]);
    let peer = |at: &str| {
        rows.peers
            .iter()
            .find(|row| row.ip == ip(at))
            .unwrap()
            .source
    };
    assert_eq!(peer("2001:db8::2"), Some(Source::Config));
    assert_eq!(peer("192.0.2.2"), None);
}

#[test]
fn a_learned_mac_has_no_source() {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    lab.done(&port_add("tap0", 100));
    lab.learn("02:00:00:00:00:0a", From::Port(0));
    assert_eq!(lab.row("02:00:00:00:00:0a").source, None);
}

#[test]
fn a_file_is_applied_once_and_then_there_is_nothing_to_do() {
    let mut lab = Lab::new();

    let done = apply(&mut lab, ALL);

    assert!(done.iter().all(|line| line.starts_with("+ ")), "{done:?}");
    // An entry at a port is one of the port's settings.
    assert_eq!(done.len(), 15);
    assert_eq!(apply(&mut lab, ALL), [""; 0]);
}

#[test]
fn what_is_dumped_gives_the_same_state_again() {
    let mut lab = Lab::new();
    apply(&mut lab, ALL);

    let text: Vec<String> = lab
        .state
        .dump(None, None)
        .into_iter()
        .map(|row| row.command)
        .collect();
    let mut other = Lab::new();
    apply(&mut other, &text.join("\n"));

    assert_eq!(dump(&other), dump(&lab));
    let of_200 = lab.state.dump(Some(vni(200)), None);
    let of_200: Vec<_> = of_200.iter().map(|row| &*row.command).collect();
    assert_eq!(
        of_200,
        [
            "vni add 200 --mode multicast --group 239.1.1.1 --ageing 60 --max-macs 9 --ttl inherit --tos 184",
            "port add tap1 --vni 200 --mac 02:00:00:00:00:0c",
        ]
    );
    assert_eq!(lab.state.dump(None, Some(Source::Cli)), []);
}

#[test]
fn a_changed_file_is_a_line_for_each_thing_additions_before_deletions() {
    let mut lab = Lab::new();
    apply(
        &mut lab,
        "vni add 100 --mode l2
         vni add 200
         port add tap0 --vni 100
         port add tap1 --vni 200
         fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2
         fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.2
         fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.3",
    );

    let done = apply(
        &mut lab,
        "vni add 100 --mode flood --ageing 60
         vni add 300
         port add tap0 --vni 100 --isolated on
         fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.3
         fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.3",
    );

    assert_eq!(
        done,
        [
            "~ vni set 100 --mode flood --ageing 60",
            "+ vni add 300",
            "~ port set tap0 --isolated on",
            "~ fdb replace 02:00:00:00:00:0b --vni 100 --dst 192.0.2.3",
            "- fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.2",
            "- port add tap1 --vni 200",
            "- vni add 200",
        ]
    );
}

#[test]
fn what_commands_made_is_left_alone_and_what_the_file_names_is_taken_over() {
    let mut lab = Lab::new();
    apply(
        &mut lab,
        "vni add 100\nport add tap0 --vni 100 --mac 02:00:00:00:00:01",
    );
    cli(
        &mut lab,
        "vni add 200
         fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2
         fdb add 02:00:00:00:00:0c --vni 100 --dev tap0
         fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.2",
    );
    lab.learn("02:00:00:00:00:0a", From::Port(0));

    let same = "vni add 100\nport add tap0 --vni 100 --mac 02:00:00:00:00:01";
    assert_eq!(apply(&mut lab, same), [""; 0]);
    let done = apply(
        &mut lab,
        "vni add 100
         vni add 200
         port add tap0 --vni 100 --mac 02:00:00:00:00:02
         fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.2",
    );

    assert_eq!(
        done,
        [
            "~ vni add 200",
            "~ port set tap0 --mac 02:00:00:00:00:02",
            "~ fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.2",
        ]
    );
    assert_eq!(
        dump(&lab),
        [
            "config vni add 100",
            "config vni add 200",
            "config port add tap0 --vni 100 --mac 02:00:00:00:00:02",
            "cli fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2",
            "cli fdb add 02:00:00:00:00:0c --vni 100 --dev tap0",
            "config fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.2",
        ]
    );
    assert_eq!(lab.row("02:00:00:00:00:0a").source, None);
}

#[test]
fn a_change_by_a_command_leaves_a_thing_the_file_s_and_is_taken_back() {
    let mut lab = Lab::new();
    let file = "vni add 100\nport add tap0 --vni 100 --mac 02:00:00:00:00:01\nfdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2";
    apply(&mut lab, file);
    cli(
        &mut lab,
        "vni set 100 --ageing 5
         port set tap0 --isolated on
         fdb replace 02:00:00:00:00:0b --vni 100 --dst 192.0.2.3",
    );
    assert_eq!(lab.rows().vnis[0].source, Source::Config);
    assert_eq!(lab.rows().ports[0].source, Source::Config);
    assert_eq!(lab.row("02:00:00:00:00:0b").source, Some(Source::Cli));

    assert_eq!(
        apply(&mut lab, file),
        [
            "~ vni set 100 --ageing 300",
            "~ port set tap0 --isolated off",
            "~ fdb replace 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2",
        ]
    );
}

#[test]
fn what_a_command_has_built_on_is_not_taken_away_unless_it_is_forced() {
    for built in [
        "port add tap1 --vni 100",
        "fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2",
        "neigh add 10.0.0.1 --vni 100 --lladdr 02:00:00:00:00:0b",
    ] {
        let mut lab = Lab::new();
        apply(
            &mut lab,
            "vni add 100\nport add tap0 --vni 100\nvni add 200",
        );
        cli(&mut lab, built);
        let before = dump(&lab);

        let refusal = plan(&lab, "vni add 200", BuiltOn::Refuse).unwrap_err();
        assert!(refusal.message.contains(built), "{refusal}");
        assert!(refusal.message.contains("`vni add 100`"), "{refusal}");
        assert!(refusal.message.contains("vtep apply --force"), "{refusal}");
        assert_eq!(dump(&lab), before);

        let kept = plan(&lab, "vni add 200", BuiltOn::Keep).unwrap();
        assert_eq!(shown(&kept), ["- port add tap0 --vni 100"]);

        let taken = plan(&lab, "vni add 200", BuiltOn::Take).unwrap();
        let built = format!("- {built}");
        assert!(shown(&taken).contains(&built), "{:?}", shown(&taken));
        carry_out(&mut lab, &taken);
        assert_eq!(dump(&lab), ["config vni add 200"]);
    }
}

#[test]
fn a_bad_line_is_named_and_changes_nothing() {
    for (text, expected) in [
        (
            "vni add 100\nvni add 100",
            "main.conf:2: vni 100 exists already",
        ),
        (
            "port add tap0 --vni 100",
            "main.conf:1: vni 100 does not exist",
        ),
        (
            "vni add 100\n\nport add eth0 --vni 100",
            "main.conf:3: eth0 is the uplink",
        ),
        (
            "vni add 100\nfdb append 00:00:00:00:00:00 --vni 100 --dst 239.1.1.1",
            "main.conf:2: 239.1.1.1 is",
        ),
    ] {
        let refusal = wanted(text).unwrap_err();
        assert!(refusal.message.starts_with(expected), "{text}: {refusal}");
    }
    // What only the daemon knows: there is no room.
    let lab = Lab::with(Limits {
        ports: 1,
        ..Limits::default()
    });
    let text = "vni add 100\nport add tap0 --vni 100\nport add tap1 --vni 100";
    let refusal = plan(&lab, text, BuiltOn::Refuse).unwrap_err();
    assert!(
        refusal
            .message
            .starts_with("main.conf:3: the port table is full"),
        "{refusal}"
    );
}

const ABSENT: &str = "vni add 100
    port add gone0 --vni 100 --mac 02:00:00:00:00:01 --ip 10.0.0.1
    port add gone0 --vni 100 --vlan 7
    fdb add 02:00:00:00:00:02 --vni 100 --dev gone0";

fn port_rows(lab: &Lab) -> Vec<(String, PortState, Option<u32>)> {
    let rows = lab.state.port_rows(None).unwrap().into_iter();
    rows.map(|row| (row.dev, row.state, row.ifindex)).collect()
}

/// An interface comes, and the ports that wait for it.
fn comes(lab: &mut Lab, dev: &str, ifindex: u32) {
    assert!(lab.state.awaits(dev));
    lab.comes(dev, ifindex);
    assert!(!lab.state.awaits(dev));
}

#[test]
fn a_port_of_the_file_waits_for_its_interface() {
    let mut lab = Lab::new();
    apply(&mut lab, ABSENT);
    assert_eq!(apply(&mut lab, ABSENT), [""; 0]);
    let waiting = dump(&lab);
    let gone = || ("gone0".to_owned(), PortState::Absent, None);
    assert_eq!(port_rows(&lab), [gone(), gone()]);

    comes(&mut lab, "gone0", 30);

    let here = || ("gone0".to_owned(), PortState::Attached, Some(30));
    assert_eq!(port_rows(&lab), [here(), here()]);
    assert_eq!(dump(&lab), waiting);
    assert_eq!(apply(&mut lab, ABSENT), [""; 0]);
}

#[test]
fn a_port_outlives_its_interface_with_all_that_it_has() {
    let mut lab = Lab::new();
    apply(
        &mut lab,
        "vni add 100\nport add tap0 --vni 100 --mac 02:00:00:00:00:01 --isolated on",
    );
    cli(
        &mut lab,
        "fdb add 02:00:00:00:00:03 --vni 100 --dev tap0
         port add tap1 --vni 100 --mac 02:00:00:00:00:04",
    );
    lab.learn("02:00:00:00:00:0a", From::Port(0));
    let before = dump(&lab);

    for dev in ["tap0", "tap1"] {
        lab.goes(dev);
    }
    let fdb = lab.rows().fdb;
    assert!(fdb.iter().all(|row| row.state == EntryState::Static));
    assert_eq!(fdb.len(), 3);
    assert_eq!(dump(&lab), before);
    let absent = port_rows(&lab);
    assert!(
        absent
            .iter()
            .all(|(_, state, _)| *state == PortState::Absent)
    );
    comes(&mut lab, "tap0", 40);
    comes(&mut lab, "tap1", 10);

    assert_eq!(dump(&lab), before);
    assert_eq!(lab.rows().fdb.len(), 3);
}

#[test]
fn a_port_that_waits_can_be_changed_and_removed_as_any_other() {
    let mut lab = Lab::new();
    cli(&mut lab, "vni add 100");
    let refusal = lab.refused(&op("port add gone0 --vni 100"));
    assert!(refusal.contains("--wait"), "{refusal}");
    cli(
        &mut lab,
        "port add gone0 --vni 100 --wait --mac 02:00:00:00:00:01",
    );
    let refusal = lab.refused(&op("port add gone0 --vni 100 --wait"));
    assert!(refusal.contains("waits for its interface"), "{refusal}");

    cli(
        &mut lab,
        "port set gone0 --isolated on --mac 02:00:00:00:00:02",
    );
    let port = "cli port add gone0 --vni 100 --mac 02:00:00:00:00:02 --isolated on";
    assert_eq!(dump(&lab), ["cli vni add 100", port]);
    let refusal = lab.refused(&op("vni del 100"));
    assert!(refusal.contains("1 port, 1 static entry;"), "{refusal}");
    cli(&mut lab, "port replace gone0 --vni 100 --wait");
    assert_eq!(
        dump(&lab),
        ["cli vni add 100", "cli port add gone0 --vni 100"]
    );

    lab.done(&op("port del gone0"));
    assert_eq!(dump(&lab), ["cli vni add 100"]);
    assert!(lab.refused(&op("port del gone0")).contains("not a port"));
}

#[test]
fn an_address_may_go_from_a_port_that_goes_to_one_that_comes() {
    let mut lab = Lab::new();
    apply(
        &mut lab,
        "vni add 100\nport add tap0 --vni 100 --mac 02:00:00:00:00:01 --ip 10.0.0.1",
    );

    let done = apply(
        &mut lab,
        "vni add 100\nport add tap1 --vni 100 --mac 02:00:00:00:00:01 --ip 10.0.0.1",
    );

    assert_eq!(done.len(), 2);
    assert_eq!(lab.rows().ports[0].dev, "tap1");
}

#[test]
fn the_way_back_leads_to_what_was_set_and_to_whose_it_was() {
    let mut lab = Lab::new();
    apply(&mut lab, ALL);
    cli(
        &mut lab,
        "vni add 400\nport add tap2 --vni 400\nfdb add 02:00:00:00:00:31 --vni 400 --dst 192.0.2.2",
    );
    let shown = dump(&lab);
    let plan = plan(&lab, "vni add 400 --ageing 9\nvni add 500", BuiltOn::Refuse).unwrap();
    for half in 0..=plan.steps.len() {
        let mut lab = lab.clone();
        let before = lab.state.clone();
        let steps = plan.steps[..half].to_vec();
        carry_out(&mut lab, &Plan { steps });

        let back = lab.state.way_back(&before);
        carry_out(&mut lab, &back);

        assert_eq!(dump(&lab), shown, "after {half} steps");
    }
}

#[test]
fn a_port_and_a_vni_are_replaced_by_new_ones() {
    let mut lab = Lab::new();
    apply(
        &mut lab,
        "vni add 100 --mode l2 --ageing 5\nport add tap0 --vni 100 --mac 02:00:00:00:00:01 --isolated on",
    );

    cli(
        &mut lab,
        "vni replace 100 --ttl 9\nport replace tap0 --vni 100 --mac 02:00:00:00:00:02\nvni replace 200\nport replace tap1 --vni 200",
    );

    assert_eq!(
        dump(&lab),
        [
            "cli vni add 100 --ttl 9",
            "cli vni add 200",
            "cli port add tap0 --vni 100 --mac 02:00:00:00:00:02",
            "cli port add tap1 --vni 200",
        ]
    );
}

#[test]
fn a_vni_that_has_something_is_deleted_by_force_alone() {
    for (has, expected) in [
        ("port add tap0 --vni 100", "vni 100 has 1 port;"),
        (
            "fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.2",
            "vni 100 has 1 remote VTEP;",
        ),
        (
            "fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2",
            "vni 100 has 1 static entry;",
        ),
        (
            "nexthop add 10.0.0.0/8 --vni 100 --via 192.0.2.2",
            "vni 100 has 1 static entry;",
        ),
        (
            "neigh add 10.0.0.1 --vni 100 --lladdr 02:00:00:00:00:0b\nneigh add 10.0.0.2 --vni 100 --lladdr 02:00:00:00:00:0b",
            "vni 100 has 2 static entries;",
        ),
    ] {
        let mut lab = Lab::new();
        cli(&mut lab, "vni add 100");
        cli(&mut lab, has);
        let refusal = lab.refused(&op("vni del 100"));
        assert!(refusal.starts_with(expected), "{refusal}");
        assert!(refusal.ends_with("vtep vni del 100 --force"), "{refusal}");
        lab.done(&op("vni del 100 --force"));
    }
    // What was learned is no reason.
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    lab.done(&port_add("tap0", 100));
    lab.learn("02:00:00:00:00:0a", From::Vtep("192.0.2.2"));
    lab.done(&op("port del tap0"));
    lab.done(&op("vni del 100"));
}

#[test]
fn a_flush_takes_what_was_learned_unless_told_otherwise() {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    lab.done(&port_add("tap0", 100));
    cli(
        &mut lab,
        "fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2",
    );
    lab.learn("02:00:00:00:00:0a", From::Port(0));
    for (flush, left) in [
        ("fdb flush --vni 100", 1),
        ("fdb flush --vni 100 --static", 0),
    ] {
        lab.done(&op(flush));
        assert_eq!(lab.rows().fdb.len(), left, "{flush}");
    }
}

#[test]
fn every_thing_is_written_as_it_is_read() {
    for line in lines(ALL) {
        assert_eq!(op(&write::command(&line.command)), line.command);
    }
}

#[test]
fn a_daemon_that_is_killed_while_it_applies_a_file_is_brought_to_it_by_the_next_start() {
    const NEXT: &str = "
        vni add 100 --mode flood
        vni add 500
        port add tap0 --vni 500 --mac 02:00:00:00:00:01
        port add tap3 --vni 100 --mac 02:00:00:00:00:09
        fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.3
        fdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.3
        fdb append 01:00:5e:00:00:01 --vni 100 --dst 192.0.2.2
        neigh add 10.0.0.9 --vni 100 --lladdr 02:00:00:00:00:0c
        nexthop add 10.2.0.1 --vni 100 --via 192.0.2.2
    ";
    let mut lab = Lab::new();
    apply(&mut lab, ALL);
    cli(
        &mut lab,
        "vni add 400\nfdb append 00:00:00:00:00:00 --vni 100 --dst 192.0.2.9",
    );
    let plan = plan(&lab, NEXT, BuiltOn::Refuse).unwrap();
    let mut whole = lab.clone();
    carry_out(&mut whole, &plan);
    let expected = dump(&whole);

    let mut killed_at = 0;
    loop {
        let mut lab = lab.clone();
        let mut left = killed_at;
        for step in &plan.steps {
            let Some(op) = &step.op else { continue };
            let effect = lab.state.apply_as(step.author, op, &lab.links).unwrap();
            let made = effect.writes.len().min(left);
            lab.maps.replay(&effect.writes[..made]);
            left -= made;
            if made < effect.writes.len() {
                break;
            }
        }
        if left > 0 {
            break;
        }
        let adopted = lab.adopt();
        lab.state = adopted.state;
        lab.replay(&adopted.writes);

        apply(&mut lab, NEXT);
        assert_eq!(dump(&lab), expected, "killed after {killed_at} writes");
        killed_at += 1;
    }
    assert!(killed_at > 50, "{killed_at}");
}

#[test]
fn a_batch_is_tried_on_all_that_is_there_and_changes_nothing() {
    let mut lab = Lab::new();
    lab.done(&vni_add(100));
    lab.done(&port_add("tap0", 100));
    let learned = "02:00:00:00:00:0c";
    lab.learn(learned, From::Port(0));
    let before = lab.state.clone();
    let batch: Vec<_> = (1..)
        .zip([
            vni_add(100),
            vni_add(200),
            vni_add(200),
            port_add("tap1", 200),
            port_add("nowhere", 200),
            port_add("eth0", 200),
            op(&format!("fdb del {learned} --vni 100")),
            op(&format!("fdb del {learned} --vni 100")),
            op("fdb add 02:00:00:00:00:0b --vni 300 --dst 192.0.2.2"),
        ])
        .collect();

    let refused = lab.state.try_batch(&batch, &lab.links);

    assert_eq!(lab.state, before);
    let lines: Vec<_> = refused.iter().filter_map(|refusal| refusal.line).collect();
    assert_eq!(lines, [1, 3, 5, 6, 8, 9], "{refused:?}");
    let made = batch.iter().filter_map(|(line, op)| {
        let made = lab.apply(op);
        made.err().map(|refusal| refusal.at_line(*line))
    });
    assert_eq!(made.collect::<Vec<_>>(), refused);
}

/// A lab in which commands were done, each by the file or by a command; those that are refused are left out.
fn lab_of(commands: &[(bool, Op)]) -> Lab {
    let mut lab = Lab::new();
    for (by_file, op) in commands {
        lab.author = if *by_file {
            Author::CONFIG
        } else {
            Author::CLI
        };
        drop(lab.apply(op));
    }
    lab
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn two_states_differ_in_the_things_that_only_one_of_them_has(
        shared in vec((any::<bool>(), any_op()), 0..30),
        here in vec((any::<bool>(), any_op()), 0..15),
        there in vec((any::<bool>(), any_op()), 0..15),
    ) {
        let [from, to] = [here, there].map(|more| lab_of(&[shared.clone(), more].concat()).state);
        let (before, after) = (from.things(), to.things());
        let keys: BTreeSet<&ThingKey> = before.keys().chain(after.keys()).collect();
        let all = keys.into_iter().map(|key| Difference {
            key: key.clone(),
            from: before.get(key).cloned(),
            to: after.get(key).cloned(),
        });
        let expected: Vec<Difference> = all.filter(|it| it.from != it.to).collect();

        prop_assert_eq!(from.differences(&to), expected);
    }
}
