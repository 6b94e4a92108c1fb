//! A VNI's settings: from what the user asks to what stands in the map, and back.

use std::num::NonZeroU8;

use vtep_common::maps::Segment;

use crate::api::{
    command::Refusal,
    model::{
        Df, Flood, InnerVlan, Mode, OrInherit, PortHook, PortRange, Reserved, Tos, Ttl, Vni,
        VniSpec,
    },
};

/// Outer TTL of a new VNI, and of frames without an inner one to inherit.
const TTL: u8 = 64;
/// Seconds until a learned entry ages out, as in the kernel's bridge and device.
const AGEING_S: u32 = 300;

/// The settings of a new VNI.
pub(super) fn new(vni: Vni, spec: &VniSpec) -> Result<Segment, Refusal> {
    let defaults = VniSpec {
        mode: Some(Mode::Flood),
        ageing_s: Some(AGEING_S),
        max_macs: Some(0),
        inner_vlan: Some(InnerVlan::Drop),
        ttl: NonZeroU8::new(TTL).map(OrInherit::Value),
        tos: Some(OrInherit::Value(0)),
        df: Some(Df::Set),
        srcport: Some(PortRange::DYNAMIC),
        reserved: Some(Reserved::Ignore),
        ..VniSpec::default()
    };
    let empty = Segment {
        vni: vni.get(),
        flags: Segment::IN_USE,
        ..Segment::default()
    };
    changed(&changed(&empty, &defaults)?, spec)
}

/// `old` with what `spec` gives. A mode sets flooding, learning and suppression, unless those are given too.
pub(super) fn changed(old: &Segment, spec: &VniSpec) -> Result<Segment, Refusal> {
    refuse_unsupported(spec)?;
    let VniSpec {
        mode,
        flood,
        group: _,
        learning,
        suppress,
        ageing_s,
        max_macs,
        inner_vlan,
        ttl,
        tos,
        df,
        srcport,
        reserved,
    } = *spec;
    let mut new = *old;
    if let Some(mode) = mode {
        new.mode = code(&MODES, mode);
        set_flood(&mut new, mode_flood(mode));
        set(
            &mut new,
            Segment::LEARNING,
            matches!(mode, Mode::Multicast | Mode::Flood),
        );
        set(&mut new, Segment::SUPPRESS, mode == Mode::L3);
    }
    if let Some(flood) = flood {
        set_flood(&mut new, flood);
    }
    if let Some(learning) = learning {
        set(&mut new, Segment::LEARNING, learning);
    }
    if let Some(suppress) = suppress {
        set(&mut new, Segment::SUPPRESS, suppress);
    }
    if let Some(ageing_s) = ageing_s {
        new.ageing_s = ageing_s;
    }
    if let Some(max_macs) = max_macs {
        new.max_macs = max_macs;
    }
    if let Some(inner_vlan) = inner_vlan {
        set(
            &mut new,
            Segment::INNER_VLAN_PASS,
            inner_vlan == InnerVlan::Pass,
        );
    }
    if let Some(ttl) = ttl {
        set(&mut new, Segment::TTL_INHERIT, ttl == OrInherit::Inherit);
        new.ttl = match ttl {
            OrInherit::Value(ttl) => ttl.get(),
            OrInherit::Inherit => TTL,
        };
    }
    if let Some(tos) = tos {
        set(&mut new, Segment::TOS_INHERIT, tos == OrInherit::Inherit);
        new.tos = match tos {
            OrInherit::Value(tos) => tos,
            OrInherit::Inherit => 0,
        };
    }
    if let Some(df) = df {
        set(&mut new, Segment::DF_SET, df == Df::Set);
        set(&mut new, Segment::DF_INHERIT, df == Df::Inherit);
    }
    if let Some(srcport) = srcport {
        new.source_port_min = srcport.min();
        new.source_port_max = srcport.max();
    }
    if let Some(reserved) = reserved {
        set(
            &mut new,
            Segment::RESERVED_STRICT,
            reserved == Reserved::Strict,
        );
    }
    Ok(new)
}

