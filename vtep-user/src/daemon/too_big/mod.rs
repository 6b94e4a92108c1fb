//! Answering guests whose frames are too big for their VTEPs: the programs say which, and at most how many (ADR 21).

mod answer;

use vtep_common::abi::{id::Ifindex, too_big::TooBig};

use self::answer::answer;
use crate::netlink::FrameSender;

/// Sends answers.
#[derive(Debug)]
pub(super) struct Answerer(Option<FrameSender>);

impl Answerer {
    /// Opens what they are sent with. Without the right to do so nobody is answered, and the rest goes on.
    pub(super) fn open() -> Self {
        match FrameSender::open() {
            Ok(sender) => Self(Some(sender)),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "cannot tell guests that their packets are too big; start vtep with CAP_NET_RAW"
                );
                Self(None)
            }
        }
    }

    /// True if there is something to send with.
    pub(super) const fn can_answer(&self) -> bool {
        self.0.is_some()
    }

    /// Answers the sender of a frame.
    pub(super) fn answer(&self, too_big: &TooBig) {
        let (Some(sender), Some(frame)) = (&self.0, answer(too_big)) else {
            return;
        };
        let ifindex = Ifindex::new(too_big.ifindex);
        if let Err(error) = sender.send(ifindex, &frame) {
            tracing::debug!(%error, %ifindex, "could not tell a guest that a packet is too big");
        }
    }
}
