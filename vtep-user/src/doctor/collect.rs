//! Reading the facts: of the daemon by its API, of the host by netlink, `/proc` and `nft`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use vtep_common::abi::id::Ifindex;
use vtep_common::wire::vxlan;

use super::facts::{DaemonFacts, Facts, FdbFacts, Firewall, HostFacts, Tables, Unseen, Way};
use super::namespace;
use crate::api::client::{Client, ClientError};
use crate::causes::with_causes;
use crate::model::{FdbFilter, PeerRow, PeerState, Query, StatsFilter, Status};
use crate::netlink::{self, Link, LinkKind, NeighbourState, Netlink, OWNER, Sent, vrf_over};

/// How long it is watched whether drops grow.
const WATCHED: Duration = Duration::from_secs(1);

/// VTEPs without a path whose ways are looked up.
const WAYS: usize = 64;

/// Why facts cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The daemon does not say them.
    #[error(transparent)]
    Daemon(#[from] ClientError),
    /// The kernel does not say them.
    #[error(transparent)]
    Kernel(#[from] netlink::Error),
}

/// Reads the facts for an instance, and what its daemon says if there is one. The calling thread is in the daemon's network namespace
/// afterwards.
pub async fn collect(instance: &str, client: Option<Client>) -> Result<Facts, CollectError> {
    let begun = Instant::now();
    let mut client = client;
    let mut daemon = match &mut client {
        Some(client) => Some(of_daemon(client).await?),
        None => None,
    };
    let entered = daemon
        .as_ref()
        .map_or(Ok(()), |daemon| namespace::enter(daemon.status.pid));
    let (udp_port, host) = match (entered, &daemon) {
        (Err(error), Some(daemon)) => {
            let unseen = Some(Unseen {
                why: error.to_string(),
                denied: error.kind() == io::ErrorKind::PermissionDenied,
            });
            let host = HostFacts {
                unseen,
                ..HostFacts::default()
            };
            (daemon.status.udp_port, host)
        }
        (_, daemon) => of_host(instance, daemon.as_ref()).await?,
    };
    if let (Some(client), Some(daemon)) = (&mut client, &mut daemon) {
        sleep_until(begun + WATCHED).await;
        daemon.later = client.rows(Query::Drops(StatsFilter::default())).await?;
    }
    Ok(Facts {
        instance: instance.to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        udp_port,
        daemon,
        host,
    })
}

async fn of_daemon(client: &mut Client) -> Result<DaemonFacts, ClientError> {
    let drops = client.rows(Query::Drops(StatsFilter::default())).await?;
    let status: Status = serde_json::from_slice(&client.show(Query::Status).await?)?;
    let fdb = client.rows(Query::Fdb(FdbFilter::default())).await?;
    Ok(DaemonFacts {
        status,
        vnis: client.rows(Query::Vnis(None)).await?,
        ports: client.rows(Query::Ports(None)).await?,
        peers: client.rows(Query::Peers(None)).await?,
        fdb: FdbFacts::of(fdb),
        stats: client.rows(Query::Stats(StatsFilter::default())).await?,
        later: Vec::new(),
        drops,
    })
}

/// The slow-path device that a daemon of this instance has left.
fn left_device<'a>(instance: &str, links: &'a [Link]) -> Option<&'a Link> {
    let owner = format!("{OWNER}{instance}");
    links
        .iter()
        .find(|link| link.alias.as_deref() == Some(owner.as_str()))
}

/// The name of the slow-path device: as the daemon says, since others may take its alias away; or else that of one that was left.
fn own_device(instance: &str, status: Option<&Status>, links: &[Link]) -> Option<String> {
    match status {
        Some(status) => status.device.clone(),
        None => left_device(instance, links).map(|link| link.name.clone()),
    }
}

/// The UDP port of an instance without a daemon.
fn port_of(instance: &str, links: &[Link]) -> u16 {
    match left_device(instance, links).map(|link| &link.kind) {
        Some(LinkKind::Vxlan { port, .. }) => *port,
        _ => vxlan::PORT,
    }
}

/// The UDP port, and what the kernel says in this network namespace.
async fn of_host(
    instance: &str,
    daemon: Option<&DaemonFacts>,
) -> Result<(u16, HostFacts), netlink::Error> {
    let netlink = Netlink::open()?;
    let links = netlink.links().await?;
    let status = daemon.map(|daemon| &daemon.status);
    let udp_port = status.map_or_else(|| port_of(instance, &links), |status| status.udp_port);
    let own = own_device(instance, status, &links).unwrap_or_default();
    let conflict = netlink.port_conflict(udp_port, &own).await?;
    let uplinks = status.map_or(&[][..], |status| &status.uplinks);
    let uplinks: Vec<_> = uplinks.iter().map(|uplink| uplink.dev.as_str()).collect();
    let mut cards = BTreeMap::new();
    for link in &links {
        if link.kind == LinkKind::Physical && uplinks.contains(&link.name.as_str()) {
            let card = netlink.card(link.index);
            cards.insert(link.name.clone(), card.map_err(|error| with_causes(&error)));
        }
    }
    let strictness = |dev: &str| Some(rp_filter(dev)?.max(rp_filter("all")?));
    let rp_filter = uplinks
        .iter()
        .filter_map(|dev| Some(((*dev).to_owned(), strictness(dev)?)))
        .collect();
    let ways = match daemon {
        Some(daemon) => ways(&netlink, daemon, &links).await?,
        None => BTreeMap::new(),
    };
    let facts = HostFacts {
        unseen: None,
        firewall: firewall(&netlink),
        links,
        cards,
        rp_filter,
        conflict,
        ways,
    };
    Ok((udp_port, facts))
}

