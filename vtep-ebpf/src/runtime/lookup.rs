//! The look-up of a frame from a port, in one global function: a tag can make it be done twice.

use vtep_common::{
    abi::{addr::MacAddr, port::PortKey},
    runtime::lookup::Lookup,
};

use crate::{runtime::scratch::Scratch, tables::KernelTables};

/// Looks up a frame from the port with this key.
#[inline(always)]
pub fn lookup_port(
    scratch: &Scratch,
    key: PortKey,
    source: MacAddr,
    destination: MacAddr,
) -> Lookup {
    find_port(key.word(), source.get(), destination.get());
    // SAFETY: the function has spilled it.
    *unsafe { scratch.spilled::<Lookup>() }
}

/// Spills the look-up of a frame. What it returns says nothing.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_port(key: u64, source: u64, destination: u64) -> u64 {
    if let Some(scratch) = Scratch::new() {
        let (source, destination) = (
            MacAddr::from_number(source),
            MacAddr::from_number(destination),
        );
        let key = PortKey::from_word(key);
        scratch.spill(&Lookup::of_port(key, source, destination, &KernelTables));
    }
    0
}
