//! Who says that it has an IP address, where that is not in the table of hosts: VTEPs' hosts, and addresses that several MACs claim.
//!
//! What several claim is contested, and answered by nobody until it is settled: until all of them but one are silent.

use std::net::IpAddr;

use vtep_common::abi::{
    addr::MacAddr,
    id::{PortSlot, SegmentId},
};

use super::{
    hash::Map,
    numbered::Numbered,
    queue::{self, Queue, SECOND},
};

/// Addresses that are remembered, of all VNIs.
pub(crate) const MAX_CLAIMED: u32 = 65_536;
/// Addresses that are remembered of one VNI.
pub(crate) const MAX_CLAIMED_IN_VNI: usize = 8_192;
/// MACs that are remembered of one address. The one that was silent longest makes room.
const MAX_CLAIMANTS: usize = 4;
/// Seconds without a word or a frame from the others after which an address is the last one's.
pub(crate) const SETTLED_S: u32 = 5;
/// Seconds for which a claim holds in a VNI that does not age.
const HOLDS_S: u32 = 300;

/// That a MAC has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The MAC.
    pub(crate) mac: MacAddr,
    /// The port at which it said so; `None` behind a VTEP.
    pub(crate) port: Option<PortSlot>,
    /// Whether it is a router, if it said so.
    pub(crate) router: Option<bool>,
    /// When it said so last, in nanoseconds.
    pub(crate) time: u64,
}

/// The claims to one address.
#[derive(Clone, Debug, Default)]
struct Claimed {
    claims: Vec<Claim>,
    /// Whose it was before it was contested, if it is.
    contested: Option<MacAddr>,
    /// When it is to be looked at.
    due: u32,
}

/// What became of an address whose time had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Nothing new.
    Left,
    /// One MAC is left, where the first had it before. `None`: nobody is left.
    For(Option<Claim>, MacAddr),
}

/// All claims, by the numbers of segments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    segments: Numbered<SegmentId, Map<IpAddr, Claimed>>,
    /// How many addresses each MAC claims.
    by_mac: Map<(SegmentId, MacAddr), usize>,
    len: u32,
    queue: Queue<(SegmentId, IpAddr)>,
}

