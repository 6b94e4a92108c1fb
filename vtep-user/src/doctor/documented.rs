//! That `docs/doctor.md` has what the checks have: their names in their order, and each command that mends something, also those of faults which are
//! rare. Every fault that there is stands in [`faults`].

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::facts::testkit::{
    at_host, drops_row, far, fdb_row, healthy, limit, link, with, without_daemon,
};
use super::facts::{DaemonFacts, Facts, HostFacts, Unseen, Way};
use super::finding::can_be_typed;
use super::{CHECKS, examine};
use crate::model::{CheckState, ConfigStatus, FdbRow, PeerState, StatsRow, UplinkState, VlanId};
use crate::netlink::{Card, Conflict, LinkKind, RouteKind, TableRoute};

const DOCUMENT: &str = include_str!("../../../docs/doctor.md");

/// A row of the document's table of checks: the name, and the commands of its last column.
fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
    let rows = DOCUMENT
        .lines()
        .skip_while(|line| !line.starts_with("| check |"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &'static str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, .., mend] = cells.as_slice() else {
            panic!("{line}");
        };
        let commands = mend.split('`').skip(1).step_by(2).collect();
        (name.trim_matches('`'), commands)
    };
    rows.map(row).collect()
}

/// Whether a command is of the form that the document has: words in capitals stand for any word.
fn is_of(command: &str, form: &str) -> bool {
    let command = command.trim_end_matches(" --instance blue");
    let (words, forms) = (command.split(' '), form.split(' '));
    let any =
        |form: &str| form.contains("DEV") || form.chars().all(|char| char.is_ascii_uppercase());
    let fits = |(word, form): (&str, &str)| word == form || any(form);
    words.clone().count() == forms.clone().count() && words.zip(forms).all(fits)
}

/// Facts with each fault that checks know.
fn faults() -> Vec<Facts> {
    [
        of_daemon(),
        of_uplinks(),
        of_paths(),
        of_rules(),
        of_host(),
        of_tables(),
    ]
    .concat()
}

fn of_daemon() -> Vec<Facts> {
    let unseen = |denied| {
        at_host(|host| {
            host.unseen = Some(Unseen {
                why: "it is not there".into(),
                denied,
            });
        })
    };
    let with_status = |change: fn(&mut DaemonFacts)| with(change);
    vec![
        without_daemon(),
        unseen(true),
        unseen(false),
        with_status(|daemon| daemon.status.version = "0.0.9".into()),
        with_status(|daemon| daemon.status.waits_for.push("uplink eth1".into())),
        with_status(|daemon| daemon.status.left_alone.push("the MTU of vtep4789".into())),
        with_status(|daemon| {
            daemon.status.config = Some(ConfigStatus {
                file: "/etc/vtep/blue.conf".into(),
                in_step: false,
                error: None,
            });
        }),
    ]
}

fn of_uplinks() -> Vec<Facts> {
    let strict = |host: &mut HostFacts| {
        host.rp_filter.insert("eth0".into(), 1);
    };
    let mut by_another = at_host(strict);
    if let Some(daemon) = &mut by_another.daemon {
        daemon.peers[0].dev = Some("eth1".into());
    }
    vec![
        with(|daemon| daemon.status.uplinks[0].state = UplinkState::Absent),
        with(|daemon| daemon.status.uplinks[0].state = UplinkState::Down),
        at_host(|host| host.links[0].carrier = false),
        with(|daemon| daemon.status.locals.clear()),
        with(|daemon| {
            daemon.status.locals.clear();
            daemon.status.uplinks.clear();
        }),
        by_another,
        at_host(|host| host.links[0].promiscuous = true),
    ]
}

