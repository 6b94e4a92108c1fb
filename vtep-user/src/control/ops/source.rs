//! Which VTEPs a VNI takes packets from, where it takes them from none but those that its entries name.

use vtep_common::abi::{
    id::{PeerId, SegmentId},
    segment::{Segment, SourceKey},
};

use crate::{
    control::{
        effect::{Effect, Write},
        record::entry::Entry,
        state::State,
    },
    model::Refusal,
};

/// Refuses if the map has no room for one more VTEP of a VNI.
pub(crate) fn check_room(
    state: &State,
    number: SegmentId,
    peer: Option<PeerId>,
) -> Result<(), Refusal> {
    let named = peer.is_some_and(|peer| state.sources.is_named(number, peer));
    check(state, u32::from(is_listed(state, number) && !named))
}

/// Refuses if the map has no room for the VTEPs of a VNI that is to be listed.
pub(crate) fn check_rooms(state: &State, number: SegmentId) -> Result<(), Refusal> {
    let named = state.sources.of(number).into_iter();
    let named = named.filter(|(_, named)| *named).count();
    check(state, u32::try_from(named).unwrap_or(u32::MAX))
}

fn check(state: &State, more: u32) -> Result<(), Refusal> {
    let limit = state.limits.sources;
    if more != 0 && state.sources.listed().saturating_add(more) > limit {
        return Err(Refusal::full(format!(
            "the table of VTEPs that packets are taken from is full ({limit}, each counted once for each VNI); \
             let a VNI take packets from any with: vtep vni set VNI --sources any"
        )));
    }
    Ok(())
}

fn is_listed(state: &State, number: SegmentId) -> bool {
    state.segments[number].has(Segment::LISTED)
}

/// An entry of the FDB has come in place of another. What it points to is referred to until the caller says otherwise.
pub(crate) fn entry_changed(
    state: &mut State,
    number: SegmentId,
    new: Option<Entry>,
    old: Option<Entry>,
    out: &mut Effect,
) {
    let peer_of = |entry: Option<Entry>| entry.and_then(|entry| Some((entry, entry.peer()?)));
    if let Some((entry, peer)) = peer_of(new) {
        if entry.ages() {
            state.sources.learn(number, peer);
        } else {
            name(state, number, peer, out);
        }
    }
    if let Some((entry, peer)) = peer_of(old) {
        if entry.ages() {
            state.sources.unlearn(number, peer);
        } else {
            unname(state, number, peer, out);
        }
    }
}

/// One thing more names a VTEP.
pub(crate) fn name(state: &mut State, number: SegmentId, peer: PeerId, out: &mut Effect) {
    if state.sources.name(number, peer) && is_listed(state, number) {
        write(state, number, peer, true, out);
    }
}

/// One thing less names a VTEP. With the last, what was learned from it is to go: its frames come in no more, and
/// nothing would move those MACs.
pub(crate) fn unname(state: &mut State, number: SegmentId, peer: PeerId, out: &mut Effect) {
    if state.sources.unname(number, peer) && is_listed(state, number) {
        write(state, number, peer, false, out);
        state.sources.unlist(number, peer);
    }
}

fn write(state: &mut State, number: SegmentId, peer: PeerId, named: bool, out: &mut Effect) {
    state.sources.set_listed(named);
    out.write(Write::Source(SourceKey::new(number, peer), named));
}

/// What is to be written before the settings of a VNI say `new`.
pub(crate) fn before(state: &mut State, number: SegmentId, new: &Segment, out: &mut Effect) {
    if new.has(Segment::LISTED) && !is_listed(state, number) {
        for (peer, _) in named(state, number) {
            write(state, number, peer, true, out);
        }
    }
}

/// What is to be written when the settings of a VNI are no longer `old`.
pub(crate) fn after(state: &mut State, number: SegmentId, old: &Segment, out: &mut Effect) {
    let (was, is) = (old.has(Segment::LISTED), is_listed(state, number));
    if was && !is {
        for (peer, _) in named(state, number) {
            write(state, number, peer, false, out);
        }
    }
    if is && !was {
        unlist_unnamed(state, number);
    }
}

fn named(state: &State, number: SegmentId) -> impl Iterator<Item = (PeerId, bool)> + use<> {
    let peers = state.sources.of(number).into_iter();
    peers.filter(|(_, named)| *named)
}

/// Takes note that what was learned from VTEPs that nothing names is to go.
pub(crate) fn unlist_unnamed(state: &mut State, number: SegmentId) {
    for (peer, named) in state.sources.of(number) {
        if !named {
            state.sources.unlist(number, peer);
        }
    }
}

/// Forgets a VNI that goes.
pub(crate) fn forget(state: &mut State, number: SegmentId, out: &mut Effect) {
    if is_listed(state, number) {
        for (peer, _) in named(state, number) {
            write(state, number, peer, false, out);
        }
    }
    state.sources.remove_segment(number);
}
