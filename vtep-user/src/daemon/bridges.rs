//! What the kernel has of bridges, their members and the gates to them, kept from what it reports.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::{future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::sync::oneshot;
use vtep_common::abi::{addr::MacAddr, id::Ifindex, map::MAX_PORTS};

use crate::{
    ask::Reply,
    control::{BridgeFacts, BridgeStep, BridgeView, GateFacts, MemberFacts, Unfit},
    model::{Refusal, Vni},
    netlink::{self, BridgePort, GATE_OWNER, Link, LinkKind, Netlink, NewGate},
};

/// Members that are closed in a second, at most: all that there can be, twice.
const CLOSED_IN_A_SECOND: u32 = 2 * MAX_PORTS;

/// A port that was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its interface.
    pub(super) dev: String,
    /// Whether it was to be removed.
    pub(super) removed: bool,
    /// What became of it.
    pub(super) answer: Result<Result<Reply, Refusal>, oneshot::error::RecvError>,
}

/// Which end of a gate an interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The one at the bridge.
    Inner,
    /// The one that is a port.
    Outer,
}

/// The text by which an end of a gate is known again.
fn alias(vni: Vni, instance: &str, end: End) -> String {
    let end = match end {
        End::Inner => "bridge",
        End::Outer => "port",
    };
    format!("{GATE_OWNER}{vni}, {end} end, instance {instance}")
}

/// The VNI of a gate, which end of it an interface is, and whose.
fn gate_end(link: &Link) -> Option<(Vni, End, &str)> {
    let rest = link.alias.as_deref()?.strip_prefix(GATE_OWNER)?;
    let (vni, rest) = rest.split_once(", ")?;
    let (end, instance) = rest.split_once(" end, instance ")?;
    let end = match end {
        "bridge" => End::Inner,
        "port" => End::Outer,
        _ => return None,
    };
    Some((vni.parse().ok()?, end, instance))
}

/// The names of a gate's ends.
fn names(vni: Vni) -> (String, String) {
    (format!("vtbr{vni}"), format!("vtbr{vni}p"))
}

/// The interfaces of the host, and what is under way for bridges.
#[derive(Debug)]
pub(super) struct Bridges {
    instance: String,
    links: BTreeMap<Ifindex, Link>,
    /// Something may have to be done.
    stale: bool,
    /// Ports that are being made, changed or removed.
    pub(super) asked: FuturesUnordered<LocalBoxFuture<'static, Asked>>,
    /// Interfaces that could not be made ports.
    pub(super) refused: HashSet<String>,
    /// Why not, as it was last said.
    said: BTreeMap<String, String>,
    /// How many members may be closed until the next second.
    patience: u32,
    /// What went wrong last, a sentence each.
    wrong: BTreeSet<String>,
    /// The bridges that are waited for, a clause each.
    waits_for: Vec<String>,
}

impl Bridges {
    pub(super) fn new(instance: &str) -> Self {
        Self {
            instance: instance.to_owned(),
            links: BTreeMap::new(),
            stale: true,
            asked: FuturesUnordered::new(),
            refused: HashSet::new(),
            said: BTreeMap::new(),
            patience: CLOSED_IN_A_SECOND,
            wrong: BTreeSet::new(),
            waits_for: Vec::new(),
        }
    }

    /// A second is over: members may be closed again.
    pub(super) fn rest(&mut self) {
        if self.patience == 0 {
            tracing::error!(
                "somebody opens members of a bridge as fast as vtep closes them; have it leave them alone"
            );
            self.stale = true;
        }
        self.patience = CLOSED_IN_A_SECOND;
    }

    /// Takes note that an interface could not be made a port; true if that was not said before.
    pub(super) fn refuse(&mut self, dev: &str, why: &str) -> bool {
        self.refused.insert(dev.to_owned());
        self.stale = true;
        let last = self.said.insert(dev.to_owned(), why.to_owned());
        last.as_deref() != Some(why)
    }

