//! Network interfaces: what they are and whether they work.

use netlink_packet_core::Nla;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{
        BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoTun,
        InfoVrf, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkLayerType,
        LinkMessage, LinkXdp, XdpAttached,
    },
};
use vtep_common::abi::id::Ifindex;

use super::{Error, Mac, Netlink};

/// Longest name of an interface, without the zero that ends it in the kernel (`IFNAMSIZ` - 1).
const NAME_MAX_LEN: usize = 15;

/// `IFLA_BRPORT_STATE`: what a bridge does with a member's frames.
pub(super) const IFLA_BRPORT_STATE: u16 = 1;
/// `BR_STATE_DISABLED`: it takes none, and sends it none.
pub(super) const BR_STATE_DISABLED: u8 = 0;
/// `IFLA_TUN_TYPE`: whether a `tun` device carries frames or packets.
const IFLA_TUN_TYPE: u16 = 3;
/// Value of `IFLA_TUN_TYPE` for a device that carries Ethernet frames.
const IFF_TAP: u8 = 2;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that the kernel reports one by one, not states of one machine"
)]
pub struct Link {
    /// Its number in this network namespace.
    pub index: Ifindex,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; zeros where it has none.
    pub mac: Mac,
    /// Largest IP packet that it takes, in bytes.
    pub mtu: u32,
    /// Whether it is switched on (`ip link set up`).
    pub up: bool,
    /// Whether it can send: a cable, a peer, or a reader is there. Never true unless it is `up`.
    pub carrier: bool,
    /// Whether frames on it start with an Ethernet header.
    pub ethernet: bool,
    /// What made it.
    pub kind: LinkKind,
    /// The interface it is paired with or stacked on (`IFLA_LINK`): for a veth the other end, whose number counts in
    /// the other namespace if there is a `peer_netns`.
    pub peer: Option<Ifindex>,
    /// Where `peer` lives in another network namespace: the number that this one knows that by, negative where it knows none.
    pub peer_netns: Option<i32>,
    /// The bridge or bond that it belongs to.
    pub master: Option<Ifindex>,
    /// The free text that `ip link set NAME alias TEXT` leaves.
    pub alias: Option<String>,
    /// The state of the bridge port that it is, if a bridge has it (`IFLA_BRPORT_STATE`).
    pub bridge_port: Option<BridgePort>,
    /// Whether it has an XDP program in the stack (`ip link set NAME xdpgeneric …`).
    pub generic_xdp: bool,
    /// Whether somebody has set it to take frames for all MACs (`ip link set NAME promisc on`).
    pub promiscuous: bool,
    /// The kind of queueing discipline at its root.
    pub qdisc: Option<String>,
}

/// What a bridge does with the frames of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgePort {
    /// It takes none and sends it none (`BR_STATE_DISABLED`).
    Disabled,
    /// It takes them and sends it some (`BR_STATE_FORWARDING`), or is about to.
    Other,
}

impl BridgePort {
    /// By the kernel's number.
    pub(super) const fn of(state: u8) -> Self {
        match state {
            BR_STATE_DISABLED => Self::Disabled,
            _ => Self::Other,
        }
    }
}

/// What made an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// One end of a cable between two namespaces.
    Veth,
    /// A device that a process reads and writes Ethernet frames of: a VM's.
    Tap,
    /// A device that a process reads and writes IP packets of.
    Tun,
    /// The kernel's VXLAN device.
    Vxlan {
        /// Its VNI; 0 where it is `external`.
        vni: u32,
        /// The UDP port that it receives on.
        port: u16,
        /// Whether VNI and destination come with each packet (`external`).
        external: bool,
        /// The interface that it was told to use (`dev`).
        dev: Option<Ifindex>,
    },
    /// The kernel's bridge.
    Bridge {
        /// Whether it tells VLANs apart (`vlan_filtering`).
        vlan_aware: bool,
        /// Whether a spanning tree runs on it, the kernel's or another (`stp_state`).
        spanning_tree: bool,
    },
    /// A routing domain of its own, for the interfaces that belong to it.
    Vrf {
        /// The number of its routing table.
        table: u32,
    },
    /// Ethernet hardware, or what a hypervisor shows as such.
    Physical,
    /// Anything else, by the kernel's name for it.
    Other(String),
}

