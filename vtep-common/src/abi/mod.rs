//! What lies in maps and rings: the border between the kernel side, the daemon, and the next daemon.
//!
//! All numbers are in host byte order unless a name ends in `_be`; padding is zero. Nothing here imports from the floors above.

pub mod addr;
pub mod address;
pub mod capture;
pub mod clock;
pub mod config;
pub mod counter;
pub mod drops;
pub mod event;
pub mod fdb;
pub mod flags;
pub mod flood;
pub mod hash_table;
pub mod id;
pub mod map;
pub mod neigh;
pub mod nexthop;
pub mod origin;
pub mod outer_template;
pub mod peer;
pub mod policer;
pub mod port;
pub mod reason;
pub mod segment;
pub mod tail_call;
pub mod too_big;
pub mod uplink;
pub mod vlans;

/// Marks the PODs as usable by aya, which has a marker of its own.
#[cfg(feature = "user")]
mod user {
    use super::{
        addr::VtepAddr,
        capture::CaptureOrder,
        clock::Clock,
        config::Config,
        counter::Counter,
        drops::DropKey,
        event::Guard,
        flood::{FloodList, ListedKey},
        hash_table::{Bucket, Geometry},
        id::{Ifindex, ListId, PeerId, SegmentId},
        neigh::{NeighKey, NeighValue},
        nexthop::{NexthopKey, NexthopValue},
        peer::Peer,
        policer::Policer,
        port::{GuardedKey, Port, PortName},
        segment::{Segment, SourceKey},
        uplink::UplinkWord,
        vlans::Vlans,
    };

    macro_rules! pod {
        ($($type:ty),+) => {$(
            // SAFETY: the type is `bytemuck::Pod` (derived, so checked): any bit pattern is valid and there is no padding.
            unsafe impl aya::Pod for $type {}
        )+};
    }
    pod!(
        Bucket,
        CaptureOrder,
        Clock,
        Config,
        Counter,
        DropKey,
        FloodList,
        Guard,
        GuardedKey,
        Ifindex,
        ListId,
        NeighKey,
        NeighValue,
        NexthopKey,
        NexthopValue,
        Peer,
        PeerId,
        Policer,
        Port,
        PortName,
        Segment,
        SegmentId,
        SourceKey,
        UplinkWord,
        ListedKey,
        Geometry,
        Vlans,
        VtepAddr
    );
}
