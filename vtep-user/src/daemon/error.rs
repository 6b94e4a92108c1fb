//! Why the daemon does not run.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
};

use crate::{
    api::socket::BindError, causes::with_causes, datapath::DatapathError, instance, model::Refusal,
    netlink,
};

/// Why the daemon does not run, or what it could not do.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Not enough rights.
    #[error("vtep needs {0}; run it as root")]
    Rights(String),
    /// The kernel lacks what is needed.
    #[error("Linux {found} is too old; vtep needs {needed} or newer")]
    Kernel {
        /// The running kernel.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// The kernel has no BPF.
    #[error("this kernel has no BPF (bpf(2): {0}); vtep needs one with CONFIG_BPF_SYSCALL")]
    NoBpf(io::Error),
    /// The configuration file asks for what cannot be had.
    #[error("{0}")]
    Config(Refusal),
    /// The uplink is down.
    #[error("interface {0} is down; bring it up with: ip link set dev {0} up")]
    LinkDown(String),
    /// The uplink carries no Ethernet frames.
    #[error("interface {0} carries no Ethernet frames; name an Ethernet interface")]
    NotEthernet(String),
    /// XDP does not see the VLAN tags of an uplink.
    #[error("{0}, or take packets at TC with: --uplink-hook tc")]
    UnseenTags(String),
    /// The same interface twice.
    #[error("interface {0} is named twice; name it once")]
    TwiceNamed(String),
    /// A local address that no VTEP can have.
    #[error("{ip} is {what}; name an address that other VTEPs can send to with: --local IP")]
    UnfitLocal {
        /// The address.
        ip: IpAddr,
        /// What it is.
        what: String,
    },
    /// A local address that the host does not have.
    #[error("{ip} is not an address of this host; add it with: ip address add {ip}/{} dev {dev}", if .ip.is_ipv4() { 32 } else { 128 })]
    NotLocal {
        /// The address.
        ip: IpAddr,
        /// An uplink.
        dev: String,
    },
    /// No address to send from.
    #[error(
        "{dev} has no address to send from; add one with: ip address add ADDRESS/PREFIX dev {dev}, or name one with: --local IP"
    )]
    NoAddress {
        /// The uplink.
        dev: String,
    },
    /// The pinned FDB has another size than asked for.
    #[error(
        "the FDB has a capacity of {found} entries, not {wanted}; it changes only after: vtep teardown{}",
        instance::option(.instance)
    )]
    FdbSize {
        /// The instance.
        instance: String,
        /// Its size.
        found: u32,
        /// The size asked for.
        wanted: u32,
    },
    /// Another UDP port than that of the pinned state.
    #[error(
        "the pinned state is for UDP port {found}, not {wanted}; it changes only after: vtep teardown{}",
        instance::option(.instance)
    )]
    UdpPort {
        /// The instance.
        instance: String,
        /// The port in use.
        found: u16,
        /// The port asked for.
        wanted: u16,
    },
    /// The metrics address cannot be had.
    #[error("serve metrics on {address}; choose another with: --metrics ADDRESS:PORT ({source})")]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is nothing to tear down.
    #[error("instance {instance} has nothing to remove; name another with: --instance NAME")]
    NothingThere {
        /// The instance.
        instance: String,
    },
    /// There is nothing to read.
    #[error("instance {instance} has nothing pinned; name another with: --instance NAME")]
    NothingPinned {
        /// The instance.
        instance: String,
    },
    /// A daemon that was running cannot go on.
    #[error(
        "{what}: {cause}; forwarding continues without a daemon; start it again with: vtep run"
    )]
    Broken {
        /// What does not work any more.
        what: &'static str,
        /// Why.
        cause: String,
    },
    /// The socket cannot be had.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// The kernel side failed.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// Netlink failed.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// The system refused.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A failure of ours, with its causes, as a refusal.
pub(super) fn internal(error: impl Error) -> Refusal {
    Refusal::internal(with_causes(&error))
}

impl From<DatapathError> for Refusal {
    fn from(error: DatapathError) -> Self {
        internal(error)
    }
}
