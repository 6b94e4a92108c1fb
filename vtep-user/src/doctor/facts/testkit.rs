//! Facts of a healthy overlay, for tests to break.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{DaemonFacts, Facts, FdbFacts, HostFacts};
use crate::model::{
    Df, DropsRow, EntryState, FdbRow, Flood, InnerVlan, L2cp, LimitStatus, MacAddr, Mode,
    OverLimit, PeerRow, PeerState, PortDelivery, PortGuard, PortHook, PortRange, PortRow,
    PortState, Reserved, Source, Sources, StatsRow, Status, UplinkState, UplinkStatus, Vni, VniRow,
};
use crate::netlink::LinkKind;
pub(in crate::doctor) use crate::netlink::testkit::link;

/// The VNI.
pub(in crate::doctor) const VNI: Vni = Vni::new(100).unwrap();

/// The VTEP.
pub(in crate::doctor) fn far() -> IpAddr {
    "192.0.2.2".parse().unwrap()
}

/// An overlay with an uplink `eth0`, a port `vm0` and a VTEP, of which there is nothing to say.
pub(in crate::doctor) fn healthy() -> Facts {
    Facts {
        instance: "blue".into(),
        version: env!("CARGO_PKG_VERSION"),
        udp_port: 4789,
        daemon: Some(DaemonFacts {
            status: status(),
            vnis: vec![vni_row()],
            ports: vec![port_row()],
            peers: vec![peer_row()],
            fdb: FdbFacts {
                behind: BTreeMap::from([(VNI, BTreeSet::from([far()]))]),
                frozen: vec![],
            },
            stats: vec![stats_row("tx", 5), stats_row("rx", 5)],
            drops: vec![drops_row("truncated", 7)],
            later: vec![drops_row("truncated", 7)],
        }),
        host: HostFacts {
            links: vec![
                link(2, "eth0", LinkKind::Physical),
                link(7, "vm0", LinkKind::Veth),
            ],
            rp_filter: BTreeMap::from([("eth0".into(), 2)]),
            ..HostFacts::default()
        },
    }
}

/// A host on which no daemon runs.
pub(in crate::doctor) fn without_daemon() -> Facts {
    Facts {
        daemon: None,
        ..healthy()
    }
}

/// A healthy overlay with something changed about what the daemon says.
pub(in crate::doctor) fn with(change: impl FnOnce(&mut DaemonFacts)) -> Facts {
    let mut facts = healthy();
    change(facts.daemon.as_mut().unwrap());
    facts
}

/// A healthy overlay with something changed about what the kernel says.
pub(in crate::doctor) fn at_host(change: impl FnOnce(&mut HostFacts)) -> Facts {
    let mut facts = healthy();
    change(&mut facts.host);
    facts
}

fn status() -> Status {
    Status {
        instance: "blue".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        pid: 7,
        udp_port: 4789,
        device: Some("vtep4789".into()),
        config: None,
        locals: vec!["192.0.2.1".parse().unwrap()],
        uplinks: vec![UplinkStatus {
            dev: "eth0".into(),
            state: UplinkState::Up,
            hook: "xdp native".into(),
            why: None,
        }],
        waits_for: vec![],
        repairs: 0,
        left_alone: vec![],
        vnis: 1,
        ports: 1,
        peers: 1,
        fdb: 1,
        fdb_max: 100,
        limits: vec![limit("fdb", Some(89), 100), limit("hosts_of_mac", None, 2)],
    }
}

pub(in crate::doctor) fn limit(name: &str, used: Option<u64>, max: u64) -> LimitStatus {
    LimitStatus {
        limit: name.into(),
        used,
        max,
    }
}

pub(in crate::doctor) fn vni_row() -> VniRow {
    VniRow {
        vni: VNI,
        mode: Mode::Flood,
        flood: Flood::Her,
        group: None,
        learning: true,
        suppress: false,
        ageing_s: 300,
        max_macs: None,
        inner_vlan: InnerVlan::Drop,
        ports: vec!["vm0".into()],
        remotes: vec![far()],
        ttl: "64".parse().unwrap(),
        tos: "inherit".parse().unwrap(),
        df: Df::Set,
        srcport: PortRange::DYNAMIC,
        reserved: Reserved::Ignore,
        over_limit: OverLimit::Flood,
        sources: Sources::Listed,
        l2cp: L2cp::Drop,
        source: Source::Config,
        bridge: None,
        mss_clamp: false,
    }
}

fn port_row() -> PortRow {
    PortRow {
        dev: "vm0".into(),
        vni: VNI,
        vlan: None,
        hook: PortHook::Tc,
        ifindex: Some(7),
        delivery: None,
        macs: vec![],
        ips: vec![],
        max_macs: None,
        isolated: false,
        guard: PortGuard::Off,
        over_limit: OverLimit::Drop,
        bum_rate: None,
        rate_in: None,
        rate_out: None,
        source: Source::Cli,
        state: PortState::Attached,
        router: false,
        delivery_wanted: PortDelivery::Auto,
        bypasses: vec![],
        mtu: Some(1450),
        mtu_advice: None,
    }
}

fn peer_row() -> PeerRow {
    PeerRow {
        ip: far(),
        dev: Some("eth0".into()),
        mac: None,
        state: PeerState::Resolved,
        mtu: Some(1500),
        csum6: None,
        via: None,
        source: None,
        last_heard_s: None,
        mtu_expires_s: None,
    }
}

/// An entry of the FDB.
pub(in crate::doctor) fn fdb_row(dst: Option<IpAddr>, dev: Option<&str>) -> FdbRow {
    FdbRow {
        vni: VNI,
        mac: MacAddr::from_bytes([2, 0, 0, 0, 0, 0xb]),
        dst,
        dev: dev.map(str::to_owned),
        state: EntryState::Learned,
        age_s: Some(3),
        duplicate: false,
        source: None,
        other_dst: None,
        other_dev: None,
    }
}

fn stats_row(way: &str, packets: u64) -> StatsRow {
    StatsRow {
        hook: None,
        reason: Some(way.into()),
        vni: None,
        dev: None,
        peer: Some(far()),
        packets,
        bytes: 0,
    }
}

/// So many frames that were dropped at a port.
pub(in crate::doctor) fn drops_row(reason: &str, packets: u64) -> DropsRow {
    DropsRow {
        hook: "port".into(),
        reason: reason.into(),
        packets,
        bytes: 0,
        meaning: "What it means.".into(),
    }
}
