//! The way of a frame through the hooks, a row for each step.

use std::net::IpAddr;

use vtep_common::{
    abi::{
        event::Event,
        fdb::FdbTarget,
        id::PeerId,
        peer::Peer,
        reason::{Class, Reason},
    },
    frame::outer::Outer,
    runtime::{tables::Tables as _, verdict::ViaKernel},
    sim::{
        Side,
        asked::Asked,
        decision::Verdict,
        trace::{Arrived, Hop},
    },
    wire::ethernet,
};

use super::words::{Looked, Said, Words};
use crate::{
    headers,
    model::{MacAddr, TraceRow, TraceStep, settings::trace::hex},
};

/// All rows of one frame. `notes` are what was made up, a sentence each.
pub(super) fn of(words: &Words<'_>, notes: &[String], hops: &[Hop]) -> Vec<TraceRow> {
    let mut rows = Vec::new();
    for (at, hop) in hops.iter().enumerate() {
        let mut of_hop = Rows {
            words,
            hook: hop.arrived.side.hook().name(),
            told: Vec::new(),
        };
        of_hop.frame(hop);
        if at == 0 {
            for note in notes {
                of_hop.say(Said::new(TraceStep::Frame, note.as_str()));
            }
        }
        of_hop.looked_up(hop);
        of_hop.done(hop);
        rows.append(&mut of_hop.told);
    }
    rows
}

/// The rows of one hook.
struct Rows<'a> {
    words: &'a Words<'a>,
    hook: &'static str,
    told: Vec<TraceRow>,
}

/// The inner frame, as far as there is one: that of a packet from the underlay is behind its outer headers.
fn inner<'a>(words: &Words<'_>, arrived: &'a Arrived) -> Option<&'a [u8]> {
    match arrived.side {
        Side::Port(_) | Side::Tunnel(_) => Some(&arrived.frame),
        Side::Uplink(_) => {
            let outer = outer(words, arrived)?;
            arrived.frame.get(outer.inner_offset()..outer.end)
        }
    }
}

/// The outer headers of a packet.
fn outer(words: &Words<'_>, arrived: &Arrived) -> Option<Outer> {
    let mut outer = Outer::unread();
    let gso = arrived.meta.gso_size != 0;
    vtep_common::frame::outer::parse_into(arrived.frame.as_slice(), gso, words.tables, &mut outer)
        .ok()?;
    Some(outer)
}

