//! What the slow-path device makes of a packet that was left to it at an uplink.

use crate::{
    decide::tunnel::TunnelKey,
    frame::{
        ecn,
        inner::Received,
        outer::{self, Outer},
        packet::Meta,
    },
    runtime::tables::Tables,
    sim::apply::take_in_band_tag,
    wire::{checksum::Sum, ethernet, ipv4},
};

/// The inner frame as the hook behind the device sees it, and what the device says of it. `None` for what is no VXLAN packet to a UDP port.
pub(super) fn decapsulate<T: Tables>(
    frame: &[u8],
    tables: &T,
) -> Option<(Vec<u8>, Meta, TunnelKey)> {
    let mut outer = Outer::unread();
    outer::parse_into(frame, false, tables, &mut outer).ok()?;
    let mut inner = frame.get(outer.inner_offset()..outer.end)?.to_vec();
    merge_ecn(&mut inner, outer.tos);
    let meta = Meta {
        ifindex: tables.config().device,
        tag: take_in_band_tag(&mut inner),
        gso_size: 0,
    };
    let key = TunnelKey {
        vni: outer.addresses.vni,
        source: outer.addresses.source,
        destination: Some(outer.addresses.destination),
    };
    Some((inner, meta, key))
}

/// Takes the outer ECN field over where the inner one must change (RFC 6040 section 4.2).
fn merge_ecn(inner: &mut [u8], outer_tos: u8) {
    let read = Received::read(inner, 0);
    if ecn::merge(outer_tos, read.tos(inner, ethernet::LEN)) != ecn::Merge::SET {
        return;
    }
    let field = outer_tos & ecn::MASK;
    let Some(packet) = inner.get_mut(ethernet::LEN..) else {
        return;
    };
    if read.ethertype == ethernet::TYPE_IPV6 {
        if let Some(byte) = packet.get_mut(1) {
            *byte = *byte & !(ecn::MASK << 4) | field << 4;
        }
        return;
    }
    let Some((header, _)) = packet.split_first_chunk_mut::<{ ipv4::LEN }>() else {
        return;
    };
    let [first, tos, .., a, b, _, _, _, _, _, _, _, _] = header;
    let old = u16::from_be_bytes([*first, *tos]);
    *tos = *tos & !ecn::MASK | field;
    let new = u16::from_be_bytes([*first, *tos]);
    // RFC 1624, equation 3.
    let sum = Sum::default()
        .word(!u16::from_be_bytes([*a, *b]))
        .word(!old)
        .word(new);
    [*a, *b] = sum.checksum().to_be_bytes();
}
