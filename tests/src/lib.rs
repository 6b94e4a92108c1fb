//! The lab that the kernel tests share.
