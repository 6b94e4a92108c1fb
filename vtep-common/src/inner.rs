//! The inner frame, as far as the tunnel depends on it.

use crate::{
    packet::{PacketRead, Tag},
    wire::{checksum::Sum, ethernet, ipv4, ipv6, tcp, udp, vlan},
};

/// What an inner IP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InnerIp {
    /// IPv6 rather than IPv4.
    pub v6: bool,
    /// TOS or traffic class: DSCP and ECN.
    pub tos: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The packet must not be fragmented: DF is set, or it is IPv6.
    pub dont_fragment: bool,
    /// Identification, 0 for IPv6.
    pub id: u16,
    /// Protocol, or the first next header.
    pub protocol: u8,
    /// A fragment, of which only the first has ports: flows are told by addresses alone.
    pub fragment: bool,
    /// Offset of the IP header in the frame, bytes.
    pub l3: usize,
    /// Offset of what follows the IP header, bytes.
    pub l4: usize,
    /// Bytes from `l4` to the end of the packet, as the header says.
    pub l4_len: usize,
}

impl InnerIp {
    /// Reads the IP header at `l3`; `None` where `ethertype` is not IP or the header is not sound.
    #[inline(always)]
    pub fn read<P: PacketRead + ?Sized>(frame: &P, ethertype: u16, l3: usize) -> Option<Self> {
        if ethertype == ethernet::TYPE_IPV4 {
            Self::read_v4(frame, l3)
        } else if ethertype == ethernet::TYPE_IPV6 {
            Self::read_v6(frame, l3)
        } else {
            None
        }
    }

    #[inline(always)]
    fn read_v4<P: PacketRead + ?Sized>(frame: &P, l3: usize) -> Option<Self> {
        let [first, tos] = frame.load::<2>(l3)?;
        let header_len = ipv4::header_len(first)?;
        let total_len = usize::from(frame.be16(l3.wrapping_add(ipv4::TOTAL_LEN_OFFSET))?);
        let id = frame.be16(l3.wrapping_add(ipv4::ID_OFFSET))?;
        let fragment = frame.be16(l3.wrapping_add(ipv4::FRAGMENT_OFFSET))?;
        let [ttl, protocol] = frame.load::<2>(l3.wrapping_add(ipv4::TTL_OFFSET))?;
        Some(Self {
            v6: false,
            tos,
            ttl,
            dont_fragment: fragment & ipv4::DF != 0,
            id,
            protocol,
            fragment: fragment & (ipv4::MF | ipv4::FRAGMENT_MASK) != 0,
            l3,
            l4: l3.wrapping_add(header_len),
            l4_len: total_len.saturating_sub(header_len),
        })
    }

    #[inline(always)]
    fn read_v6<P: PacketRead + ?Sized>(frame: &P, l3: usize) -> Option<Self> {
        let first_two = frame.be16(l3)?;
        let [first, _] = first_two.to_be_bytes();
        if !ipv6::is_version_6(first) {
            return None;
        }
        let payload_len = usize::from(frame.be16(l3.wrapping_add(ipv6::PAYLOAD_LEN_OFFSET))?);
        let [protocol, ttl] = frame.load::<2>(l3.wrapping_add(ipv6::NEXT_HEADER_OFFSET))?;
        Some(Self {
            v6: true,
            tos: ipv6::traffic_class(first_two),
            ttl,
            dont_fragment: true,
            id: 0,
            protocol,
            fragment: protocol == ipv6::FRAGMENT,
            l3,
            l4: l3.wrapping_add(ipv6::LEN),
            l4_len: payload_len,
        })
    }

    /// Bytes of headers that each segment of a super-frame repeats after the Ethernet header: IP and TCP or UDP.
    #[inline(always)]
    pub fn segment_headers_len<P: PacketRead + ?Sized>(&self, frame: &P) -> Option<usize> {
        let ip_len = self.l4.wrapping_sub(self.l3);
        match self.protocol {
            tcp::PROTOCOL => {
                let words = frame.byte(self.l4.wrapping_add(tcp::DATA_OFFSET))? >> 4;
                Some(ip_len.wrapping_add(usize::from(words).wrapping_mul(4)))
            }
            udp::PROTOCOL => Some(ip_len.wrapping_add(udp::LEN)),
            _ => None,
        }
    }

