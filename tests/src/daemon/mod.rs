//! A `vtep run` process and the command line that talks to it.

pub mod binary;
pub mod monitor;
pub mod refusal;
pub mod samples;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;

use crate::encoder::Mac;
use crate::lab::ns::{self, Ns};
use crate::pty::Pty;
use crate::wait::{DEADLINE, poll, until};

static SHOW: OnceLock<Show> = OnceLock::new();
static OUTLIVES: AtomicBool = AtomicBool::new(false);

/// What is done with the name of a hypervisor and a command that is given there.
type Show = Box<dyn Fn(&str, &str) + Send + Sync>;

/// Has `show` told every command that this process gives from now on: the namespace of the hypervisor, and what one would type there.
///
/// # Panics
///
/// If it was called before.
pub fn show_commands(show: impl Fn(&str, &str) + Send + Sync + 'static) {
    let set = SHOW.set(Box::new(show));
    assert!(set.is_ok(), "commands are shown in one way");
}

/// Has every daemon that this process starts from now on outlive it, and not be ended by Ctrl-C on its terminal.
pub fn outlive_this_process() {
    OUTLIVES.store(true, Ordering::Relaxed);
}

/// One instance: what runs, what it is called, what it said.
#[derive(Debug)]
pub struct Daemon {
    binary: Mutex<PathBuf>,
    instance: String,
    args: Vec<String>,
    namespace: PathBuf,
    child: Mutex<Option<Child>>,
    log: PathBuf,
}

impl Daemon {
    /// Starts `vtep run ARGS` in `ns` and waits until it answers.
    #[must_use]
    pub fn start(ns: &Ns, args: &[&str]) -> Self {
        Self::start_build(binary::in_use(), ns, args)
    }

    /// The same with another build of `vtep`, for the daemon and for every command to it.
    #[must_use]
    pub fn start_build(binary: &Path, ns: &Ns, args: &[&str]) -> Self {
        let daemon = Self::of_build(binary, ns, &ns::unique("i"), args);
        daemon.run();
        daemon
    }

    /// An instance that does not run yet.
    #[must_use]
    pub fn named(ns: &Ns, instance: &str, args: &[&str]) -> Self {
        Self::of_build(binary::vtep(), ns, instance, args)
    }

