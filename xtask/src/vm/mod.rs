//! `cargo xtask test vm`: the tests that depend on the kernel, in guests with other kernels and network cards.
//!
//! | to change | look in |
//! |---|---|
//! | which tests run, and for how long | `plan.rs` |
//! | which cards there are, and what is between them | `card.rs` |
//! | which kernels, and what of them | `kernel.rs`; where packages come from: `apt.rs`, `package.rs` |
//! | what is in a guest | `root.rs`, `initrd.rs`, `init.sh`, `guest.service`; its form: `cpio.rs`; the tests: `build.rs` |
//! | the machine | `qemu.rs`; how it is run and ended: `guest.rs` |
//! | what is read of what it says | `verdict.rs` |
//! | the page with the results | `report.rs` |
//! | virtual machines of this host's hypervisors | `machines.rs`, `machine.sh` |

mod apt;
mod build;
mod card;
mod cpio;
mod guest;
mod initrd;
mod kernel;
pub(crate) mod machines;
mod package;
mod plan;
mod qemu;
mod report;
mod root;
mod verdict;

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    io::Write as _,
    num::NonZero,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use self::{
    apt::Apt,
    build::Built,
    kernel::Kernel,
    plan::Job,
    report::{Head, Row},
    verdict::Verdict,
};
use crate::{
    progress::SetupStep,
    setup,
    shell::{Result, doing, repository, said, target_dir},
    test::Tally,
    toolchain::Machine,
};

/// The oldest kernel that vtep takes.
pub(crate) const OLDEST: &str = "6.1";

/// The kernels that everything is run on: the oldest that vtep takes, those of Debian's releases since, and the newest.
const KERNELS: [&str; 4] = [OLDEST, "6.12", "6.18", kernel::NEWEST];

/// What a guest needs of this machine, and the Debian package of each.
const PROGRAMS: [(&str, &str); 7] = [
    qemu::PROGRAM,
    ("apt-get", "apt"),
    ("depmod", "kmod"),
    ("dpkg-deb", "dpkg"),
    ("setpriv", "util-linux"),
    ("strip", "binutils"),
    ("tar", "tar"),
];

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Wanted {
    /// Kernels: the beginning of a version that Debian has (`6.12`), `newest`, or package files (`image.deb,modules.deb`).
    /// Without any: 6.1, 6.12, 6.18 and the newest.
    kernels: Vec<String>,
    /// Only the test targets and cards that have this in their names; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Only the tests whose names have this in them, as `cargo test` takes it.
    #[arg(long)]
    test: Option<String>,
    /// Only the few that run on every change.
    #[arg(long)]
    brief: bool,
    /// Guests at a time; without it one for each processor.
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
    /// Write the results to docs/results/DATE-NAME.md.
    #[arg(long, value_name = "NAME")]
    record: Option<String>,
}

impl Wanted {
    /// What runs on every change.
    pub(crate) fn of_every_change() -> Self {
        Self {
            kernels: vec![OLDEST.to_owned()],
            brief: true,
            ..Self::default()
        }
    }
}

/// Runs the verb.
pub(crate) fn run(wanted: &Wanted) -> Result<()> {
    let Wanted {
        kernels,
        only,
        test,
        brief,
        jobs: at_a_time,
        record,
    } = wanted;
    let jobs = plan::jobs(only, test.as_deref(), *brief);
    if jobs.is_empty() {
        return said("no test target and no card has that in its name");
    }
    setup::ensure()?;
    setup::programs("programs for guests", &PROGRAMS)?;
    let kernels: Vec<&str> = if kernels.is_empty() {
        KERNELS.to_vec()
    } else {
        kernels.iter().map(String::as_str).collect()
    };
    let cache = Machine::from_env().cache.join("vm");
    let is_managed = jobs.iter().any(Job::is_managed);
    let (roots, kernels) = parts(&cache, &kernels, is_managed)?;
    let dir = Scratch::new(&target_dir()?.join("vm"))?;
    let names: BTreeSet<_> = jobs.iter().map(|job| job.target).collect();
    let names: Vec<_> = names.into_iter().collect();
    let built = Built::new(&names, is_managed, &dir.0.join("built"))?;

    let todo: VecDeque<_> = kernels
        .iter()
        .flat_map(|kernel| jobs.iter().map(move |job| (kernel, job)))
        .collect();
    let at_a_time = at_a_time.map_or_else(
        || thread::available_parallelism().map_or(1, NonZero::get),
        NonZero::get,
    );
    let bench = Bench {
        roots: &roots,
        built: &built,
        dir: &dir.0,
        limit: plan::host_limit(*brief),
    };
    let page = record.as_deref().map(Page::new).transpose()?;
    // After each guest, so that a run that is ended early leaves what it has found.
    let record = |rows: &[Row<'_>]| {
        page.as_ref()
            .map_or(Ok(()), |page| page.write(&kernels, rows))
    };
    let rows = bench.all(todo, at_a_time, record)?;
    finish(&rows)
}

