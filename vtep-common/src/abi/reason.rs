//! Why a frame ended where it did: the only list. Metrics, `vtep drops` and the documents are made from it.

/// What became of a frame that ended with a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// It went where it should.
    Delivered,
    /// It is not ours; it went on to the host untouched.
    Passed,
    /// It goes on to a later hook, which gives it its final reason. Not an end of its own.
    Continued,
    /// It was ours, but bad or without a destination.
    Dropped,
    /// A helper or a table of ours failed.
    Aborted,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $name:literal, $class:ident;)+) => {
        /// Why a frame ended where it did. Codes are ABI and index the counters: append, never renumber or reuse.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant = $code,)+
        }

        impl Reason {
            /// Every reason, in the order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in metrics and on the command line, `snake_case`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What became of the frame.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)+ }
            }

            /// A bit for each reason of this class, at its code.
            const fn mask(class: Class) -> u64 {
                let mut mask = 0;
                $(if Class::$class as u32 == class as u32 { mask |= 1 << $code; })+
                mask
            }

            /// One sentence for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// The code: the index of its counter.
            #[must_use]
            #[inline(always)]
            pub const fn code(self) -> u32 {
                self as u32
            }
        }
    };
}

reasons! {
    /// Encapsulated in place and sent to its VTEP.
    Encapsulated = 0, "encapsulated", Delivered;
    /// Sent to its VTEP through the slow-path device, which does what eBPF cannot do in place (for example GSO packets over IPv6 with checksum).
    EncapsulatedByKernel = 1, "encapsulated_by_kernel", Delivered;
    /// Sent through the slow-path device, because the next hop to the VTEP is not resolved yet.
    EncapsulatedUnresolved = 2, "encapsulated_unresolved", Delivered;
    /// Decapsulated and delivered to a local port.
    Decapsulated = 3, "decapsulated", Delivered;
    /// Delivered from a port to another local port of the VNI.
    Switched = 4, "switched", Delivered;
    /// Copied to every VTEP on the flood list and every other local port of the VNI.
    Flooded = 5, "flooded", Delivered;
    /// Received from a VTEP and copied to every local port of the VNI.
    FloodedLocally = 6, "flooded_locally", Delivered;

    /// Not a VXLAN packet: another protocol, another UDP port, a fragment without ports.
    NotVxlan = 7, "not_vxlan", Passed;
    /// VXLAN, but to an address that is not one of our VTEP addresses, or to the MAC of another host.
    NotOurAddress = 8, "not_our_address", Passed;

    /// Left to the TC hook behind XDP.
    LeftToTc = 9, "left_to_tc", Continued;
    /// Left to the slow-path device, which decapsulates it for the tunnel hook.
    LeftToKernel = 10, "left_to_kernel", Continued;
    /// IP options or extension headers before UDP: left to the host's stack, which reads them.
    LeftToStack = 11, "left_to_stack", Continued;

    /// Shorter than its headers, or than the length that they state.
    Truncated = 12, "truncated", Dropped;
    /// The outer IPv4 header checksum is wrong.
    OuterChecksum = 13, "outer_checksum", Dropped;
    /// The outer UDP length does not fit the packet.
    UdpLength = 14, "udp_length", Dropped;
    /// A fragment of a VXLAN packet; VTEPs must not fragment, and may discard (RFC 7348 section 4.3).
    OuterFragment = 15, "outer_fragment", Dropped;
    /// The I flag is clear, so the VNI has no meaning (RFC 7348 section 5).
    VniFlagClear = 16, "vni_flag_clear", Dropped;
    /// Reserved header bits are set and the VNI is set to strict.
    ReservedBits = 17, "reserved_bits", Dropped;
    /// The VNI does not exist here.
    UnknownVni = 18, "unknown_vni", Dropped;
    /// The source is one of our own VTEP addresses.
    OwnSource = 19, "own_source", Dropped;
    /// The inner frame is too short for an Ethernet header.
    InnerTruncated = 20, "inner_truncated", Dropped;
    /// The inner frame carries a VLAN tag and the VNI is not set to pass it (RFC 7348 section 6.1).
    InnerVlan = 21, "inner_vlan", Dropped;
    /// The inner source MAC is zero or a group address.
    InvalidSourceMac = 22, "invalid_source_mac", Dropped;
    /// The outer header marks congestion, but the inner packet is not ECN-capable (RFC 6040 section 4.2).
    EcnNotCapable = 23, "ecn_not_capable", Dropped;
    /// No FDB entry, and the VNI does not flood.
    NoFdbEntry = 24, "no_fdb_entry", Dropped;
    /// A frame to flood, but there is no VTEP and no other port to flood to.
    NowhereToFlood = 25, "nowhere_to_flood", Dropped;
    /// Broadcast or multicast in a VNI that does not flood.
    FloodOff = 26, "flood_off", Dropped;
    /// From a VTEP and for a VTEP; frames from the underlay never go back to it (split horizon).
    SplitHorizon = 27, "split_horizon", Dropped;
    /// Its destination is behind the port that it came from.
    SamePort = 28, "same_port", Dropped;
    /// Larger than the underlay carries after encapsulation, or than the port takes.
    TooBig = 29, "too_big", Dropped;
    /// At a port, with a VLAN tag that has no mapping (RFC 7348 section 6.1).
    VlanUnmapped = 30, "vlan_unmapped", Dropped;
    /// At an interface whose untagged frames belong to no VNI.
    NotAPort = 31, "not_a_port", Dropped;

    /// The frame could not be reshaped: no room, or a helper refused.
    Reshape = 32, "reshape_failed", Aborted;
    /// The frame could not be sent to its device.
    Redirect = 33, "redirect_failed", Aborted;
    /// A table entry points to another that does not exist, or that is another's by now.
    TableGap = 34, "table_gap", Aborted;

    /// Decapsulated by the slow-path device, but sent to an address that is not one of our VTEP addresses.
    WrongDestination = 35, "wrong_destination", Dropped;
    /// There is no route to the VTEP, or the interface of the route is down.
    NoRoute = 36, "no_route", Dropped;
    /// One copy of a flooded frame was lost: it had no route, was larger than the path carries, or its device refused it. The frame itself counts as flooded.
    CopyLost = 37, "copy_lost", Dropped;

    /// An ARP or ND request, answered at the port that it came from.
    Answered = 38, "answered", Delivered;
    /// An ARP or ND request for an unknown host, in a VNI that does not flood.
    UnknownNeigh = 39, "unknown_neigh", Dropped;
    /// The source MAC has a static entry elsewhere.
    StaticElsewhere = 40, "static_elsewhere", Dropped;
    /// From an isolated port to another isolated port of the VNI.
    Isolated = 41, "isolated", Dropped;
    /// From a VTEP that no entry of the VNI names, and the VNI takes packets from none but those.
    UnlistedSource = 42, "unlisted_source", Dropped;
    /// At a port with a guard, from a MAC that is not one of the port's.
    SpoofedMac = 43, "spoofed_mac", Dropped;
    /// At a port with a guard of addresses, claiming by IP, ARP or neighbour discovery to be from one that is not the port's.
    SpoofedIp = 44, "spoofed_ip", Dropped;
    /// Broadcast, unknown unicast or multicast from a port, and more of them than the port's rate.
    BumRate = 45, "bum_rate", Dropped;
    /// With the tag of a VLAN that has a port of its own, at or for the untagged port of the interface; of a flooded frame, the copy for it.
    VlanHop = 46, "vlan_hop", Dropped;
    /// To a link-local group address (01:80:c2:00:00:00 to :0f): pause frames, spanning tree, LACP, LLDP.
    L2Control = 47, "l2_control", Dropped;
    /// From a MAC that is new, where there is room for no more.
    MacLimit = 48, "mac_limit", Dropped;
    /// From a MAC that has moved too often, and stays elsewhere.
    DuplicateMac = 49, "duplicate_mac", Dropped;
    /// VXLAN, but from an address that no host has: loopback, multicast, broadcast.
    BadSource = 50, "bad_source", Passed;
    /// From or to a port, and more than the port's rate; of a flooded frame, the copy for a port.
    Rate = 51, "rate", Dropped;
    /// For a port whose interface is gone; the port waits for it.
    PortAbsent = 52, "port_absent", Dropped;
    /// From a port, and larger than the path to its VTEP carries; its sender was told what fits.
    TooBigAnswered = 53, "too_big_answered", Dropped;
}

