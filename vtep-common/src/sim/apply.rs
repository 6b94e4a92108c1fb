//! What the kernel shell does to a frame, told in slices: the model that the kernel is compared with.

use crate::{
    abi::{
        addr::MacAddr,
        flood::FloodList,
        outer_template,
        peer::Peer,
        reason::{Class, Reason},
    },
    decide::{
        count::copy_goes,
        port, tunnel,
        verdict::{Decision, Deliver, Flood, TagEdit, Verdict},
    },
    frame::{
        neigh::Answer,
        packet::{Meta, Tag},
        template::{self, Fields},
    },
    runtime::Tables,
    wire::{arp, checksum::Sum, ethernet, vlan},
};

/// What the hook returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The frame goes to another interface.
    Redirect,
    /// The frame ends here. For a flood too: its copies have left.
    Drop,
    /// The frame goes on its way through the host.
    Pass,
}

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the hook returns.
    pub action: Action,
    /// The bytes of the frame when the hook returns.
    pub frame: Vec<u8>,
    /// The tag that the kernel then keeps beside them.
    pub tag_beside: Option<Tag>,
}

/// Carries out a decision on a frame from a port.
#[must_use]
pub fn apply_port<T: Tables>(
    frame: &[u8],
    meta: &Meta,
    stage: port::Stage,
    decision: &Decision,
    tables: &T,
) -> Outcome {
    let xdp = stage == port::Stage::Xdp;
    let mut frame = frame.to_vec();
    if !decision.destination.is_zero() {
        set_destination(&mut frame, decision.destination);
    }
    let frame = frame.as_slice();
    match &decision.verdict {
        Verdict::Encap(encap) => {
            let peer = tables.peer(encap.peer).expect("the peer was there");
            let mut out = if encap.v6 {
                template::render_v6(&peer.template, &encap.fields)
                    .bytes::<{ outer_template::LEN_V6 }>()
                    .to_vec()
            } else {
                template::render_v4(&peer.template, &encap.fields)
                    .bytes::<{ outer_template::LEN_V4 }>()
                    .to_vec()
            };
            let mut inner = edit(frame, meta, encap.tag, xdp);
            inner.push_beside_into_bytes();
            out.extend(inner.frame);
            Outcome {
                action: Action::Redirect,
                frame: out,
                tag_beside: None,
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
        Verdict::Answer(reply) => answer(frame, meta, reply),
        Verdict::Neigh | Verdict::Rest | Verdict::Found(_) => {
            unreachable!("the parts are gone through before")
        }
        Verdict::FloodPorts(_) => unreachable!("of a frame from a VTEP"),
        Verdict::Leave(reason) => leave(frame, meta, *reason),
    }
}

/// The copies of a flooded frame that are encapsulated in place, each with the interface by which it leaves. `outcome` is what
/// [`apply_port`] made of the frame. No checksum in it is left to offload but one that the headers tell of.
#[must_use]
pub fn copies_in_place<T: Tables>(
    flood: &Flood,
    outcome: &Outcome,
    tables: &T,
) -> Vec<(u32, Vec<u8>)> {
    let mut inner = outcome.clone();
    inner.push_beside_into_bytes();
    let inner = inner.frame;
    let numbers = tables
        .flood_list(flood.list)
        .into_iter()
        .flat_map(FloodList::peers);
    let mut peers: Vec<&Peer> = numbers
        .filter_map(|number| tables.peer(*number))
        .filter(|peer| copy_goes(peer, flood.carried_len) && flood.is_in_place(peer, true))
        .collect();
    let v6 = peers.first().is_some_and(|first| first.has(Peer::IPV6));
    peers.retain(|peer| peer.has(Peer::IPV6) == v6);
    let encapsulated = peers.into_iter().map(|peer| {
        let fields = &flood.encap.fields;
        let mut out = if v6 {
            let sum = fields
                .inner_sum
                .unwrap_or_else(|| Sum::default().bytes(&inner).fold());
            let inner_sum = peer.has(Peer::CHECKSUM).then_some(sum);
            let fields = Fields {
                inner_sum,
                ..*fields
            };
            template::render_v6(&peer.template, &fields)
                .bytes::<{ outer_template::LEN_V6 }>()
                .to_vec()
        } else {
            template::render_v4(&peer.template, fields)
                .bytes::<{ outer_template::LEN_V4 }>()
                .to_vec()
        };
        out.extend(&inner);
        (peer.ifindex, out)
    });
    encapsulated.collect()
}

/// The answer in place of the request.
fn answer(frame: &[u8], meta: &Meta, answer: &Answer) -> Outcome {
    let mut out = frame.to_vec();
    if answer.v6 {
        let packet = answer.nd();
        let packet: &[u8] = bytemuck::bytes_of(&packet);
        out.truncate(answer.l3);
        out.extend(packet);
    } else {
        let words = answer.arp();
        let words: &[u8] = bytemuck::bytes_of(&words);
        let at = answer.l3 + arp::OPERATION_OFFSET;
        out[at..at + words.len()].copy_from_slice(words);
    }
    let macs = answer.macs();
    let macs: &[u8] = bytemuck::bytes_of(&macs);
    out[..macs.len()].copy_from_slice(macs);
    Outcome {
        action: Action::Redirect,
        frame: out,
        tag_beside: meta.tag,
    }
}

/// Carries out a decision on a frame from an uplink.
#[must_use]
pub fn apply_uplink(
    frame: &[u8],
    meta: &Meta,
    stage: tunnel::Stage,
    decision: &Decision,
) -> Outcome {
    match &decision.verdict {
        Verdict::Deliver(deliver) => {
            let xdp = stage == tunnel::Stage::Xdp;
            let mut inner = edit(&frame[deliver.strip..], meta, deliver.tag, xdp);
            if !deliver.mac.is_zero() {
                set_destination(&mut inner.frame, deliver.mac);
            }
            deliver_from(inner, deliver, xdp)
        }
        Verdict::FloodPorts(_) => Outcome {
            action: Action::Drop,
            ..edit(frame, meta, TagEdit::Leave, false)
        },
        Verdict::Encap(_)
        | Verdict::Flood(_)
        | Verdict::ViaKernel(_)
        | Verdict::Answer(_)
        | Verdict::Neigh
        | Verdict::Rest
        | Verdict::Found(_) => {
            unreachable!("never from the underlay back to it")
        }
        Verdict::Leave(reason) => leave(frame, meta, *reason),
    }
}

/// Carries out a decision on a frame that the kernel device has decapsulated.
#[must_use]
pub fn apply_tunnel(frame: &[u8], meta: &Meta, decision: &Decision) -> Outcome {
    apply_uplink(frame, meta, tunnel::Stage::Device, decision)
}

/// Writes the destination MAC.
pub(super) fn set_destination(frame: &mut [u8], mac: MacAddr) {
    frame[..6].copy_from_slice(&mac.bytes());
}

/// The frame as it is, with the action of the reason's class.
fn leave(frame: &[u8], meta: &Meta, reason: Reason) -> Outcome {
    let action = match reason.class() {
        Class::Passed | Class::Continued => Action::Pass,
        Class::Dropped | Class::Aborted => Action::Drop,
        Class::Delivered => unreachable!("a frame that is left alone is not delivered"),
    };
    Outcome {
        action,
        frame: frame.to_vec(),
        tag_beside: meta.tag,
    }
}

/// The frame with its tag edited. A carried tag stays beside the frame until the bytes are needed.
///
/// Where TC takes a tag away, the kernel moves the next one, if there is one, out of the bytes and beside the frame
/// (`skb_vlan_pop`, kernel `net/core/skbuff.c`).
fn edit(frame: &[u8], meta: &Meta, tag: TagEdit, xdp: bool) -> Outcome {
    let mut out = Outcome {
        action: Action::Redirect,
        frame: frame.to_vec(),
        tag_beside: meta.tag,
    };
    match tag {
        TagEdit::Leave | TagEdit::Carry => {}
        TagEdit::StripBeside => out.tag_beside = out.take_from_bytes(),
        TagEdit::StripInBytes => {
            out.take_from_bytes();
            if !xdp {
                out.tag_beside = out.take_from_bytes();
            }
        }
    }
    out
}

/// Tags the frame as its port wants it: beside the frame in TC, in its bytes in XDP.
fn deliver_from(mut out: Outcome, deliver: &Deliver, xdp: bool) -> Outcome {
    if deliver.vlan != 0 {
        out.push_beside_into_bytes();
        out.tag_beside = Some(Tag {
            tpid: vlan::TYPE_8021Q,
            tci: deliver.vlan,
        });
        if xdp {
            out.push_beside_into_bytes();
        }
    }
    out
}

impl Outcome {
    /// Takes the tag out of the bytes, if there is one.
    fn take_from_bytes(&mut self) -> Option<Tag> {
        let place = ethernet::TYPE_OFFSET..ethernet::TYPE_OFFSET + vlan::LEN;
        let [a, b, c, d] = <[u8; vlan::LEN]>::try_from(self.frame.get(place.clone())?).ok()?;
        let tag = Tag {
            tpid: u16::from_be_bytes([a, b]),
            tci: u16::from_be_bytes([c, d]),
        };
        if !vlan::is_tag(tag.tpid) {
            return None;
        }
        self.frame.drain(place);
        Some(tag)
    }

    /// Moves the tag beside the frame into its bytes.
    fn push_beside_into_bytes(&mut self) {
        if let Some(tag) = self.tag_beside.take() {
            let [a, b] = tag.tpid.to_be_bytes();
            let [c, d] = tag.tci.to_be_bytes();
            let at = ethernet::TYPE_OFFSET;
            self.frame.splice(at..at, [a, b, c, d]);
        }
    }
}
