//! Random and mutated frames, and the tables to look at them with.
//!
//! Everything follows from a seed: a frame that showed something is made again by its number.

mod random;
mod reachable;
mod rng;
mod sample;
mod world;

pub use self::reachable::reachable;
pub use self::rng::Rng;
pub use self::sample::Sample;
pub use self::world::{
    CROWDED, FRESH, FROZEN, GONE_PEER, GONE_PORT, HOSTS, Interfaces, LEARNED, LOCALS, LONE, OWN,
    PEER_JUMBO, PEER_UNREACHABLE, PEER_V4, PEER_V4_UNRESOLVED, PEER_V6, PEER_V6_UNRESOLVED,
    PEER_V6_ZERO, PLAIN, PORT_ABSENT, PORT_ACCESS, PORT_CARRIER, PORT_CROWDED, PORT_FAST,
    PORT_FULL, PORT_GUARDED, PORT_LONE, PORT_NARROW, PORT_NATIVE, PORT_NOISY, PORT_OWN, PORT_QUIET,
    PORT_ROUTED_OTHER, PORT_SLOW, PORT_VLAN_10, PORT_VLAN_20, PORT_VLAN_40, QUIET, ROUTED, TRUNK,
    USED_UP, World, beyond_narrow, group, host_mac, unicast,
};
pub use crate::sim::Side;
