//! Where an interface has the VLAN tags of frames, asked of the kernel's `ethtool` family of generic netlink.

use std::io;

use vtep_common::abi::id::Ifindex;

use super::{
    Error, Netlink,
    generic::{self, attribute_bytes, attribute_of, attributes_of},
};

/// `ETHTOOL_MSG_FEATURES_GET`.
const FEATURES_GET: u8 = 11;
/// `ETHTOOL_A_FEATURES_HEADER`, of a question.
const HEADER: u16 = 1;
/// `ETHTOOL_A_HEADER_DEV_INDEX`.
const HEADER_DEV_INDEX: u16 = 1;
/// `ETHTOOL_A_FEATURES_ACTIVE`.
const ACTIVE: u16 = 4;
/// `ETHTOOL_A_BITSET_BITS`.
const BITS: u16 = 3;
/// `ETHTOOL_A_BITSET_BITS_BIT`.
const BIT: u16 = 1;
/// `ETHTOOL_A_BITSET_BIT_NAME`.
const BIT_NAME: u16 = 2;
/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;

/// Which frames of an interface have skb VLAN tags rather than in-band ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that the kernel reports one by one, not states of one machine"
)]
pub struct VlanOffload {
    /// 802.1Q tags of frames that it receives (`rxvlan`).
    pub rx: bool,
    /// 802.1ad tags of those.
    pub rx_service: bool,
    /// 802.1Q tags of frames that it sends (`txvlan`).
    pub tx: bool,
    /// 802.1ad tags of those.
    pub tx_service: bool,
}

impl Netlink {
    /// Where an interface has VLAN tags, in the calling thread's network namespace; `None` for one that does not exist.
    pub fn vlan_offload(&self, ifindex: Ifindex) -> Result<Option<VlanOffload>, Error> {
        ask(ifindex).map_err(|source| Error::Request {
            operation: "look up the offloads of interface",
            object: ifindex.to_string(),
            source,
        })
    }
}

fn ask(ifindex: Ifindex) -> io::Result<Option<VlanOffload>> {
    let index = attribute_bytes(HEADER_DEV_INDEX, &ifindex.get().to_ne_bytes());
    let header = attribute_bytes(HEADER | NESTED, &index);
    let Some(answer) = generic::ask("ethtool", FEATURES_GET, &header)? else {
        return Ok(None);
    };
    let active = answer.attribute(ACTIVE)?.unwrap_or_default();
    let bits = attribute_of(&active, BITS)?.unwrap_or_default();
    let mut offload = VlanOffload::default();
    for bit in attributes_of(&bits, BIT)? {
        let name = attribute_of(&bit, BIT_NAME)?.unwrap_or_default();
        match name.strip_suffix(b"\0").unwrap_or(&name) {
            b"rx-vlan-hw-parse" => offload.rx = true,
            b"rx-vlan-stag-hw-parse" => offload.rx_service = true,
            b"tx-vlan-hw-insert" => offload.tx = true,
            b"tx-vlan-stag-hw-insert" => offload.tx_service = true,
            _ => {}
        }
    }
    Ok(Some(offload))
}
