//! Announcing to the other VTEPs that a MAC has come to a port here: by a frame in its name, which they learn from as from any other.
//!
//! Nothing here waits. What is to be sent queues, leaves at a bounded rate, and once more a little later, in case it was lost;
//! what finds the queue full is counted and forgotten, since the host's own traffic announces it as well. A MAC that has moved on
//! meanwhile is not announced any more: that would call it back.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use vtep_common::abi::{fdb::FdbKey, id::Ifindex};

use crate::{netlink::udp, stats::AnnounceCounters};

/// Time for each packet: 5,000 a second.
const PACE: Duration = Duration::from_micros(200);
/// How much of the time that passed without a packet is made good: 500 packets may leave at once.
const BURST: Duration = Duration::from_millis(100);
/// When a packet is sent once more.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Packets that wait, at most: some seconds' worth.
const QUEUE_LEN: usize = 16_384;

/// A packet to a VTEP or to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// The MAC that is announced, and where.
    pub(super) key: FdbKey,
    /// The address it is sent from, and the interface where it is for a group.
    pub(super) from: (IpAddr, Option<Ifindex>),
    /// The VTEP, or the group.
    pub(super) to: IpAddr,
    /// What follows the UDP header.
    pub(super) payload: Arc<[u8]>,
}

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

    /// True if there is no room for another packet.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= QUEUE_LEN
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

/// The packets to be sent, and when each may.
#[derive(Debug, Default)]
struct SendQueue {
    /// For the first time.
    first: VecDeque<Packet>,
    /// For the second, at these times.
    again: VecDeque<(Instant, Packet)>,
    /// Up to when the time for packets is used up.
    used: Option<Instant>,
}

impl SendQueue {
    fn len(&self) -> usize {
        self.first.len() + self.again.len()
    }

    /// False if there is no room.
    fn push(&mut self, packet: Packet) -> bool {
        let room = self.len() < QUEUE_LEN;
        if room {
            self.first.push_back(packet);
        }
        room
    }

    fn next(&self) -> Option<Instant> {
        let again = self.again.front().map(|(at, _)| *at);
        match (self.first.is_empty(), self.used) {
            (true, used) => again.map(|at| used.map_or(at, |used| at.max(used))),
            // Never before now, whenever that is.
            (false, used) => used.or_else(|| Some(Instant::now())),
        }
    }

    /// Takes a packet that may leave now.
    fn due(&mut self, now: Instant) -> Option<Packet> {
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let used = self.used.map_or(earliest, |used| used.max(earliest));
        if used > now {
            return None;
        }
        let packet = if self.again.front().is_some_and(|(at, _)| *at <= now) {
            self.again.pop_front().map(|(_, packet)| packet)
        } else {
            let packet = self.first.pop_front();
            self.again
                .extend(packet.clone().map(|packet| (now + AGAIN_AFTER, packet)));
            packet
        }?;
        self.used = Some(used + PACE);
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use vtep_common::abi::addr::MacAddr;

    use vtep_common::abi::id::SegmentId;

    use super::*;

    #[test]
    fn a_packet_leaves_at_once_and_once_more() {
        let mut queue = SendQueue::default();
        let start = Instant::now();
        queue.push(packet(1));

        assert_eq!(queue.due(start), Some(packet(1)));
        assert_eq!(queue.due(start + AGAIN_AFTER / 2), None);
        let again = queue.next().unwrap();
        assert_eq!(again, start + AGAIN_AFTER);
        assert_eq!(queue.due(again), Some(packet(1)));
        assert_eq!(queue.due(start + 10 * AGAIN_AFTER), None);
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn packets_leave_in_their_order() {
        let mut queue = SendQueue::default();
        let now = Instant::now();
        for number in 0..3 {
            queue.push(packet(number));
        }

        for number in 0..3 {
            assert_eq!(queue.due(now), Some(packet(number)));
        }
    }

    #[test]
    fn many_packets_leave_at_the_rate() {
        let mut queue = SendQueue::default();
        let start = Instant::now();
        for number in 0..8_000 {
            queue.push(packet(number));
        }

        let mut at = start;
        let mut sent = 0;
        while at < start + Duration::from_secs(1) {
            while queue.due(at).is_some() {
                sent += 1;
            }
            at = queue.next().unwrap();
        }

        assert!(
            (5_000..=5_502).contains(&sent),
            "{sent} in the first second"
        );
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let mut queue = SendQueue::default();
        for number in 0..QUEUE_LEN {
            assert!(queue.push(packet(number)));
        }

        assert!(!queue.push(packet(QUEUE_LEN)));

        // What waits to be sent once more takes room too.
        queue.due(Instant::now()).unwrap();
        assert!(!queue.push(packet(QUEUE_LEN)));
    }

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
        announcer.send(start + AGAIN_AFTER, |_| here.get());
        assert!(!got());

        assert_eq!(announcer.next(), None);
        assert_eq!(announcer.counters(), AnnounceCounters { sent: 1, lost: 0 });
    }

    fn packet(number: usize) -> Packet {
        Packet {
            key: FdbKey::new(SegmentId::new(0), MacAddr::from_bytes([2, 0, 0, 0, 0, 1])),
            from: ("192.0.2.1".parse().unwrap(), None),
            to: "192.0.2.2".parse().unwrap(),
            payload: number.to_be_bytes().as_slice().into(),
        }
    }
}
