//! The VNIs of a device: its own, or those that VLANs of its bridge have.

use super::facts::Facts;
use super::rows::Rows;
use crate::model::Vni;
use crate::netlink::Vxlan;

/// A VNI of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The VNI.
    pub(super) vni: Vni,
    /// The VLAN of a bridge that tells VLANs apart whose frames it carries.
    pub(super) vlan: Option<u16>,
    /// Whether it is one of several of the device, and has those of its entries that name it.
    pub(super) named: bool,
}

/// The VNIs of a device. What has none that can be told is left out.
pub(super) fn of(facts: &Facts, device: &Vxlan, rows: &mut Rows) -> Vec<Segment> {
    let vlans = facts.vlans(device.index);
    let aware = facts.vlan_aware_bridge(device.index);
    if !device.external {
        // Frames of the VLAN that leaves without a tag are those that the VNI carries.
        let own = vlans.vlans.iter().find(|vlan| vlan.pvid && vlan.untagged);
        let own = own.map(|vlan| vlan.vlan);
        if let Some(bridge) = aware
            && own.is_none()
        {
            rows.left_out(
                format!(
                    "no VLAN of {} leaves without a tag here, so the VNI has no ports",
                    bridge.name
                ),
                [format!("vtep port add DEV --vni {} --vlan ID", device.vni)],
            );
        }
        let segment = Vni::new(device.vni).map(|vni| Segment {
            vni,
            vlan: aware.and(own),
            named: false,
        });
        return segment.into_iter().collect();
    }
    if aware.is_none() || !facts.member(device.index).vlan_tunnel || vlans.tunnels.is_empty() {
        rows.left_out(
            "is external, and no bridge has VLANs for its VNIs (bridge vlan tunnelshow): Open vSwitch, routes with encap or a program decide them",
            [
                "vtep vni add VNI".to_owned(),
                "vtep port add DEV --vni VNI".to_owned(),
            ],
        );
        return Vec::new();
    }
    if device.vnifilter {
        rows.left_out(
            "has a filter of VNIs, of which those without a VLAN are left out, and groups of their own too",
            ["bridge vni show".to_owned()],
        );
    }
    let tunnels = vlans.tunnels.iter();
    tunnels
        .filter_map(|&(vlan, vni)| {
            Some(Segment {
                vni: Vni::new(vni)?,
                vlan: Some(vlan),
                named: true,
            })
        })
        .collect()
}
