//! How each peer is reached, found out on a thread of its own: each peer takes some questions to the kernel, and there can be
//! thousands. The core orders, and takes what was found when it comes.

mod affected;
mod order;
mod paths;
mod queue;

use std::net::IpAddr;

use tokio::sync::{mpsc, oneshot};
use vtep_common::abi::id::Ifindex;

use super::{beside, error::DaemonError};
use crate::netlink::Netlink;

use self::order::PathOrder;
pub(super) use self::{
    affected::Affected,
    order::{Found, Terms},
};

/// What is found before the core takes it.
const FOUND_AHEAD: usize = 64;

/// The core's end.
pub(super) struct Resolver {
    orders: mpsc::UnboundedSender<PathOrder>,
    found: mpsc::Receiver<Found>,
}

impl Resolver {
    pub(super) fn start() -> Result<Self, DaemonError> {
        let (orders, ordered) = mpsc::unbounded_channel();
        let (finds, found) = mpsc::channel(FOUND_AHEAD);
        beside::spawn("vtep-paths", move || async move {
            queue::run(paths::Paths::new(Netlink::open()?), ordered, finds).await;
            Ok(())
        })?;
        Ok(Self { orders, found })
    }

    /// Has the path to a peer found, or to a multicast group.
    pub(super) fn find(&self, ip: IpAddr, terms: Terms) {
        self.order(PathOrder::Find(ip, terms));
    }

    /// Forgets a peer that is one no longer.
    pub(super) fn forget(&self, ip: IpAddr) {
        self.order(PathOrder::Forget(ip));
    }

    /// Has the paths found anew that may have changed.
    pub(super) fn changed(&self, affected: Affected) {
        if !affected.is_empty() {
            self.order(PathOrder::Changed(affected));
        }
    }

    /// Takes note that an interface has changed: the kernel forgets the neighbours of a link that went down.
    pub(super) fn link_changed(&self, ifindex: Ifindex) {
        self.order(PathOrder::LinkChanged(ifindex));
    }

    /// Ends when every peer that was ordered for the first time has been found, and the core has taken it.
    pub(super) fn all_found(&self) -> impl Future<Output = ()> + use<> {
        let (mark, marked) = oneshot::channel();
        self.order(PathOrder::Mark(mark));
        async move { drop(marked.await) }
    }

    /// Has the kernel keep no next hop resolved for us any more. What is found meanwhile is of no use: taken all the same, or else
    /// the thread would wait for that.
    pub(super) async fn release_all(&mut self) {
        let (done, mut released) = oneshot::channel();
        self.order(PathOrder::ReleaseAll(done));
        loop {
            tokio::select! {
                _ = &mut released => return,
                found = self.found.recv() => if found.is_none() {
                    return;
                },
            }
        }
    }

    /// What was found; `None` if nothing will be any more.
    pub(super) async fn next(&mut self) -> Option<Found> {
        self.found.recv().await
    }

    /// What was found and is there.
    pub(super) fn try_next(&mut self) -> Option<Found> {
        self.found.try_recv().ok()
    }

    fn order(&self, order: PathOrder) {
        // If the thread has ended, the core finds that nothing is found any more.
        drop(self.orders.send(order));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_teardown_does_not_wait_for_one_who_waits_for_it() {
        let (orders, mut ordered) = mpsc::unbounded_channel();
        let (finds, found) = mpsc::channel(1);
        let mut resolver = Resolver { orders, found };
        // More is found than the core has taken.
        tokio::spawn(async move {
            for _ in 0..3 {
                let (mark, _) = oneshot::channel();
                finds.send(Found::Mark(mark)).await.unwrap();
            }
            if let Some(PathOrder::ReleaseAll(done)) = ordered.recv().await {
                done.send(()).unwrap();
            }
        });

        let released = tokio::time::timeout(Duration::from_secs(20), resolver.release_all());

        released.await.expect("it ends");
    }
}
