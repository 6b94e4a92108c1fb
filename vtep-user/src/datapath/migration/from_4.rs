//! From layout 4 to 5: a port has one of its IPv4 addresses at hand, for `--guard ip`.

use std::io;

use vtep_common::abi::map::name;

use super::{step::Step, tables::Tables};

pub(super) const STEP: Step = Step {
    from: 4,
    was: &[(name::PORTS, (4, PORT_4))],
    migrate,
};

/// Bytes of a port in layout 4, and of the address that it has in layout 5.
const PORT_4: usize = 24;
const OWN_V4: usize = 4;

/// No port of layout 4 has a guard of addresses, and without one the address is zero.
fn migrate(tables: &mut Tables<'_>) -> io::Result<()> {
    tables.each_value(name::PORTS, |port| port.resize(PORT_4 + OWN_V4, 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tables::fixed, *};

    proptest! {
        #[test]
        fn a_port_keeps_every_byte_and_has_no_address(
            ports in proptest::collection::vec(proptest::array::uniform24(any::<u8>()), 0..20),
        ) {
            let key = |slot: u32| slot.to_ne_bytes().to_vec();
            let old: Vec<_> = (0..).map(key).zip(ports.iter().map(|port| port.to_vec())).collect();
            let source = fixed(&[(name::PORTS, old.clone())]);
            let mut tables = Tables::of(&source);

            migrate(&mut tables).unwrap();

            let changed = tables.changed();
            let new = &changed[name::PORTS];
            prop_assert_eq!(new.len(), old.len());
            for ((key, port), (old_key, old_port)) in new.iter().zip(&old) {
                prop_assert_eq!(key, old_key);
                prop_assert_eq!(&port[..PORT_4], &old_port[..]);
                prop_assert_eq!(&port[PORT_4..], [0; OWN_V4]);
            }
        }
    }
}
