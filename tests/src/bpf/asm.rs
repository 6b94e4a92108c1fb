//! An assembler for the few small programs that measurements need: floors, senders and sinks.
//!
//! Instructions are those of the kernel's `Documentation/bpf/standardization/instruction-set.rst` (RFC 9669).

use std::os::fd::{AsFd, AsRawFd as _};

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are numbers")]
pub enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    /// The frame pointer.
    R10,
}

/// How much memory an instruction moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 32 bits.
    Word = 0x00,
    /// 16 bits.
    Half = 0x08,
    /// 8 bits.
    Byte = 0x10,
    /// 64 bits.
    Double = 0x18,
}

/// Helpers by their numbers (kernel `include/uapi/linux/bpf.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel documents them")]
pub enum Helper {
    MapLookupElem = 1,
    PrandomU32 = 7,
    TailCall = 12,
    SkbVlanPush = 18,
    Redirect = 23,
    SkbChangeHead = 43,
    XdpAdjustHead = 44,
    SkbAdjustRoom = 50,
}

const LD_IMM_64: u8 = 0x18;
const LDX_MEM: u8 = 0x61;
const ST_MEM: u8 = 0x62;
const STX_MEM: u8 = 0x63;
const MOV_IMM: u8 = 0xb7;
const MOV_REG: u8 = 0xbf;
const ADD_IMM: u8 = 0x07;
const ADD_REG: u8 = 0x0f;
const SUB_REG: u8 = 0x1f;
const AND_IMM: u8 = 0x57;
const MUL_IMM: u8 = 0x27;
const MUL_REG: u8 = 0x2f;
const REMAINDER_IMM: u8 = 0x97;
const SHIFT_RIGHT_IMM: u8 = 0x77;
const OR_REG: u8 = 0x4f;
const XOR_REG: u8 = 0xaf;
const JUMP_OTHER: u8 = 0x5d;
const ATOMIC: u8 = 0xdb;
const JUMP: u8 = 0x05;
const JUMP_GREATER: u8 = 0x2d;
const JUMP_EQUAL_IMM: u8 = 0x15;
const JUMP_LESS_IMM: u8 = 0xa5;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// What [`ATOMIC`] does: adds, and hands out what was there before.
const FETCH_ADD: i32 = 1;
/// In the source register of [`LD_IMM_64`]: the number is a map's descriptor.
const PSEUDO_MAP_FD: u8 = 1;

/// A program being written.
#[derive(Clone, Debug, Default)]
pub struct Asm(Vec<u64>);

impl Asm {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The instructions, 64 bits each.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    fn push(mut self, code: u8, dst: Reg, src: u8, offset: i16, number: i32) -> Self {
        let mut bytes = [0; 8];
        bytes[0] = code;
        bytes[1] = (src << 4) | dst as u8;
        bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
        bytes[4..8].copy_from_slice(&number.to_ne_bytes());
        self.0.push(u64::from_ne_bytes(bytes));
        self
    }

    /// `dst = number`
    #[must_use]
    pub fn set(self, dst: Reg, number: i32) -> Self {
        self.push(MOV_IMM, dst, 0, 0, number)
    }

    /// `dst = src`
    #[must_use]
    pub fn copy(self, dst: Reg, src: Reg) -> Self {
        self.push(MOV_REG, dst, src as u8, 0, 0)
    }

    /// `dst += number`
    #[must_use]
    pub fn add(self, dst: Reg, number: i32) -> Self {
        self.push(ADD_IMM, dst, 0, 0, number)
    }

    /// `dst += src`
    #[must_use]
    pub fn add_reg(self, dst: Reg, src: Reg) -> Self {
        self.push(ADD_REG, dst, src as u8, 0, 0)
    }

    /// `dst -= src`
    #[must_use]
    pub fn sub_reg(self, dst: Reg, src: Reg) -> Self {
        self.push(SUB_REG, dst, src as u8, 0, 0)
    }

    /// `dst &= number`
    #[must_use]
    pub fn and(self, dst: Reg, number: i32) -> Self {
        self.push(AND_IMM, dst, 0, 0, number)
    }

    /// `dst *= number`
    #[must_use]
    pub fn mul(self, dst: Reg, number: i32) -> Self {
        self.push(MUL_IMM, dst, 0, 0, number)
    }

