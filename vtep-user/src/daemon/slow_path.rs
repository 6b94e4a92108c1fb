//! The slow-path device: the kernel's own `vxlan` device, which holds the UDP port and sends what the programs leave to it.

use vtep_common::abi::id::Ifindex;

use super::error::DaemonError;
use crate::{
    datapath::Datapath,
    netlink::{self, Link, Netlink, SlowPathDevice},
};

/// Which instance owns a slow-path device, as its alias says.
pub(super) fn owner(instance: &str) -> String {
    format!("{}{instance}", netlink::OWNER)
}

/// Name of the slow-path device that holds a UDP port.
pub(super) fn device_name(udp_port: u16) -> String {
    format!("vtep{udp_port}")
}

/// Makes the slow-path device of an instance, or adopts it.
pub(super) async fn create(
    netlink: &Netlink,
    instance: &str,
    udp_port: u16,
) -> Result<SlowPathDevice, DaemonError> {
    let name = device_name(udp_port);
    Ok(netlink
        .create_slow_path_device(&name, udp_port, &owner(instance))
        .await?)
}

/// The slow-path device of this instance.
pub(super) struct SlowPath {
    netlink: Netlink,
    instance: String,
    udp_port: u16,
    ifindex: Ifindex,
}

impl SlowPath {
    pub(super) const fn new(
        netlink: Netlink,
        instance: String,
        udp_port: u16,
        ifindex: Ifindex,
    ) -> Self {
        Self {
            netlink,
            instance,
            udp_port,
            ifindex,
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

    /// Makes the device anew after somebody deleted it, and attaches to it.
    pub(super) async fn recreate(&mut self, datapath: &mut Datapath) -> Result<Link, DaemonError> {
        let tunnel = create(&self.netlink, &self.instance, self.udp_port).await?;
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
        let gone = std::mem::replace(&mut self.ifindex, link.index);
        if gone != link.index {
            datapath.detach_slow_path(gone)?;
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
