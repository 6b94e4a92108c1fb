//! The grammar.

use std::num::NonZeroU16;

use super::*;
use crate::model::{
    BitRate, Duplicates, FdbAt, FdbDel, FdbFilter, FdbSpec, FrameRate, InstanceName, MacAddr,
    NeighDel, NeighSpec, NexthopDel, NexthopSpec, Op, PeerSpec, PortChange, PortHook, PortPart,
    PortSpec, Prefix, Query, RunOptions, StatsFilter, UplinkHook, VlanId, Vni, VniDelete,
    VniFilter, VniSpec, XdpMode,
};

#[test]
fn the_grammar_is_sound() {
    command_line::whole().debug_assert();
    grammar::line().debug_assert();
}

#[test]
fn the_help_says_first_what_vtep_is() {
    let help = parse("--help").unwrap_err().to_string();

    let (first, _) = help.split_once('\n').unwrap();
    assert_eq!(
        first,
        "A VXLAN tunnel endpoint whose data path runs in eBPF"
    );
}

#[test]
fn vni_add_and_set_take_every_option() {
    let options = "--mode l2 --flood none --group 239.1.1.1 --learning off --suppress on --ageing 60 --max-macs 9 \
                   --inner-vlan pass --ttl inherit --tos 0xb8 --df unset --srcport 1000-2000 --reserved strict";
    let spec: Box<VniSpec> = serde_json::from_str(
        r#"{"mode":"l2","flood":"none","group":"239.1.1.1","learning":false,"suppress":true,
            "ageing_s":60,"max_macs":9,"inner_vlan":"pass","ttl":"inherit","tos":184,"df":"unset",
            "srcport":[1000,2000],"reserved":"strict"}"#,
    )
    .unwrap();

    let vni = vni(100);
    let add = Op::VniAdd {
        vni,
        spec: spec.clone(),
    };
    assert_eq!(
        request(&format!("vni add 100 {options}")),
        Request::Change(add)
    );
    let set = Op::VniSet { vni, spec };
    assert_eq!(
        request(&format!("vni set 100 {options}")),
        Request::Change(set)
    );
    let plain = Op::VniAdd {
        vni,
        spec: Box::default(),
    };
    assert_eq!(request("vni add 100"), Request::Change(plain));
}

#[test]
fn vni_del_and_show_take_a_vni() {
    assert_eq!(
        request("vni del 0"),
        Request::Change(Op::VniDel {
            vni: vni(0),
            options: VniDelete::default(),
        })
    );
    assert_eq!(
        request("vni del 0 --force"),
        Request::Change(Op::VniDel {
            vni: vni(0),
            options: VniDelete { force: true },
        })
    );
    assert_eq!(request("vni show"), Request::Show(Query::Vnis(None)));
    assert_eq!(
        request("vni show 16777215"),
        Request::Show(Query::Vnis(Some(vni(16_777_215))))
    );
}

#[test]
fn port_verbs_take_their_options() {
    let spec = PortSpec {
        dev: "tap0".into(),
        vni: vni(100),
        vlan: VlanId::new(10),
        hook: Some(PortHook::Xdp),
        macs: vec![mac(1), mac(2)],
        ips: vec![ip("10.0.0.1"), ip("fd00::1")],
        max_macs: Some(5),
        isolated: None,
        guard: None,
        router: None,
        over_limit: None,
        bum_rate: None,
        rate_in: None,
        rate_out: None,
        delivery: None,
        wait: false,
    };
    assert_eq!(
        request(
            "port add tap0 --vni 100 --vlan 10 --hook xdp --mac 02:00:00:00:00:01 --mac 02:00:00:00:00:02 \
             --ip 10.0.0.1 --ip fd00::1 --max-macs 5"
        ),
        Request::Change(Op::PortAdd(Box::new(spec)))
    );
    let change = PortChange {
        hook: Some(PortHook::Auto),
        ..PortChange::default()
    };
    assert_eq!(
        request("port set tap0 --hook auto"),
        Request::Change(Op::PortSet {
            dev: "tap0".into(),
            change: Box::new(change)
        })
    );
    let del = |part| {
        Request::Change(Op::PortDel {
            dev: "tap0".into(),
            part,
        })
    };
    assert_eq!(request("port del tap0"), del(PortPart::default()));
    let part = PortPart {
        vlan: VlanId::new(10),
        vni: Some(vni(100)),
        untagged: false,
    };
    assert_eq!(request("port del tap0 --vlan 10 --vni 100"), del(part));
    assert_eq!(request("port show"), Request::Show(Query::Ports(None)));
    assert_eq!(
        request("port show tap0"),
        Request::Show(Query::Ports(Some("tap0".into())))
    );
}

