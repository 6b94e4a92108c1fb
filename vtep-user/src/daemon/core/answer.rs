//! Answering what the API asks.

use super::{super::error::internal, Core, configure::by_command, works::Work};
use crate::{
    ask::{Ask, Command, Reply},
    model::{FdbAt, Query, Refusal, StatsFilter, Status, VniFilter},
    stats::{self, prometheus::Measured},
};

impl Core {
    /// Answers what is asked, and takes on what is to be changed. True if everything has been removed.
    pub(super) async fn take_ask(&mut self, ask: Ask) -> bool {
        if !ask.is_awaited().await {
            tracing::info!("left a request undone, because its client is gone");
            return false;
        }
        self.look_for_watchers();
        let Ask {
            command,
            client,
            reply,
        } = ask;
        match command {
            // Nobody may be there any more to take it.
            Command::Show(Query::Status) => self.answer_status(self.status(), reply),
            Command::Show(Query::Ports(dev)) => {
                self.look_at_others_of(dev.as_deref());
                drop(reply.send(self.show(Query::Ports(dev))));
            }
            Command::Show(Query::Peers(ip)) => {
                self.hear_all_peers();
                drop(reply.send(self.show(Query::Peers(ip))));
            }
            Command::Show(query) => drop(reply.send(self.show(query))),
            Command::TraceArrived(arrived) => {
                drop(reply.send(self.trace_arrived(&arrived).map(Reply::Trace)));
            }
            Command::Do(op) => {
                let work = Work::new([by_command(None, op)], reply);
                self.works.push(Work { client, ..work });
            }
            Command::Batch(ops) => {
                if let (Some((first, _)), Some((last, _))) = (ops.first(), ops.last()) {
                    let uid = client.map(|client| client.uid);
                    let pid = client.and_then(|client| client.pid);
                    tracing::info!(source = "cli", uid, pid, "a batch: lines {first} to {last}");
                }
                let changes = ops.into_iter();
                let changes = changes.map(|(line, op)| by_command(Some(line), op));
                let work = Work::new(changes, reply);
                self.works.push(Work { client, ..work });
            }
            Command::Rehearse(ops) => self.rehearse(ops, reply).await,
            Command::Apply(file) => self.take_file(*file, client, reply),
            Command::Reload => self.reload(reply),
            Command::Teardown => {
                let removed = self.teardown().await.map(|()| Reply::Done);
                let done = removed.is_ok();
                drop(reply.send(removed.map_err(internal)));
                return done;
            }
        }
        false
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
                self.check_filter(&filter, "vtep stats")?;
                let snapshot = stats::snapshot(&self.datapath, &self.state).map_err(internal)?;
                stats::rows(&snapshot, &self.state, &filter).map(Reply::Stats)
            }
            Query::Drops(filter) => {
                self.check_filter(&filter, "vtep drops")?;
                let snapshot = stats::snapshot(&self.datapath, &self.state).map_err(internal)?;
                stats::drops(&snapshot, &self.state, &filter).map(Reply::Drops)
            }
            Query::Trace(at) => self.trace(&at).map(Reply::Trace),
            Query::Dump(filter) => self.dump(filter).map(Reply::Dump),
            Query::Metrics => {
                let snapshot = stats::snapshot(&self.datapath, &self.state).map_err(internal)?;
                Ok(Reply::Text(stats::prometheus::text(&Measured {
                    snapshot: &snapshot,
                    state: &self.state,
                    status: &self.status(),
                    announced: self.announcer.counters(),
                    repaired: &self.repairs.counts(),
                })))
            }
        }
    }

    /// Refuses an uplink, which has no counters of its own; `instead` shows them all.
    fn check_filter(&self, filter: &StatsFilter, instead: &str) -> Result<(), Refusal> {
        let uplinks = self.uplinks.statuses();
        let mut names = uplinks.iter().map(|uplink| uplink.dev.as_str());
        match &filter.dev {
            Some(dev) if names.any(|name| name == dev) => Err(Refusal::not_found(format!(
                "{dev} is an uplink, not a port, and has no counters of its own; see what its packets came to with: {instead}"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// What the daemon waits for, a clause each.
    pub(super) fn waits_for(&self) -> Vec<String> {
        let uplinks = self.uplinks.waits_for();
        let missing = self.state.missing_locals();
        let missing = missing.map(|ip| format!("{ip}, which is not an address of this host"));
        let none = self.state.locals().is_empty();
        let none = none.then(|| "an address of an uplink to send from".to_owned());
        let bridges = self.bridges.waits_for();
        uplinks.chain(missing).chain(none).chain(bridges).collect()
    }

    fn status(&self) -> Status {
        let totals = self.state.totals();
        Status {
            instance: self.options.instance().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            udp_port: self.options.udp_port(),
            device: Some(self.slow_path.name()),
            config: None,
            locals: self.state.locals().to_vec(),
            uplinks: self.uplinks.statuses(),
            waits_for: self.waits_for(),
            repairs: self.repairs.total(),
            left_alone: self.repairs.left_alone(),
            vnis: totals.vnis.into(),
            ports: totals.ports.into(),
            peers: totals.peers.into(),
            fdb: totals.fdb.into(),
            fdb_max: totals.fdb_max.into(),
            limits: self.state.limit_rows(),
        }
    }
}
