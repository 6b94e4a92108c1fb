//! The VLAN tag, which stands between the source address and the `EtherType` (IEEE 802.1Q §9.3).

/// Bytes that a tag adds to a frame.
pub const LEN: usize = 4;
/// Tag protocol identifier of a customer tag (802.1Q).
pub const TYPE_8021Q: u16 = 0x8100;
/// Tag protocol identifier of a service tag (802.1ad).
pub const TYPE_8021AD: u16 = 0x88a8;
/// Largest VLAN ID that may be used; 4095 is reserved.
pub const MAX_VID: u16 = 4094;

/// True if `ethertype` announces a tag.
#[must_use]
#[inline(always)]
pub const fn is_tag(ethertype: u16) -> bool {
    ethertype == TYPE_8021Q || ethertype == TYPE_8021AD
}
