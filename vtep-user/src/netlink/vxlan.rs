//! The kernel's vxlan devices, with all that they are set to.

use std::net::IpAddr;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoVxlan, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage, VxlanDf},
};
use vtep_common::abi::id::Ifindex;

use super::{Error, Netlink};

/// A vxlan device as `ip -d link show` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that the kernel reports one by one, not states of one machine"
)]
pub struct Vxlan {
    /// Its number.
    pub index: Ifindex,
    /// Its VNI; 0 where it is `external`.
    pub vni: u32,
    /// The UDP port that it receives on and sends to.
    pub port: u16,
    /// The address that it sends from, if it is set.
    pub local: Option<IpAddr>,
    /// Its multicast group, or the one VTEP that it sends floods to (`group`, `remote`).
    pub remote: Option<IpAddr>,
    /// The interface that its packets leave by, if it is set (`dev`).
    pub dev: Option<Ifindex>,
    /// Whether it learns MACs from packets.
    pub learning: bool,
    /// Whether it answers ARP and ND from its neighbour table.
    pub proxy: bool,
    /// Whether VNI and destination come with each packet.
    pub external: bool,
    /// Whether it takes only the VNIs that it is told.
    pub vnifilter: bool,
    /// Seconds after which a learned entry goes; 0 for never.
    pub ageing_s: u32,
    /// Most entries of its FDB; 0 for no limit.
    pub limit: u32,
    /// The outer TTL; 0 for the kernel's choice.
    pub ttl: u8,
    /// Whether the outer TTL is that of the inner packet.
    pub ttl_inherit: bool,
    /// The outer TOS byte; 1 for that of the inner packet.
    pub tos: u8,
    /// The outer DF bit, if it is not `unset`: `set` or `inherit`.
    pub df: Option<&'static str>,
    /// The outer UDP source ports, both included; zeros for the kernel's choice.
    pub source_ports: (u16, u16),
    /// What else is switched on, by the words of `ip link`.
    pub others: Vec<&'static str>,
}

impl Vxlan {
    /// Reads a link message; `None` for one of another kind.
    fn from_message(message: &LinkMessage) -> Option<Self> {
        let info = message.attributes.iter().find_map(|part| match part {
            LinkAttribute::LinkInfo(info) => Some(info),
            _ => None,
        })?;
        let parts = info.iter().find_map(|part| match part {
            LinkInfo::Data(InfoData::Vxlan(parts)) => Some(parts),
            _ => None,
        })?;
        let mut device = Self {
            index: Ifindex::new(message.header.index),
            vni: 0,
            port: 0,
            local: None,
            remote: None,
            dev: None,
            learning: false,
            proxy: false,
            external: false,
            vnifilter: false,
            ageing_s: 0,
            limit: 0,
            ttl: 0,
            ttl_inherit: false,
            tos: 0,
            df: None,
            source_ports: (0, 0),
            others: Vec::new(),
        };
        for part in parts {
            device.note(part);
        }
        Some(device)
    }

    fn note(&mut self, attribute: &InfoVxlan) {
        match attribute {
            InfoVxlan::Id(vni) => self.vni = *vni,
            InfoVxlan::Port(port) => self.port = *port,
            InfoVxlan::Local(ip) => self.local = set(IpAddr::V4(*ip)),
            InfoVxlan::Local6(ip) => self.local = set(IpAddr::V6(*ip)),
            InfoVxlan::Group(ip) => self.remote = set(IpAddr::V4(*ip)),
            InfoVxlan::Group6(ip) => self.remote = set(IpAddr::V6(*ip)),
            InfoVxlan::Link(index) => self.dev = (*index != 0).then(|| Ifindex::new(*index)),
            InfoVxlan::Learning(on) => self.learning = *on,
            InfoVxlan::Proxy(on) => self.proxy = *on,
            InfoVxlan::CollectMetadata(on) => self.external = *on,
            InfoVxlan::Vnifilter(on) => self.vnifilter = *on,
            InfoVxlan::Ageing(seconds) => self.ageing_s = *seconds,
            InfoVxlan::Limit(most) => self.limit = *most,
            InfoVxlan::Ttl(ttl) => self.ttl = *ttl,
            InfoVxlan::TtlInherit(on) => self.ttl_inherit = *on != 0,
            InfoVxlan::Tos(tos) => self.tos = *tos,
            InfoVxlan::Df(VxlanDf::Set) => self.df = Some("set"),
            InfoVxlan::Df(VxlanDf::Inherit) => self.df = Some("inherit"),
            InfoVxlan::PortRange(range) => self.source_ports = *range,
            other => self.others.extend(word(other)),
        }
    }
}

