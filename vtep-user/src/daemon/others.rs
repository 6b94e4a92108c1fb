//! What others have set at the interfaces of ports, as the kernel has it.

use std::collections::{HashMap, HashSet};

use vtep_common::abi::id::Ifindex;

use crate::{
    causes::with_causes,
    control::{Other, Others},
    datapath::{OwnAtPorts, TcxPrograms},
    netlink::{Error, Filter, FilterSide, HookChain, Link, Netlink, Qdisc},
};

/// The interfaces to look at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Where {
    #[default]
    Nowhere,
    At(HashSet<Ifindex>),
    Everywhere,
}

impl Where {
    /// One more, or all.
    pub(super) fn add(&mut self, ifindex: Option<Ifindex>) {
        match (&mut *self, ifindex) {
            (Self::Everywhere, _) => {}
            (_, None) => *self = Self::Everywhere,
            (Self::At(some), Some(ifindex)) => drop(some.insert(ifindex)),
            (Self::Nowhere, Some(ifindex)) => *self = Self::At(HashSet::from([ifindex])),
        }
    }

    /// One of them, if it is one.
    pub(super) fn only(&self, ifindex: Ifindex) -> Self {
        let mut only = Self::Nowhere;
        if self.has(ifindex) {
            only.add(Some(ifindex));
        }
        only
    }

    /// Whether it is one of them.
    pub(super) fn has(&self, ifindex: Ifindex) -> bool {
        match self {
            Self::Nowhere => false,
            Self::At(some) => some.contains(&ifindex),
            Self::Everywhere => true,
        }
    }
}

/// What the kernel tells of all interfaces at once.
#[derive(Default)]
pub(super) struct Surroundings {
    qdiscs: HashMap<Ifindex, Vec<Qdisc>>,
    chains: Vec<HookChain>,
}

impl Surroundings {
    /// Reads it. Without chains it is still good for the rest.
    pub(super) fn read(netlink: &Netlink) -> Result<Self, Error> {
        let mut qdiscs: HashMap<_, Vec<_>> = HashMap::new();
        for qdisc in netlink.qdiscs()? {
            qdiscs.entry(qdisc.ifindex).or_default().push(qdisc);
        }
        let chains = netlink.hook_chains().unwrap_or_else(|error| {
            tracing::warn!("could not {}", with_causes(&error));
            Vec::new()
        });
        Ok(Self { qdiscs, chains })
    }

    /// Reads it; nothing, if that fails, and the log says so.
    pub(super) fn read_or_nothing(netlink: &Netlink) -> Self {
        Self::read(netlink).unwrap_or_else(|error| {
            tracing::warn!("could not {}", with_causes(&error));
            Self::default()
        })
    }

    /// What others have set at an interface; `None`, if that cannot be read, and the log says so.
    pub(super) fn at(
        &self,
        netlink: &Netlink,
        own: &OwnAtPorts,
        (ifindex, dev): (Ifindex, &str),
    ) -> Option<Others> {
        let found = self.try_at(netlink, own, (ifindex, dev));
        let unread = |why: &String| {
            tracing::warn!("could not see what others have set at {dev}: {why}");
        };
        found.inspect_err(unread).ok()
    }

    fn try_at(
        &self,
        netlink: &Netlink,
        own: &OwnAtPorts,
        (ifindex, dev): (Ifindex, &str),
    ) -> Result<Others, String> {
        let qdiscs = self.qdiscs.get(&ifindex).map_or(&[][..], Vec::as_slice);
        let filters = |side, is_there: bool| {
            if !is_there {
                return Ok(Vec::new());
            }
            let filters = netlink.filters(ifindex, side);
            filters.map_err(|error| with_causes(&error))
        };
        let mut clsact = qdiscs.iter().filter(|qdisc| !qdisc.is_root);
        let ingress = filters(FilterSide::Ingress, clsact.clone().next().is_some())?;
        // The one that is called ingress has no others, and would list those once more.
        let has_egress = clsact.any(|qdisc| qdisc.kind == "clsact");
        let egress = filters(FilterSide::Egress, has_egress)?;
        let programs = own.other_programs(ifindex);
        let programs = programs.map_err(|error| with_causes(&error))?;
        let chains = self.chains.iter().filter(|chain| chain.is_at(dev));
        let chains: Vec<_> = chains.cloned().collect();
        Ok(found(
            qdiscs,
            (&ingress, &egress),
            &programs,
            &chains,
            own.filter,
        ))
    }
}

/// What others have set at one interface, as far as it can be read.
pub(super) fn at(netlink: &Netlink, own: &OwnAtPorts, link: &Link) -> Others {
    let surroundings = Surroundings::read_or_nothing(netlink);
    let found = surroundings.at(netlink, own, (link.index, &link.name));
    found.unwrap_or_default()
}