impl Claims {
    /// How many addresses are remembered.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    fn get(&self, number: SegmentId, host: IpAddr) -> Option<&Claimed> {
        self.segments.get(number)?.get(&host)
    }

    /// The claims to an address.
    pub(crate) fn to(&self, number: SegmentId, host: IpAddr) -> &[Claim] {
        self.get(number, host)
            .map_or(&[], |claimed| &claimed.claims)
    }

    /// How many addresses a MAC claims.
    pub(crate) fn count_of(&self, number: SegmentId, mac: MacAddr) -> usize {
        self.by_mac.get(&(number, mac)).copied().unwrap_or(0)
    }

    /// Takes note of a claim; of one in a VNI or a table that is full, only if the address is known. True if several MACs claim the
    /// address from now on, and did not before.
    pub(crate) fn note(&mut self, number: SegmentId, host: IpAddr, new: Claim) -> bool {
        let table = self.segments.at(number);
        let known = table.contains_key(&host);
        if !known && (self.len >= MAX_CLAIMED || table.len() >= MAX_CLAIMED_IN_VNI) {
            return false;
        }
        self.len += u32::from(!known);
        let claimed = table.entry(host).or_default();
        let first = claimed.claims.first().map(|claim| claim.mac);
        let claims = &mut claimed.claims;
        if let Some(claim) = claims.iter_mut().find(|claim| claim.mac == new.mac) {
            let router = new.router.or(claim.router);
            *claim = Claim { router, ..new };
        } else {
            if claims.len() >= MAX_CLAIMANTS {
                let oldest = (0..claims.len()).min_by_key(|&at| claims[at].time);
                let gone = claims.remove(oldest.unwrap_or(0));
                uncount(&mut self.by_mac, number, gone.mac);
            }
            claims.push(new);
            *self.by_mac.entry((number, new.mac)).or_default() += 1;
        }
        let begins = claimed.claims.len() > 1 && claimed.contested.is_none();
        if begins {
            claimed.contested = first;
        }
        if !known || begins {
            self.look_at(number, host, queue::after(new.time, SETTLED_S));
        }
        begins
    }

    fn look_at(&mut self, number: SegmentId, host: IpAddr, due: u32) {
        if let Some(claimed) = self.segments.at(number).get_mut(&host) {
            claimed.due = due;
            self.queue.push(due, (number, host));
        }
        if self.queue.is_stale(self.len as usize) {
            let segments = &self.segments;
            self.queue.retain(|at, (number, host)| {
                let table = segments.get(*number);
                let claimed = table.and_then(|table| table.get(host));
                claimed.is_some_and(|claimed| claimed.due == at)
            });
        }
    }

    /// Forgets all claims to an address.
    pub(crate) fn forget(&mut self, number: SegmentId, host: IpAddr) {
        if self.len == 0 {
            return;
        }
        if let Some(gone) = self.segments.at(number).remove(&host) {
            self.len -= 1;
            for claim in gone.claims {
                uncount(&mut self.by_mac, number, claim.mac);
            }
        }
    }

    /// Forgets all claims in a segment.
    pub(crate) fn forget_segment(&mut self, number: SegmentId) {
        let gone = self.segments.take(number).len();
        self.len -= u32::try_from(gone).expect("no more than there are");
        self.by_mac.retain(|(at, _), _| *at != number);
    }

    /// True if something is to be looked at.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.queue.is_due(now)
    }

    /// The next address of which the time has come, and when that was.
    pub(crate) fn next(&mut self, now: u64) -> Option<(u32, (SegmentId, IpAddr))> {
        self.queue.pop(now)
    }

    /// Forgets who claims an address no more. A claim holds for `ageing_s`; where there are others, only while its MAC says it again,
    /// or sends: `sends` says whether a MAC has been seen since. `at` is when the time of the address had come, as
    /// [`next`](Self::next) said it.
    pub(crate) fn settle(
        &mut self,
        at: u32,
        (number, host): (SegmentId, IpAddr),
        (now, ageing_s): (u64, u32),
        sends: impl Fn(MacAddr, u64) -> bool,
    ) -> Settled {
        let holds_s = if ageing_s == 0 { HOLDS_S } else { ageing_s };
        let before = |seconds: u32| now.saturating_sub(u64::from(seconds) * SECOND);
        let (held, heard) = (before(holds_s), before(SETTLED_S));
        let claimed = self.segments.at(number).get_mut(&host);
        let Some(claimed) = claimed.filter(|claimed| claimed.due == at) else {
            return Settled::Left;
        };
        let contested = claimed.contested;
        let stays = |claim: &Claim| {
            claim.time > held
                && (contested.is_none() || claim.time > heard || sends(claim.mac, heard))
        };
        let last = claimed
            .claims
            .iter()
            .copied()
            .max_by_key(|claim| claim.time);
        let gone: Vec<_> = claimed
            .claims
            .iter()
            .filter(|claim| !stays(claim))
            .map(|claim| claim.mac)
            .collect();
        claimed.claims.retain(stays);
        // If all are silent, the last one that spoke has it.
        if claimed.claims.is_empty() {
            claimed
                .claims
                .extend(last.filter(|last| contested.is_some() && last.time > held));
        }
        let left = claimed.claims.clone();
        for mac in gone {
            if left.iter().all(|claim| claim.mac != mac) {
                uncount(&mut self.by_mac, number, mac);
            }
        }
        match (&left[..], contested) {
            ([], contested) => {
                self.forget(number, host);
                contested.map_or(Settled::Left, |before| Settled::For(None, before))
            }
            ([last], Some(before)) => {
                if let Some(claimed) = self.segments.at(number).get_mut(&host) {
                    claimed.contested = None;
                }
                self.look_at(number, host, queue::after(last.time, holds_s));
                Settled::For(Some(*last), before)
            }
            ([last], None) => {
                self.look_at(number, host, queue::after(last.time, holds_s));
                Settled::Left
            }
            _ => {
                self.look_at(number, host, queue::after(now, SETTLED_S));
                Settled::Left
            }
        }
    }
}

