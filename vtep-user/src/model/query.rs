//! What can be shown: each query with its command, if it has one, and its route.

use std::net::IpAddr;

use super::config;
use super::endpoint::{Answers, Endpoint, Input, Method};
use super::given::Given;
use super::operation::{Operation, Syntax};
use super::settings::fdb::{self, FdbAt};
use super::settings::{filter, trace};
use super::{
    Argument, DropsRow, DumpFilter, DumpRow, FdbFilter, FdbRow, NeighRow, NexthopRow, Nothing,
    PeerRow, PortRow, Refusal, RefusalKind, StatsFilter, StatsRow, Status, TraceAt, TraceRow,
    TraceSpec, Vni, VniFilter, VniRow,
};

/// Something to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The daemon itself.
    Status,
    /// One VNI, refused if it does not exist, or all.
    Vnis(Option<Vni>),
    /// The rows of one port, refused if it does not exist, or all.
    Ports(Option<String>),
    /// The FDB entries that match.
    Fdb(FdbFilter),
    /// The entries of one MAC, refused if there are none.
    FdbGet(FdbAt),
    /// The hosts that ARP and ND are answered for.
    Neighs(VniFilter),
    /// The nexthop table.
    Nexthops(VniFilter),
    /// One peer, refused if it does not exist, or all.
    Peers(Option<IpAddr>),
    /// The counters that match.
    Stats(StatsFilter),
    /// The counters of dropped frames.
    Drops(StatsFilter),
    /// What would become of a frame.
    Trace(Box<TraceAt>),
    /// What was set, as the commands that make it.
    Dump(DumpFilter),
    /// All metrics in Prometheus text form.
    Metrics,
}

impl FdbAt {
    /// The path of the API has the VNI first.
    fn read(given: &mut Given<'_>) -> Result<Self, Refusal> {
        match given {
            Given::Words(_) => given.query(&fdb::AT),
            Given::Call(_) => Ok(Self {
                vni: given.key()?,
                mac: given.key()?,
            }),
        }
    }
}

