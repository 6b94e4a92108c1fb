//! Applying a configuration file: a plan is made of it, and carried out as one request that nobody else comes between.

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::sync::oneshot;

use super::{
    super::{error::internal, facts},
    Core,
    works::{Applying, Change, Doing, ToApply, Work},
};
use crate::{
    ask::{ClientId, FileToApply, Reply},
    control::{Author, BuiltOn, Ground, LinkFacts, Others, ReservedFor, Step, Wanted},
    model::{
        ApplyOptions, ConfigFile, ConfigStatus, DumpFilter, DumpRow, Op, PlanRow, Refusal, RunLine,
        settings::run, write,
    },
};

/// Changes for one file that have a line each in the log.
const CHANGES_LOGGED: usize = 1_000;

/// Where an answer goes.
type Answer = oneshot::Sender<Result<Reply, Refusal>>;

impl Core {
    /// What a file is read on: the daemon's own limits and addresses.
    pub(super) fn ground(&self) -> Ground {
        let uplinks = self.uplinks.statuses().into_iter();
        let uplinks = uplinks.map(|uplink| (uplink.dev, ReservedFor::Uplink));
        let tunnel = (self.slow_path.name(), ReservedFor::SlowPath);
        Ground {
            limits: self.state.limits(),
            locals: self.state.locals().to_vec(),
            udp_port: self.options.udp_port(),
            reserved: uplinks.chain([tunnel]).collect(),
        }
    }

