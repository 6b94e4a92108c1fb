//! What both sides of the kernel border share: headers, tables, decisions.
#![cfg_attr(not(any(test, feature = "user")), no_std)]
