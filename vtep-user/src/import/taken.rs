//! What was taken over of the kernel so far.

use std::collections::{BTreeMap, BTreeSet};

use vtep_common::abi::id::Ifindex;

use crate::model::Vni;

/// What was taken over so far, of which there can be one.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The interfaces that packets to other VTEPs leave by.
    pub(super) uplinks: Vec<Ifindex>,
    /// VNIs, each with its device.
    pub(super) vnis: BTreeMap<Vni, String>,
    /// Bridges, each with its VNI.
    pub(super) bridges: BTreeMap<Ifindex, Vni>,
    /// VLANs of interfaces, each with its VNI.
    pub(super) vlans: BTreeSet<(Ifindex, Option<u16>)>,
}
