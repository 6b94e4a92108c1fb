//! Who has which Ethernet address on a link: ARP for IPv4, neighbour discovery for IPv6.

use std::{fmt, net::IpAddr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState as KernelState,
    },
    route::RouteProtocol,
};
use vtep_common::abi::id::Ifindex;

use super::{Error, Mac, Netlink, ROUTE_PROTOCOL};

/// Marks the entries that a daemon of ours has the kernel keep resolved. The mark stays when that ends.
const OURS: RouteProtocol = RouteProtocol::Other(ROUTE_PROTOCOL);

/// An entry of the kernel's neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that the kernel reports one by one, not states of one machine"
)]
pub struct Neighbour {
    /// The interface it is reached by.
    pub ifindex: Ifindex,
    /// Its address.
    pub ip: IpAddr,
    /// Its Ethernet address, once known. It may be an old one unless the state is usable.
    pub mac: Option<Mac>,
    /// What the kernel thinks of it.
    pub state: NeighbourState,
    /// Whether the kernel keeps it resolved of its own accord ([`Netlink::keep_resolved`]).
    pub managed: bool,
    /// Whether a daemon of ours has asked it to.
    pub ours: bool,
    /// Whether it says that it is a router (IPv6).
    pub router: bool,
    /// Whether a routing daemon or another controller keeps it (`extern_learn`).
    pub external: bool,
}

/// What the kernel thinks of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourState {
    /// Made, and nothing done about it yet.
    None,
    /// Asked for, no answer yet.
    Incomplete,
    /// Known and confirmed lately.
    Reachable,
    /// Known, not confirmed lately.
    Stale,
    /// Known; asked again shortly unless traffic confirms it.
    Delay,
    /// Known, and being asked again.
    Probe,
    /// It did not answer.
    Failed,
    /// The link needs no resolution.
    NoArp,
    /// Set by hand.
    Permanent,
}

impl NeighbourState {
    /// Whether packets may be sent to the Ethernet address of an entry in this state.
    #[must_use]
    pub const fn is_usable(self) -> bool {
        match self {
            Self::Reachable
            | Self::Stale
            | Self::Delay
            | Self::Probe
            | Self::NoArp
            | Self::Permanent => true,
            Self::None | Self::Incomplete | Self::Failed => false,
        }
    }

    /// Whether the entry is beyond the kernel's own resolution, which must then be left alone.
    const fn is_static(self) -> bool {
        matches!(self, Self::NoArp | Self::Permanent)
    }

    fn from_kernel(state: KernelState) -> Self {
        match state {
            KernelState::Incomplete => Self::Incomplete,
            KernelState::Reachable => Self::Reachable,
            KernelState::Stale => Self::Stale,
            KernelState::Delay => Self::Delay,
            KernelState::Probe => Self::Probe,
            KernelState::Failed => Self::Failed,
            KernelState::Noarp => Self::NoArp,
            KernelState::Permanent => Self::Permanent,
            _ => Self::None,
        }
    }
}

/// As `ip neighbour` prints it, in lower case.
impl fmt::Display for NeighbourState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Incomplete => "incomplete",
            Self::Reachable => "reachable",
            Self::Stale => "stale",
            Self::Delay => "delay",
            Self::Probe => "probe",
            Self::Failed => "failed",
            Self::NoArp => "noarp",
            Self::Permanent => "permanent",
        })
    }
}

impl Neighbour {
    /// The Ethernet address to send to, if there is one that may be used.
    #[must_use]
    pub fn usable_mac(&self) -> Option<Mac> {
        self.mac.filter(|_| self.state.is_usable())
    }

    /// Reads a neighbour message; `None` for bridge entries and proxies.
    pub(super) fn from_message(message: &NeighbourMessage) -> Option<Self> {
        if message.header.flags.contains(NeighbourFlags::Proxy) {
            return None;
        }
        let (mut ip, mut mac, mut managed, mut ours) = (None, None, false, false);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                    ip = Some(IpAddr::V4(*v4));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                    ip = Some(IpAddr::V6(*v6));
                }
                NeighbourAttribute::LinkLayerAddress(bytes) => {
                    mac = Mac::try_from(bytes.as_slice()).ok();
                }
                NeighbourAttribute::Protocol(protocol) => ours = *protocol == OURS,
                NeighbourAttribute::ExtFlags(flags) => {
                    managed = flags.contains(NeighbourExtFlags::Managed);
                }
                _ => {}
            }
        }
        Some(Self {
            ifindex: Ifindex::new(message.header.ifindex),
            ip: ip?,
            mac,
            state: NeighbourState::from_kernel(message.header.state),
            managed,
            ours: managed && ours,
            router: message.header.flags.contains(NeighbourFlags::Router),
            external: message.header.flags.contains(NeighbourFlags::ExtLearned),
        })
    }
}