#[test]
fn fdb_verbs_take_a_vtep_or_a_port() {
    let dst = FdbSpec {
        mac: mac(0xb),
        vni: vni(100),
        dst: Some(ip("192.0.2.2")),
        dev: None,
    };
    let dev = FdbSpec {
        dst: None,
        dev: Some("tap0".into()),
        ..dst.clone()
    };
    let entry = "02:00:00:00:00:0B --vni 100";
    for (verb, op) in [
        ("add", Op::FdbAdd as fn(FdbSpec) -> Op),
        ("append", Op::FdbAppend),
        ("replace", Op::FdbReplace),
    ] {
        let line = format!("fdb {verb} {entry} --dst 192.0.2.2");
        assert_eq!(request(&line), Request::Change(op(dst.clone())));
        let line = format!("fdb {verb} {entry} --dev tap0");
        assert_eq!(request(&line), Request::Change(op(dev.clone())));
    }
    let del = FdbDel {
        mac: mac(0xb),
        vni: vni(100),
        dst: None,
        dev: None,
    };
    assert_eq!(
        request(&format!("fdb del {entry}")),
        Request::Change(Op::FdbDel(del.clone()))
    );
    let del = FdbDel {
        dst: Some(ip("::1")),
        ..del
    };
    assert_eq!(
        request(&format!("fdb del {entry} --dst ::1")),
        Request::Change(Op::FdbDel(del))
    );
    let get = Query::FdbGet(FdbAt {
        mac: mac(0xb),
        vni: vni(100),
    });
    assert_eq!(request(&format!("fdb get {entry}")), Request::Show(get));
}

#[test]
fn fdb_show_and_flush_take_a_filter() {
    assert_eq!(
        request("fdb show"),
        Request::Show(Query::Fdb(FdbFilter::default()))
    );
    let filter = FdbFilter {
        vni: Some(vni(100)),
        dst: Some(ip("192.0.2.2")),
        dev: Some("tap0".into()),
        learned: false,
        with_static: false,
    };
    let options = "--vni 100 --dst 192.0.2.2 --dev tap0";
    let show = Query::Fdb(filter.clone());
    assert_eq!(request(&format!("fdb show {options}")), Request::Show(show));
    let flush = Op::FdbFlush(FdbFilter {
        learned: true,
        ..filter
    });
    assert_eq!(
        request(&format!("fdb flush {options} --learned")),
        Request::Change(flush)
    );
}

#[test]
fn what_is_on_may_be_said_twice() {
    let once = request("fdb flush --vni 100 --learned");
    assert_eq!(request("fdb flush --learned --vni 100 --learned"), once);
}

#[test]
fn neigh_verbs_take_a_host_and_its_mac() {
    let spec = NeighSpec {
        ip: ip("2001:db8:ff::11"),
        vni: vni(100),
        lladdr: Some(mac(1)),
        router: false,
    };
    let entry = "2001:db8:ff::11 --vni 100 --lladdr 02:00:00:00:00:01";
    assert_eq!(
        request(&format!("neigh add {entry}")),
        Request::Change(Op::NeighAdd(spec.clone()))
    );
    let router = NeighSpec {
        router: true,
        ..spec
    };
    assert_eq!(
        request(&format!("neigh replace {entry} --router")),
        Request::Change(Op::NeighReplace(router))
    );
    let del = NeighDel {
        ip: ip("10.0.0.1"),
        vni: vni(100),
        lladdr: None,
    };
    assert_eq!(
        request("neigh del 10.0.0.1 --vni 100"),
        Request::Change(Op::NeighDel(del))
    );
    let show = |vni| Request::Show(Query::Neighs(VniFilter { vni }));
    assert_eq!(request("neigh show"), show(None));
    assert_eq!(request("neigh show --vni 0"), show(Some(vni(0))));
}

