//! In which order peers are looked at: new ones first, and each once, however often something about it has changed.

use std::{
    collections::{HashSet, VecDeque},
    net::IpAddr,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    order::{Found, PathOrder},
    paths::Paths,
};

/// Carries out orders until nobody orders any more, or nobody takes what was found.
pub(super) async fn run(
    mut paths: Paths,
    mut orders: mpsc::UnboundedReceiver<PathOrder>,
    found: mpsc::Sender<Found>,
) {
    let mut queue = PathQueue::default();
    loop {
        // Everything that was ordered, before anything is looked up.
        while let Ok(order) = orders.try_recv() {
            take(order, &mut paths, &mut queue).await;
        }
        let next = match queue.next() {
            Some(Next::Peer(ip)) => paths.find(ip).await,
            Some(Next::Mark(mark)) => Some(Found::Mark(mark)),
            None => match orders.recv().await {
                Some(order) => {
                    take(order, &mut paths, &mut queue).await;
                    None
                }
                None => return,
            },
        };
        if let Some(next) = next
            && found.send(next).await.is_err()
        {
            return;
        }
    }
}

async fn take(order: PathOrder, paths: &mut Paths, queue: &mut PathQueue<oneshot::Sender<()>>) {
    match order {
        PathOrder::Find(ip, terms) => {
            if paths.know(ip, terms) {
                queue.again([ip]);
            } else {
                queue.first(ip);
            }
        }
        PathOrder::Forget(ip) => paths.forget(ip).await,
        PathOrder::Changed(affected) => queue.again(paths.affected(&affected)),
        PathOrder::LinkChanged(ifindex) => paths.link_changed(ifindex),
        PathOrder::Mark(mark) => queue.mark(mark),
        PathOrder::ReleaseAll(done) => {
            paths.release_all().await;
            // Nobody may wait for it any more.
            done.send(()).ok();
        }
    }
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
enum Next<M> {
    Peer(IpAddr),
    Mark(M),
}

#[derive(Debug)]
struct PathQueue<M> {
    /// New peers, and marks behind them.
    first: VecDeque<Next<M>>,
    /// Peers whose path may have changed.
    again: VecDeque<IpAddr>,
    /// Those that are in `again`.
    queued: HashSet<IpAddr>,
}

impl<M> Default for PathQueue<M> {
    fn default() -> Self {
        Self {
            first: VecDeque::new(),
            again: VecDeque::new(),
            queued: HashSet::new(),
        }
    }
}

impl<M> PathQueue<M> {
    fn first(&mut self, ip: IpAddr) {
        self.first.push_back(Next::Peer(ip));
    }

    fn again(&mut self, peers: impl IntoIterator<Item = IpAddr>) {
        for ip in peers {
            if self.queued.insert(ip) {
                self.again.push_back(ip);
            }
        }
    }

    fn mark(&mut self, mark: M) {
        self.first.push_back(Next::Mark(mark));
    }

    fn next(&mut self) -> Option<Next<M>> {
        self.first.pop_front().or_else(|| {
            let ip = self.again.pop_front()?;
            self.queued.remove(&ip);
            Some(Next::Peer(ip))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_looked_at_once_however_often_its_path_may_have_changed() {
        let mut queue = PathQueue::<()>::default();
        let peers: Vec<IpAddr> = (1..=3).map(peer).collect();

        for _ in 0..10 {
            queue.again(peers.clone());
        }

        for ip in &peers {
            assert_eq!(queue.next(), Some(Next::Peer(*ip)));
        }
        assert_eq!(queue.next(), None);
        // What changes after it was looked at counts again.
        queue.again(peers.clone());
        assert_eq!(queue.next(), Some(Next::Peer(peers[0])));
    }

    #[test]
    fn new_peers_and_their_marks_do_not_wait_for_those_that_are_looked_at_again() {
        let mut queue = PathQueue::default();
        queue.again((1..=100).map(peer));
        queue.first(peer(200));
        queue.mark("new");

        assert_eq!(queue.next(), Some(Next::Peer(peer(200))));
        assert_eq!(queue.next(), Some(Next::Mark("new")));
        assert_eq!(queue.next(), Some(Next::Peer(peer(1))));
    }

    fn peer(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }
}