impl Rows<'_> {
    fn push(&mut self, said: Said, reason: Option<Reason>) -> &mut TraceRow {
        let Said { step, text, target } = said;
        let (vteps, ports) = self.names(target);
        self.told.push(TraceRow {
            frame: 1,
            hook: self.hook.to_owned(),
            step,
            text,
            reason: reason.map(|reason| reason.name().to_owned()),
            vteps,
            ports,
            outer: None,
        });
        let last = self.told.len() - 1;
        &mut self.told[last]
    }

    fn say(&mut self, said: Said) {
        self.push(said, None);
    }

    /// The VTEP or the port that a row is about.
    fn names(&self, target: Option<FdbTarget>) -> (Vec<IpAddr>, Vec<String>) {
        match target {
            Some(FdbTarget::Peer(peer)) => (self.words.vtep(peer).into_iter().collect(), vec![]),
            Some(FdbTarget::Port(slot)) => (vec![], vec![self.words.port_name(slot)]),
            Some(FdbTarget::List(_)) | None => (vec![], vec![]),
        }
    }

    /// What comes to the hook.
    fn frame(&mut self, hop: &Hop) {
        let Arrived { side, frame, meta } = &hop.arrived;
        self.say(Said::new(TraceStep::Frame, headers::frame(frame, meta.tag)));
        match side {
            Side::Uplink(_) => {
                let found = outer(self.words, &hop.arrived).zip(inner(self.words, &hop.arrived));
                if let Some((outer, inner)) = found {
                    let text = format!(
                        "VXLAN of VTEP {} in vni {}, with {}",
                        IpAddr::from(outer.addresses.source),
                        outer.addresses.vni,
                        headers::frame(inner, None)
                    );
                    self.say(Said::new(TraceStep::Arrival, text));
                }
            }
            Side::Tunnel(key) => {
                let text = format!(
                    "the slow-path device has decapsulated it: from VTEP {}, in vni {}",
                    IpAddr::from(key.source),
                    key.vni
                );
                self.say(Said::new(TraceStep::Arrival, text));
            }
            Side::Port(_) => {}
        }
    }

    /// What was looked up, and noted on the way.
    fn looked_up(&mut self, hop: &Hop) {
        let notes = &hop.decision.notes;
        let source = inner(self.words, &hop.arrived)
            .and_then(|inner| inner.get(ethernet::SOURCE_OFFSET..)?.first_chunk())
            .map(|bytes| MacAddr::from_bytes(*bytes));
        let looked = Looked {
            source,
            taken: &notes.taken,
            answered: matches!(hop.decision.verdict, Verdict::AnswerTooBig(_)),
        };
        for said in self.words.of_asked(&hop.asked, &looked) {
            self.say(said);
        }
        for event in &notes.events {
            self.event(event);
        }
        if let Some(clamp) = notes.clamped {
            let text = format!("the SYN would offer an MSS of {}", clamp.to);
            self.say(Said::new(TraceStep::Mss, text));
        }
    }

    /// What the daemon would be told, of a frame that really came.
    fn event(&mut self, event: &Event) {
        let mac = event.mac();
        let host = IpAddr::from(event.host);
        let place = if event.from_port() {
            format!("at port {}", self.words.port_name(event.port))
        } else {
            format!("behind VTEP {}", IpAddr::from(event.vtep))
        };
        let text = match event.kind {
            Event::LEARN => format!("a frame like it would have {mac} learned {place}"),
            Event::SNOOPED => format!("a frame like it would have {host} noted at {mac}, {place}"),
            _ if event.host == Event::NOBODY => {
                format!("a frame like it would be noted as a miss of {mac}")
            }
            _ => format!("a frame like it would be noted as a miss of {host}"),
        };
        self.say(Said::new(TraceStep::Event, text));
    }

    /// What is done with the frame, up to the verdict.
    fn done(&mut self, hop: &Hop) {
        let heading = heading(hop);
        self.fits(hop, heading);
        let mut to = Vec::from_iter(heading);
        match &hop.decision.verdict {
            Verdict::Encap(encap) => {
                if let Ok(outcome) = &hop.outcome {
                    self.outer(&outcome.frame);
                }
                to = vec![FdbTarget::Peer(encap.peer)];
            }
            Verdict::ViaKernel(via) => {
                self.via_kernel(via);
                to = vec![FdbTarget::Peer(via.peer)];
            }
            Verdict::Deliver(deliver) => {
                to = vec![FdbTarget::Port(deliver.slot)];
            }
            Verdict::Flood(_) | Verdict::FloodPorts(_) => to = self.copies(hop),
            Verdict::Answer(answer) => {
                let host = IpAddr::from(answer.target);
                let text = format!("the answer says that {host} is at {}", answer.mac);
                self.say(Said::new(TraceStep::Neigh, text));
                to = vec![FdbTarget::Port(hop.decision.from_port)];
            }
            Verdict::AnswerTooBig(_)
            | Verdict::Guard
            | Verdict::Neigh
            | Verdict::Unknown
            | Verdict::Resolved(_)
            | Verdict::Clamp(_)
            | Verdict::ClampReceived(_)
            | Verdict::TooBigFor(_)
            | Verdict::Leave(_) => {}
        }
        self.verdict(hop, &to);
    }

    /// Whether the frame fits where it is to go.
    fn fits(&mut self, hop: &Hop, heading: Option<FdbTarget>) {
        let too_big = matches!(hop.reason, Reason::TooBig | Reason::TooBigAnswered);
        let peer = match heading {
            Some(FdbTarget::Peer(id)) => self.words.tables.peer(id),
            Some(FdbTarget::Port(_) | FdbTarget::List(_)) | None => None,
        };
        if let (Some(peer), Some(carried)) = (peer, hop.carried)
            && peer.has(Peer::RESOLVED)
            && (too_big || hop.reason.is_delivered())
        {
            let before = u32::try_from(ethernet::LEN).unwrap_or_default();
            let needed = carried.segmented_len + peer.template_len.saturating_sub(before);
            let fits = if needed <= peer.mtu {
                "which fits"
            } else {
                "which does not fit"
            };
            let text = format!(
                "the packet to VTEP {} has {needed} bytes, of {} that the path carries, {fits}",
                IpAddr::from(peer.addr),
                peer.mtu
            );
            self.push(Said::new(TraceStep::Mtu, text), None).vteps = vec![peer.addr.into()];
        } else if let (true, Some(FdbTarget::Port(slot))) = (too_big, heading)
            && let Some(port) = self.words.tables.port(slot)
        {
            let text = format!(
                "the frame is larger than port {} takes, MTU {}",
                self.words.port_name(slot),
                port.mtu
            );
            self.say(Said::new(TraceStep::Mtu, text));
        }
        if let Verdict::AnswerTooBig(answer) = hop.decision.verdict {
            let text = format!(
                "its sender is told that an IP packet of {} bytes fits",
                answer.mtu
            );
            self.say(Said::new(TraceStep::Mtu, text));
        }
    }

    /// The outer headers of a packet that leaves.
    fn outer(&mut self, packet: &[u8]) {
        if let Some((header, words)) = headers::outer(packet) {
            let header = hex(header);
            let text = format!("{words}: {header}");
            self.push(Said::new(TraceStep::Outer, text), None).outer = Some(header);
        }
    }

    fn via_kernel(&mut self, via: &ViaKernel) {
        let mut text = format!(
            "the slow-path device makes the packet: to {}, UDP from {}, TTL {}, TOS {:#04x}{}, VNI {}",
            IpAddr::from(via.remote),
            via.source_port,
            via.ttl,
            via.tos,
            if via.dont_fragment { ", DF" } else { "" },
            via.vni,
        );
        if via.checksum {
            text += ", with a UDP checksum";
        }
        self.say(Said::new(TraceStep::Outer, text));
    }

    /// A row for each copy. Returns where copies go.
    fn copies(&mut self, hop: &Hop) -> Vec<FdbTarget> {
        let mut to = Vec::new();
        for &(slot, lost) in &hop.to_ports {
            to.extend(self.copy(FdbTarget::Port(slot), lost));
        }
        for &(peer, lost) in &hop.to_peers {
            to.extend(self.copy(FdbTarget::Peer(peer), lost));
            let packet = hop.packets.iter().find(|(id, _)| *id == peer);
            if let Some((_, packet)) = packet.filter(|_| lost.is_none()) {
                self.outer(packet);
            }
        }
        to
    }

    fn copy(&mut self, target: FdbTarget, lost: Option<Reason>) -> Option<FdbTarget> {
        let whom = self.name(target);
        let text = match (lost, target) {
            (None, _) => format!("a copy goes to {whom}"),
            (Some(Reason::CopyLost), FdbTarget::Peer(peer)) => {
                let why = self.why_lost(peer);
                format!("the copy for {whom} is lost: {why}")
            }
            (Some(reason), _) => {
                format!("the copy for {whom} is lost: {}", reason.meaning())
            }
        };
        let said = Said {
            target: Some(target),
            ..Said::new(TraceStep::Copy, text)
        };
        self.push(said, lost);
        lost.is_none().then_some(target)
    }

    fn why_lost(&self, peer: PeerId) -> String {
        match self.words.tables.peer(peer) {
            Some(peer) if peer.has(Peer::UNREACHABLE) => {
                "no route leads there, or its interface is down".to_owned()
            }
            Some(peer) => format!(
                "it is larger than the {} bytes that the path carries",
                peer.mtu
            ),
            None => "it is not there".to_owned(),
        }
    }

    /// `VTEP 192.0.2.2`, or `port tap0`.
    fn name(&self, target: FdbTarget) -> String {
        match target {
            FdbTarget::Peer(peer) => match self.words.vtep(peer) {
                Some(ip) => format!("VTEP {ip}"),
                None => format!("VTEP number {peer}"),
            },
            FdbTarget::Port(slot) => format!("port {}", self.words.port_name(slot)),
            FdbTarget::List(_) => "a list".to_owned(),
        }
    }

    /// The last row of the hook.
    fn verdict(&mut self, hop: &Hop, to: &[FdbTarget]) {
        let reason = hop.reason;
        let mut text = format!("{}: {}", reason.name(), reason.meaning());
        if reason.class() == Class::Delivered {
            let whom: Vec<_> = to.iter().map(|target| self.name(*target)).collect();
            if !whom.is_empty() {
                text = format!("{text} It goes to {}.", whom.join(", "));
            }
        }
        let (mut vteps, mut ports) = (Vec::new(), Vec::new());
        for target in to {
            let (more_vteps, more_ports) = self.names(Some(*target));
            vteps.extend(more_vteps);
            ports.extend(more_ports);
        }
        let outer = match (&hop.decision.verdict, &hop.outcome) {
            (Verdict::Encap(_), Ok(outcome)) => {
                headers::outer(&outcome.frame).map(|(header, _)| hex(header))
            }
            _ => None,
        };
        let row = self.push(Said::new(TraceStep::Verdict, text), Some(reason));
        (row.vteps, row.ports, row.outer) = (vteps, ports, outer);
    }
}

/// The one VTEP or port that a frame was to go to when its decision ended, as far as it had come to that.
fn heading(hop: &Hop) -> Option<FdbTarget> {
    let from_port = hop.decision.from_port;
    let at_port = matches!(hop.arrived.side, Side::Port(_));
    hop.asked.iter().rev().find_map(|asked| match *asked {
        Asked::Peer(peer) if at_port => Some(FdbTarget::Peer(peer)),
        Asked::Port(slot) if slot != from_port || !at_port => Some(FdbTarget::Port(slot)),
        _ => None,
    })
}
