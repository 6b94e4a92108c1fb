//! What an underlay address is to us.
//!
//! `LOCALS` and `PEER_INDEX` say it to the daemon, each its part; `ADDRESSES` says all of it to the programs, in one look-up.

use std::{collections::BTreeMap, net::IpAddr};

use vtep_common::abi::{
    addr::VtepAddr,
    address::{Address, LOCAL_GROUP},
    id::PeerId,
    map::name,
};

use super::{
    Datapath, Maps,
    error::DatapathError,
    tables::{entries, many, put_word, set, word},
};

/// The bit of an [`Address`] that a value in `LOCALS` stands for.
const fn bit(what: u32) -> u64 {
    if what == LOCAL_GROUP {
        Address::GROUP
    } else {
        Address::OWN
    }
}

impl Maps {
    /// Makes `ADDRESSES` say what `LOCALS` and `PEER_INDEX` do: a daemon that was killed may have written only one of them.
    pub(super) fn repeat_addresses(&mut self) -> Result<(), DatapathError> {
        let seed = self.addresses.geometry().seed;
        let mut wanted: BTreeMap<u64, Address> = BTreeMap::new();
        for (addr, peer) in entries(&self.peer_index, name::PEER_INDEX)? {
            let address = wanted.entry(addr.key(seed)).or_default();
            *address = address.with_peer(Some(peer));
        }
        for (addr, what) in entries(&self.locals, name::LOCALS)? {
            let address = wanted.entry(addr.key(seed)).or_default();
            *address = address.with(bit(what), true);
        }
        // What is gone goes first: its place may be needed.
        for (key, _) in many(self.addresses.entries(), name::ADDRESSES)? {
            if !wanted.contains_key(&key) {
                put_word(&mut self.addresses, name::ADDRESSES, key, 0)?;
            }
        }
        for (key, address) in wanted {
            put_word(&mut self.addresses, name::ADDRESSES, key, address.word())?;
        }
        Ok(())
    }

    /// Makes an address one of ours, `what` being a value of `LOCALS`, or no longer.
    pub(super) fn set_local(
        &mut self,
        addr: VtepAddr,
        what: u32,
        present: bool,
    ) -> Result<(), DatapathError> {
        let value = present.then_some(what);
        set(&mut self.locals, name::LOCALS, addr, value)?;
        self.set_address(addr, |address| address.with(bit(what), present))
    }

    /// Makes an address that of a peer, or of none.
    pub(super) fn set_peer(
        &mut self,
        addr: VtepAddr,
        peer: Option<PeerId>,
    ) -> Result<(), DatapathError> {
        set(&mut self.peer_index, name::PEER_INDEX, addr, peer)?;
        self.set_address(addr, |address| address.with_peer(peer))
    }

    fn set_address(
        &mut self,
        addr: VtepAddr,
        change: impl FnOnce(Address) -> Address,
    ) -> Result<(), DatapathError> {
        let table = &mut self.addresses;
        let key = addr.key(table.geometry().seed);
        let old = Address::from_word(word(table, name::ADDRESSES, key)?.unwrap_or(0));
        put_word(table, name::ADDRESSES, key, change(old).word())
    }
}

impl Datapath {
    /// What the programs know of an underlay address.
    #[must_use]
    pub fn address(&self, addr: IpAddr) -> Address {
        let table = &self.maps.addresses;
        let key = VtepAddr::from(addr).key(table.geometry().seed);
        Address::from_word(table.get(key).ok().flatten().unwrap_or(0))
    }
}