#[test]
fn nexthop_verbs_take_a_host_or_a_prefix_and_where_it_is() {
    let spec = NexthopSpec {
        ip: Prefix::host(ip("10.0.0.1")),
        vni: vni(100),
        via: Some(ip("2001:db8:2::1")),
        lladdr: Some(mac(1)),
    };
    assert_eq!(
        request("nexthop add 10.0.0.1 --vni 100 --via 2001:db8:2::1 --lladdr 02:00:00:00:00:01"),
        Request::Change(Op::NexthopAdd(spec.clone()))
    );
    let prefix: Prefix = "2001:db8::/64".parse().unwrap();
    let via = NexthopSpec {
        ip: prefix,
        lladdr: None,
        ..spec
    };
    assert_eq!(
        request("nexthop replace 2001:db8::/64 --vni 100 --via 2001:db8:2::1"),
        Request::Change(Op::NexthopReplace(via))
    );
    let lladdr = NexthopSpec { via: None, ..spec };
    assert_eq!(
        request("nexthop add 10.0.0.1 --vni 100 --lladdr 02:00:00:00:00:01"),
        Request::Change(Op::NexthopAdd(lladdr))
    );
    let del = NexthopDel {
        ip: prefix,
        vni: vni(100),
        via: None,
        lladdr: None,
    };
    assert_eq!(
        request("nexthop del 2001:db8::/64 --vni 100"),
        Request::Change(Op::NexthopDel(del))
    );
    let show = |vni| Request::Show(Query::Nexthops(VniFilter { vni }));
    assert_eq!(request("nexthop show"), show(None));
    assert_eq!(request("nexthop show --vni 100"), show(Some(vni(100))));
}

#[test]
fn the_limit_of_macs_can_be_lifted() {
    let spec = VniSpec {
        max_macs: Some(0),
        ..VniSpec::default()
    };
    assert_eq!(
        request("vni set 100 --max-macs none"),
        Request::Change(Op::VniSet {
            vni: vni(100),
            spec: Box::new(spec)
        })
    );
    let change = PortChange {
        max_macs: Some(0),
        ..PortChange::default()
    };
    assert_eq!(
        request("port set tap0 --max-macs none"),
        Request::Change(Op::PortSet {
            dev: "tap0".into(),
            change: Box::new(change)
        })
    );
}

#[test]
fn a_rate_is_a_number_or_off() {
    for (typed, frames) in [("250", 250), ("off", 0), ("0", 0)] {
        let change = PortChange {
            bum_rate: FrameRate::new(frames),
            ..PortChange::default()
        };
        assert_eq!(
            request(&format!("port set tap0 --bum-rate {typed}")),
            Request::Change(Op::PortSet {
                dev: "tap0".into(),
                change: Box::new(change)
            })
        );
    }
    let change = PortChange {
        rate_in: BitRate::new(10_000_000),
        rate_out: BitRate::new(0),
        ..PortChange::default()
    };
    assert_eq!(
        request("port set tap0 --rate-in 10mbit --rate-out off"),
        Request::Change(Op::PortSet {
            dev: "tap0".into(),
            change: Box::new(change)
        })
    );
}

#[test]
fn a_limit_of_zero_and_a_negative_ageing_are_refused_with_what_to_type_instead() {
    let fdb = "give --fdb-max 1 or more, or leave it out";
    let window = "freeze no MAC with: --dup-moves 0";
    let macs = "remove the limit with: --max-macs none";
    let ageing = "keep MACs forever with: --ageing 0";
    for (line, expected) in [
        ("vni add 1 --max-macs 0", macs),
        ("vni set 1 --max-macs -1", macs),
        ("vni set 1 --max-macs 4294967296", macs),
        ("port add tap0 --vni 1 --max-macs 0", macs),
        ("port set tap0 --max-macs 0", macs),
        ("vni add 1 --ageing -1", ageing),
        ("vni set 1 --ageing -300", ageing),
        ("vni set 1 --ageing 4294967296", ageing),
        ("run --iface eth0 --fdb-max 0", fdb),
        ("run --iface eth0 --dup-window 0", window),
    ] {
        let sentence = refusal(line);
        assert!(sentence.ends_with(expected), "{line}: {sentence}");
    }
}

