//! The slow-path device: the kernel's own `vxlan` device, which holds the UDP port and sends what the programs leave to it.

use vtep_common::abi::{addr::MacAddr, id::Ifindex};

use super::{error::DaemonError, programs};
use crate::{
    control::{DeviceFacts, DeviceRepair, DeviceWanted},
    datapath::Datapath,
    netlink::{self, Link, LinkKind, Netlink, SlowPathDevice},
};

/// The program that takes its frames.
const PROGRAM: &str = "tc_tunnel";

/// Which instance owns a slow-path device, as its alias says.
pub(super) fn owner(instance: &str) -> String {
    format!("{}{instance}", netlink::OWNER)
}

/// Name of the slow-path device that holds a UDP port.
pub(super) fn device_name(udp_port: u16) -> String {
    format!("vtep{udp_port}")
}

/// Makes the slow-path device of an instance within a VRF or none, or adopts it as it is.
pub(super) async fn create(
    netlink: &Netlink,
    instance: &str,
    udp_port: u16,
    vrf: Option<Ifindex>,
) -> Result<SlowPathDevice, DaemonError> {
    let name = device_name(udp_port);
    Ok(netlink
        .create_slow_path_device(&name, udp_port, &owner(instance), vrf)
        .await?)
}

/// The slow-path device of this instance.
pub(super) struct SlowPath {
    netlink: Netlink,
    instance: String,
    udp_port: u16,
    ifindex: Ifindex,
    /// What it had when it was made, or found.
    mtu: u32,
    mac: MacAddr,
}

/// Whether the slow-path device was made anew, and what for.
pub(super) enum Recreated {
    /// Somebody had deleted it.
    Deleted(Link),
    /// Somebody had moved it to another network namespace.
    Moved(Link),
}

impl SlowPath {
    pub(super) const fn new(
        netlink: Netlink,
        instance: String,
        udp_port: u16,
        link: &Link,
    ) -> Self {
        Self {
            netlink,
            instance,
            udp_port,
            ifindex: link.index,
            mtu: link.mtu,
            mac: MacAddr::from_bytes(link.mac),
        }
    }

    /// Its number.
    pub(super) const fn ifindex(&self) -> Ifindex {
        self.ifindex
    }

    /// Its name.
    pub(super) fn name(&self) -> String {
        device_name(self.udp_port)
    }

    /// Makes the device anew after somebody deleted it, within a VRF or none, and attaches to it. One that was moved to another network
    /// namespace still holds the UDP port here: it is deleted there.
    pub(super) async fn recreate(
        &mut self,
        vrf: Option<Ifindex>,
        datapath: &mut Datapath,
    ) -> Result<Recreated, DaemonError> {
        let moved = self.netlink.delete_moved(&owner(&self.instance)).await?;
        let link = self.create_and_attach(vrf, datapath).await?;
        Ok(if moved {
            Recreated::Moved(link)
        } else {
            Recreated::Deleted(link)
        })
    }

    /// Takes the device away and makes it anew, within another VRF or none, and attaches to it.
    pub(super) async fn move_to(
        &mut self,
        vrf: Option<Ifindex>,
        datapath: &mut Datapath,
    ) -> Result<Link, DaemonError> {
        self.delete().await?;
        self.create_and_attach(vrf, datapath).await
    }

    async fn create_and_attach(
        &mut self,
        vrf: Option<Ifindex>,
        datapath: &mut Datapath,
    ) -> Result<Link, DaemonError> {
        let tunnel = create(&self.netlink, &self.instance, self.udp_port, vrf).await?;
        let used = self.attach(&tunnel.link, datapath);
        if used.is_err()
            && !tunnel.adopted
            && let Err(left) = self.netlink.delete_link(&self.name()).await
        {
            tracing::warn!(error = %left, "could not delete the device {}", self.name());
        }
        used.map(|()| tunnel.link)
    }

    /// Attaches to a device that takes the place of the last.
    fn attach(&mut self, link: &Link, datapath: &mut Datapath) -> Result<(), DaemonError> {
        datapath.attach_slow_path(&link.name, link.index)?;
        let flags = datapath.config()?.flags;
        datapath.configure(link.index, self.udp_port, flags)?;
        (self.mtu, self.mac) = (link.mtu, MacAddr::from_bytes(link.mac));
        let gone = std::mem::replace(&mut self.ifindex, link.index);
        if gone != link.index {
            datapath.detach_slow_path(gone)?;
        }
        Ok(())
    }

    /// What it should be like.
    pub(super) fn wanted(&self) -> DeviceWanted {
        DeviceWanted {
            name: self.name(),
            alias: owner(&self.instance),
            mtu: self.mtu,
            mac: self.mac,
        }
    }

    /// What it is like, its IP addresses only if they are asked for; `None` if it is gone.
    pub(super) async fn look(
        &self,
        datapath: &Datapath,
        with_addresses: bool,
    ) -> Result<Option<DeviceFacts>, DaemonError> {
        let Some(link) = self.netlink.link(self.ifindex).await? else {
            return Ok(None);
        };
        let own = datapath.own_at_ports();
        let mut addresses = Vec::new();
        if with_addresses {
            let all = self.netlink.addresses().await?.into_iter();
            let at = all.filter(|address| address.ifindex == self.ifindex);
            addresses.extend(at.map(|address| (address.ip, address.prefix_len)));
        }
        Ok(Some(DeviceFacts {
            attached: programs::is_attached(&self.netlink, &own, PROGRAM, self.ifindex)?,
            name: link.name,
            alias: link.alias,
            up: link.up,
            enslaved: link.master.is_some(),
            mtu: link.mtu,
            mac: MacAddr::from_bytes(link.mac),
            addresses,
            qdisc: link.qdisc,
            vrf: match link.kind {
                LinkKind::Vxlan { dev, .. } => dev,
                _ => None,
            },
        }))
    }

    /// Puts one thing of it right.
    pub(super) async fn repair(
        &self,
        step: &DeviceRepair,
        datapath: &mut Datapath,
    ) -> Result<(), DaemonError> {
        let (netlink, at) = (&self.netlink, self.ifindex);
        match step {
            DeviceRepair::Rename { .. } => netlink.rename_link(at, &self.name()).await?,
            DeviceRepair::SetAlias => netlink.set_alias(at, &owner(&self.instance)).await?,
            DeviceRepair::Release => netlink.release_link(at).await?,
            DeviceRepair::SetMtu { .. } => netlink.set_mtu(at, self.mtu).await?,
            DeviceRepair::SetMac { .. } => netlink.set_mac(at, self.mac.bytes()).await?,
            DeviceRepair::RemoveAddress(ip, bits) => {
                netlink.delete_address(at, *ip, *bits).await?;
            }
            DeviceRepair::RemoveQdisc { .. } => netlink.delete_root_qdisc(at).await?,
            DeviceRepair::Attach => datapath.attach_slow_path(&self.name(), at)?,
            DeviceRepair::SwitchOn => netlink.switch_on(at).await?,
        }
        Ok(())
    }

    /// Removes the device.
    pub(super) async fn delete(&self) -> Result<(), DaemonError> {
        match self.netlink.delete_link(&self.name()).await {
            Ok(()) | Err(netlink::Error::NoSuchLink(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
