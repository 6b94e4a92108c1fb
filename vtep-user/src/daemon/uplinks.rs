//! The uplinks: the interfaces towards the underlay, and the hook that takes packets from each.

use std::collections::HashSet;

use vtep_common::abi::id::Ifindex;

use super::{error::DaemonError, options::Options, tags};
use crate::{
    datapath::{Datapath, Transaction, XdpOutcome},
    model::{UplinkHook, UplinkStatus, XdpMode},
    netlink::{Link, LinkKind, Netlink, XdpFeatures},
};

/// The interfaces of these names, each up and Ethernet.
pub(super) async fn find(netlink: &Netlink, names: &[String]) -> Result<Vec<Link>, DaemonError> {
    let mut seen = HashSet::new();
    let mut links = Vec::new();
    for name in names {
        let link = netlink.link_by_name(name).await?;
        if !seen.insert(link.index) {
            return Err(DaemonError::TwiceNamed(name.clone()));
        }
        if !link.ethernet {
            return Err(DaemonError::NotEthernet(name.clone()));
        }
        if !link.up {
            return Err(DaemonError::LinkDown(name.clone()));
        }
        links.push(link);
    }
    Ok(links)
}

/// The mode of XDP at an uplink, or why it has TC alone.
pub(super) type XdpChoice = Result<XdpMode, String>;

/// XDP where it is wanted and pays.
pub(super) fn choose_hook(
    options: &Options,
    netlink: &Netlink,
    link: &Link,
) -> Result<XdpChoice, DaemonError> {
    let native = netlink
        .xdp_features(link.index)?
        .is_none_or(|features| features.has(XdpFeatures::BASIC));
    let tc_because = match options.run.uplink_hook {
        UplinkHook::Tc => Some("it was requested"),
        UplinkHook::Auto if link.kind == LinkKind::Veth => Some(
            "XDP on a veth turns off segmentation offload at its peer; force it with: --uplink-hook xdp",
        ),
        UplinkHook::Auto if !native && options.run.xdp_mode == XdpMode::Auto => Some(
            "the driver has no native XDP, and generic XDP is no faster than TC; force it with: --uplink-hook xdp",
        ),
        UplinkHook::Xdp | UplinkHook::Auto => None,
    };
    let why = match tc_because {
        Some(why) => Some(why.to_owned()),
        None => tags::why_unseen(netlink, link)?,
    };
    Ok(why.map_or(Ok(options.run.xdp_mode), Err))
}

/// Attaches to an uplink, TC always, unless it is attached already. Says what it got, and why.
pub(super) fn attach(
    link: &Link,
    hook: &XdpChoice,
    datapath: &mut Datapath,
    transaction: &mut Transaction,
) -> Result<UplinkStatus, DaemonError> {
    // TC first: what XDP passes on has somewhere to go.
    datapath.try_tc("tc_uplink", &link.name, link.index, transaction)?;
    let (hook, why) = match hook {
        Err(why) => (TC, Some(why.clone())),
        Ok(mode) => {
            let now = if link.generic_xdp {
                XdpMode::Generic
            } else {
                XdpMode::Native
            };
            let uplink = (&*link.name, link.index);
            match datapath.try_xdp("xdp_uplink", uplink, *mode, Some(now), transaction)? {
                XdpOutcome::Native => ("xdp native", None),
                XdpOutcome::Generic(why) => ("xdp generic", Some(why)),
                XdpOutcome::Kept => ("xdp", Some("as the last daemon attached it".to_owned())),
            }
        }
    };
    if let Some(why) = &why {
        tracing::info!("uplink {}: {hook}, because {why}", link.name);
    } else {
        tracing::info!("uplink {}: {hook}", link.name);
    }
    Ok(status_of(link, hook, why))
}

/// What is said of an uplink that TC alone takes packets from.
const TC: &str = "tc";

fn status_of(link: &Link, hook: &str, why: Option<String>) -> UplinkStatus {
    UplinkStatus {
        dev: link.name.clone(),
        hook: hook.to_owned(),
        why,
    }
}

/// The uplinks as they are now.
pub(super) struct Uplinks {
    /// Each, and how packets are taken from it.
    uplinks: Vec<(Link, UplinkStatus)>,
}

impl Uplinks {
    pub(super) fn new(links: Vec<Link>, statuses: Vec<UplinkStatus>) -> Self {
        Self {
            uplinks: links.into_iter().zip(statuses).collect(),
        }
    }

    /// Each of them, in the order in which they were named.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.uplinks.iter().map(|(link, _)| link)
    }

    /// Their names, for the log.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.iter().map(|link| link.name.as_str()).collect();
        names.join(", ")
    }

    /// How packets are taken from each.
    pub(super) fn statuses(&self) -> Vec<UplinkStatus> {
        self.uplinks
            .iter()
            .map(|(_, status)| status.clone())
            .collect()
    }

    /// True if the interface of that number is one of them.
    pub(super) fn has(&self, ifindex: Ifindex) -> bool {
        self.iter().any(|link| link.index == ifindex)
    }

    /// Takes on what changed about an interface, if it is one of them. One that was deleted and made again is attached anew; then the
    /// answer is true. XDP goes while it does not see VLAN tags, and comes back.
    pub(super) fn changed(
        &mut self,
        link: &Link,
        options: &Options,
        netlink: &Netlink,
        datapath: &mut Datapath,
    ) -> Result<bool, DaemonError> {
        let mut known = self.uplinks.iter_mut();
        let Some((known, status)) =
            known.find(|(known, _)| known.index == link.index || known.name == link.name)
        else {
            return Ok(false);
        };
        let old = std::mem::replace(known, link.clone());
        if old.index == link.index {
            let hook = choose_hook(options, netlink, link)?;
            match (&hook, status.hook == TC) {
                (Err(why), false) => {
                    tracing::warn!("uplink {}: tc from now on, because {why}", link.name);
                    datapath.replace_uplink(&link.name, link.index, false)?;
                    *status = status_of(link, TC, Some(why.clone()));
                }
                (Ok(_), true) => {
                    *status = attach(link, &hook, datapath, &mut Transaction::default())?;
                }
                (Err(_), true) | (Ok(_), false) => {}
            }
            return Ok(false);
        }
        tracing::warn!(
            "uplink {} was deleted and made again; attaching to it",
            link.name
        );
        datapath.detach_uplink(old.index)?;
        let hook = choose_hook(options, netlink, link)?;
        // Nothing is rolled back: TC alone is better than nothing.
        *status = attach(link, &hook, datapath, &mut Transaction::default())?;
        Ok(true)
    }
}
