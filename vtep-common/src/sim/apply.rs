//! What the kernel side does to a frame when it carries out a verdict, told in slices: the model that the kernel is compared with.

use crate::frame::vlan::TagEdit;
use crate::runtime::verdict::{Action, Deliver, Flood};
use crate::sim::decision::{Decision, Verdict};
use std::fmt;

use crate::{
    abi::{
        addr::MacAddr,
        flood::FloodList,
        id::PeerId,
        outer_template,
        peer::Peer,
        reason::{Class, Reason},
    },
    decide::{count::copy_goes, port, tunnel},
    frame::{
        mss::Clamp,
        neigh::Answer,
        packet::{Meta, Tag},
        template::{self, Fields},
    },
    runtime::tables::Tables,
    wire::{arp, checksum::Sum, ethernet, vlan},
};

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the hook returns.
    pub action: Action,
    /// The bytes of the frame when the hook returns.
    pub frame: Vec<u8>,
    /// The skb VLAN tag that the kernel then keeps apart from them.
    pub skb_tag: Option<Tag>,
}

/// Why a decision cannot be carried out: it was made of another frame, with other tables, or elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// No verdict of this hook, or none yet.
    Verdict,
    /// The tables do not have the peer that it names.
    Peer,
    /// The frame is shorter than it says.
    Frame,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verdict => "the verdict is not one that ends a frame at this hook",
            Self::Peer => "the tables do not have the peer of the verdict",
            Self::Frame => "the frame is shorter than the verdict says",
        })
    }
}

impl std::error::Error for Unfit {}

/// Carries out a decision on a frame from a port.
///
/// # Errors
///
/// If the decision is not one on this frame, with these tables, at a port.
pub fn apply_port<T: Tables>(
    frame: &[u8],
    meta: &Meta,
    stage: port::PortStage,
    decision: &Decision,
    tables: &T,
) -> Result<Outcome, Unfit> {
    let xdp = stage == port::PortStage::Xdp;
    let mut frame = frame.to_vec();
    if !decision.destination.is_zero() {
        set_destination(&mut frame, decision.destination)?;
    }
    clamp(&mut frame, decision.notes.clamped)?;
    let frame = frame.as_slice();
    Ok(match &decision.verdict {
        Verdict::Encap(encap) => {
            let peer = tables.peer(encap.peer).ok_or(Unfit::Peer)?;
            let mut out = outer_headers(peer, encap.v6, &encap.fields);
            let mut inner = edit(frame, meta, encap.tag, xdp);
            inner.put_skb_tag_in_band();
            out.extend(inner.frame);
            Outcome {
                action: Action::Redirect,
                frame: out,
                skb_tag: None,
            }
        }
        Verdict::ViaKernel(via) => edit(frame, meta, via.tag, xdp),
        Verdict::Deliver(deliver) => {
            deliver_from(edit(frame, meta, deliver.tag, xdp), deliver, xdp)
        }
        Verdict::Flood(flood) => Outcome {
            action: Action::Drop,
            ..edit(frame, meta, flood.encap.tag, xdp)
        },
        Verdict::Answer(reply) => answer(frame, meta, reply)?,
        Verdict::AnswerTooBig(_) => Outcome {
            action: Action::Drop,
            frame: frame.to_vec(),
            skb_tag: meta.tag,
        },
        // All but the last are decided further before; that is of a frame from a VTEP.
        Verdict::Guard
        | Verdict::Neigh
        | Verdict::Unknown
        | Verdict::Resolved(_)
        | Verdict::Clamp(_)
        | Verdict::ClampReceived(_)
        | Verdict::TooBigFor(_)
        | Verdict::FloodPorts(_) => {
            return Err(Unfit::Verdict);
        }
        Verdict::Leave(reason) => leave(frame, meta, *reason)?,
    })
}

/// The outer headers of a packet to a peer.
fn outer_headers(peer: &Peer, v6: bool, fields: &Fields) -> Vec<u8> {
    if v6 {
        template::render_v6(&peer.template, fields)
            .bytes::<{ outer_template::LEN_V6 }>()
            .to_vec()
    } else {
        template::render_v4(&peer.template, fields)
            .bytes::<{ outer_template::LEN_V4 }>()
            .to_vec()
    }
}

