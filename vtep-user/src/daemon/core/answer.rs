//! Answering what the API asks.

use super::{super::error::internal, Core};
use crate::{
    ask::{Ask, Command, Reply},
    model::{Refusal, Status},
    stats,
};

/// Changes of a batch that are made before what the kernel side tells has its turn.
const CHANGES_AT_ONCE: usize = 256;

impl Core {
    /// Answers. True if everything has been removed.
    pub(super) async fn take_ask(&mut self, ask: Ask) -> bool {
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
        let Ask { command, reply } = ask;
        let answer = self.answer(command).await;
        // Nobody may be there any more to take it.
        drop(reply.send(answer));
        false
    }

    async fn answer(&mut self, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::Status => Ok(Reply::Status(Box::new(self.status()))),
            Command::VniShow(vni) => self.state.vni_rows(vni).map(Reply::Vnis),
            Command::PortShow(dev) => self.state.port_rows(dev.as_deref()).map(Reply::Ports),
            Command::FdbShow(filter) => {
                self.state.fdb_rows(&filter, &self.datapath).map(Reply::Fdb)
            }
            Command::FdbGet { mac, vni } => {
                self.state.fdb_get(mac, vni, &self.datapath).map(Reply::Fdb)
            }
            Command::NeighShow(vni) => self
                .state
                .neigh_rows(vni, &self.datapath)
                .map(Reply::Neighs),
            Command::NexthopShow(vni) => self.state.nexthop_rows(vni).map(Reply::Nexthops),
            Command::PeerShow(ip) => self.state.peer_rows(ip).map(Reply::Peers),
            Command::Stats(filter) => {
                let snapshot = stats::snapshot(&self.datapath, &self.state).map_err(internal)?;
                stats::rows(&snapshot, &self.state, &filter).map(Reply::Stats)
            }
            Command::Drops => {
                let snapshot = stats::snapshot(&self.datapath, &self.state).map_err(internal)?;
                Ok(Reply::Drops(stats::drops(&snapshot)))
            }
            Command::Metrics => {
                let snapshot = stats::snapshot(&self.datapath, &self.state).map_err(internal)?;
                let announced = self.announcer.counters();
                Ok(Reply::Text(stats::prometheus::text(
                    &snapshot,
                    &self.state,
                    announced,
                )))
            }
            Command::Do(op) => self.change(&op).await.map(|()| Reply::Done),
            Command::Batch(ops) => {
                for some in ops.chunks(CHANGES_AT_ONCE) {
                    self.change_some(some).await?;
                    self.read_events().await;
                }
                Ok(Reply::Done)
            }
            Command::Teardown => Err(Refusal::internal("a teardown is not answered here")),
        }
    }

    fn status(&self) -> Status {
        let totals = self.state.totals();
        Status {
            instance: self.options.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            udp_port: self.options.udp_port,
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
