//! What is known of each peer's path: by which next hop it leads, which of them the kernel keeps resolved for us, and whether a peer is up.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use vtep_common::abi::addr::MacAddr;
use vtep_common::abi::id::Ifindex;

use super::{
    super::{error::DaemonError, facts},
    affected::{Affected, NextHop},
    order::{Found, Terms},
};
use crate::{
    control::Resolution,
    model::{EventDetails, EventKind},
    netlink::{self, Netlink, Sent},
};

/// Finds the path to each peer, and remembers what it found.
pub(super) struct Paths {
    netlink: Netlink,
    /// The peers.
    peers: HashMap<IpAddr, Terms>,
    /// The peers that nobody named and whose next hop was asked for.
    asked: HashSet<IpAddr>,
    /// Next hops that the kernel keeps resolved for us.
    kept: HashSet<NextHop>,
    /// By which next hop each peer is reached, or would be.
    next_hops: HashMap<IpAddr, NextHop>,
    /// Whether a peer could be reached when it was last resolved.
    up: HashMap<IpAddr, bool>,
}

impl Paths {
    pub(super) fn new(netlink: Netlink) -> Self {
        Self {
            netlink,
            peers: HashMap::new(),
            asked: HashSet::new(),
            kept: HashSet::new(),
            next_hops: HashMap::new(),
            up: HashMap::new(),
        }
    }

    /// Takes note of a peer. True if it was one before.
    pub(super) fn know(&mut self, ip: IpAddr, terms: Terms) -> bool {
        self.peers.insert(ip, terms).is_some()
    }

    /// The peers whose paths may have changed.
    pub(super) fn affected(&self, by: &Affected) -> Vec<IpAddr> {
        let peers = self.peers.keys().copied();
        peers
            .filter(|ip| by.has(*ip, self.next_hops.get(ip)))
            .collect()
    }

    /// Takes note that an interface has changed: the kernel forgets the neighbours of a link that went down.
    pub(super) fn link_changed(&mut self, ifindex: Ifindex) {
        self.kept.retain(|(on, _)| *on != ifindex);
    }

    /// Finds the path to a peer, or to a multicast group; `None` if it is a peer no longer. A failure is logged: the peer keeps
    /// what it had.
    pub(super) async fn find(&mut self, ip: IpAddr) -> Option<Found> {
        let Terms { sent, named } = *self.peers.get(&ip)?;
        let before = self.next_hops.get(&ip).copied();
        let resolution = match self.path_to(ip, sent).await {
            Ok(resolution) => resolution,
            Err(error) => {
                tracing::error!(%error, %ip, "could not resolve a peer");
                return None;
            }
        };
        if let Some(before) = before.filter(|before| self.next_hops.get(&ip) != Some(before)) {
            self.release(before).await;
        }
        if let Some(hop) = self.next_hops.get(&ip).copied().filter(|_| !named) {
            self.release(hop).await;
        }
        let events = self.transition(ip, &resolution).into_iter().collect();
        Some(Found::Path {
            ip,
            resolution,
            events,
        })
    }

    /// Forgets a peer that is one no longer.
    pub(super) async fn forget(&mut self, ip: IpAddr) {
        self.peers.remove(&ip);
        self.asked.remove(&ip);
        self.up.remove(&ip);
        if let Some(gone) = self.next_hops.remove(&ip) {
            self.release(gone).await;
        }
    }

    /// Has the kernel keep no next hop resolved for us any more.
    pub(super) async fn release_all(&mut self) {
        self.peers.clear();
        self.next_hops.clear();
        for hop in self.kept.clone() {
            self.release(hop).await;
        }
    }

    /// The event that a peer can be reached, or not any more, if that has changed.
    fn transition(&mut self, ip: IpAddr, now: &Resolution) -> Option<EventDetails> {
        if ip.is_multicast() {
            return None;
        }
        let why = match now {
            Resolution::Resolved { .. } => None,
            Resolution::Pending { dev, .. } => {
                Some(format!("its next hop on {dev} does not answer"))
            }
            Resolution::LinkDown { dev } => Some(format!("{dev} is down")),
            Resolution::NoRoute => Some("there is no route".to_owned()),
        };
        let up = why.is_none();
        let before = self.up.get(&ip).copied();
        // Of a new peer the next hop is asked first.
        let waits = before.is_none() && matches!(now, Resolution::Pending { .. });
        if before == Some(up) || waits {
            return None;
        }
        self.up.insert(ip, up);
        let kind = if up {
            EventKind::PeerUp
        } else {
            EventKind::PeerDown
        };
        Some(EventDetails {
            dst: Some(ip),
            why,
            ..EventDetails::new(kind)
        })
    }

