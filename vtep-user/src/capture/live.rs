//! A captured frame that is traced: as it came to its hook, and how it ended there, beside what is decided on it.

use std::net::IpAddr;

use vtep_common::{
    abi::{
        capture::Captured,
        counter::Hook,
        reason::{Class, Reason},
    },
    decide::{
        port::PortStage,
        tunnel::{DecapStage, TunnelKey},
    },
    frame::packet::{Meta, Tag},
    sim::{Side, trace::Arrived},
};

use crate::model::{CaptureRow, TraceRow, TraceStep};

/// Bytes of a frame that are made of zeros where it was cut, at most: no GSO packet is longer.
const LONGEST: usize = 1 << 20;

/// A record of a frame that was taken as it came, as its hook decides on it, but with the bytes that were captured alone: thousands may wait for a
/// reader, and a GSO packet is long ([`stretch`]). `None` where it was not, or where it is not known by whom the slow-path
/// device was sent it.
#[must_use]
pub fn arrived(captured: &Captured, row: &CaptureRow) -> Option<Arrived> {
    if captured.as_it_came == 0 || captured.frame().is_empty() {
        return None;
    }
    let hook = Hook::ALL
        .into_iter()
        .find(|hook| hook.index() == captured.hook)?;
    let side = match hook {
        Hook::UplinkXdp => Side::Uplink(DecapStage::Xdp),
        Hook::Uplink => Side::Uplink(DecapStage::Tc),
        Hook::Port => Side::Port(PortStage::Tc),
        Hook::PortXdp => Side::Port(PortStage::Xdp),
        Hook::Tunnel => Side::Tunnel(TunnelKey {
            vni: row.vni?.get(),
            source: row.peer?.into(),
            destination: None,
        }),
    };
    let [tpid, tci] = [captured.tag >> 16, captured.tag & 0xffff]
        .map(|half| u16::try_from(half).unwrap_or_default());
    Some(Arrived {
        side,
        frame: captured.frame().to_vec(),
        meta: Meta {
            ifindex: captured.ifindex,
            tag: (captured.tag != 0).then_some(Tag { tpid, tci }),
            gso_size: captured.gso_size,
        },
    })
}

/// Makes a frame as long as it came, with zeros for what was not captured. How many bytes were, if not all of them.
pub fn stretch(frame: &mut Vec<u8>, came_with: u32) -> Option<usize> {
    let captured = frame.len();
    let len = usize::try_from(came_with).unwrap_or(usize::MAX);
    frame.resize(len.clamp(captured, LONGEST), 0);
    (captured < frame.len()).then_some(captured)
}

/// The row beside a decision: how the frame really ended, and whether that is what was decided.
#[must_use]
pub fn happened(row: &CaptureRow, decided: &[TraceRow]) -> TraceRow {
    let verdict = decided.last();
    let is_same = verdict.is_some_and(|verdict| is_as_decided(row, verdict));
    let is_delivered = Reason::ALL
        .iter()
        .any(|reason| reason.name() == row.reason && reason.class() == Class::Delivered);
    let from_port = row.direction == "tx";
    // Of a frame from a port to another one, `dev` is the first.
    let to_port = if from_port { &row.to_dev } else { &row.dev };
    let vteps: Vec<IpAddr> = row.peer.filter(|_| from_port).into_iter().collect();
    let ports: Vec<String> = to_port.iter().cloned().collect();
    let mut text = format!(
        "{}: {} at {} at {}",
        if is_same {
            "so it happened"
        } else {
            "it happened otherwise"
        },
        row.reason,
        row.hook,
        row.time
    );
    if is_delivered {
        let vteps = vteps.iter().map(|vtep| format!("VTEP {vtep}"));
        let to: Vec<String> = vteps
            .chain(ports.iter().map(|port| format!("port {port}")))
            .collect();
        if !to.is_empty() {
            text = format!("{text}, to {}", to.join(", "));
        }
    }
    if !is_same {
        text += "; what the tables say has changed since, or the frame was cut: see docs/trace.md";
    }
    TraceRow {
        frame: 1,
        hook: row.hook.clone(),
        step: TraceStep::Happened,
        text,
        reason: Some(row.reason.clone()),
        vteps,
        ports,
        outer: None,
    }
}

