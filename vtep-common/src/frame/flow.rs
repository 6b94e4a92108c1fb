//! From the inner flow to the outer UDP source port (RFC 7348 §5: a hash of inner fields, in the dynamic range).

/// First port of the dynamic range (RFC 6335 §6).
pub const DEFAULT_PORT_MIN: u16 = 49_152;
/// Last port of the dynamic range.
pub const DEFAULT_PORT_MAX: u16 = 65_535;

/// Spreads `hash` evenly over the ports `min..=max`.
#[must_use]
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the product's upper half is below the number of ports"
)]
pub fn port(hash: u32, min: u16, max: u16) -> u16 {
    let ports = u64::from(max.wrapping_sub(min)).wrapping_add(1);
    let offset = u64::from(hash).wrapping_mul(ports) >> 32;
    min.wrapping_add(offset as u16)
}

/// Smallest source port of the slow-path device. With the largest it spans all that a VNI can ask for.
pub const DEVICE_PORT_MIN: u16 = 1;
/// Largest source port of the slow-path device.
pub const DEVICE_PORT_MAX: u16 = 65_535;

/// The packet hash for which the slow-path device picks `port`.
///
/// The device computes `min + (h * (max - min) >> 32)` with `h = hash ^ hash << 16` (`udp_flow_src_port`, kernel
/// `include/net/udp.h`). This is the inverse, for a device made with [`DEVICE_PORT_MIN`] and [`DEVICE_PORT_MAX`].
/// Port 65535 is out of the kernel's reach (its range excludes the maximum): 65534 is taken in its place.
#[must_use]
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the quotient of a 48-bit number by 65534 is below 2^32 for every port in reach"
)]
pub fn device_hash(port: u16) -> u32 {
    const SPAN: u64 = DEVICE_PORT_MAX as u64 - DEVICE_PORT_MIN as u64;
    let offset = u64::from(port).saturating_sub(u64::from(DEVICE_PORT_MIN));
    let offset = if offset >= SPAN {
        SPAN.wrapping_sub(1)
    } else {
        offset
    };
    // The smallest h with h * SPAN >> 32 == offset.
    let wanted = ((offset << 32).wrapping_add(SPAN).wrapping_sub(1) / SPAN) as u32;
    // h = hash ^ (hash << 16) keeps the lower half and mixes it into the upper one: doing it again undoes it.
    wanted ^ (wanted << 16)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::abi::hash_table::Hasher;

    /// The kernel's `udp_flow_src_port`.
    fn kernel_port(hash: u32) -> u16 {
        let mixed = hash ^ (hash << 16);
        let span = u64::from(DEVICE_PORT_MAX - DEVICE_PORT_MIN);
        u16::try_from((u64::from(mixed) * span) >> 32).unwrap() + DEVICE_PORT_MIN
    }

    #[test]
    fn the_kernel_device_picks_the_port_it_is_told() {
        for port in DEVICE_PORT_MIN..DEVICE_PORT_MAX {
            assert_eq!(kernel_port(device_hash(port)), port);
        }
        assert_eq!(kernel_port(device_hash(u16::MAX)), u16::MAX - 1);
    }

    #[test]
    fn the_device_hash_is_never_zero_for_a_usable_port() {
        // The kernel would replace a zero hash by one of its own.
        assert!((DEVICE_PORT_MIN + 1..=u16::MAX).all(|port| device_hash(port) != 0));
    }

    #[test]
    fn ports_of_many_flows_spread() {
        let ports: HashSet<u16> = (0..1000u64)
            .map(|n| {
                port(
                    Hasher::new(17).add(n).finish(),
                    DEFAULT_PORT_MIN,
                    DEFAULT_PORT_MAX,
                )
            })
            .collect();
        assert!(ports.len() > 950, "{} of 1000", ports.len());
    }

    proptest! {
        #[test]
        fn a_port_lies_in_its_range(hash: u32, a: u16, b: u16) {
            let (min, max) = (a.min(b), a.max(b));
            let got = port(hash, min, max);
            prop_assert!((min..=max).contains(&got));
        }
    }
}
