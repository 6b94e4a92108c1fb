//! At TC ingress.

use aya_ebpf::bindings::TC_ACT_REDIRECT;
use vtep_common::{
    abi::{
        addr::MacAddr,
        event::Event,
        fdb::FdbKey,
        id::ListId,
        outer_template::{LEN_V4, LEN_V6, TEMPLATE_WORDS},
        peer::Peer,
        reason::Reason,
        tail_call::Part,
    },
    decide::{
        count::End,
        verdict::{Account, Act, Deliver, Encap, Flood, Resolved, TagEdit, ViaKernel},
    },
    frame::{
        neigh::Answer,
        packet::{PacketRead as _, Window as _},
        template,
    },
    runtime::{Tables as _, place},
    wire::{arp, ethernet, vlan},
};

use super::{MISFIT, end};
use crate::{
    action::slow_path::tell_device, event, flood, frame::tc::TcFrame,
    runtime::scratch::KernelTables, tables::hand_off,
};

/// Deals with one frame.
#[derive(Clone, Copy)]
pub struct TcAct {
    frame: TcFrame,
    tables: KernelTables,
}

impl TcAct {
    #[inline(always)]
    pub const fn new(frame: TcFrame, tables: KernelTables) -> Self {
        Self { frame, tables }
    }

    /// What became of a frame that was handed over.
    #[inline(always)]
    fn sent(self, account: &Account, action: i32, reason: Reason) -> End {
        end(
            account,
            if action == TC_ACT_REDIRECT {
                reason
            } else {
                Reason::Redirect
            },
        )
    }

    /// Takes a tag away where the verdict says so. One that is carried stays beside the frame: the kernel device, and
    /// whatever delivers to a port, puts it into the bytes.
    #[inline(always)]
    fn edit_tag(self, edit: TagEdit) -> bool {
        match edit {
            TagEdit::Leave | TagEdit::Carry => true,
            TagEdit::StripSkb | TagEdit::StripInBand => self.frame.pop_tag(),
        }
    }

    /// Takes the outer headers off. The reason where it cannot: [`Reason::LeftToKernel`] while the frame is as it was.
    #[inline(always)]
    fn decap(self, strip: usize) -> Result<SameProtocol, Reason> {
        let frame = self.frame;
        let Some(head) = frame.window::<{ ethernet::LEN }>(strip) else {
            return Err(Reason::LeftToKernel);
        };
        let word = |at| head.be16(at).to_be();
        let words = [0, 2, 4, 6, 8, 10, 12].map(word);
        let inner_type = head.be16(ethernet::TYPE_OFFSET);
        let Some(outer) = frame.window::<{ ethernet::LEN }>(0) else {
            return Err(Reason::LeftToKernel);
        };
        let mut same = inner_type == outer.be16(ethernet::TYPE_OFFSET);
        // Kernels before 6.3 cannot be told what they find inside; a GRO packet must not go on under a wrong name.
        if !same && frame.strip_to(strip, inner_type) {
            same = true;
        } else if !same && frame.is_gso() || !frame.strip(strip) {
            return Err(Reason::LeftToKernel);
        }
        if frame.store_words(0, &words) {
            Ok(SameProtocol(same))
        } else {
            Err(Reason::Reshape)
        }
    }

    /// Puts the outer headers on, in place: those of the template, or without one whatever was last there. `Err(true)`: the kernel
    /// made no room, and the frame is as it was.
    #[inline(always)]
    fn encap_in_place(
        self,
        encap: &Encap,
        template: Option<&[u64; TEMPLATE_WORDS]>,
    ) -> Result<(), bool> {
        let frame = self.frame;
        let tag = frame.tag_words();
        // All of a tag or nothing, and the verifier does not know which.
        let carried = if encap.tag == TagEdit::Carry {
            vlan::LEN as u8
        } else {
            0
        };
        let tag_len = usize::from(frame.opaque(carried)) & vlan::LEN;
        if encap.tag != TagEdit::Leave && !frame.pop_tag() {
            return Err(false);
        }
        let Some(head) = frame.window::<{ ethernet::LEN }>(0) else {
            return Err(false);
        };
        let headers = match template {
            Some(template) => self.tables.headers(template),
            None => self.tables.last_headers(),
        };
        let outer_len = if encap.v6 {
            if template.is_some() {
                template::patch_v6(&mut headers.outer, &encap.fields);
            }
            headers.put_head::<LEN_V6>(head, tag, tag_len);
            LEN_V6
        } else {
            if template.is_some() {
                template::patch_v4(&mut headers.outer, &encap.fields);
            }
            headers.put_head::<LEN_V4>(head, tag, tag_len);
            LEN_V4
        };
        let made = if encap.inner_ip {
            frame.make_tunnel_room(encap.v6, outer_len, tag_len)
        } else {
            frame.make_room(outer_len + tag_len)
        };
        if !made {
            return Err(tag_len == 0);
        }
        if frame.store_headers(headers, outer_len + ethernet::LEN + tag_len) {
            Ok(())
        } else {
            Err(false)
        }
    }

    /// Sends the frame through the kernel device.
    #[inline(always)]
    fn send_via_kernel(self, account: &Account, encap: &Encap, peer: &Peer) -> End {
        // SAFETY: the frame's own context.
        if unsafe { tell_device(self.frame.raw(), encap.peer.get()) } == 0 {
            return self.leave(account, Reason::Reshape);
        }
        let mut outcome = self.sent(
            account,
            self.frame.redirect(self.tables.config().device),
            ViaKernel::reason(peer),
        );
        outcome.to_peer = encap.peer;
        outcome
    }
}