    /// What an instance has, of all interfaces.
    pub(super) fn of(instance: &str, links: &[Link]) -> Self {
        let mut bridges = Self::new(instance);
        bridges.reset(links);
        bridges
    }

    /// Takes on all interfaces anew.
    pub(super) fn reset(&mut self, links: &[Link]) {
        let links = links.iter().map(|link| (link.index, link.clone()));
        self.links = links.collect();
        self.look_again();
    }

    /// Takes note of an interface.
    pub(super) fn note(&mut self, link: &Link) {
        let old = self.links.insert(link.index, link.clone());
        if old.as_ref() != Some(link) {
            self.stale = true;
            let same = |old: &Link| (&old.name, old.master) == (&link.name, link.master);
            if !old.as_ref().is_some_and(same) {
                self.refused.remove(&link.name);
            }
        }
    }

    /// Takes note of what a bridge does with a member.
    pub(super) fn note_port(&mut self, index: Ifindex, state: BridgePort) {
        if let Some(link) = self.links.get_mut(&index) {
            self.stale |= link.bridge_port != Some(state);
            link.bridge_port = Some(state);
        }
    }

    /// Forgets an interface that is gone.
    pub(super) fn forget(&mut self, index: Ifindex) {
        if let Some(link) = self.links.remove(&index) {
            self.refused.remove(&link.name);
            self.stale = true;
        }
    }

    /// Has everything looked at again, also what was refused.
    pub(super) fn look_again(&mut self) {
        self.stale = true;
        self.refused.clear();
    }

    /// Takes note that what was asked for is done.
    pub(super) const fn invalidate(&mut self) {
        self.stale = true;
    }

    /// Whether something may have to be done, and nothing is being done.
    pub(super) fn is_stale(&self) -> bool {
        self.stale && self.asked.is_empty()
    }

    /// Takes note that it is being looked at.
    pub(super) const fn take_stale(&mut self) {
        self.stale = false;
    }

    /// Takes note of what is waited for and of what went wrong. What is new is logged.
    pub(super) fn report(&mut self, waits_for: Vec<String>, wrong: BTreeSet<String>) {
        for clause in waits_for
            .iter()
            .filter(|clause| !self.waits_for.contains(clause))
        {
            tracing::warn!("waiting for {clause}");
        }
        for sentence in wrong.difference(&self.wrong) {
            tracing::error!("{sentence}");
        }
        self.waits_for = waits_for;
        self.wrong = wrong;
    }

    /// The bridges that are waited for, a clause each.
    pub(super) fn waits_for(&self) -> impl Iterator<Item = String> {
        self.waits_for.iter().cloned()
    }

    /// The VRF over an interface, if there is one.
    pub(super) fn vrf_over(&self, ifindex: Ifindex) -> Option<Ifindex> {
        netlink::vrf_over(ifindex, |index| self.links.get(&index))
    }

    /// The ends of gates of this instance.
    pub(super) fn gate_ends(&self) -> impl Iterator<Item = Ifindex> {
        let links = self.links.values();
        let ends = links.filter(|link| self.end_of_ours(link).is_some());
        ends.map(|link| link.index)
    }

    fn end_of_ours(&self, link: &Link) -> Option<(Vni, End)> {
        let (vni, end, instance) = gate_end(link)?;
        (instance == self.instance).then_some((vni, end))
    }

    /// What the kernel has, where the host has these uplinks.
    pub(super) fn view(&self, uplinks: &HashSet<Ifindex>) -> BridgeView {
        let mut members: BTreeMap<Ifindex, Vec<&Link>> = BTreeMap::new();
        for link in self.links.values() {
            if let Some(master) = link.master {
                members.entry(master).or_default().push(link);
            }
        }
        let bridges = self.links.values().filter_map(|link| {
            let members = members.get(&link.index);
            let is_bridge = matches!(link.kind, LinkKind::Bridge { .. });
            is_bridge.then(|| {
                let members = members.map_or(&[][..], |members| members);
                (link.name.clone(), self.facts(link, members, uplinks))
            })
        });
        BridgeView {
            bridges: bridges.collect(),
            gates: self.gates(),
        }
    }