/// The copies of a flooded frame that are encapsulated in place, each with the peer that it is for. `outcome` is what
/// [`apply_port`] made of the frame. No checksum in it is left to offload but one that the headers tell of.
#[must_use]
pub fn copies_in_place<T: Tables>(
    flood: &Flood,
    outcome: &Outcome,
    tables: &T,
) -> Vec<(PeerId, Vec<u8>)> {
    let mut inner = outcome.clone();
    inner.put_skb_tag_in_band();
    let inner = inner.frame;
    let numbers = tables
        .flood_list(flood.list)
        .into_iter()
        .flat_map(FloodList::peers);
    let mut peers: Vec<(PeerId, &Peer)> = numbers
        .filter_map(|number| Some((number, tables.peer(number)?)))
        .filter(|(_, peer)| copy_goes(peer, flood.carried_len) && flood.is_in_place(peer, true))
        .collect();
    let v6 = peers
        .first()
        .is_some_and(|(_, first)| first.has(Peer::IPV6));
    peers.retain(|(_, peer)| peer.has(Peer::IPV6) == v6);
    let encapsulated = peers.into_iter().map(|(number, peer)| {
        let mut fields = flood.encap.fields;
        if v6 {
            let sum = fields
                .inner_sum
                .unwrap_or_else(|| Sum::default().bytes(&inner).fold());
            fields.inner_sum = peer.has(Peer::CHECKSUM).then_some(sum);
        }
        let mut out = outer_headers(peer, v6, &fields);
        out.extend(&inner);
        (number, out)
    });
    encapsulated.collect()
}

/// The answer in place of the request.
fn answer(frame: &[u8], meta: &Meta, answer: &Answer) -> Result<Outcome, Unfit> {
    let mut out = frame.to_vec();
    if answer.v6 {
        let packet = answer.nd();
        let packet: &[u8] = bytemuck::bytes_of(&packet);
        out.truncate(answer.l3);
        out.extend(packet);
    } else {
        let words = answer.arp();
        let words: &[u8] = bytemuck::bytes_of(&words);
        write_at(
            &mut out,
            answer.l3.saturating_add(arp::OPERATION_OFFSET),
            words,
        )?;
    }
    let macs = answer.macs();
    let macs: &[u8] = bytemuck::bytes_of(&macs);
    write_at(&mut out, 0, macs)?;
    Ok(Outcome {
        action: Action::Redirect,
        frame: out,
        skb_tag: meta.tag,
    })
}

/// Overwrites the bytes of a frame from `at` on.
fn write_at(frame: &mut [u8], at: usize, bytes: &[u8]) -> Result<(), Unfit> {
    frame
        .get_mut(at..)
        .and_then(|rest| rest.get_mut(..bytes.len()))
        .ok_or(Unfit::Frame)?
        .copy_from_slice(bytes);
    Ok(())
}

/// Carries out a decision on a frame from an uplink.
///
/// # Errors
///
/// If the decision is not one on this frame, at an uplink.
pub fn apply_uplink(
    frame: &[u8],
    meta: &Meta,
    stage: tunnel::DecapStage,
    decision: &Decision,
) -> Result<Outcome, Unfit> {
    Ok(match &decision.verdict {
        Verdict::Deliver(deliver) => {
            let xdp = stage == tunnel::DecapStage::Xdp;
            let carried = frame.get(deliver.strip..).ok_or(Unfit::Frame)?;
            let mut inner = edit(carried, meta, deliver.tag, xdp);
            clamp(&mut inner.frame, decision.notes.clamped)?;
            if !deliver.mac.is_zero() {
                set_destination(&mut inner.frame, deliver.mac)?;
            }
            deliver_from(inner, deliver, xdp)
        }
        Verdict::FloodPorts(_) => Outcome {
            action: Action::Drop,
            ..edit(frame, meta, TagEdit::Leave, false)
        },
        // Never from the underlay back to it.
        Verdict::Encap(_)
        | Verdict::Flood(_)
        | Verdict::ViaKernel(_)
        | Verdict::Answer(_)
        | Verdict::AnswerTooBig(_)
        | Verdict::Guard
        | Verdict::Neigh
        | Verdict::Unknown
        | Verdict::Resolved(_)
        | Verdict::Clamp(_)
        | Verdict::ClampReceived(_)
        | Verdict::TooBigFor(_) => return Err(Unfit::Verdict),
        Verdict::Leave(reason) => leave(frame, meta, *reason)?,
    })
}

