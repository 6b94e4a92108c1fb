//! Announcing to the other VTEPs that a MAC has come to a port here: by a frame in its name, which they learn from as from any other.
//!
//! Nothing here waits. What is to be sent queues ([`send_queue`]), leaves at a bounded rate, and once more a little later, in case
//! it was lost; what finds no room is counted and forgotten, since the host's own traffic announces it as well. A MAC that has moved
//! on meanwhile is not announced any more: that would call it back.

mod send_queue;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Instant,
};

use vtep_common::abi::{fdb::FdbKey, id::Ifindex};

use self::send_queue::SendQueue;
pub(super) use self::send_queue::{Lane, Packet};
use crate::{netlink::udp, stats::AnnounceCounters};

/// Sends announcements.
#[derive(Debug)]
pub(super) struct Announcer {
    udp_port: u16,
    sockets: HashMap<(IpAddr, Option<Ifindex>), UdpSocket>,
    queue: SendQueue,
    counters: AnnounceCounters,
}

impl Announcer {
    pub(super) fn new(udp_port: u16) -> Self {
        Self {
            udp_port,
            sockets: HashMap::new(),
            queue: SendQueue::default(),
            counters: AnnounceCounters::default(),
        }
    }

    /// Queues a packet.
    pub(super) fn push(&mut self, packet: Packet) {
        if !self.queue.push(packet) {
            self.counters.lost += 1;
        }
    }

    /// True if there is room for another packet of a lane.
    pub(super) fn has_room(&self, lane: Lane) -> bool {
        self.queue.has_room(lane)
    }

    /// Counts packets that were not even made.
    pub(super) const fn count_lost(&mut self, packets: u64) {
        self.counters.lost += packets;
    }

    /// When [`Announcer::send`] has something to do next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.next()
    }

    /// Sends what is due, except for MACs that are not here any more.
    pub(super) fn send(&mut self, now: Instant, is_here: impl Fn(FdbKey) -> bool) {
        while let Some(packet) = self.queue.due(now) {
            if !is_here(packet.key) {
                continue;
            }
            match self.send_one(&packet) {
                Ok(()) => self.counters.sent += 1,
                Err(error) => {
                    self.counters.lost += 1;
                    tracing::debug!(%error, to = %packet.to, "could not send an announcement");
                    // Perhaps the address or the interface is gone: the next is sent by a new socket.
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.sockets.remove(&packet.from);
                    }
                }
            }
        }
    }

    /// What has been announced in all.
    pub(super) const fn counters(&self) -> AnnounceCounters {
        self.counters
    }

    fn send_one(&mut self, packet: &Packet) -> io::Result<()> {
        let to = SocketAddr::new(packet.to, self.udp_port);
        if let Some(socket) = self.sockets.get(&packet.from) {
            return socket.send_to(&packet.payload, to).map(drop);
        }
        let (local, oif) = packet.from;
        let socket = udp::sender(local, oif)?;
        socket.send_to(&packet.payload, to)?;
        self.sockets.insert(packet.from, socket);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use vtep_common::abi::addr::MacAddr;

    use vtep_common::abi::id::{PortSlot, SegmentId};

    use super::*;

    #[test]
    fn a_mac_that_has_moved_on_is_not_announced_again() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_nonblocking(true).unwrap();
        let got = || receiver.recv_from(&mut [0; 64]).is_ok();
        let mut announcer = Announcer::new(receiver.local_addr().unwrap().port());
        let here = Cell::new(true);
        let localhost: IpAddr = "127.0.0.1".parse().unwrap();
        announcer.push(Packet {
            from: (localhost, None),
            to: localhost,
            ..packet(1)
        });
        let start = Instant::now();

        announcer.send(start, |_| here.get());
        assert!(got());
        here.set(false);
        announcer.send(start + Duration::from_secs(1), |_| here.get());
        assert!(!got());

        assert_eq!(announcer.next(), None);
        assert_eq!(announcer.counters(), AnnounceCounters { sent: 1, lost: 0 });
    }

    fn packet(number: usize) -> Packet {
        Packet {
            lane: Lane {
                port: PortSlot::new(0),
                learned: true,
            },
            key: FdbKey::new(SegmentId::new(0), MacAddr::from_bytes([2, 0, 0, 0, 0, 1])),
            from: ("192.0.2.1".parse().unwrap(), None),
            to: "192.0.2.2".parse().unwrap(),
            payload: number.to_be_bytes().as_slice().into(),
        }
    }
}
