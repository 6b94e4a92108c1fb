//! A port: the key of `PORT_INDEX` and the value of `PORTS`.

use bytemuck::{Pod, Zeroable};

use super::{
    addr::{MacAddr, VtepAddr},
    flags::{PortFlags, flagged},
    id::{PortSlot, SegmentId},
};

/// Key of `PORT_INDEX`: an interface and a VLAN on it, in the map a word of 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortKey {
    /// Interface number.
    pub ifindex: u32,
    /// VLAN ID, 0 for untagged frames.
    pub vlan: u16,
}

impl PortKey {
    /// The key of an entry of `PORT_INDEX`, never zero.
    #[must_use]
    #[inline(always)]
    pub fn word(self) -> u64 {
        u64::from(self.ifindex) << 16 | u64::from(self.vlan)
    }

    /// From the key of an entry.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the parts are meant")]
    pub const fn from_word(word: u64) -> Self {
        Self {
            ifindex: (word >> 16) as u32,
            vlan: word as u16,
        }
    }

    /// The key of VLAN `vlan` at interface `ifindex`.
    #[must_use]
    #[inline(always)]
    pub const fn new(ifindex: u32, vlan: u16) -> Self {
        Self { ifindex, vlan }
    }
}

/// A port: 32 bytes. A slot that is not in use is all zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Port {
    /// Interface number; one that [`Ifindex::is_absent`](super::id::Ifindex::is_absent) where the interface is gone.
    pub ifindex: u32,
    /// The segment that it belongs to.
    pub segment: SegmentId,
    /// The `IN_USE` … bits below.
    pub flags: PortFlags,
    /// VLAN ID that its frames carry, 0 for none.
    pub vlan: u16,
    /// With [`Port::PEER_TARGET`], the first two bytes of the MAC of the interface's other end, as a number.
    pub other_end_high: u16,
    /// The last four.
    pub other_end_low: u32,
    /// MTU of the interface, in bytes: the largest frame without its Ethernet header and tag.
    pub mtu: u32,
    /// Largest number of FDB entries behind the port, 0 for no limit: for the daemon alone.
    pub max_macs: u32,
    /// With [`Port::GUARD_IP`], one of its IPv4 addresses, in network byte order, so that packets from it need not be looked up in
    /// `GUARDED`; 0 where it has none.
    pub own_v4: u32,
}

impl Port {
    /// The slot holds a port.
    pub const IN_USE: PortFlags = PortFlags::bit(0);
    /// XDP can redirect to the interface, without a frame being lost silently.
    pub const XDP_TARGET: PortFlags = PortFlags::bit(1);
    /// TC can hand frames straight to the interface's other end, which lies in another network namespace: those for its MAC. The
    /// kernel takes what is handed over for its own, whatever MAC it is for.
    pub const PEER_TARGET: PortFlags = PortFlags::bit(2);
    /// No frame goes from it to another isolated port of its VNI.
    pub const ISOLATED: PortFlags = PortFlags::bit(3);
    /// It has as many MACs as it may, and frames from others are dropped.
    pub const FULL: PortFlags = PortFlags::bit(4);
    /// Frames from MACs that have no static entry at it are dropped.
    pub const GUARD_MAC: PortFlags = PortFlags::bit(5);
    /// At its limit of MACs others are not learned, and their frames pass; else it becomes [`Port::FULL`]. For the daemon alone.
    pub const OVER_LIMIT_FLOOD: PortFlags = PortFlags::bit(6);
    /// It has the untagged frames of an interface of which `TRUNKS` has VLANs: frames that show one of those are not its own.
    pub const TRUNK: PortFlags = PortFlags::bit(7);
    /// `POLICERS` has a rate for its frames that are flooded.
    pub const BUM_RATE: PortFlags = PortFlags::bit(8);
    /// `POLICERS` has a rate for what comes from it.
    pub const RATE_IN: PortFlags = PortFlags::bit(9);
    /// `POLICERS` has a rate for what goes to it.
    pub const RATE_OUT: PortFlags = PortFlags::bit(10);
    /// Its interface is gone, and it waits for one of that name: no frame gets there.
    pub const ABSENT: PortFlags = PortFlags::bit(11);
    /// Frames that claim to be from addresses other than its own, by IP, ARP or neighbour discovery, are dropped: `GUARDED` has those.
    pub const GUARD_IP: PortFlags = PortFlags::bit(12);
    /// A router is behind it, and advertises itself.
    pub const ROUTER: PortFlags = PortFlags::bit(13);
    /// Its frames pass its queueing discipline and egress filters, whether it has any or not. For the daemon alone.
    pub const DELIVERY_QDISC: PortFlags = PortFlags::bit(25);
    /// Its frames take the fast way, whatever it has. For the daemon alone.
    pub const DELIVERY_FAST: PortFlags = PortFlags::bit(26);
    /// It is there for the bridge of its VNI: a member of it, or the gate to it. For the daemon alone.
    pub const BRIDGED: PortFlags = PortFlags::bit(28);
    /// Whoever made it asked for the hook at TC. For the daemon alone.
    pub const HOOK_TC: PortFlags = PortFlags::bit(29);
    /// Whoever made it asked for the hook at XDP. For the daemon alone.
    pub const HOOK_XDP: PortFlags = PortFlags::bit(30);
    /// The configuration file made it. For the daemon alone.
    pub const CONFIGURED: PortFlags = PortFlags::bit(31);

