//! Frames built layer by layer, with lengths and checksums filled in.
//!
//! The independent encoder. Nothing here comes from `vtep-common`, neither its types nor its constants: headers are written from
//! the RFCs, in numbers. A mistake of the product in a length, an offset or a checksum so cannot be made here too and hide
//! itself. Whoever needs frames that go with the product's tables, or random ones, takes `vtep_common`'s builder instead.

pub mod inner;
pub mod neighbour;

mod bytes;
mod mac;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use self::bytes::pair;
pub use self::bytes::{checksum, pseudo};
pub use self::mac::Mac;

#[derive(Clone, Debug)]
enum Layer {
    Eth {
        src: Mac,
        dst: Mac,
        ethertype: Option<u16>,
    },
    Vlan {
        tci: u16,
        ethertype: Option<u16>,
    },
    Arp {
        op: u16,
        sender: (Mac, Ipv4Addr),
        target: (Mac, Ipv4Addr),
    },
    Ipv4(IpHeader<Ipv4Addr>),
    Ipv6(IpHeader<Ipv6Addr>),
    Udp {
        src: u16,
        dst: u16,
        checksum: bool,
    },
    Tcp {
        src: u16,
        dst: u16,
        seq: u32,
        flags: u8,
        /// Of the header with its options, which are bytes behind it.
        words: u8,
    },
    Icmp {
        kind: u8,
        code: u8,
        rest: [u8; 4],
    },
    Icmp6 {
        kind: u8,
        code: u8,
        rest: [u8; 4],
    },
    Vxlan {
        flags: u8,
        reserved1: [u8; 3],
        vni: u32,
        reserved2: u8,
    },
    Bytes(Vec<u8>),
}

#[derive(Clone, Debug)]
struct IpHeader<A> {
    src: A,
    dst: A,
    tos: u8,
    ttl: u8,
    id: u16,
    /// The IPv4 flags and fragment offset.
    fragment: u16,
    options: Vec<u8>,
    protocol: Option<u8>,
}

impl<A> IpHeader<A> {
    fn new(src: A, dst: A) -> Self {
        Self {
            src,
            dst,
            tos: 0,
            ttl: 64,
            id: 0,
            fragment: 0,
            options: vec![],
            protocol: None,
        }
    }
}

/// A frame under construction: each call adds a layer or changes the last one of its kind.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    layers: Vec<Layer>,
}

/// Begins a frame from `src` to `dst`.
#[must_use]
pub fn eth(src: Mac, dst: Mac) -> Frame {
    Frame::default().eth(src, dst)
}