impl Link {
    /// Reads a link message; `None` for the partial ones that wireless devices and bridges send.
    pub(super) fn from_message(message: LinkMessage) -> Option<Self> {
        if message.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let flags = message.header.flags;
        let layer = message.header.link_layer_type;
        let up = flags.contains(LinkFlags::Up);
        let mut name = None;
        let mut mtu = None;
        let mut mac = None;
        let mut kind = None;
        let mut peer = None;
        let mut peer_netns = None;
        let mut master = None;
        let mut alias = None;
        let mut generic_xdp = false;
        let mut bridge_port = None;
        let mut qdisc = None;
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(value) => name = Some(value),
                LinkAttribute::Mtu(value) => mtu = Some(value),
                LinkAttribute::Address(value) => mac = Mac::try_from(value.as_slice()).ok(),
                LinkAttribute::LinkInfo(info) => {
                    kind = kind_of(&info);
                    bridge_port = bridge_port_of(&info);
                }
                LinkAttribute::Link(index) => peer = (index != 0).then(|| Ifindex::new(index)),
                LinkAttribute::LinkNetNsId(id) => peer_netns = Some(id),
                LinkAttribute::Controller(index) => {
                    master = (index != 0).then(|| Ifindex::new(index));
                }
                LinkAttribute::IfAlias(value) => alias = Some(value),
                LinkAttribute::Qdisc(value) => qdisc = Some(value),
                LinkAttribute::Xdp(parts) => {
                    generic_xdp = parts.contains(&LinkXdp::Attached(XdpAttached::SocketBuffer));
                }
                _ => {}
            }
        }
        Some(Self {
            index: Ifindex::new(message.header.index),
            name: name?,
            mac: mac.unwrap_or_default(),
            mtu: mtu?,
            up,
            carrier: up && flags.contains(LinkFlags::LowerUp),
            ethernet: layer == LinkLayerType::Ether,
            kind: kind.unwrap_or_else(|| match layer {
                LinkLayerType::Ether => LinkKind::Physical,
                other => LinkKind::Other(other.to_string()),
            }),
            peer,
            peer_netns,
            master,
            alias,
            bridge_port,
            generic_xdp,
            promiscuous: flags.contains(LinkFlags::Promisc),
            qdisc,
        })
    }
}

/// The number of a bridge's member, and its state, in a message of the bridge's own family.
pub(super) fn bridge_port_in(message: &LinkMessage) -> Option<(Ifindex, BridgePort)> {
    if message.header.interface_family != AddressFamily::Bridge {
        return None;
    }
    let parts = message.attributes.iter().find_map(|part| match part {
        LinkAttribute::ProtoInfoBridge(parts) => Some(parts),
        _ => None,
    })?;
    let state = parts.iter().find(|part| part.kind() == IFLA_BRPORT_STATE)?;
    let mut value = [0; 1];
    if state.value_len() != value.len() {
        return None;
    }
    state.emit_value(&mut value);
    Some((Ifindex::new(message.header.index), BridgePort::of(value[0])))
}

/// The state of the bridge port that an interface is.
fn bridge_port_of(info: &[LinkInfo]) -> Option<BridgePort> {
    let parts = info.iter().find_map(|part| match part {
        LinkInfo::PortData(InfoPortData::BridgePort(parts)) => Some(parts),
        _ => None,
    })?;
    parts.iter().find_map(|part| match part {
        InfoBridgePort::State(state) => Some(BridgePort::of((*state).into())),
        _ => None,
    })
}

fn vrf_kind(data: Option<&InfoData>) -> LinkKind {
    let parts = match data {
        Some(InfoData::Vrf(parts)) => parts.as_slice(),
        _ => &[],
    };
    let table = parts.iter().find_map(|part| match part {
        InfoVrf::TableId(table) => Some(*table),
        _ => None,
    });
    LinkKind::Vrf {
        table: table.unwrap_or_default(),
    }
}