impl Reason {
    /// True if the frame went where it should. Without a branch, unlike [`class`](Self::class).
    #[must_use]
    #[inline(always)]
    pub const fn is_delivered(self) -> bool {
        const MASK: u64 = Reason::mask(Class::Delivered);
        (MASK >> self.code()) & 1 != 0
    }

    /// True if the frame is left to others, untouched: passed, or continued. Without a branch.
    #[must_use]
    #[inline(always)]
    pub const fn is_left(self) -> bool {
        const MASK: u64 = Reason::mask(Class::Passed) | Reason::mask(Class::Continued);
        (MASK >> self.code()) & 1 != 0
    }

    /// True if the frame, or the copy of one, is lost: dropped, or given up for a failure of ours. Without a branch.
    #[must_use]
    #[inline(always)]
    pub const fn is_lost(self) -> bool {
        const MASK: u64 = Reason::mask(Class::Dropped) | Reason::mask(Class::Aborted);
        (MASK >> self.code()) & 1 != 0
    }

    /// Number of counters kept per hook: room for reasons to come.
    pub const SLOTS: u32 = 64;

    /// The reason with this code.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_fit_the_counters() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        let names: HashSet<_> = Reason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(Reason::ALL.iter().all(|r| r.code() < Reason::SLOTS));
    }

    #[test]
    fn a_meaning_is_one_sentence() {
        for reason in Reason::ALL {
            let meaning = reason.meaning();
            assert!(
                meaning.ends_with('.') && meaning.starts_with(char::is_uppercase),
                "{reason:?}: {meaning}"
            );
        }
    }

    #[test]
    fn the_masks_agree_with_the_classes() {
        for reason in Reason::ALL {
            assert_eq!(
                reason.is_delivered(),
                reason.class() == Class::Delivered,
                "{reason:?}"
            );
            assert_eq!(
                reason.is_left(),
                matches!(reason.class(), Class::Passed | Class::Continued),
                "{reason:?}"
            );
            assert_eq!(
                reason.is_lost(),
                matches!(reason.class(), Class::Dropped | Class::Aborted),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn a_code_names_its_reason() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
        }
        assert_eq!(Reason::from_code(Reason::SLOTS), None);
    }
}
