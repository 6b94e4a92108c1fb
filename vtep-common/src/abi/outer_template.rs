//! Sizes of a peer's template: the outer headers that are built once for each VTEP.

/// Bytes of outer headers over IPv4: Ethernet, IP, UDP, VXLAN.
pub const LEN_V4: usize = 50;
/// Bytes of outer headers over IPv6.
pub const LEN_V6: usize = 70;

/// Words that a peer's template takes: it is kept and moved in words, which the kernel side does one by one.
pub const TEMPLATE_WORDS: usize = 10;