    /// True for the port of this interface and VLAN. Without a branch between.
    #[must_use]
    #[inline(always)]
    pub const fn is_at(&self, ifindex: u32, vlan: u16) -> bool {
        (self.ifindex ^ ifindex) | (self.vlan ^ vlan) as u32 == 0
    }

    /// Takes on whether there is another end that frames can be handed to, and its MAC.
    pub const fn set_other_end(&mut self, mac: Option<MacAddr>) {
        self.set(Self::PEER_TARGET, mac.is_some());
        (self.other_end_high, self.other_end_low) = match mac {
            Some(mac) => mac.parts(),
            None => (0, 0),
        };
    }

    /// True if a frame for this MAC may be handed straight to the interface's other end. Without a branch between.
    #[must_use]
    #[inline(always)]
    pub fn takes_at_other_end(&self, destination: MacAddr) -> bool {
        let lacks = Self::PEER_TARGET.without(self.flags).bits();
        let other_end = MacAddr::from_parts(self.other_end_high, self.other_end_low);
        (other_end.get() ^ destination.get()) | u64::from(lacks) == 0
    }
}

impl PortFlags {
    /// Frames from the port do not reach ports with any of these flags.
    #[must_use]
    #[inline(always)]
    pub const fn kept_from(self) -> Self {
        self.of(Port::ISOLATED)
    }
}

flagged!(Port: PortFlags);

const _: () = assert!(size_of::<Port>() == 32);

/// Key of `GUARDED`: an address of a port with a guard: 20 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct GuardedKey {
    /// The port.
    pub port: PortSlot,
    /// Its address.
    pub host: VtepAddr,
}

const _: () = assert!(size_of::<GuardedKey>() == 20);

/// The name of a port's interface, followed by zeros; all zero where there is none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PortName([u8; 16]);

impl PortName {
    /// A name. Linux has none longer than 15 bytes; what is longer is cut.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().take(15).zip(name.bytes()) {
            *to = from;
        }
        Self(bytes)
    }

    /// True where there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The name; nothing where it is no text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let name = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        core::str::from_utf8(name).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_key_survives_the_round_trip() {
        let key = PortKey::new(u32::MAX, 4_094);
        assert_eq!(PortKey::from_word(key.word()), key);
    }

    #[test]
    fn a_name_survives_the_round_trip() {
        for name in ["", "a", "tap0", "fifteen-bytes-o"] {
            assert_eq!(PortName::new(name).as_str(), name);
            assert_eq!(PortName::new(name).is_none(), name.is_empty());
        }
        assert_eq!(
            PortName::new("fifteen-bytes-or-more").as_str(),
            "fifteen-bytes-o"
        );
    }
}
