//! From layout 5 to 6: a port has the MAC of its interface's other end, and its hook among the flags.

use std::io;

use vtep_common::abi::map::name;

use super::{step::Step, tables::Tables};

pub(super) const STEP: Step = Step {
    from: 5,
    was: &[(name::PORTS, (4, size_of::<Port5>()))],
    migrate,
};

/// A port in layout 5.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[cfg_attr(test, derive(Debug, Default, PartialEq, Eq))]
struct Port5 {
    ifindex: u32,
    segment: u32,
    flags: u32,
    vlan: u16,
    hook: u16,
    mtu: u32,
    max_macs: u32,
    own_v4: u32,
}

/// A port in layout 6.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
struct Port6 {
    ifindex: u32,
    segment: u32,
    flags: u32,
    vlan: u16,
    other_end_high: u16,
    other_end_low: u32,
    mtu: u32,
    max_macs: u32,
    own_v4: u32,
}

/// The flag by which frames are handed to the other end.
const PEER_TARGET: u32 = 1 << 2;
/// The hooks of layout 5 other than the usual one, and their flags in layout 6.
const HOOKS: [(u16, u32); 2] = [(2, 1 << 29), (3, 1 << 30)];

/// The daemon finds out the other end's MAC when it starts. Until then nothing is handed over: frames go through the interface.
fn migrate(tables: &mut Tables<'_>) -> io::Result<()> {
    for (_, port) in tables.table(name::PORTS)? {
        let old = bytemuck::try_pod_read_unaligned(port)
            .map_err(|error| io::Error::other(error.to_string()))?;
        *port = bytemuck::bytes_of(&migrated(old)).to_vec();
    }
    Ok(())
}

fn migrated(old: Port5) -> Port6 {
    let Port5 {
        ifindex,
        segment,
        flags,
        vlan,
        hook,
        mtu,
        max_macs,
        own_v4,
    } = old;
    let hook = HOOKS.iter().find(|(code, _)| *code == hook);
    let flags = flags & !PEER_TARGET | hook.map_or(0, |(_, flag)| *flag);
    Port6 {
        ifindex,
        segment,
        flags,
        vlan,
        other_end_high: 0,
        other_end_low: 0,
        mtu,
        max_macs,
        own_v4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vtep_common::abi::port::Port;

    use super::{super::tables::fixed, *};

    /// Flags of layout 5.
    const FLAGS_5: u32 = 0x8000_ffff;

    fn port_5() -> impl Strategy<Value = Port5> {
        let words = any::<(u32, u32, u32, u16, u32, u32, u32)>();
        (words, 0..=3_u16).prop_map(|(words, hook)| {
            let (ifindex, segment, flags, vlan, mtu, max_macs, own_v4) = words;
            Port5 {
                ifindex,
                segment,
                flags: flags & FLAGS_5,
                vlan,
                hook,
                mtu,
                max_macs,
                own_v4,
            }
        })
    }

    proptest! {
        #[test]
        fn a_port_keeps_all_but_its_other_end(old in port_5()) {
            let new = migrated(old);

            let back = Port5 {
                ifindex: new.ifindex,
                segment: new.segment,
                flags: old.flags & PEER_TARGET | new.flags & FLAGS_5,
                vlan: new.vlan,
                hook: old.hook,
                mtu: new.mtu,
                max_macs: new.max_macs,
                own_v4: new.own_v4,
            };
            prop_assert_eq!(back, old);
            prop_assert_eq!((new.other_end_high, new.other_end_low), (0, 0));
            let hook = (new.flags >> 29 & 1, new.flags >> 30 & 1);
            prop_assert_eq!(hook, ((old.hook == 2).into(), (old.hook == 3).into()));
        }
    }

    #[test]
    fn a_slot_that_is_free_stays_so_and_what_is_no_port_is_refused() {
        let key = vec![0; 4];
        let free = fixed(&[(name::PORTS, vec![(key.clone(), vec![0; 28])])]);
        let mut tables = Tables::of(&free);
        migrate(&mut tables).unwrap();
        assert_eq!(
            tables.changed()[name::PORTS],
            [(key.clone(), vec![0; size_of::<Port6>()])]
        );

        let short = fixed(&[(name::PORTS, vec![(key, vec![0; 24])])]);
        assert!(migrate(&mut Tables::of(&short)).is_err());
    }

    /// While layout 6 is ours: what a step after this one needs no more.
    #[test]
    fn a_port_of_layout_6_is_what_this_build_has() {
        let old = Port5 {
            ifindex: 1,
            segment: 2,
            flags: 0x8000_0001,
            vlan: 3,
            hook: 3,
            mtu: 4,
            max_macs: 5,
            own_v4: 6,
        };

        let port: Port = bytemuck::cast(migrated(old));

        let vlan_and_mtu = (port.vlan, port.mtu);
        assert_eq!((port.ifindex, vlan_and_mtu), (1, (3, 4)));
        assert_eq!((port.max_macs, port.own_v4), (5, 6));
        assert!(port.has(Port::IN_USE) && port.has(Port::CONFIGURED) && port.has(Port::HOOK_XDP));
        assert!(!port.has(Port::HOOK_TC) && !port.has(Port::PEER_TARGET));
    }
}