/// What the kernel says of the ways to VTEPs that the daemon has no path to.
async fn ways(
    netlink: &Netlink,
    daemon: &DaemonFacts,
    links: &[Link],
) -> Result<BTreeMap<IpAddr, Way>, netlink::Error> {
    let DaemonFacts { status, peers, .. } = daemon;
    let uplink = status.uplinks.first();
    let uplink = uplink.and_then(|uplink| links.iter().find(|link| link.name == uplink.dev));
    let by_index = |index| links.iter().find(|link| link.index == index);
    let vrf = uplink.and_then(|uplink| vrf_over(uplink.index, by_index));
    let tables = tables(vrf, links);
    let has_none =
        |peer: &&PeerRow| matches!(peer.state, PeerState::Unreachable | PeerState::Resolving);
    let mut ways = BTreeMap::new();
    for peer in peers.iter().filter(has_none).take(WAYS) {
        let mut locals = status.locals.iter();
        let sent = Sent {
            from: locals.find(|ip| ip.is_ipv4() == peer.ip.is_ipv4()).copied(),
            udp_port: Some(status.udp_port),
            vrf,
        };
        ways.insert(peer.ip, way(netlink, peer.ip, sent, &tables).await?);
    }
    Ok(ways)
}

/// The routing tables that packets look into which are sent in this VRF, or in none.
fn tables(vrf: Option<Ifindex>, links: &[Link]) -> Tables {
    let of_vrfs = links.iter().filter_map(|link| match link.kind {
        LinkKind::Vrf { table } => Some((link.index, table)),
        _ => None,
    });
    let ours = of_vrfs.clone().find(|(index, _)| Some(*index) == vrf);
    Tables {
        ours: ours.map_or(Tables::MAIN, |(_, table)| table),
        of_vrfs: of_vrfs.map(|(_, table)| table).collect(),
    }
}

async fn way(
    netlink: &Netlink,
    ip: IpAddr,
    sent: Sent,
    tables: &Tables,
) -> Result<Way, netlink::Error> {
    let Some((route, link)) = netlink.resolve_within(ip, sent).await? else {
        return Ok(Way::missing(&netlink.routes_to(ip)?, tables));
    };
    if route.local {
        return Ok(Way::Own);
    }
    let next_hop = route.next_hop(ip);
    let neighbour = netlink.neighbour(route.oif, next_hop).await?;
    Ok(Way::Leads {
        dev: link.map_or_else(|| format!("if{}", route.oif), |link| link.name),
        next_hop,
        failed: neighbour.is_some_and(|neighbour| neighbour.state == NeighbourState::Failed),
    })
}

/// The setting for an interface, if it is there.
fn rp_filter(dev: &str) -> Option<u8> {
    let text = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{dev}/rp_filter"));
    text.ok()?.trim().parse().ok()
}

fn firewall(netlink: &Netlink) -> Firewall {
    let mut firewall = Firewall::default();
    let rules = match netlink.has_chains() {
        Ok(false) => Ok(Value::Null),
        Ok(true) => ruleset(),
        Err(error) => Err(with_causes(&error)),
    };
    match rules {
        Ok(rules) => firewall.rules = rules,
        Err(why) => firewall.unreadable.push(why),
    }
    // These are there once iptables of the old sort was used, and are no part of nftables.
    for tables in ["ip_tables_names", "ip6_tables_names"] {
        let text = fs::read_to_string(Path::new("/proc/thread-self/net").join(tables));
        let text = text.unwrap_or_default();
        if !text.trim().is_empty() {
            let names = text.split_whitespace().collect::<Vec<_>>().join(", ");
            let why = format!("{tables} has {names}, which iptables-legacy alone can read");
            firewall.unreadable.push(why);
        }
    }
    firewall
}

/// What `nft` says of nftables.
fn ruleset() -> Result<Value, String> {
    let run = |program| {
        let mut command = Command::new(program);
        command.args(["-j", "list", "ruleset"]).output()
    };
    // It is not in everybody's path.
    let out = match run("nft") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => run("/usr/sbin/nft"),
        out => out,
    };
    let out = out.map_err(|error| format!("there are rules, and nft cannot be run: {error}"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let said = said.lines().next().unwrap_or_default();
        return Err(format!("nft -j list ruleset says: {said}"));
    }
    serde_json::from_slice(&out.stdout).map_err(|error| format!("nft prints no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::testkit::healthy;
    use crate::netlink::testkit::link;

    #[test]
    fn the_table_is_that_of_the_uplinks_vrf_or_the_main_one() {
        let links = [
            link(2, "eth0", LinkKind::Physical),
            link(8, "blue", LinkKind::Vrf { table: 10 }),
            link(9, "red", LinkKind::Vrf { table: 11 }),
        ];
        for (vrf, ours) in [(None, 254), (Some(8), 10), (Some(9), 11)] {
            let tables = tables(vrf.map(Ifindex::new), &links);
            assert_eq!((tables.ours, &*tables.of_vrfs), (ours, &[10, 11][..]));
        }
    }

    #[test]
    fn the_own_device_is_known_without_its_alias_while_a_daemon_answers() {
        let kind = LinkKind::Vxlan {
            vni: 0,
            port: 4789,
            external: true,
            dev: None,
        };
        let mut device = link(9, "vtep4789", kind);
        let status = healthy().daemon.unwrap().status;
        let own = |status, device: &Link| own_device("blue", status, std::slice::from_ref(device));
        assert_eq!(own(Some(&status), &device), Some("vtep4789".into()));
        assert_eq!(own(None, &device), None);

        device.alias = Some(format!("{OWNER}blue"));
        assert_eq!(own(None, &device), Some("vtep4789".into()));
    }
}
