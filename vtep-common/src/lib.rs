//! What both sides of the kernel border share: headers, tables, decisions.
//!
//! The decisions ([`decide::port::decide`], [`decide::uplink::decide`], [`decide::tunnel::decide`]) see a [`runtime::Runtime`] and nothing
//! else. The eBPF programs run them over packet memory and BPF maps, the host over slices and ordinary maps.
#![cfg_attr(
    not(any(test, feature = "user", feature = "sim", feature = "testkit")),
    no_std
)]
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

pub mod abi;
pub mod decide;
pub mod frame;
pub mod runtime;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[cfg(any(test, feature = "testkit"))]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::missing_panics_doc,
    reason = "for tests, where a panic is a failed one"
)]
pub mod testkit;
#[cfg(feature = "user")]
pub mod text;
pub mod wire;
