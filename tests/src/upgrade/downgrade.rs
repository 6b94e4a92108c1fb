//! What this build has pinned, in the form that an earlier build would have given it. The programs in the kernel keep the maps that they
//! have, and forward on: they stand in for those of the earlier build.

use std::collections::BTreeMap;
use std::fs;

use vtep_common::abi::port::Port;

use crate::bpf::map::{MapDump, from_hex, to_hex};
use crate::daemon::Daemon;

/// What builds of layout 4 did not have, at first.
const NEWER_THAN_4: [&str; 5] = [
    "NAMESPACE",
    "PORT_NAMES",
    "GUARDED",
    "CONFIGURED",
    "BRIDGES",
];
/// The hooks that a port can have had, by their flags now.
const HOOKS: [(u32, u16); 2] = [(1 << 29, 2), (1 << 30, 3)];

/// Pins what a daemon that runs no more has left as a build of `layout` would have, which is 4 or 5.
///
/// # Panics
///
/// If it has left nothing, or of another layout.
pub fn downgrade(daemon: &Daemon, layout: u32) {
    assert!(
        matches!(layout, 4 | 5),
        "how layout {layout} was is not known"
    );
    let pins = daemon.pins();
    let replace = |name: &str, change: &dyn Fn(&mut MapDump)| {
        let path = pins.join(name);
        let mut map = MapDump::read(&path);
        change(&mut map);
        fs::remove_file(&path).expect("remove a pin");
        map.pin(&path);
    };
    replace("PORTS", &|ports| {
        ports.entries = changed(&ports.entries, |value| port(value, layout));
        ports.value_size = if layout == 4 { 24 } else { 28 };
    });
    replace("CONFIG", &|config| {
        config.entries = changed(&config.entries, |config| {
            [&layout.to_ne_bytes(), &config[4..]].concat()
        });
    });
    if layout == 4 {
        for name in NEWER_THAN_4 {
            fs::remove_file(pins.join(name)).expect("remove a pin");
        }
    }
}

fn changed(
    entries: &BTreeMap<String, String>,
    change: impl Fn(&[u8]) -> Vec<u8>,
) -> BTreeMap<String, String> {
    let change =
        |(key, value): (&String, &String)| (key.clone(), to_hex(&change(&from_hex(value))));
    entries.iter().map(change).collect()
}

/// A port as a layout before 6 has it.
fn port(value: &[u8], layout: u32) -> Vec<u8> {
    let mut whole = value.to_vec();
    whole.resize(size_of::<Port>(), 0);
    let port: Port = bytemuck::pod_read_unaligned(&whole);
    let flags = port.flags.bits();
    let hook = HOOKS.iter().find(|(flag, _)| flags & flag != 0);
    let flags = HOOKS.iter().fold(flags, |flags, (flag, _)| flags & !flag);
    let mut old = Vec::new();
    for word in [port.ifindex, port.segment.get(), flags] {
        old.extend(word.to_ne_bytes());
    }
    for half in [port.vlan, hook.map_or(1, |(_, code)| *code)] {
        old.extend(half.to_ne_bytes());
    }
    for word in [port.mtu, port.max_macs] {
        old.extend(word.to_ne_bytes());
    }
    if layout > 4 {
        old.extend(port.own_v4.to_ne_bytes());
    }
    old
}