/// Puts together what was found at an interface. `own` is the priority and the handle of our own filter, where it is one and no program
/// by tcx.
fn found(
    qdiscs: &[Qdisc],
    (ingress, egress): (&[Filter], &[Filter]),
    programs: &TcxPrograms,
    chains: &[HookChain],
    own: Option<(u16, u32)>,
) -> Others {
    // One without a queue neither holds back nor drops.
    let mut set = qdiscs
        .iter()
        .filter(|qdisc| qdisc.is_root && qdisc.is_set && qdisc.kind != "noqueue");
    let program = |number: &u32| Other::Program(*number);
    let mut others = Others {
        qdisc: set.next().map(|qdisc| qdisc.kind.clone()),
        egress: programs.egress.iter().map(program).collect(),
        skipped: Vec::new(),
        first: programs.first.iter().map(program).collect(),
        behind: programs.behind.iter().map(program).collect(),
    };
    for filter in ingress {
        // Filters come after all programs by tcx, and among each other by priority.
        let to = match own {
            Some((_, handle)) if filter.handle == handle => continue,
            Some((priority, _)) if filter.priority < priority => &mut others.first,
            Some(_) | None => &mut others.behind,
        };
        to.push(named(filter));
    }
    others.egress.extend(egress.iter().map(named));
    for chain in chains {
        let to = match chain.side {
            FilterSide::Ingress => &mut others.behind,
            FilterSide::Egress => &mut others.skipped,
        };
        to.push(Other::Chain {
            family: chain.family,
            table: chain.table.clone(),
            name: chain.name.clone(),
        });
    }
    // A filter may have many rules of one priority.
    for list in [
        &mut others.egress,
        &mut others.skipped,
        &mut others.first,
        &mut others.behind,
    ] {
        list.sort_unstable();
        list.dedup();
    }
    others
}

fn named(filter: &Filter) -> Other {
    Other::Filter {
        kind: filter.kind.clone(),
        priority: filter.priority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM0: Ifindex = Ifindex::new(7);

    fn root(kind: &str, is_set: bool) -> Qdisc {
        Qdisc {
            ifindex: VM0,
            kind: kind.into(),
            is_root: true,
            is_set,
        }
    }

    fn filter(priority: u16, handle: u32) -> Filter {
        Filter {
            kind: "bpf".into(),
            priority,
            handle,
        }
    }

    fn other(priority: u16) -> Other {
        named(&filter(priority, 1))
    }

    #[test]
    fn places_add_up_to_everywhere() {
        let [one, two] = [7, 8].map(Ifindex::new);
        let mut at = Where::default();
        assert!(!at.has(one));
        at.add(Some(one));
        assert!(at.has(one) && !at.has(two));
        assert_eq!((at.only(one) == at, at.only(two)), (true, Where::Nowhere));
        at.add(Some(two));
        assert!(at.has(one) && at.has(two));
        at.add(None);
        at.add(Some(one));
        assert_eq!(at, Where::Everywhere);
    }

    #[test]
    fn what_the_kernel_gives_every_interface_is_nobodys() {
        let programs = TcxPrograms::default();
        let of = |qdisc| found(&[qdisc], (&[], &[]), &programs, &[], None).qdisc;
        for kind in ["noqueue", "pfifo_fast", "fq_codel", "mq"] {
            assert_eq!(of(root(kind, false)), None, "{kind}");
        }
        assert_eq!(of(root("noqueue", true)), None);
        for kind in ["tbf", "fq_codel", "pfifo_fast"] {
            assert_eq!(of(root(kind, true)).as_deref(), Some(kind));
        }
    }

    #[test]
    fn with_tcx_all_ingress_filters_are_behind() {
        let programs = TcxPrograms {
            first: vec![1],
            behind: vec![2],
            egress: vec![3],
        };
        let ingress = [filter(1, 1), filter(1, 2)];
        let others = found(&[], (&ingress, &[filter(5, 1)]), &programs, &[], None);
        assert_eq!(others.first, [Other::Program(1)]);
        assert_eq!(others.behind, [other(1), Other::Program(2)]);
        assert_eq!(others.egress, [other(5), Other::Program(3)]);
    }

    #[test]
    fn without_tcx_filters_are_before_ours_by_priority_and_ours_is_none() {
        let ingress = [
            filter(10, 1),
            filter(4_789, 99),
            filter(4_789, 1),
            filter(9_000, 1),
        ];
        let others = found(
            &[],
            (&ingress, &[]),
            &TcxPrograms::default(),
            &[],
            Some((4_789, 99)),
        );
        assert_eq!(others.first, [other(10)]);
        assert_eq!(others.behind, [other(4_789), other(9_000)]);
    }
}
