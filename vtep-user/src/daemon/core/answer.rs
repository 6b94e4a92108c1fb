//! Answering what the API asks.

use super::{super::error::internal, Core};
use crate::{
    ask::{Ask, Command, Reply},
    model::{FdbAt, Query, Refusal, Status, VniFilter},
    stats,
};

/// Changes of a batch that are made before the events of the programs have their turn.
const CHANGES_AT_ONCE: usize = 256;

impl Core {
    /// Answers. True if everything has been removed.
    pub(super) async fn take_ask(&mut self, ask: Ask) -> bool {
        if !ask.is_awaited().await {
            tracing::info!("left a request undone, because its client is gone");
            return false;
        }
        self.look_for_watchers();
        if matches!(ask.command, Command::Teardown) {
            let removed = self
                .teardown()
                .await
                .map(|()| Reply::Done)
                .map_err(internal);
            let done = removed.is_ok();
            ask.answer(removed);
            return done;
        }
        self.finding = false;
        let answer = self.answer(&ask).await;
        if self.finding {
            let settled = self.resolver.settled();
            tokio::spawn(async move {
                settled.await;
                ask.answer(answer);
            });
        } else {
            ask.answer(answer);
        }
        false
    }

    async fn answer(&mut self, ask: &Ask) -> Result<Reply, Refusal> {
        match &ask.command {
            Command::Show(query) => self.show(query.clone()),
            Command::Do(op) => self.change(op).await.map(|()| Reply::Done),
            Command::Batch(ops) => {
                for some in ops.chunks(CHANGES_AT_ONCE) {
                    if !ask.is_awaited().await {
                        return Err(Refusal::internal("the client of the batch is gone"));
                    }
                    self.change_some(some).await?;
                    self.read_events().await;
                }
                Ok(Reply::Done)
            }
            Command::Teardown => Err(Refusal::internal("a teardown is not answered here")),
        }
    }

    fn show(&self, query: Query) -> Result<Reply, Refusal> {
        match query {
            Query::Status => Ok(Reply::Status(Box::new(self.status()))),
            Query::Vnis(vni) => self.state.vni_rows(vni).map(Reply::Vnis),
            Query::Ports(dev) => self.state.port_rows(dev.as_deref()).map(Reply::Ports),
            Query::Fdb(filter) => self.state.fdb_rows(&filter, &self.datapath).map(Reply::Fdb),
            Query::FdbGet(FdbAt { mac, vni }) => {
                self.state.fdb_get(mac, vni, &self.datapath).map(Reply::Fdb)
            }
            Query::Neighs(VniFilter { vni }) => self
                .state
                .neigh_rows(vni, &self.datapath)
                .map(Reply::Neighs),
            Query::Nexthops(VniFilter { vni }) => self.state.nexthop_rows(vni).map(Reply::Nexthops),
            Query::Peers(ip) => self.state.peer_rows(ip).map(Reply::Peers),
            Query::Stats(filter) => {
                let snapshot = stats::snapshot(&self.datapath, &self.state).map_err(internal)?;
                stats::rows(&snapshot, &self.state, &filter).map(Reply::Stats)
            }
            Query::Drops => {
                let snapshot = stats::snapshot(&self.datapath, &self.state).map_err(internal)?;
                Ok(Reply::Drops(stats::drops(&snapshot)))
            }
            Query::Metrics => {
                let snapshot = stats::snapshot(&self.datapath, &self.state).map_err(internal)?;
                let announced = self.announcer.counters();
                Ok(Reply::Text(stats::prometheus::text(
                    &snapshot,
                    &self.state,
                    announced,
                )))
            }
        }
    }

    fn status(&self) -> Status {
        let totals = self.state.totals();
        Status {
            instance: self.options.instance().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            udp_port: self.options.udp_port(),
            device: Some(self.slow_path.name()),
            locals: self.state.locals().to_vec(),
            uplinks: self.uplinks.statuses(),
            vnis: totals.vnis.into(),
            ports: totals.ports.into(),
            peers: totals.peers.into(),
            fdb: totals.fdb.into(),
            fdb_max: totals.fdb_max.into(),
        }
    }
}
