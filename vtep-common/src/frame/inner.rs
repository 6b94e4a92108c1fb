//! The inner frame, as far as the tunnel depends on it: read once, into plain numbers.

use crate::{
    abi::{addr::MacAddr, hash_table::Hasher},
    frame::{
        ecn,
        packet::{PacketRead, Tag, Window as _},
    },
    wire::{checksum::Sum, ethernet, ipv4, ipv6, sctp, tcp, udp, vlan},
};

/// What the headers of an inner frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Destination address.
    pub destination: MacAddr,
    /// Source address.
    pub source: MacAddr,
    /// `EtherType`, behind the outermost tag if there is one.
    pub ethertype: u16,
    /// The outermost tag, if [`TAGGED`](Self::TAGGED).
    pub tag: Tag,
    /// The `TAGGED` … bits below.
    pub flags: u8,
    /// TOS or traffic class: DSCP and ECN.
    pub tos: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv4 identification.
    pub id: u16,
    /// Hash of the flow: addresses, protocol and ports for TCP, UDP and SCTP; without ports for fragments and other
    /// protocols; MACs and `EtherType` for what is not IP.
    pub hash: u32,
    /// Bytes of headers from the Ethernet header on that each segment of a GSO packet repeats, an in-band tag included;
    /// where that cannot be told, the whole frame.
    pub headers_len: u32,
    /// Where [`CHECKSUM_PARTIAL`](Self::CHECKSUM_PARTIAL): the folded sum over the whole frame, without any tag, once the checksum is filled in.
    ///
    /// The transport segment then sums to the complement of its pseudo header (the kernel's "local checksum offload"), so only
    /// the headers before it are read.
    pub sum: u16,
}

impl Inner {
    /// There is a tag.
    pub const TAGGED: u8 = 1;
    /// The tag is in-band.
    pub const TAG_IN_BAND: u8 = 1 << 1;
    /// The payload is an IPv4 packet.
    pub const V4: u8 = 1 << 2;
    /// Behind the tag stands another one.
    pub const SECOND_TAG: u8 = 1 << 3;
    /// The packet must not be fragmented: DF is set, or it is IPv6.
    pub const DONT_FRAGMENT: u8 = 1 << 4;
    /// The transport checksum is still to be filled in by offload (`CHECKSUM_PARTIAL` in the kernel): its field holds the sum
    /// of the pseudo header, which is how it can be told. Never where the frame is of a kind that hides it: IP options,
    /// fragments, bytes behind the packet, other protocols.
    pub const CHECKSUM_PARTIAL: u8 = 1 << 5;
    /// The payload is an IP packet, of either version.
    pub const IP: u8 = 1 << 6;
    /// The packet is a TCP SYN.
    pub const SYN: u8 = 1 << 7;

    /// True if any of the bits `flag` is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// True if the payload is an IP packet.
    #[must_use]
    #[inline(always)]
    pub const fn is_ip(&self) -> bool {
        self.has(Self::IP)
    }

    /// Bytes of tag within the frame. Without a branch.
    #[must_use]
    #[inline(always)]
    pub const fn in_band_tag_len(&self) -> usize {
        const { assert!((Self::TAG_IN_BAND as usize) << 1 == vlan::LEN) };
        ((self.flags & Self::TAG_IN_BAND) << 1) as usize
    }