/// Whether a frame has ended as its verdict says. Of a flooded one, the programs do not say whom its copies went to.
fn is_as_decided(row: &CaptureRow, verdict: &TraceRow) -> bool {
    let is_named = |ports: &[String], dev: &String| {
        let mut names = ports.iter().map(|port| port.split(' ').next());
        names.any(|name| name == Some(dev))
    };
    let from_port = row.direction == "tx";
    let to_port = if from_port { &row.to_dev } else { &row.dev };
    verdict.hook == row.hook
        && verdict.reason.as_deref() == Some(&*row.reason)
        && to_port
            .as_ref()
            .is_none_or(|dev| is_named(&verdict.ports, dev))
        && row
            .peer
            .is_none_or(|peer| !from_port || verdict.vteps.contains(&peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::row::tests::{captured, row};

    fn verdict() -> TraceRow {
        TraceRow {
            frame: 1,
            hook: "port".into(),
            step: TraceStep::Verdict,
            text: String::new(),
            reason: Some("encapsulated".into()),
            vteps: vec![[192, 0, 2, 2].into()],
            ports: vec![],
            outer: None,
        }
    }

    #[test]
    fn what_happened_is_compared_with_the_verdict() {
        let same = happened(&row(), &[verdict()]);
        assert_eq!(
            same.text,
            "so it happened: encapsulated at port at T, to VTEP 192.0.2.2"
        );
        assert_eq!(same.vteps, verdict().vteps);

        for other in [
            TraceRow {
                reason: Some("flooded".into()),
                ..verdict()
            },
            TraceRow {
                hook: "port_xdp".into(),
                ..verdict()
            },
            TraceRow {
                vteps: vec![[192, 0, 2, 3].into()],
                ..verdict()
            },
        ] {
            let text = happened(&row(), &[other]).text;
            assert!(text.starts_with("it happened otherwise: "), "{text}");
        }
        assert!(
            happened(&row(), &[])
                .text
                .starts_with("it happened otherwise")
        );
    }

    #[test]
    fn a_frame_from_a_vtep_went_to_the_port_that_its_row_names() {
        let came = CaptureRow {
            hook: "uplink_xdp".into(),
            reason: "decapsulated".into(),
            direction: "rx".into(),
            ..row()
        };
        let decided = |ports: &[&str]| TraceRow {
            hook: "uplink_xdp".into(),
            reason: Some("decapsulated".into()),
            vteps: vec![],
            ports: ports.iter().map(|port| (*port).to_owned()).collect(),
            ..verdict()
        };

        let same = happened(&came, &[decided(&["vm1 vlan 10"])]);

        assert_eq!(
            same.text,
            "so it happened: decapsulated at uplink_xdp at T, to port vm1"
        );
        let other = happened(&came, &[decided(&["vm2"])]);
        assert!(
            other.text.starts_with("it happened otherwise"),
            "{}",
            other.text
        );
    }

    #[test]
    fn a_frame_that_was_cut_has_the_length_that_it_came_with() {
        let mut record = captured(Hook::Port, Reason::TooBig, &[1; 100]);
        (record.as_it_came, record.frame_len, record.gso_size) = (1, 3_000, 1_400);
        record.tag = 0x8100_0005;

        let mut got = arrived(&record, &row()).unwrap();
        assert_eq!(got.frame, [1; 100], "no more waits for a reader");
        let cut = stretch(&mut got.frame, record.frame_len);

        assert_eq!(cut, Some(100));
        assert_eq!(got.side, Side::Port(PortStage::Tc));
        assert_eq!(
            (got.frame.len(), got.frame[99], got.frame[100]),
            (3_000, 1, 0)
        );
        assert_eq!((got.meta.ifindex, got.meta.gso_size), (7, 1_400));
        assert_eq!(
            got.meta.tag,
            Some(Tag {
                tpid: 0x8100,
                tci: 5
            })
        );
        assert_eq!(stretch(&mut got.frame, record.frame_len), None);
        record.as_it_came = 0;
        assert_eq!(arrived(&record, &row()), None);
    }
}
