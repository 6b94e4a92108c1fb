//! How much stack a loaded program takes, read from the instructions that the kernel runs.

use std::os::fd::{AsFd, AsRawFd as _};

use crate::bpf::{Attr, bpf, set_address};

const OBJ_GET_INFO_BY_FD: i64 = 15;
/// Length of an instruction.
const INSTRUCTION: usize = 8;
/// Length of what is said of a function: where it begins, and its type.
const FUNCTION: usize = 8;
/// What kernels before 6.8 round the stack of a function up to, and later ones where they have no JIT.
const GRAIN: u32 = 32;
/// The register that holds the end of a function's stack.
const FRAME: usize = 10;
/// Marks of a call, and of an address, of another function of the program.
const PSEUDO_CALL: usize = 1;
const PSEUDO_FUNC: usize = 4;

/// `struct bpf_prog_info`, as words of 32 bits; what later kernels add is left out.
type Info = [u32; 58];
const INSTRUCTIONS_LEN: usize = 5;
const INSTRUCTIONS: usize = 8;
const FUNCTION_LEN: usize = 33;
const FUNCTIONS: usize = 34;
const FUNCTION_COUNT: usize = 36;

/// An instruction's parts.
struct Instruction {
    code: u8,
    dst: usize,
    src: usize,
    offset: i64,
    value: i64,
}

/// A function: the lowest byte of its stack that it uses, and whom it calls.
struct Function {
    bytes: u32,
    callees: Vec<usize>,
}

fn ask(program: u32, info: &mut Info) {
    let mut attr: Attr = [0; 32];
    (attr[0], attr[1]) = (program, u32::try_from(size_of::<Info>()).expect("small"));
    set_address(&mut attr, 2, info.as_mut_ptr().cast_const());
    bpf(OBJ_GET_INFO_BY_FD, &mut attr).expect("information on a program");
}

/// The instructions, and where each function begins.
fn read(program: u32) -> (Vec<Instruction>, Vec<usize>) {
    let mut info: Info = [0; 58];
    ask(program, &mut info);
    let (len, count) = (info[INSTRUCTIONS_LEN], info[FUNCTION_COUNT]);
    let mut code = vec![0_u8; usize::try_from(len).expect("a length")];
    let mut functions = vec![0_u8; usize::try_from(count).expect("a count") * FUNCTION];
    let mut info: Info = [0; 58];
    (info[INSTRUCTIONS_LEN], info[FUNCTION_COUNT]) = (len, count);
    info[FUNCTION_LEN] = u32::try_from(FUNCTION).expect("small");
    for (at, buffer) in [(INSTRUCTIONS, &mut code), (FUNCTIONS, &mut functions)] {
        let mut attr: Attr = [0; 32];
        set_address(&mut attr, 0, buffer.as_mut_ptr().cast_const());
        info[at..at + 2].copy_from_slice(&attr[..2]);
    }
    ask(program, &mut info);
    let instructions = code
        .chunks_exact(INSTRUCTION)
        .map(|bytes| Instruction {
            code: bytes[0],
            dst: usize::from(bytes[1] & 15),
            src: usize::from(bytes[1] >> 4),
            offset: i16::from_ne_bytes([bytes[2], bytes[3]]).into(),
            value: i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]).into(),
        })
        .collect();
    let starts = functions
        .chunks_exact(FUNCTION)
        .map(|bytes| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .map(|start| usize::try_from(start).expect("a number of an instruction"))
        .collect();
    (instructions, starts)
}

/// One function, which begins with instruction `first`.
fn function(first: usize, body: &[Instruction], starts: &[usize]) -> Function {
    // Where each register points to, if it points into the stack.
    let mut points: [Option<i64>; 16] = [None; 16];
    points[FRAME] = Some(0);
    let (mut lowest, mut callees) = (0, vec![]);
    let mut calls = |at: usize, distance: i64| {
        let target = i64::try_from(first + at).expect("few instructions") + distance + 1;
        let called = starts
            .iter()
            .position(|start| i64::try_from(*start) == Ok(target));
        callees.push(called.expect("a function begins where one is called"));
    };
    let mut at = 0;
    while let Some(now) = body.get(at) {
        match (now.code & 7, now.code) {
            // Loads, and stores, of memory.
            (1, _) => {
                let to = points[now.src].map(|base| base + now.offset);
                lowest = lowest.min(to.unwrap_or(0));
                points[now.dst] = None;
            }
            (2 | 3, _) => {
                let to = points[now.dst].map(|base| base + now.offset);
                lowest = lowest.min(to.unwrap_or(0));
            }
            // A 64-bit value, in two instructions.
            (0, 0x18) => {
                if now.src == PSEUDO_FUNC {
                    calls(at, now.value);
                }
                points[now.dst] = None;
                at += 1;
            }
            (_, 0x85) => {
                if now.src == PSEUDO_CALL {
                    // Compiled, it has the number of the function in the other field.
                    let compiled = usize::try_from(now.value)
                        .ok()
                        .and_then(|number| starts.get(number))
                        .is_some_and(|start| {
                            i64::try_from(*start - 1)
                                == Ok(i64::try_from(first + at).unwrap_or(0) + now.offset)
                        });
                    calls(at, if compiled { now.offset } else { now.value });
                }
                points[..6].fill(None);
            }
            (7, 0xbf) => points[now.dst] = points[now.src],
            (7, 0x07) => {
                points[now.dst] = points[now.dst].map(|base| base + now.value);
                lowest = lowest.min(points[now.dst].unwrap_or(0));
            }
            (4 | 7, _) => points[now.dst] = None,
            _ => {}
        }
        at += 1;
    }
    Function {
        bytes: u32::try_from(-lowest).expect("a stack grows downwards"),
        callees,
    }
}

fn deepest_from(functions: &[Function], number: usize) -> u32 {
    let this = &functions[number];
    let below = this
        .callees
        .iter()
        .map(|callee| deepest_from(functions, *callee))
        .max();
    this.bytes.max(1).next_multiple_of(GRAIN) + below.unwrap_or(0)
}

/// The most stack that a program takes, with the functions that it calls: what the verifier adds up, and what it puts in itself
/// later, for the registers that an unrolled `bpf_loop` saves.
///
/// # Panics
///
/// If the kernel does not show the program.
#[must_use]
pub fn deepest(program: &impl AsFd) -> u32 {
    let fd = program.as_fd().as_raw_fd();
    let (instructions, starts) = read(u32::try_from(fd).expect("a descriptor"));
    assert_eq!(starts.first(), Some(&0), "a program begins with a function");
    let ends = starts[1..].iter().copied().chain([instructions.len()]);
    let functions: Vec<Function> = starts
        .iter()
        .zip(ends)
        .map(|(first, end)| function(*first, &instructions[*first..end], &starts))
        .collect();
    deepest_from(&functions, 0)
}