    /// `dst *= src`
    #[must_use]
    pub fn mul_reg(self, dst: Reg, src: Reg) -> Self {
        self.push(MUL_REG, dst, src as u8, 0, 0)
    }

    /// `dst %= number`, both unsigned
    #[must_use]
    pub fn remainder(self, dst: Reg, number: i32) -> Self {
        self.push(REMAINDER_IMM, dst, 0, 0, number)
    }

    /// `dst >>= bits`, filled with zeros
    #[must_use]
    pub fn shift_right(self, dst: Reg, bits: i32) -> Self {
        self.push(SHIFT_RIGHT_IMM, dst, 0, 0, bits)
    }

    /// `dst |= src`
    #[must_use]
    pub fn or_reg(self, dst: Reg, src: Reg) -> Self {
        self.push(OR_REG, dst, src as u8, 0, 0)
    }

    /// `dst ^= src`
    #[must_use]
    pub fn xor_reg(self, dst: Reg, src: Reg) -> Self {
        self.push(XOR_REG, dst, src as u8, 0, 0)
    }

    /// Goes on `skip` instructions further if `left != right`.
    #[must_use]
    pub fn jump_other(self, left: Reg, right: Reg, skip: i16) -> Self {
        self.push(JUMP_OTHER, left, right as u8, skip, 0)
    }

    /// `dst = number`, all 64 bits of it
    #[must_use]
    pub fn set_long(mut self, dst: Reg, number: u64) -> Self {
        let halves = [number, number >> 32].map(|half| {
            let [a, b, c, d, ..] = half.to_le_bytes();
            i32::from_le_bytes([a, b, c, d])
        });
        self = self.push(LD_IMM_64, dst, 0, 0, halves[0]);
        self.push(0, Reg::R0, 0, 0, halves[1])
    }

    /// Adds `reg` to the 64 bits at `dst + offset`, for all processors at once; `reg` is then what was there before.
    #[must_use]
    pub fn fetch_add(self, dst: Reg, offset: i16, reg: Reg) -> Self {
        self.push(ATOMIC, dst, reg as u8, offset, FETCH_ADD)
    }

    /// `dst = map`
    #[must_use]
    pub fn map(mut self, dst: Reg, map: &impl AsFd) -> Self {
        let fd = map.as_fd().as_raw_fd();
        self = self.push(LD_IMM_64, dst, PSEUDO_MAP_FD, 0, fd);
        // The upper half of the number takes an instruction of its own.
        self.0.push(0);
        self
    }

    /// `dst = *(size *)(src + offset)`
    #[must_use]
    pub fn load(self, size: Size, dst: Reg, src: Reg, offset: i16) -> Self {
        self.push(LDX_MEM | size as u8, dst, src as u8, offset, 0)
    }

    /// `*(size *)(dst + offset) = src`
    #[must_use]
    pub fn store(self, size: Size, dst: Reg, offset: i16, src: Reg) -> Self {
        self.push(STX_MEM | size as u8, dst, src as u8, offset, 0)
    }

    /// `*(size *)(dst + offset) = number`
    #[must_use]
    pub fn store_number(self, size: Size, dst: Reg, offset: i16, number: i32) -> Self {
        self.push(ST_MEM | size as u8, dst, 0, offset, number)
    }

    /// Stores bytes at `dst + offset`, in as few instructions as it takes.
    ///
    /// # Panics
    ///
    /// If they reach further than an instruction can.
    #[must_use]
    pub fn store_bytes(mut self, dst: Reg, offset: i16, bytes: &[u8]) -> Self {
        let mut at = 0;
        while at < bytes.len() {
            let (size, length) = match bytes.len() - at {
                4.. => (Size::Word, 4),
                2..=3 => (Size::Half, 2),
                _ => (Size::Byte, 1),
            };
            let mut word = [0; 4];
            word[..length].copy_from_slice(&bytes[at..at + length]);
            let place = offset + i16::try_from(at).expect("a short offset");
            self = self.store_number(size, dst, place, i32::from_le_bytes(word));
            at += length;
        }
        self
    }

    /// Goes on `skip` instructions further.
    #[must_use]
    pub fn jump(self, skip: i16) -> Self {
        self.push(JUMP, Reg::R0, 0, skip, 0)
    }

    /// Goes on `skip` instructions further if `left > right`.
    #[must_use]
    pub fn jump_greater(self, left: Reg, right: Reg, skip: i16) -> Self {
        self.push(JUMP_GREATER, left, right as u8, skip, 0)
    }

