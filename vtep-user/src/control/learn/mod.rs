//! What goes on by itself: learning, ageing, hosts that are snooped, and what is announced and reported of it.

pub(crate) mod age;
pub(crate) mod announce;
pub(crate) mod mac;
pub(crate) mod notify;
pub(crate) mod snoop;
