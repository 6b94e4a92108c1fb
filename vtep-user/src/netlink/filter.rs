//! TC filters: which hang on an interface.

use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcHandle, TcMessage},
};
use vtep_common::abi::id::Ifindex;

use super::{Error, Netlink};

impl Netlink {
    /// True if a filter with this handle takes what comes in at an interface.
    pub async fn has_filter(&self, ifindex: Ifindex, handle: u32) -> Result<bool, Error> {
        let mut message = TcMessage::default();
        // As every message has it, a signed number.
        message.header.index = ifindex.get().cast_signed();
        message.header.parent = TcHandle {
            major: u16::MAX,
            minor: TcHandle::MIN_INGRESS,
        };
        let question = RouteNetlinkMessage::GetTrafficFilter(message);
        let answers = self
            .dump(
                "list the filters of interface",
                &ifindex.to_string(),
                question,
            )
            .await?;
        Ok(answers.into_iter().any(|answer| match answer {
            RouteNetlinkMessage::NewTrafficFilter(filter) => {
                let TcHandle { major, minor } = filter.header.handle;
                u32::from(major) << 16 | u32::from(minor) == handle
            }
            _ => false,
        }))
    }
}