#[test]
fn peer_verbs_take_an_ip() {
    assert_eq!(request("peer show"), Request::Show(Query::Peers(None)));
    assert_eq!(
        request("peer show ::1"),
        Request::Show(Query::Peers(Some(ip("::1"))))
    );
    let spec = PeerSpec { csum6: Some(false) };
    assert_eq!(
        request("peer set 2001:db8::2 --csum6 off"),
        Request::Change(Op::PeerSet {
            ip: ip("2001:db8::2"),
            spec
        })
    );
}

#[test]
fn stats_and_drops_take_one_filter() {
    let none = StatsFilter::default();
    assert_eq!(request("stats"), Request::Show(Query::Stats(none.clone())));
    let filter = StatsFilter {
        vni: Some(vni(1)),
        ..none.clone()
    };
    assert_eq!(
        request("stats --vni 1"),
        Request::Show(Query::Stats(filter))
    );
    let filter = StatsFilter {
        peer: Some(ip("192.0.2.2")),
        ..none
    };
    assert_eq!(
        request("stats --peer 192.0.2.2"),
        Request::Show(Query::Stats(filter))
    );
    assert_eq!(usage("stats --vni 1 --dev tap0").0, 2);
    assert_eq!(
        request("drops"),
        Request::Show(Query::Drops(StatsFilter::default()))
    );
    let filter = StatsFilter {
        dev: Some("tap0".into()),
        ..StatsFilter::default()
    };
    assert_eq!(
        request("drops --dev tap0"),
        Request::Show(Query::Drops(filter))
    );
    assert_eq!(usage("drops --vni 1 --peer 192.0.2.2").0, 2);
}

#[test]
fn monitor_takes_a_vni() {
    let watched = |line: &str| {
        let typed = parse(line).unwrap();
        grammar::record(&filter::EVENTS, verb(&typed)).unwrap().vni
    };
    assert_eq!(watched("monitor"), None);
    assert_eq!(watched("monitor --vni 0 -j"), Some(vni(0)));
}

#[test]
fn run_takes_every_option() {
    let options = |line: &str| {
        let typed = parse(line).unwrap();
        let Globals { instance, .. } = grammar::record(&GLOBALS, &typed).unwrap();
        let options = grammar::record(&options::OPTIONS, verb(&typed)).unwrap();
        (instance.as_str().to_owned(), options)
    };
    let least = RunOptions {
        ifaces: vec!["eth0".into()],
        locals: vec![],
        udp_port: NonZeroU16::new(4789).unwrap(),
        config: None,
        uplink_hook: UplinkHook::Auto,
        xdp_mode: XdpMode::Auto,
        metrics: None,
        socket_group: None,
        view_group: None,
        wait: false,
        teardown: false,
        fdb_max: None,
        duplicates: Duplicates {
            moves: 5,
            window_s: 180,
            freeze_s: 180,
        },
    };
    let most = RunOptions {
        ifaces: vec!["eth0".into(), "eth1".into()],
        locals: vec![ip("192.0.2.1"), ip("2001:db8::1")],
        udp_port: NonZeroU16::new(8472).unwrap(),
        config: Some("/etc/vtep.toml".into()),
        uplink_hook: UplinkHook::Tc,
        xdp_mode: XdpMode::Generic,
        metrics: Some("[::1]:9100".parse().unwrap()),
        socket_group: Some("vtep".to_owned()),
        view_group: Some("adm".to_owned()),
        wait: true,
        teardown: true,
        fdb_max: Some(65536),
        duplicates: Duplicates {
            moves: 0,
            window_s: 1,
            freeze_s: 0,
        },
    };

    assert_eq!(options("run --iface eth0"), ("main".into(), least));
    assert_eq!(
        options(
            "run --iface eth0 --iface eth1 --local 192.0.2.1 --local 2001:db8::1 --udp-port 8472 --instance blue \
             --config /etc/vtep.toml --uplink-hook tc --xdp-mode generic --metrics [::1]:9100 --socket-group vtep --view-group adm --wait --teardown \
             --fdb-max 65536 --dup-moves 0 --dup-window 1 --dup-freeze 0"
        ),
        ("blue".into(), most)
    );
}