    fn gates(&self) -> Vec<GateFacts> {
        let inner = self.links.values().filter_map(|link| {
            let (vni, end) = self.end_of_ours(link)?;
            (end == End::Inner).then_some((vni, link))
        });
        let gates = inner.filter_map(|(vni, inner)| {
            let outer = self.links.get(&inner.peer?)?;
            Some(GateFacts {
                vni,
                inner: (inner.index, inner.name.clone()),
                outer: (outer.index, outer.name.clone()),
                mtu: inner.mtu.min(outer.mtu),
                bridge: inner.master,
                up: inner.up && outer.up,
            })
        });
        gates.collect()
    }

    fn facts(&self, link: &Link, members: &[&Link], uplinks: &HashSet<Ifindex>) -> BridgeFacts {
        let not_a_gate = members.iter().filter(|member| gate_end(member).is_none());
        BridgeFacts {
            ifindex: link.index,
            mac: MacAddr::from_bytes(link.mac),
            mtu: link.mtu,
            unfit: self.unfit(link, members, uplinks),
            members: not_a_gate
                .map(|member| MemberFacts {
                    ifindex: member.index,
                    name: member.name.clone(),
                    mtu: member.mtu,
                    carrier: member.carrier,
                    closed: member.bridge_port == Some(BridgePort::Disabled),
                })
                .collect(),
        }
    }

    fn unfit(&self, link: &Link, members: &[&Link], uplinks: &HashSet<Ifindex>) -> Option<Unfit> {
        let LinkKind::Bridge {
            vlan_aware,
            spanning_tree,
        } = link.kind
        else {
            return Some(Unfit::NoBridge);
        };
        let mut instances = members.iter().filter_map(|member| gate_end(member));
        let other = instances.find(|(_, _, instance)| *instance != self.instance);
        let uplink = members
            .iter()
            .find(|member| uplinks.contains(&member.index));
        if uplinks.contains(&link.index) {
            Some(Unfit::Uplink)
        } else if let Some(uplink) = uplink {
            Some(Unfit::HasUplink(uplink.name.clone()))
        } else if vlan_aware {
            Some(Unfit::VlanAware)
        } else if spanning_tree {
            Some(Unfit::SpanningTree)
        } else {
            other.map(|(_, _, instance)| Unfit::OtherInstance(instance.to_owned()))
        }
    }

    /// Why the interface of this name cannot be the bridge of a VNI, if there is one and it cannot.
    pub(super) fn unfit_named(&self, name: &str, uplinks: &HashSet<Ifindex>) -> Option<Unfit> {
        let link = self.links.values().find(|link| link.name == name)?;
        let members = self.links.values();
        let members: Vec<&Link> = members
            .filter(|member| member.master == Some(link.index))
            .collect();
        self.unfit(link, &members, uplinks)
    }

    /// Takes a step that is none of a port's.
    pub(super) async fn step(
        &mut self,
        netlink: &Netlink,
        step: BridgeStep,
        view: &BridgeView,
    ) -> Result<(), netlink::Error> {
        match step {
            BridgeStep::MakeGate {
                vni,
                bridge,
                mac,
                mtu,
            } => self.make_gate(netlink, vni, (bridge, mac, mtu)).await,
            BridgeStep::SetMtu(gate, mtu) => {
                netlink.set_mtu(gate.outer.0, mtu).await?;
                netlink.set_mtu(gate.inner.0, mtu).await
            }
            BridgeStep::SwitchOn(gate) => {
                netlink.switch_on(gate.outer.0).await?;
                netlink.switch_on(gate.inner.0).await
            }
            // Somebody may open them as fast as they are closed.
            BridgeStep::Close(_) if self.patience == 0 => Ok(()),
            BridgeStep::Close(member) => {
                self.patience -= 1;
                self.set_port(netlink, &member, BridgePort::Disabled).await
            }
            BridgeStep::Open(member) => self.set_port(netlink, &member, BridgePort::Other).await,
            BridgeStep::RemoveGate(gate) => self.remove_gate(netlink, &gate, view).await,
            BridgeStep::Port(_) => Ok(()),
        }
    }

