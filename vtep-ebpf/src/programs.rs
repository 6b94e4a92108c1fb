//! The programs: entry points of a few lines.
//!
//! Each adapts its frame, asks `vtep_common` for a decision, carries it out and counts it.

use aya_ebpf::{
    bindings::{TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use vtep_common::{
    abi::{counter::Hook, reason::Reason},
    decide::{
        count::{End, count_end},
        port, tunnel, uplink,
        verdict::{Account, Act as _, Resolved},
    },
    frame::packet::PacketRead as _,
    runtime::{Tables as _, place},
};

use crate::{
    action::{Action, tc::TcAct, xdp::XdpAct},
    clock,
    counter::KernelCounters,
    frame::{tc::TcFrame, xdp::XdpFrame},
    runtime::scratch::KernelTables,
    tables::handoff,
};

/// XDP on an uplink: known unicast to local ports; the rest goes on to TC.
#[xdp(frags)]
pub fn xdp_uplink(ctx: XdpContext) -> u32 {
    let Some(tables) = KernelTables::for_short_program() else {
        return xdp_action::XDP_ABORTED;
    };
    let frame = XdpFrame::new(&ctx);
    let act = XdpAct::new(&frame, tables);
    let end = uplink::decide(&frame, &frame.meta(), tunnel::Stage::Xdp, &tables, &act);
    xdp_action_of(count(tables, Hook::UplinkXdp, &end, frame.frame_len()))
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
    let end = uplink::decide(&frame, &frame.meta(), tunnel::Stage::Tc, &tables, &act);
    tc_action_of(count(tables, Hook::Uplink, &end, len))
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
    let end = match frame.tunnel_key() {
        Some(key) => tunnel::decide(&frame, &frame.meta(), &key, &tables, &act),
        None => act.leave(&Account::nobody(len), Reason::TableGap),
    };
    match count(tables, Hook::Tunnel, &end, len) {
        Action::Redirect => TC_ACT_REDIRECT,
        Action::Pass | Action::Drop => TC_ACT_SHOT,
    }
}

/// TC ingress on a port: frames from a VM, a container or a host behind the hypervisor. Known unicast; the rest goes on to
/// [`tc_port_rest`].
#[classifier]
pub fn tc_port(ctx: TcContext) -> i32 {
    at_port(&ctx, port::Stage::Tc)
}

/// ARP and ND that [`tc_port`] leaves: heard and answered; what remains goes on to [`tc_port_rest`].
#[classifier]
pub fn tc_port_neigh(ctx: TcContext) -> i32 {
    let Some(tables) = KernelTables::new() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let act = TcAct::new(frame, tables);
    let end = port::neigh::decide(&frame, &frame.meta(), &tables, &act);
    tc_action_of(count(tables, Hook::Port, &end, len))
}

/// What [`tc_port`] leaves: what is to be flooded, and hosts that are found by IP.
#[classifier]
pub fn tc_port_rest(ctx: TcContext) -> i32 {
    let Some(tables) = KernelTables::new() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let act = TcAct::new(frame, tables);
    let end = port::unknown::decide(&frame, &frame.meta(), &tables, &act);
    tc_action_of(count(tables, Hook::Port, &end, len))
}

/// What [`tc_port_rest`] has found to go to many.
#[classifier]
pub fn tc_port_flood(ctx: TcContext) -> i32 {
    let Some(tables) = KernelTables::new() else {
        return TC_ACT_SHOT;
    };
    let Some(list) = handoff().and_then(|found| found.target.list()) else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let act = TcAct::new(frame, tables);
    let end = port::flood::decide(&frame, &frame.meta(), list, &tables, &act);
    tc_action_of(count(tables, Hook::Port, &end, len))
}

/// What [`tc_port_rest`] has found to go to one place.
#[classifier]
pub fn tc_port_found(ctx: TcContext) -> i32 {
    at_port(&ctx, port::Stage::Resolved)
}

#[inline(always)]
fn at_port(ctx: &TcContext, stage: port::Stage) -> i32 {
    let Some(tables) = KernelTables::new() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::from_port(ctx);
    let len = frame.frame_len();
    let act = TcAct::new(frame, tables);
    let given = match stage {
        port::Stage::Resolved => handoff().unwrap_or(Resolved::IN_FDB),
        port::Stage::Tc | port::Stage::Xdp => Resolved::IN_FDB,
    };
    let end = port::decide(&frame, &frame.meta(), stage, &given, &tables, &act);
    tc_action_of(count(tables, Hook::Port, &end, len))
}

/// XDP on a port: plain frames for one VTEP; the rest goes on to TC.
#[xdp(frags)]
pub fn xdp_port(ctx: XdpContext) -> u32 {
    let Some(tables) = KernelTables::for_short_program() else {
        return xdp_action::XDP_ABORTED;
    };
    let frame = XdpFrame::new(&ctx);
    let act = XdpAct::new(&frame, tables);
    let stage = port::Stage::Xdp;
    let end = port::decide(
        &frame,
        &frame.meta(),
        stage,
        &Resolved::IN_FDB,
        &tables,
        &act,
    );
    xdp_action_of(count(tables, Hook::PortXdp, &end, frame.frame_len()))
}

/// Attached nowhere: the daemon runs it once, to learn what time a tick stands for.
#[xdp]
pub fn read_ticks(_ctx: XdpContext) -> u32 {
    clock::read_ticks();
    xdp_action::XDP_PASS
}

/// Counts a frame of `len` bytes, and says what is left to do with it.
#[inline(always)]
fn count(tables: KernelTables, hook: Hook, end: &End, len: usize) -> Action {
    let end = tables.spill::<{ place::END }, _>(end);
    count_end(end, len, &KernelCounters(hook));
    Action::of(end.reason)
}

/// What passes at TC goes on to the programs of others behind ours.
#[inline(always)]
const fn tc_action_of(action: Action) -> i32 {
    match action {
        Action::Redirect => TC_ACT_REDIRECT,
        Action::Pass => TC_ACT_UNSPEC,
        Action::Drop => TC_ACT_SHOT,
    }
}

#[inline(always)]
const fn xdp_action_of(action: Action) -> u32 {
    match action {
        Action::Redirect => xdp_action::XDP_REDIRECT,
        Action::Pass => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
    }
}
