//! What takes long with many entries is done beside the core, on other threads: reading a configuration file, and planning on a
//! copy of the state.

use futures::{
    FutureExt as _,
    future::LocalBoxFuture,
    stream::{FuturesOrdered, FuturesUnordered},
};
use tokio::{sync::oneshot, task::spawn_blocking};

use super::super::configuration::Stamps;
use crate::{
    ask::{ClientId, Reply},
    control::{BuiltOn, Ground, Links, Plan, State, Wanted},
    model::{ApplyOptions, ConfigFile, PlanRow, Refusal, Status},
};

/// Where an answer goes.
pub(super) type Answer = oneshot::Sender<Result<Reply, Refusal>>;

/// What a file is read for.
pub(super) enum Purpose {
    /// It is to be applied.
    Apply {
        options: ApplyOptions,
        client: Option<ClientId>,
        reply: Answer,
    },
    /// Somebody asks whether what is set is in step with it.
    Status,
}

/// A file that was read, or why it cannot be had.
pub(super) struct Reading {
    pub(super) purpose: Purpose,
    pub(super) read: Result<FileRead, Refusal>,
}

/// A file that was read.
pub(super) struct FileRead {
    pub(super) wanted: Wanted,
    /// How it was, if it is the daemon's own.
    pub(super) stamps: Option<Stamps>,
}

/// What was found out for those who ask whether what is set is in step with the file.
pub(super) struct Looked {
    /// How many changes there had been.
    pub(super) changes: u64,
    pub(super) in_step: Result<(bool, Option<Stamps>), Refusal>,
}

/// Somebody who waits for the status.
pub(super) type Asker = (Box<Status>, Answer);

/// What is being read and looked at.
#[derive(Default)]
pub(super) struct Planning {
    /// Files, in the order in which they were asked for.
    pub(super) reads: FuturesOrdered<LocalBoxFuture<'static, Reading>>,
    /// Whether what is set is in step.
    pub(super) looks: FuturesUnordered<LocalBoxFuture<'static, Looked>>,
    /// Those who wait for the look that is under way.
    asking: Vec<Asker>,
    /// Those who asked since it began: the file may have changed meanwhile.
    later: Vec<Asker>,
}

impl Planning {
    /// Begins to read a file.
    pub(super) fn read(
        &mut self,
        purpose: Purpose,
        ground: Ground,
        read: impl FnOnce() -> Result<(ConfigFile, Option<Stamps>), Refusal> + Send + 'static,
    ) {
        let reading = spawn_blocking(move || {
            let (file, stamps) = read()?;
            let wanted = Wanted::of(file.lines, ground)?;
            Ok(FileRead { wanted, stamps })
        });
        let read = async move {
            let read = reading.await.unwrap_or_else(|_| Err(undone()));
            Reading { purpose, read }
        };
        self.reads.push_back(read.boxed_local());
    }

    /// Takes on somebody who wants to know whether what is set is in step; true if it is to be looked at.
    pub(super) fn wait(&mut self, asker: Asker) -> bool {
        if self.asking.is_empty() {
            self.asking.push(asker);
            return true;
        }
        self.later.push(asker);
        false
    }

    /// Those who waited for a look that has ended; true if others wait for the next.
    pub(super) fn looked(&mut self) -> (Vec<Asker>, bool) {
        let answered = std::mem::replace(&mut self.asking, std::mem::take(&mut self.later));
        (answered, !self.asking.is_empty())
    }
}

/// A configuration file that is to be applied.
pub(super) struct ToApply {
    pub(super) wanted: Wanted,
    pub(super) options: ApplyOptions,
    pub(super) built_on: BuiltOn,
    /// How the file was, if it is the daemon's own.
    pub(super) stamps: Option<Stamps>,
}

/// What a file takes, as it was found on a copy of the state.
pub(super) struct Planned {
    pub(super) outcome: Result<Outcome, Refusal>,
    /// The copy.
    pub(super) before: State,
    pub(super) stamps: Option<Stamps>,
}

/// What comes of a file.
pub(super) enum Outcome {
    /// It is only shown.
    Show(Vec<PlanRow>),
    /// It is to be done.
    Do(Plan),
}

impl Outcome {
    pub(super) fn into_rows(self) -> Vec<PlanRow> {
        match self {
            Self::Show(rows) => rows,
            Self::Do(plan) => plan.into_rows(),
        }
    }
}

/// Plans on a copy of the state.
pub(super) async fn plan(
    before: State,
    to_apply: ToApply,
    links: impl Links + Send + 'static,
) -> Result<Planned, Refusal> {
    let planned = spawn_blocking(move || {
        let ToApply {
            wanted,
            options,
            built_on,
            stamps,
        } = to_apply;
        let outcome = if options.drift {
            before.drift(&wanted).map(Outcome::Show)
        } else {
            let plan = before.plan_for(&wanted, &links, built_on);
            plan.map(|plan| {
                if options.dry_run {
                    Outcome::Show(plan.into_rows())
                } else {
                    Outcome::Do(plan)
                }
            })
        };
        Planned {
            outcome,
            before,
            stamps,
        }
    });
    planned.await.map_err(|_| undone())
}

/// Whether what is set is what a file says, of a copy of the state.
pub(super) async fn look(
    state: State,
    changes: u64,
    read: FileRead,
    links: impl Links + Send + 'static,
) -> Looked {
    let looked = spawn_blocking(move || {
        let plan = state.plan_for(&read.wanted, &links, BuiltOn::Take)?;
        Ok((plan.steps.is_empty(), read.stamps))
    });
    Looked {
        changes,
        in_step: looked.await.unwrap_or_else(|_| Err(undone())),
    }
}

fn undone() -> Refusal {
    Refusal::internal("the request was left undone")
}
