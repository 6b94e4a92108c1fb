//! What a file says of a captured frame.

use crate::model::CaptureRow;

/// The comment of a frame: words that can be searched for.
#[must_use]
pub fn comment(row: &CaptureRow) -> String {
    let CaptureRow {
        hook,
        reason,
        direction,
        iface,
        dev,
        to_dev,
        vni,
        peer,
        outer_unreadable,
        ..
    } = row;
    let mut words = vec![
        format!("reason={reason}"),
        format!("hook={hook}"),
        format!("direction={direction}"),
    ];
    words.extend(vni.map(|vni| format!("vni={vni}")));
    words.extend(peer.map(|peer| format!("peer={peer}")));
    words.extend(dev.as_ref().map(|dev| format!("dev={dev}")));
    words.extend(to_dev.as_ref().map(|dev| format!("to={dev}")));
    let other = iface.as_ref().filter(|iface| Some(*iface) != dev.as_ref());
    words.extend(other.map(|iface| format!("iface={iface}")));
    words.extend(outer_unreadable.then(|| "outer=unreadable".to_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Vni;

    fn row() -> CaptureRow {
        CaptureRow {
            time: "T".into(),
            hook: "uplink_xdp".into(),
            reason: "unknown_vni".into(),
            direction: "rx".into(),
            iface: Some("up0".into()),
            dev: None,
            to_dev: None,
            vni: Vni::new(999),
            peer: Some([192, 0, 2, 2].into()),
            len: 60,
            outer_unreadable: false,
            bytes: String::new(),
        }
    }

    #[test]
    fn a_comment_has_reason_and_hook_and_whom_the_frame_is_of() {
        let switched = CaptureRow {
            hook: "port".into(),
            reason: "switched".into(),
            direction: "tx".into(),
            iface: Some("vm1".into()),
            dev: Some("vm1".into()),
            to_dev: Some("vm2".into()),
            peer: None,
            ..row()
        };

        assert_eq!(
            comment(&row()),
            "reason=unknown_vni hook=uplink_xdp direction=rx vni=999 peer=192.0.2.2 iface=up0"
        );
        assert_eq!(
            comment(&switched),
            "reason=switched hook=port direction=tx vni=999 dev=vm1 to=vm2"
        );
    }
}
