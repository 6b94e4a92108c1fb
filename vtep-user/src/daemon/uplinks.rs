//! The uplinks: the interfaces towards the underlay, and the hook that takes packets from each.

use std::collections::HashSet;

use vtep_common::abi::{config::Config, flags::ConfigFlags, id::Ifindex};

use super::{error::DaemonError, options::Options, programs, tags};
use crate::{
    control::TracedUplink,
    datapath::{Datapath, DatapathError, Transaction, XdpOutcome},
    model::{EventDetails, EventKind, UplinkHook, UplinkState, UplinkStatus, XdpMode},
    netlink::{self, Link, LinkKind, Netlink, XdpFeatures},
};

/// An uplink that was named, and the interface if it is there.
pub(super) type Named = (String, Option<Link>);

/// The interfaces of these names, each Ethernet, and up. Where they are waited for, some may be missing or down.
pub(super) async fn find(
    netlink: &Netlink,
    names: &[String],
    wait: bool,
) -> Result<Vec<Named>, DaemonError> {
    let mut seen = HashSet::new();
    let mut links = Vec::new();
    for name in names {
        let link = match netlink.link_by_name(name).await {
            Err(netlink::Error::NoSuchLink(_)) if wait => None,
            found => Some(found?),
        };
        let twice = links.iter().any(|(known, _)| known == name);
        if twice || link.as_ref().is_some_and(|link| !seen.insert(link.index)) {
            return Err(DaemonError::TwiceNamed(name.clone()));
        }
        if let Some(link) = &link {
            if !link.ethernet {
                return Err(DaemonError::NotEthernet(name.clone()));
            }
            if !link.up && !wait {
                return Err(DaemonError::LinkDown(name.clone()));
            }
        }
        links.push((name.clone(), link));
    }
    Ok(links)
}

