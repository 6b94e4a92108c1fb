//! The kernel device, when somebody deletes it under a daemon.

use super::{DaemonError, core::Core, device_name, owner};
use crate::netlink::Link;

impl Core {
    /// Makes the kernel device anew. What cannot be done is logged: all that needs no kernel device goes on.
    pub(super) async fn device_gone(&mut self) {
        let name = device_name(self.udp_port());
        match self.make_device().await {
            Ok(()) => tracing::warn!("the kernel device {name} was deleted; it is made anew"),
            Err(error) => tracing::error!(
                %error,
                "the kernel device {name} was deleted and cannot be made anew: what needs it is lost, floods and frames to VTEPs that \
                 are being asked for among it; mend that, stop the daemon, and start it again with: vtep run"
            ),
        }
    }

    async fn make_device(&mut self) -> Result<(), DaemonError> {
        let name = device_name(self.udp_port());
        let tunnel = self
            .netlink
            .create_tunnel_device(&name, self.udp_port(), &owner(&self.options.instance))
            .await?;
        let used = self.use_device(&tunnel.link);
        if used.is_err()
            && !tunnel.adopted
            && let Err(left) = self.netlink.delete_link(&name).await
        {
            tracing::warn!(error = %left, "the device {name} stays");
        }
        used
    }

    /// Attaches to a kernel device that takes the place of the last.
    fn use_device(&mut self, link: &Link) -> Result<(), DaemonError> {
        self.datapath.attach_tunnel(&link.name, link.index)?;
        let flags = self.datapath.config()?.flags;
        self.datapath
            .configure(link.index, self.udp_port(), flags)?;
        let gone = std::mem::replace(&mut self.device, link.index);
        if gone != link.index {
            self.datapath.detach_tunnel(gone)?;
        }
        self.reserve();
        self.note_mac(link);
        Ok(())
    }
}
