//! What a verdict does to the bytes, where one that cannot be carried out is a failed test.

use crate::sim::decision::Decision;
use crate::{
    decide::{port, tunnel},
    frame::packet::Meta,
    runtime::tables::Tables,
    sim::{self, Outcome, Unfit},
};

fn done(outcome: Result<Outcome, Unfit>, decision: &Decision) -> Outcome {
    outcome.unwrap_or_else(|unfit| panic!("{unfit}: {decision:?}"))
}

/// [`sim::apply_port`], which has to be possible.
#[must_use]
pub fn apply_port<T: Tables>(
    frame: &[u8],
    meta: &Meta,
    stage: port::PortStage,
    decision: &Decision,
    tables: &T,
) -> Outcome {
    done(
        sim::apply_port(frame, meta, stage, decision, tables),
        decision,
    )
}

/// [`sim::apply_uplink`], which has to be possible.
#[must_use]
pub fn apply_uplink(
    frame: &[u8],
    meta: &Meta,
    stage: tunnel::DecapStage,
    decision: &Decision,
) -> Outcome {
    done(sim::apply_uplink(frame, meta, stage, decision), decision)
}

/// [`sim::apply_tunnel`], which has to be possible.
#[must_use]
pub fn apply_tunnel(frame: &[u8], meta: &Meta, decision: &Decision) -> Outcome {
    done(sim::apply_tunnel(frame, meta, decision), decision)
}