fn kind_of(info: &[LinkInfo]) -> Option<LinkKind> {
    let kind = info.iter().find_map(|part| match part {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })?;
    let data = info.iter().find_map(|part| match part {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    Some(match (kind, data) {
        (InfoKind::Veth, _) => LinkKind::Veth,
        (InfoKind::Vrf, data) => vrf_kind(data),
        (InfoKind::Bridge, Some(InfoData::Bridge(parts))) => bridge_kind(parts),
        (InfoKind::Bridge, _) => bridge_kind(&[]),
        (InfoKind::Tun, Some(InfoData::Tun(parts))) if !parts.iter().any(is_tap) => LinkKind::Tun,
        (InfoKind::Tun, _) => LinkKind::Tap,
        (InfoKind::Vxlan, Some(InfoData::Vxlan(parts))) => vxlan_kind(parts),
        (other, _) => LinkKind::Other(other.to_string()),
    })
}

fn is_tap(part: &InfoTun) -> bool {
    let mut value = [0; 4];
    if part.kind() != IFLA_TUN_TYPE || part.value_len() > value.len() {
        return false;
    }
    part.emit_value(&mut value[..part.value_len()]);
    value[0] == IFF_TAP
}

fn bridge_kind(parts: &[InfoBridge]) -> LinkKind {
    let (mut vlan_aware, mut spanning_tree) = (false, false);
    for part in parts {
        match part {
            InfoBridge::VlanFiltering(value) => vlan_aware = *value,
            InfoBridge::StpState(state) => spanning_tree = *state != BridgeStpState::Disabled,
            _ => {}
        }
    }
    LinkKind::Bridge {
        vlan_aware,
        spanning_tree,
    }
}

fn vxlan_kind(parts: &[InfoVxlan]) -> LinkKind {
    let (mut vni, mut port, mut external, mut dev) = (0, 0, false, None);
    for part in parts {
        match part {
            InfoVxlan::Link(0) => {}
            InfoVxlan::Link(value) => dev = Some(Ifindex::new(*value)),
            InfoVxlan::Id(value) => vni = *value,
            InfoVxlan::Port(value) => port = *value,
            InfoVxlan::CollectMetadata(value) => external = *value,
            _ => {}
        }
    }
    LinkKind::Vxlan {
        vni,
        port,
        external,
        dev,
    }
}

impl Netlink {
    /// The interface of that name: `ip link show dev NAME`. [`Error::NoSuchLink`] if there is none.
    pub async fn link_by_name(&self, name: &str) -> Result<Link, Error> {
        self.find_link(name)
            .await?
            .ok_or_else(|| Error::NoSuchLink(name.to_owned()))
    }

    /// The interface of that name, if there is one: `ip link show dev NAME`.
    pub async fn find_link(&self, name: &str) -> Result<Option<Link>, Error> {
        if name.is_empty() || name.len() > NAME_MAX_LEN {
            return Ok(None);
        }
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        self.one_link(name, message).await
    }

    /// The interface of that number, if there is one.
    pub async fn link(&self, index: Ifindex) -> Result<Option<Link>, Error> {
        let mut message = LinkMessage::default();
        message.header.index = index.get();
        self.one_link(&index.to_string(), message).await
    }

    async fn one_link(
        &self,
        object: &str,
        mut message: LinkMessage,
    ) -> Result<Option<Link>, Error> {
        message
            .attributes
            .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let answer = self
            .request(
                "look up interface",
                object,
                RouteNetlinkMessage::GetLink(message),
                0,
            )
            .await;
        match answer {
            Ok(messages) => Ok(links_in(messages).next()),
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every interface of the namespace, by number: `ip link show`.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let messages = self
            .dump("list", "interfaces", RouteNetlinkMessage::GetLink(message))
            .await?;
        let mut links: Vec<Link> = links_in(messages).collect();
        links.sort_by_key(|link| link.index);
        Ok(links)
    }
}

fn links_in(messages: Vec<RouteNetlinkMessage>) -> impl Iterator<Item = Link> {
    messages.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewLink(link) => Link::from_message(link),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_without_a_kind_is_hardware_if_it_is_ethernet() {
        let ethernet = Link::from_message(message(LinkLayerType::Ether, vec![])).unwrap();
        let loopback = Link::from_message(message(LinkLayerType::Loopback, vec![])).unwrap();

        assert_eq!(ethernet.kind, LinkKind::Physical);
        assert!(ethernet.ethernet);
        assert!(matches!(loopback.kind, LinkKind::Other(_)));
        assert!(!loopback.ethernet);
    }

    #[test]
    fn a_vxlan_link_says_its_vni_and_port() {
        let info = LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vxlan),
            LinkInfo::Data(InfoData::Vxlan(vec![
                InfoVxlan::Id(100),
                InfoVxlan::Port(4789),
                InfoVxlan::CollectMetadata(false),
                InfoVxlan::Link(7),
            ])),
        ]);

        let link = Link::from_message(message(LinkLayerType::Ether, vec![info])).unwrap();

        assert_eq!(
            link.kind,
            LinkKind::Vxlan {
                vni: 100,
                port: 4789,
                external: false,
                dev: Some(Ifindex::new(7)),
            }
        );
    }

    #[test]
    fn a_link_that_is_down_has_no_carrier() {
        let mut down = message(LinkLayerType::Ether, vec![]);
        down.header.flags = LinkFlags::LowerUp;

        let link = Link::from_message(down).unwrap();

        assert!(!link.up);
        assert!(!link.carrier);
    }

    #[test]
    fn partial_messages_are_not_links() {
        let mut of_bridge = message(LinkLayerType::Ether, vec![]);
        of_bridge.header.interface_family = AddressFamily::Bridge;
        let mut of_wireless = message(LinkLayerType::Ether, vec![]);
        of_wireless
            .attributes
            .retain(|part| !matches!(part, LinkAttribute::Mtu(_)));

        assert_eq!(Link::from_message(of_bridge), None);
        assert_eq!(Link::from_message(of_wireless), None);
    }

    fn message(layer: LinkLayerType, more: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.link_layer_type = layer;
        message.attributes = vec![
            LinkAttribute::IfName("if7".to_owned()),
            LinkAttribute::Mtu(1500),
        ];
        message.attributes.extend(more);
        message
    }
}
