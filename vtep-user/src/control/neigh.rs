//! Hosts that ARP and ND are answered for.

use super::{Effect, State, learn::Clock};
use crate::api::{
    command::Refusal,
    model::{NeighDel, NeighRow, NeighSpec, Vni},
};

impl State {
    pub(super) fn neigh_add(&mut self, _spec: &NeighSpec) -> Result<Effect, Refusal> {
        Err(Refusal::unsupported("not yet"))
    }

    pub(super) fn neigh_replace(&mut self, _spec: &NeighSpec) -> Result<Effect, Refusal> {
        Err(Refusal::unsupported("not yet"))
    }

    pub(super) fn neigh_del(&mut self, _del: &NeighDel) -> Result<Effect, Refusal> {
        Err(Refusal::unsupported("not yet"))
    }

    /// The hosts of one VNI, or all, by VNI and address.
    pub fn neigh_rows(
        &self,
        _vni: Option<Vni>,
        _clock: &dyn Clock,
    ) -> Result<Vec<NeighRow>, Refusal> {
        Ok(Vec::new())
    }
}
