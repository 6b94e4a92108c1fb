//! What a configuration file asks for: its commands are carried out on an empty state, which refuses what makes no sense.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use vtep_common::abi::id::Ifindex;

use super::plan::{BuiltOn, NoPlan, Plan};
use super::thing::ThingKey;
use crate::control::record::author::Author;
use crate::control::record::limits::Limits;
use crate::control::record::{
    facts::{LinkFacts, Links, ReservedFor},
    others::Others,
};
use crate::control::state::State;
use crate::model::{ConfigLine, PlanAction, PlanRow, Refusal};

/// What a configuration file asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// A state that has them, and nothing else.
    state: State,
    /// How they are asked for.
    lines: Vec<ConfigLine>,
}

/// What the daemon that it is for has.
#[derive(Clone, Debug)]
pub struct Ground {
    /// How much fits.
    pub limits: Limits,
    /// The addresses that it sends from.
    pub locals: Vec<IpAddr>,
    /// The UDP port that VXLAN packets are sent to.
    pub udp_port: u16,
    /// The names of interfaces that can be no ports.
    pub reserved: Vec<(String, ReservedFor)>,
}

impl Wanted {
    /// Reads the commands of a file.
    ///
    /// # Errors
    ///
    /// The first that is refused, with its place in the file.
    pub fn of(lines: Vec<ConfigLine>, ground: Ground) -> Result<Self, Refusal> {
        let Ground {
            limits,
            locals,
            udp_port,
            reserved,
        } = ground;
        let any = AnyLink::default();
        let mut state = State::new(limits, locals, udp_port);
        let reserved = reserved.into_iter();
        state.set_reserved(
            reserved
                .map(|(name, reason)| (any.number(&name), reason))
                .collect(),
        );
        for line in &lines {
            let done = state.apply_as(Author::CONFIG, &line.command, &any);
            done.map_err(|refusal| refusal.at_place(&line.at()))?;
        }
        Ok(Self { state, lines })
    }

    /// The names of the interfaces that are to be ports.
    #[must_use]
    pub fn ports(&self) -> HashSet<String> {
        let ports = self.state.port_names();
        ports.map(|(_, name, _)| name.to_owned()).collect()
    }

    /// The place of the last line that says something of a thing.
    fn place(&self, key: &ThingKey) -> Option<String> {
        let of_it = |line: &&ConfigLine| ThingKey::of(&line.command).as_ref() == Some(key);
        self.lines.iter().rfind(of_it).map(ConfigLine::at)
    }
}

impl State {
    /// What has to be done so that what the configuration file set becomes what one asks for.
    ///
    /// # Errors
    ///
    /// If a line cannot be had, or what is to go carries something that was set otherwise.
    pub fn plan_for(
        &self,
        wanted: &Wanted,
        links: &dyn Links,
        built_on: BuiltOn,
    ) -> Result<Plan, Refusal> {
        let plan = self.plan(&wanted.state, links, built_on);
        plan.map_err(
            |NoPlan { at, refusal }| match at.and_then(|key| wanted.place(&key)) {
                Some(place) => refusal.at_place(&place),
                None => refusal,
            },
        )
    }
}

impl State {
    /// What has to be added to a file so that it says what is set.
    ///
    /// # Errors
    ///
    /// If it has something that is not set any more: no line takes that back.
    pub fn drift(&self, wanted: &Wanted) -> Result<Vec<PlanRow>, Refusal> {
        let steps = self.steps_from(&wanted.state);
        let gone = steps
            .iter()
            .find(|step| step.row.action == PlanAction::Remove);
        if let Some(step) = gone {
            let refusal = Refusal::conflict(format!(
                "`{}` was deleted; delete the line, or have it again with: vtep apply",
                step.row.command
            ));
            return Err(match wanted.place(&step.key) {
                Some(place) => refusal.at_place(&place),
                None => refusal,
            });
        }
        Ok(steps.into_iter().map(|step| step.row).collect())
    }
}

/// Every interface that is asked for.
#[derive(Debug, Default)]
struct AnyLink {
    numbers: RefCell<HashMap<String, u32>>,
}

impl AnyLink {
    fn number(&self, name: &str) -> Ifindex {
        let mut numbers = self.numbers.borrow_mut();
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        Ifindex::new(
            *numbers
                .entry(name.to_owned())
                .or_insert(next.saturating_add(1)),
        )
    }
}

impl Links for AnyLink {
    fn link(&self, name: &str) -> Option<LinkFacts> {
        Some(LinkFacts {
            ifindex: self.number(name),
            name: name.to_owned(),
            mtu: 1_500,
            xdp_target: false,
            other_end: None,
            others: Others::default(),
        })
    }
}