fn of_paths() -> Vec<Facts> {
    let prefix = "192.0.2.0/24".parse().unwrap();
    let refused = TableRoute {
        table: 254,
        prefix,
        kind: RouteKind::Blackhole,
        priority: 0,
    };
    let leads = |failed| Way::Leads {
        dev: "eth0".into(),
        next_hop: far(),
        failed,
    };
    let elsewhere = Way::OtherTable { table: 100, prefix };
    let mut found: Vec<_> = [
        (PeerState::Unreachable, Some(Way::Own)),
        (PeerState::Unreachable, Some(Way::Refused(refused))),
        (PeerState::Unreachable, Some(elsewhere)),
        (PeerState::Unreachable, Some(Way::Rule { table: 254 })),
        (PeerState::Unreachable, Some(Way::Nothing { table: 254 })),
        (PeerState::Unreachable, Some(leads(false))),
        (PeerState::Unreachable, Some(Way::Nothing { table: 10 })),
        (PeerState::Unreachable, Some(Way::RefusedElsewhere(refused))),
        (PeerState::Unreachable, None),
        (PeerState::Resolving, Some(leads(true))),
        (PeerState::Resolving, Some(leads(false))),
    ]
    .into_iter()
    .map(|(state, way)| {
        let mut facts = with(|daemon| {
            daemon.peers[0].state = state;
            if way.is_none() {
                daemon.peers[0].dev = None;
            }
        });
        facts.host.ways.extend(way.map(|way| (far(), way)));
        facts
    })
    .collect();
    let mut by_router = found[4].clone();
    if let Some(daemon) = &mut by_router.daemon {
        let mut other = daemon.peers[0].clone();
        other.state = PeerState::Resolved;
        other.ip = "192.0.2.7".parse().unwrap();
        other.via = Some("192.0.2.254".parse().unwrap());
        daemon.peers.push(other);
    }
    let mut in_vrf = by_router.clone();
    in_vrf.host.ways.insert(far(), Way::Nothing { table: 10 });
    let mut down = found[5].clone();
    down.host.links[0].up = false;
    let silent = with(|daemon| {
        daemon.peers[0].state = PeerState::Silent;
    });
    let too_small = with(|daemon| {
        daemon.ports[0].mtu = Some(1500);
        daemon.ports[0].mtu_advice = Some(1450);
    });
    found.extend([by_router, in_vrf, down, silent, too_small]);
    found
}

fn of_rules() -> Vec<Facts> {
    let with_rules = |rules: Value| at_host(|host| host.firewall.rules = rules);
    let unread = |family: &str| {
        with_rules(json!({"nftables": [
            {"chain": {"family": family, "table": "filter", "name": "input", "hook": "input", "policy": "accept"}},
            {"rule": {"family": family, "table": "filter", "chain": "input", "expr": [{"xt": null}, {"drop": null}]}},
        ]}))
    };
    let mut over_v6 = unread("ip6");
    if let Some(daemon) = &mut over_v6.daemon {
        daemon.status.locals = vec!["2001:db8::1".parse().unwrap()];
    }
    vec![
        with_rules(json!({"nftables": [
            {"chain": {"family": "ip", "table": "filter", "name": "input", "hook": "input", "policy": "drop"}},
        ]})),
        unread("ip"),
        unread("inet"),
        over_v6,
        at_host(|host| host.firewall.unreadable.push("not permitted".into())),
    ]
}

fn of_host() -> Vec<Facts> {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let card = |card: Result<Card, String>| {
        at_host(|host| {
            host.cards.insert("eth0".into(), card);
        })
    };
    let bad = Card {
        rx_ring: Some((256, 4096)),
        active: names(&["rx-lro"]),
        changeable: names(&["rx-gro"]),
    };
    let conflict = |conflict| at_host(|host| host.conflict = Some(conflict));
    vec![
        card(Ok(bad)),
        card(Err("busy".into())),
        conflict(Conflict::VxlanDevice {
            name: "vxlan7".into(),
            vni: Some(7),
            port: 4789,
        }),
        conflict(Conflict::Socket {
            address: "0.0.0.0:4789".parse().unwrap(),
            process: None,
        }),
        at_host(|host| {
            let kind = LinkKind::Vxlan {
                vni: 100,
                port: 8472,
                external: false,
                dev: None,
            };
            host.links.push(link(9, "vxlan100", kind));
        }),
    ]
}

