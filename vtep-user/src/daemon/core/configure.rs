//! Applying a configuration file: a plan is made of it, and carried out as one request that nobody else comes between.

use std::collections::{HashMap, HashSet, VecDeque};

use futures::FutureExt as _;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{
    super::{configuration::Configuration, error::internal, facts, options::Options},
    Core,
    planning::{self, Answer, FileRead, Looked, Outcome, Planned, Purpose, Reading, ToApply},
    works::{Applying, Change, Doing, Woken, Work},
};
use crate::{
    ask::{ClientId, FileToApply, Reply},
    control::{Author, BuiltOn, Ground, LinkFacts, Others, ReservedFor, Step, Wanted},
    model::{
        ApplyOptions, ConfigFile, ConfigStatus, DumpFilter, DumpRow, Op, PlanRow, Refusal, RunLine,
        RunOption, Status,
        settings::run::{self, RunOptions},
        write,
    },
};

/// Changes for one file that have a line each in the log.
const CHANGES_LOGGED: usize = 1_000;

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
        let purpose = Purpose::Apply {
            options,
            client,
            reply,
        };
        if options.own {
            self.read_own(purpose);
            return;
        }
        let check = RunCheck::of(&self.options);
        self.planning.read(purpose, self.ground(), move || {
            check.check(run.as_ref())?;
            let file = ConfigFile {
                lines,
                ..ConfigFile::default()
            };
            Ok((file, None))
        });
    }

    /// Applies the daemon's own file again.
    pub(super) fn reload(&mut self, reply: Answer) {
        self.read_own(Purpose::Apply {
            options: ApplyOptions::default(),
            client: None,
            reply,
        });
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
            stamps: None,
        };
        self.works.push(Work::applying(to_apply, reply));
    }

    /// Begins to read the daemon's own file.
    fn read_own(&mut self, purpose: Purpose) {
        let read = self.config.as_ref().map(Configuration::reader);
        let check = RunCheck::of(&self.options);
        self.planning.read(purpose, self.ground(), move || {
            let read = read.ok_or_else(|| {
                Refusal::not_found(
                    "the daemon was started without a configuration file; name one with: vtep apply FILE",
                )
            })?;
            let (file, stamps) = read().map_err(Refusal::invalid)?;
            check.check(file.run.as_ref())?;
            Ok((file, Some(stamps)))
        });
    }

    /// Goes on with a file that was read.
    pub(super) async fn has_read(&mut self, reading: Reading) {
        let Reading { purpose, read } = reading;
        match (purpose, read) {
            (Purpose::Status, read) => self.look(read).await,
            (Purpose::Apply { reply, .. }, Err(refusal)) => drop(reply.send(Err(refusal))),
            (
                Purpose::Apply {
                    options,
                    client,
                    reply,
                },
                Ok(FileRead { wanted, stamps }),
            ) => {
                let built_on = if options.force {
                    BuiltOn::Take
                } else {
                    BuiltOn::Refuse
                };
                let to_apply = ToApply {
                    wanted,
                    options,
                    built_on,
                    stamps,
                };
                let work = Work::applying(to_apply, reply);
                self.works.push(Work { client, ..work });
            }
        }
    }

    /// Has a plan made for a file. Until it is there, and done, nobody else changes anything.
    pub(super) async fn begin_to_apply(&mut self, work: Work, to_apply: ToApply) {
        let links = match self.links_for(&to_apply.wanted.ports()).await {
            Ok(links) => links,
            Err(refusal) => {
                work.answer(Err(refusal));
                return;
            }
        };
        let ApplyOptions { dry_run, drift, .. } = to_apply.options;
        self.works.alone = !dry_run && !drift;
        let planned = planning::plan(self.state.clone(), to_apply, links);
        let woken = planned.map(|planned| Woken::Planned(Box::new(planned)));
        self.works.wait(work, woken);
    }

    /// Begins to carry out a plan.
    pub(super) fn planned(&mut self, mut work: Work, planned: Result<Planned, Refusal>) {
        let planned = planned.and_then(|planned| {
            let Planned {
                outcome,
                before,
                stamps,
            } = planned;
            Ok((outcome?, before, stamps))
        });
        let (plan, before, stamps) = match planned {
            Ok((Outcome::Do(plan), before, stamps)) if !work.reply.is_closed() => {
                (plan, before, stamps)
            }
            planned => {
                self.works.alone = false;
                work.answer(planned.map(|(outcome, ..)| Reply::Plan(outcome.into_rows())));
                return;
            }
        };
        let rows: Vec<PlanRow> = plan.rows().cloned().collect();
        work.changes = changes(plan.steps);
        work.applying = Some(Applying::Doing(Box::new(Doing {
            rows,
            before,
            stamps,
        })));
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
        self.works.push(work);
    }

    /// Finds out which changes of a batch would be refused.
    pub(super) async fn rehearse(&self, batch: Vec<(u64, Op)>, reply: Answer) {
        let ports = batch.iter().filter_map(|(_, op)| op.new_port());
        let ports = ports.map(str::to_owned).collect();
        let links = match self.links_for(&ports).await {
            Ok(links) => links,
            Err(refusal) => {
                drop(reply.send(Err(refusal)));
                return;
            }
        };
        let copy = self.state.clone();
        spawn_blocking(move || {
            let tried = copy.try_batch(&batch, &links);
            drop(reply.send(Ok(Reply::Rehearsed(tried))));
        });
    }

    /// The interfaces that are to be ports, those that there are.
    async fn links_for(
        &self,
        ports: &HashSet<String>,
    ) -> Result<HashMap<String, LinkFacts>, Refusal> {
        let mut found = HashMap::new();
        for link in self.netlink.links().await.map_err(internal)? {
            if ports.contains(&link.name) {
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
                if let (Some(stamps), Some(config)) = (doing.stamps, &mut self.config) {
                    config.note(stamps, self.changes, true);
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

    /// Answers with the status, once it is known whether what is set is what the file says.
    pub(super) fn answer_status(&mut self, status: Status, reply: Answer) {
        let config = self.config.as_ref();
        let known = config.map(|config| config.known(self.changes));
        match known {
            Some(None) => {
                if self.planning.wait((Box::new(status), reply)) {
                    self.read_own(Purpose::Status);
                }
            }
            Some(Some(in_step)) => send_status(status, self.config_status(Ok(in_step)), reply),
            None => send_status(status, None, reply),
        }
    }

    /// Looks whether what is set is what the file says.
    async fn look(&mut self, read: Result<FileRead, Refusal>) {
        let read = match read {
            Ok(read) => {
                let links = self.links_for(&read.wanted.ports()).await;
                links.map(|links| (read, links))
            }
            Err(refusal) => Err(refusal),
        };
        let changes = self.changes;
        let looked = match read {
            Ok((read, links)) => {
                let copy = self.state.clone();
                planning::look(copy, changes, read, links).boxed_local()
            }
            Err(refusal) => {
                let in_step = Err(refusal);
                std::future::ready(Looked { changes, in_step }).boxed_local()
            }
        };
        self.planning.looks.push(looked);
    }

    /// Answers those who asked whether what is set is what the file says.
    pub(super) fn has_looked(&mut self, looked: Looked) {
        let Looked { changes, in_step } = looked;
        let in_step = in_step.map(|(in_step, stamps)| {
            if let (Some(config), Some(stamps)) = (&mut self.config, stamps) {
                config.note(stamps, changes, in_step);
            }
            in_step
        });
        let config = self.config_status(in_step);
        let (askers, again) = self.planning.looked();
        for (status, reply) in askers {
            send_status(*status, config.clone(), reply);
        }
        if again {
            self.read_own(Purpose::Status);
        }
    }

    fn config_status(&self, in_step: Result<bool, Refusal>) -> Option<ConfigStatus> {
        let config = self.config.as_ref()?;
        Some(ConfigStatus {
            file: config.path().display().to_string(),
            in_step: *in_step.as_ref().unwrap_or(&false),
            error: in_step.err().map(|refusal| refusal.message),
        })
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

/// What a line `run` may say: what the daemon was started with.
struct RunCheck {
    run: RunOptions,
    typed: Vec<RunOption>,
}

impl RunCheck {
    fn of(options: &Options) -> Self {
        Self {
            run: options.run.clone(),
            typed: options.typed.clone(),
        }
    }

    /// Refuses options that are others than the daemon has.
    fn check(&self, line: Option<&RunLine>) -> Result<(), Refusal> {
        let Some(RunLine { at, options }) = line else {
            return Ok(());
        };
        let wanted = run::options(options, &self.typed);
        let wanted = wanted.map_err(|bad| Refusal::from(bad).at_place(at))?;
        let changed = run::changed(&self.run, &wanted);
        if changed.is_empty() {
            return Ok(());
        }
        Err(Refusal::conflict(format!(
            "{at}: {} cannot change while the daemon runs; stop it and start it again with: vtep run --config FILE",
            changed.join(" and ")
        )))
    }
}

fn send_status(status: Status, config: Option<ConfigStatus>, reply: Answer) {
    let status = Status { config, ..status };
    // Nobody may be there any more to take it.
    drop(reply.send(Ok(Reply::Status(Box::new(status)))));
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