/// What holds for packets of these uplinks.
pub(super) fn flags<'a>(
    options: &Options,
    links: impl IntoIterator<Item = &'a Link>,
) -> ConfigFlags {
    let mut links = links.into_iter();
    if !links.any(|link| link.kind == LinkKind::Veth) {
        return ConfigFlags::NONE;
    }
    if options.run.xdp_mode == XdpMode::Generic {
        Config::PARTIAL_CHECKSUMS | Config::XDP_LEAVES_ALL
    } else {
        Config::PARTIAL_CHECKSUMS
    }
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
            "the driver has no native XDP, and generic XDP is no faster than TC; force it with: --uplink-hook xdp --xdp-mode generic",
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
            match datapath.try_xdp("xdp_uplink", uplink, *mode, Some(now), transaction) {
                Ok(XdpOutcome::Native) => ("xdp native", None),
                Ok(XdpOutcome::Generic(why)) => ("xdp generic", Some(why)),
                Ok(XdpOutcome::Kept) => ("xdp", Some("as the last daemon attached it".to_owned())),
                Err(DatapathError::NoNativeXdp { cause, .. }) if *mode == XdpMode::Auto => {
                    (TC, Some(no_native(&cause)))
                }
                Err(error) => return Err(error.into()),
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

/// How that begins where the driver refused.
const REFUSED: &str = "its driver does not take native XDP now";

/// Why TC alone takes packets from an uplink whose driver refused native XDP.
fn no_native(cause: &str) -> String {
    format!(
        "{REFUSED} ({cause}), and generic XDP is no faster than TC; force it with: --uplink-hook xdp --xdp-mode generic"
    )
}

/// Whether XDP takes packets from an uplink.
pub(super) fn has_xdp(status: &UplinkStatus) -> bool {
    status.hook != TC && status.state != UplinkState::Absent
}

fn status_of(link: &Link, hook: &str, why: Option<String>) -> UplinkStatus {
    UplinkStatus {
        dev: link.name.clone(),
        state: state_of(link),
        hook: hook.to_owned(),
        why,
    }
}

fn state_of(link: &Link) -> UplinkState {
    if link.up {
        UplinkState::Up
    } else {
        UplinkState::Down
    }
}

/// What is said of an uplink that does not exist.
fn absent(name: &str) -> UplinkStatus {
    UplinkStatus {
        dev: name.to_owned(),
        state: UplinkState::Absent,
        hook: "none".to_owned(),
        why: None,
    }
}

/// An uplink.
struct Uplink {
    /// The interface, if it is there.
    link: Option<Link>,
    /// How packets are taken from it.
    status: UplinkStatus,
}

impl Uplink {
    fn is_at(&self, ifindex: Ifindex) -> bool {
        self.link.as_ref().is_some_and(|link| link.index == ifindex)
    }
}

/// What a change of an interface meant for the uplinks.
#[derive(Debug, Default)]
pub(super) struct UplinkChange {
    /// Another interface is attached now.
    pub(super) attached: bool,
    /// What those who watch are told.
    pub(super) event: Option<EventDetails>,
}

impl UplinkChange {
    /// What follows of the states before and after.
    fn of(status: &UplinkStatus, was: UplinkState) -> Self {
        let event = match (was, status.state) {
            (was, now) if was == now => None,
            (_, UplinkState::Up) => Some((EventKind::UplinkUp, None)),
            (UplinkState::Up, UplinkState::Down) => Some((EventKind::UplinkDown, Some("down"))),
            (_, UplinkState::Absent) => Some((EventKind::UplinkDown, Some("gone"))),
            (UplinkState::Down | UplinkState::Absent, UplinkState::Down) => None,
        };
        if let Some((kind, why)) = event {
            tracing::info!(why, "{}: {}", kind.as_str(), status.dev);
        }
        Self {
            attached: false,
            event: event.map(|(kind, why)| EventDetails {
                dev: Some(status.dev.clone()),
                why: why.map(str::to_owned),
                ..EventDetails::new(kind)
            }),
        }
    }
}

/// The uplinks as they are now.
pub(super) struct Uplinks(Vec<Uplink>);

impl Uplinks {
    /// Those that were named; each that is there has a status, in this order.
    pub(super) fn new(named: Vec<Named>, statuses: Vec<UplinkStatus>) -> Self {
        let mut statuses = statuses.into_iter();
        let uplinks = named.into_iter().map(|(name, link)| {
            let status = link.as_ref().and_then(|_| statuses.next());
            let status = status.unwrap_or_else(|| absent(&name));
            Uplink { link, status }
        });
        Self(uplinks.collect())
    }

    /// Each of them that is there, in the order in which they were named.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.0.iter().filter_map(|uplink| uplink.link.as_ref())
    }

    /// Whether the interface of that name is one of them, for a trace.
    pub(super) fn traced(&self, dev: &str) -> TracedUplink {
        match self.0.iter().find(|uplink| uplink.status.dev == dev) {
            None => TracedUplink::None,
            Some(uplink) => match &uplink.link {
                None => TracedUplink::Absent,
                Some(link) => TracedUplink::There(link.index),
            },
        }
    }

    /// Their names, for the log.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.iter().map(|link| link.name.as_str()).collect();
        names.join(", ")
    }

    /// How packets are taken from each.
    pub(super) fn statuses(&self) -> Vec<UplinkStatus> {
        self.0.iter().map(|uplink| uplink.status.clone()).collect()
    }

    /// What is waited for, a clause each.
    pub(super) fn waits_for(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .filter_map(|uplink| match uplink.status.state {
                UplinkState::Up => None,
                UplinkState::Down => Some(format!("uplink {}, which is down", uplink.status.dev)),
                UplinkState::Absent => Some(format!(
                    "uplink {}, which does not exist",
                    uplink.status.dev
                )),
            })
    }

    /// True if the interface of that number is one of them.
    pub(super) fn has(&self, ifindex: Ifindex) -> bool {
        self.0.iter().any(|uplink| uplink.is_at(ifindex))
    }

    /// The uplinks that are there and from which somebody has detached our programs: name, number and program. What cannot be looked at
    /// is left for the next time.
    pub(super) fn missing_programs(
        &self,
        netlink: &Netlink,
        datapath: &Datapath,
    ) -> Vec<(String, Ifindex, &'static str)> {
        let own = datapath.own_at_ports();
        let there = self.0.iter();
        let there = there.filter_map(|uplink| Some((uplink.link.as_ref()?, &uplink.status)));
        let wanted = there.flat_map(|(link, status)| {
            let xdp = has_xdp(status).then_some("xdp_uplink");
            let programs = [Some("tc_uplink"), xdp].into_iter().flatten();
            programs.map(move |program| (link.name.clone(), link.index, program))
        });
        let is_missing = |(dev, ifindex, program): &(String, Ifindex, &'static str)| {
            match programs::is_attached(netlink, &own, program, *ifindex) {
                Ok(attached) => !attached,
                Err(error) => {
                    tracing::debug!(%error, "could not look at uplink {dev}");
                    false
                }
            }
        };
        wanted.filter(is_missing).collect()
    }

    /// Takes on that an interface is gone, if it was one of them.
    pub(super) fn gone(
        &mut self,
        ifindex: Ifindex,
        datapath: &mut Datapath,
    ) -> Result<UplinkChange, DaemonError> {
        let mut uplinks = self.0.iter_mut();
        let Some(uplink) = uplinks.find(|uplink| uplink.is_at(ifindex)) else {
            return Ok(UplinkChange::default());
        };
        uplink.link = None;
        let was = uplink.status.state;
        uplink.status = absent(&uplink.status.dev);
        datapath.detach_uplink(ifindex)?;
        Ok(UplinkChange::of(&uplink.status, was))
    }

    /// Takes on what changed about an interface, if it is one of them. One that was waited for, or was deleted and made again, is attached.
    /// XDP goes while it does not see VLAN tags, and comes back.
    pub(super) fn changed(
        &mut self,
        link: &Link,
        options: &Options,
        netlink: &Netlink,
        datapath: &mut Datapath,
    ) -> Result<UplinkChange, DaemonError> {
        let uplinks = &self.0;
        let at = uplinks.iter().position(|uplink| uplink.is_at(link.index));
        let by_name = || {
            let named = |uplink: &Uplink| uplink.status.dev == link.name;
            uplinks.iter().position(named)
        };
        let Some(Uplink {
            link: known,
            status,
        }) = at.or_else(by_name).map(|at| &mut self.0[at])
        else {
            return Ok(UplinkChange::default());
        };
        let was = status.state;
        let old = known.replace(link.clone());
        if at.is_some() {
            let hook = choose_hook(options, netlink, link)?;
            // What a driver has refused, it may take with another MTU.
            let refused = status
                .why
                .as_deref()
                .is_some_and(|why| why.starts_with(REFUSED));
            let same_mtu = old.is_some_and(|old| old.mtu == link.mtu);
            match (&hook, status.hook == TC) {
                (Ok(_), true) if refused && same_mtu => {}
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
            (status.state, status.dev) = (state_of(link), link.name.clone());
            return Ok(UplinkChange::of(status, was));
        }
        if !link.ethernet {
            *known = None;
            return Err(DaemonError::NotEthernet(link.name.clone()));
        }
        if let Some(old) = old {
            tracing::warn!(
                "uplink {} was deleted and made again; attaching to it",
                link.name
            );
            datapath.detach_uplink(old.index)?;
        }
        let hook = choose_hook(options, netlink, link)?;
        // Nothing is rolled back: TC alone is better than nothing.
        *status = attach(link, &hook, datapath, &mut Transaction::default())?;
        Ok(UplinkChange {
            attached: true,
            ..UplinkChange::of(status, was)
        })
    }
}
