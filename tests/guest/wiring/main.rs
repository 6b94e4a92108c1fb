//! Uplinks as hypervisors have them: VLANs, bonds, bridges, and what else stands between a card and its address.
//!
//! Two hypervisors with two cables between them ([`site`]). These tests run in guests (`cargo xtask test vm`), since not every kernel
//! has all these devices.

mod bond;
mod bridge;
mod change;
mod loopback;
mod macvlan;
mod site;
mod tunnel;
mod vlan;
mod vrf;
