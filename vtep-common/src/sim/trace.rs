//! A frame on its way through the hooks: what each looks up and decides, and what becomes of the frame. Nothing is sent, counted, learned
//! or taken out of a rate.

use std::collections::HashSet;

use crate::{
    abi::{
        id::{PeerId, PortSlot},
        reason::Reason,
    },
    decide::{port::PortStage, tunnel::DecapStage},
    frame::packet::Meta,
    runtime::{arrival::Carried, tables::Tables},
    sim::{
        HostTables,
        apply::{Outcome, Unfit, copies_in_place, take_in_band_tag},
        asked::{Asked, Recorder},
        copies::{FloodCopy, copies},
        decision::{Decision, Verdict},
        host::carried,
        side::Side,
        slow_path::decapsulate,
    },
};

/// A frame at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Where it is looked at.
    pub side: Side,
    /// Its bytes.
    pub frame: Vec<u8>,
    /// What the kernel knows besides.
    pub meta: Meta,
}

impl Arrived {
    /// A frame as it is on the wire, at an interface. Before TC the kernel takes the outermost tag out of the bytes.
    #[must_use]
    pub fn from_wire(side: Side, frame: Vec<u8>, ifindex: u32) -> Self {
        let meta = Meta {
            ifindex,
            tag: None,
            gso_size: 0,
        };
        let arrived = Self { side, frame, meta };
        match side {
            Side::Port(PortStage::Xdp) | Side::Uplink(DecapStage::Xdp) => arrived,
            Side::Port(PortStage::Tc | PortStage::Resolved)
            | Side::Uplink(DecapStage::Tc | DecapStage::Device)
            | Side::Tunnel(_) => arrived.at_tc(side),
        }
    }

    /// The same frame at a hook of TC.
    fn at_tc(mut self, side: Side) -> Self {
        if self.meta.tag.is_none() {
            self.meta.tag = take_in_band_tag(&mut self.frame);
        }
        Self { side, ..self }
    }
}

/// What one hook makes of a frame.
#[derive(Clone, Debug)]
pub struct Hop {
    /// The frame that comes there.
    pub arrived: Arrived,
    /// What the decision looked up, in its order.
    pub asked: Vec<Asked>,
    /// The decision.
    pub decision: Decision,
    /// The reason that the frame would be counted under.
    pub reason: Reason,
    /// How a frame from a port is carried.
    pub carried: Option<Carried>,
    /// What is done to the bytes.
    pub outcome: Result<Outcome, Unfit>,
    /// The copies of a flooded frame for ports.
    pub to_ports: Vec<FloodCopy<PortSlot>>,
    /// Those for peers.
    pub to_peers: Vec<FloodCopy<PeerId>>,
    /// Of those, the packets that are made in place.
    pub packets: Vec<(PeerId, Vec<u8>)>,
    /// What was looked up besides, to tell all that.
    besides: Vec<Asked>,
}

impl Hop {
    /// What becomes of a frame at a hook.
    #[must_use]
    pub fn of<T: Tables>(arrived: Arrived, tables: &T) -> Self {
        let recorder = Recorder::new(tables);
        let Arrived { side, frame, meta } = &arrived;
        let decision = side.decide(frame, meta, &recorder);
        let asked = recorder.take();
        let outcome = side.apply(frame, meta, &decision, &recorder);
        let (to_ports, to_peers) = copies(&decision.verdict, &recorder);
        let packets = match (&decision.verdict, &outcome) {
            (Verdict::Flood(flood), Ok(outcome)) => copies_in_place(flood, outcome, &recorder),
            _ => vec![],
        };
        let carried = match side {
            Side::Port(_) => carried(frame, meta, &recorder),
            Side::Uplink(_) | Side::Tunnel(_) => None,
        };
        Self {
            reason: decision.verdict.reason(side.is_from_underlay()),
            besides: recorder.take(),
            asked,
            decision,
            carried,
            outcome,
            to_ports,
            to_peers,
            packets,
            arrived,
        }
    }

    /// The frame at the next hook, if it goes on to one.
    fn next<T: Tables>(&self, tables: &T) -> Option<Arrived> {
        let Arrived { side, frame, .. } = &self.arrived;
        match (self.reason, side) {
            (Reason::LeftToTc, Side::Uplink(_)) => {
                Some(self.arrived.clone().at_tc(Side::Uplink(DecapStage::Tc)))
            }
            (Reason::LeftToTc, Side::Port(_)) => {
                Some(self.arrived.clone().at_tc(Side::Port(PortStage::Tc)))
            }
            (Reason::LeftToKernel, Side::Uplink(_)) => {
                let (frame, meta, key) = decapsulate(frame, tables)?;
                let side = Side::Tunnel(key);
                Some(Arrived { side, frame, meta })
            }
            _ => None,
        }
    }
}

/// What each hook makes of a frame, from the first one on. No hook comes twice.
#[must_use]
pub fn trace<T: Tables>(arrived: Arrived, tables: &T) -> Vec<Hop> {
    let mut hops = Vec::new();
    let mut next = Some(arrived);
    while let Some(arrived) = next {
        let hop = Hop::of(arrived, tables);
        next = hop.next(tables);
        hops.push(hop);
    }
    hops
}

/// The same over tables of which `read` puts in what is asked for, each thing once: until nothing else is. A decision's next question follows
/// from the answers before, so that each round brings it further.
///
/// # Errors
///
/// What `read` fails with.
pub fn trace_reading<E>(
    arrived: &Arrived,
    tables: &mut HostTables,
    mut read: impl FnMut(Asked, &mut HostTables) -> Result<(), E>,
) -> Result<Vec<Hop>, E> {
    let mut known = HashSet::new();
    loop {
        let hops = trace(arrived.clone(), tables);
        let asked = hops
            .iter()
            .flat_map(|hop| hop.asked.iter().chain(&hop.besides));
        let new: Vec<Asked> = asked
            .copied()
            .filter(|asked| known.insert(*asked))
            .collect();
        if new.is_empty() {
            return Ok(hops);
        }
        for asked in new {
            read(asked, tables)?;
        }
    }
}
