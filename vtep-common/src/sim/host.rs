//! A decision on the host: over a slice and ordinary maps, with its verdict written down.

use core::cell::{Cell, OnceCell, RefCell};

use crate::{
    abi::{
        addr::MacAddr,
        fdb::{FdbKey, FdbTarget},
        id::{ListId, PeerId, PortSlot},
        peer::Peer,
        policer::Policed,
        reason::Reason,
        uplink::UplinkWord,
    },
    decide::{
        police,
        port::{self, PortStage, ingress},
        tunnel::{self, DecapStage, TunnelKey},
        uplink,
    },
    frame::{
        claim,
        inner::Inner,
        mss::Clamp,
        neigh::{Answer, Message},
        packet::Meta,
        vlan::ShownVlan,
    },
    runtime::{
        FoundIngress, Runtime, Slot, SlotName,
        arrival::{Arrival, Carried, Ingress, PortOwner},
        tables::Tables,
        verdict::{
            Account, Deliver, Encap, Flood, FloodPorts, Notice, Recipient, Refused, Resolved,
            TooBigAnswer, ViaKernel,
        },
    },
    sim::{
        apply::{clamp, set_destination},
        decision::{Decision, Notes, Verdict},
    },
};

/// Decides on a frame at an uplink.
#[must_use]
pub fn decide_uplink<T: Tables>(
    frame: &[u8],
    meta: &Meta,
    stage: DecapStage,
    tables: &T,
) -> Decision {
    Host::new(frame, meta, tables).decide(|host| uplink::decide(host, stage))
}

/// Decides on a frame that the slow-path device has decapsulated.
#[must_use]
pub fn decide_tunnel<T: Tables>(
    frame: &[u8],
    meta: &Meta,
    key: &TunnelKey,
    tables: &T,
) -> Decision {
    let mut host = Host::new(frame, meta, tables);
    host.key = Some(*key);
    let mut decision = host.decide(tunnel::decide);
    let Verdict::ClampReceived(to) = decision.verdict else {
        return decision;
    };
    let notes = core::mem::take(&mut decision.notes);
    let mut host = Host::new(frame, meta, tables);
    host.key = Some(*key);
    let last = host.decide(|host| tunnel::clamp(host, &to));
    Decision {
        notes: notes.and(last.notes),
        ..last
    }
}

/// Decides on a frame at a port: all stages, one after the other, as the kernel goes through them.
#[must_use]
pub fn decide_port<T: Tables>(frame: &[u8], meta: &Meta, stage: PortStage, tables: &T) -> Decision {
    let on_frame = || Host::new(frame, meta, tables);
    let mut decision = on_frame().decide(|host| port::decide(host, stage, &Resolved::IN_FDB));
    let mut notes = core::mem::take(&mut decision.notes);
    if decision.verdict == Verdict::Guard {
        decision = on_frame().decide(port::guard::decide);
        notes = notes.and(core::mem::take(&mut decision.notes));
    }
    if decision.verdict == Verdict::Neigh {
        decision = on_frame().decide(port::neigh::decide);
        notes = notes.and(core::mem::take(&mut decision.notes));
    }
    if decision.verdict == Verdict::Unknown {
        decision = on_frame().decide(port::unknown::decide);
        notes = notes.and(core::mem::take(&mut decision.notes));
    }
    let Verdict::Resolved(resolved) = decision.verdict else {
        return last_stages(frame, meta, tables, Decision { notes, ..decision });
    };
    let mut frame = frame.to_vec();
    // A frame whose destination was found has one.
    if !resolved.mac.is_zero() && set_destination(&mut frame, resolved.mac).is_err() {
        return Decision { notes, ..decision };
    }
    let host = Host::new(&frame, meta, tables);
    let last = match resolved.target.get() {
        Some(FdbTarget::List(list)) => host.decide(|host| port::flood::decide(host, list)),
        Some(FdbTarget::Peer(_) | FdbTarget::Port(_)) | None => {
            host.decide(|host| port::decide(host, PortStage::Resolved, &resolved))
        }
    };
    let mut last = last;
    let notes = notes.and(core::mem::take(&mut last.notes));
    Decision {
        destination: resolved.mac,
        ..last_stages(&frame, meta, tables, Decision { notes, ..last })
    }
}

/// How a frame from a port is carried; `None` where no VNI takes it.
#[must_use]
pub(super) fn carried<T: Tables>(frame: &[u8], meta: &Meta, tables: &T) -> Option<Carried> {
    let host = Host::new(frame, meta, tables);
    host.find().ok().map(|(_, carried)| carried)
}