    async fn path_to(&mut self, ip: IpAddr, mut sent: Sent) -> Result<Resolution, DaemonError> {
        // With a source the kernel would look no IPv4 route to a group up, but take the interface that has the source.
        sent.from = sent.from.filter(|_| !ip.is_multicast());
        let found = self.netlink.resolve_peer(ip, sent).await?;
        let next_hop = match &found {
            netlink::PeerRoute::Pending { oif, via } => Some((*oif, *via)),
            // Where the path is known, the next hop follows from the route, below.
            netlink::PeerRoute::LinkDown { oif }
            | netlink::PeerRoute::NotEthernet { oif }
            | netlink::PeerRoute::Resolved { oif, .. } => Some((*oif, ip)),
            netlink::PeerRoute::NoRoute | netlink::PeerRoute::LocalAddress => None,
        };
        self.next_hops.remove(&ip);
        self.next_hops.extend(next_hop.map(|hop| (ip, hop)));
        Ok(match found {
            netlink::PeerRoute::Resolved {
                oif,
                src_mac,
                dst_mac,
                mtu,
                ..
            } => {
                let route = self.netlink.resolve(ip, sent).await?;
                let next_hop = route.as_ref().map_or(ip, |route| route.next_hop(ip));
                self.next_hops.insert(ip, (oif, next_hop));
                if !next_hop.is_multicast() {
                    self.ask(ip, oif, next_hop).await;
                }
                let Some(link) = self.netlink.link(oif).await? else {
                    return Ok(Resolution::NoRoute);
                };
                Resolution::Resolved {
                    oif,
                    xdp_target: facts::is_xdp_target(&self.netlink, &link)?,
                    dev: link.name,
                    src_mac: MacAddr::from_bytes(src_mac),
                    dst_mac: MacAddr::from_bytes(dst_mac),
                    mtu,
                    via: (next_hop != ip).then_some(next_hop),
                }
            }
            netlink::PeerRoute::Pending { oif, via } => {
                self.ask(ip, oif, via).await;
                Resolution::Pending {
                    dev: self.name_of(oif).await?,
                    via: (via != ip).then_some(via),
                }
            }
            netlink::PeerRoute::LinkDown { oif } => Resolution::LinkDown {
                dev: self.name_of(oif).await?,
            },
            // The slow-path device can still send there.
            netlink::PeerRoute::NotEthernet { oif } => Resolution::Pending {
                dev: self.name_of(oif).await?,
                via: None,
            },
            netlink::PeerRoute::NoRoute | netlink::PeerRoute::LocalAddress => Resolution::NoRoute,
        })
    }

    async fn name_of(&self, ifindex: Ifindex) -> Result<String, DaemonError> {
        Ok(self
            .netlink
            .link(ifindex)
            .await?
            .map_or_else(|| format!("if{ifindex}"), |link| link.name))
    }

    /// Has the kernel resolve the next hop of a peer: for good if somebody named the peer, else once, as a packet would. Whoever can send
    /// us packets makes no entries that the kernel must keep.
    async fn ask(&mut self, ip: IpAddr, ifindex: Ifindex, next_hop: IpAddr) {
        if self.is_named(ip) {
            self.keep(ifindex, next_hop).await;
        } else if !self.kept.contains(&(ifindex, next_hop))
            && self.asked.insert(ip)
            && let Err(error) = self.netlink.probe(ifindex, next_hop).await
        {
            tracing::warn!(%error, %next_hop, "could not have the kernel resolve a next hop");
        }
    }

    fn is_named(&self, ip: IpAddr) -> bool {
        self.peers.get(&ip).is_some_and(|terms| terms.named)
    }

    /// Has the kernel keep a next hop resolved: our traffic does not tell it that the neighbour is in use.
    async fn keep(&mut self, ifindex: Ifindex, next_hop: IpAddr) {
        if !self.kept.insert((ifindex, next_hop)) {
            return;
        }
        if let Err(error) = self.netlink.keep_resolved(ifindex, next_hop).await {
            tracing::warn!(%error, %next_hop, "could not have the kernel keep a next hop resolved");
            self.kept.remove(&(ifindex, next_hop));
        }
    }

    /// A peer has this next hop no longer, or nobody names it: it need not be kept resolved, unless it is that of another that is named.
    async fn release(&mut self, gone: NextHop) {
        let (ifindex, next_hop) = gone;
        let mut others = self.next_hops.iter();
        if !self.kept.contains(&gone)
            || others.any(|(ip, other)| *other == gone && self.is_named(*ip))
        {
            return;
        }
        self.kept.remove(&gone);
        if let Err(error) = self.netlink.release(ifindex, next_hop).await {
            tracing::warn!(%error, %next_hop, "could not release a next hop that the kernel keeps resolved");
        }
    }
}
