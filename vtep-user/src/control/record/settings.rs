//! A VNI's settings: from what the user asks to what stands in the map, and back.

use std::{net::IpAddr, num::NonZeroU8};

use vtep_common::abi::{addr::VtepAddr, segment::Segment};

use super::author;
use crate::model::{
    Df, Flood, InnerVlan, L2cp, Mode, OrInherit, OverLimit, PortRange, Refusal, Reserved, Source,
    Sources, Tos, Ttl, Vni, VniRow, VniSpec,
};

/// Outer TTL of a new VNI, and of frames without an inner one to inherit.
const TTL: u8 = 64;
/// Seconds until a learned entry ages out, as in the kernel's bridge and device.
const AGEING_S: u32 = 300;

/// The settings of a new VNI.
pub(crate) fn new(vni: Vni, spec: &VniSpec) -> Result<Segment, Refusal> {
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
        over_limit: Some(OverLimit::Flood),
        l2cp: Some(L2cp::Drop),
        mss_clamp: Some(false),
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
pub(crate) fn changed(old: &Segment, spec: &VniSpec) -> Result<Segment, Refusal> {
    let VniSpec {
        mode,
        flood,
        group,
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
        over_limit,
        sources,
        l2cp,
        mss_clamp,
        // It stands in a map of its own.
        bridge: _,
    } = *spec;
    let mut new = *old;
    if let Some(mode) = mode {
        new.mode = code(&MODES, mode);
        set_flood(&mut new, mode_flood(mode));
        new.set(
            Segment::LEARNING,
            matches!(mode, Mode::Multicast | Mode::Flood),
        );
        new.set(Segment::SUPPRESS, mode == Mode::L3);
        new.set(Segment::LISTED, mode != Mode::Multicast);
    }
    if let Some(flood) = flood {
        set_flood(&mut new, flood);
        // Who joins a group is not known beforehand.
        if flood == Flood::Multicast {
            new.set(Segment::LISTED, false);
        }
    }
    if let Some(sources) = sources {
        new.set(Segment::LISTED, sources == Sources::Listed);
    }
    set_group(&mut new, group)?;
    if let Some(learning) = learning {
        new.set(Segment::LEARNING, learning);
    }
    if let Some(suppress) = suppress {
        new.set(Segment::SUPPRESS, suppress);
    }
    if let Some(ageing_s) = ageing_s {
        new.ageing_s = ageing_s;
    }
    if let Some(max_macs) = max_macs {
        new.max_macs = max_macs;
    }
    if let Some(inner_vlan) = inner_vlan {
        new.set(Segment::INNER_VLAN_PASS, inner_vlan == InnerVlan::Pass);
    }
    if let Some(ttl) = ttl {
        new.set(Segment::TTL_INHERIT, ttl == OrInherit::Inherit);
        new.ttl = match ttl {
            OrInherit::Value(ttl) => ttl.get(),
            OrInherit::Inherit => TTL,
        };
    }
    if let Some(tos) = tos {
        new.set(Segment::TOS_INHERIT, tos == OrInherit::Inherit);
        new.tos = match tos {
            OrInherit::Value(tos) => tos,
            OrInherit::Inherit => 0,
        };
    }
    if let Some(df) = df {
        new.set(Segment::DF_SET, df == Df::Set);
        new.set(Segment::DF_INHERIT, df == Df::Inherit);
    }
    if let Some(srcport) = srcport {
        new.source_port_min = srcport.min();
        new.source_port_max = srcport.max();
    }
    if let Some(reserved) = reserved {
        new.set(Segment::RESERVED_STRICT, reserved == Reserved::Strict);
    }
    if let Some(over_limit) = over_limit {
        new.set(Segment::OVER_LIMIT_DROP, over_limit == OverLimit::Drop);
    }
    if let Some(l2cp) = l2cp {
        new.set(Segment::L2CP_PASS, l2cp == L2cp::Pass);
    }
    if let Some(mss_clamp) = mss_clamp {
        new.set(Segment::MSS_CLAMP, mss_clamp);
    }
    Ok(new)
}

/// Takes on the multicast group that is given, or leaves the one so far if floods go to one. They need one, and nothing else
/// does.
fn set_group(segment: &mut Segment, group: Option<IpAddr>) -> Result<(), Refusal> {
    if let Some(ip) = group.filter(|ip| !ip.is_multicast()) {
        return Err(Refusal::invalid(format!(
            "{ip} is not a multicast address; give a group such as 239.1.1.1 or ff05::100 with: --group"
        )));
    }
    let multicast = flood(segment) == Flood::Multicast;
    match group {
        Some(ip) if !multicast => Err(Refusal::invalid(format!(
            "no flood would go to {ip}: floods go to a group only with: --mode multicast, or --flood multicast"
        ))),
        Some(ip) => {
            segment.group = bytemuck::cast(VtepAddr::from(ip));
            Ok(())
        }
        None if !multicast => {
            segment.group = [0; 16];
            Ok(())
        }
        None if crate::control::record::settings::group(segment).is_none() => {
            Err(Refusal::invalid(
                "flooding to a multicast group needs the group; name it with: --group GROUP",
            ))
        }
        None => Ok(()),
    }
}

/// The settings as a row shows them.
pub(crate) fn row(pod: &Segment, vni: Vni, ports: Vec<String>, remotes: Vec<IpAddr>) -> VniRow {
    VniRow {
        vni,
        mode: mode(pod),
        flood: flood(pod),
        group: group(pod),
        learning: pod.has(Segment::LEARNING),
        suppress: pod.has(Segment::SUPPRESS),
        ageing_s: pod.ageing_s,
        max_macs: (pod.max_macs != 0).then_some(pod.max_macs),
        inner_vlan: if pod.has(Segment::INNER_VLAN_PASS) {
            InnerVlan::Pass
        } else {
            InnerVlan::Drop
        },
        ports,
        remotes,
        ttl: ttl(pod),
        tos: tos(pod),
        df: df(pod),
        srcport: srcport(pod),
        reserved: if pod.has(Segment::RESERVED_STRICT) {
            Reserved::Strict
        } else {
            Reserved::Ignore
        },
        over_limit: if pod.has(Segment::OVER_LIMIT_DROP) {
            OverLimit::Drop
        } else {
            OverLimit::Flood
        },
        sources: if pod.has(Segment::LISTED) {
            Sources::Listed
        } else {
            Sources::Any
        },
        l2cp: if pod.has(Segment::L2CP_PASS) {
            L2cp::Pass
        } else {
            L2cp::Drop
        },
        source: source(pod),
        bridge: None,
        mss_clamp: pod.has(Segment::MSS_CLAMP),
    }
}

/// Who made a VNI.
pub(crate) const fn source(pod: &Segment) -> Source {
    author::source(pod.has(Segment::CONFIGURED))
}

/// The settings of a VNI, those left out that a new one has anyway.
pub(crate) fn minimal(pod: &Segment) -> VniSpec {
    let mode = mode(pod);
    let named = VniSpec {
        mode: (mode != Mode::Flood).then_some(mode),
        group: group(pod).filter(|_| mode == Mode::Multicast),
        ..VniSpec::default()
    };
    let vni = Vni::new(pod.vni).unwrap_or(Vni::ZERO);
    let plain = new(vni, &named).unwrap_or_default();
    VniSpec {
        mode: named.mode,
        group: named.group,
        ..difference(&plain, pod)
    }
}

/// What has to be given of a VNI with the settings `old` to get the settings `new`.
pub(crate) fn between(vni: Vni, old: &VniSpec, new: &VniSpec) -> VniSpec {
    let pod = |spec| self::new(vni, spec).unwrap_or_default();
    let (old, new) = (pod(old), pod(new));
    if mode(&old) == mode(&new) {
        return difference(&old, &new);
    }
    let named = VniSpec {
        mode: Some(mode(&new)),
        group: group(&new).filter(|_| mode(&new) == Mode::Multicast),
        ..VniSpec::default()
    };
    let plain = changed(&old, &named).unwrap_or_default();
    VniSpec {
        mode: named.mode,
        group: named.group,
        ..difference(&plain, &new)
    }
}

/// Each setting but the mode that two VNIs do not share, as the second has it.
fn difference(old: &Segment, new: &Segment) -> VniSpec {
    fn unless_same<T: PartialEq + Copy>(old: T, new: T) -> Option<T> {
        (old != new).then_some(new)
    }
    let row = |pod| row(pod, Vni::ZERO, Vec::new(), Vec::new());
    let (old, new) = (row(old), row(new));
    let VniRow {
        vni: _,
        mode: _,
        flood,
        group,
        learning,
        suppress,
        ageing_s,
        max_macs,
        inner_vlan,
        ports: _,
        remotes: _,
        ttl,
        tos,
        df,
        srcport,
        reserved,
        over_limit,
        sources,
        l2cp,
        source: _,
        bridge: _,
        mss_clamp,
    } = new;
    let floods = unless_same(old.flood, flood);
    VniSpec {
        mode: None,
        flood: floods,
        group: group.filter(|_| old.group != group),
        learning: unless_same(old.learning, learning),
        suppress: unless_same(old.suppress, suppress),
        ageing_s: unless_same(old.ageing_s, ageing_s),
        max_macs: unless_same(old.max_macs, max_macs).map(|most| most.unwrap_or(0)),
        inner_vlan: unless_same(old.inner_vlan, inner_vlan),
        ttl: unless_same(old.ttl, ttl),
        tos: unless_same(old.tos, tos),
        df: unless_same(old.df, df),
        srcport: unless_same(old.srcport, srcport),
        reserved: unless_same(old.reserved, reserved),
        over_limit: unless_same(old.over_limit, over_limit),
        // A way of flooding may bring its own.
        sources: Some(sources).filter(|_| old.sources != sources || floods.is_some()),
        l2cp: unless_same(old.l2cp, l2cp),
        mss_clamp: unless_same(old.mss_clamp, mss_clamp),
        bridge: None,
    }
}

/// The multicast group that floods go to.
pub(crate) fn group(segment: &Segment) -> Option<IpAddr> {
    let addr: VtepAddr = bytemuck::cast(segment.group);
    let group = Some(IpAddr::from(addr)).filter(IpAddr::is_multicast);
    group.filter(|_| flood(segment) == Flood::Multicast)
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
    segment.set(Segment::FLOODS, flood != Flood::None);
}

/// What each code stands for, from 1 on. They stand in the maps: append only.
const MODES: [Mode; 4] = [Mode::Multicast, Mode::Flood, Mode::L2, Mode::L3];
/// See [`MODES`].
const FLOODS: [Flood; 3] = [Flood::Her, Flood::Multicast, Flood::None];

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
fn mode(segment: &Segment) -> Mode {
    decode(&MODES, segment.mode.into()).unwrap_or(Mode::Flood)
}

/// The way of flooding.
pub(crate) fn flood(segment: &Segment) -> Flood {
    decode(&FLOODS, segment.flood.into()).unwrap_or(Flood::Her)
}

/// The outer TTL.
fn ttl(segment: &Segment) -> Ttl {
    match NonZeroU8::new(segment.ttl) {
        Some(ttl) if !segment.has(Segment::TTL_INHERIT) => OrInherit::Value(ttl),
        _ => OrInherit::Inherit,
    }
}

/// The outer TOS.
fn tos(segment: &Segment) -> Tos {
    if segment.has(Segment::TOS_INHERIT) {
        OrInherit::Inherit
    } else {
        OrInherit::Value(segment.tos)
    }
}

/// The outer DF bit.
fn df(segment: &Segment) -> Df {
    if segment.has(Segment::DF_SET) {
        Df::Set
    } else if segment.has(Segment::DF_INHERIT) {
        Df::Inherit
    } else {
        Df::Unset
    }
}

/// The outer source ports.
fn srcport(segment: &Segment) -> PortRange {
    PortRange::new(segment.source_port_min, segment.source_port_max).unwrap_or(PortRange::DYNAMIC)
}