/// An address that is set; the kernel reports those that are not as zeros.
fn set(ip: IpAddr) -> Option<IpAddr> {
    Some(ip).filter(|ip| !ip.is_unspecified())
}

/// The word of `ip link` for what is switched on.
fn word(part: &InfoVxlan) -> Option<&'static str> {
    match part {
        InfoVxlan::Rsc(true) => Some("rsc"),
        InfoVxlan::L2Miss(true) => Some("l2miss"),
        InfoVxlan::L3Miss(true) => Some("l3miss"),
        InfoVxlan::Gbp => Some("gbp"),
        InfoVxlan::Gpe => Some("gpe"),
        InfoVxlan::RemCsumTX(true) => Some("remcsumtx"),
        InfoVxlan::RemCsumRX(true) => Some("remcsumrx"),
        InfoVxlan::UDPZeroCsumTX(true) => Some("udp6zerocsumtx"),
        InfoVxlan::Label(label) if *label != 0 => Some("flowlabel"),
        // What is off, and what changes nothing on the wire.
        _ => None,
    }
}

impl Netlink {
    /// The vxlan devices of the namespace, by number: `ip -d link show type vxlan`.
    pub async fn vxlans(&self) -> Result<Vec<Vxlan>, Error> {
        let mut message = LinkMessage::default();
        let mask = LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]);
        message.attributes.push(mask);
        let question = RouteNetlinkMessage::GetLink(message);
        let messages = self.dump("list", "vxlan devices", question).await?;
        let mut devices: Vec<_> = messages
            .iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewLink(link) => Vxlan::from_message(link),
                _ => None,
            })
            .collect();
        devices.sort_by_key(|device| device.index);
        Ok(devices)
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::InfoKind;

    use super::*;

    #[test]
    fn a_device_says_all_that_it_is_set_to() {
        let device = of(vec![
            InfoVxlan::Id(100),
            InfoVxlan::Port(4789),
            InfoVxlan::Local6("2001:db8:1::1".parse().unwrap()),
            InfoVxlan::Group6("ff05::100".parse().unwrap()),
            InfoVxlan::Link(2),
            InfoVxlan::Learning(true),
            InfoVxlan::Ageing(300),
            InfoVxlan::TtlInherit(1),
            InfoVxlan::Tos(1),
            InfoVxlan::Df(VxlanDf::Inherit),
            InfoVxlan::PortRange((1000, 2000)),
            InfoVxlan::L2Miss(true),
            InfoVxlan::L3Miss(false),
            InfoVxlan::Gbp,
        ]);

        assert_eq!((device.vni, device.port), (100, 4789));
        assert_eq!(device.local, Some("2001:db8:1::1".parse().unwrap()));
        assert_eq!(device.remote, Some("ff05::100".parse().unwrap()));
        assert_eq!(device.dev, Some(Ifindex::new(2)));
        assert!(device.learning && device.ttl_inherit && !device.proxy);
        assert_eq!((device.tos, device.df), (1, Some("inherit")));
        assert_eq!(device.source_ports, (1000, 2000));
        assert_eq!(device.others, ["l2miss", "gbp"]);
    }

    #[test]
    fn addresses_of_zeros_are_not_set() {
        let device = of(vec![
            InfoVxlan::Local("0.0.0.0".parse().unwrap()),
            InfoVxlan::Link(0),
        ]);

        assert_eq!((device.local, device.dev), (None, None));
    }

    #[test]
    fn a_link_of_another_kind_is_no_vxlan_device() {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::LinkInfo(vec![LinkInfo::Kind(
            InfoKind::Bridge,
        )])];

        assert_eq!(Vxlan::from_message(&message), None);
    }

    fn of(parts: Vec<InfoVxlan>) -> Vxlan {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.attributes = vec![LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vxlan),
            LinkInfo::Data(InfoData::Vxlan(parts)),
        ])];
        Vxlan::from_message(&message).unwrap()
    }
}
