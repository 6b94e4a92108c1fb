//! Which peers are heard: their counters, looked at a part of them each second.

use vtep_common::abi::id::PeerId;

use super::Core;
use crate::control::Stamps as _;

/// Peers whose counters are looked at in a second.
const AT_ONCE: usize = 512;

impl Core {
    /// Looks at the counters of the next peers, so that each has its turn.
    pub(super) fn hear_some_peers(&mut self) {
        let mut ids: Vec<PeerId> = self.state.peer_names().map(|(id, _)| id).collect();
        if ids.len() > AT_ONCE {
            // Those behind the last one that was looked at, and from the first on again.
            let after = ids.partition_point(|id| Some(*id) <= self.heard_last);
            ids.rotate_left(after);
            ids.truncate(AT_ONCE);
        }
        self.heard_last = ids.last().copied();
        self.hear(&ids);
    }

    /// Looks at the counters of every peer.
    pub(super) fn hear_all_peers(&mut self) {
        let ids: Vec<PeerId> = self.state.peer_names().map(|(id, _)| id).collect();
        self.hear(&ids);
    }

    fn hear(&mut self, ids: &[PeerId]) {
        let now = self.datapath.now();
        match self.datapath.packets_of_peers(ids) {
            Ok(counted) => self.state.heard(counted, now),
            Err(error) => tracing::debug!(%error, "could not read the counters of VTEPs"),
        }
    }
}
