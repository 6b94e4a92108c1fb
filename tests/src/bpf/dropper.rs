//! A filter that an operator might have at an interface: it drops UDP packets to one port.

use std::path::PathBuf;

use crate::bpf::asm::{Asm, Reg, Size};
use crate::bpf::program::{Program, ProgramType, TC_SHOT};
use crate::encoder::inner::v4;
use crate::encoder::{Mac, eth};
use crate::lab::ns::{self, Ns};

/// The UDP port of packets that it drops.
pub const DROPPED: u16 = 7777;
/// One of packets that it lets pass.
pub const PASSES: u16 = 7778;

/// `TC_ACT_UNSPEC`: whoever comes next decides.
const TC_NEXT: i32 = -1;

/// The program, for TC: it drops UDP packets to [`DROPPED`] over IPv4 without options.
#[must_use]
pub fn dropper() -> Program {
    // Where the destination port begins and ends behind an Ethernet, an IPv4 and half a UDP header.
    let (at, end) = (36, 38);
    let port = i32::from(u16::from_ne_bytes(DROPPED.to_be_bytes()));
    let asm = Asm::new()
        .load(Size::Word, Reg::R2, Reg::R1, 76)
        .load(Size::Word, Reg::R3, Reg::R1, 80)
        .copy(Reg::R4, Reg::R2)
        .add(Reg::R4, end)
        .jump_greater(Reg::R4, Reg::R3, 2)
        .load(Size::Half, Reg::R5, Reg::R2, at)
        .jump_equal(Reg::R5, port, 2)
        .set(Reg::R0, TC_NEXT)
        .exit()
        .returns(TC_SHOT);
    Program::load(ProgramType::Tc, &asm)
}

/// [`dropper`], pinned for `tc` until this is dropped.
#[derive(Debug)]
pub struct Pinned(PathBuf);

impl Pinned {
    /// Pins it.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a file")]
    pub fn new() -> Self {
        let path = PathBuf::from("/sys/fs/bpf").join(ns::unique("dropper"));
        dropper().pin(&path);
        Self(path)
    }

    /// Hangs it on a device that has a clsact, at `ingress` or `egress`.
    pub fn hang(&self, ns: &Ns, dev: &str, side: &str, pref: u16) {
        let pin = self.0.display();
        tc(
            ns,
            &format!("filter add dev {dev} {side} pref {pref} bpf da pinned {pin}"),
        );
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// Runs a `tc` command inside.
pub fn tc(ns: &Ns, args: &str) {
    ns::done(ns.command("tc").args(args.split(' ')), "");
}

/// A UDP packet.
#[must_use]
pub fn udp(from: Mac, to: Mac, port: u16, mark: u32) -> Vec<u8> {
    let (src, dst) = v4();
    let frame = eth(from, to).ipv4(src, dst).udp_unchecked(5000, port);
    frame.bytes(&mark.to_be_bytes()).build()
}
