//! The programs: entry points of a few lines.
//!
//! Each adapts its frame, asks `vtep_common` for a decision, carries it out and counts it.

use aya_ebpf::{
    bindings::{TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use vtep_common::{
    abi::counter::Hook,
    decide::{count::count_end, port, tunnel, uplink},
    frame::packet::PacketRead as _,
    runtime::{
        Runtime,
        verdict::{Action, End, Resolved},
    },
};

use crate::{
    action::{tc::Tc, xdp::Xdp},
    capture::Capturable,
    clock,
    counter::{Dropped, KernelCounters},
    frame::{tc::TcFrame, xdp::XdpFrame},
    runtime::scratch::Scratch,
    tables::handoff,
};

/// XDP on an uplink: known unicast to local ports; the rest goes on to TC.
#[xdp(frags)]
pub fn xdp_uplink(ctx: XdpContext) -> u32 {
    let Some(scratch) = Scratch::new() else {
        return xdp_action::XDP_ABORTED;
    };
    let frame = XdpFrame::new(&ctx);
    frame.arrives();
    let rt = Xdp::new(frame, scratch);
    let end = uplink::decide(&rt, tunnel::DecapStage::Xdp);
    xdp_action_of(count(&rt, Hook::UplinkXdp, &end, frame.frame_len()))
}

/// TC ingress on an uplink: behind XDP, or in its place.
#[classifier]
pub fn tc_uplink(ctx: TcContext) -> i32 {
    let Some(scratch) = Scratch::new() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::new(&ctx);
    frame.arrives();
    let len = frame.frame_len();
    let rt = Tc::new(frame, scratch);
    let end = uplink::decide(&rt, tunnel::DecapStage::Tc);
    tc_action_of(count(&rt, Hook::Uplink, &end, len))
}

/// TC ingress on the slow-path device: what the kernel has decapsulated for us. Nothing climbs into the host's stack from here.
#[classifier]
pub fn tc_tunnel(ctx: TcContext) -> i32 {
    let Some(scratch) = Scratch::new() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::new(&ctx);
    frame.arrives();
    let len = frame.frame_len();
    let rt = Tc::new(frame, scratch);
    let end = tunnel::decide(&rt);
    match count(&rt, Hook::Tunnel, &end, len) {
        Action::Redirect => TC_ACT_REDIRECT,
        Action::Pass | Action::Drop => TC_ACT_SHOT,
    }
}

/// SYNs that [`tc_tunnel`] has found a port for, in a VNI that clamps.
#[classifier]
pub fn tc_tunnel_clamp(ctx: TcContext) -> i32 {
    let Some(scratch) = Scratch::new() else {
        return TC_ACT_SHOT;
    };
    let Some(to) = handoff() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let rt = Tc::new(frame, scratch);
    let end = tunnel::clamp(&rt, &to);
    match count(&rt, Hook::Tunnel, &end, len) {
        Action::Redirect => TC_ACT_REDIRECT,
        Action::Pass | Action::Drop => TC_ACT_SHOT,
    }
}

/// TC ingress on a port: frames from a VM, a container or a host behind the hypervisor. Known unicast; the rest goes on to
/// [`tc_port_rest`].
#[classifier]
pub fn tc_port(ctx: TcContext) -> i32 {
    at_port(&ctx, port::PortStage::Tc)
}

/// Frames from a port with a guard of addresses, which [`tc_port`] leaves; what is the port's own goes on to [`tc_port_neigh`] or
/// [`tc_port_rest`].
#[classifier]
pub fn tc_port_guard(ctx: TcContext) -> i32 {
    let Some(scratch) = Scratch::new() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::deep(&ctx);
    let len = frame.frame_len();
    let rt = Tc::new(frame, scratch);
    let end = port::guard::decide(&rt);
    tc_action_of(count(&rt, Hook::Port, &end, len))
}

/// ARP and ND that [`tc_port`] leaves: snooped and answered; what remains goes on to [`tc_port_rest`].
#[classifier]
pub fn tc_port_neigh(ctx: TcContext) -> i32 {
    let Some(scratch) = Scratch::new() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let rt = Tc::new(frame, scratch);
    let end = port::neigh::decide(&rt);
    tc_action_of(count(&rt, Hook::Port, &end, len))
}

/// What [`tc_port`] leaves: what is to be flooded, and hosts that are found by IP.
#[classifier]
pub fn tc_port_rest(ctx: TcContext) -> i32 {
    let Some(scratch) = Scratch::new() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let rt = Tc::new(frame, scratch);
    let end = port::unknown::decide(&rt);
    tc_action_of(count(&rt, Hook::Port, &end, len))
}

/// What [`tc_port_rest`] has found to go to many.
#[classifier]
pub fn tc_port_flood(ctx: TcContext) -> i32 {
    let Some(scratch) = Scratch::new() else {
        return TC_ACT_SHOT;
    };
    let Some(list) = handoff().and_then(|resolved| resolved.target.list()) else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::new(&ctx);
    let len = frame.frame_len();
    let rt = Tc::new(frame, scratch);
    let end = port::flood::decide(&rt, list);
    tc_action_of(count(&rt, Hook::Port, &end, len))
}

/// What [`tc_port_rest`] has found to go to one place.
#[classifier]
pub fn tc_port_found(ctx: TcContext) -> i32 {
    at_port(&ctx, port::PortStage::Resolved)
}

/// SYNs to a VTEP that [`tc_port`] or [`tc_port_found`] leaves, in a VNI that clamps; they go on to [`tc_port_found`].
#[classifier]
pub fn tc_port_clamp(ctx: TcContext) -> i32 {
    let Some(scratch) = Scratch::new() else {
        return TC_ACT_SHOT;
    };
    let Some(peer) = handoff().and_then(|resolved| resolved.target.peer()) else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::deep(&ctx);
    let len = frame.frame_len();
    let rt = Tc::new(frame, scratch);
    let end = port::clamp::decide(&rt, peer);
    tc_action_of(count(&rt, Hook::Port, &end, len))
}

/// What [`tc_port`] or [`tc_port_found`] has found to be too big for its VTEP.
#[classifier]
pub fn tc_port_too_big(ctx: TcContext) -> i32 {
    let Some(scratch) = Scratch::new() else {
        return TC_ACT_SHOT;
    };
    let Some(peer) = handoff().and_then(|resolved| resolved.target.peer()) else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::deep(&ctx);
    let len = frame.frame_len();
    let rt = Tc::new(frame, scratch);
    let end = port::too_big::decide(&rt, peer);
    tc_action_of(count(&rt, Hook::Port, &end, len))
}

#[inline(always)]
fn at_port(ctx: &TcContext, stage: port::PortStage) -> i32 {
    let Some(scratch) = Scratch::new() else {
        return TC_ACT_SHOT;
    };
    let frame = TcFrame::from_port(ctx);
    if stage == port::PortStage::Tc {
        frame.arrives();
    }
    let len = frame.frame_len();
    let rt = Tc::new(frame, scratch);
    let given = match stage {
        port::PortStage::Resolved => handoff().unwrap_or(Resolved::IN_FDB),
        port::PortStage::Tc | port::PortStage::Xdp => Resolved::IN_FDB,
    };
    let end = port::decide(&rt, stage, &given);
    tc_action_of(count(&rt, Hook::Port, &end, len))
}

/// XDP on a port: plain frames for one VTEP; the rest goes on to TC.
#[xdp(frags)]
pub fn xdp_port(ctx: XdpContext) -> u32 {
    let Some(scratch) = Scratch::new() else {
        return xdp_action::XDP_ABORTED;
    };
    let frame = XdpFrame::new(&ctx);
    frame.arrives();
    let rt = Xdp::new(frame, scratch);
    let stage = port::PortStage::Xdp;
    let end = port::decide(&rt, stage, &Resolved::IN_FDB);
    xdp_action_of(count(&rt, Hook::PortXdp, &end, frame.frame_len()))
}

/// Attached nowhere: the daemon runs it once, to learn what time a tick stands for.
#[xdp]
pub fn read_ticks(_ctx: XdpContext) -> u32 {
    clock::read_ticks();
    xdp_action::XDP_PASS
}

/// Counts a frame of `len` bytes, and says what is left to do with it.
#[inline(always)]
fn count<R>(rt: &R, hook: Hook, end: &End, len: usize) -> Action
where
    R: Runtime<Frame: Capturable>,
    for<'a> R::Opaque<'a, End>: Dropped,
{
    let end = rt.opaque(end);
    let dropped = || end.count_dropped(hook, len);
    count_end(&end, len, &KernelCounters(hook), dropped);
    rt.frame().capture(hook, &end);
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