fn uncount(by_mac: &mut Map<(SegmentId, MacAddr), usize>, number: SegmentId, mac: MacAddr) {
    if let Some(count) = by_mac.get_mut(&(number, mac)) {
        *count -= 1;
        if *count == 0 {
            by_mac.remove(&(number, mac));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: SegmentId = SegmentId::new(3);
    const AGEING_S: u32 = 100;

    fn host(number: usize) -> IpAddr {
        let number = u32::try_from(number).expect("far below 2^32");
        std::net::Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    /// A claim of MAC number `last`.
    fn claim(last: u8, second: u64) -> Claim {
        Claim {
            mac: MacAddr::from_bytes([2, 0, 0, 0, 0, last]),
            port: None,
            router: Some(false),
            time: second * SECOND,
        }
    }

    /// Lets the time come, where no MAC sends; what became of the first host.
    fn settle(claims: &mut Claims, second: u64) -> Settled {
        let now = second * SECOND;
        let (at, key) = claims.next(now).expect("something is due");
        claims.settle(at, key, (now, AGEING_S), |_, _| false)
    }

    #[test]
    fn a_segment_that_is_full_takes_no_more_addresses_but_claims_to_those_it_has() {
        let mut claims = Claims::default();
        for number in 0..=MAX_CLAIMED_IN_VNI {
            assert!(!claims.note(SEGMENT, host(number), claim(1, 1)));
        }
        assert_eq!(claims.len as usize, MAX_CLAIMED_IN_VNI);
        assert!(claims.to(SEGMENT, host(MAX_CLAIMED_IN_VNI)).is_empty());
        assert!(claims.note(SEGMENT, host(0), claim(2, 1)));
        let other = SegmentId::new(4);
        claims.note(other, host(0), claim(1, 1));
        assert_eq!(claims.to(other, host(0)).len(), 1);
    }

    #[test]
    fn of_many_claimants_the_one_that_was_silent_longest_makes_room() {
        let mut claims = Claims::default();
        for last in 1..=5 {
            claims.note(SEGMENT, host(0), claim(last, last.into()));
        }
        let macs = [1, 2, 5].map(|last| claims.count_of(SEGMENT, claim(last, 0).mac));
        assert_eq!(
            (claims.to(SEGMENT, host(0)).len(), macs),
            (MAX_CLAIMANTS, [0, 1, 1])
        );
    }

    #[test]
    fn the_last_one_that_spoke_has_it_if_all_are_silent_and_then_for_the_ageing_time() {
        let mut claims = Claims::default();
        claims.note(SEGMENT, host(0), claim(1, 1));
        assert!(claims.note(SEGMENT, host(0), claim(2, 2)));
        assert_eq!(settle(&mut claims, 6), Settled::Left, "it is out of date");

        let settled = settle(&mut claims, 7);

        assert_eq!(settled, Settled::For(Some(claim(2, 2)), claim(1, 1).mac));
        assert_eq!(claims.next(101 * SECOND), None);
        assert_eq!(settle(&mut claims, 102), Settled::Left);
        assert_eq!((claims.len, claims.by_mac.len()), (0, 0));
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_behind() {
        let mut claims = Claims::default();
        for number in 0..3 {
            claims.note(SEGMENT, host(number), claim(1, 1));
            claims.note(SEGMENT, host(number), claim(2, 1));
        }
        claims.forget(SEGMENT, host(0));
        assert_eq!(claims.count_of(SEGMENT, claim(1, 0).mac), 2);
        claims.forget_segment(SEGMENT);
        assert_eq!((claims.len, claims.by_mac.len()), (0, 0));
    }
}
