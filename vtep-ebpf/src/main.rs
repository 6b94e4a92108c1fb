//! The kernel side of vtep: entry points of a few lines.
//!
//! Each program adapts its frame, asks `vtep_common` for a decision, carries it out and counts it.
#![no_std]
#![no_main]

mod apply;
mod count;
mod flood;
mod frame;
mod maps;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use vtep_common::{
    count::count_end,
    maps::Hook,
    packet::PacketRead as _,
    port,
    reason::Reason,
    tunnel, uplink,
    verdict::{Act as _, Who},
};

use crate::{
    apply::{Outcome, tc::TcAct, xdp::XdpAct},
    count::KernelCounters,
    frame::{tc::TcFrame, xdp::XdpFrame},
    maps::{KernelTables, put_down_end},
};

/// XDP on an uplink: known unicast to local ports; the rest goes on to TC.
#[xdp(frags)]
pub fn xdp_uplink(ctx: XdpContext) -> u32 {
    let frame = XdpFrame::new(&ctx);
    let len = frame.frame_len();
    let outcome = uplink::decide(
        &frame,
        &frame.meta(),
        tunnel::Stage::Xdp,
        &KernelTables,
        &XdpAct::new(&frame),
    );
    count(Hook::UplinkXdp, &outcome, len);
    outcome.action.cast_unsigned()
}

/// TC ingress on an uplink: behind XDP, or in its place.
#[classifier]
pub fn tc_uplink(ctx: TcContext) -> i32 {
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let outcome = uplink::decide(
        &frame,
        &frame.meta(),
        tunnel::Stage::Tc,
        &KernelTables,
        &TcAct::new(frame),
    );
    count(Hook::Uplink, &outcome, len);
    outcome.action
}

/// TC ingress on the kernel device: what the kernel has decapsulated for us. Nothing climbs into the host's stack from here.
#[classifier]
pub fn tc_tunnel(ctx: TcContext) -> i32 {
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let act = TcAct::new(frame);
    let outcome = match frame.tunnel_key() {
        Some(key) => tunnel::decide(&frame, &frame.meta(), &key, &KernelTables, &act),
        None => act.leave(&Who::nobody(len), Reason::TableGap),
    };
    count(Hook::Tunnel, &outcome, len);
    if outcome.action == TC_ACT_UNSPEC {
        TC_ACT_SHOT
    } else {
        outcome.action
    }
}

/// TC ingress on a port: frames from a VM, a container or a host behind the hypervisor.
#[classifier]
pub fn tc_port(ctx: TcContext) -> i32 {
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let outcome = port::decide(
        &frame,
        &frame.meta(),
        port::Stage::Tc,
        &KernelTables,
        &TcAct::new(frame),
    );
    count(Hook::Port, &outcome, len);
    outcome.action
}

/// XDP on a port: plain frames for one VTEP; the rest goes on to TC.
#[xdp(frags)]
pub fn xdp_port(ctx: XdpContext) -> u32 {
    let frame = XdpFrame::new(&ctx);
    let len = frame.frame_len();
    let outcome = port::decide(
        &frame,
        &frame.meta(),
        port::Stage::Xdp,
        &KernelTables,
        &XdpAct::new(&frame),
    );
    count(Hook::PortXdp, &outcome, len);
    outcome.action.cast_unsigned()
}

/// Counts a frame of `len` bytes.
#[inline(always)]
fn count(hook: Hook, outcome: &Outcome, len: usize) {
    if let Some(end) = put_down_end(&outcome.end) {
        count_end(end, len, &KernelCounters(hook));
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