/// What becomes of a frame whose decision has gone on to one of the last stages: a SYN that may offer too much, or a frame that is too big
/// for its VTEP as far as could be told.
fn last_stages<T: Tables>(
    frame: &[u8],
    meta: &Meta,
    tables: &T,
    mut decision: Decision,
) -> Decision {
    let mut frame = frame.to_vec();
    let mut notes = core::mem::take(&mut decision.notes);
    if let Verdict::Clamp(peer) = decision.verdict {
        decision = Host::new(&frame, meta, tables).decide(|host| port::clamp::decide(host, peer));
        notes = notes.and(core::mem::take(&mut decision.notes));
        let Verdict::Resolved(resolved) = decision.verdict else {
            return Decision { notes, ..decision };
        };
        // What was found in it lies in it.
        if clamp(&mut frame, notes.clamped).is_err() {
            return Decision { notes, ..decision };
        }
        decision = Host::new(&frame, meta, tables)
            .decide(|host| port::decide(host, PortStage::Resolved, &resolved));
        notes = notes.and(core::mem::take(&mut decision.notes));
    }
    if let Verdict::TooBigFor(peer) = decision.verdict {
        decision = Host::new(&frame, meta, tables).decide(|host| port::too_big::decide(host, peer));
        notes = notes.and(core::mem::take(&mut decision.notes));
        if let Verdict::Resolved(resolved) = decision.verdict {
            decision = Host::new(&frame, meta, tables)
                .decide(|host| port::decide(host, PortStage::Resolved, &resolved));
            notes = notes.and(core::mem::take(&mut decision.notes));
        }
    }
    Decision { notes, ..decision }
}

/// What a decision on the host runs in.
struct Host<'a, T> {
    frame: &'a [u8],
    meta: &'a Meta,
    tables: &'a T,
    /// What the slow-path device says of the frame.
    key: Option<TunnelKey>,
    inner: OnceCell<Inner>,
    ingress: OnceCell<Ingress>,
    carried: OnceCell<Carried>,
    arrival: OnceCell<Arrival>,
    notes: RefCell<Notes>,
    /// The slots that values were spilled to, as bits.
    spilled: Cell<u32>,
}

impl<'a, T: Tables> Host<'a, T> {
    const fn new(frame: &'a [u8], meta: &'a Meta, tables: &'a T) -> Self {
        Self {
            frame,
            meta,
            tables,
            key: None,
            inner: OnceCell::new(),
            ingress: OnceCell::new(),
            carried: OnceCell::new(),
            arrival: OnceCell::new(),
            notes: RefCell::new(Notes::NONE),
            spilled: Cell::new(0),
        }
    }

    /// The decision that `decide` makes.
    fn decide(self, decide: impl FnOnce(&Self) -> Decision) -> Decision {
        let decision = decide(&self);
        Decision {
            notes: self.notes.into_inner(),
            ..decision
        }
    }

    /// Holds a decision to its word that it writes to a slot once: what was written before may still be read.
    fn write(&self, name: SlotName) {
        let (bit, spilled) = (1 << name as u32, self.spilled.get());
        debug_assert!(spilled & bit == 0, "{name:?} is written twice");
        self.spilled.set(spilled | bit);
    }

    /// Reads the headers, and finds what else is known.
    fn find(&self) -> Result<(FoundIngress<'_, Self>, Carried), Refused> {
        let inner = ingress::read(self)?;
        let inner = self.inner.get_or_init(|| inner);
        let (ingress, segment) = ingress::find(self, inner)?;
        let carried = Carried::new(self.frame.len(), self.meta, inner, &ingress, segment);
        let ingress = self.ingress.get_or_init(|| ingress);
        Ok(((inner, ingress), carried))
    }
}