    /// Goes on `skip` instructions further if `left == number`.
    #[must_use]
    pub fn jump_equal(self, left: Reg, number: i32, skip: i16) -> Self {
        self.push(JUMP_EQUAL_IMM, left, 0, skip, number)
    }

    /// Goes on `skip` instructions further if `left < number`, both unsigned.
    #[must_use]
    pub fn jump_less(self, left: Reg, number: i32, skip: i16) -> Self {
        self.push(JUMP_LESS_IMM, left, 0, skip, number)
    }

    /// Calls a helper; arguments are in R1 to R5, its answer will be in R0.
    #[must_use]
    pub fn call(self, helper: Helper) -> Self {
        self.push(CALL, Reg::R0, 0, 0, helper as i32)
    }

    /// Where [`Asm::look_up`] has the number of a place: below the frame pointer, 32 bits.
    pub const PLACE: i16 = -4;

    /// `R0 = ` the value of an array map at the place whose number is at R10 + [`Asm::PLACE`]; goes on `skip` instructions further
    /// if there is none.
    #[must_use]
    pub fn look_up(self, map: &impl AsFd, skip: i16) -> Self {
        self.map(Reg::R1, map)
            .copy(Reg::R2, Reg::R10)
            .add(Reg::R2, Self::PLACE.into())
            .call(Helper::MapLookupElem)
            .jump_equal(Reg::R0, 0, skip)
    }

    /// Returns with the frame sent out of an interface.
    ///
    /// # Panics
    ///
    /// If there is no such number of an interface.
    #[must_use]
    pub fn redirect(self, ifindex: u32) -> Self {
        let ifindex = i32::try_from(ifindex).expect("an interface index");
        self.set(Reg::R1, ifindex)
            .set(Reg::R2, 0)
            .call(Helper::Redirect)
            .exit()
    }

    /// Returns what is in R0.
    #[must_use]
    pub fn exit(self) -> Self {
        self.push(EXIT, Reg::R0, 0, 0, 0)
    }

    /// Returns a number.
    #[must_use]
    pub fn returns(self, number: i32) -> Self {
        self.set(Reg::R0, number).exit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_as_the_standard_has_them() {
        let asm = Asm::new()
            .set(Reg::R0, 2)
            .store(Size::Double, Reg::R10, -8, Reg::R1)
            .call(Helper::Redirect)
            .exit();

        let bytes: Vec<u8> = asm
            .words()
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();

        assert_eq!(
            bytes,
            [
                [0xb7, 0, 0, 0, 2, 0, 0, 0],
                [0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0],
                [0x85, 0, 0, 0, 23, 0, 0, 0],
                [0x95, 0, 0, 0, 0, 0, 0, 0],
            ]
            .concat()
        );
    }

    #[test]
    fn a_long_number_takes_two_instructions_and_an_atomic_one_says_what_it_does() {
        let asm = Asm::new()
            .set_long(Reg::R1, 0x1122_3344_5566_7788)
            .fetch_add(Reg::R0, 4, Reg::R7);

        let bytes: Vec<u8> = asm
            .words()
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();

        assert_eq!(
            bytes,
            [
                [0x18, 1, 0, 0, 0x88, 0x77, 0x66, 0x55],
                [0, 0, 0, 0, 0x44, 0x33, 0x22, 0x11],
                [0xdb, 0x70, 4, 0, 1, 0, 0, 0],
            ]
            .concat()
        );
    }

    #[test]
    fn a_look_up_and_a_redirect_are_the_instructions_that_they_stand_for() {
        let map = std::io::stdin();
        let short = Asm::new().look_up(&map, 3).redirect(7);
        let long = Asm::new()
            .map(Reg::R1, &map)
            .copy(Reg::R2, Reg::R10)
            .add(Reg::R2, -4)
            .call(Helper::MapLookupElem)
            .jump_equal(Reg::R0, 0, 3)
            .set(Reg::R1, 7)
            .set(Reg::R2, 0)
            .call(Helper::Redirect)
            .exit();

        assert_eq!(short.words(), long.words());
    }

    #[test]
    fn bytes_are_stored_in_words_halves_and_bytes() {
        let asm = Asm::new().store_bytes(Reg::R1, 4, &[1, 2, 3, 4, 5, 6, 7]);

        assert_eq!(asm.words().len(), 3);
    }
}