    /// Reads the headers of the frame that starts at `base`; `skb_tag` is its skb VLAN tag. `None`
    /// where the frame ends within its Ethernet header or tag.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "frames are shorter than 2^32 bytes"
    )]
    pub fn read<P: PacketRead + ?Sized>(
        frame: &P,
        base: usize,
        skb_tag: Option<Tag>,
    ) -> Option<Self> {
        let window = frame.window::<{ ethernet::LEN }>(base)?;
        let mut ethertype = window.be16(ethernet::TYPE_OFFSET);
        let mut tag = skb_tag.unwrap_or(Tag { tpid: 0, tci: 0 });
        let mut flags = if skb_tag.is_some() { Self::TAGGED } else { 0 };
        if skb_tag.is_none() && vlan::is_tag(ethertype) {
            let behind = frame.window::<{ vlan::LEN }>(base.wrapping_add(ethernet::LEN))?;
            tag = Tag {
                tpid: ethertype,
                tci: behind.be16(0),
            };
            flags = Self::TAGGED | Self::TAG_IN_BAND;
            ethertype = behind.be16(2);
        }
        // Of a frame without a tag, it would be the first.
        if vlan::is_tag(ethertype) {
            flags |= Self::SECOND_TAG;
        }
        // From here on, the verifier does not know how the frame is tagged.
        let flags = frame.opaque(flags);
        let mut inner = Self {
            destination: window.mac(ethernet::DESTINATION_OFFSET),
            source: window.mac(ethernet::SOURCE_OFFSET),
            ethertype,
            tag,
            flags,
            tos: 0,
            ttl: 0,
            id: 0,
            hash: 0,
            headers_len: frame.frame_len() as u32,
            sum: 0,
        };
        let macs = Sum::default()
            .dword(window.be32(0))
            .dword(window.be32(4))
            .dword(window.be32(8));
        let l3 = base
            .wrapping_add(ethernet::LEN)
            .wrapping_add(inner.in_band_tag_len());
        let macs = macs.word(inner.ethertype);
        let mut transport = Transport {
            protocol: u32::MAX,
            offset: l3,
            odd: 0,
            pseudo: Sum::default(),
            before: macs,
            hasher: Hasher::new(0),
        };
        let ip = match inner.ethertype {
            ethernet::TYPE_IPV4 => inner.read_v4(frame, l3, macs, &mut transport),
            ethernet::TYPE_IPV6 => inner.read_v6(frame, l3, macs, &mut transport),
            _ => false,
        };
        if ip {
            inner.read_transport(frame, base, &transport);
        } else {
            inner.hash = Hasher::new(u64::from(inner.ethertype))
                .add(inner.destination.get())
                .add(inner.source.get())
                .finish();
        }
        Some(inner)
    }

    #[inline(always)]
    fn read_v4<P: PacketRead + ?Sized>(
        &mut self,
        frame: &P,
        l3: usize,
        macs: Sum,
        transport: &mut Transport,
    ) -> bool {
        let Some(window) = frame.window::<{ ipv4::LEN }>(l3) else {
            return false;
        };
        let Some(header_len) = ipv4::header_len(window.byte(0)) else {
            return false;
        };
        let fragment = window.be16(ipv4::FRAGMENT_OFFSET);
        self.flags |= Self::IP | Self::V4 | dont_fragment_flag(fragment);
        self.tos = window.byte(ipv4::TOS_OFFSET);
        self.ttl = window.byte(ipv4::TTL_OFFSET);
        self.id = window.be16(ipv4::ID_OFFSET);
        let protocol = window.byte(ipv4::PROTOCOL_OFFSET);
        let source = window.be32(ipv4::SOURCE_OFFSET);
        let destination = window.be32(ipv4::DESTINATION_OFFSET);
        let total_len = usize::from(window.be16(ipv4::TOTAL_LEN_OFFSET));
        let segment_len = total_len.wrapping_sub(header_len);
        let end = l3.wrapping_add(total_len);
        *transport = Transport {
            protocol: whole_protocol(protocol, fragment & (ipv4::MF | ipv4::FRAGMENT_MASK)),
            offset: l3.wrapping_add(header_len),
            odd: (header_len ^ ipv4::LEN) | (end ^ frame.frame_len()),
            pseudo: Sum::default()
                .word(u16::from(protocol))
                .length(segment_len)
                .dword(source)
                .dword(destination),
            before: macs
                .dword(window.be32(0))
                .dword(window.be32(4))
                .dword(window.be32(8))
                .dword(source)
                .dword(destination),
            hasher: Hasher::new(u64::from(protocol))
                .add((u64::from(source) << 32) | u64::from(destination)),
        };
        true
    }

    #[inline(always)]
    fn read_v6<P: PacketRead + ?Sized>(
        &mut self,
        frame: &P,
        l3: usize,
        macs: Sum,
        transport: &mut Transport,
    ) -> bool {
        let Some(window) = frame.window::<{ ipv6::LEN }>(l3) else {
            return false;
        };
        if !ipv6::is_version_6(window.byte(0)) {
            return false;
        }
        self.flags |= Self::IP | Self::DONT_FRAGMENT;
        self.tos = ipv6::traffic_class(window.be16(0));
        self.ttl = window.byte(ipv6::HOP_LIMIT_OFFSET);
        let protocol = window.byte(ipv6::NEXT_HEADER_OFFSET);
        let segment_len = usize::from(window.be16(ipv6::PAYLOAD_LEN_OFFSET));
        let mut hasher = Hasher::new(u64::from(protocol));
        let mut addresses = Sum::default();
        // Four pairs of words: the two addresses.
        for pair in 0..4 {
            let at = ipv6::SOURCE_OFFSET.wrapping_add(8_usize.wrapping_mul(pair));
            let (first, second) = (window.be32(at), window.be32(at.wrapping_add(4)));
            hasher = hasher.add((u64::from(first) << 32) | u64::from(second));
            addresses = addresses.dword(first).dword(second);
        }
        let offset = l3.wrapping_add(ipv6::LEN);
        *transport = Transport {
            // A fragment has the fragment header's number, which is none of those with ports.
            protocol: u32::from(protocol),
            offset,
            odd: offset.wrapping_add(segment_len) ^ frame.frame_len(),
            pseudo: addresses.word(u16::from(protocol)).length(segment_len),
            before: addresses
                .plus(macs)
                .dword(window.be32(0))
                .dword(window.be32(4)),
            hasher,
        };
        true
    }

    /// Ports, length of the header and whether its checksum is pending.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "offsets within the headers are below 256"
    )]
    fn read_transport<P: PacketRead + ?Sized>(
        &mut self,
        frame: &P,
        base: usize,
        transport: &Transport,
    ) {
        let Transport {
            protocol,
            offset,
            odd,
            pseudo,
            before,
            hasher,
        } = *transport;
        let pseudo = pseudo.fold();
        let mut ports = 0;
        // Where there is no checksum field, as good as any sum but this one. The compiler must not know, or else it lets the upper bits
        // be anything, and the verifier takes this for another case than the others.
        let mut checksum = core::hint::black_box(u32::from(!pseudo));
        if protocol == u32::from(tcp::PROTOCOL) {
            if let Some(window) = frame.window::<{ tcp::LEN }>(offset) {
                ports = window.be32(0);
                checksum = window.be16(tcp::CHECKSUM_OFFSET).into();
                self.flags |= syn_flag(window.byte(tcp::FLAGS_OFFSET));
                let header_len = usize::from(window.byte(tcp::DATA_OFFSET) >> 4).wrapping_mul(4);
                self.headers_len = offset.wrapping_sub(base).wrapping_add(header_len) as u32;
            }
        } else if protocol == u32::from(udp::PROTOCOL) {
            if let Some(window) = frame.window::<{ udp::LEN }>(offset) {
                ports = window.be32(0);
                checksum = window.be16(udp::CHECKSUM_OFFSET).into();
                self.headers_len = offset.wrapping_sub(base).wrapping_add(udp::LEN) as u32;
            }
        } else if protocol == u32::from(sctp::PROTOCOL)
            && let Some(window) = frame.window::<4>(offset)
        {
            ports = window.be32(0);
        }
        self.hash = hasher.add(u64::from(ports)).finish();
        self.sum = before.word(!pseudo).fold();
        if odd == 0 && checksum == u32::from(pseudo) {
            self.flags |= Self::CHECKSUM_PARTIAL;
        }
    }
}

