//! Bridges of VNIs: what the state wants done is done here, the ports as requests like any other.

use std::collections::{BTreeSet, HashSet};

use futures::FutureExt as _;
use tokio::sync::oneshot;
use vtep_common::abi::id::Ifindex;

use super::{
    super::bridges::Asked,
    Core,
    works::{Change, Work},
};
use crate::{
    causes::with_causes,
    control::{Author, BridgeStep},
    model::{Op, Refusal, RefusalKind, write},
};

impl Core {
    /// Whether bridges are to be looked at. Not while somebody changes interfaces: what is half done would be taken for what is.
    pub(super) fn tends_bridges(&self) -> bool {
        self.bridges.is_stale() && self.works.leaves_interfaces_alone()
    }

    /// Brings what the kernel has of bridges in line with what VNIs ask for.
    pub(super) async fn tend_bridges(&mut self) {
        self.bridges.take_stale();
        let has_gates = self.bridges.gate_ends().next().is_some();
        if !has_gates && !self.state.has_bridges() {
            return;
        }
        self.reserve();
        let view = self.bridges.view(&self.uplink_numbers());
        let plan = self.state.tend(&view, &self.bridges.refused);
        let mut wrong = BTreeSet::new();
        for step in plan.steps {
            match step {
                BridgeStep::Port(op) => self.ask_for_port(*op),
                step => {
                    let what = format!("{step:?}");
                    if let Err(error) = self.bridges.step(&self.netlink, step, &view).await {
                        tracing::debug!("{what}");
                        wrong.insert(with_causes(&error));
                    }
                }
            }
        }
        self.reserve();
        self.bridges.report(plan.waits_for, wrong);
    }

    fn ask_for_port(&mut self, op: Op) {
        let removed = matches!(op, Op::PortDel { .. });
        let dev = match &op {
            Op::PortAdd(spec) => spec.dev.clone(),
            Op::PortSet { dev, .. } | Op::PortDel { dev, .. } => dev.clone(),
            other => unreachable!("{} is asked of no port", write::command(other)),
        };
        let change = Change {
            line: None,
            op,
            author: Author::BRIDGE,
        };
        let (reply, answer) = oneshot::channel();
        self.works.push(Work::new([change], reply));
        let asked = async move {
            let answer = answer.await;
            Asked {
                dev,
                removed,
                answer,
            }
        };
        self.bridges.asked.push(asked.boxed_local());
    }

    /// Takes note of what became of a port that was asked for.
    pub(super) fn port_was_asked(&mut self, asked: Asked) {
        let Asked {
            dev,
            removed,
            answer,
        } = asked;
        let ended = |_| Err(Refusal::internal("the request was left undone"));
        match answer.unwrap_or_else(ended) {
            Ok(_) => self.bridges.invalidate(),
            // It went with its interface.
            Err(refusal) if removed && refusal.kind == RefusalKind::NotFound => {
                self.bridges.invalidate();
            }
            Err(refusal) => {
                if self.bridges.refuse(&dev, &refusal.message) {
                    tracing::error!(%refusal, "could not bring port {dev} in line with its bridge; what it sends and gets goes by way of the bridge");
                }
            }
        }
    }

    /// Has the state know whether an interface can be the bridge of a VNI, just before somebody says that it is.
    pub(super) async fn look_at_bridge(&mut self, name: &str) {
        match self.netlink.find_link(name).await {
            Ok(Some(link)) => self.bridges.note(&link),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "could not look at bridge {name}"),
        }
        let unfit = self.bridges.unfit_named(name, &self.uplink_numbers());
        self.state
            .set_unfit(unfit.map(|unfit| (name.to_owned(), unfit)));
    }

    fn uplink_numbers(&self) -> HashSet<Ifindex> {
        self.uplinks.iter().map(|link| link.index).collect()
    }
}