    async fn make_gate(
        &mut self,
        netlink: &Netlink,
        vni: Vni,
        (bridge, mac, mtu): (Ifindex, MacAddr, u32),
    ) -> Result<(), netlink::Error> {
        let (inner, outer) = names(vni);
        if let Some(link) = netlink.find_link(&inner).await?
            && is_half_made(&link)
        {
            netlink.delete_link(&inner).await?;
        }
        let aliases = [End::Inner, End::Outer].map(|end| alias(vni, &self.instance, end));
        let gate = NewGate {
            inner: &inner,
            outer: &outer,
            aliases: [&aliases[0], &aliases[1]],
            bridge,
            mac: mac.bytes(),
            mtu,
        };
        netlink.make_gate(gate).await?;
        for name in [&inner, &outer] {
            self.note(&netlink.link_by_name(name).await?);
        }
        let bridge = self.links.get(&bridge).map(|link| &*link.name);
        tracing::info!(
            "bridge {} is in vni {vni}, by way of {inner}",
            bridge.unwrap_or_default()
        );
        Ok(())
    }

    async fn set_port(
        &mut self,
        netlink: &Netlink,
        member: &MemberFacts,
        state: BridgePort,
    ) -> Result<(), netlink::Error> {
        match netlink.set_bridge_port(member.ifindex, state).await {
            // Its link went down, or it has left: the kernel does by itself what is right then.
            Err(error)
                if matches!(
                    error.errno(),
                    Some(libc::ENETDOWN | libc::ENODEV | libc::EINVAL | libc::EOPNOTSUPP)
                ) =>
            {
                tracing::debug!(%error, "left the bridge port {} as it is", member.name);
                Ok(())
            }
            done => {
                done?;
                if let Some(link) = self.links.get_mut(&member.ifindex) {
                    link.bridge_port = Some(state);
                }
                Ok(())
            }
        }
    }

    async fn remove_gate(
        &self,
        netlink: &Netlink,
        gate: &GateFacts,
        view: &BridgeView,
    ) -> Result<(), netlink::Error> {
        let (_, name) = &gate.inner;
        match netlink.delete_link(name).await {
            Ok(()) | Err(netlink::Error::NoSuchLink(_)) => {}
            Err(error) => return Err(error),
        }
        tracing::info!("removed {name}, the gate of vni {}", gate.vni);
        // A bridge that loses its last member loses its MAC with it, unless somebody gave it that.
        let mut bridges = view.bridges.values();
        let bridge = bridges.find(|bridge| Some(bridge.ifindex) == gate.bridge);
        if let Some(bridge) = bridge
            && let Some(link) = netlink.link(bridge.ifindex).await?
            && MacAddr::from_bytes(link.mac).is_zero()
        {
            netlink.set_mac(bridge.ifindex, bridge.mac.bytes()).await?;
        }
        Ok(())
    }

    /// Removes every gate of the instance, and has the bridges do with their members as they do by themselves.
    pub(super) async fn remove_all(&mut self, netlink: &Netlink) -> Result<(), netlink::Error> {
        let view = self.view(&HashSet::new());
        for gate in &view.gates {
            let bridges = view.bridges.values();
            let bridges = bridges.filter(|bridge| Some(bridge.ifindex) == gate.bridge);
            for member in bridges.flat_map(|bridge| &bridge.members) {
                if member.closed && member.carrier {
                    self.set_port(netlink, member, BridgePort::Other).await?;
                }
            }
            self.remove_gate(netlink, gate, &view).await?;
        }
        Ok(())
    }
}

/// Whether an interface with the name of a gate is one that a daemon had not finished when it was killed.
fn is_half_made(link: &Link) -> bool {
    link.kind == LinkKind::Veth && link.alias.is_none() && link.master.is_none() && !link.up
}
