//! What is known of a frame once its VNI is found: plain numbers.

use crate::{
    abi::{
        addr::VtepAddr,
        fdb::PackedTarget,
        flags::PortFlags,
        flags::SegmentFlags,
        id::{PeerId, PortSlot, SegmentId},
        port::Port,
    },
    frame::{claim::Owner, inner::Received, vlan::VlanEdit},
    runtime::{lookup::Seen, tables::Tables, verdict::Account},
    wire::ethernet,
};

/// A frame from a port.
#[derive(Clone, Copy, Debug)]
pub struct Ingress {
    /// The port.
    pub slot: PortSlot,
    /// The segment.
    pub segment: SegmentId,
    /// Its settings.
    pub settings: SegmentFlags,
    /// What the FDB says of its source.
    pub seen: Seen,
    /// Where the FDB has its destination.
    pub destination: PackedTarget,
    /// What becomes of its tag.
    pub edit: VlanEdit,
    /// The flags of the port; without [`Port::GUARD_IP`] where the frame has passed it.
    pub port: PortFlags,
}

impl Ingress {
    /// The account of the frame, of `frame_len` bytes.
    #[must_use]
    #[inline(always)]
    pub const fn account(&self, frame_len: usize) -> Account {
        Account {
            segment: self.segment,
            from_port: self.slot,
            ..Account::unknown(frame_len)
        }
    }
}

/// A frame from a port as it is carried, and the outer header that it gets: plain numbers.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    /// The port.
    pub slot: PortSlot,
    /// The frame is a GSO packet if this is not zero.
    pub gso_size: u32,
    /// Bytes of the frame as it is carried.
    pub len: u32,
    /// The same; of a GSO packet, of each frame that it is segmented into.
    pub segmented_len: u32,
    /// The VNI.
    pub vni: u32,
    /// UDP source port.
    pub source_port: u16,
    /// Outer TTL or hop limit.
    pub ttl: u8,
    /// Outer TOS or traffic class.
    pub tos: u8,
    /// DF is set.
    pub dont_fragment: bool,
    /// IPv4 identification of the outer packet: none where it is never fragmented (RFC 6864 section 4), else that of the inner packet,
    /// so that packets in a row differ, or what else there is.
    pub id: u16,
    /// What becomes of its tag.
    pub edit: VlanEdit,
}

/// A frame from a VTEP, when its inner Ethernet header is reached.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The headers of the inner frame.
    pub read: Received,
    /// The VTEP that sent it.
    pub vtep: VtepAddr,
    /// The segment.
    pub segment: SegmentId,
    /// Its settings.
    pub settings: SegmentFlags,
    /// The peer that it came from, or [`PeerId::NONE`].
    pub peer: PeerId,
    /// What the FDB says of its source.
    pub seen: Seen,
    /// Where the FDB has its destination.
    pub destination: PackedTarget,
    /// Bytes of the inner frame.
    pub len: usize,
    /// The outer headers that are still to be taken off.
    pub outer: Encapsulation,
}

/// The outer headers in front of an inner frame.
#[derive(Clone, Copy, Debug)]
pub struct Encapsulation {
    /// Their bytes.
    pub len: usize,
    /// TOS or traffic class.
    pub tos: u8,
    /// They are IPv6.
    pub v6: bool,
    /// A header bit is set that RFC 7348 reserves.
    pub reserved: bool,
    /// Bytes follow the packet in the frame.
    pub trailer: bool,
}

impl Encapsulation {
    /// None: the slow-path device has taken them off, and merged the TOS.
    pub const NONE: Self = Self {
        len: 0,
        tos: 0,
        v6: false,
        reserved: false,
        trailer: false,
    };
}

impl Arrival {
    /// Where the payload of the inner Ethernet header begins, bytes.
    #[must_use]
    #[inline(always)]
    pub const fn l3(&self) -> usize {
        self.outer.len.wrapping_add(ethernet::LEN)
    }

    /// Bytes behind the inner Ethernet header.
    #[must_use]
    #[inline(always)]
    pub const fn payload_len(&self) -> usize {
        self.len.wrapping_sub(ethernet::LEN)
    }

    /// The account of the frame.
    #[must_use]
    #[inline(always)]
    pub const fn account(&self) -> Account {
        Account {
            segment: self.segment,
            from_peer: self.peer,
            ..Account::unknown(self.len)
        }
    }
}

/// The port of a frame, as the one whom it may claim to be from.
#[derive(Clone, Copy, Debug)]
pub struct PortOwner<'a, T> {
    /// The tables.
    pub tables: &'a T,
    /// What is known of the frame.
    pub ingress: &'a Ingress,
}

impl<T: Tables> Owner for PortOwner<'_, T> {
    #[inline(always)]
    fn owns(&self, addr: &VtepAddr) -> bool {
        self.tables.owns(self.ingress.slot, addr)
    }

    #[inline(always)]
    fn is_router(&self) -> bool {
        self.ingress.port.has(Port::ROUTER)
    }
}
