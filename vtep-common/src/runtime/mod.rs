//! The seam: all that a decision sees of the place where it runs.
//!
//! In the kernel a [`Runtime`] stands over packet memory and BPF maps, and carries a verdict out. On the host it stands over a slice
//! and ordinary maps, and writes the verdict down. What the verifier needs is in the kernel's implementation, and here in two words:
//!
//! - A value is *spilled* to its scratch slot, where a function that the verifier checks by itself reads it. [`Runtime::Spilled`]
//!   proves that it was.
//! - A value is *opaque* if the verifier does not know how it came about. It follows every path on its own, and would walk through
//!   the rest of the program once for each way in which a value can be made.

pub mod arrival;
pub mod lookup;
mod slot;
pub mod tables;
pub mod verdict;

use core::ops::Deref;

use crate::{
    abi::{
        addr::MacAddr,
        fdb::FdbKey,
        id::{ListId, PeerId, PortSlot},
        peer::Peer,
        policer::Policed,
        port::PortKey,
        reason::Reason,
    },
    frame::{
        alone,
        claim::Upper,
        inner::Inner,
        mss,
        neigh::{Answer, Message},
        packet::{Meta, PacketRead},
        pending,
        vlan::ShownVlan,
    },
    runtime::{
        arrival::{Arrival, Carried, Ingress},
        lookup::Lookup,
        tables::Tables,
        verdict::{
            Account, Deliver, Encap, Flood, Notice, Recipient, Refused, Resolved, TooBigAnswer,
        },
    },
    wire::ethernet,
};

pub use self::slot::{EventHost, EventVtep, Slot, SlotName};

/// The headers of a frame from a port, and what else is known of it.
pub type FoundIngress<'a, R> = (
    <R as Runtime>::Spilled<'a, Inner>,
    <R as Runtime>::Spilled<'a, Ingress>,
);

/// Where a decision runs.
///
/// A decision ends by calling one of the verdicts, rather than by returning one: in the kernel each call is where the frame is dealt
/// with, and no half-filled value travels between the two, which the verifier would refuse.
pub trait Runtime {
    /// The frame.
    type Frame: PacketRead + ?Sized;
    /// The tables.
    type Tables: Tables;
    /// A value that stands in its scratch slot, where the runtime has one.
    type Spilled<'a, T: Slot + 'a>: Deref<Target = T>
    where
        Self: 'a;
    /// A value of which the verifier does not know how it came about, where that matters.
    type Opaque<'a, T: Slot + 'a>: Deref<Target = T>
    where
        Self: 'a;
    /// What a program returns.
    type Outcome;

    /// The bytes of the frame.
    fn frame(&self) -> &Self::Frame;
    /// What the kernel knows of the frame that does not stand in its bytes.
    fn meta(&self) -> &Meta;
    /// The tables.
    fn tables(&self) -> &Self::Tables;
    /// True if the host takes frames to this MAC from the interface: to groups, and to that of the interface or of the bridge over it. False at XDP
    /// where that is not certain.
    fn takes(&self, destination: MacAddr) -> bool;

    /// What is known of a frame from a port: [`crate::decide::port::ingress::find`].
    ///
    /// # Errors
    ///
    /// As there.
    fn ingress(&self) -> Result<FoundIngress<'_, Self>, Refused>;
    /// The same, and how the frame is carried.
    ///
    /// # Errors
    ///
    /// As there.
    fn carried(&self) -> Result<(FoundIngress<'_, Self>, Self::Spilled<'_, Carried>), Refused>;
    /// What is known of a packet at an uplink: [`crate::decide::uplink::find`].
    ///
    /// # Errors
    ///
    /// As there.
    fn arrival(&self) -> Result<Self::Spilled<'_, Arrival>, Refused>;
    /// What is known of a frame that the slow-path device has decapsulated: [`crate::decide::tunnel::find`].
    ///
    /// # Errors
    ///
    /// As there.
    fn decapsulated(&self) -> Result<Self::Spilled<'_, Arrival>, Refused>;
    /// All that the hash tables know of a frame from a port with these addresses: [`Lookup::of_port`].
    fn lookup_port(&self, key: PortKey, source: MacAddr, destination: MacAddr) -> Lookup {
        Lookup::of_port(key, source, destination, self.tables())
    }
    /// The ARP or ND message at `l3` of a frame from `source`: [`Message::read`].
    fn message(&self, l3: usize, ethertype: u16, source: MacAddr) -> Option<Message>;

    /// What stands behind the extension headers that begin at `at` with one of the kind `next`: [`Upper::find`].
    fn upper(&self, at: usize, next: u8) -> Upper {
        Upper::find(self.frame(), at, next)
    }

    /// True for a SYN whose IP packet begins at `l3`: [`mss::is_syn`].
    fn is_syn(&self, l3: usize, ethertype: u16) -> bool {
        mss::is_syn(self.frame(), l3, ethertype)
    }

    /// True if the checksum of a frame from a port may still be to be filled in, though [`Inner`] does not say so: [`pending::may_be`].
    fn may_be_pending(&self, inner: &Inner) -> bool {
        let l3 = ethernet::LEN.wrapping_add(inner.in_band_tag_len());
        let len = self.frame().frame_len().wrapping_sub(l3);
        pending::may_be(self.frame(), l3, inner.ethertype, len)
    }

