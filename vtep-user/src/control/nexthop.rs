//! The nexthop table: where hosts and prefixes are.

use super::{Effect, State};
use crate::api::{
    command::Refusal,
    model::{NexthopDel, NexthopRow, NexthopSpec, Vni},
};

impl State {
    pub(super) fn nexthop_add(&mut self, _spec: &NexthopSpec) -> Result<Effect, Refusal> {
        Err(Refusal::unsupported("not yet"))
    }

    pub(super) fn nexthop_replace(&mut self, _spec: &NexthopSpec) -> Result<Effect, Refusal> {
        Err(Refusal::unsupported("not yet"))
    }

    pub(super) fn nexthop_del(&mut self, _del: &NexthopDel) -> Result<Effect, Refusal> {
        Err(Refusal::unsupported("not yet"))
    }

    /// The entries of one VNI, or all, by VNI and prefix.
    pub fn nexthop_rows(&self, _vni: Option<Vni>) -> Result<Vec<NexthopRow>, Refusal> {
        Ok(Vec::new())
    }
}
