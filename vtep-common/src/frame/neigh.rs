//! ARP and ND: what a message says, and the answer to one that asks.

use crate::{
    abi::addr::{MacAddr, VtepAddr},
    frame::packet::{PacketRead, Window},
    wire::{arp, checksum::Sum, ethernet, icmpv6, ipv4, ipv6},
};

/// What an ARP or ND message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The host that says it is at the source MAC of the frame, where [`CLAIM`](Self::CLAIM).
    pub host: VtepAddr,
    /// The address that is asked for, where [`REQUEST`](Self::REQUEST).
    pub target: VtepAddr,
    /// The `REQUEST` … bits below.
    pub flags: u8,
}

/// True if a frame may hold an ARP or ND message, by what its first headers say.
#[must_use]
#[inline(always)]
pub const fn may_be(ethertype: u16, ttl: u8) -> bool {
    ethertype == arp::ETHERTYPE || ethertype == ethernet::TYPE_IPV6 && ttl == icmpv6::HOP_LIMIT
}

/// True if a frame holds ARP, or an ND message by its IPv6 header and its type. The rest of it is not looked at.
#[must_use]
#[inline(always)]
pub fn looks_like<P: PacketRead + ?Sized>(frame: &P, l3: usize, ethertype: u16) -> bool {
    if ethertype != ethernet::TYPE_IPV6 {
        return ethertype == arp::ETHERTYPE;
    }
    let Some(window) = frame.window::<{ ipv6::LEN + 1 }>(l3) else {
        return false;
    };
    // One comparison for all, because the verifier follows both ways of each.
    const { assert!(ipv6::HOP_LIMIT_OFFSET == ipv6::NEXT_HEADER_OFFSET + 1) };
    const { assert!(icmpv6::ADVERTISEMENT == icmpv6::SOLICITATION + 1) };
    let header = window.be16(ipv6::NEXT_HEADER_OFFSET)
        ^ u16::from_be_bytes([icmpv6::PROTOCOL, icmpv6::HOP_LIMIT]);
    let kind = window.byte(ipv6::LEN).wrapping_sub(icmpv6::SOLICITATION);
    u32::from(header) << 8 | u32::from(kind) <= 1
}

impl Message {
    /// It asks for an address, also to see whether it is free (RFC 5227 section 2.1.1, RFC 4862 section 5.4).
    pub const REQUEST: u8 = 1;
    /// Nobody asked for it: a gratuitous ARP, or an unsolicited neighbour advertisement.
    pub const UNSOLICITED: u8 = 1 << 1;
    /// The host says that it is a router.
    pub const ROUTER: u8 = 1 << 2;
    /// It says where a host is.
    pub const CLAIM: u8 = 1 << 3;
    /// It says whether the host is a router: a neighbour advertisement.
    pub const ADVERTISED: u8 = 1 << 4;

    /// What nothing says.
    #[must_use]
    #[inline(always)]
    pub const fn nothing() -> Self {
        Self {
            host: VtepAddr::from_v6_be([0; 4]),
            target: VtepAddr::from_v6_be([0; 4]),
            flags: 0,
        }
    }

    /// True if any of the bits `flag` is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Reads the message behind the Ethernet header, at `l3`, of a frame from `source`. False where there is none, or none to
    /// be believed: wrong lengths, a wrong checksum, a sender other than the source of the frame.
    #[inline(always)]
    pub fn read<P: PacketRead + ?Sized>(
        &mut self,
        frame: &P,
        l3: usize,
        ethertype: u16,
        source: MacAddr,
    ) -> bool {
        let read = match ethertype {
            arp::ETHERTYPE => self.read_arp(frame, l3, source),
            ethernet::TYPE_IPV6 => self.read_nd(frame, l3, source),
            _ => false,
        };
        self.flags = frame.opaque(self.flags);
        read
    }

