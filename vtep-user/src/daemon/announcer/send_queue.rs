//! The packets to be sent, and when each may: ports take turns, and what the operator put at a port comes before what was learned.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use vtep_common::abi::{
    fdb::FdbKey,
    id::{Ifindex, PortSlot},
};

/// Time for each packet: 5,000 a second.
const PACE: Duration = Duration::from_micros(200);
/// How much of the time that passed without a packet is made good: 500 packets may leave at once.
const BURST: Duration = Duration::from_millis(100);
/// When a packet is sent once more.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Packets that wait, at most: some seconds' worth.
const QUEUE_LEN: usize = 16_384;

/// Packets that leave one after the other, in turn with those of other lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Lane {
    /// The port that a MAC came to.
    pub(in super::super) port: PortSlot,
    /// It was learned there; else the operator put it there.
    pub(in super::super) learned: bool,
}

/// A packet to a VTEP or to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Packet {
    /// Whose turn it leaves in.
    pub(in super::super) lane: Lane,
    /// The MAC that is announced, and where.
    pub(in super::super) key: FdbKey,
    /// The address it is sent from, and the interface where it is for a group.
    pub(in super::super) from: (IpAddr, Option<Ifindex>),
    /// The VTEP, or the group.
    pub(in super::super) to: IpAddr,
    /// What follows the UDP header.
    pub(in super::super) payload: Arc<[u8]>,
}

/// The packets to be sent.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    waiting: HashMap<Lane, Waiting>,
    /// Lanes with packets for now, in the order of their turns: what the operator put there, and what was learned.
    own: VecDeque<Lane>,
    learned: VecDeque<Lane>,
    /// Packets for the second time, not before these times.
    again: VecDeque<(Instant, Packet)>,
    /// All packets.
    len: usize,
    /// Up to when the time for packets is used up.
    used: Option<Instant>,
}

/// The packets of one lane.
#[derive(Debug, Default)]
struct Waiting {
    /// For now.
    first: VecDeque<Packet>,
    second: VecDeque<Packet>,
    /// Those and the ones for later.
    len: usize,
}

impl Waiting {
    fn has_turn(&self) -> bool {
        !self.first.is_empty() || !self.second.is_empty()
    }
}

impl SendQueue {
    /// Whether there is room. A lane of what was learned gets no more than it leaves free: one that takes all it can get leaves half
    /// to the next, and many leave each other the same.
    pub(super) fn has_room(&self, lane: Lane) -> bool {
        let free = QUEUE_LEN - self.len;
        let len = self.waiting.get(&lane).map_or(0, |waiting| waiting.len);
        free > if lane.learned { len } else { 0 }
    }

    /// False if there is no room.
    pub(super) fn push(&mut self, packet: Packet) -> bool {
        let lane = packet.lane;
        let room = self.has_room(lane);
        if room {
            self.len += 1;
            let waiting = self.waiting.entry(lane).or_default();
            waiting.len += 1;
            let had_turn = waiting.has_turn();
            waiting.first.push_back(packet);
            if !had_turn {
                self.turns(lane).push_back(lane);
            }
        }
        room
    }

    /// When a packet may leave next.
    pub(super) fn next(&self) -> Option<Instant> {
        let again = self.again.front().map(|(at, _)| *at);
        match (self.own.is_empty() && self.learned.is_empty(), self.used) {
            (true, used) => again.map(|at| used.map_or(at, |used| at.max(used))),
            // Never before now, whenever that is.
            (false, used) => used.or_else(|| Some(Instant::now())),
        }
    }

    /// Takes a packet that may leave now.
    pub(super) fn due(&mut self, now: Instant) -> Option<Packet> {
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let used = self.used.map_or(earliest, |used| used.max(earliest));
        if used > now {
            return None;
        }
        self.bring_again(now);
        let lane = self.own.pop_front().or_else(|| self.learned.pop_front())?;
        let waiting = self.waiting.get_mut(&lane)?;
        let packet = if let Some(packet) = waiting.second.pop_front() {
            waiting.len -= 1;
            self.len -= 1;
            packet
        } else {
            let packet = waiting.first.pop_front()?;
            self.again.push_back((now + AGAIN_AFTER, packet.clone()));
            packet
        };
        if waiting.has_turn() {
            self.turns(lane).push_back(lane);
        } else if waiting.len == 0 {
            self.waiting.remove(&lane);
        }
        self.used = Some(used + PACE);
        Some(packet)
    }