    /// Takes on a file that a client sends.
    pub(super) fn take_file(&mut self, file: FileToApply, client: Option<ClientId>, reply: Answer) {
        let FileToApply {
            run,
            lines,
            options,
        } = file;
        let wanted = self
            .check_run(run.as_ref())
            .and_then(|()| Wanted::of(lines, self.ground()));
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(refusal) => {
                drop(reply.send(Err(refusal)));
                return;
            }
        };
        let built_on = if options.force {
            BuiltOn::Take
        } else {
            BuiltOn::Refuse
        };
        let work = Work::applying(
            ToApply {
                wanted,
                options,
                built_on,
                file: None,
            },
            reply,
        );
        self.works.push(Work { client, ..work });
    }

    /// Applies the daemon's own file again.
    pub(super) fn reload(&mut self, reply: Answer) {
        match self.read_own() {
            Ok((file, wanted)) => {
                let to_apply = ToApply {
                    wanted,
                    options: ApplyOptions::default(),
                    built_on: BuiltOn::Refuse,
                    file: Some(file),
                };
                self.works.push(Work::applying(to_apply, reply));
            }
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    /// Applies what the daemon's own file says at its start. Nobody is served before that is done.
    pub(super) fn apply_first(&mut self, wanted: Wanted) {
        let (reply, answer) = oneshot::channel();
        self.starting = Some(answer);
        let to_apply = ToApply {
            wanted,
            options: ApplyOptions::default(),
            // Nobody can be asked.
            built_on: BuiltOn::Keep,
            file: None,
        };
        self.works.push(Work::applying(to_apply, reply));
    }

    /// Reads the daemon's own file.
    fn read_own(&self) -> Result<(ConfigFile, Wanted), Refusal> {
        let config = self.config.as_ref().ok_or_else(|| {
            Refusal::not_found(
                "the daemon was started without a configuration file; name one with: vtep apply FILE",
            )
        })?;
        let file = config.read().map_err(Refusal::invalid)?;
        self.check_run(file.run.as_ref())?;
        let wanted = Wanted::of(file.lines.clone(), self.ground())?;
        Ok((file, wanted))
    }

    /// Refuses options of a line `run` that are others than the daemon has.
    fn check_run(&self, line: Option<&RunLine>) -> Result<(), Refusal> {
        let Some(RunLine { at, options }) = line else {
            return Ok(());
        };
        let wanted = run::options(options, &self.options.typed);
        let wanted = wanted.map_err(|bad| Refusal::from(bad).at_place(at))?;
        let changed = run::changed(&self.options.run, &wanted);
        if changed.is_empty() {
            return Ok(());
        }
        Err(Refusal::conflict(format!(
            "{at}: {} cannot change while the daemon runs; stop it and start it again with: vtep run --config FILE",
            changed.join(" and ")
        )))
    }

    /// Makes the plan for a file, and begins to carry it out.
    pub(super) async fn begin_to_apply(&mut self, mut work: Work, to_apply: ToApply) {
        let ToApply {
            wanted,
            options,
            built_on,
            file,
        } = to_apply;
        if options.drift {
            let rows = self.state.drift(&wanted);
            work.answer(rows.map(Reply::Plan));
            return;
        }
        let planned = match self.links_for(|dev| wanted.has_port(dev)).await {
            Ok(links) => self.state.plan_for(&wanted, &links, built_on),
            Err(refusal) => Err(refusal),
        };
        let plan = match planned {
            Ok(plan) => plan,
            Err(refusal) => {
                work.answer(Err(refusal));
                return;
            }
        };
        let rows: Vec<PlanRow> = plan.rows().cloned().collect();
        if options.dry_run {
            work.answer(Ok(Reply::Plan(rows)));
            return;
        }
        work.changes = changes(plan.steps);
        let before = plan.before;
        work.applying = Some(Applying::Doing(Box::new(Doing { rows, before, file })));
        work.quiet = work.changes.len() > CHANGES_LOGGED;
        if work.quiet {
            let uid = work.client.map(|client| client.uid);
            let pid = work.client.and_then(|client| client.pid);
            let changes = work.changes.len();
            tracing::info!(
                source = "config",
                uid,
                pid,
                "applying a configuration file: {changes} changes"
            );
        }
        self.works.alone = true;
        self.works.push(work);
    }

    /// Which changes of a batch would be refused.
    pub(super) async fn rehearse(&self, batch: &[(u64, Op)]) -> Result<Reply, Refusal> {
        let ports: HashSet<&str> = batch.iter().filter_map(|(_, op)| op.new_port()).collect();
        let links = self.links_for(|dev| ports.contains(dev)).await?;
        Ok(Reply::Rehearsed(self.state.try_batch(batch, &links)))
    }

    /// The interfaces that are to be ports, those that there are.
    async fn links_for(
        &self,
        is_port: impl Fn(&str) -> bool,
    ) -> Result<HashMap<String, LinkFacts>, Refusal> {
        let mut found = HashMap::new();
        for link in self.netlink.links().await.map_err(internal)? {
            if is_port(&link.name) {
                // What others have set changes no plan.
                let facts = facts::of_port(&self.netlink, &link, Others::default());
                let facts = facts.map_err(internal)?;
                found.insert(link.name.clone(), facts);
            }
        }
        Ok(found)
    }

    /// Ends a request. What applies a file and fails is undone first.
    pub(super) fn end(&mut self, mut work: Work, result: Result<(), Refusal>) {
        match (work.applying.take(), result) {
            (None | Some(Applying::Asked(_)), result) => work.answer(result.map(|()| Reply::Done)),
            (Some(Applying::Doing(doing)), Ok(())) => {
                self.works.alone = false;
                if let (Some(file), Some(config)) = (&doing.file, &mut self.config) {
                    config.note(Some(file), self.changes, true);
                }
                work.answer(Ok(Reply::Plan(doing.rows)));
            }
            (Some(Applying::Doing(doing)), Err(refusal)) => {
                tracing::error!(%refusal, "a configuration file could not be applied; taking back what was done for it");
                work.changes = changes(self.state.way_back(&doing.before).steps);
                work.applying = Some(Applying::Undoing(refusal));
                self.works.push(work);
            }
            (Some(Applying::Undoing(refusal)), undone) => {
                self.works.alone = false;
                if let Err(failed) = undone {
                    tracing::error!(refusal = %failed, "could not roll back what was done for a configuration file");
                }
                work.answer(Err(refusal));
            }
        }
    }

    /// The configuration file, and whether what is set is what it says.
    pub(super) async fn config_status(&mut self) -> Option<ConfigStatus> {
        let config = self.config.as_ref()?;
        let file = config.path().display().to_string();
        if let Some(in_step) = config.known(self.changes) {
            return Some(ConfigStatus {
                file,
                in_step,
                error: None,
            });
        }
        let looked = match self.read_own() {
            Ok((read, wanted)) => match self.links_for(|dev| wanted.has_port(dev)).await {
                Ok(links) => {
                    let plan = self.state.plan_for(&wanted, &links, BuiltOn::Take);
                    plan.map(|plan| (read, plan.steps.is_empty()))
                }
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        match looked {
            Ok((read, in_step)) => {
                if let Some(config) = &mut self.config {
                    config.note(Some(&read), self.changes, in_step);
                }
                Some(ConfigStatus {
                    file,
                    in_step,
                    error: None,
                })
            }
            Err(refusal) => Some(ConfigStatus {
                file,
                in_step: false,
                error: Some(refusal.message),
            }),
        }
    }

    /// What was set, the daemon's own options first.
    pub(super) fn dump(&self, filter: DumpFilter) -> Result<Vec<DumpRow>, Refusal> {
        let DumpFilter { vni, source } = filter;
        if let Some(vni) = vni {
            self.state.vni_rows(Some(vni))?;
        }
        let first = DumpRow {
            command: write::run(&self.options.run),
            source: None,
            vni: None,
        };
        let mut rows = vec![first];
        rows.extend(self.state.dump(vni, source));
        Ok(rows)
    }
}

/// The changes that steps of a plan ask for, in their order.
fn changes(steps: Vec<Step>) -> VecDeque<Change> {
    let steps = steps.into_iter();
    steps
        .filter_map(|step| {
            Some(Change {
                line: None,
                op: step.op?,
                author: step.author,
            })
        })
        .collect()
}

/// A change that a command asks for.
pub(super) const fn by_command(line: Option<u64>, op: crate::model::Op) -> Change {
    Change {
        line,
        op,
        author: Author::CLI,
    }
}