    /// If the transport checksum is still to be filled in by offload, the sum of the pseudo header, which its field then holds.
    ///
    /// That is how checksum offload leaves a packet (`CHECKSUM_PARTIAL` in the kernel). `None` also where the frame is of a
    /// kind that this cannot tell: IP options, fragments, bytes behind the packet, other protocols.
    #[inline(always)]
    pub fn pending_checksum<P: PacketRead + ?Sized>(&self, frame: &P) -> Option<u16> {
        let offset = match self.protocol {
            tcp::PROTOCOL => tcp::CHECKSUM_OFFSET,
            udp::PROTOCOL => udp::CHECKSUM_OFFSET,
            _ => return None,
        };
        let plain_len = if self.v6 { ipv6::LEN } else { ipv4::LEN };
        if self.fragment
            || self.l4.wrapping_sub(self.l3) != plain_len
            || self.l4.wrapping_add(self.l4_len) != frame.frame_len()
            || self.l4_len > usize::from(u16::MAX)
        {
            return None;
        }
        let field = frame.be16(self.l4.wrapping_add(offset))?;
        let mut sum = Sum::default()
            .word(u16::from(self.protocol))
            .word(u16::try_from(self.l4_len).ok()?);
        if self.v6 {
            let at = self.l3.wrapping_add(ipv6::SOURCE_OFFSET);
            sum = sum
                .dword(frame.be32(at)?)
                .dword(frame.be32(at.wrapping_add(4))?)
                .dword(frame.be32(at.wrapping_add(8))?)
                .dword(frame.be32(at.wrapping_add(12))?)
                .dword(frame.be32(at.wrapping_add(16))?)
                .dword(frame.be32(at.wrapping_add(20))?)
                .dword(frame.be32(at.wrapping_add(24))?)
                .dword(frame.be32(at.wrapping_add(28))?);
        } else {
            let at = self.l3.wrapping_add(ipv4::SOURCE_OFFSET);
            sum = sum
                .dword(frame.be32(at)?)
                .dword(frame.be32(at.wrapping_add(4))?);
        }
        let pseudo = sum.fold();
        if field == pseudo { Some(pseudo) } else { None }
    }

    /// The sum over the whole inner frame once offload has filled in the transport checksum `pending`, tag `carried` included.
    ///
    /// The transport segment then sums to the complement of its pseudo header (the kernel's "local checksum offload"), so the
    /// headers before it are all that is read. Not folded with anything outside.
    #[inline(always)]
    pub fn completed_sum<P: PacketRead + ?Sized>(
        &self,
        frame: &P,
        pending: u16,
        carried: Option<Tag>,
        strip: bool,
    ) -> Option<u16> {
        let ethertype_at = self.l3.wrapping_sub(2);
        let mut sum = Sum::default()
            .word(!pending)
            .dword(frame.be32(0)?)
            .dword(frame.be32(4)?)
            .dword(frame.be32(8)?)
            .word(frame.be16(ethertype_at)?);
        if let Some(tag) = carried {
            sum = sum.word(tag.tpid).word(tag.tci);
        } else if !strip && self.l3 == ethernet::LEN.wrapping_add(vlan::LEN) {
            sum = sum.dword(frame.be32(ethernet::TYPE_OFFSET)?);
        }
        let at = self.l3;
        sum = sum
            .dword(frame.be32(at)?)
            .dword(frame.be32(at.wrapping_add(4))?)
            .dword(frame.be32(at.wrapping_add(8))?)
            .dword(frame.be32(at.wrapping_add(12))?)
            .dword(frame.be32(at.wrapping_add(16))?);
        if self.v6 {
            sum = sum
                .dword(frame.be32(at.wrapping_add(20))?)
                .dword(frame.be32(at.wrapping_add(24))?)
                .dword(frame.be32(at.wrapping_add(28))?)
                .dword(frame.be32(at.wrapping_add(32))?)
                .dword(frame.be32(at.wrapping_add(36))?);
        }
        Some(sum.fold())
    }
}
