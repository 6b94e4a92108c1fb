//! What a port is, as a row and as somebody would ask for it.

use std::collections::BTreeSet;

use vtep_common::abi::{
    addr::MacAddr,
    id::{Ifindex, PortSlot},
    port::Port,
};

use super::{mtu, rate::Rates};
use crate::{
    control::{
        record::{
            author::{self, Author},
            delivery,
            entry::Entry,
            ports::{self, Device},
        },
        state::State,
    },
    model::{
        BitRate, FrameRate, OverLimit, PortDelivery, PortGuard, PortHook, PortRow, PortSpec,
        PortState, Source, VlanId,
    },
};

/// A port of a device as a row.
pub(crate) fn row(state: &State, slot: PortSlot, device: &Device) -> PortRow {
    let port = &state.ports[slot];
    let rates = Rates::of(&state.rates, slot);
    let waits = port.has(Port::ABSENT);
    PortRow {
        dev: device.name.clone(),
        vni: state.segments.vni(port.segment),
        vlan: VlanId::new(port.vlan),
        hook: device.hook,
        ifindex: (!waits).then_some(port.ifindex),
        delivery: (!waits).then(|| delivery::way(port, &device.facts).to_owned()),
        macs: state.fdb.static_behind(slot).collect(),
        ips: state.addresses.of(slot).iter().copied().collect(),
        max_macs: (port.max_macs != 0).then_some(port.max_macs),
        isolated: port.has(Port::ISOLATED),
        guard: guard(port),
        router: port.has(Port::ROUTER),
        over_limit: over_limit(port),
        bum_rate: (rates.bum != FrameRate::OFF).then_some(rates.bum),
        rate_in: (rates.from != BitRate::OFF).then_some(rates.from),
        rate_out: (rates.to != BitRate::OFF).then_some(rates.to),
        source: source(port),
        delivery_wanted: delivery::wanted(port),
        bypasses: delivery::bypasses(port, &device.facts, device.hook),
        state: if waits {
            PortState::Absent
        } else {
            PortState::Attached
        },
        mtu: (!waits).then_some(port.mtu),
        mtu_advice: mtu::advice(state, slot),
    }
}

/// Who made it.
pub(super) fn source(port: &Port) -> Source {
    if port.has(Port::BRIDGED) {
        return Source::Bridge;
    }
    author::source(port.has(Port::CONFIGURED))
}

/// Who has a port that an author changes.
pub(super) fn source_by(author: Author, port: &Port) -> Source {
    match source(port) {
        // Whoever sets something of it has it from then on, and keeps it when it is no member any more.
        Source::Bridge => author.source,
        source => author.source_of(source),
    }
}

/// Says in a port who made it.
pub(super) fn set_source(port: &mut Port, source: Source) {
    port.set(Port::CONFIGURED, author::is_configured(source));
    port.set(Port::BRIDGED, source == Source::Bridge);
}

/// Who made a static entry. What is behind a port that is there for a bridge is there for the bridge too.
pub(crate) fn entry_source(state: &State, entry: Entry) -> Source {
    let port = entry.port().and_then(|slot| state.ports.get(slot));
    match port {
        Some(port) if port.has(Port::BRIDGED) => Source::Bridge,
        _ => entry.source(),
    }
}

/// The port as somebody would ask for it, what is the default left out, and who made it.
pub(crate) fn spec(state: &State, slot: PortSlot) -> (PortSpec, Source) {
    let port = &state.ports[slot];
    let vlan = VlanId::new(port.vlan);
    let (guard, over_limit) = (guard(port), over_limit(port));
    let hook = ports::hook(port.flags);
    let macs = state.fdb.static_behind(slot);
    let rates = Rates::of(&state.rates, slot);
    let delivery = delivery::wanted(port);
    let spec = PortSpec {
        dev: state.ports.device_name(slot).to_owned(),
        vni: state.segments.vni(port.segment),
        vlan,
        hook: (hook != PortHook::Auto).then_some(hook),
        macs: macs
            .filter(|&mac| has_as_its_own(state, slot, mac))
            .collect(),
        ips: state.addresses.of(slot).iter().copied().collect(),
        max_macs: (port.max_macs != 0).then_some(port.max_macs),
        isolated: port.has(Port::ISOLATED).then_some(true),
        guard: (guard != PortGuard::Off).then_some(guard),
        router: port.has(Port::ROUTER).then_some(true),
        over_limit: (over_limit != OverLimit::Drop).then_some(over_limit),
        bum_rate: (rates.bum != FrameRate::BUM_DEFAULT).then_some(rates.bum),
        rate_in: (rates.from != BitRate::OFF).then_some(rates.from),
        rate_out: (rates.to != BitRate::OFF).then_some(rates.to),
        delivery: (delivery != PortDelivery::Auto).then_some(delivery),
        wait: false,
    };
    (spec, source(port))
}

/// True if a static MAC behind a port is one of its settings, and no entry of its own that names the port. It is one if it has the
/// port's source, if nothing else can name the port, or if the port's guard has none else.
pub(crate) fn has_as_its_own(state: &State, slot: PortSlot, mac: MacAddr) -> bool {
    let port = &state.ports[slot];
    let source = source(port);
    let same = |mac| {
        let entry = state.fdb.get(port.segment, mac);
        entry.is_some_and(|entry| entry_source(state, entry) == source)
    };
    if same(mac) {
        return true;
    }
    let device = state.ports.device(Ifindex::new(port.ifindex));
    let in_vni = device.into_iter().flat_map(Device::ports);
    let first = in_vni
        .map(|(_, other)| other)
        .filter(|&other| state.ports[other].segment == port.segment)
        .count();
    let can_be_named = port.vlan == 0 || first == 1;
    let guarded = guard(port) != PortGuard::Off;
    !can_be_named || guarded && !state.fdb.static_behind(slot).any(same)
}

/// Which frames it takes.
pub(super) fn guard(port: &Port) -> PortGuard {
    if port.has(Port::GUARD_IP) {
        PortGuard::Ip
    } else if port.has(Port::GUARD_MAC) {
        PortGuard::Mac
    } else {
        PortGuard::Off
    }
}

/// What happens to frames from MACs above its limit.
pub(super) fn over_limit(port: &Port) -> OverLimit {
    if port.has(Port::OVER_LIMIT_FLOOD) {
        OverLimit::Flood
    } else {
        OverLimit::Drop
    }
}

/// The static MACs behind a port that are entries of their own.
pub(crate) fn others_behind(state: &State, slot: PortSlot) -> BTreeSet<MacAddr> {
    let macs = state.fdb.static_behind(slot);
    macs.filter(|&mac| !has_as_its_own(state, slot, mac))
        .collect()
}