/// Refuses what the data path would silently not do.
fn refuse_unsupported(spec: &VniSpec) -> Result<(), Refusal> {
    let sentence = if spec.mode == Some(Mode::Multicast) {
        "mode multicast is not in this version; use: --mode flood, and list the VTEPs with: vtep fdb append 00:00:00:00:00:00 --vni VNI --dst VTEP"
    } else if spec.mode == Some(Mode::L3) {
        "mode l3 is not in this version; use: --mode l2 --flood none"
    } else if spec.flood == Some(Flood::Multicast) {
        "flood multicast is not in this version; use: --flood her, and list the VTEPs with: vtep fdb append 00:00:00:00:00:00 --vni VNI --dst VTEP"
    } else if spec.group.is_some() {
        "multicast groups are not in this version; leave --group out, and list the VTEPs with: vtep fdb append 00:00:00:00:00:00 --vni VNI --dst VTEP"
    } else if spec.suppress == Some(true) {
        "ARP and ND suppression is not in this version; use: --suppress off, and let ARP and ND be flooded"
    } else {
        return Ok(());
    };
    Err(Refusal::unsupported(sentence))
}

/// How a mode floods.
const fn mode_flood(mode: Mode) -> Flood {
    match mode {
        Mode::Multicast => Flood::Multicast,
        Mode::Flood | Mode::L2 => Flood::Her,
        Mode::L3 => Flood::None,
    }
}

fn set_flood(segment: &mut Segment, flood: Flood) {
    segment.flood = code(&FLOODS, flood);
    set(segment, Segment::FLOODS, flood == Flood::Her);
}

fn set(segment: &mut Segment, flag: u32, on: bool) {
    if on {
        segment.flags |= flag;
    } else {
        segment.flags &= !flag;
    }
}

/// What each code stands for, from 1 on. They stand in the maps: append only.
const MODES: [Mode; 4] = [Mode::Multicast, Mode::Flood, Mode::L2, Mode::L3];
/// See [`MODES`].
const FLOODS: [Flood; 3] = [Flood::Her, Flood::Multicast, Flood::None];
/// See [`MODES`].
const HOOKS: [PortHook; 3] = [PortHook::Auto, PortHook::Tc, PortHook::Xdp];

/// The code of `value`.
fn code<T: Copy + PartialEq>(values: &[T], value: T) -> u8 {
    (1..)
        .zip(values)
        .find(|(_, other)| **other == value)
        .map_or(0, |(code, _)| code)
}

/// What `code` stands for.
fn decode<T: Copy>(values: &[T], code: usize) -> Option<T> {
    values.get(code.checked_sub(1)?).copied()
}

/// The mode that was named last.
pub(super) fn mode(segment: &Segment) -> Mode {
    decode(&MODES, segment.mode.into()).unwrap_or(Mode::Flood)
}

/// The way of flooding.
pub(super) fn flood(segment: &Segment) -> Flood {
    decode(&FLOODS, segment.flood.into()).unwrap_or(Flood::Her)
}

/// A hook as it stands in the map.
pub(super) fn hook_code(hook: PortHook) -> u16 {
    code(&HOOKS, hook).into()
}

/// A hook from the map.
pub(super) fn hook(code: u16) -> PortHook {
    decode(&HOOKS, code.into()).unwrap_or(PortHook::Auto)
}

/// The outer TTL.
pub(super) fn ttl(segment: &Segment) -> Ttl {
    match NonZeroU8::new(segment.ttl) {
        Some(ttl) if !segment.has(Segment::TTL_INHERIT) => OrInherit::Value(ttl),
        _ => OrInherit::Inherit,
    }
}

/// The outer TOS.
pub(super) fn tos(segment: &Segment) -> Tos {
    if segment.has(Segment::TOS_INHERIT) {
        OrInherit::Inherit
    } else {
        OrInherit::Value(segment.tos)
    }
}

/// The outer DF bit.
pub(super) fn df(segment: &Segment) -> Df {
    if segment.has(Segment::DF_SET) {
        Df::Set
    } else if segment.has(Segment::DF_INHERIT) {
        Df::Inherit
    } else {
        Df::Unset
    }
}

/// The outer source ports.
pub(super) fn srcport(segment: &Segment) -> PortRange {
    PortRange::new(segment.source_port_min, segment.source_port_max).unwrap_or(PortRange::DYNAMIC)
}