/// Root file systems for guests.
struct Roots {
    plain: PathBuf,
    /// The one with a service manager, where a guest wants it.
    managed: Option<PathBuf>,
}

/// The root file systems and the kernels, from the cache where they are in it.
fn parts(cache: &Path, wanted: &[&str], is_managed: bool) -> Result<(Roots, Vec<Kernel>)> {
    fs::create_dir_all(cache).map_err(doing(format!("make {}", cache.display())))?;
    let apt = SetupStep::run("lists of Debian's packages", |_| {
        Ok((Apt::new(cache)?, String::new()))
    })?;
    let roots = SetupStep::run("root file system for guests", |_| {
        let plain = root::archive(&apt, cache)?;
        let managed = is_managed.then(|| root::managed(&apt, cache)).transpose()?;
        let word = plain.display().to_string();
        Ok((Roots { plain, managed }, word))
    })?;
    let kernel = |wanted: &&str| {
        SetupStep::run(format!("kernel {wanted}"), |_| {
            let kernel = Kernel::get(&apt, cache, wanted)?;
            let word = kernel.release.clone();
            Ok((kernel, word))
        })
    };
    let kernels = wanted.iter().map(kernel).collect::<Result<Vec<_>>>()?;
    Ok((roots, kernels))
}

/// Shows the sum.
fn finish(rows: &[Row<'_>]) -> Result<()> {
    let mut sum = Tally::default();
    let mut bad = 0;
    println!();
    for row in rows {
        sum += row.verdict.tally;
        for note in &row.verdict.notes {
            println!("{} {}: {note}", row.kernel.release, row.job.name());
        }
        if !row.verdict.is_good() {
            bad += 1;
            let (release, name) = (&row.kernel.release, row.job.name());
            println!("{release} {name}: {}; see", row.verdict.end());
            for file in &row.verdict.said_in {
                println!("  {}", file.display());
            }
        }
    }
    println!("{sum}");
    if bad == 0 {
        Ok(())
    } else {
        said(format!("{bad} of {} guests ended badly", rows.len()))
    }
}

/// The page with the results.
struct Page {
    file: PathBuf,
    head: Head,
}

impl Page {
    fn new(name: &str) -> Result<Self> {
        let head = Head::now()?;
        let file = repository().join(format!("docs/results/{}-{name}.md", head.date));
        Ok(Self { file, head })
    }

    fn write(&self, kernels: &[Kernel], rows: &[Row<'_>]) -> Result<()> {
        fs::write(&self.file, report::page(&self.head, kernels, rows))
            .map_err(doing(format!("write {}", self.file.display())))
    }
}

/// What guests are made of, and where what they need lies while they run.
struct Bench<'a> {
    roots: &'a Roots,
    built: &'a Built,
    dir: &'a Path,
    limit: Duration,
}

/// What comes from the threads that run guests.
enum News<'a> {
    /// A guest says something.
    Said(String),
    /// A guest has ended.
    Ended(Row<'a>, u64),
}

/// Shows how a guest ended.
fn show(step: &SetupStep, row: &Row<'_>, seconds: u64) {
    let sign = if row.verdict.is_good() {
        "ok"
    } else {
        "FAILED"
    };
    let (release, name, end) = (&row.kernel.release, row.job.name(), row.verdict.end());
    step.part(sign, &format!("{release} {name}: {end} ({seconds} s)"));
}

impl Bench<'_> {
    /// Runs every guest, some at a time; the results are in the order of `todo`.
    fn all<'a>(
        &self,
        todo: VecDeque<(&'a Kernel, &'a Job)>,
        at_a_time: usize,
        record: impl Fn(&[Row<'a>]) -> Result<()>,
    ) -> Result<Vec<Row<'a>>> {
        let order: Vec<_> = todo.iter().copied().collect();
        let count = order.len();
        let todo = Mutex::new(todo);
        SetupStep::run(format!("{count} guests"), |step| {
            let (to, news) = mpsc::channel();
            thread::scope(|scope| {
                for _ in 0..at_a_time.min(count) {
                    let (to, todo) = (to.clone(), &todo);
                    scope.spawn(move || self.work(todo, &to));
                }
                drop(to);
                let mut rows: Vec<Row<'a>> = Vec::new();
                for news in news {
                    match news {
                        News::Said(line) => step.line(&line),
                        News::Ended(row, seconds) => {
                            show(step, &row, seconds);
                            rows.push(row);
                            rows.sort_by_key(|row| {
                                let of = |(kernel, job): &(&Kernel, &Job)| {
                                    std::ptr::eq(*kernel, row.kernel) && std::ptr::eq(*job, row.job)
                                };
                                order.iter().position(of)
                            });
                            record(&rows)?;
                        }
                    }
                }
                let word = format!("{} ended", rows.len());
                Ok((rows, word))
            })
        })
    }

    /// Runs guests as long as there are some to run.
    fn work<'a>(&self, todo: &Mutex<VecDeque<(&'a Kernel, &'a Job)>>, to: &mpsc::Sender<News<'a>>) {
        let next = || {
            todo.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        };
        while let Some((kernel, job)) = next() {
            let start = Instant::now();
            let verdict = self.one(kernel, job, to);
            let row = Row {
                kernel,
                job,
                verdict,
            };
            if to
                .send(News::Ended(row, start.elapsed().as_secs()))
                .is_err()
            {
                return;
            }
        }
    }

    /// Runs one guest. What it said is kept in a file if it did not end well.
    fn one(&self, kernel: &Kernel, job: &Job, to: &mpsc::Sender<News<'_>>) -> Verdict {
        let name = format!("{}-{}", kernel.release, job.name().replace([' ', ':'], "_"));
        let [initrd, console, log] =
            ["initrd", "console", "log"].map(|end| self.dir.join(format!("{name}.{end}")));
        let mut verdict = Verdict::default();
        let mut run = || -> Result<()> {
            let Roots { plain, managed } = self.roots;
            let managed = managed.as_ref().filter(|_| job.is_managed());
            initrd::write(&initrd, managed.unwrap_or(plain), kernel, self.built, job)?;
            let mut command = qemu::command(kernel, &initrd, &console, job.card);
            let mut log = fs::File::create(&log).map_err(doing("make the guest's log"))?;
            guest::run(&mut command, self.limit, |line| {
                // For people; that the disk is full shows elsewhere.
                drop(writeln!(log, "{line}"));
                if let Some(line) = verdict.read(line) {
                    let line = format!("{} {}: {line}", kernel.release, job.name());
                    drop(to.send(News::Said(line)));
                }
            })
        };
        if let Err(failure) = run() {
            verdict.notes.push(failure.to_string());
        }
        drop(fs::remove_file(&initrd));
        if verdict.is_good() {
            for file in [&console, &log] {
                drop(fs::remove_file(file));
            }
        } else {
            verdict.said_in = vec![log, console];
        }
        verdict
    }
}

/// A directory for a run, cleared at its start; what is built for guests goes at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(dir: &Path) -> Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(doing("clear what an earlier run left"))?;
        }
        fs::create_dir_all(dir).map_err(doing(format!("make {}", dir.display())))?;
        Ok(Self(dir.to_owned()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(self.0.join("built")));
    }
}
