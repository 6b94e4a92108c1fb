//! The slow-path device, which holds the UDP port.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVxlan, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage,
    },
};

use vtep_common::abi::id::Ifindex;

use super::{Error, Link, LinkKind, Netlink};

/// The sizes to try for the tunnel device, largest first, in bytes. Its own limit must never be the one that counts:
/// the ports' and the underlay's do.
const MTUS: [u32; 4] = [65_535, 65_485, 65_000, 9_000];

/// The range of outer source ports. The device takes `LOW + hash * (HIGH - LOW)`, so that over the whole range a
/// program chooses the port by choosing the packet's hash.
const SOURCE_PORTS: (u16, u16) = (1, 65_535);

/// What the alias of an instance's tunnel device starts with, before the instance's name.
pub const OWNER: &str = "vtep instance ";

/// The tunnel device of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowPathDevice {
    /// The device.
    pub link: Link,
    /// Whether it was there before, left by an earlier run.
    pub adopted: bool,
}

impl Netlink {
    /// Makes the tunnel device and brings it up, or takes over the one that an earlier run of the same `owner` left:
    ///
    /// ```text
    /// ip link add NAME mtu 65535 type vxlan external dstport PORT srcport 1 65535 nolearning udp6zerocsumrx
    /// ip link set NAME addrgenmode none alias OWNER
    /// ip link set NAME up
    /// ```
    ///
    /// VNI and destination come with each packet (`external`), and with them whether there is an outer checksum. A
    /// missing checksum over IPv6 is taken on receipt, and so are reserved bits of the header where the kernel can
    /// be told (6.14). From the moment it is up it holds the port for both families, whatever becomes of us.
    ///
    /// One that is made within a VRF is told so by `dev VRF`: the kernel opens its sockets there, and with metadata sends within their routing
    /// domain too (Linux commit 0dfb36aa3877). It reports a `dev` that was taken away for ever, so this is not changed later: the device is made
    /// anew. A device that is there is left in the VRF that it is in.
    ///
    /// [`Error::PortTaken`] names whoever has the port; [`Error::OtherInstance`] says whose the device is if it is
    /// not `owner`'s; [`Error::NameTaken`] that an interface of this name is something else. Upon any error nothing new is left behind.
    pub async fn create_slow_path_device(
        &self,
        name: &str,
        udp_port: u16,
        owner: &str,
        vrf: Option<Ifindex>,
    ) -> Result<SlowPathDevice, Error> {
        let found = self.find_link(name).await?;
        if let Some(link) = &found {
            check_owner(link, udp_port, owner)?;
        }
        if let Some(conflict) = self.port_conflict(udp_port, name).await? {
            return Err(Error::PortTaken(conflict));
        }
        let adopted = found.is_some();
        if !adopted {
            self.add_vxlan(name, udp_port, vrf).await?;
        }
        match self.set_up_tunnel(name, owner).await {
            Ok(link) => Ok(SlowPathDevice { link, adopted }),
            Err(error) => {
                if !adopted && let Err(left) = self.delete_link(name).await {
                    tracing::warn!(name, error = %left, "could not delete a slow-path device that is half made");
                }
                // Somebody may have been quicker.
                match self.port_conflict(udp_port, name).await? {
                    Some(conflict) if error.errno() == Some(libc::EADDRINUSE) => {
                        Err(Error::PortTaken(conflict))
                    }
                    _ => Err(error),
                }
            }
        }
    }

    /// Removes an interface: `ip link del NAME`. One that is not there is [`Error::NoSuchLink`].
    pub async fn delete_link(&self, name: &str) -> Result<(), Error> {
        let link = self.link_by_name(name).await?;
        let mut message = LinkMessage::default();
        message.header.index = link.index.get();
        let change = RouteNetlinkMessage::DelLink(message);
        self.request("remove interface", name, change, 0)
            .await
            .map(drop)
    }

    async fn add_vxlan(
        &self,
        name: &str,
        udp_port: u16,
        vrf: Option<Ifindex>,
    ) -> Result<(), Error> {
        let mut vxlan = vec![
            InfoVxlan::CollectMetadata(true),
            InfoVxlan::Port(udp_port),
            InfoVxlan::PortRange(SOURCE_PORTS),
            InfoVxlan::Learning(false),
            InfoVxlan::UDPZeroCsumRX(true),
            // No bit of the header is reserved for the kernel to refuse; older kernels skip the attribute.
            InfoVxlan::ReservedBits(0),
        ];
        vxlan.extend(vrf.map(|vrf| InfoVxlan::Link(vrf.get())));
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vxlan),
                LinkInfo::Data(InfoData::Vxlan(vxlan)),
            ]),
        ];
        let change = RouteNetlinkMessage::NewLink(message);
        self.request(
            "add vxlan interface",
            name,
            change,
            NLM_F_CREATE | NLM_F_EXCL,
        )
        .await
        .map(drop)
    }

    async fn set_up_tunnel(&self, name: &str, owner: &str) -> Result<Link, Error> {
        let link = self.link_by_name(name).await?;
        let set = async |operation, attributes: Vec<LinkAttribute>| {
            let mut message = LinkMessage::default();
            message.header.index = link.index.get();
            message.attributes = attributes;
            let change = RouteNetlinkMessage::SetLink(message);
            self.request(operation, name, change, 0).await
        };
        if link.alias.as_deref() != Some(owner) {
            set(
                "set the alias of",
                vec![LinkAttribute::IfAlias(owner.to_owned())],
            )
            .await?;
        }
        let no_link_local = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let inet6 = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![no_link_local])]);
        match set("set the address mode of", vec![inet6]).await {
            // Without IPv6 there is nothing to keep it from.
            Err(error) if error.errno() != Some(libc::EAFNOSUPPORT) => return Err(error),
            _ => {}
        }
        for mtu in MTUS {
            if link.mtu == mtu
                || set("set the MTU of", vec![LinkAttribute::Mtu(mtu)])
                    .await
                    .is_ok()
            {
                break;
            }
        }
        let mut message = LinkMessage::default();
        message.header.index = link.index.get();
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        let change = RouteNetlinkMessage::SetLink(message);
        self.request("bring up interface", name, change, 0).await?;
        self.link_by_name(name).await
    }
}

/// Whether a device that is there already is the one that `owner` made.
fn check_owner(link: &Link, udp_port: u16, owner: &str) -> Result<(), Error> {
    let taken = |what: String| {
        Err(Error::NameTaken {
            name: link.name.clone(),
            what,
        })
    };
    match &link.kind {
        LinkKind::Vxlan {
            port,
            external: true,
            ..
        } if *port == udp_port => match &link.alias {
            Some(alias) if alias == owner => Ok(()),
            Some(alias) => match alias.strip_prefix(OWNER) {
                Some(instance) => Err(Error::OtherInstance {
                    port: udp_port,
                    instance: instance.to_owned(),
                    name: link.name.clone(),
                }),
                None => taken(format!("the vxlan device of {alias}")),
            },
            None => taken("a vxlan device that vtep did not make".to_owned()),
        },
        LinkKind::Vxlan { port, .. } => taken(format!("a vxlan device on UDP port {port}")),
        _ => taken("not a vxlan device".to_owned()),
    }
}
