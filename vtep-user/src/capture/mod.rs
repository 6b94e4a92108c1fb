//! What is made of captured frames: the inner frame, whether it is wanted, what is said of it, and the forms that it is printed in. No I/O
//! but the writing of the file.

pub mod allowance;
pub mod comment;
pub mod inner;
pub mod live;
pub mod pcapng;
pub mod row;
pub mod wanted;
