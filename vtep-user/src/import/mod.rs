//! `vtep import kernel`: what the kernel's vxlan devices and bridges do, as a configuration of ours.
//!
//! [`collect`] reads what the kernel has, and changes nothing; [`configuration`] is a function from that to rows: commands, and what is left
//! out with what to type instead.

mod collect;
mod device;
mod entries;
mod error;
mod facts;
mod options;
mod ports;
mod rows;
mod segments;
mod taken;

pub use collect::collect;
pub use error::ImportError;
pub use facts::Facts;

use crate::model::{ImportRow, Op, VniSpec};
use crate::netlink::Vxlan;
use device::Manner;
use rows::Rows;
use taken::Taken;

/// The rows for what the kernel has. Of several UDP ports it is the one that is asked for, or that of most devices.
///
/// # Errors
///
/// If there is no such device.
pub fn configuration(facts: &Facts, udp_port: Option<u16>) -> Result<Vec<ImportRow>, ImportError> {
    let devices = facts.devices();
    let port = options::port(&devices, udp_port)?;
    let mut rows = Rows::default();
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        devices.into_iter().partition(|device| device.port == port);
    let mut taken = Taken {
        uplinks: options::uplinks(facts, &here),
        ..Taken::default()
    };
    options::run_line(facts, &here, &taken.uplinks, port, &mut rows);
    for device in &here {
        import(facts, device, &mut taken, &mut rows);
    }
    for device in elsewhere {
        rows.of_device(&facts.name(device.index));
        rows.left_out(
            format!(
                "is on UDP port {}, and a daemon has one: it takes an instance of its own",
                device.port
            ),
            [format!("vtep import kernel --udp-port {}", device.port)],
        );
    }
    Ok(rows.all)
}

/// All that one device carries.
fn import(facts: &Facts, device: &Vxlan, taken: &mut Taken, rows: &mut Rows) {
    let name = facts.name(device.index);
    rows.of_device(&name);
    if let Some(why) = device::unfit(device) {
        rows.left_out(why, []);
        return;
    }
    let segments = segments::of(facts, device, rows);
    for segment in segments {
        rows.of_vni(Some(segment.vni));
        if let Some(other) = taken.vnis.get(&segment.vni) {
            let vni = segment.vni;
            rows.left_out(
                format!("vni {vni} is that of {other} already, and a VNI has one set of entries"),
                [format!(
                    "vtep fdb append 00:00:00:00:00:00 --vni {vni} --dst VTEP"
                )],
            );
            continue;
        }
        taken.vnis.insert(segment.vni, name.clone());
        let entries = entries::of(facts, device, &segment);
        let place = ports::place(facts, device, &segment, taken, rows);
        let manner = Manner::of(device, &entries, place.suppress);
        let spec = VniSpec {
            bridge: place.bridge.clone(),
            inner_vlan: place.inner_vlan,
            ..device::spec(device, &entries, manner)
        };
        rows.command(&Op::VniAdd {
            vni: segment.vni,
            spec: Box::new(spec),
        });
        for port in place.ports {
            rows.command(&Op::PortAdd(Box::new(port)));
        }
        for op in entries.ops {
            rows.command(&op);
        }
        if manner.suppress {
            entries::neighbours(facts, device, &segment, rows);
        }
        for (what, instead) in place.left_out.into_iter().chain(entries.left_out) {
            rows.left_out(what, instead);
        }
        device::differences(facts, device, segment.vni, manner, rows);
    }
    rows.of_vni(None);
}

#[cfg(test)]
mod tests;