impl Frame {
    fn with(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Adds an Ethernet header.
    #[must_use]
    pub fn eth(self, src: Mac, dst: Mac) -> Self {
        self.with(Layer::Eth {
            src,
            dst,
            ethertype: None,
        })
    }

    /// Sets the ethertype of the last Ethernet or VLAN header to other than what follows.
    #[must_use]
    pub fn ethertype(mut self, value: u16) -> Self {
        for layer in self.layers.iter_mut().rev() {
            if let Layer::Eth { ethertype, .. } | Layer::Vlan { ethertype, .. } = layer {
                *ethertype = Some(value);
                break;
            }
        }
        self
    }

    /// Adds an 802.1Q tag.
    #[must_use]
    pub fn vlan(self, tci: u16) -> Self {
        self.with(Layer::Vlan {
            tci,
            ethertype: None,
        })
    }

    /// Adds an ARP question of `sender` for the MAC of `target`.
    #[must_use]
    pub fn arp_request(self, sender: (Mac, Ipv4Addr), target: Ipv4Addr) -> Self {
        self.with(Layer::Arp {
            op: 1,
            sender,
            target: (Mac::ZERO, target),
        })
    }

    /// Adds an ARP answer.
    #[must_use]
    pub fn arp_reply(self, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Self {
        self.with(Layer::Arp {
            op: 2,
            sender,
            target,
        })
    }

    /// Adds an IPv4 header.
    #[must_use]
    pub fn ipv4(self, src: Ipv4Addr, dst: Ipv4Addr) -> Self {
        self.with(Layer::Ipv4(IpHeader::new(src, dst)))
    }

    /// Adds an IPv6 header.
    #[must_use]
    pub fn ipv6(self, src: Ipv6Addr, dst: Ipv6Addr) -> Self {
        self.with(Layer::Ipv6(IpHeader::new(src, dst)))
    }

    /// Adds the IP header of the family of both addresses.
    ///
    /// # Panics
    ///
    /// If the families differ.
    #[must_use]
    pub fn ip(self, src: IpAddr, dst: IpAddr) -> Self {
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.ipv4(src, dst),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.ipv6(src, dst),
            _ => panic!("{src} and {dst} are of two families"),
        }
    }

    /// Sets the TOS or traffic-class byte of the last IP header.
    #[must_use]
    pub fn tos(mut self, value: u8) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.tos = value,
            Layer::Ipv6(ip) => ip.tos = value,
            _ => {}
        }
        self
    }

    /// Sets the TTL or hop limit of the last IP header.
    #[must_use]
    pub fn ttl(mut self, value: u8) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.ttl = value,
            Layer::Ipv6(ip) => ip.ttl = value,
            _ => {}
        }
        self
    }

    /// Sets the protocol number of the last IP header to other than what follows.
    #[must_use]
    pub fn protocol(mut self, value: u8) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.protocol = Some(value),
            Layer::Ipv6(ip) => ip.protocol = Some(value),
            _ => {}
        }
        self
    }

    /// Sets the identification, flags and offset (in units of eight bytes) of the last IPv4 header.
    #[must_use]
    pub fn fragment(mut self, id: u16, flags_and_offset: u16) -> Self {
        if let Layer::Ipv4(ip) = self.last_ip() {
            ip.id = id;
            ip.fragment = flags_and_offset;
        }
        self
    }

    /// Sets DF in the last IPv4 header.
    #[must_use]
    pub fn df(self) -> Self {
        self.fragment(0, 0x4000)
    }

    /// Gives the last IP header options (IPv4; a multiple of four bytes) or an extension header
    /// (IPv6; a multiple of eight bytes, hop-by-hop, whose first byte is filled in).
    #[must_use]
    pub fn options(mut self, value: &[u8]) -> Self {
        match self.last_ip() {
            Layer::Ipv4(ip) => ip.options = value.to_vec(),
            Layer::Ipv6(ip) => ip.options = value.to_vec(),
            _ => {}
        }
        self
    }

    fn last_ip(&mut self) -> &mut Layer {
        self.layers
            .iter_mut()
            .rev()
            .find(|layer| matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_)))
            .expect("no IP header to change yet")
    }

    /// Adds a UDP header with a checksum.
    #[must_use]
    pub fn udp(self, src: u16, dst: u16) -> Self {
        self.with(Layer::Udp {
            src,
            dst,
            checksum: true,
        })
    }

    /// Adds a UDP header whose checksum is zero.
    #[must_use]
    pub fn udp_unchecked(self, src: u16, dst: u16) -> Self {
        self.with(Layer::Udp {
            src,
            dst,
            checksum: false,
        })
    }

    /// Adds a TCP header (ACK and PSH set).
    #[must_use]
    pub fn tcp(self, src: u16, dst: u16, seq: u32) -> Self {
        self.with(Layer::Tcp {
            src,
            dst,
            seq,
            flags: 0x18,
            words: 5,
        })
    }

    /// Adds the TCP header of a SYN with these options, a multiple of 4 bytes.
    ///
    /// # Panics
    ///
    /// If they are longer than a header can be.
    #[must_use]
    pub fn tcp_syn(self, src: u16, dst: u16, seq: u32, options: &[u8]) -> Self {
        let words = 5 + u8::try_from(options.len() / 4).expect("at most 40 bytes");
        let header = self.with(Layer::Tcp {
            src,
            dst,
            seq,
            flags: 2,
            words,
        });
        header.bytes(options)
    }

    /// Adds an ICMP echo request.
    #[must_use]
    pub fn icmp_echo(self, id: u16, seq: u16) -> Self {
        self.with(Layer::Icmp {
            kind: 8,
            code: 0,
            rest: pair(id, seq),
        })
    }

    /// Adds an ICMP header of any kind.
    #[must_use]
    pub fn icmp(self, kind: u8, code: u8, rest: [u8; 4]) -> Self {
        self.with(Layer::Icmp { kind, code, rest })
    }

    /// Adds an `ICMPv6` echo request.
    #[must_use]
    pub fn icmp6_echo(self, id: u16, seq: u16) -> Self {
        self.with(Layer::Icmp6 {
            kind: 128,
            code: 0,
            rest: pair(id, seq),
        })
    }

    /// Adds an `ICMPv6` header of any kind.
    #[must_use]
    pub fn icmp6(self, kind: u8, rest: [u8; 4]) -> Self {
        self.with(Layer::Icmp6 {
            kind,
            code: 0,
            rest,
        })
    }

    /// Adds a VXLAN header as RFC 7348 §5 has it.
    #[must_use]
    pub fn vxlan(self, vni: u32) -> Self {
        self.vxlan_noisy(0x08, [0; 3], vni, 0)
    }

    /// Adds a VXLAN header with every bit given.
    #[must_use]
    pub fn vxlan_noisy(self, flags: u8, reserved1: [u8; 3], vni: u32, reserved2: u8) -> Self {
        self.with(Layer::Vxlan {
            flags,
            reserved1,
            vni,
            reserved2,
        })
    }

    /// Adds bytes as they are.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.with(Layer::Bytes(bytes.to_vec()))
    }

    /// Adds `len` bytes that depend on `seed` and on their place.
    #[must_use]
    pub fn payload(self, seed: u32, len: usize) -> Self {
        self.with(Layer::Bytes(pattern(seed, len)))
    }

    /// The frame's bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for at in (0..self.layers.len()).rev() {
            body = self.encode(at, &body);
        }
        body
    }
}

/// `len` bytes that differ between seeds and between places.
#[must_use]
pub fn pattern(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}