    #[inline(always)]
    fn read_arp<P: PacketRead + ?Sized>(&mut self, frame: &P, l3: usize, source: MacAddr) -> bool {
        let Some(window) = frame.window::<{ arp::LEN }>(l3) else {
            return false;
        };
        let operation = window.be16(arp::OPERATION_OFFSET);
        if window.be32(0) != arp::TYPES
            || window.be16(arp::LENGTHS_OFFSET) != arp::LENGTHS
            || window.mac(arp::SENDER_MAC_OFFSET) != source
            || !(operation == arp::REQUEST || operation == arp::REPLY)
        {
            return false;
        }
        let host = window.be32(arp::SENDER_OFFSET);
        let target = window.be32(arp::TARGET_OFFSET);
        if is_v4_group(host) || is_v4_group(target) {
            return false;
        }
        self.host = VtepAddr::from_v4_be(host.to_be());
        self.target = VtepAddr::from_v4_be(target.to_be());
        // A probe comes from nobody yet.
        let claim = if host == 0 { 0 } else { Self::CLAIM };
        self.flags = claim
            | if host == target {
                Self::UNSOLICITED
            } else if operation == arp::REQUEST {
                Self::REQUEST
            } else {
                0
            };
        true
    }

    #[inline(always)]
    fn read_nd<P: PacketRead + ?Sized>(&mut self, frame: &P, l3: usize, source: MacAddr) -> bool {
        let Some(window) = frame.window::<{ ipv6::LEN + icmpv6::LEN }>(l3) else {
            return false;
        };
        let len = usize::from(window.be16(ipv6::PAYLOAD_LEN_OFFSET));
        // Summed up before anything is asked, so that the verifier does it once.
        let mut sum = Sum::default().word(u16::from(icmpv6::PROTOCOL)).length(len);
        for index in 0..(ipv6::LEN + icmpv6::LEN - ipv6::SOURCE_OFFSET) / 4 {
            sum = sum.dword(window.be32(ipv6::SOURCE_OFFSET.wrapping_add(index.wrapping_mul(4))));
        }
        let first = window.be16(ipv6::LEN);
        let solicitation = first == u16::from(icmpv6::SOLICITATION) << 8;
        if !ipv6::is_version_6(window.byte(0))
            || window.byte(ipv6::NEXT_HEADER_OFFSET) != icmpv6::PROTOCOL
            || window.byte(ipv6::HOP_LIMIT_OFFSET) != icmpv6::HOP_LIMIT
            || !(solicitation || first == u16::from(icmpv6::ADVERTISEMENT) << 8)
            || len > icmpv6::LEN + 2 * icmpv6::OPTION_LEN
            || !len.is_multiple_of(icmpv6::OPTION_LEN)
            || len < icmpv6::LEN
            || l3.wrapping_add(ipv6::LEN).wrapping_add(len) > frame.frame_len()
        {
            return false;
        }
        // From here on the same for both, as far as the verifier can tell.
        let solicits = frame.opaque(u8::from(solicitation));
        const { assert!(icmpv6::TARGET_MAC - icmpv6::SOURCE_MAC == 1 << 8) };
        let wanted = icmpv6::TARGET_MAC.wrapping_sub(u16::from(solicits) << 8);
        // At most two options: a MAC, and a nonce beside it (RFC 7527).
        let mut said = false;
        for index in 0..2_usize {
            let at = icmpv6::LEN.wrapping_add(index.wrapping_mul(icmpv6::OPTION_LEN));
            if at >= len {
                break;
            }
            let Some(option) =
                frame.window::<{ icmpv6::OPTION_LEN }>(l3.wrapping_add(ipv6::LEN).wrapping_add(at))
            else {
                return false;
            };
            sum = sum.dword(option.be32(0)).dword(option.be32(4));
            // A length of zero, or past the end, makes the message none (RFC 4861 section 7.1.1); longer options say nothing here.
            if option.byte(1) != 1 {
                return false;
            }
            if option.be16(0) == wanted {
                if option.mac(2) != source {
                    return false;
                }
                said = true;
            }
        }
        if sum.fold() != 0xffff {
            return false;
        }
        self.target = v6_at(window, ipv6::LEN + icmpv6::TARGET_OFFSET);
        if window.byte(ipv6::LEN + icmpv6::TARGET_OFFSET) == V6_GROUP {
            return false;
        }
        if solicits != 0 {
            self.host = v6_at(window, ipv6::SOURCE_OFFSET);
            let nobody = is_unspecified(self.host);
            // Nobody has no MAC to tell, and a group sends nothing.
            if nobody && said || window.byte(ipv6::SOURCE_OFFSET) == V6_GROUP {
                return false;
            }
            self.flags = Self::REQUEST | if nobody { 0 } else { Self::CLAIM };
        } else {
            let flags = window.be32(ipv6::LEN + icmpv6::FLAGS_OFFSET);
            self.host = self.target;
            if is_unspecified(self.host) {
                return false;
            }
            self.flags = Self::CLAIM
                | Self::ADVERTISED
                | if flags & icmpv6::SOLICITED == 0 {
                    Self::UNSOLICITED
                } else {
                    0
                }
                | if flags & icmpv6::ROUTER == 0 {
                    0
                } else {
                    Self::ROUTER
                };
        }
        true
    }
}