fn of_tables() -> Vec<Facts> {
    let in_vlan_10 = |change: fn(&mut DaemonFacts)| {
        with(|daemon| {
            daemon.ports[0].vlan = VlanId::new(10);
            change(daemon);
        })
    };
    let mut on_vlan = in_vlan_10(|_| {});
    on_vlan.host.links[1] = link(7, "vm0", LinkKind::Other("vlan".into()));
    let limits = healthy()
        .daemon
        .into_iter()
        .flat_map(|daemon| daemon.status.limits);
    let mut names: BTreeSet<_> = limits.map(|limit| limit.limit).collect();
    names.extend(
        [
            "peers", "hosts", "vnis", "ports", "nexthops", "fdb", "others",
        ]
        .map(str::to_owned),
    );
    vec![
        with(|daemon| daemon.vnis[0].remotes.clear()),
        with(|daemon| {
            daemon.fdb.frozen = vec![FdbRow {
                duplicate: true,
                other_dst: Some(far()),
                ..fdb_row(None, Some("vm0"))
            }];
        }),
        on_vlan,
        in_vlan_10(|daemon| {
            daemon.later.push(drops_row("vlan_unmapped", 3));
            let row = StatsRow {
                dev: Some("vm1".into()),
                ..daemon.stats[0].clone()
            };
            daemon.stats.push(row);
        }),
        with(|daemon| daemon.later.push(drops_row("inner_vlan", 1))),
        with(|daemon| {
            daemon.ports[0].bypasses = vec![
                "frames to vm0 do not meet its tbf; they do with: vtep port set vm0 --delivery auto".into(),
                "frames from vm0 that XDP takes do not meet u32; have TC take them with: vtep port set vm0 --hook tc".into(),
                "frames from vm0 do not meet its chain".into(),
            ];
        }),
        with(|daemon| {
            daemon.status.limits = names.iter().map(|name| limit(name, Some(9), 10)).collect();
        }),
        with(|daemon| daemon.later.push(drops_row("no_route", 1))),
    ]
}

#[test]
fn every_fault_has_a_command_that_can_be_typed_and_every_check_has_a_fault() {
    let mut found = BTreeSet::new();
    for facts in faults() {
        let rows = examine(&facts);
        let bad = rows.iter().filter(|row| row.state != CheckState::Ok);
        let before = found.len();
        let mut count = 0;
        for row in bad {
            let mend = row.mend.as_deref().unwrap_or_else(|| panic!("{row:?}"));
            assert!(can_be_typed(mend), "{row:?}");
            found.insert(row.check.clone());
            count += 1;
        }
        assert!(
            count != 0,
            "nothing is found after {before} checks: {facts:?}"
        );
    }
    let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name.to_owned()).collect();
    assert_eq!(found, names);
}

#[test]
fn the_document_has_the_checks_in_their_order_with_the_commands_that_they_give() {
    let rows = rows();
    let names: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
    let checks: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(names, checks);

    let findings: BTreeSet<_> = faults()
        .iter()
        .flat_map(examine)
        .filter_map(|row| Some((row.check, row.mend?)))
        .collect();
    let documented = |check: &str, mend: &str| {
        let mut of_check = rows.iter().filter(|(name, _)| *name == check);
        of_check.any(|(_, forms)| forms.iter().any(|form| is_of(mend, form)))
    };
    for (check, mend) in &findings {
        assert!(
            documented(check, mend),
            "docs/doctor.md lacks at {check}: {mend}"
        );
    }
    for (check, forms) in &rows {
        for form in forms {
            let given = findings
                .iter()
                .any(|(of, mend)| of == check && is_of(mend, form));
            assert!(given, "no {check} gives what docs/doctor.md has: {form}");
        }
    }
}