#[test]
fn the_global_options_stand_before_or_behind_any_verb() {
    for verb in [
        "vni show",
        "port show",
        "fdb show",
        "peer show",
        "stats",
        "drops",
        "teardown",
        "neigh show",
        "nexthop show",
        "monitor --vni 1",
        "vni add 1",
    ] {
        for line in [
            format!("-j --instance blue {verb}"),
            format!("{verb} -j --instance blue"),
            format!("--json {verb} --instance=blue"),
        ] {
            let globals = grammar::record(&GLOBALS, &parse(&line).unwrap()).unwrap();
            let Globals { json, instance, .. } = globals;
            assert!(json && instance.as_str() == "blue", "{line}");
        }
    }
}

#[test]
fn wrong_usage_is_exit_code_2_with_a_sentence() {
    let entry = "fdb add 02:00:00:00:00:0b";
    let cases = [
        (
            "vni add 16777216",
            "VNI 16777216 does not fit in 24 bits; give a number from 0 to 16777215",
        ),
        ("vni add x", "`x` is not a VNI"),
        ("vni add", "<VNI>"),
        (
            "vni add 1 --mode l4",
            "[possible values: multicast, flood, l2, l3]",
        ),
        (
            "vni add 1 --ttl 256",
            "`256` is neither a number from 1 to 255 nor `inherit`",
        ),
        (
            "vni add 1 --group 239.1.1",
            "`239.1.1` is not an IP address",
        ),
        ("vni set 1", "nothing to set; give at least one option"),
        ("vni set 1", "Usage: vtep vni set"),
        ("port set tap0", "Usage: vtep port set"),
        ("peer set 192.0.2.2", "Usage: vtep peer set"),
        ("port add tap0", "--vni <VNI>"),
        (
            "port add tap0 --vni 1 --vlan 4095",
            "`4095` is not a VLAN ID",
        ),
        ("port add tap/0 --vni 1", "not the name of a network device"),
        ("port set tap0 --vlan 10", "nothing to set"),
        (
            "peer set 192.0.2.2",
            "nothing to set; give --csum6 on or --csum6 off",
        ),
        ("fdb flush", "--vni <VNI>"),
        (
            "fdb add 02:00 --vni 1 --dst 192.0.2.2",
            "`02:00` is not a MAC address; write it like",
        ),
        ("run", "--iface <DEV>"),
        ("run --iface eth0 --udp-port 0", "0 is not in 1..=65535"),
        ("run --iface eth0 --dup-moves -1", "unexpected argument"),
        (
            "drops --instance a/b",
            "an instance name has 1 to 32 letters",
        ),
        ("neigh add 10.0.0.1 --vni 1", "--lladdr <MAC>"),
        (
            "neigh add 10.0.0.0/24 --vni 1 --lladdr 02:00:00:00:00:01",
            "`10.0.0.0/24` is not an IP address",
        ),
        ("neigh del 10.0.0.1", "--vni <VNI>"),
        ("nexthop add 10.0.0.1 --vni 1", "--via <VTEP_IP>"),
        (
            "nexthop add 10.0.0.1/24 --vni 1 --via 192.0.2.2",
            "write the prefix as 10.0.0.0/24",
        ),
        (
            "nexthop add 10.0.0.1 --vni 1 --via vtep2",
            "`vtep2` is not an IP address",
        ),
        (
            "vni set 1 --max-macs x",
            "`x` is neither a number of MACs nor `none`",
        ),
        ("vni set 1 --ageing x", "invalid digit"),
        (
            "port add tap0 --vni 1 --bum-rate -1",
            "`-1` is not a rate; give frames a second from 1 to 100000000, or take any number with: off",
        ),
        ("port set tap0 --bum-rate 10kbit", "`10kbit` is not a rate"),
        ("port set tap0 --rate-in 10mbps", "give bits, as in 10mbit"),
        ("port add tap0 --vni 1 --rate-out -5", "`-5` is not a rate"),
        ("monitor --vni x", "`x` is not a VNI"),
        ("monitor tap0", "unexpected argument"),
        ("", "Usage: vtep"),
    ];
    for (line, expected) in cases {
        let (code, text) = usage(line);
        assert_eq!(code, 2, "{line}: {text}");
        assert!(text.contains(expected), "{line}: {text}");
    }
    for rest in [
        "--vni 1",
        "--dst 192.0.2.2",
        "--vni 1 --dst 192.0.2.2 --dev tap0",
    ] {
        assert_eq!(usage(&format!("{entry} {rest}")).0, 2, "{rest}");
    }
}