impl<T: Tables> Runtime for Host<'_, T> {
    type Frame = [u8];
    type Tables = T;
    type Spilled<'a, V: Slot + 'a>
        = &'a V
    where
        Self: 'a;
    type Opaque<'a, V: Slot + 'a>
        = &'a V
    where
        Self: 'a;
    type Outcome = Decision;

    fn frame(&self) -> &[u8] {
        self.frame
    }

    fn meta(&self) -> &Meta {
        self.meta
    }

    fn tables(&self) -> &T {
        self.tables
    }

    fn takes(&self, destination: MacAddr) -> bool {
        destination.is_group()
            || self
                .tables
                .is_uplink(UplinkWord::new(self.meta.ifindex, destination))
    }

    fn ingress(&self) -> Result<FoundIngress<'_, Self>, Refused> {
        Ok(self.find()?.0)
    }

    fn carried(&self) -> Result<(FoundIngress<'_, Self>, &Carried), Refused> {
        let (found, carried) = self.find()?;
        Ok((found, self.carried.get_or_init(|| carried)))
    }

    fn arrival(&self) -> Result<&Arrival, Refused> {
        let arrival = uplink::find(self)?;
        Ok(self.arrival.get_or_init(|| arrival))
    }

    fn decapsulated(&self) -> Result<&Arrival, Refused> {
        let key = self.key.ok_or(Reason::TableGap)?;
        let arrival = tunnel::find(self, &key)?;
        Ok(self.arrival.get_or_init(|| arrival))
    }

    fn message(&self, l3: usize, ethertype: u16, source: MacAddr) -> Option<Message> {
        let mut message = Message::nothing();
        message
            .read(self.frame, l3, ethertype, source)
            .then_some(message)
    }

    fn is_own(&self, inner: &&Inner, ingress: &&Ingress) -> bool {
        let owner = PortOwner {
            tables: self.tables,
            ingress,
        };
        claim::is_own(self.frame, inner, &owner)
    }

    fn shown_by_port(&self, inner: &&Inner, carried: &&Carried) -> ShownVlan {
        ShownVlan::of_carried(self.frame, inner, carried.edit)
    }

    fn shown_by_vtep(&self, arrival: &&Arrival) -> ShownVlan {
        let base = arrival.outer.len;
        ShownVlan::of_received(self.frame, self.meta.tag, &arrival.read, base)
    }

    fn policed_carried(&self, inner: &&Inner, carried: &&Carried) -> u32 {
        police::bytes(self.frame.len(), inner.headers_len, carried.gso_size)
    }

    fn policed_arrival(&self, arrival: &&Arrival) -> u32 {
        let gso_size = self.meta.gso_size;
        police::bytes_from_vtep(self.frame, arrival.outer.len, (arrival.len, gso_size))
    }

    fn spill<'a, V: Slot>(&'a self, value: &'a V) -> &'a V {
        self.write(V::NAME);
        value
    }

    fn opaque<'a, V: Slot>(&'a self, value: &'a V) -> &'a V {
        self.write(V::NAME);
        value
    }

    fn leave(&self, account: &Account, reason: Reason) -> Decision {
        Decision::new(account, Verdict::Leave(reason))
    }

    fn lose(&self, account: &Account, to: Recipient, reason: Reason) -> Decision {
        Decision {
            recipient: to,
            ..self.leave(account, reason)
        }
    }

    fn encap(&self, account: &Account, encap: &&Encap, peer: &Peer, in_place: bool) -> Decision {
        let verdict = if in_place {
            Verdict::Encap(**encap)
        } else {
            Verdict::ViaKernel(ViaKernel::new(encap, peer))
        };
        Decision::new(account, verdict)
    }

    fn deliver(&self, account: &Account, deliver: &Deliver) -> Decision {
        Decision::new(account, Verdict::Deliver(*deliver))
    }

    fn flood(&self, account: &Account, flood: &Flood) -> Decision {
        Decision::new(account, Verdict::Flood(*flood))
    }

    fn flood_ports(
        &self,
        account: &Account,
        list: ListId,
        (vlan, bytes): (ShownVlan, u32),
    ) -> Decision {
        let segment = account.segment;
        let flood = FloodPorts {
            list,
            segment,
            vlan,
            bytes,
        };
        Decision::new(account, Verdict::FloodPorts(flood))
    }

    fn answer(&self, account: &Account, answer: &Answer) -> Decision {
        Decision::new(account, Verdict::Answer(*answer))
    }

    fn answer_too_big(&self, account: &Account, answer: &TooBigAnswer) -> Decision {
        Decision::new(account, Verdict::AnswerTooBig(*answer))
    }

    fn to_guard(&self, account: &Account) -> Decision {
        Decision::new(account, Verdict::Guard)
    }

    fn to_neigh(&self, account: &Account) -> Decision {
        Decision::new(account, Verdict::Neigh)
    }

    fn to_unknown(&self, account: &Account) -> Decision {
        Decision::new(account, Verdict::Unknown)
    }

    fn to_resolved(&self, account: &Account, resolved: &Resolved) -> Decision {
        Decision::new(account, Verdict::Resolved(*resolved))
    }

    fn to_clamp(&self, account: &Account, peer: PeerId) -> Decision {
        Decision::new(account, Verdict::Clamp(peer))
    }

    fn to_clamp_received(&self, account: &Account, to: &Resolved) -> Decision {
        Decision::new(account, Verdict::ClampReceived(*to))
    }

    fn clamp(&self, l3: usize, ethertype: u16, mtu: u32) {
        self.notes.borrow_mut().clamped = Clamp::find(self.frame, l3, ethertype, mtu);
    }

    fn to_too_big(&self, account: &Account, peer: PeerId) -> Decision {
        Decision::new(account, Verdict::TooBigFor(peer))
    }

    fn take_answer(&self, slot: PortSlot) -> bool {
        police::answers(self.tables, slot)
    }

    fn take(&self, slot: PortSlot, what: Policed, amount: u32) -> bool {
        let passes = police::passes(self.tables, slot, what, amount);
        if passes {
            self.notes.borrow_mut().taken.push((slot, what, amount));
        }
        passes
    }

    fn notify(&self, account: &Account, notice: &Notice<'_>) {
        self.notes.borrow_mut().events.push(notice.event(account));
    }

    fn refresh(&self, key: &FdbKey) {
        self.notes.borrow_mut().refreshed = Some(*key);
    }
}