/// First byte of every IPv6 group.
const V6_GROUP: u8 = 0xff;

/// True for a group, or the broadcast address.
const fn is_v4_group(word: u32) -> bool {
    word >> 28 >= 0xe
}

#[inline(always)]
const fn is_unspecified(addr: VtepAddr) -> bool {
    let [a, b, c, d] = addr.words_be();
    a | b | c | d == 0
}

#[inline(always)]
fn v6_at<W: Window>(window: W, at: usize) -> VtepAddr {
    let word = |index: usize| window.be32(at.wrapping_add(index.wrapping_mul(4))).to_be();
    VtepAddr::from_v6_be([word(0), word(1), word(2), word(3)])
}

/// The destination of the IP packet at `l3`, if there is one.
#[inline(always)]
pub fn destination<P: PacketRead + ?Sized>(
    frame: &P,
    l3: usize,
    ethertype: u16,
) -> Option<VtepAddr> {
    match ethertype {
        ethernet::TYPE_IPV4 => {
            let window = frame.window::<{ ipv4::LEN }>(l3)?;
            ipv4::header_len(window.byte(0))?;
            let word = window.be32(ipv4::DESTINATION_OFFSET);
            Some(VtepAddr::from_v4_be(word.to_be()))
        }
        ethernet::TYPE_IPV6 => {
            let window = frame.window::<{ ipv6::LEN }>(l3)?;
            ipv6::is_version_6(window.byte(0)).then(|| v6_at(window, ipv6::DESTINATION_OFFSET))
        }
        _ => None,
    }
}

/// An answer to a request: it goes back to the port that the request came from, in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Interface of the port.
    pub ifindex: u32,
    /// Where the message starts in the frame, bytes.
    pub l3: usize,
    /// ND rather than ARP.
    pub v6: bool,
    /// The host that was asked for is a router.
    pub router: bool,
    /// The MAC that was asked for.
    pub mac: MacAddr,
    /// MAC of who asked.
    pub asker_mac: MacAddr,
    /// Who asked; all zero where the asker has no address yet.
    pub asker: VtepAddr,
    /// The address that was asked for.
    pub target: VtepAddr,
}

/// Words of an answer to an ARP request, from [`arp::OPERATION_OFFSET`] on.
pub const ARP_WORDS: usize = (arp::LEN - arp::OPERATION_OFFSET) / 2;
/// Words of an answer to a neighbour solicitation: a whole IPv6 packet.
pub const ND_WORDS: usize = (ipv6::LEN + icmpv6::LEN + icmpv6::OPTION_LEN) / 4;