impl Netlink {
    /// One entry of the neighbour table: `ip neighbour get IP dev DEV`.
    pub async fn neighbour(
        &self,
        ifindex: Ifindex,
        ip: IpAddr,
    ) -> Result<Option<Neighbour>, Error> {
        let question = RouteNetlinkMessage::GetNeighbour(about(ifindex, ip));
        match self
            .request("look up neighbour", &object(ifindex, ip), question, 0)
            .await
        {
            Ok(messages) => Ok(neighbours_in(messages).next()),
            Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENODEV)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The neighbour table: `ip neighbour show nud all`.
    pub async fn neighbours(&self) -> Result<Vec<Neighbour>, Error> {
        let question = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        let messages = self.dump("list", "neighbours", question).await?;
        Ok(neighbours_in(messages).collect())
    }

    /// Has the kernel resolve a neighbour as a packet to it would: `ip neighbour replace IP dev DEV use`. It asks at
    /// once where nothing usable is known, also after a failure, and confirms an old entry within seconds. Entries
    /// set by hand are left alone. The answer comes as an event.
    ///
    /// Ends [`Netlink::keep_resolved`] for that entry.
    pub async fn probe(&self, ifindex: Ifindex, ip: IpAddr) -> Result<(), Error> {
        self.resolve_neighbour("probe neighbour", ifindex, ip, NeighbourFlags::Use, None)
            .await
    }

    /// Has the kernel resolve a neighbour and keep it so without traffic, asking again by itself as long as the entry
    /// lives: `ip neighbour replace IP dev DEV managed`. The entry goes when its link goes down. Entries set by hand
    /// are left alone, and so are those that somebody else has the kernel keep.
    pub async fn keep_resolved(&self, ifindex: Ifindex, ip: IpAddr) -> Result<(), Error> {
        let managed = Some(NeighbourExtFlags::Managed);
        let flags = NeighbourFlags::empty();
        self.resolve_neighbour("keep neighbour", ifindex, ip, flags, managed)
            .await
    }

    /// Ends [`Netlink::keep_resolved`] for one entry. What somebody else has the kernel keep is left alone.
    pub async fn release(&self, ifindex: Ifindex, ip: IpAddr) -> Result<(), Error> {
        match self.neighbour(ifindex, ip).await? {
            Some(entry) if entry.ours => self.probe(ifindex, ip).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Ends [`Netlink::keep_resolved`] wherever a daemon of ours has asked for it in this network namespace.
    pub async fn release_all(&self) -> Result<(), Error> {
        for entry in self.neighbours().await? {
            if entry.ours {
                self.probe(entry.ifindex, entry.ip).await?;
            }
        }
        Ok(())
    }

    async fn resolve_neighbour(
        &self,
        operation: &'static str,
        ifindex: Ifindex,
        ip: IpAddr,
        flags: NeighbourFlags,
        more_flags: Option<NeighbourExtFlags>,
    ) -> Result<(), Error> {
        // The kernel would forget that the entry was set by hand.
        let known = self.neighbour(ifindex, ip).await?;
        let keep = more_flags.is_some();
        let is_others = |entry: Neighbour| entry.managed && !entry.ours;
        if known.is_some_and(|entry| entry.state.is_static() || (keep && is_others(entry))) {
            return Ok(());
        }
        let mut message = about(ifindex, ip);
        message.header.flags = flags;
        if let Some(more) = more_flags {
            message.attributes.push(NeighbourAttribute::ExtFlags(more));
            message.attributes.push(NeighbourAttribute::Protocol(OURS));
        }
        let change = RouteNetlinkMessage::NewNeighbour(message);
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.request(operation, &object(ifindex, ip), change, flags)
            .await
            .map(drop)
    }
}

fn about(ifindex: Ifindex, ip: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = ifindex.get();
    message
        .attributes
        .push(NeighbourAttribute::Destination(ip.into()));
    message
}

fn object(ifindex: Ifindex, ip: IpAddr) -> String {
    format!("{ip} on interface {ifindex}")
}

fn neighbours_in(messages: Vec<RouteNetlinkMessage>) -> impl Iterator<Item = Neighbour> {
    messages.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewNeighbour(neighbour) => Neighbour::from_message(&neighbour),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 0xb];

    #[test]
    fn only_known_states_are_usable() {
        use NeighbourState as S;
        for state in [
            S::Reachable,
            S::Stale,
            S::Delay,
            S::Probe,
            S::NoArp,
            S::Permanent,
        ] {
            assert_eq!(neighbour(state).usable_mac(), Some(MAC), "{state}");
        }
        for state in [S::None, S::Incomplete, S::Failed] {
            assert_eq!(neighbour(state).usable_mac(), None, "{state}");
        }
    }

    #[test]
    fn entries_of_bridges_and_proxies_are_not_neighbours() {
        let mut of_bridge = NeighbourMessage::default();
        of_bridge.header.family = AddressFamily::Bridge;
        of_bridge
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(MAC.to_vec()));
        let mut proxy = about(Ifindex::new(3), "192.0.2.2".parse().unwrap());
        proxy.header.flags = NeighbourFlags::Proxy;

        assert_eq!(Neighbour::from_message(&of_bridge), None);
        assert_eq!(Neighbour::from_message(&proxy), None);
    }

    fn neighbour(state: NeighbourState) -> Neighbour {
        let ip = "192.0.2.2".parse().unwrap();
        Neighbour {
            ifindex: Ifindex::new(3),
            ip,
            mac: Some(MAC),
            state,
            managed: false,
            ours: false,
            router: false,
            external: false,
        }
    }
}
