//! A sink that throws away the frames of one length that come to a device, and counts them.

use std::os::fd::OwnedFd;

use crate::asm::{Asm, Helper, Reg, Size};
use crate::bpf::{Attr, bpf, number, owned, set_address};
use crate::ns::Ns;
use crate::program::{Kind, Program, TC_SHOT};

const MAP_CREATE: i64 = 0;
const MAP_LOOKUP: i64 = 1;
const MAP_TYPE_ARRAY: u32 = 2;
/// `TCX_NEXT`: as if the program were not there.
const TC_NEXT: i32 = -1;

/// The sink; gone when dropped.
#[derive(Debug)]
pub struct Counter {
    map: OwnedFd,
    _program: Program,
    _link: OwnedFd,
}

impl Counter {
    /// Throws away the frames of `length` bytes that come to a device, where TC sees them first.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    #[must_use]
    pub fn at(ns: &Ns, device: &str, length: usize) -> Self {
        let mut attr: Attr = [0; 32];
        (attr[0], attr[1], attr[2], attr[3]) = (MAP_TYPE_ARRAY, 4, 8, 1);
        let map = owned(bpf(MAP_CREATE, &mut attr), "create a map of one number");
        let length = i32::try_from(length).expect("a length");
        let asm = Asm::new()
            // The length is the first word of `__sk_buff`.
            .load(Size::Word, Reg::R2, Reg::R1, 0)
            .jump_equal(Reg::R2, length, 2)
            .returns(TC_NEXT)
            .store_number(Size::Word, Reg::R10, -4, 0)
            .map(Reg::R1, &map)
            .copy(Reg::R2, Reg::R10)
            .add(Reg::R2, -4)
            .call(Helper::MapLookupElem)
            .jump_equal(Reg::R0, 0, 2)
            .set(Reg::R1, 1)
            .add_to_memory(Reg::R0, 0, Reg::R1)
            .returns(TC_SHOT);
        let program = Program::load(Kind::Tc, &asm);
        let link = program.attach(ns, device);
        Self {
            map,
            _program: program,
            _link: link,
        }
    }

    /// How many came so far.
    ///
    /// # Panics
    ///
    /// If the kernel does not say.
    #[must_use]
    pub fn count(&self) -> u64 {
        let (key, mut value) = (0_u32, 0_u64);
        let mut attr: Attr = [0; 32];
        attr[0] = number(&self.map);
        set_address(&mut attr, 2, &raw const key);
        set_address(&mut attr, 4, (&raw mut value).cast_const());
        bpf(MAP_LOOKUP, &mut attr).unwrap_or_else(|error| panic!("read a counter: {error}"));
        value
    }
}
