//! What lies in maps and rings: the border between the kernel side, the daemon, and the next daemon.
//!
//! All numbers are in host byte order unless a name ends in `_be`; padding is zero. Nothing here imports from the floors above.

pub mod addr;
pub mod event;
pub mod hash_table;
pub mod maps;
pub mod reason;
