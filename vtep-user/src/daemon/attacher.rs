//! Attaching to ports, and letting them go, on a thread of its own: by TC each time takes the kernel as long as all processors need
//! to have a look (`synchronize_rcu`, some tens of milliseconds), and a VNI may have hundreds of ports.
//!
//! What is to be attached comes first; what is to be let go waits, unless the same interface is to be attached again.

mod mend;

use std::collections::VecDeque;

use tokio::sync::{mpsc, oneshot};
use vtep_common::abi::id::Ifindex;

use super::{
    beside,
    error::{DaemonError, internal},
    facts, others, promiscuity, tags,
};
use crate::{
    control::{Attachment, LinkFacts},
    datapath::{DatapathError, PortPrograms},
    model::{PortHook, Refusal},
    netlink::{Link, Netlink, OWNER},
};

pub(super) use self::mend::{BrokenPort, LookAt, Mended};

/// Somebody waits for the end of an order.
type Done<T> = oneshot::Sender<T>;

/// An interface that is to be a port, and what the control side needs to know of it.
pub(super) type Looked = Result<Option<(Link, LinkFacts)>, Refusal>;

/// What the core orders.
enum AttachOrder {
    Look(String, Done<Looked>),
    Attach(Vec<Attachment>, Done<Result<(), Refusal>>),
    LetGo(Vec<Ifindex>, Done<Result<(), DatapathError>>),
    LookAt(Vec<Attachment>, LookAt, Done<Vec<BrokenPort>>),
    Mend(Vec<BrokenPort>, Done<Vec<Mended>>),
}

/// The core's end.
pub(super) struct Attacher {
    orders: mpsc::UnboundedSender<AttachOrder>,
}

impl Attacher {
    /// `owner` is what the alias of the instance's own slow-path device says.
    pub(super) fn start(programs: PortPrograms, owner: String) -> Result<Self, DaemonError> {
        let (orders, ordered) = mpsc::unbounded_channel();
        beside::spawn("vtep-ports", move || async move {
            let hands = Hands {
                netlink: Netlink::open()?,
                programs,
                owner,
            };
            run(hands, ordered).await;
            Ok(())
        })?;
        Ok(Self { orders })
    }

    /// Looks an interface up that is to be a port.
    pub(super) fn look(&self, dev: String) -> impl Future<Output = Looked> + use<> {
        let answer = self.order(|done| AttachOrder::Look(dev, done));
        async move { answer.await.unwrap_or_else(|_| Err(ended())) }
    }

    /// Takes frames from interfaces; stops at the first from which it cannot.
    pub(super) fn attach(
        &self,
        attach: Vec<Attachment>,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let answer = self.order(|done| AttachOrder::Attach(attach, done));
        async move { answer.await.unwrap_or_else(|_| Err(ended())) }
    }

    /// Takes no more frames from interfaces.
    pub(super) fn let_go(
        &self,
        detach: Vec<Ifindex>,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        finished(self.order(|done| AttachOrder::LetGo(detach, done)))
    }

    /// Looks at ports for what others have undone. Nothing is found where the thread has ended.
    pub(super) fn look_at(
        &self,
        ports: Vec<Attachment>,
        at: LookAt,
    ) -> impl Future<Output = Vec<BrokenPort>> + use<> {
        let answer = self.order(|done| AttachOrder::LookAt(ports, at, done));
        async move { answer.await.unwrap_or_default() }
    }

    /// Puts right what was found.
    pub(super) fn mend(
        &self,
        broken: Vec<BrokenPort>,
    ) -> impl Future<Output = Vec<Mended>> + use<> {
        let answer = self.order(|done| AttachOrder::Mend(broken, done));
        async move { answer.await.unwrap_or_default() }
    }

    fn order<T>(&self, order: impl FnOnce(Done<T>) -> AttachOrder) -> oneshot::Receiver<T> {
        let (done, answer) = oneshot::channel();
        // If the thread has ended, whoever waits for the answer is told.
        drop(self.orders.send(order(done)));
        answer
    }
}

async fn finished(answer: oneshot::Receiver<Result<(), DatapathError>>) -> Result<(), Refusal> {
    answer.await.map_err(|_| ended())?.map_err(internal)
}

fn ended() -> Refusal {
    Refusal::internal(
        "the thread that attaches to ports has ended; start the daemon again with: vtep run",
    )
}

/// What the thread works with.
struct Hands {
    netlink: Netlink,
    programs: PortPrograms,
    owner: String,
}

/// Carries out orders until nobody gives any more.
async fn run(mut hands: Hands, mut orders: mpsc::UnboundedReceiver<AttachOrder>) {
    let mut queue = AttachQueue::default();
    loop {
        let order = if let Ok(order) = orders.try_recv() {
            order
        } else if let Some(ifindex) = queue.next() {
            let detached = hands.detach(ifindex).await;
            queue.done(ifindex, detached);
            continue;
        } else if let Some(order) = orders.recv().await {
            order
        } else {
            return;
        };
        match order {
            // Nobody may wait for these any more.
            AttachOrder::Look(dev, done) => drop(done.send(hands.look(&dev).await)),
            AttachOrder::Attach(attach, done) => {
                drop(done.send(hands.attach(&attach, &mut queue).await));
            }
            AttachOrder::LetGo(detach, done) => queue.push(detach, done),
            AttachOrder::LookAt(ports, at, done) => {
                drop(done.send(hands.look_at(ports, at).await));
            }
            AttachOrder::Mend(broken, done) => drop(done.send(hands.mend(broken).await)),
        }
    }
}

