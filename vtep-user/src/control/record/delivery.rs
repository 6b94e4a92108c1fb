//! How frames get to a port and from it, and what others have set at its interface that they pass by.
//!
//! A frame to a port passes its queueing discipline and its egress filters where TC redirects to it. It passes them by where XDP
//! redirects to it, and where TC hands it straight to its other end. Netfilter's egress hook it never meets: the kernel skips that for what
//! TC redirects (`nf_skip_egress`).

use vtep_common::abi::port::Port;

use super::{
    facts::LinkFacts,
    others::{Other, Others, Side},
};
use crate::model::{PortDelivery, PortHook, VlanId};

/// Whether the operator wants frames to a port to pass its queue.
pub(crate) fn wanted(port: &Port) -> PortDelivery {
    if port.has(Port::DELIVERY_QDISC) {
        PortDelivery::Qdisc
    } else if port.has(Port::DELIVERY_FAST) {
        PortDelivery::Fast
    } else {
        PortDelivery::Auto
    }
}

/// Takes on what the operator wants.
pub(crate) fn want(port: &mut Port, delivery: PortDelivery) {
    port.set(Port::DELIVERY_QDISC, delivery == PortDelivery::Qdisc);
    port.set(Port::DELIVERY_FAST, delivery == PortDelivery::Fast);
}

/// Whether frames to a port pass its queue, where there is a faster way.
fn passes_queue(port: &Port, others: &Others) -> bool {
    match wanted(port) {
        PortDelivery::Auto => others.has_queue(),
        PortDelivery::Qdisc => true,
        PortDelivery::Fast => false,
    }
}

/// Opens the fast ways to a port that its interface has, unless its frames pass the queue.
pub(crate) fn choose(port: &mut Port, facts: &LinkFacts) {
    let fast = !passes_queue(port, &facts.others);
    port.set(Port::XDP_TARGET, fast && facts.xdp_target);
    port.set_other_end(facts.other_end.filter(|_| fast));
}

/// The way that frames to a port take, in a word.
pub(crate) fn way(port: &Port, facts: &LinkFacts) -> &'static str {
    if passes_queue(port, &facts.others) {
        "qdisc"
    } else if port.has(Port::XDP_TARGET) {
        "xdp"
    } else {
        "tc"
    }
}

/// The same as a clause, for the log.
pub(crate) fn clause(port: &Port, facts: &LinkFacts) -> &'static str {
    if passes_queue(port, &facts.others) {
        return "TC delivers through its queueing discipline and its egress filters";
    }
    match (facts.xdp_target, facts.other_end.is_some()) {
        (true, true) => "XDP may redirect to it, and TC delivers straight to its peer",
        (true, false) => "XDP may redirect to it",
        (false, true) => {
            "XDP leaves it to TC, because its peer would lose the frames; TC delivers straight to that peer"
        }
        (false, false) => "XDP leaves it to TC, because the driver would lose the frames",
    }
}

/// What others have set at the interface of a port and its frames pass by, a sentence each. The interface's programs are at `hook`.
pub(crate) fn bypasses(port: &Port, facts: &LinkFacts, hook: PortHook) -> Vec<String> {
    let dev = &facts.name;
    let others = &facts.others;
    let behind = others.behind.iter().map(|other| {
        let other = other.at(Side::Ingress);
        format!("frames from {dev} do not meet {other}, because vtep takes them first")
    });
    let first = others.first.iter().filter(|_| hook == PortHook::Xdp);
    let first = first.map(|other| {
        let other = other.at(Side::Ingress);
        format!("frames that XDP takes from {dev} do not meet {other}; have TC take them with: vtep port set {dev} --hook tc")
    });
    let skipped = others.skipped.iter().map(|other| {
        let other = other.at(Side::Egress);
        format!(
            "frames to {dev} do not meet {other}, because the kernel skips it for what TC redirects"
        )
    });
    let fast = fast_ways(port).map(|ways| {
        let qdisc = others.qdisc.iter();
        let qdisc = qdisc.map(|kind| format!("its queueing discipline {kind}"));
        let egress = others.egress.iter().map(|other: &Other| other.at(Side::Egress));
        let vlan = VlanId::new(port.vlan);
        let vlan = vlan.map_or_else(String::new, |vlan| format!(" --vlan {vlan}"));
        qdisc.chain(egress).map(move |missed| {
            format!("frames that {ways} delivers to {dev} do not meet {missed}; they do with: vtep port set {dev}{vlan} --delivery auto")
        })
    });
    behind
        .chain(first)
        .chain(skipped)
        .chain(fast.into_iter().flatten())
        .collect()
}