    /// True if a frame claims to be from addresses of its port alone: [`claim::is_own`](crate::frame::claim::is_own).
    fn is_own(
        &self,
        inner: &Self::Spilled<'_, Inner>,
        ingress: &Self::Spilled<'_, Ingress>,
    ) -> bool;
    /// The VLAN that a frame from a port shows elsewhere: [`ShownVlan::of_carried`].
    fn shown_by_port(
        &self,
        inner: &Self::Spilled<'_, Inner>,
        carried: &Self::Spilled<'_, Carried>,
    ) -> ShownVlan;
    /// The VLAN that a frame from a VTEP shows: [`ShownVlan::of_received`].
    fn shown_by_vtep(&self, arrival: &Self::Spilled<'_, Arrival>) -> ShownVlan;
    /// The bytes that rates count of a frame from a port: [`crate::decide::police::bytes`].
    fn policed_carried(
        &self,
        inner: &Self::Spilled<'_, Inner>,
        carried: &Self::Spilled<'_, Carried>,
    ) -> u32;
    /// The bytes that rates count of a frame from a VTEP: [`crate::decide::police::bytes_from_vtep`].
    fn policed_arrival(&self, arrival: &Self::Spilled<'_, Arrival>) -> u32;

    /// Writes a value to its scratch slot. A decision spills a type once.
    fn spill<'a, T: Slot>(&'a self, value: &'a T) -> Self::Spilled<'a, T>;
    /// The same value; where it matters, the verifier no longer knows how it came about. A decision does this once for a type.
    fn opaque<'a, T: Slot>(&'a self, value: &'a T) -> Self::Opaque<'a, T>;

    /// True if the inner packet of a frame from a VTEP can go on without its outer headers: [`alone::stands`].
    fn stands_alone(&self, arrival: &Self::Spilled<'_, Arrival>) -> bool {
        alone::stands(
            self.frame(),
            arrival.l3(),
            arrival.read.ethertype,
            arrival.payload_len(),
            self.meta().gso_size,
        )
    }
    /// Nothing is done to the frame: it passes, goes on to the next hook, or is dropped, as the reason's class says.
    fn leave(&self, account: &Account, reason: Reason) -> Self::Outcome;
    /// As [`leave`](Self::leave), for a frame that was for this recipient.
    fn lose(&self, account: &Account, to: Recipient, reason: Reason) -> Self::Outcome;
    /// Encapsulates the frame and sends it to a VTEP: `in_place`, or else through the slow-path device.
    fn encap(
        &self,
        account: &Account,
        encap: &Self::Opaque<'_, Encap>,
        peer: &Peer,
        in_place: bool,
    ) -> Self::Outcome;
    /// Delivers the frame to a local port.
    fn deliver(&self, account: &Account, deliver: &Deliver) -> Self::Outcome;
    /// Copies a frame from a port to the targets of a flood list.
    fn flood(&self, account: &Account, flood: &Flood) -> Self::Outcome;
    /// Copies a frame from a VTEP, which shows a VLAN and counts as so many bytes for rates, to the local ports of a flood list.
    fn flood_ports(
        &self,
        account: &Account,
        list: ListId,
        shows: (ShownVlan, u32),
    ) -> Self::Outcome;
    /// Answers an ARP or ND request.
    fn answer(&self, account: &Account, answer: &Answer) -> Self::Outcome;
    /// Has the sender of a frame that is too big for its VTEP told so. The frame itself ends here.
    fn answer_too_big(&self, account: &Account, answer: &TooBigAnswer) -> Self::Outcome;
    /// Tail call: [`crate::decide::port::guard`] goes on.
    fn to_guard(&self, account: &Account) -> Self::Outcome;
    /// Tail call: [`crate::decide::port::neigh`] goes on.
    fn to_neigh(&self, account: &Account) -> Self::Outcome;
    /// Tail call: [`crate::decide::port::unknown`] goes on.
    fn to_unknown(&self, account: &Account) -> Self::Outcome;
    /// Tail call with a handoff: the last stage at a port goes on, with where the frame goes.
    fn to_resolved(&self, account: &Account, resolved: &Resolved) -> Self::Outcome;

    /// Tail call with a handoff: [`crate::decide::port::clamp`] goes on, with the peer that the SYN goes to.
    fn to_clamp(&self, account: &Account, peer: PeerId) -> Self::Outcome;
    /// Tail call with a handoff: [`crate::decide::tunnel::clamp`] goes on, with the port that the SYN from a VTEP goes to.
    fn to_clamp_received(&self, account: &Account, to: &Resolved) -> Self::Outcome;
    /// Tail call with a handoff: [`crate::decide::port::too_big`] goes on, with the peer that the frame is too big for.
    fn to_too_big(&self, account: &Account, peer: PeerId) -> Self::Outcome;

    /// Lowers what a SYN offers, on the way to a verdict: [`Clamp::find`](crate::frame::mss::Clamp::find).
    fn clamp(&self, l3: usize, ethertype: u16, mtu: u32);
    /// Takes one out of what may be answered at a port; false where nothing is left. [`crate::decide::police::take`] decides.
    fn take_answer(&self, slot: PortSlot) -> bool;
    /// Takes so much out of what the rate of a port leaves; false where that is less. [`crate::decide::police::take`] decides.
    fn take(&self, slot: PortSlot, what: Policed, amount: u32) -> bool;
    /// Notifies the daemon, on the way to a verdict.
    fn notify(&self, account: &Account, notice: &Notice<'_>);
    /// Refreshes the stamp of a learned entry, on the way to a verdict.
    fn refresh(&self, key: &FdbKey);
}
