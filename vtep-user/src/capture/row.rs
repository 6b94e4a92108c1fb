//! What is said of a captured frame.

use std::net::IpAddr;

use vtep_common::abi::{
    capture::Captured,
    counter::Hook,
    id::{Ifindex, PeerId, PortSlot, SegmentId},
    reason::Reason,
};

use super::inner::{self, Seen};
use crate::model::{CaptureRow, Vni};

/// What the numbers in a record stand for.
pub trait Names {
    /// The VNI of a segment.
    fn vni(&self, segment: SegmentId) -> Option<Vni>;
    /// The interface of a port.
    fn port(&self, slot: PortSlot) -> Option<String>;
    /// The address of a peer.
    fn peer(&self, peer: PeerId) -> Option<IpAddr>;
    /// The name of an interface.
    fn interface(&self, ifindex: Ifindex) -> Option<String>;
}

/// The row of a captured frame, and its bytes. The row has neither its time nor the bytes as text: those are made of wanted frames alone.
/// `None` for a record of another version.
pub fn of<'a>(
    captured: &'a Captured,
    names: &impl Names,
    udp_port: u16,
) -> Option<(CaptureRow, Seen<'a>)> {
    let hook = Hook::ALL
        .into_iter()
        .find(|hook| hook.index() == captured.hook)?;
    let reason = Reason::from_code(captured.reason)?;
    let seen = inner::see(captured, udp_port);
    let is_sent = matches!(hook, Hook::Port | Hook::PortXdp);
    let vni_of = |segment: SegmentId| {
        if segment.is_none() {
            None
        } else {
            names.vni(segment)
        }
    };
    let port_of = |slot: PortSlot| {
        if slot.is_none() {
            None
        } else {
            names.port(slot)
        }
    };
    let peer_of = |peer: PeerId| {
        if peer.is_none() {
            None
        } else {
            names.peer(peer)
        }
    };
    let iface = names.interface(Ifindex::new(captured.ifindex));
    let from = port_of(captured.from_port);
    // Of a port that is not known by now, the interface still is.
    let from = if is_sent {
        from.or_else(|| iface.clone())
    } else {
        from
    };
    let to = port_of(captured.to_port);
    let outer = seen.outer;
    let row = CaptureRow {
        time: String::new(),
        hook: hook.name().to_owned(),
        reason: reason.name().to_owned(),
        direction: if is_sent { "tx" } else { "rx" }.to_owned(),
        iface,
        to_dev: to.clone().filter(|_| from.is_some()),
        dev: from.or(to),
        vni: vni_of(captured.segment).or_else(|| Vni::new(outer?.vni)),
        peer: if is_sent {
            peer_of(captured.to_peer)
        } else {
            let source = outer.map(|outer| outer.source);
            peer_of(captured.from_peer).or(source)
        },
        len: seen.len,
        outer_unreadable: seen.is_packet,
        bytes: String::new(),
    };
    Some((row, seen))
}

/// The bytes of hexadecimal digits. `None` if they are none.
#[must_use]
pub fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let pair = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    rest.is_empty().then(|| pairs.iter().map(pair).collect())?
}

#[cfg(test)]
pub(super) mod tests {
    use bytemuck::Zeroable as _;

    use super::*;
    use crate::model::settings::trace::hex;

    pub(in crate::capture) struct Fixed;

    impl Names for Fixed {
        fn vni(&self, segment: SegmentId) -> Option<Vni> {
            Vni::new(segment.get() + 100)
        }

        fn port(&self, slot: PortSlot) -> Option<String> {
            Some(format!("vm{slot}"))
        }

        fn peer(&self, peer: PeerId) -> Option<IpAddr> {
            Some([192, 0, 2, u8::try_from(peer.get()).unwrap()].into())
        }

        fn interface(&self, ifindex: Ifindex) -> Option<String> {
            Some(format!("if{ifindex}"))
        }
    }

    /// What is said of a frame from a port to a VTEP.
    pub(in crate::capture) fn row() -> CaptureRow {
        CaptureRow {
            time: "T".into(),
            hook: "port".into(),
            reason: "encapsulated".into(),
            direction: "tx".into(),
            iface: Some("vm1".into()),
            dev: Some("vm1".into()),
            to_dev: None,
            vni: Vni::new(100),
            peer: Some([192, 0, 2, 2].into()),
            len: 60,
            outer_unreadable: false,
            bytes: String::new(),
        }
    }

    /// A record of a frame of which nothing else is known.
    pub(in crate::capture) fn captured(hook: Hook, reason: Reason, bytes: &[u8]) -> Captured {
        let mut record = Captured {
            hook: hook.index(),
            reason: reason.code(),
            segment: SegmentId::NONE,
            from_port: PortSlot::NONE,
            from_peer: PeerId::NONE,
            to_port: PortSlot::NONE,
            to_peer: PeerId::NONE,
            ifindex: 7,
            len: u32::try_from(bytes.len()).unwrap(),
            frame_len: u32::try_from(bytes.len()).unwrap(),
            inner_len: u32::try_from(bytes.len()).unwrap(),
            ..Captured::zeroed()
        };
        record.bytes[..bytes.len()].copy_from_slice(bytes);
        record
    }

    #[test]
    fn a_frame_from_a_vtep_is_of_the_port_that_it_went_to() {
        let mut record = captured(Hook::UplinkXdp, Reason::Decapsulated, &[1; 60]);
        record.segment = SegmentId::new(0);
        record.from_peer = PeerId::new(9);
        record.to_port = PortSlot::new(3);

        let (row, _) = of(&record, &Fixed, 4789).unwrap();

        assert_eq!((row.dev.as_deref(), row.to_dev), (Some("vm3"), None));
        assert_eq!(row.direction, "rx");
        assert_eq!(row.vni, Vni::new(100));
        assert_eq!(row.peer.unwrap().to_string(), "192.0.2.9");
    }

    #[test]
    fn a_frame_between_ports_names_both() {
        let mut record = captured(Hook::Port, Reason::Switched, &[1; 60]);
        record.from_port = PortSlot::new(1);
        record.to_port = PortSlot::new(2);

        let (row, _) = of(&record, &Fixed, 4789).unwrap();

        let devs = (row.dev.as_deref(), row.to_dev.as_deref());
        assert_eq!(devs, (Some("vm1"), Some("vm2")));
        assert_eq!((&*row.direction, row.peer), ("tx", None));
    }

    #[test]
    fn a_frame_whose_port_is_not_known_is_of_the_interface_that_it_came_by() {
        let record = captured(Hook::Port, Reason::Truncated, &[1; 10]);

        let (row, _) = of(&record, &Fixed, 4789).unwrap();

        assert_eq!(row.dev.as_deref(), Some("if7"));
    }

    #[test]
    fn hexadecimal_digits_are_read_as_they_are_written() {
        let all: Vec<u8> = (0..=255).collect();

        assert_eq!(bytes(&hex(&all)), Some(all));
        for bad in ["1", "0g", "é"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