impl Hands {
    async fn look(&self, dev: &str) -> Looked {
        match self.netlink.find_link(dev).await.map_err(internal)? {
            Some(link) if !link.ethernet => Err(Refusal::invalid(format!(
                "interface {dev} carries no Ethernet frames; name one that does, or make a tap with: ip tuntap add dev NAME mode tap"
            ))),
            // Our own is refused by the state, which knows it.
            Some(link)
                if link
                    .alias
                    .as_deref()
                    .is_some_and(|alias| alias.starts_with(OWNER) && alias != self.owner) =>
            {
                Err(Refusal::invalid(format!(
                    "interface {dev} is the slow-path device of another vtep instance and cannot be a port; name the interface of a VM"
                )))
            }
            Some(link) => {
                let others = others::at(&self.netlink, &self.programs.own(), &link);
                let facts = facts::of_port(&self.netlink, &link, others).map_err(internal)?;
                Ok(Some((link, facts)))
            }
            None => Ok(None),
        }
    }

    /// Refuses an interface that is a port of another instance: each would take frames from the other.
    fn check_free(&self, wanted: &Attachment) -> Result<(), Refusal> {
        let Attachment { ifindex, name, .. } = wanted;
        match self.programs.other_instance(*ifindex) {
            Some(other) => Err(Refusal::conflict(format!(
                "{name} is a port of instance {other}, and an interface is a port of one; remove it there first with: vtep port del {name} --instance {other}"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses XDP at an interface whose VLAN tags it does not see.
    async fn check_tags(&self, ifindex: Ifindex) -> Result<(), Refusal> {
        let Some(link) = self.netlink.link(ifindex).await.map_err(internal)? else {
            return Ok(());
        };
        match tags::why_unseen(&self.netlink, &link).map_err(internal)? {
            Some(why) => Err(Refusal::conflict(format!(
                "{why}, or take its frames at TC with: --hook tc"
            ))),
            None => Ok(()),
        }
    }

    async fn detach(&mut self, ifindex: Ifindex) -> Result<(), DatapathError> {
        promiscuity::restore(&self.netlink, &self.programs.own(), ifindex).await;
        self.programs.detach(ifindex)
    }

    async fn attach(
        &mut self,
        attach: &[Attachment],
        queue: &mut AttachQueue,
    ) -> Result<(), Refusal> {
        for wanted in attach {
            self.check_free(wanted)?;
            let xdp = wanted.hook == PortHook::Xdp;
            if xdp {
                self.check_tags(wanted.ifindex).await?;
            }
            if queue.take(wanted.ifindex) {
                let detached = self.detach(wanted.ifindex).await;
                queue.done(wanted.ifindex, detached);
            }
            self.programs
                .attach(&wanted.name, wanted.ifindex, xdp)
                .map_err(internal)?;
            if let Some(link) = self.netlink.link(wanted.ifindex).await.map_err(internal)? {
                self.make_promiscuous(&link).await;
            }
        }
        Ok(())
    }
}

/// Interfaces that are to be let go.
#[derive(Default)]
struct AttachQueue {
    waiting: VecDeque<Ifindex>,
    orders: Vec<LetGo>,
}

/// An order to let interfaces go.
struct LetGo {
    left: Vec<Ifindex>,
    failed: Option<DatapathError>,
    done: Done<Result<(), DatapathError>>,
}

impl AttachQueue {
    fn push(&mut self, detach: Vec<Ifindex>, done: Done<Result<(), DatapathError>>) {
        self.waiting.extend(&detach);
        self.orders.push(LetGo {
            left: detach,
            failed: None,
            done,
        });
    }

    /// The next interface, which is none of those that wait any more.
    fn next(&mut self) -> Option<Ifindex> {
        self.waiting.pop_front()
    }

    /// Takes an interface out of its turn; false if it does not wait.
    fn take(&mut self, ifindex: Ifindex) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| *waiting != ifindex);
        self.waiting.len() < before
    }

    /// An interface has been let go: whoever ordered it is told, if it was the last.
    fn done(&mut self, ifindex: Ifindex, mut result: Result<(), DatapathError>) {
        for order in &mut self.orders {
            let before = order.left.len();
            order.left.retain(|left| *left != ifindex);
            if order.left.len() < before && order.failed.is_none() {
                order.failed = std::mem::replace(&mut result, Ok(())).err();
            }
        }
        for order in self.orders.extract_if(.., |order| order.left.is_empty()) {
            // Nobody may wait for it any more.
            drop(order.done.send(order.failed.map_or(Ok(()), Err)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_ends_with_its_last_interface_whichever_way_that_went() {
        let mut queue = AttachQueue::default();
        let (first, mut first_done) = oneshot::channel();
        let (second, mut second_done) = oneshot::channel();
        queue.push([1, 2].map(Ifindex::new).to_vec(), first);
        queue.push([3].map(Ifindex::new).to_vec(), second);

        assert!(queue.take(Ifindex::new(3)));
        assert!(!queue.take(Ifindex::new(3)));
        queue.done(Ifindex::new(3), Ok(()));
        assert!(second_done.try_recv().unwrap().is_ok());

        assert_eq!(queue.next(), Some(Ifindex::new(1)));
        queue.done(Ifindex::new(1), Err(DatapathError::Missing("a program")));
        assert!(first_done.try_recv().is_err());
        assert_eq!(queue.next(), Some(Ifindex::new(2)));
        queue.done(Ifindex::new(2), Ok(()));

        assert!(first_done.try_recv().unwrap().is_err());
        assert_eq!(queue.next(), None);
    }
}