    fn of_build(binary: &Path, ns: &Ns, instance: &str, args: &[&str]) -> Self {
        mount_bpffs();
        Self {
            binary: Mutex::new(binary.to_owned()),
            instance: instance.to_owned(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            namespace: ns.path(),
            child: Mutex::new(None),
            log: std::env::temp_dir().join(format!("{instance}.log")),
        }
    }

    /// Has every start and every command from now on be of another build.
    pub fn set_build(&self, binary: &Path) {
        binary.clone_into(&mut self.binary.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn binary(&self) -> PathBuf {
        let binary = self.binary.lock();
        binary.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its name.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The socket that it serves.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        PathBuf::from("/run/vtep").join(format!("{}.sock", self.instance))
    }

    /// The directory of its pins.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        PathBuf::from("/sys/fs/bpf/vtep").join(&self.instance)
    }

    /// The command that runs it, not started.
    #[must_use]
    pub fn run_command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace.display()))
            .arg(self.binary());
        command
            .arg("run")
            .args(&self.args)
            .args(["--instance", &self.instance])
            .envs(binary::environment());
        command
    }

    /// Runs a command that should start the daemon and should be refused; returns how it ended.
    ///
    /// # Panics
    ///
    /// If it starts.
    #[track_caller]
    pub fn refused_start(&self, mut command: Command) -> Output {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("start the daemon");
        let ended = poll(DEADLINE, || {
            child.try_wait().expect("ask for the child's state")
        });
        if ended.is_none() {
            drop(child.kill());
        }
        let out = child.wait_with_output().expect("read what the daemon said");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(ended.is_some(), "{command:?} was not refused:\n{said}");
        out
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    ///
    /// If it ends or does not answer in time.
    #[track_caller]
    pub fn run(&self) {
        if let Err(said) = self.try_run() {
            panic!("vtep run {said}");
        }
    }

    /// Starts it and waits until it answers; returns what it says if it ends instead.
    ///
    /// # Errors
    ///
    /// If it ends or does not answer in time.
    pub fn try_run(&self) -> Result<(), String> {
        let log = || {
            File::options()
                .create(true)
                .append(true)
                .open(&self.log)
                .expect("a log")
        };
        let mut command = self.run_command();
        command
            .stdin(std::process::Stdio::null())
            .stdout(log())
            .stderr(log());
        let outlives = OUTLIVES.load(Ordering::Relaxed);
        // SAFETY: both are safe to call between fork and exec; a daemon must not outlive its test.
        unsafe {
            command.pre_exec(move || {
                if outlives {
                    libc::setsid();
                } else {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                }
                Ok(())
            });
        }
        self.show(&format!("run {}", self.args.join(" ")));
        let child = command.spawn().expect("start the daemon");
        *self.child() = Some(child);
        let answered = poll(DEADLINE, || {
            if let Some(status) = self.ended() {
                return Some(Err(format!("ended with {status}:\n{}", self.log())));
            }
            self.vtep("vni show -j").status.success().then_some(Ok(()))
        });
        let late = || Err(format!("did not answer in {DEADLINE:?}:\n{}", self.log()));
        answered.unwrap_or_else(late)
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child()
            .as_mut()?
            .try_wait()
            .expect("ask for the child's state")
    }

    /// Its process id.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child().as_ref().expect("a running daemon").id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).expect("a process id");
        // SAFETY: plain call on a child that has not been waited for, so the id is still its own.
        unsafe { libc::kill(pid, signal) };
    }

    /// Kills it as a crash would.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn kill(&self) {
        let mut child = self.child().take().expect("a running daemon");
        child.kill().expect("kill the daemon");
        child.wait().expect("wait for the daemon");
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Panics
    ///
    /// If it does not run or does not stop.
    pub fn stop(&self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        let status = until("the daemon to stop", || self.ended());
        self.child().take();
        status
    }

    /// What it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs `vtep ARGS` for this instance; the arguments are one string, parted at spaces.
    #[must_use]
    pub fn vtep(&self, args: &str) -> Output {
        self.vtep_input(args, "")
    }

    /// Runs `vtep ARGS` with something on its standard input.
    #[must_use]
    pub fn vtep_input(&self, args: &str, input: &str) -> Output {
        let mut command = Command::new(self.binary());
        command
            .args(args.split_whitespace())
            .args(["--instance", &self.instance])
            .envs(binary::environment());
        ns::with_input(&mut command, input)
    }

    /// Shows a command where that is wanted, see [`show_commands`].
    fn show(&self, args: &str) {
        if let Some(show) = SHOW.get() {
            let here = self.namespace.file_name().unwrap_or_default();
            show(
                &here.to_string_lossy(),
                &format!("vtep {}", args.trim_end()),
            );
        }
    }

    /// Runs `vtep ARGS` on a terminal of so many columns; returns what stands on it.
    ///
    /// # Panics
    ///
    /// If it does not succeed.
    #[must_use]
    #[track_caller]
    pub fn on_terminal(&self, args: &str, columns: u16) -> String {
        let mut command = Command::new(self.binary());
        command
            .args(args.split_whitespace())
            .args(["--instance", &self.instance])
            .envs(binary::environment());
        let (status, text) = Pty::run(command, 200, columns).whole();
        assert!(status.success(), "vtep {args}: {status}: {text}");
        text
    }

    /// The command to type for `vtep ARGS`.
    #[must_use]
    pub fn to_type(&self, args: &str) -> String {
        format!(
            "{} {args} --instance {}",
            self.binary().display(),
            self.instance
        )
    }

    /// The commands to type that take it away, by one who goes and leaves it running.
    #[must_use]
    pub fn removal(&self) -> String {
        let (teardown, log) = (self.to_type("teardown"), self.log.display());
        format!("{teardown}; kill {}; rm {log}", self.pid())
    }

    /// Runs `vtep ARGS` and insists on success.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[track_caller]
    pub fn ok(&self, args: &str) -> String {
        self.show(args);
        self.printed(args)
    }

    /// What `vtep ARGS` prints; it has to succeed.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[must_use]
    #[track_caller]
    pub fn printed(&self, args: &str) -> String {
        let out = self.vtep(args);
        let [stdout, stderr] =
            [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(
            out.status.success(),
            "vtep {args}: {}: {stderr}{stdout}",
            out.status
        );
        stdout
    }

    /// The rows that `vtep ARGS -j` prints.
    ///
    /// # Panics
    ///
    /// If it is refused or does not print a JSON array.
    #[must_use]
    #[track_caller]
    pub fn rows(&self, args: &str) -> Vec<Value> {
        let text = self.printed(&format!("{args} -j"));
        match serde_json::from_str(&text) {
            Ok(Value::Array(rows)) => rows,
            other => panic!("vtep {args} -j printed no array: {other:?}: {text}"),
        }
    }

    /// Every table, for comparing before and after; ages, and whether VTEPs were heard, which only time changes, are left out.
    #[must_use]
    #[track_caller]
    pub fn tables(&self) -> Vec<(&'static str, Vec<Value>)> {
        ["vni", "port", "fdb", "peer", "neigh", "nexthop"]
            .map(|table| (table, self.table(table)))
            .into()
    }

    /// The rows of one table in a fixed order, without their ages and without when VTEPs were heard.
    #[must_use]
    #[track_caller]
    pub fn table(&self, table: &str) -> Vec<Value> {
        let mut rows = self.rows(&format!("{table} show"));
        for row in &mut rows {
            if let Some(row) = row.as_object_mut() {
                row.remove("age_s");
                row.remove("last_heard_s");
                if row.get("state").is_some_and(|state| state == "silent") {
                    row.insert("state".into(), "resolved".into());
                }
            }
        }
        rows.sort_by_key(ToString::to_string);
        rows
    }

    /// The FDB's row of a MAC, if there is one.
    #[must_use]
    pub fn fdb(&self, vni: u32, mac: Mac) -> Option<Value> {
        let out = self.vtep(&format!("fdb get {mac} --vni {vni} -j"));
        let rows: Vec<Value> = serde_json::from_slice(&out.stdout).ok()?;
        rows.into_iter().next()
    }

    /// The neigh row of a host, if there is one.
    #[must_use]
    #[track_caller]
    pub fn neigh(&self, vni: u32, ip: IpAddr) -> Option<Value> {
        let rows = self.rows(&format!("neigh show --vni {vni}"));
        rows.into_iter()
            .find(|row| row["ip"] == ip.to_string().as_str())
    }

    /// What the API says of the daemon itself.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> Value {
        self.ask("GET", "/v1/status", None)
    }

    /// Asks the API without the command line, which takes longer to start than the API to answer.
    ///
    /// # Panics
    ///
    /// If it refuses or does not answer in JSON, where it answers with anything.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        match self.ask_text(method, path, body).as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}")),
        }
    }

    /// Its metrics, as Prometheus gets them.
    #[must_use]
    #[track_caller]
    pub fn metrics(&self) -> String {
        self.ask_text("GET", "/metrics", None)
    }

    #[track_caller]
    fn ask_text(&self, method: &str, path: &str, body: Option<&Value>) -> String {
        let mut socket = UnixStream::connect(self.socket()).expect("connect to the API");
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: vtep\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).expect("ask the API");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
        body.to_owned()
    }

    /// Number of FDB entries.
    ///
    /// # Panics
    ///
    /// If the API does not say.
    #[must_use]
    #[track_caller]
    pub fn fdb_len(&self) -> u64 {
        self.status()["fdb"].as_u64().expect("a number of entries")
    }

    /// Packets counted under a reason at every hook, wherever they were not split further.
    #[must_use]
    #[track_caller]
    pub fn dropped(&self, reason: &str) -> u64 {
        let rows = self.rows("drops");
        rows.iter()
            .filter(|row| row["reason"] == reason)
            .map(|row| row["packets"].as_u64().expect("packets is a number"))
            .sum()
    }

    /// Waits until `reason` has been counted `want` times.
    ///
    /// # Panics
    ///
    /// If it has not in time, or more often.
    #[track_caller]
    pub fn expect_dropped(&self, reason: &str, want: u64) {
        let reached = poll(DEADLINE, || (self.dropped(reason) >= want).then_some(()));
        let now = self.dropped(reason);
        assert!(
            reached.is_some() && now == want,
            "{reason} was counted {now} times, not {want}: {}",
            Value::from(self.rows("drops")),
        );
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child().take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("---- {} ----\n{}", self.instance, self.log());
        }
        // Where it ran; elsewhere it is refused.
        let teardown = Command::new("nsenter")
            .arg(format!("--net={}", self.namespace.display()))
            .arg(self.binary())
            .args(["teardown", "--instance", &self.instance])
            .envs(binary::environment())
            .output();
        if std::thread::panicking() {
            eprintln!("teardown: {teardown:?}");
        }
        drop(fs::remove_dir_all(self.pins()));
        drop(fs::remove_file(self.socket()));
        drop(fs::remove_file(&self.log));
    }
}

/// Mounts bpffs where it belongs, unless it is there.
///
/// # Panics
///
/// If it cannot be mounted.
pub fn mount_bpffs() {
    let mounts = fs::read_to_string("/proc/mounts").expect("read the mounts");
    if !mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some("/sys/fs/bpf"))
    {
        ns::done(
            Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"]),
            "",
        );
    }
}
