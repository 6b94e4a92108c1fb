//! Traces: the frame that is traced, and its way through the hooks as rows.
//!
//! What is decided, `vtep_common::sim::trace` says, by the code that decides in the kernel. Here it gets names and words.

mod made;
mod rows;
mod words;

use vtep_common::{
    abi::id::Ifindex,
    decide::{port::PortStage, tunnel::DecapStage},
    sim::{
        HostTables, Side,
        trace::{Arrived, Hop},
    },
};

use self::words::Words;
use super::state::State;
use crate::model::{Refusal, TraceAt, TraceRow, TraceSpec, TraceTo};

/// A frame that is to be traced, and what is said of it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The interface that it comes in by.
    pub ifindex: Ifindex,
    /// Its bytes on the wire.
    bytes: Vec<u8>,
    /// What was made up, a sentence each.
    notes: Vec<String>,
    /// It comes in by an uplink.
    from_underlay: bool,
}

impl Traced {
    /// The program that sees frames there first, if it is attached.
    #[must_use]
    pub const fn first_program(&self) -> &'static str {
        if self.from_underlay {
            "xdp_uplink"
        } else {
            "xdp_port"
        }
    }

    /// The frame at the first hook.
    #[must_use]
    pub fn arrived(&self, xdp: bool) -> Arrived {
        let side = match (self.from_underlay, xdp) {
            (true, true) => Side::Uplink(DecapStage::Xdp),
            (true, false) => Side::Uplink(DecapStage::Tc),
            (false, true) => Side::Port(PortStage::Xdp),
            (false, false) => Side::Port(PortStage::Tc),
        };
        Arrived::from_wire(side, self.bytes.clone(), self.ifindex.get())
    }
}

/// Whether the interface of a trace is an uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TracedUplink {
    /// It is none.
    None,
    /// It is one, and waited for.
    Absent,
    /// It is this interface.
    There(Ifindex),
}

/// Which frame is asked for.
enum Asked {
    /// One of these bytes.
    Bytes(Vec<u8>),
    /// One that is made, for this destination.
    Made(TraceTo),
}

impl Asked {
    fn of(spec: &TraceSpec) -> Result<Self, Refusal> {
        let TraceSpec {
            frame,
            dst,
            src,
            size,
            vlan,
        } = spec;
        let is_made = dst.is_some() || src.is_some() || size.is_some() || vlan.is_some();
        match (frame, dst) {
            (Some(frame), _) if !is_made => Ok(Self::Bytes(frame.bytes().to_vec())),
            (Some(_), _) => Err(Refusal::invalid(
                "the bytes of a frame say where it goes; give either --frame HEX, or --dst with --src, --size and --vlan",
            )),
            (None, Some(to)) => Ok(Self::Made(*to)),
            (None, None) => Err(Refusal::invalid(
                "it is not said which frame; give its bytes, or whom it is for: --frame HEX, --dst MAC or --dst IP",
            )),
        }
    }
}

impl State {
    /// The frame that is to be traced, which comes in by an uplink, or by a port.
    pub fn traced(&self, at: &TraceAt, uplink: TracedUplink) -> Result<Traced, Refusal> {
        let TraceAt { dev, spec } = at;
        let frame = Asked::of(spec)?;
        match uplink {
            TracedUplink::There(ifindex) => match frame {
                Asked::Bytes(bytes) => Ok(Traced {
                    ifindex,
                    bytes,
                    notes: Vec::new(),
                    from_underlay: true,
                }),
                Asked::Made(_) => Err(Refusal::invalid(format!(
                    "{dev} is an uplink, where whole packets arrive; give one with: vtep trace {dev} --frame HEX, or --pcap FILE"
                ))),
            },
            TracedUplink::Absent => Err(Refusal::conflict(format!(
                "uplink {dev} waits for its interface, so that no packet comes from it; see it with: vtep status"
            ))),
            TracedUplink::None => self.decide_at_port(dev, frame, spec),
        }
    }

    fn decide_at_port(&self, dev: &str, frame: Asked, spec: &TraceSpec) -> Result<Traced, Refusal> {
        let found = self.ports.device_named(dev);
        let (ifindex, device) = found.ok_or_else(|| {
            Refusal::not_found(format!(
                "{dev} is neither a port nor an uplink; see which are with: vtep port show, and: vtep status"
            ))
        })?;
        if ifindex.is_absent() {
            return Err(Refusal::conflict(format!(
                "port {dev} waits for its interface, so that no frame comes from it; see it with: vtep port show {dev}"
            )));
        }
        let (bytes, notes) = match frame {
            Asked::Bytes(bytes) => (bytes, Vec::new()),
            Asked::Made(to) => made::frame(self, (dev, device), to, spec)?,
        };
        Ok(Traced {
            ifindex,
            bytes,
            notes,
            from_underlay: false,
        })
    }

    /// The way of a frame through the hooks as rows. `tables` have all that was looked up.
    #[must_use]
    pub fn trace_rows(&self, traced: &Traced, hops: &[Hop], tables: &HostTables) -> Vec<TraceRow> {
        let words = Words {
            state: self,
            tables,
        };
        rows::of(&words, &traced.notes, hops)
    }

    /// The same of a frame that came to a hook.
    #[must_use]
    pub fn arrived_rows(&self, hops: &[Hop], tables: &HostTables) -> Vec<TraceRow> {
        let words = Words {
            state: self,
            tables,
        };
        rows::of(&words, &[], hops)
    }
}