/// The queries, each with its command and its route. One that shows one thing or all has two routes; the second has the
/// command.
pub(super) static QUERIES: &[Operation<Query>] = &[
    Operation {
        id: "status",
        command: Some(Syntax {
            words: &["status"],
            help: "Show the daemon itself: its uplinks, addresses, tables and their limits",
            key: None,
            takes: &Nothing,
        }),
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/status",
            summary: "The daemon itself.",
            input: Input::Nothing,
            answers: Answers::one::<Status>(),
            refusals: &[],
        },
        read: |_| Ok(Query::Status),
        send: |request, to| match request {
            Query::Status => to.end(),
            _ => None,
        },
    },
    Operation {
        id: "vni_list",
        command: None,
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/vnis",
            summary: "All VNIs.",
            input: Input::Nothing,
            answers: Answers::rows::<VniRow>(),
            refusals: &[],
        },
        read: |given| Ok(Query::Vnis(given.optional_key()?)),
        send: |request, to| match request {
            Query::Vnis(None) => to.end(),
            _ => None,
        },
    },
    Operation {
        id: "vni_get",
        command: Some(Syntax {
            words: &["vni", "show"],
            help: "Show VNIs",
            key: Some(Argument::key::<Vni>("VNI", "Only this one").optional()),
            takes: &Nothing,
        }),
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/vnis/{vni}",
            summary: "One VNI, as the only row.",
            input: Input::Nothing,
            answers: Answers::rows::<VniRow>(),
            refusals: &[RefusalKind::Invalid, RefusalKind::NotFound],
        },
        read: |given| Ok(Query::Vnis(given.optional_key()?)),
        send: |request, to| match request {
            Query::Vnis(Some(vni)) => to.key(vni).end(),
            _ => None,
        },
    },
    Operation {
        id: "port_list",
        command: None,
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/ports",
            summary: "All ports.",
            input: Input::Nothing,
            answers: Answers::rows::<PortRow>(),
            refusals: &[],
        },
        read: |given| Ok(Query::Ports(given.optional_key()?)),
        send: |request, to| match request {
            Query::Ports(None) => to.end(),
            _ => None,
        },
    },
    Operation {
        id: "port_get",
        command: Some(Syntax {
            words: &["port", "show"],
            help: "Show ports",
            key: Some(Argument::key::<String>("DEV", "Only this one").optional()),
            takes: &Nothing,
        }),
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/ports/{dev}",
            summary: "The ports of one device.",
            input: Input::Nothing,
            answers: Answers::rows::<PortRow>(),
            refusals: &[RefusalKind::Invalid, RefusalKind::NotFound],
        },
        read: |given| Ok(Query::Ports(given.optional_key()?)),
        send: |request, to| match request {
            Query::Ports(Some(dev)) => to.key(dev).end(),
            _ => None,
        },
    },
    Operation {
        id: "fdb_get",
        command: Some(Syntax {
            words: &["fdb", "get"],
            help: "Show where a MAC is",
            key: None,
            takes: &fdb::AT,
        }),
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/fdb/{vni}/{mac}",
            summary: "The entries of one MAC.",
            input: Input::Nothing,
            answers: Answers::rows::<FdbRow>(),
            refusals: &[RefusalKind::Invalid, RefusalKind::NotFound],
        },
        read: |given| Ok(Query::FdbGet(FdbAt::read(given)?)),
        send: |request, to| match request {
            Query::FdbGet(FdbAt { mac, vni }) => to.key(vni).key(mac).end(),
            _ => None,
        },
    },
    Operation {
        id: "fdb_list",
        command: Some(Syntax {
            words: &["fdb", "show"],
            help: "Show entries",
            key: None,
            takes: &fdb::FILTER,
        }),
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/fdb",
            summary: "The FDB entries that match.",
            input: Input::query::<FdbFilter>(),
            answers: Answers::rows::<FdbRow>(),
            refusals: &[RefusalKind::Invalid, RefusalKind::NotFound],
        },
        read: |given| Ok(Query::Fdb(given.query(&fdb::FILTER)?)),
        send: |request, to| match request {
            Query::Fdb(filter) => to.with(filter),
            _ => None,
        },
    },
    Operation {
        id: "neigh_list",
        command: Some(Syntax {
            words: &["neigh", "show"],
            help: "Show the hosts that ARP and ND are answered for",
            key: None,
            takes: &filter::OF_VNI,
        }),
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/neighs",
            summary: "The hosts that ARP and ND are answered for.",
            input: Input::query::<VniFilter>(),
            answers: Answers::rows::<NeighRow>(),
            refusals: &[RefusalKind::Invalid, RefusalKind::NotFound],
        },
        read: |given| Ok(Query::Neighs(given.query(&filter::OF_VNI)?)),
        send: |request, to| match request {
            Query::Neighs(filter) => to.with(filter),
            _ => None,
        },
    },
    Operation {
        id: "nexthop_list",
        command: Some(Syntax {
            words: &["nexthop", "show"],
            help: "Show the table",
            key: None,
            takes: &filter::OF_VNI,
        }),
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/nexthops",
            summary: "The nexthop table.",
            input: Input::query::<VniFilter>(),
            answers: Answers::rows::<NexthopRow>(),
            refusals: &[RefusalKind::Invalid, RefusalKind::NotFound],
        },
        read: |given| Ok(Query::Nexthops(given.query(&filter::OF_VNI)?)),
        send: |request, to| match request {
            Query::Nexthops(filter) => to.with(filter),
            _ => None,
        },
    },
    Operation {
        id: "peer_list",
        command: None,
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/peers",
            summary: "All peers.",
            input: Input::Nothing,
            answers: Answers::rows::<PeerRow>(),
            refusals: &[],
        },
        read: |given| Ok(Query::Peers(given.optional_key()?)),
        send: |request, to| match request {
            Query::Peers(None) => to.end(),
            _ => None,
        },
    },
    Operation {
        id: "peer_get",
        command: Some(Syntax {
            words: &["peer", "show"],
            help: "Show remote VTEPs",
            key: Some(Argument::key::<IpAddr>("IP", "Only this one").optional()),
            takes: &Nothing,
        }),
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/peers/{ip}",
            summary: "One peer, as the only row.",
            input: Input::Nothing,
            answers: Answers::rows::<PeerRow>(),
            refusals: &[RefusalKind::Invalid, RefusalKind::NotFound],
        },
        read: |given| Ok(Query::Peers(given.optional_key()?)),
        send: |request, to| match request {
            Query::Peers(Some(ip)) => to.key(ip).end(),
            _ => None,
        },
    },
    Operation {
        id: "stats",
        command: Some(Syntax {
            words: &["stats"],
            help: "Show counters",
            key: None,
            takes: &filter::STATS,
        }),
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/stats",
            summary: "The counters that match.",
            input: Input::query::<StatsFilter>(),
            answers: Answers::rows::<StatsRow>(),
            refusals: &[RefusalKind::Invalid, RefusalKind::NotFound],
        },
        read: |given| Ok(Query::Stats(given.query(&filter::STATS)?)),
        send: |request, to| match request {
            Query::Stats(filter) => to.with(filter),
            _ => None,
        },
    },
    Operation {
        id: "drops",
        command: Some(Syntax {
            words: &["drops"],
            help: "Show dropped frames by hook and reason, and what each reason means; all, or those of a VNI, a port or a remote VTEP",
            key: None,
            takes: &filter::STATS,
        }),
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/drops",
            summary: "The counters of dropped frames: all, or those of a VNI, a port or a remote VTEP.",
            input: Input::query::<StatsFilter>(),
            answers: Answers::rows::<DropsRow>(),
            refusals: &[RefusalKind::Invalid, RefusalKind::NotFound],
        },
        read: |given| Ok(Query::Drops(given.query(&filter::STATS)?)),
        send: |request, to| match request {
            Query::Drops(filter) => to.with(filter),
            _ => None,
        },
    },
    Operation {
        id: "trace",
        command: None,
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/trace/{dev}",
            summary: "What would become of a frame at a port or an uplink, step by step. Nothing is sent, counted or learned.",
            input: Input::query::<TraceSpec>(),
            answers: Answers::rows::<TraceRow>(),
            refusals: &[
                RefusalKind::Invalid,
                RefusalKind::NotFound,
                RefusalKind::Conflict,
            ],
        },
        read: |given| {
            Ok(Query::Trace(Box::new(TraceAt {
                dev: given.key()?,
                spec: given.query(&trace::FRAME)?,
            })))
        },
        send: |request, to| match request {
            Query::Trace(at) => to.key(&at.dev).with(&at.spec),
            _ => None,
        },
    },
    Operation {
        id: "dump",
        command: None,
        endpoint: Endpoint {
            method: Method::Get,
            path: "/v1/dump",
            summary: "What was set, as the commands that make it; the daemon's own options first.",
            input: Input::query::<DumpFilter>(),
            answers: Answers::rows::<DumpRow>(),
            refusals: &[RefusalKind::Invalid, RefusalKind::NotFound],
        },
        read: |given| Ok(Query::Dump(given.query(&config::DUMP)?)),
        send: |request, to| match request {
            Query::Dump(filter) => to.with(filter),
            _ => None,
        },
    },
    Operation {
        id: "metrics",
        command: None,
        endpoint: Endpoint {
            method: Method::Get,
            path: "/metrics",
            summary: "All metrics, for Prometheus.",
            input: Input::Nothing,
            answers: Answers::Text,
            refusals: &[],
        },
        read: |_| Ok(Query::Metrics),
        send: |request, to| match request {
            Query::Metrics => to.end(),
            _ => None,
        },
    },
];
