//! Hash tables for what is looked up for every entry and every event.
//!
//! Their hash is a few multiplications, where that of the standard library takes longer than all else that an event asks for. It
//! is seeded anew for each table, so that nobody who makes up MACs knows which of them meet.

use foldhash::fast::RandomState;

/// A table of values by their keys.
pub(crate) type Map<K, V> = std::collections::HashMap<K, V, RandomState>;

/// A set of values.
pub(crate) type Set<T> = std::collections::HashSet<T, RandomState>;