/// A MAC as words in the byte order of the wire.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "parts of a 48-bit number")]
const fn mac_words(mac: MacAddr) -> [u16; 3] {
    let number = mac.get();
    [
        ((number >> 32) as u16).to_be(),
        ((number >> 16) as u16).to_be(),
        (number as u16).to_be(),
    ]
}

/// The inner frame is of the protocol that the kernel still takes it for. It looks again only at the other end of a wire.
struct SameProtocol(bool);

impl Act for TcAct {
    type Outcome = End;

    /// A frame that is left alone, or given up.
    #[inline(always)]
    fn leave(&self, account: &Account, reason: Reason) -> End {
        end(account, reason)
    }

    #[inline(always)]
    fn encap(&self, account: &Account, encap: &Encap, peer: &Peer, in_place: bool) -> End {
        if in_place {
            match self.encap_in_place(encap, Some(&peer.template)) {
                Ok(()) => {
                    let action = self.frame.redirect(encap.ifindex);
                    let mut end = self.sent(account, action, Reason::Encapsulated);
                    end.to_peer = encap.peer;
                    return end;
                }
                // A tunnel packet of the guest's own, say, which the kernel device can still take.
                Err(true) => {}
                Err(false) => return self.leave(account, Reason::Reshape),
            }
        } else if !self.edit_tag(encap.tag) {
            return self.leave(account, Reason::Reshape);
        }
        self.send_via_kernel(account, encap, peer)
    }

    #[inline(always)]
    fn deliver(&self, account: &Account, deliver: &Deliver) -> End {
        let frame = self.frame;
        let mut same = SameProtocol(true);
        if deliver.strip != 0 {
            match self.decap(deliver.strip) {
                Ok(found) => same = found,
                Err(reason) => return self.leave(account, reason),
            }
        }
        if !deliver.mac.is_zero() && !frame.store_words(0, &mac_words(deliver.mac)) {
            return self.leave(account, Reason::Reshape);
        }
        if !self.edit_tag(deliver.tag) || deliver.vlan != 0 && !frame.push_tag(deliver.vlan) {
            return self.leave(account, Reason::Reshape);
        }
        let action = if deliver.to_other_end && same.0 {
            frame.redirect_peer(deliver.ifindex)
        } else {
            frame.redirect(deliver.ifindex)
        };
        let reason = if account.from_port.is_none() {
            Reason::Decapsulated
        } else {
            Reason::Switched
        };
        let mut outcome = self.sent(account, action, reason);
        outcome.to_port = deliver.slot;
        outcome
    }

    #[inline(always)]
    fn flood(&self, account: &Account, flood: &Flood) -> End {
        if !self.edit_tag(flood.encap.tag) {
            return self.leave(account, Reason::Reshape);
        }
        let encap_in_place = |encap: &Encap| self.encap_in_place(encap, None);
        flood::to_all(
            self.frame,
            self.tables,
            flood,
            account.inner_len,
            encap_in_place,
        );
        end(account, Reason::Flooded)
    }

    #[inline(always)]
    fn flood_ports(&self, account: &Account, list: ListId) -> End {
        flood::to_ports(self.frame, self.tables, list, account.inner_len);
        end(account, Reason::FloodedLocally)
    }

    /// The answer takes the place of the request, and goes back to where that came from.
    #[inline(always)]
    fn answer(&self, account: &Account, answer: &Answer) -> End {
        let frame = self.frame;
        let answer = self.tables.spill::<{ place::VERDICT }, _>(answer);
        let written = if answer.v6 {
            let words = answer.nd();
            let words = self.tables.spill_words::<{ place::HEADERS }, _, _>(words);
            frame.resize(answer.l3 + size_of_val(words)) && frame.store_words(answer.l3, words)
        } else {
            let words = answer.arp();
            let words = self.tables.spill_words::<{ place::HEADERS }, _, _>(words);
            frame.store_words(answer.l3 + arp::OPERATION_OFFSET, words)
        };
        if !written || !frame.store_words(0, &answer.macs()) {
            return self.leave(account, Reason::Reshape);
        }
        let action = frame.redirect(answer.ifindex);
        let mut outcome = self.sent(account, action, Reason::Answered);
        outcome.to_port = account.from_port;
        outcome
    }

    #[inline(always)]
    fn to_neigh(&self, account: &Account) -> End {
        self.frame.go_on(Part::PortNeigh);
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_unknown(&self, account: &Account) -> End {
        self.frame.go_on(Part::PortRest);
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn to_resolved(&self, account: &Account, found: &Resolved) -> End {
        if !found.mac.is_zero() && !self.frame.store_words(0, &mac_words(found.mac)) {
            return self.leave(account, Reason::Reshape);
        }
        if hand_off(found) {
            self.frame.go_on(if found.target.list().is_some() {
                Part::PortFlood
            } else {
                Part::PortFound
            });
        }
        self.leave(account, MISFIT)
    }

    #[inline(always)]
    fn notify(&self, event: &Event) {
        event::notify(self.tables, event);
    }

    #[inline(always)]
    fn refresh(&self, key: &FdbKey) {
        event::refresh(key);
    }
}