/// The ways to a port that pass its queue by, if there are any.
fn fast_ways(port: &Port) -> Option<&'static str> {
    match (port.has(Port::XDP_TARGET), port.has(Port::PEER_TARGET)) {
        (true, true) => Some("XDP or redirect_peer"),
        (true, false) => Some("XDP"),
        (false, true) => Some("redirect_peer"),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use vtep_common::abi::{addr::MacAddr, id::Ifindex};

    use super::*;

    const ALL: [PortDelivery; 3] = [PortDelivery::Auto, PortDelivery::Qdisc, PortDelivery::Fast];

    fn filter() -> Other {
        Other::Filter {
            kind: "u32".into(),
            priority: 7,
        }
    }

    fn chain() -> Other {
        Other::Chain {
            family: "netdev",
            table: "guests".into(),
            name: "in".into(),
        }
    }

    /// A port that can be reached by all ways.
    fn port(delivery: PortDelivery, others: Others) -> (Port, LinkFacts) {
        let facts = LinkFacts {
            ifindex: Ifindex::new(7),
            name: "vm0".into(),
            mtu: 1_500,
            xdp_target: true,
            other_end: Some(MacAddr::from_bytes([2, 0, 0, 0, 0, 7])),
            others,
        };
        let mut port = Port::default();
        want(&mut port, delivery);
        choose(&mut port, &facts);
        (port, facts)
    }

    fn is_fast(port: &Port) -> bool {
        port.has(Port::XDP_TARGET) && port.has(Port::PEER_TARGET)
    }

    #[test]
    fn auto_passes_the_queue_where_somebody_has_set_something_there() {
        let qdisc = Others {
            qdisc: Some("tbf".into()),
            ..Others::default()
        };
        let egress = Others {
            egress: vec![filter()],
            ..Others::default()
        };
        for others in [qdisc, egress] {
            let (port, facts) = port(PortDelivery::Auto, others);
            assert!(!port.has(Port::XDP_TARGET | Port::PEER_TARGET), "{facts:?}");
            assert_eq!(way(&port, &facts), "qdisc");
            assert_eq!(bypasses(&port, &facts, PortHook::Auto), [""; 0]);
        }
        let ingress = Others {
            first: vec![filter()],
            behind: vec![filter()],
            ..Others::default()
        };
        for others in [Others::default(), ingress] {
            let (port, facts) = port(PortDelivery::Auto, others);
            assert!(is_fast(&port), "{facts:?}");
            assert_eq!(way(&port, &facts), "xdp");
        }
    }

    #[test]
    fn what_the_operator_wants_goes_whatever_there_is() {
        let others = Others {
            qdisc: Some("tbf".into()),
            ..Others::default()
        };
        let (qdisc, facts) = port(PortDelivery::Qdisc, Others::default());
        assert!(!qdisc.has(Port::XDP_TARGET | Port::PEER_TARGET));
        assert_eq!(way(&qdisc, &facts), "qdisc");
        let (fast, facts) = port(PortDelivery::Fast, others);
        assert!(is_fast(&fast));
        assert_eq!(way(&fast, &facts), "xdp");
        for delivery in ALL {
            assert_eq!(wanted(&port(delivery, Others::default()).0), delivery);
        }
    }

    #[test]
    fn a_fast_way_is_said_to_pass_the_queue_by() {
        let others = Others {
            qdisc: Some("tbf".into()),
            egress: vec![filter(), Other::Program(49)],
            ..Others::default()
        };
        let (mut port, facts) = port(PortDelivery::Fast, others);
        port.vlan = 20;
        let said = bypasses(&port, &facts, PortHook::Auto);
        let ending = "they do with: vtep port set vm0 --vlan 20 --delivery auto";
        let frames = "frames that XDP or redirect_peer delivers to vm0 do not meet";
        assert_eq!(
            said,
            [
                format!("{frames} its queueing discipline tbf; {ending}"),
                format!("{frames} the egress filter u32 (pref 7); {ending}"),
                format!("{frames} the tcx egress program 49; {ending}"),
            ]
        );
    }

    #[test]
    fn what_the_kernel_skips_is_named_and_opens_no_queue() {
        let others = Others {
            skipped: vec![chain()],
            ..Others::default()
        };
        let (port, facts) = port(PortDelivery::Auto, others);
        assert!(is_fast(&port));
        let said = "frames to vm0 do not meet netfilter's egress hook (nft chain netdev guests in), because the kernel skips it for what TC redirects";
        assert_eq!(bypasses(&port, &facts, PortHook::Auto), [said]);
    }

    #[test]
    fn without_a_fast_way_nothing_is_passed_by() {
        let others = Others {
            qdisc: Some("tbf".into()),
            ..Others::default()
        };
        let (mut port, mut facts) = port(PortDelivery::Fast, others);
        (facts.xdp_target, facts.other_end) = (false, None);
        choose(&mut port, &facts);
        assert_eq!(way(&port, &facts), "tc");
        assert_eq!(bypasses(&port, &facts, PortHook::Auto), [""; 0]);
    }

    #[test]
    fn what_stands_behind_vtep_sees_nothing_and_what_is_first_sees_what_xdp_leaves() {
        let others = Others {
            first: vec![Other::Program(3)],
            behind: vec![chain()],
            ..Others::default()
        };
        let (port, facts) = port(PortDelivery::Auto, others);
        let behind = "frames from vm0 do not meet netfilter's ingress hook (nft chain netdev guests in), because vtep takes them first";
        let first = "frames that XDP takes from vm0 do not meet the tcx ingress program 3; have TC take them with: vtep port set vm0 --hook tc";
        assert_eq!(bypasses(&port, &facts, PortHook::Tc), [behind]);
        assert_eq!(bypasses(&port, &facts, PortHook::Xdp), [behind, first]);
    }
}
