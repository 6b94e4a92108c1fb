//! The other end of a veth, asked of the kernel where it lies in another network namespace.

use std::io;

use rtnetlink::sys::{Socket, protocols::NETLINK_ROUTE};

use super::{
    Error, Link, LinkKind, Mac, Netlink,
    generic::{self, attribute_bytes, attribute_of},
};

/// `RTM_GETLINK`.
const GET_LINK: u16 = 18;
/// `IFLA_ADDRESS`.
const ADDRESS: u16 = 1;
/// `IFLA_EXT_MASK`.
const EXT_MASK: u16 = 29;
/// `RTEXT_FILTER_SKIP_STATS`.
const SKIP_STATS: u32 = 8;
/// `IFLA_TARGET_NETNSID`: the namespace that the question is about, by its number in the one that asks. Since Linux 4.20.
const TARGET_NETNSID: u16 = 46;
/// Bytes of `struct ifinfomsg`.
const IFINFO_LEN: usize = 16;

impl Netlink {
    /// The MAC of the other end of a veth in another network namespace; `None` for every other interface, where the other end is
    /// gone, and where the namespace is one that this process has no say in.
    ///
    /// The question is asked in the calling thread's network namespace, and answered at once.
    pub fn other_end(&self, link: &Link) -> Result<Option<Mac>, Error> {
        let (LinkKind::Veth, Some(namespace), Some(index)) =
            (&link.kind, link.peer_netns, link.peer)
        else {
            return Ok(None);
        };
        ask(namespace, index.get()).map_err(|source| Error::Request {
            operation: "look up the other end of interface",
            object: link.name.clone(),
            source,
        })
    }
}

fn ask(namespace: i32, index: u32) -> io::Result<Option<Mac>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    let attributes = [
        attribute_bytes(TARGET_NETNSID, &namespace.to_ne_bytes()),
        attribute_bytes(EXT_MASK, &SKIP_STATS.to_ne_bytes()),
    ];
    let question = generic::request(GET_LINK, &ifinfo(index), &attributes.concat());
    match generic::exchange(&socket, &question, IFINFO_LEN) {
        Ok(None) => Ok(None),
        Ok(Some(answer)) => {
            let mac = attribute_of(&answer, ADDRESS)?;
            Ok(mac.and_then(|bytes| Mac::try_from(bytes.as_slice()).ok()))
        }
        // A namespace that is gone has no number any more; of one that belongs to another user nothing is said.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EINVAL | libc::EACCES | libc::EPERM)
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// `struct ifinfomsg` that asks for one interface.
fn ifinfo(index: u32) -> [u8; IFINFO_LEN] {
    let mut bytes = [0; IFINFO_LEN];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes
}
