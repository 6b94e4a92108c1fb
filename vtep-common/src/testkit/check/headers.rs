//! What must hold for the outer headers of a frame.

use std::net::{IpAddr, Ipv6Addr};

use crate::{
    abi::{
        addr::{MacAddr, Vni, VtepAddr},
        outer_template,
        reason::Class,
    },
    frame::{
        outer::{self, Outer, OuterAddresses},
        template::{self, Fields},
    },
    sim::HostTables,
    testkit::frames::World,
};

use super::common::hex;

/// What must hold for the outer headers of a frame.
pub fn outer_headers(world: &World, frame: &[u8], gso: bool) {
    let tables = &world.tables;
    let read = outer::parse(frame, gso, tables);
    let addressed = is_addressed_to_us(frame, tables);
    match read {
        Err(reason) => {
            assert_ne!(reason.class(), Class::Delivered);
            assert_ne!(reason.class(), Class::Aborted);
            let foreign = reason.class() == Class::Passed;
            assert_eq!(foreign, !addressed, "{reason:?} for {}", hex(frame));
        }
        Ok(outer) => {
            assert!(addressed, "not ours: {}", hex(frame));
            accepted_headers(world, frame, gso, &outer);
        }
    }
}

/// Whether the first bytes, up to the UDP header's end, say that a frame is VXLAN for one of our addresses, sound or not.
/// Written apart from the parser.
pub(super) fn is_addressed_to_us(frame: &[u8], tables: &HostTables) -> bool {
    let at = |from: usize, len: usize| frame.get(from..from + len).unwrap_or_default();
    let to_port =
        |udp: usize| at(udp, 8).get(2..4) == Some(&tables.config.udp_port.to_be_bytes()[..]);
    let local = |bytes: &[u8]| match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).is_ok_and(|raw| {
            let addr: IpAddr = raw.into();
            tables.locals.contains(&VtepAddr::from(addr))
        }),
        // An IPv4 address in an IPv6 header is nobody's.
        16 => <[u8; 16]>::try_from(bytes).is_ok_and(|raw| {
            let addr = Ipv6Addr::from(raw);
            let mapped = addr.to_ipv4_mapped().is_some();
            !mapped && tables.locals.contains(&VtepAddr::from(IpAddr::V6(addr)))
        }),
        _ => false,
    };
    match at(12, 2) {
        [0x08, 0x00] => {
            let Some([first, _, _, _, _, _, flags, offset, _, 17, ..]) = frame.get(14..) else {
                return false;
            };
            let ihl = usize::from(first & 15);
            first >> 4 == 4
                && ihl >= 5
                && u16::from_be_bytes([*flags, *offset]) << 3 == 0
                && to_port(14 + 4 * ihl)
                && local(at(30, 4))
        }
        [0x86, 0xdd] => {
            let Some([first, _, _, _, _, _, next, ..]) = frame.get(14..) else {
                return false;
            };
            let is_vxlan = match next {
                17 => to_port(54),
                // Options and routing headers are the host's to read.
                0 | 43 | 60 => true,
                44 => {
                    at(54, 1) == [17]
                        && matches!(at(56, 2), [0, low] if low >> 3 == 0)
                        && to_port(62)
                }
                _ => false,
            };
            first >> 4 == 6 && is_vxlan && frame.len() >= 62 && local(at(38, 16))
        }
        _ => false,
    }
}

/// What must hold for headers that were accepted: they say what the bytes say, and written anew they read the same.
pub(super) fn accepted_headers(world: &World, frame: &[u8], gso: bool, outer: &Outer) {
    let tables = &world.tables;
    let Outer {
        addresses:
            OuterAddresses {
                source,
                destination,
                vni,
            },
        v6,
        tos: _,
        reserved: _,
        header_len,
        end,
    } = *outer;
    let inner_offset = usize::from(header_len);
    let len = if v6 {
        outer_template::LEN_V6
    } else {
        outer_template::LEN_V4
    };
    assert_eq!(inner_offset, len);
    assert!(inner_offset <= end && end <= frame.len());
    assert_eq!(source.is_v6() && v6, v6, "an IPv4 source over IPv4");
    assert_eq!(
        frame[len - 4..len - 1],
        vni.to_be_bytes()[1..],
        "the VNI as on the wire"
    );
    // An IPv4-mapped address in an IPv6 header has no template of its own.
    let remote = destination_of(frame, v6);
    assert_eq!(destination, remote);
    if v6 && (!source.is_v6() || !remote.is_v6()) {
        return;
    }

    let inner = &frame[inner_offset..end];
    let rendered = render(outer, remote, tables.config.udp_port, inner);
    let again = outer::parse(rendered.as_slice(), gso, tables);
    let mut want = *outer;
    want.reserved = false;
    assert_eq!(again, Ok(want), "{} as {}", hex(frame), hex(&rendered));
    assert_eq!(&rendered[inner_offset..], inner);

    // What follows the packet changes nothing; nothing of the packet can be missing.
    if !gso {
        assert_eq!(
            outer::parse([frame, &[0x5a; 9]].concat().as_slice(), gso, tables),
            Ok(*outer)
        );
        for kept in [end - 1, inner_offset, inner_offset - 1] {
            if kept < end {
                assert!(outer::parse(&frame[..kept], gso, tables).is_err());
            }
        }
    }
}

pub(super) fn destination_of(frame: &[u8], v6: bool) -> VtepAddr {
    let addr: std::net::IpAddr = if v6 {
        <[u8; 16]>::try_from(&frame[38..54])
            .expect("16 bytes")
            .into()
    } else {
        <[u8; 4]>::try_from(&frame[30..34]).expect("4 bytes").into()
    };
    addr.into()
}

/// The packet with the headers that `outer` says.
pub(super) fn render(outer: &Outer, destination: VtepAddr, udp_port: u16, inner: &[u8]) -> Vec<u8> {
    let fields = Fields {
        tos: outer.tos,
        ttl: 64,
        dont_fragment: true,
        id: 0,
        source_port: 50_000,
        vni: Vni::new(outer.addresses.vni).expect("24 bits"),
        inner_len: u32::try_from(inner.len()).expect("a short frame"),
        inner_sum: None,
    };
    let macs = (MacAddr::BROADCAST, MacAddr::ZERO);
    let template = template::build(macs, outer.addresses.source, destination, udp_port);
    let mut out = if outer.v6 {
        template::render_v6(&template, &fields)
            .bytes::<{ outer_template::LEN_V6 }>()
            .to_vec()
    } else {
        template::render_v4(&template, &fields)
            .bytes::<{ outer_template::LEN_V4 }>()
            .to_vec()
    };
    out.extend(inner);
    out
}