#[test]
fn the_commands_in_the_documents_are_understood() {
    let readme = include_str!("../../../README.md");
    let (_, readme) = readme.split_once("## Quick start").unwrap();
    let (readme, _) = readme.split_once("## Commands").unwrap();
    let modes = include_str!("../../../docs/modes.md");
    let mobility = include_str!("../../../docs/mobility.md");
    let mut count = 0;
    // Between fences; a sentence may begin with the name of the program too.
    let fenced = [readme, modes, mobility]
        .into_iter()
        .flat_map(|text| text.split("```").skip(1).step_by(2));
    for line in fenced.flat_map(str::lines) {
        let command = line.split_once(" #").map_or(line, |(command, _)| command);
        // Those of a configuration file stand there without the program.
        let of_file = ["run ", "vni ", "port ", "fdb "];
        let of_file = of_file.iter().any(|verb| command.starts_with(verb));
        if of_file || command.starts_with("vtep ") {
            let parsed = parse(command.trim_start_matches("vtep "));
            assert!(parsed.is_ok(), "{command}: {parsed:?}");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn a_daemon_may_be_silent_for_ten_seconds_unless_told_otherwise() {
    for (line, expected) in [
        ("vni show", 10),
        ("vni show --timeout 2", 2),
        ("--timeout 0 status", 0),
    ] {
        let globals: Globals = grammar::record(&GLOBALS, &parse(line).unwrap()).unwrap();
        assert_eq!(globals.timeout_s, expected, "{line}");
    }
    assert_eq!(usage("vni show --timeout -1").0, 2);
    assert_eq!(request("status"), Request::Show(Query::Status));
}

fn parse(line: &str) -> Result<ArgMatches, clap::Error> {
    super::parse(
        std::iter::once("vtep")
            .chain(line.split_whitespace())
            .map(OsString::from),
    )
}

/// What follows the first word.
fn verb(typed: &ArgMatches) -> &ArgMatches {
    typed.subcommand().unwrap().1
}

/// What a line asks for.
fn request(line: &str) -> Request {
    let typed = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    grammar::request(&typed, command_line::whole)
        .unwrap_or_else(|error| panic!("{line}: {error:?}"))
}

/// The exit code and the text of a line that is wrong usage.
fn usage(line: &str) -> (i32, String) {
    match asked(line) {
        Err(Failure::Usage(error)) => (error.exit_code(), error.to_string()),
        other => panic!("{line}: {other:?}"),
    }
}

/// The sentence of a line that is refused with exit code 1 before the daemon is asked.
fn refusal(line: &str) -> String {
    match asked(line) {
        Err(Failure::Failed(error)) => error.to_string(),
        other => panic!("{line}: {other:?}"),
    }
}

fn asked(line: &str) -> Result<Request, Failure> {
    let typed = parse(line).map_err(Failure::Usage)?;
    if let Some(("run", args)) = typed.subcommand() {
        let instance = InstanceName::default();
        let end = super::run::run(grammar::given(&options::OPTIONS, args)?, instance);
        return Err(end.expect_err("no daemon can run here"));
    }
    grammar::request(&typed, command_line::whole)
}

fn vni(raw: u32) -> Vni {
    Vni::new(raw).unwrap()
}

fn mac(last: u8) -> MacAddr {
    MacAddr::from_bytes([2, 0, 0, 0, 0, last])
}

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}