/// The flag [`Inner::DONT_FRAGMENT`] out of the IPv4 DF bit, without a branch.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "one bit is left")]
const fn dont_fragment_flag(fragment: u16) -> u8 {
    const { assert!(ipv4::DF == 1 << 14 && Inner::DONT_FRAGMENT == 1 << 4) };
    ((fragment >> 14 & 1) << 4) as u8
}

/// The flag [`Inner::SYN`] out of the flags of TCP, without a branch.
#[inline(always)]
const fn syn_flag(flags: u8) -> u8 {
    const { assert!(tcp::SYN == 1 << 1 && Inner::SYN == 1 << 7) };
    (flags & tcp::SYN) << 6
}

/// The protocol of a whole packet; a number that is none for a fragment. Without a branch.
#[inline(always)]
fn whole_protocol(protocol: u8, fragment: u16) -> u32 {
    u32::from(protocol) | (u32::from(fragment) << 8)
}

/// What the IP header says of the transport segment.
struct Transport {
    /// A number that is none where there are no ports.
    protocol: u32,
    /// Where it starts, bytes from the start of the frame.
    offset: usize,
    /// Not zero where there are IP options, or where the packet does not end with the frame.
    odd: usize,
    pseudo: Sum,
    /// Sum over the Ethernet header without a tag and the IP header.
    before: Sum,
    /// Hash of the flow, but for its ports.
    hasher: Hasher,
}

/// What a receiver needs of every inner frame: less than [`Inner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Destination address.
    pub destination: MacAddr,
    /// Source address.
    pub source: MacAddr,
    /// `EtherType`: that of the tag, if there is one.
    pub ethertype: u16,
    /// The frame has a whole Ethernet header; else nothing here means anything.
    pub whole: bool,
}

impl Received {
    /// Reads the frame that starts at `base`.
    #[inline(always)]
    pub fn read<P: PacketRead + ?Sized>(frame: &P, base: usize) -> Self {
        match frame.window::<{ ethernet::LEN }>(base) {
            Some(window) => Self {
                destination: window.mac(ethernet::DESTINATION_OFFSET),
                source: window.mac(ethernet::SOURCE_OFFSET),
                ethertype: window.be16(ethernet::TYPE_OFFSET),
                whole: true,
            },
            None => Self {
                destination: MacAddr::ZERO,
                source: MacAddr::ZERO,
                ethertype: 0,
                whole: false,
            },
        }
    }

    /// The frame has a tag in its bytes.
    #[must_use]
    #[inline(always)]
    pub const fn is_tagged(&self) -> bool {
        vlan::is_tag(self.ethertype)
    }

    /// TOS or traffic class of an IP packet at `l3`, else as if the inner field were congestion experienced: nothing then has to
    /// change.
    #[inline(always)]
    pub fn tos<P: PacketRead + ?Sized>(&self, frame: &P, l3: usize) -> u8 {
        let Some(window) = frame.window::<2>(l3) else {
            return ecn::CE;
        };
        let first_two = window.be16(0);
        match (self.ethertype, first_two >> 12) {
            (ethernet::TYPE_IPV4, 4) => window.byte(1),
            (ethernet::TYPE_IPV6, 6) => ipv6::traffic_class(first_two),
            _ => ecn::CE,
        }
    }
}
