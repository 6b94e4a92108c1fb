//! The guards that hold events back which repeat one on its way: an entry that goes takes its guard along, or else the next frame
//! would be taken for a repetition, and not be learned from.

use std::os::fd::AsFd as _;

use aya::maps::MapError;
use vtep_common::abi::{addr::VtepAddr, event::Event, id::SegmentId, map::name};

use super::{
    Datapath,
    batch::{self, BatchError},
    error::{DatapathError, gone},
};
use crate::control::Write;

/// Guards that are removed one by one; if more entries go at once, all guards go.
const ONE_BY_ONE: usize = 1024;

/// What an event is about that says what an entry said that goes with this write.
fn subject(write: &Write) -> Option<u64> {
    let of = |kind, segment, mac, [h0, h1]: [u64; 2]| {
        Event::subject(&[Event::what(kind, segment), mac, 0, 0, h0, h1, 0, 0])
    };
    match write {
        Write::Fdb(key, None) => {
            let [a, b, c, d, e, f] = key.mac().bytes();
            let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
            Some(of(Event::LEARN, key.segment(), mac, [0, 0]))
        }
        Write::Neigh(key, None) => {
            let (segment, host): (SegmentId, VtepAddr) = (key.segment, key.host);
            Some(of(Event::SNOOPED, segment, 0, Event::address(&host)))
        }
        _ => None,
    }
}

impl Datapath {
    /// Removes the guards of what went with these writes.
    pub(super) fn remove_guards(&mut self, writes: &[Write]) -> Result<(), DatapathError> {
        let subjects = || writes.iter().filter_map(subject);
        if subjects().nth(ONE_BY_ONE).is_some() {
            match batch::take_entries::<u64, [u64; 2]>(self.maps.guards_fd.as_fd()) {
                Ok(_) => return Ok(()),
                Err(BatchError::Refused(source)) => {
                    let source = MapError::IoError(source);
                    return Err(DatapathError::map("clear", name::GUARDS, source));
                }
                Err(BatchError::Unsupported) => {}
            }
        }
        for subject in subjects() {
            // Most entries have been there for longer than their guards.
            gone(self.maps.guards.remove(&subject), name::GUARDS)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use vtep_common::abi::{addr::MacAddr, fdb::FdbKey, id::PortSlot, neigh::NeighKey};

    use super::*;

    #[test]
    fn an_entry_that_goes_has_the_guard_of_the_event_that_made_it() {
        let segment = SegmentId::new(9);
        let mac = MacAddr::from_bytes([2, 1, 2, 3, 4, 5]);
        let host = VtepAddr::from("192.0.2.7".parse::<IpAddr>().unwrap());
        let nobody = VtepAddr::from_v4_be(0);
        let none = <VtepAddr as bytemuck::Zeroable>::zeroed();
        let event = |kind, host| Event {
            kind,
            segment,
            mac: 0x0201_0203_0405,
            vtep: nobody,
            host,
            port: PortSlot::new(3),
            flags: 0,
            time: Event::NOT_SET,
        };
        let learned = Event::subject(&event(Event::LEARN, none).words());
        let snooped = Event::subject(&event(Event::SNOOPED, host).words());

        let fdb = FdbKey::new(segment, mac);
        assert_eq!(subject(&Write::Fdb(fdb, None)), Some(learned));
        let neigh = NeighKey { segment, host };
        assert_eq!(subject(&Write::Neigh(neigh, None)), Some(snooped));
        assert_eq!(subject(&Write::Vni(7, None)), None);
    }
}
