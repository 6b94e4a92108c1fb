//! What both sides of the kernel border share: headers, tables, decisions.
//!
//! The decisions ([`port::decide_port`], [`uplink::decide_uplink`], [`tunnel::decide_tunnel`]) are pure: they read a
//! frame through [`packet::PacketRead`] and the tables through [`tables::Tables`], and return a [`verdict::Decision`].
//! The eBPF programs run them over packet memory and BPF maps, the host tests over slices and ordinary maps.
#![cfg_attr(not(any(test, feature = "user", feature = "host")), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::wildcard_enum_match_arm
    )
)]

pub mod addr;
pub mod buckets;
pub mod count;
pub mod ecn;
pub mod events;
pub mod flow;
#[cfg(any(test, feature = "host"))]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::missing_panics_doc,
    reason = "for tests, where a panic is a failed one"
)]
pub mod host;
pub mod inner;
pub mod known;
pub mod learn;
pub mod maps;
pub mod neigh;
pub mod outer;
pub mod packet;
pub mod port;
pub mod reason;
pub mod tables;
pub mod template;
#[cfg(feature = "user")]
pub mod text;
pub mod tunnel;
pub mod uplink;
pub mod verdict;
pub mod wire;
