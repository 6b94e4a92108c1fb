//! Whether a captured frame is wanted: by all that the filter names. What the kernel leaves out before is only the rough part of it.

use vtep_common::abi::{
    capture::CaptureOrder,
    reason::{Class, Reason},
};

use crate::model::{CaptureFilter, CaptureRow, Value as _, Vni};

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What was asked for.
    pub filter: CaptureFilter,
    /// The VNIs that the interface of the filter has ports in: what is flooded there reaches it.
    pub vnis: Vec<Vni>,
}

impl Wanted {
    /// A bit for each reason that the kernel is to look for.
    #[must_use]
    pub fn reasons(&self) -> u64 {
        let CaptureFilter { reason, drops, .. } = &self.filter;
        let named = match reason {
            Some(reason) => CaptureOrder::only(reason.get()),
            None => CaptureOrder::every_end(),
        };
        if *drops {
            named & CaptureOrder::every_drop()
        } else {
            named
        }
    }

    /// Whether a frame is wanted.
    #[must_use]
    pub fn matches(&self, row: &CaptureRow, frame: &[u8]) -> bool {
        let CaptureFilter {
            dev,
            vni,
            mac,
            peer,
            reason,
            drops,
            count: _,
        } = &self.filter;
        let is = |name: &Option<String>, wanted: &str| name.as_deref() == Some(wanted);
        let by_dev = |wanted: &String| {
            let names = [&row.dev, &row.to_dev, &row.iface];
            names.into_iter().any(|name| is(name, wanted)) || self.is_flooded_to_it(row)
        };
        let by_mac = |mac: &crate::model::MacAddr| {
            let macs = frame
                .first_chunk::<12>()
                .map(|macs| macs.as_chunks::<6>().0);
            !row.outer_unreadable && macs.is_some_and(|macs| macs.contains(&mac.bytes()))
        };
        dev.as_ref().is_none_or(by_dev)
            && vni.is_none_or(|vni| row.vni == Some(vni))
            && mac.as_ref().is_none_or(by_mac)
            && peer.is_none_or(|peer| row.peer == Some(peer))
            && reason.is_none_or(|reason| row.reason == reason.write())
            && (!drops || is_dropped(row))
    }

    fn is_flooded_to_it(&self, row: &CaptureRow) -> bool {
        let floods = [Reason::Flooded, Reason::FloodedLocally].map(Reason::name);
        floods.contains(&&*row.reason) && row.vni.is_some_and(|vni| self.vnis.contains(&vni))
    }
}

fn is_dropped(row: &CaptureRow) -> bool {
    let mut reasons = Reason::ALL.iter();
    let reason = reasons.find(|reason| reason.name() == row.reason);
    reason.is_some_and(|reason| matches!(reason.class(), Class::Dropped | Class::Aborted))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capture::row::tests::row;
    use crate::model::{MacAddr, ReasonName};

    const FRAME: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];

    fn mac(last: u8) -> MacAddr {
        MacAddr::from_bytes([2, 0, 0, 0, 0, last])
    }

    fn wants(filter: CaptureFilter, row: &CaptureRow) -> bool {
        let vnis = Vni::new(100).into_iter().collect();
        Wanted { filter, vnis }.matches(row, &FRAME)
    }

    #[test]
    fn a_mac_is_the_sender_or_the_receiver() {
        for (last, want) in [(1, true), (2, true), (3, false)] {
            let filter = CaptureFilter {
                mac: Some(mac(last)),
                ..CaptureFilter::default()
            };
            assert_eq!(wants(filter, &row()), want, "{last}");
        }
    }

    #[test]
    fn what_is_flooded_in_the_vni_of_a_port_reaches_it() {
        let of = |dev: &str| CaptureFilter {
            dev: Some(dev.into()),
            ..CaptureFilter::default()
        };
        let flooded = |vni| CaptureRow {
            reason: "flooded_locally".into(),
            dev: None,
            vni: Vni::new(vni),
            ..row()
        };

        assert!(wants(of("vm9"), &flooded(100)));
        assert!(!wants(of("vm9"), &flooded(101)));
        assert!(!wants(of("vm9"), &row()));
    }

    #[test]
    fn an_uplink_is_the_interface_that_frames_come_by() {
        let filter = CaptureFilter {
            dev: Some("up0".into()),
            ..CaptureFilter::default()
        };
        let came = CaptureRow {
            iface: Some("up0".into()),
            ..row()
        };

        assert!(wants(filter, &came));
    }

    #[test]
    fn the_kernel_looks_for_no_reason_that_nobody_wants() {
        let of = |reason: &str, drops| Wanted {
            filter: CaptureFilter {
                reason: Some(ReasonName::read(reason).unwrap()),
                drops,
                ..CaptureFilter::default()
            },
            vnis: vec![],
        };

        assert_eq!(Wanted::default().reasons(), CaptureOrder::every_end());
        let unknown = CaptureOrder::only(Reason::UnknownVni);
        assert_eq!(of("unknown_vni", false).reasons(), unknown);
        assert_eq!(of("unknown_vni", true).reasons(), unknown);
        assert_eq!(of("decapsulated", true).reasons(), 0);
        // Not ours, but asked for by name.
        assert_ne!(of("not_vxlan", false).reasons(), 0);
    }

    prop_compose! {
        fn any_filter()(
            dev in prop::option::of(prop::sample::select(vec!["vm1", "vm2", "up0"])),
            vni in prop::option::of(prop::sample::select(vec![100, 101])),
            last in prop::option::of(1_u8..4),
            peer in prop::option::of(prop::sample::select(vec![2_u8, 3])),
            reason in prop::option::of(prop::sample::select(vec!["encapsulated", "unknown_vni", "flooded"])),
            drops in any::<bool>(),
        ) -> CaptureFilter {
            CaptureFilter {
                dev: dev.map(str::to_owned),
                vni: vni.and_then(Vni::new),
                mac: last.map(mac),
                peer: peer.map(|last| [192, 0, 2, last].into()),
                reason: reason.map(|name| ReasonName::read(name).unwrap()),
                drops,
                count: None,
            }
        }
    }

    proptest! {
        #[test]
        fn a_frame_is_wanted_where_each_part_of_the_filter_alone_wants_it(
            filter in any_filter(),
            reason in prop::sample::select(vec!["encapsulated", "unknown_vni", "flooded"]),
            vni in prop::option::of(100_u32..103),
        ) {
            let row = CaptureRow { reason: reason.into(), vni: vni.and_then(Vni::new), ..row() };
            let blank = CaptureFilter::default;
            let alone = [
                CaptureFilter { dev: filter.dev.clone(), ..blank() },
                CaptureFilter { vni: filter.vni, ..blank() },
                CaptureFilter { mac: filter.mac, ..blank() },
                CaptureFilter { peer: filter.peer, ..blank() },
                CaptureFilter { reason: filter.reason, ..blank() },
                CaptureFilter { drops: filter.drops, ..blank() },
            ];

            let each = alone.into_iter().all(|part| wants(part, &row));

            prop_assert_eq!(wants(filter.clone(), &row), each);
            // What the kernel leaves out would not have been wanted.
            let vnis = vec![];
            let all = Wanted { filter, vnis };
            let code = Reason::ALL.iter().find(|known| known.name() == reason).unwrap();
            if all.reasons() & CaptureOrder::only(*code) == 0 {
                prop_assert!(!all.matches(&row, &FRAME));
            }
        }
    }
}