/// Carries out a decision on a frame that the slow-path device has decapsulated.
///
/// # Errors
///
/// If the decision is not one on this frame, behind the device.
pub fn apply_tunnel(frame: &[u8], meta: &Meta, decision: &Decision) -> Result<Outcome, Unfit> {
    apply_uplink(frame, meta, tunnel::DecapStage::Device, decision)
}

/// Has a SYN offer less, if it is to.
pub(super) fn clamp(frame: &mut [u8], clamp: Option<Clamp>) -> Result<(), Unfit> {
    let Some(clamp) = clamp else {
        return Ok(());
    };
    let checksum = frame
        .get(clamp.checksum_at..)
        .and_then(|rest| rest.first_chunk());
    let checksum = u16::from_be_bytes(*checksum.ok_or(Unfit::Frame)?);
    write_at(
        frame,
        clamp.checksum_at,
        &clamp.checksum(checksum).to_be_bytes(),
    )?;
    write_at(frame, clamp.at, &clamp.to.to_be_bytes())
}

/// Writes the destination MAC.
pub(super) fn set_destination(frame: &mut [u8], mac: MacAddr) -> Result<(), Unfit> {
    write_at(frame, 0, &mac.bytes())
}

/// The frame as it is, with the action of the reason's class.
fn leave(frame: &[u8], meta: &Meta, reason: Reason) -> Result<Outcome, Unfit> {
    let action = match reason.class() {
        Class::Passed | Class::Continued => Action::Pass,
        Class::Dropped | Class::Aborted => Action::Drop,
        // A frame that is left alone is not delivered.
        Class::Delivered => return Err(Unfit::Verdict),
    };
    Ok(Outcome {
        action,
        frame: frame.to_vec(),
        skb_tag: meta.tag,
    })
}

/// The frame with its tag edited. A carried skb VLAN tag stays one until the bytes are needed.
///
/// Where TC takes a tag away, the kernel makes the next in-band one, if there is one, the skb VLAN tag
/// (`skb_vlan_pop`, kernel `net/core/skbuff.c`).
fn edit(frame: &[u8], meta: &Meta, tag: TagEdit, xdp: bool) -> Outcome {
    let mut out = Outcome {
        action: Action::Redirect,
        frame: frame.to_vec(),
        skb_tag: meta.tag,
    };
    match tag {
        TagEdit::Leave | TagEdit::Carry => {}
        TagEdit::StripSkb => out.skb_tag = take_in_band_tag(&mut out.frame),
        TagEdit::StripInBand => {
            take_in_band_tag(&mut out.frame);
            if !xdp {
                out.skb_tag = take_in_band_tag(&mut out.frame);
            }
        }
    }
    out
}

/// Tags the frame as its port wants it: by an skb VLAN tag in TC, in-band in XDP.
fn deliver_from(mut out: Outcome, deliver: &Deliver, xdp: bool) -> Outcome {
    if deliver.vlan != 0 {
        out.put_skb_tag_in_band();
        out.skb_tag = Some(Tag {
            tpid: vlan::TYPE_8021Q,
            tci: deliver.vlan,
        });
        if xdp {
            out.put_skb_tag_in_band();
        }
    }
    out
}

/// Takes the in-band tag of a frame away, if there is one.
pub(super) fn take_in_band_tag(frame: &mut Vec<u8>) -> Option<Tag> {
    let place = ethernet::TYPE_OFFSET..ethernet::TYPE_OFFSET + vlan::LEN;
    let [a, b, c, d] = <[u8; vlan::LEN]>::try_from(frame.get(place.clone())?).ok()?;
    let tag = Tag {
        tpid: u16::from_be_bytes([a, b]),
        tci: u16::from_be_bytes([c, d]),
    };
    if !vlan::is_tag(tag.tpid) {
        return None;
    }
    frame.drain(place);
    Some(tag)
}

impl Outcome {
    /// Moves the skb VLAN tag in-band, behind the addresses.
    fn put_skb_tag_in_band(&mut self) {
        let at = ethernet::TYPE_OFFSET;
        if self.frame.len() < at {
            return;
        }
        if let Some(tag) = self.skb_tag.take() {
            let [a, b] = tag.tpid.to_be_bytes();
            let [c, d] = tag.tci.to_be_bytes();
            self.frame.splice(at..at, [a, b, c, d]);
        }
    }
}