/// The MAC of the group of all nodes, `ff02::1`.
const ALL_NODES_MAC: u64 = 0x3333_0000_0001;
/// The group of all nodes, `ff02::1` (RFC 4291 section 2.7.1), as words in host byte order.
const ALL_NODES: [u32; 4] = [0xff02_0000, 0, 0, 1];

impl Answer {
    /// True if who asked has no address yet: the answer goes to all nodes (RFC 4861 section 7.2.4).
    #[inline(always)]
    const fn goes_to_all(&self) -> bool {
        self.v6 && is_unspecified(self.asker)
    }

    /// The two MACs at the front of the frame, in the byte order of the wire.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "parts of 48-bit numbers")]
    pub const fn macs(&self) -> [u32; 3] {
        let to = if self.goes_to_all() {
            ALL_NODES_MAC
        } else {
            self.asker_mac.get()
        };
        let from = self.mac.get();
        let middle = ((to & 0xffff) << 16) | (from >> 32);
        [
            ((to >> 16) as u32).to_be(),
            (middle as u32).to_be(),
            (from as u32).to_be(),
        ]
    }

    /// The ARP reply, from its operation on, in the byte order of the wire.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "parts of 48-bit numbers")]
    pub const fn arp(&self) -> [u16; ARP_WORDS] {
        let [_, _, _, sender] = self.target.words_be();
        let [_, _, _, asker] = self.asker.words_be();
        let (mac, to) = (self.mac.get(), self.asker_mac.get());
        let (sender, asker) = (u32::from_be(sender), u32::from_be(asker));
        [
            arp::REPLY.to_be(),
            ((mac >> 32) as u16).to_be(),
            ((mac >> 16) as u16).to_be(),
            (mac as u16).to_be(),
            ((sender >> 16) as u16).to_be(),
            (sender as u16).to_be(),
            ((to >> 32) as u16).to_be(),
            ((to >> 16) as u16).to_be(),
            (to as u16).to_be(),
            ((asker >> 16) as u16).to_be(),
            (asker as u16).to_be(),
        ]
    }

    /// The neighbour advertisement with its IPv6 header, in the byte order of the wire.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "parts of 48-bit numbers")]
    pub fn nd(&self) -> [u32; ND_WORDS] {
        const LEN: u32 = (icmpv6::LEN + icmpv6::OPTION_LEN) as u32;
        let host = |addr: VtepAddr| addr.words_be().map(u32::from_be);
        let [s0, s1, s2, s3] = host(self.target);
        let to_all = self.goes_to_all();
        let [d0, d1, d2, d3] = if to_all { ALL_NODES } else { host(self.asker) };
        let flags = icmpv6::OVERRIDE
            | if to_all { 0 } else { icmpv6::SOLICITED }
            | if self.router { icmpv6::ROUTER } else { 0 };
        let first = u32::from(icmpv6::ADVERTISEMENT) << 24;
        let mac = self.mac.get();
        let option = (u32::from(icmpv6::TARGET_MAC) << 16) | (mac >> 32) as u32;
        let sum = Sum::default()
            .length(LEN as usize)
            .word(u16::from(icmpv6::PROTOCOL))
            .dword(s0)
            .dword(s1)
            .dword(s2)
            .dword(s3)
            .dword(d0)
            .dword(d1)
            .dword(d2)
            .dword(d3)
            .dword(first)
            .dword(flags)
            .dword(s0)
            .dword(s1)
            .dword(s2)
            .dword(s3)
            .dword(option)
            .dword(mac as u32)
            .checksum();
        [
            6 << 28,
            (LEN << 16) | (u32::from(icmpv6::PROTOCOL) << 8) | u32::from(icmpv6::HOP_LIMIT),
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
            first | u32::from(sum),
            flags,
            s0,
            s1,
            s2,
            s3,
            option,
            mac as u32,
        ]
        .map(u32::to_be)
    }
}
