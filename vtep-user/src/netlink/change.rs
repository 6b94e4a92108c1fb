//! Changing one thing of an interface.

use std::net::IpAddr;

use netlink_packet_core::DefaultNla;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage},
    nsid::{NsidAttribute, NsidMessage},
    tc::{TcHandle, TcMessage},
};
use vtep_common::abi::id::Ifindex;

use super::{Error, Link, Netlink};

/// `IFLA_TARGET_NETNSID`: the network namespace in which a question about interfaces is meant.
const IFLA_TARGET_NETNSID: u16 = 46;

impl Netlink {
    /// Has an interface take frames for all MACs, or for its own alone, as far as nobody else wants more: `ip link set NAME promisc on`.
    pub async fn set_promiscuous(&self, index: Ifindex, on: bool) -> Result<(), Error> {
        self.set_flag(index, "set promiscuous mode of", LinkFlags::Promisc, on)
            .await
    }

    /// Takes an interface out of the bridge, bond or VRF that has it: `ip link set NAME nomaster`.
    pub async fn release_link(&self, index: Ifindex) -> Result<(), Error> {
        let none = vec![LinkAttribute::Controller(0)];
        self.set_link(index, "take out of its master", none).await
    }

    /// Gives an interface another alias: `ip link set NAME alias TEXT`.
    pub async fn set_alias(&self, index: Ifindex, alias: &str) -> Result<(), Error> {
        let alias = vec![LinkAttribute::IfAlias(alias.to_owned())];
        self.set_link(index, "set the alias of", alias).await
    }

    /// Gives an interface another name: `ip link set OLD name NEW`. Before Linux 6.2 it is switched off for a moment.
    pub async fn rename_link(&self, index: Ifindex, name: &str) -> Result<(), Error> {
        let rename = || {
            let name = vec![LinkAttribute::IfName(name.to_owned())];
            self.set_link(index, "rename", name)
        };
        match rename().await {
            Err(error) if error.errno() == Some(libc::EBUSY) => {}
            done => return done,
        }
        self.set_flag(index, "switch off", LinkFlags::Up, false)
            .await?;
        let renamed = rename().await;
        self.switch_on(index).await?;
        renamed
    }

    /// Takes an IP address from an interface: `ip address del IP/BITS dev NAME`. One that is not there is no failure.
    pub async fn delete_address(&self, index: Ifindex, ip: IpAddr, bits: u8) -> Result<(), Error> {
        let mut message = AddressMessage::default();
        message.header.family = match ip {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.prefix_len = bits;
        message.header.index = index.get();
        message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
        let change = RouteNetlinkMessage::DelAddress(message);
        let object = format!("{ip}/{bits} of interface {index}");
        match self.request("delete address", &object, change, 0).await {
            Err(error) if error.errno() != Some(libc::EADDRNOTAVAIL) => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes the queueing discipline from the root of an interface, which then has the one that the kernel gives it: `tc qdisc del dev NAME
    /// root`. One that is not there is no failure.
    pub async fn delete_root_qdisc(&self, index: Ifindex) -> Result<(), Error> {
        let mut message = TcMessage::default();
        message.header.index = i32::try_from(index.get()).unwrap_or_default();
        message.header.parent = TcHandle::ROOT;
        let change = RouteNetlinkMessage::DelQueueDiscipline(message);
        let object = index.to_string();
        match self
            .request("delete the queueing discipline of", &object, change, 0)
            .await
        {
            Err(error) if error.errno() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes the interface with this alias from whichever other network namespace somebody moved it to, as far as this one knows
    /// those. True if there was one.
    pub async fn delete_moved(&self, alias: &str) -> Result<bool, Error> {
        let question = RouteNetlinkMessage::GetNsId(NsidMessage::default());
        let known = self.dump("list", "network namespaces", question).await?;
        let numbers = known.iter().flat_map(|answer| match answer {
            RouteNetlinkMessage::NewNsId(message) => message.attributes.as_slice(),
            _ => &[],
        });
        let numbers = numbers.filter_map(|part| match part {
            NsidAttribute::Id(number) => u32::try_from(*number).ok(),
            _ => None,
        });
        for number in numbers {
            let there = || {
                LinkAttribute::Other(DefaultNla::new(
                    IFLA_TARGET_NETNSID,
                    number.to_ne_bytes().to_vec(),
                ))
            };
            let mut message = LinkMessage::default();
            let brief = LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]);
            message.attributes = vec![there(), brief];
            let question = RouteNetlinkMessage::GetLink(message);
            // One whose administrator we are not is none that we could delete from.
            let Ok(links) = self.dump("list", "interfaces", question).await else {
                continue;
            };
            let mut links = links.into_iter().filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Link::from_message(link),
                _ => None,
            });
            if let Some(link) = links.find(|link| link.alias.as_deref() == Some(alias)) {
                let mut message = LinkMessage::default();
                message.header.index = link.index.get();
                message.attributes = vec![there()];
                let change = RouteNetlinkMessage::DelLink(message);
                self.request("remove interface", &link.name, change, 0)
                    .await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn set_flag(
        &self,
        index: Ifindex,
        operation: &'static str,
        flag: LinkFlags,
        on: bool,
    ) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = index.get();
        message.header.flags = if on { flag } else { LinkFlags::empty() };
        message.header.change_mask = flag;
        let change = RouteNetlinkMessage::SetLink(message);
        let object = index.to_string();
        let done = self.request(operation, &object, change, 0);
        done.await.map(drop)
    }
}