    /// Gives a turn to what is to be sent once more by now.
    fn bring_again(&mut self, now: Instant) {
        while self.again.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, packet)) = self.again.pop_front() else {
                return;
            };
            let lane = packet.lane;
            let waiting = self.waiting.entry(lane).or_default();
            let had_turn = waiting.has_turn();
            waiting.second.push_back(packet);
            if !had_turn {
                self.turns(lane).push_back(lane);
            }
        }
    }

    fn turns(&mut self, lane: Lane) -> &mut VecDeque<Lane> {
        if lane.learned {
            &mut self.learned
        } else {
            &mut self.own
        }
    }
}

#[cfg(test)]
mod tests {
    use vtep_common::abi::{addr::MacAddr, id::SegmentId};

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
        assert!(queue.waiting.is_empty());
    }

    #[test]
    fn packets_of_a_port_leave_in_their_order() {
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
    fn a_port_with_many_macs_delays_no_other() {
        let mut queue = SendQueue::default();
        let now = Instant::now();
        for number in 0..QUEUE_LEN {
            queue.push(of(learned(1), number));
        }

        // Also once the first of them are to be sent once more.
        for now in [now, now + AGAIN_AFTER] {
            assert!(queue.push(of(learned(2), 7)), "there is room for others");
            let leaves = (0..3).filter_map(|_| queue.due(now));
            let ports: Vec<Lane> = leaves.map(|packet| packet.lane).collect();
            assert!(ports.contains(&learned(2)), "{ports:?}");
        }
    }

    #[test]
    fn what_the_operator_put_there_comes_first() {
        let mut queue = SendQueue::default();
        let now = Instant::now();
        for number in 0..QUEUE_LEN {
            queue.push(of(learned(1), number));
            queue.push(of(learned(2), number));
        }

        for number in 0..3 {
            assert!(queue.push(of(own(1), number)));
        }

        for number in 0..3 {
            assert_eq!(queue.due(now), Some(of(own(1), number)));
        }
    }

    #[test]
    fn ports_that_take_all_they_can_get_share_the_room() {
        let mut queue = SendQueue::default();
        let mut took = [0_usize; 4];
        for _ in 0..QUEUE_LEN {
            for (port, took) in (0..).zip(&mut took) {
                *took += usize::from(queue.push(of(learned(port), 0)));
            }
        }

        for took in took {
            assert!(took.abs_diff(QUEUE_LEN / 5) < 8, "{took}");
        }
        assert!(queue.has_room(learned(9)), "there is room for one more");
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let mut queue = SendQueue::default();
        for number in 0..QUEUE_LEN {
            assert!(queue.push(of(own(1), number)));
        }

        assert!(!queue.push(packet(QUEUE_LEN)));
        assert!(!queue.push(of(own(2), 1)));

        // What waits to be sent once more takes room too.
        queue.due(Instant::now()).unwrap();
        assert!(!queue.push(of(own(1), QUEUE_LEN)));
    }

    fn learned(port: u32) -> Lane {
        Lane {
            port: PortSlot::new(port),
            learned: true,
        }
    }

    fn own(port: u32) -> Lane {
        Lane {
            port: PortSlot::new(port),
            learned: false,
        }
    }

    fn packet(number: usize) -> Packet {
        of(learned(0), number)
    }

    fn of(lane: Lane, number: usize) -> Packet {
        Packet {
            lane,
            key: FdbKey::new(SegmentId::new(0), MacAddr::from_bytes([2, 0, 0, 0, 0, 1])),
            from: ("192.0.2.1".parse().unwrap(), None),
            to: "192.0.2.2".parse().unwrap(),
            payload: number.to_be_bytes().as_slice().into(),
        }
    }
}
