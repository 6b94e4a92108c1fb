//! The scratch slots.

use bytemuck::{Pod, Zeroable};

use crate::{
    abi::reason::Reason,
    frame::{
        inner::{Inner, Received},
        neigh::{ARP_WORDS, Answer, Message, ND_WORDS},
        outer::Outer,
    },
    runtime::{
        arrival::{Arrival, Carried, Ingress},
        lookup::Lookup,
        verdict::{Encap, End, Flood, Resolved},
    },
};

/// A type with a scratch slot: the slot of this name holds nothing else.
pub trait Slot: Copy {
    /// Its slot.
    const NAME: SlotName;
}

/// The VTEP of an event on its way: the words of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct EventVtep(pub [u64; 2]);

/// The host of an event on its way, likewise.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct EventHost(pub [u64; 2]);

/// Defines the names, and the types from here and below that have them.
macro_rules! slots {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)+ ; $($(#[$above:meta])* $other:ident,)+) => {
        /// The scratch slots, each named after the type that it holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum SlotName {
            $($(#[$doc])* $name,)+
            $($(#[$above])* $other,)+
        }

        impl SlotName {
            /// Number of slots.
            pub const COUNT: usize = [$(Self::$name,)+ $(Self::$other,)+].len();
        }

        $(impl Slot for $type {
            const NAME: SlotName = SlotName::$name;
        })+
    };
}

slots! {
    /// The headers of a frame from a port.
    Inner: Inner,
    /// What is known of it.
    Ingress: Ingress,
    /// The headers of an inner frame from a VTEP.
    Received: Received,
    /// What is known of it.
    Arrival: Arrival,
    /// The outer headers of a packet from a VTEP.
    Outer: Outer,
    /// A frame from a port as it is carried.
    Carried: Carried,
    /// Why outer headers are not taken off.
    Reason: Reason,
    /// What the hash tables say.
    Lookup: Lookup,
    /// An ARP or ND message.
    Message: Message,
    /// Where an unknown destination was found.
    Resolved: Resolved,
    /// An encapsulation.
    Encap: Encap,
    /// A flood.
    Flood: Flood,
    /// An answer to an ARP or ND request.
    Answer: Answer,
    /// Its words over IPv4.
    ArpWords: [u16; ARP_WORDS],
    /// Its words over IPv6.
    NdWords: [u32; ND_WORDS],
    /// The VTEP of an event.
    EventVtep: EventVtep,
    /// The host of an event.
    EventHost: EventHost,
    /// What became of a frame.
    End: End,
    ;
    /// The headers that encapsulation writes.
    Headers,
}
