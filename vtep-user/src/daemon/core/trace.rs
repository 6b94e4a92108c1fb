//! Traces: what would become of a frame, by the tables of the programs.

use vtep_common::sim::trace::{Arrived, trace_reading};

use super::{super::error::internal, Core};
use crate::model::{Refusal, TraceAt, TraceRow};

impl Core {
    /// What would become of a frame, step by step. Nothing is written, but what is looked up is looked up now.
    pub(super) fn trace(&self, at: &TraceAt) -> Result<Vec<TraceRow>, Refusal> {
        let traced = self.state.traced(at, self.uplinks.traced(&at.dev))?;
        let attached = self.datapath.attached(traced.first_program());
        let xdp = attached.map_err(internal)?.contains(&traced.ifindex);
        let mut tables = self.datapath.nothing_read().map_err(internal)?;
        let hops = trace_reading(&traced.arrived(xdp), &mut tables, |asked, tables| {
            self.datapath.read_asked(asked, tables)
        });
        let hops = hops.map_err(internal)?;
        Ok(self.state.trace_rows(&traced, &hops, &tables))
    }

    /// What would become of a frame that came to a hook, from there on.
    pub(super) fn trace_arrived(&self, arrived: &Arrived) -> Result<Vec<TraceRow>, Refusal> {
        let mut tables = self.datapath.nothing_read().map_err(internal)?;
        let hops = trace_reading(arrived, &mut tables, |asked, tables| {
            self.datapath.read_asked(asked, tables)
        });
        Ok(self.state.arrived_rows(&hops.map_err(internal)?, &tables))
    }
}
