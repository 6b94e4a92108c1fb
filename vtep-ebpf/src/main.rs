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
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use vtep_common::{
    count::count_end,
    maps::Hook,
    packet::PacketRead as _,
    port,
    reason::Reason,
    tables::{Tables as _, place},
    tunnel, uplink,
    verdict::{Act as _, Who},
};

use crate::{
    apply::{Outcome, tc::TcAct, xdp::XdpAct},
    count::KernelCounters,
    frame::{tc::TcFrame, xdp::XdpFrame},
    maps::KernelTables,
};

/// XDP on an uplink: known unicast to local ports; the rest goes on to TC.
#[xdp(frags)]
pub fn xdp_uplink(ctx: XdpContext) -> u32 {
    let Some(tables) = KernelTables::new() else {
        return xdp_action::XDP_ABORTED;
    };
    let frame = XdpFrame::new(&ctx);
    let act = XdpAct::new(&frame, tables);
    let outcome = uplink::decide(&frame, &frame.meta(), tunnel::Stage::Xdp, &tables, &act);
    count(tables, Hook::UplinkXdp, &outcome, frame.frame_len());
    outcome.action.cast_unsigned()
}

/// TC ingress on an uplink: behind XDP, or in its place.
#[classifier]
pub fn tc_uplink(ctx: TcContext) -> i32 {
    let Some(tables) = KernelTables::new() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let act = TcAct::new(frame, tables);
    let outcome = uplink::decide(&frame, &frame.meta(), tunnel::Stage::Tc, &tables, &act);
    count(tables, Hook::Uplink, &outcome, len);
    outcome.action
}

/// TC ingress on the kernel device: what the kernel has decapsulated for us. Nothing climbs into the host's stack from here.
#[classifier]
pub fn tc_tunnel(ctx: TcContext) -> i32 {
    let Some(tables) = KernelTables::new() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let act = TcAct::new(frame, tables);
    let outcome = match frame.tunnel_key() {
        Some(key) => tunnel::decide(&frame, &frame.meta(), &key, &tables, &act),
        None => act.leave(&Who::nobody(len), Reason::TableGap),
    };
    count(tables, Hook::Tunnel, &outcome, len);
    if outcome.action == TC_ACT_UNSPEC {
        TC_ACT_SHOT
    } else {
        outcome.action
    }
}

/// TC ingress on a port: frames from a VM, a container or a host behind the hypervisor.
#[classifier]
pub fn tc_port(ctx: TcContext) -> i32 {
    let Some(tables) = KernelTables::new() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let act = TcAct::new(frame, tables);
    let outcome = port::decide(&frame, &frame.meta(), port::Stage::Tc, &tables, &act);
    count(tables, Hook::Port, &outcome, len);
    outcome.action
}

/// XDP on a port: plain frames for one VTEP; the rest goes on to TC.
#[xdp(frags)]
pub fn xdp_port(ctx: XdpContext) -> u32 {
    let Some(tables) = KernelTables::new() else {
        return xdp_action::XDP_ABORTED;
    };
    let frame = XdpFrame::new(&ctx);
    let act = XdpAct::new(&frame, tables);
    let outcome = port::decide(&frame, &frame.meta(), port::Stage::Xdp, &tables, &act);
    count(tables, Hook::PortXdp, &outcome, frame.frame_len());
    outcome.action.cast_unsigned()
}

/// Counts a frame of `len` bytes.
#[inline(always)]
fn count(tables: KernelTables, hook: Hook, outcome: &Outcome, len: usize) {
    let end = tables.put_down::<{ place::END }, _>(&outcome.end);
    count_end(end, len, &KernelCounters(hook));
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
