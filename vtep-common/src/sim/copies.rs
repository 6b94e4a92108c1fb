//! Where the copies of a flooded frame go, and which are lost.

use crate::{
    abi::{
        flood::FloodList,
        id::{ListId, PeerId, PortSlot},
        policer::Policed,
        port::Port,
        reason::Reason,
    },
    decide::{count::copy_goes, police},
    frame::vlan::ShownVlan,
    runtime::{
        tables::Tables,
        verdict::{Flood, FloodPorts},
    },
    sim::decision::Verdict,
};

/// A copy: for whom it is, and why it does not go there, if it does not.
pub type FloodCopy<K> = (K, Option<Reason>);

/// The copies that a verdict makes for ports and for peers: none, unless it floods.
#[must_use]
pub fn copies<T: Tables>(
    verdict: &Verdict,
    tables: &T,
) -> (Vec<FloodCopy<PortSlot>>, Vec<FloodCopy<PeerId>>) {
    match verdict {
        Verdict::Flood(flood) => (of_flood(flood, tables), to_peers(flood, tables)),
        Verdict::FloodPorts(flood) => (of_flood_ports(flood, tables), vec![]),
        Verdict::Encap(_)
        | Verdict::ViaKernel(_)
        | Verdict::Deliver(_)
        | Verdict::Answer(_)
        | Verdict::AnswerTooBig(_)
        | Verdict::Guard
        | Verdict::Neigh
        | Verdict::Unknown
        | Verdict::Resolved(_)
        | Verdict::Clamp(_)
        | Verdict::ClampReceived(_)
        | Verdict::TooBigFor(_)
        | Verdict::Leave(_) => (vec![], vec![]),
    }
}

fn of_flood<T: Tables>(flood: &Flood, tables: &T) -> Vec<FloodCopy<PortSlot>> {
    let reaches = |slot, port: &Port| flood.reaches(slot, port);
    to_ports((flood.list, flood.vlan, flood.bytes), reaches, tables)
}

fn of_flood_ports<T: Tables>(flood: &FloodPorts, tables: &T) -> Vec<FloodCopy<PortSlot>> {
    let reaches = |_, port: &Port| flood.reaches(port);
    to_ports((flood.list, flood.vlan, flood.bytes), reaches, tables)
}

/// The copies for ports that are there. Those that the frame is not for are none.
fn to_ports<T: Tables>(
    (list, vlan, policed): (ListId, ShownVlan, u32),
    reaches: impl Fn(PortSlot, &Port) -> bool,
    tables: &T,
) -> Vec<FloodCopy<PortSlot>> {
    let list = tables.flood_list(list).into_iter();
    let ports = list.flat_map(FloodList::ports).filter_map(|slot| {
        let port = tables.port(slot).filter(|port| reaches(slot, port))?;
        let why_not = if port.has(Port::TRUNK) && tables.is_mapped(port.ifindex, vlan) {
            Some(Reason::VlanHop)
        } else if port.has(Port::RATE_OUT) && !police::passes(tables, slot, Policed::Out, policed) {
            Some(Reason::Rate)
        } else {
            None
        };
        Some((slot, why_not))
    });
    ports.collect()
}

/// The copies for peers that are there.
fn to_peers<T: Tables>(flood: &Flood, tables: &T) -> Vec<FloodCopy<PeerId>> {
    let list = tables.flood_list(flood.list).into_iter();
    let peers = list.flat_map(FloodList::peers).filter_map(|id| {
        let goes = copy_goes(tables.peer(id)?, flood.carried_len);
        Some((id, (!goes).then_some(Reason::CopyLost)))
    });
    peers.collect()
}
