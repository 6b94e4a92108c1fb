//! Reading what the kernel has. Nothing is changed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::facts::Facts;
use crate::netlink::{self, Netlink, Sent};

/// Reads what the kernel has in this thread's network namespace.
pub async fn collect() -> Result<Facts, netlink::Error> {
    let netlink = Netlink::open()?;
    let mut facts = Facts {
        links: netlink.links().await?,
        vxlans: netlink.vxlans().await?,
        bridges: netlink.bridge_settings().await?,
        fdb: netlink.fdb().await?,
        neighbours: netlink.neighbours().await?,
        addresses: netlink.addresses().await?,
        ways: std::collections::BTreeMap::new(),
    };
    for device in &facts.vxlans {
        let of_device = facts
            .fdb
            .iter()
            .filter(|entry| entry.ifindex == device.index);
        let vteps: BTreeSet<IpAddr> = of_device
            .filter_map(|entry| entry.dst)
            .chain(device.remote)
            .collect();
        for vtep in vteps {
            let sent = Sent {
                from: device.local,
                udp_port: Some(device.port),
                vrf: None,
            };
            if let Some(route) = netlink.resolve(vtep, sent).await?
                && !route.local
            {
                facts.ways.insert(vtep, route.oif);
            }
        }
    }
    Ok(facts)
}
