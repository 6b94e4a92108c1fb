//! What a verdict does to the bytes, where one that cannot be carried out is a failed test.

use crate::{
    decide::{port, tunnel, verdict::Decision},
    frame::packet::Meta,
    runtime::Tables,
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
    stage: port::Stage,
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
    stage: tunnel::Stage,
    decision: &Decision,
) -> Outcome {
    done(sim::apply_uplink(frame, meta, stage, decision), decision)
}

/// [`sim::apply_tunnel`], which has to be possible.
#[must_use]
pub fn apply_tunnel(frame: &[u8], meta: &Meta, decision: &Decision) -> Outcome {
    done(sim::apply_tunnel(frame, meta, decision), decision)
}
