//! From one build of `vtep` to the next: a hypervisor on which the earlier one has worked, and what that had pinned, kept in a file.

pub mod downgrade;
pub mod fixture;
pub mod scene;
