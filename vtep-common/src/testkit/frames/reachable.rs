//! What frames can end with.

use crate::abi::{counter::Hook, reason::Reason};

/// The reasons that frames at `hook` can end with, each reached by [`World::sample`](super::World::sample).
///
/// [`Reason::Reshape`] and [`Reason::Redirect`] are no decision's: they count what a helper refused. XDP leaves to TC what it
/// cannot finish, so what only TC or the slow-path device ends is missing there.
#[must_use]
pub fn reachable(hook: Hook) -> &'static [Reason] {
    match hook {
        Hook::UplinkXdp => AT_UPLINK_XDP,
        Hook::Uplink => AT_UPLINK,
        Hook::Tunnel => AT_TUNNEL,
        Hook::Port => AT_PORT,
        Hook::PortXdp => AT_PORT_XDP,
    }
}

const AT_UPLINK_XDP: &[Reason] = &[
    Reason::Decapsulated,
    Reason::LeftToTc,
    Reason::Truncated,
    Reason::OuterChecksum,
    Reason::UdpLength,
    Reason::OuterFragment,
    Reason::VniFlagClear,
    Reason::ReservedBits,
    Reason::UnknownVni,
    Reason::OwnSource,
    Reason::InnerTruncated,
    Reason::InnerVlan,
    Reason::InvalidSourceMac,
    Reason::EcnNotCapable,
    Reason::NoFdbEntry,
    Reason::FloodOff,
    Reason::SplitHorizon,
    Reason::TableGap,
    Reason::StaticElsewhere,
    Reason::DuplicateMac,
    Reason::L2Control,
    Reason::MacLimit,
    Reason::UnlistedSource,
];

const AT_UPLINK: &[Reason] = &[
    Reason::Decapsulated,
    Reason::NotVxlan,
    Reason::NotOurAddress,
    Reason::LeftToKernel,
    Reason::LeftToStack,
    Reason::Truncated,
    Reason::OuterChecksum,
    Reason::UdpLength,
    Reason::OuterFragment,
    Reason::VniFlagClear,
    Reason::ReservedBits,
    Reason::UnknownVni,
    Reason::OwnSource,
    Reason::InnerTruncated,
    Reason::InnerVlan,
    Reason::InvalidSourceMac,
    Reason::EcnNotCapable,
    Reason::NoFdbEntry,
    Reason::FloodOff,
    Reason::SplitHorizon,
    Reason::TooBig,
    Reason::TableGap,
    Reason::StaticElsewhere,
    Reason::DuplicateMac,
    Reason::L2Control,
    Reason::MacLimit,
    Reason::UnlistedSource,
    Reason::BadSource,
    Reason::VlanHop,
];

// The slow-path device has read the outer headers and merged ECN.
const AT_TUNNEL: &[Reason] = &[
    Reason::Decapsulated,
    Reason::FloodedLocally,
    Reason::UnknownVni,
    Reason::OwnSource,
    Reason::InnerTruncated,
    Reason::InnerVlan,
    Reason::InvalidSourceMac,
    Reason::NoFdbEntry,
    Reason::NowhereToFlood,
    Reason::FloodOff,
    Reason::SplitHorizon,
    Reason::TooBig,
    Reason::TableGap,
    Reason::WrongDestination,
    Reason::StaticElsewhere,
    Reason::DuplicateMac,
    Reason::L2Control,
    Reason::MacLimit,
    Reason::UnlistedSource,
    Reason::VlanHop,
];

const AT_PORT: &[Reason] = &[
    Reason::Encapsulated,
    Reason::EncapsulatedByKernel,
    Reason::EncapsulatedUnresolved,
    Reason::Switched,
    Reason::Flooded,
    Reason::Truncated,
    Reason::InvalidSourceMac,
    Reason::NoFdbEntry,
    Reason::NowhereToFlood,
    Reason::FloodOff,
    Reason::SamePort,
    Reason::TooBig,
    Reason::VlanUnmapped,
    Reason::NotAPort,
    Reason::TableGap,
    Reason::NoRoute,
    Reason::Answered,
    Reason::UnknownNeigh,
    Reason::StaticElsewhere,
    Reason::DuplicateMac,
    Reason::L2Control,
    Reason::MacLimit,
    Reason::SpoofedMac,
    Reason::Isolated,
    Reason::BumRate,
    Reason::VlanHop,
];

const AT_PORT_XDP: &[Reason] = &[
    Reason::Encapsulated,
    Reason::LeftToTc,
    Reason::Truncated,
    Reason::InvalidSourceMac,
    Reason::SamePort,
    Reason::TooBig,
    Reason::VlanUnmapped,
    Reason::NotAPort,
    Reason::TableGap,
    Reason::NoRoute,
    Reason::StaticElsewhere,
    Reason::DuplicateMac,
    Reason::L2Control,
    Reason::MacLimit,
    Reason::SpoofedMac,
    Reason::Isolated,
    Reason::VlanHop,
];
