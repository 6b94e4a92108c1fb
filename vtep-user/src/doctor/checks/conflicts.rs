//! Others that have the UDP port, or a VNI.

use crate::doctor::{facts::Facts, finding::Finding};
use crate::netlink::{Conflict, LinkKind};

/// Who else has the UDP port, or one of the VNIs.
pub(in crate::doctor) fn others(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(conflict) = &facts.host.conflict {
        // Whose it is, and whether it is needed, the operator knows.
        let mend = match conflict {
            Conflict::VxlanDevice { name, .. } => show(name),
            Conflict::Socket { .. } => "ss -lunp".to_owned(),
        };
        // The sentence ends with what a daemon that is started is to do.
        let text = conflict.to_string();
        let finding = text.split_once("; ").map_or(&*text, |(finding, _)| finding);
        let finding = Finding::fail(finding, mend);
        found.push(finding.about(&format_args!("UDP port {}", facts.udp_port)));
    }
    let vnis = facts.rows(|daemon| &daemon.vnis);
    for link in &facts.host.links {
        let LinkKind::Vxlan {
            vni,
            external: false,
            ..
        } = link.kind
        else {
            continue;
        };
        if vnis.iter().any(|row| row.vni.get() == vni) {
            let name = &link.name;
            found.push(
                Finding::warn(
                    format!(
                        "the kernel's vxlan device {name} has the VNI too, and takes part in the same segment by another way"
                    ),
                    show(name),
                )
                .about(&format_args!("vni {vni}")),
            );
        }
    }
    found
}

/// What shows an interface.
fn show(name: &str) -> String {
    format!("ip -d link show dev {name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::testkit::{at_host, healthy, link};
    use crate::netlink::Process;

    #[test]
    fn a_kernel_device_with_one_of_our_vnis_is_named() {
        let device = |vni, external| {
            others(&at_host(|host| {
                let kind = LinkKind::Vxlan {
                    vni,
                    port: 8472,
                    external,
                    dev: None,
                };
                host.links.push(link(9, "vxlan100", kind));
            }))
        };
        assert_eq!(others(&healthy()), []);

        assert_eq!(
            device(100, false)[0].told(),
            ("WARN", "vni 100", "ip -d link show dev vxlan100")
        );
        assert_eq!([device(101, false), device(100, true)], [vec![], vec![]]);
    }

    #[test]
    fn who_has_the_udp_port_is_named() {
        let of = |conflict| others(&at_host(|host| host.conflict = Some(conflict)));
        let device = of(Conflict::VxlanDevice {
            name: "vxlan7".into(),
            vni: Some(7),
            port: 4789,
        });
        let socket = of(Conflict::Socket {
            address: "0.0.0.0:4789".parse().unwrap(),
            process: Some(Process {
                pid: 42,
                name: "ovs-vswitchd".into(),
            }),
        });

        assert_eq!(
            device[0].told(),
            ("FAIL", "UDP port 4789", "ip -d link show dev vxlan7")
        );
        assert_eq!(socket[0].told(), ("FAIL", "UDP port 4789", "ss -lunp"));
    }
}
