//! All parts of the decision at a port, one after the other, as the kernel goes through them.

use super::{HostTables, apply::set_destination};
use crate::{
    packet::Meta,
    port::{self, Stage, decide_found, rest::decide_rest},
    verdict::{Decision, Verdict},
};

/// Decides on a frame at a port.
#[must_use]
pub fn decide_port(frame: &[u8], meta: &Meta, stage: Stage, tables: &HostTables) -> Decision {
    let first = port::decide_port(frame, meta, stage, tables);
    if first.verdict != Verdict::Rest {
        return first;
    }
    let second = decide_rest(frame, meta, tables);
    let notes = first.notes.and(&second.notes);
    let Verdict::Found(found) = second.verdict else {
        return Decision { notes, ..second };
    };
    let mut frame = frame.to_vec();
    if !found.mac.is_zero() {
        set_destination(&mut frame, found.mac);
    }
    let third = decide_found(frame.as_slice(), meta, &found, tables);
    Decision {
        notes: notes.and(&third.notes),
        destination: found.mac,
        ..third
    }
}
