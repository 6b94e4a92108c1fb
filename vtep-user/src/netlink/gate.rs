//! Gates: veth pairs with one end in a bridge; and what a bridge does with its members.

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage, LinkProtoInfoBridge,
    },
};
use vtep_common::abi::id::Ifindex;

use super::{
    BridgePort, Error, Mac, Netlink,
    link::{BR_STATE_DISABLED, IFLA_BRPORT_STATE},
};

/// `IFLA_BRPORT_FLUSH`: the bridge forgets what it has learned at a member.
const IFLA_BRPORT_FLUSH: u16 = 24;
/// `BR_STATE_FORWARDING`.
const BR_STATE_FORWARDING: u8 = 3;

/// What the alias of both ends of a gate starts with, before the VNI and the instance's name.
pub const GATE_OWNER: &str = "vtep gate of vni ";

/// A gate that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewGate<'a> {
    /// The name of the end at the bridge.
    pub inner: &'a str,
    /// The name of the other end.
    pub outer: &'a str,
    /// The texts by which they are known again.
    pub aliases: [&'a str; 2],
    /// The bridge.
    pub bridge: Ifindex,
    /// The MAC of the end at the bridge.
    pub mac: Mac,
    /// The MTU of both, in bytes.
    pub mtu: u32,
}

impl Netlink {
    /// Makes a gate and switches it on:
    ///
    /// ```text
    /// ip link add INNER address MAC mtu MTU type veth peer name OUTER mtu MTU
    /// ip link set INNER alias TEXT addrgenmode none; ip link set OUTER alias TEXT addrgenmode none
    /// ip link set INNER master BRIDGE
    /// ip link set OUTER up; ip link set INNER up
    /// ```
    ///
    /// Upon an error nothing is left behind.
    pub async fn make_gate(&self, gate: NewGate<'_>) -> Result<(), Error> {
        self.add_pair(gate).await?;
        let made = self.set_up_gate(gate).await;
        if made.is_err()
            && let Err(left) = self.delete_link(gate.inner).await
        {
            tracing::warn!(error = %left, "could not delete the half made gate {}", gate.inner);
        }
        made
    }

    async fn add_pair(&self, gate: NewGate<'_>) -> Result<(), Error> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(gate.outer.to_owned()),
            LinkAttribute::Mtu(gate.mtu),
        ];
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(gate.inner.to_owned()),
            LinkAttribute::Address(gate.mac.to_vec()),
            LinkAttribute::Mtu(gate.mtu),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        let change = RouteNetlinkMessage::NewLink(message);
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let made = self.request("add veth pair", gate.inner, change, flags);
        made.await.map(drop)
    }

    async fn set_up_gate(&self, gate: NewGate<'_>) -> Result<(), Error> {
        for (name, alias) in [gate.inner, gate.outer].into_iter().zip(gate.aliases) {
            let link = self.link_by_name(name).await?;
            let alias = LinkAttribute::IfAlias(alias.to_owned());
            self.set_link(link.index, "set the alias of", vec![alias])
                .await?;
            let no_link_local = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
            let inet6 = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![no_link_local])]);
            match self
                .set_link(link.index, "set the address mode of", vec![inet6])
                .await
            {
                // Without IPv6 there is nothing to keep it from.
                Err(error) if error.errno() != Some(libc::EAFNOSUPPORT) => return Err(error),
                _ => {}
            }
            if name == gate.inner {
                let bridge = LinkAttribute::Controller(gate.bridge.get());
                self.set_link(link.index, "put into the bridge", vec![bridge])
                    .await?;
            }
        }
        for name in [gate.outer, gate.inner] {
            let link = self.link_by_name(name).await?;
            self.switch_on(link.index).await?;
        }
        Ok(())
    }

    /// Switches an interface on: `ip link set NAME up`.
    pub async fn switch_on(&self, index: Ifindex) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = index.get();
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        let change = RouteNetlinkMessage::SetLink(message);
        let object = index.to_string();
        let done = self.request("bring up interface", &object, change, 0);
        done.await.map(drop)
    }

    /// Gives an interface another MTU, in bytes.
    pub async fn set_mtu(&self, index: Ifindex, mtu: u32) -> Result<(), Error> {
        let mtu = vec![LinkAttribute::Mtu(mtu)];
        self.set_link(index, "set the MTU of", mtu).await
    }

    /// Gives an interface another MAC.
    pub async fn set_mac(&self, index: Ifindex, mac: Mac) -> Result<(), Error> {
        let mac = vec![LinkAttribute::Address(mac.to_vec())];
        self.set_link(index, "set the MAC of", mac).await
    }

    pub(super) async fn set_link(
        &self,
        index: Ifindex,
        operation: &'static str,
        attributes: Vec<LinkAttribute>,
    ) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = index.get();
        message.attributes = attributes;
        let change = RouteNetlinkMessage::SetLink(message);
        let object = index.to_string();
        let done = self.request(operation, &object, change, 0);
        done.await.map(drop)
    }

    /// Says what a bridge is to do with the frames of a member: `bridge link set dev NAME state N`. What it has learned at one whose frames
    /// it takes no more, it forgets.
    ///
    /// As `bridge` does, in a message of the bridge's own family. Of a message as of `ip link set … type bridge_slave` the kernel goes on to tell
    /// everybody that the interface has changed, whereupon the bridge opens the port again.
    pub async fn set_bridge_port(&self, index: Ifindex, state: BridgePort) -> Result<(), Error> {
        let set =
            |number| LinkProtoInfoBridge::Other(DefaultNla::new(IFLA_BRPORT_STATE, vec![number]));
        let flush = LinkProtoInfoBridge::Other(DefaultNla::new(IFLA_BRPORT_FLUSH, Vec::new()));
        let parts = match state {
            BridgePort::Disabled => vec![set(BR_STATE_DISABLED), flush],
            BridgePort::Other => vec![set(BR_STATE_FORWARDING)],
        };
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        message.header.index = index.get();
        message.attributes = vec![LinkAttribute::ProtoInfoBridge(parts)];
        let change = RouteNetlinkMessage::SetLink(message);
        let object = index.to_string();
        let done = self.request("set the state of bridge port", &object, change, 0);
        done.await.map(drop)
    }
}
