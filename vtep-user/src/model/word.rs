//! Values that are one of a few words.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::{BadValue, Value};

/// Defines an enum whose variants have one word each, the same on the command line, in JSON and in print.
macro_rules! words {
    ($(#[doc = $about:tt])+ $name:ident { $($(#[doc = $meaning:tt])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $(
                $(#[doc = $meaning])+
                #[serde(rename = $word)]
                $variant,
            )+
        }

        impl $name {
            /// The word for this value, as in JSON and on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl Value for $name {
            const WORDS: &'static [(&'static str, &'static str)] = &[$(($word, concat!($($meaning),+)),)+];

            fn read(text: &str) -> Result<Self, BadValue> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(BadValue::new(format!("`{text}` is none of the words for it"))),
                }
            }

            fn write(&self) -> String {
                self.as_str().into()
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                schema(concat!($($about),+), Self::WORDS)
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

/// The words as the API's document has them. utoipa's derive would have the names of the variants: it does not see a name that a macro puts
/// into an attribute.
fn schema(about: &str, words: &[(&str, &str)]) -> RefOr<Schema> {
    let mut description = about.trim().to_owned();
    for (word, meaning) in words {
        write!(description, "\n- `{word}`: {}", meaning.trim())
            .expect("a string takes what is written to it");
    }
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .enum_values(Some(words.iter().map(|(word, _)| *word)))
        .into()
}

words! {
    /// How a VNI floods, learns and answers ARP and ND, as one of four presets.
    Mode {
        /// Floods to a multicast group and learns.
        Multicast = "multicast",
        /// Floods by head-end replication and learns.
        Flood = "flood",
        /// Floods by head-end replication; static FDB only.
        L2 = "l2",
        /// Never floods; static FDB, neighbours and next hops only.
        L3 = "l3",
    }
}

words! {
    /// How broadcast, multicast and unknown unicast frames leave.
    Flood {
        /// One copy to each VTEP on the flood list.
        Her = "her",
        /// One copy to the VNI's multicast group.
        Multicast = "multicast",
        /// They do not leave.
        None = "none",
    }
}

words! {
    /// What happens to a frame with a VLAN tag that has no mapping.
    InnerVlan {
        /// It is dropped (RFC 7348 §6.1).
        Drop = "drop",
        /// It is carried unchanged.
        Pass = "pass",
    }
}

words! {
    /// The outer IPv4 "don't fragment" bit.
    Df {
        /// Always set.
        Set = "set",
        /// Never set.
        Unset = "unset",
        /// As in the inner packet.
        Inherit = "inherit",
    }
}

words! {
    /// What happens to packets with reserved bits in the VXLAN header on receipt.
    Reserved {
        /// They are ignored (RFC 7348 §5).
        Ignore = "ignore",
        /// The packet is dropped, as Linux does.
        Strict = "strict",
    }
}

words! {
    /// Who set something.
    Source {
        /// The configuration file.
        Config = "config",
        /// A command, or the API.
        Cli = "cli",
        /// It is there for the bridge of its VNI.
        Bridge = "bridge",
    }
}

words! {
    /// What a step of a plan does.
    PlanAction {
        /// It adds.
        Add = "add",
        /// It changes.
        Change = "change",
        /// It removes.
        Remove = "remove",
    }
}

words! {
    /// Which VTEPs a VNI takes packets from.
    Sources {
        /// Those that a static entry of the VNI names.
        Listed = "listed",
        /// Any.
        Any = "any",
    }
}

words! {
    /// What happens to frames to the link-local group addresses 01:80:c2:00:00:00 to :0f.
    L2cp {
        /// They are dropped, as a Linux bridge does.
        Drop = "drop",
        /// They are carried.
        Pass = "pass",
    }
}

words! {
    /// What happens to a frame from a MAC that is not learned, because a limit is reached.
    OverLimit {
        /// It is dropped.
        Drop = "drop",
        /// It is carried.
        Flood = "flood",
    }
}

words! {
    /// Which frames a port takes.
    PortGuard {
        /// All.
        Off = "off",
        /// Those from its static MACs.
        Mac = "mac",
        /// Those from its static MACs that claim to be from its IPs.
        Ip = "ip",
    }
}

words! {
    /// The kernel hook that takes a port's frames.
    PortHook {
        /// The daemon chooses.
        Auto = "auto",
        /// TC ingress.
        Tc = "tc",
        /// XDP.
        Xdp = "xdp",
    }
}

words! {
    /// Whether frames to a port pass the queueing discipline and the egress filters of its interface.
    PortDelivery {
        /// Where somebody has set any of them.
        Auto = "auto",
        /// Always.
        Qdisc = "qdisc",
        /// Only where there is no faster way.
        Fast = "fast",
    }
}

words! {
    /// What takes packets from the underlay first.
    UplinkHook {
        /// XDP if the interface supports it, otherwise TC.
        Auto = "auto",
        /// XDP.
        Xdp = "xdp",
        /// TC.
        Tc = "tc",
    }
}

words! {
    /// How XDP is attached to an interface.
    XdpMode {
        /// Native mode if the driver supports it, otherwise no XDP: TC takes the packets.
        Auto = "auto",
        /// Native mode, in the driver.
        Native = "native",
        /// Generic mode, which every interface supports.
        Generic = "generic",
    }
}

words! {
    /// Who made an FDB entry.
    EntryState {
        /// An operator.
        Static = "static",
        /// The data path saw the address.
        Learned = "learned",
        /// A control plane that knows where the MAC is. Nothing makes such entries yet.
        Evpn = "evpn",
    }
}

words! {
    /// Who made a neigh or nexthop entry.
    NeighState {
        /// An operator.
        Static = "static",
        /// The data path snooped the host's own ARP or ND.
        Snooped = "snooped",
        /// It came with a port's addresses.
        Port = "port",
        /// It follows from the nexthop table.
        Nexthop = "nexthop",
    }
}

words! {
    /// What happened.
    EventKind {
        /// A MAC or a host was learned.
        Learned = "learned",
        /// A MAC or a host showed up at another place.
        Moved = "moved",
        /// A learned entry was not seen for too long.
        Aged = "aged",
        /// Entries were flushed, `count` of them.
        Flushed = "flushed",
        /// A destination is unknown, and the VNI does not flood.
        Miss = "miss",
        /// A MAC or a host was not learned, because a limit was reached.
        Limit = "limit",
        /// A MAC moved too often and was frozen (RFC 7432 section 15.1), or a second MAC claims a host's address.
        Duplicate = "duplicate",
        /// A frozen MAC may move again; or an address is not contested any more, and is whose it was.
        Thawed = "thawed",
        /// A peer can be sent to.
        PeerUp = "peer_up",
        /// A peer cannot be sent to.
        PeerDown = "peer_down",
        /// The interface of a port came, and the port with it.
        PortUp = "port_up",
        /// The interface of a port went; the port waits for it.
        PortDown = "port_down",
        /// An uplink is there and switched on.
        UplinkUp = "uplink_up",
        /// An uplink is gone or switched off.
        UplinkDown = "uplink_down",
        /// Somebody had changed something of vtep's own, and vtep put it right.
        Repaired = "repaired",
        /// Events did not fit the ring buffer, `count` of them; or this reader was too slow for `count` rows.
        Lost = "lost",
    }
}

words! {
    /// Whether the interface of a port is there.
    PortState {
        /// It is there, and its frames are taken.
        Attached = "attached",
        /// It is not; the port waits for it.
        Absent = "absent",
    }
}

words! {
    /// Whether an uplink can be used.
    UplinkState {
        /// It is there and switched on.
        Up = "up",
        /// It is switched off.
        Down = "down",
        /// It does not exist.
        Absent = "absent",
    }
}

words! {
    /// What a row of a trace is about.
    TraceStep {
        /// The frame.
        Frame = "frame",
        /// The outer headers that it came with.
        Arrival = "arrival",
        /// A port.
        Port = "port",
        /// A segment, or the VNI that is none.
        Segment = "segment",
        /// Where the FDB has the source MAC.
        Source = "source",
        /// Where the FDB has the destination MAC.
        Destination = "destination",
        /// What an underlay address is to us.
        Address = "address",
        /// A remote VTEP.
        Peer = "peer",
        /// The nexthop table.
        Nexthop = "nexthop",
        /// The hosts that ARP and ND are answered for.
        Neigh = "neigh",
        /// A flood list.
        FloodList = "flood_list",
        /// Which VTEPs the VNI takes packets from.
        Sources = "sources",
        /// The addresses of a port with a guard.
        Guard = "guard",
        /// A rate of a port.
        Rate = "rate",
        /// The VLANs of an interface that have ports.
        Vlan = "vlan",
        /// Whether the packet fits.
        Mtu = "mtu",
        /// What a SYN offers.
        Mss = "mss",
        /// What the daemon would be told.
        Event = "event",
        /// The outer header of a packet that leaves.
        Outer = "outer",
        /// One copy of a flooded frame.
        Copy = "copy",
        /// How a frame really ended that was traced as it came.
        Happened = "happened",
        /// What becomes of the frame at this hook.
        Verdict = "verdict",
    }
}

words! {
    /// Whether packets can be sent to a peer.
    PeerState {
        /// The route and the next hop's MAC are known.
        Resolved = "resolved",
        /// There is a route; the kernel is resolving the next hop's MAC.
        Resolving = "resolving",
        /// There is no usable route, or the next hop does not answer.
        Unreachable = "unreachable",
        /// It is resolved, and three packets or more were sent to it over five seconds or more, but nothing was heard of it since the first.
        Silent = "silent",
    }
}

words! {
    /// How a check ended.
    CheckState {
        /// Nothing was found.
        Ok = "ok",
        /// Something may be wrong, or cannot be seen.
        Warn = "WARN",
        /// Frames are lost, or will be.
        Fail = "FAIL",
    }
}
