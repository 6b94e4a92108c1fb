//! All parts of the decision at a port, one after the other, as the kernel goes through them.

use crate::sim::{HostTables, apply::set_destination};
use crate::{
    abi::fdb::FdbTarget,
    decide::{
        port::{
            self, Stage, decide_resolved, flood::decide_flood, neigh::decide_neigh,
            unknown::decide_unknown,
        },
        verdict::{Decision, Verdict},
    },
    frame::packet::Meta,
};

/// Decides on a frame at a port.
#[must_use]
pub fn decide_port(frame: &[u8], meta: &Meta, stage: Stage, tables: &HostTables) -> Decision {
    let mut decision = port::decide_port(frame, meta, stage, tables);
    let mut notes = decision.notes;
    if decision.verdict == Verdict::Neigh {
        decision = decide_neigh(frame, meta, tables);
        notes = notes.and(&decision.notes);
    }
    if decision.verdict == Verdict::Unknown {
        decision = decide_unknown(frame, meta, tables);
        notes = notes.and(&decision.notes);
    }
    let Verdict::Resolved(found) = decision.verdict else {
        return Decision { notes, ..decision };
    };
    let mut frame = frame.to_vec();
    // A frame whose destination was found has one.
    if !found.mac.is_zero() && set_destination(&mut frame, found.mac).is_err() {
        return Decision { notes, ..decision };
    }
    let last = if let Some(FdbTarget::List(list)) = found.target.get() {
        decide_flood(frame.as_slice(), meta, list, tables)
    } else {
        decide_resolved(frame.as_slice(), meta, &found, tables)
    };
    Decision {
        notes: notes.and(&last.notes),
        destination: found.mac,
        ..last
    }
}
