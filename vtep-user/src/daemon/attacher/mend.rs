//! What others have undone at ports: looked for, and put right.

use super::Hands;
use crate::{
    causes::with_causes,
    control::{Attachment, Broken},
    daemon::{
        error::DaemonError,
        programs,
        promiscuity::{self, Kept, PORT_PROGRAM},
    },
    model::PortHook,
    netlink::Link,
};

/// The program in front of it.
const XDP_PROGRAM: &str = "xdp_port";

/// Something of a port that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct BrokenPort {
    pub(in super::super) port: Attachment,
    pub(in super::super) what: Broken,
}

/// What became of it: whether it was still so, or why it cannot be put right.
pub(in super::super) type Mended = (BrokenPort, Result<bool, String>);

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum LookAt {
    /// Whether the programs are attached.
    Programs,
    /// That, and the interface itself.
    Everything,
}

impl Hands {
    /// What is wrong with ports. What cannot be looked at is left for the next time.
    pub(super) async fn look_at(&self, ports: Vec<Attachment>, at: LookAt) -> Vec<BrokenPort> {
        let mut broken = Vec::new();
        for port in ports {
            match self.wrong_with(&port, at).await {
                Ok(wrong) => {
                    let wrong = wrong.into_iter();
                    broken.extend(wrong.map(|what| BrokenPort {
                        port: port.clone(),
                        what,
                    }));
                }
                Err(error) => {
                    tracing::debug!(
                        "could not look at port {}: {}",
                        port.name,
                        with_causes(&error)
                    );
                }
            }
        }
        broken
    }

    async fn wrong_with(&self, port: &Attachment, at: LookAt) -> Result<Vec<Broken>, DaemonError> {
        let mut wrong = Vec::new();
        let attached = self.is_attached(port)?;
        if attached && at == LookAt::Programs {
            return Ok(wrong);
        }
        // One that is gone, or just has another's number, is somebody else's business.
        let Some(link) = self.netlink.link(port.ifindex).await? else {
            return Ok(wrong);
        };
        if !attached {
            wrong.push(Broken::Program);
        }
        if !link.promiscuous {
            if self.programs.own().is_noted_promiscuous(port.ifindex) {
                wrong.push(Broken::Promiscuous);
            } else {
                self.make_promiscuous(&link).await;
            }
        }
        Ok(wrong)
    }

    fn is_attached(&self, port: &Attachment) -> Result<bool, DaemonError> {
        let own = self.programs.own();
        let has = |program| programs::is_attached(&self.netlink, &own, program, port.ifindex);
        Ok(has(PORT_PROGRAM)? && (port.hook != PortHook::Xdp || has(XDP_PROGRAM)?))
    }

    /// Puts right what is still wrong.
    pub(super) async fn mend(&mut self, broken: Vec<BrokenPort>) -> Vec<Mended> {
        let mut mended = Vec::new();
        for broken in broken {
            let done = self.mend_one(&broken).await;
            mended.push((broken, done.map_err(|error| with_causes(&error))));
        }
        mended
    }

    async fn mend_one(&mut self, broken: &BrokenPort) -> Result<bool, DaemonError> {
        let BrokenPort { port, what } = broken;
        let Some(link) = self.netlink.link(port.ifindex).await? else {
            return Ok(false);
        };
        if *what == Broken::Promiscuous {
            let kept = promiscuity::keep(&self.netlink, &self.programs.own(), &link).await?;
            return Ok(kept == Kept::Again);
        }
        if self.is_attached(port)? {
            return Ok(false);
        }
        let xdp = port.hook == PortHook::Xdp;
        self.programs.attach(&link.name, port.ifindex, xdp)?;
        Ok(true)
    }

    /// Has the interface of a port take frames for all MACs. Without that it is a port all the same.
    pub(super) async fn make_promiscuous(&self, link: &Link) {
        if let Err(error) = promiscuity::keep(&self.netlink, &self.programs.own(), link).await {
            tracing::warn!(
                "port {} takes frames for its own MAC alone: {}",
                link.name,
                with_causes(&error)
            );
        }
    }
}
