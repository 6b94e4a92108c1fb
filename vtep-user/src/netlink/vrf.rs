//! Routing domains: the VRF that an interface belongs to, perhaps by a bond or a bridge.

use vtep_common::abi::id::Ifindex;

use super::{Error, Link, LinkKind, Netlink};

/// How many interfaces may be stacked on each other.
const DEEPEST: usize = 8;

/// The VRF over an interface, if there is one, where `link` knows the interfaces.
pub fn vrf_over<'a>(
    ifindex: Ifindex,
    link: impl Fn(Ifindex) -> Option<&'a Link>,
) -> Option<Ifindex> {
    let masters = std::iter::successors(link(ifindex), |below| link(below.master?));
    masters
        .take(DEEPEST)
        .find(|link| is_vrf(link))
        .map(|link| link.index)
}

fn is_vrf(link: &Link) -> bool {
    matches!(link.kind, LinkKind::Vrf { .. })
}

impl Netlink {
    /// The VRF over an interface, if there is one.
    pub(super) async fn vrf_of(&self, link: &Link) -> Result<Option<Ifindex>, Error> {
        let mut master = link.master;
        for _ in 0..DEEPEST {
            let Some(index) = master else { break };
            let Some(above) = self.link(index).await? else {
                break;
            };
            if is_vrf(&above) {
                return Ok(Some(index));
            }
            master = above.master;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::testkit;

    fn link(index: u32, kind: LinkKind, master: Option<u32>) -> Link {
        Link {
            master: master.map(Ifindex::new),
            ..testkit::link(index, &format!("if{index}"), kind)
        }
    }

    #[test]
    fn a_vrf_is_found_over_bonds_and_bridges() {
        let other = || LinkKind::Other("bond".into());
        let links = [
            link(1, LinkKind::Physical, Some(2)),
            link(2, other(), Some(9)),
            link(3, LinkKind::Physical, None),
            link(4, LinkKind::Physical, Some(5)),
            link(5, other(), None),
            link(6, LinkKind::Physical, Some(77)),
            link(9, LinkKind::Vrf { table: 10 }, None),
        ];
        let by_index = |index: Ifindex| links.iter().find(|link| link.index == index);
        let vrf = Some(Ifindex::new(9));
        for (index, want) in [
            (1, vrf),
            (2, vrf),
            (3, None),
            (4, None),
            (6, None),
            (8, None),
        ] {
            assert_eq!(vrf_over(Ifindex::new(index), by_index), want, "{index}");
        }
        // The VRF itself has its own routes.
        assert_eq!(vrf_over(Ifindex::new(9), by_index), vrf);
    }

    #[test]
    fn interfaces_that_are_stacked_in_a_circle_end() {
        let links = [
            link(1, LinkKind::Physical, Some(2)),
            link(2, LinkKind::Physical, Some(1)),
        ];
        let by_index = |index: Ifindex| links.iter().find(|link| link.index == index);
        assert_eq!(vrf_over(Ifindex::new(1), by_index), None);
    }
}
