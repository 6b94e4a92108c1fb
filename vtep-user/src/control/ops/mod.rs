//! The changes that a user asks for, one file for each family, and what each of them means for the other rooms.

pub(crate) mod address;
pub(crate) mod entry;
pub(crate) mod fdb;
pub(crate) mod flood;
pub(crate) mod link;
pub(crate) mod neigh;
pub(crate) mod nexthop;
pub(crate) mod peer;
pub(crate) mod port;
pub(crate) mod refuse;
pub(crate) mod vni;

use super::{effect::Effect, record::facts::Links, state::State};
use crate::model::{Op, Refusal};

impl State {
    /// Makes one change, wholly or not at all: a refusal leaves the state as it was.
    pub fn apply(&mut self, op: &Op, links: &dyn Links) -> Result<Effect, Refusal> {
        match op {
            Op::VniAdd { vni, spec } => self.vni_add(*vni, spec),
            Op::VniSet { vni, spec } => self.vni_set(*vni, spec),
            Op::VniDel { vni } => self.vni_del(*vni),
            Op::PortAdd(spec) => self.port_add(spec, links),
            Op::PortSet { dev, change } => self.port_set(dev, change),
            Op::PortDel { dev, part } => self.port_del(dev, part),
            Op::FdbAdd(spec) => self.fdb_add(spec),
            Op::FdbAppend(spec) => self.fdb_append(spec),
            Op::FdbReplace(spec) => self.fdb_replace(spec),
            Op::FdbDel(del) => self.fdb_del(del),
            Op::FdbFlush(filter) => self.fdb_flush(filter),
            Op::NeighAdd(spec) => self.neigh_add(spec),
            Op::NeighReplace(spec) => self.neigh_replace(spec),
            Op::NeighDel(del) => self.neigh_del(del),
            Op::NexthopAdd(spec) => self.nexthop_add(spec),
            Op::NexthopReplace(spec) => self.nexthop_replace(spec),
            Op::NexthopDel(del) => self.nexthop_del(del),
            Op::PeerSet { ip, spec } => self.peer_set(*ip, spec),
        }
    }
}
