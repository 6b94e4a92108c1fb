//! Two hypervisors with a virtual machine each, in network namespaces of their own.
//!
//! ```text
//! vm-a eth0 ── vm0 hv-a eth0 ──[ router ]── eth0 hv-b vm0 ── eth0 vm-b
//! ```
//!
//! Everything has this process's id in its name, and goes away with the [`Lab`].

use std::{
    env, fs,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    shell::{self, Failure, Result, doing, quiet, said, starting, text, uninterrupted},
    traffic,
};

/// The segment of both virtual machines.
const VNI: u32 = 100;

/// The port that the machine's interface is, on its hypervisor.
pub(crate) const PORT: &str = "vm0";

/// How long anything may take that should take no time.
const DEADLINE: Duration = Duration::from_secs(20);

/// The largest frame body of a virtual machine that fits an underlay of 1500 bytes.
const MACHINE_MTU: u32 = 1450;

/// Where a sink listens.
const SINK_PORT: u16 = 5001;

/// One of the two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    const fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }

    /// The address of the virtual machine.
    pub(crate) const fn machine(self) -> &'static str {
        match self {
            Self::A => "10.0.0.1",
            Self::B => "10.0.0.2",
        }
    }

    /// The MAC address of the virtual machine.
    pub(crate) const fn mac(self) -> &'static str {
        match self {
            Self::A => "02:00:00:00:00:0a",
            Self::B => "02:00:00:00:00:0b",
        }
    }

    /// The hypervisor's underlay address.
    pub(crate) const fn vtep(self) -> &'static str {
        self.underlay().0
    }

    /// The hypervisor's underlay address, and the router's on the same link.
    const fn underlay(self) -> (&'static str, &'static str) {
        match self {
            Self::A => ("192.0.2.1", "192.0.2.254"),
            Self::B => ("198.51.100.2", "198.51.100.254"),
        }
    }
}

/// The namespaces, and what runs in them.
pub(crate) struct Lab {
    name: String,
    namespaces: Vec<String>,
    daemons: Vec<Daemon>,
    kept: bool,
}

impl Lab {
    /// Makes the namespaces, the links between them and their addresses.
    pub(crate) fn new(tag: &str) -> Result<Self> {
        shell::hold_interrupts()?;
        let name = format!("{tag}{}", std::process::id());
        let mut lab = Self {
            name,
            namespaces: Vec::new(),
            daemons: Vec::new(),
            kept: false,
        };
        lab.wire()?;
        Ok(lab)
    }

    fn wire(&mut self) -> Result<()> {
        for side in Side::BOTH {
            let (machine, hypervisor) = (self.machine(side), self.hypervisor(side));
            self.add_namespace(&machine)?;
            self.add_namespace(&hypervisor)?;
            ip(&format!(
                "link add {PORT} netns {hypervisor} mtu {MACHINE_MTU} type veth \
                 peer name eth0 netns {machine} mtu {MACHINE_MTU} address {}",
                side.mac()
            ))?;
            ip(&format!(
                "-n {machine} addr add {}/24 dev eth0",
                side.machine()
            ))?;
            ip(&format!("-n {machine} link set eth0 up"))?;
            ip(&format!("-n {hypervisor} link set {PORT} up"))?;
        }
        self.wire_through_router()?;
        for side in Side::BOTH {
            let (address, gateway) = side.underlay();
            let hypervisor = self.hypervisor(side);
            add_address(&hypervisor, "eth0", address)?;
            ip(&format!("-n {hypervisor} route add default via {gateway}"))?;
        }
        Ok(())
    }

    fn wire_through_router(&mut self) -> Result<()> {
        let router = format!("{}-router", self.name);
        self.add_namespace(&router)?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        quiet(inside(&router, Path::new("sh")).args(["-c", forward]))?;
        for side in Side::BOTH {
            let (hypervisor, link) = (self.hypervisor(side), side.letter());
            ip(&format!(
                "link add eth0 netns {hypervisor} type veth peer name {link} netns {router}"
            ))?;
            let (_, gateway) = side.underlay();
            add_address(&router, &link.to_string(), gateway)?;
        }
        Ok(())
    }

    fn add_namespace(&mut self, namespace: &str) -> Result<()> {
        uninterrupted()?;
        ip(&format!("netns add {namespace}"))?;
        self.namespaces.push(namespace.to_owned());
        ip(&format!("-n {namespace} link set lo up"))
    }

    /// The namespace of a hypervisor.
    pub(crate) fn hypervisor(&self, side: Side) -> String {
        format!("{}-hv-{}", self.name, side.letter())
    }

    /// The namespace of a virtual machine.
    pub(crate) fn machine(&self, side: Side) -> String {
        format!("{}-vm-{}", self.name, side.letter())
    }

    /// The daemon's instance on a hypervisor.
    pub(crate) fn instance(&self, side: Side) -> String {
        self.hypervisor(side)
    }

    /// Connects the machines; `said` sees each command line on its hypervisor.
    pub(crate) fn connect_by_vtep(
        &mut self,
        binary: &Path,
        mut said: impl FnMut(Side, &str),
    ) -> Result<()> {
        for side in Side::BOTH {
            uninterrupted()?;
            let line = format!("run --iface eth0 --local {}", side.vtep());
            said(side, &line);
            let daemon =
                Daemon::start(binary, &self.hypervisor(side), &self.instance(side), &line)?;
            self.daemons.push(daemon);
        }
        for side in Side::BOTH {
            for line in tables(side) {
                said(side, &line);
                self.ask(side, &line)?;
            }
        }
        Ok(())
    }

    /// Runs a `vtep` command for the daemon on one side, and returns what it prints.
    pub(crate) fn ask(&self, side: Side, line: &str) -> Result<String> {
        let instance = self.instance(side);
        match self
            .daemons
            .iter()
            .find(|daemon| daemon.instance == instance)
        {
            Some(daemon) => quiet(&mut daemon.client(line)),
            None => shell::said(format!("no daemon runs on {instance}")),
        }
    }

    /// Waits until a machine reaches the other.
    pub(crate) fn wait_until_connected(&self, from: Side) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let ping = self.ping(from, "-c 1 -W 1");
            if ping.is_ok() || Instant::now() > deadline {
                return ping.map(drop);
            }
            uninterrupted()?;
        }
    }

    /// Pings from a machine to the other.
    pub(crate) fn ping(&self, from: Side, options: &str) -> Result<String> {
        let mut ping = inside(&self.machine(from), Path::new("ping"));
        quiet(
            ping.args(options.split_whitespace())
                .arg(from.other().machine()),
        )
    }

    /// Sends so many bytes by TCP from a machine to the other; returns how many came, and the time that the receiver saw.
    pub(crate) fn transfer(&self, from: Side, bytes: u64) -> Result<(u64, Duration)> {
        let me = env::current_exe().map_err(doing("find this program"))?;
        // Each on a processor of its own: one that wanders has its segments overtake each other on the way.
        let end = |side: Side, args: &[String]| {
            let mut command = inside(&self.machine(side), Path::new("taskset"));
            let processor = if side == from { "0" } else { "1" };
            command.args(["--cpu-list", processor]).arg(&me);
            command.arg("traffic").args(args);
            command
        };
        let address: IpAddr = from
            .other()
            .machine()
            .parse()
            .map_err(|error| Failure::Said(format!("{}: {error}", from.other().machine())))?;
        let at = SocketAddr::new(address, SINK_PORT).to_string();

        let mut sink = End::spawn(&mut end(from.other(), &["sink".to_owned(), at.clone()]))?;
        sink.wait_for(traffic::LISTENING)?;
        let source = End::spawn(&mut end(
            from,
            &["source".to_owned(), at, bytes.to_string()],
        ))?;
        let printed = sink.finish()?;
        source.finish()?;
        match traffic::parse(&printed) {
            Some(measured) => Ok(measured),
            None => said(format!("the sink printed no result: {printed}")),
        }
    }

    /// Leaves everything as it is when this value goes.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    /// The commands that take a kept lab away.
    pub(crate) fn removal(&self) -> String {
        let mut lines: Vec<_> = self
            .daemons
            .iter()
            .flat_map(|daemon| {
                [
                    text(&daemon.client("teardown")),
                    format!("kill {}", daemon.child.id()),
                    format!("rm {}", daemon.log.display()),
                ]
            })
            .collect();
        lines.extend(
            self.namespaces
                .iter()
                .map(|namespace| format!("ip netns del {namespace}")),
        );
        lines.join("; ")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        for daemon in &mut self.daemons {
            daemon.stop();
        }
        for namespace in &self.namespaces {
            if let Err(failure) = ip(&format!("netns del {namespace}")) {
                eprintln!("left behind: namespace {namespace}: {failure}");
            }
        }
    }
}

/// Returns a command that runs `program` in a network namespace.
///
/// Not `ip netns exec`: that hides the BPF file system.
pub(crate) fn inside(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/run/netns/{namespace}"))
        .arg("--")
        .arg(program);
    command
}

/// The commands that fill a hypervisor's tables.
fn tables(side: Side) -> Vec<String> {
    let there = side.other().vtep();
    vec![
        format!("vni add {VNI} --mode l2"),
        format!("port add {PORT} --vni {VNI}"),
        format!("fdb add {} --vni {VNI} --dev {PORT}", side.mac()),
        format!("fdb append 00:00:00:00:00:00 --vni {VNI} --dst {there}"),
        format!("fdb add {} --vni {VNI} --dst {there}", side.other().mac()),
    ]
}

fn add_address(namespace: &str, device: &str, address: &str) -> Result<()> {
    ip(&format!(
        "-n {namespace} addr add {address}/24 dev {device}"
    ))?;
    ip(&format!("-n {namespace} link set dev {device} up"))
}

fn ip(line: &str) -> Result<()> {
    quiet(&mut shell::command(&format!("ip {line}"))).map(drop)
}

/// A running `vtep run`.
struct Daemon {
    binary: PathBuf,
    instance: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a daemon, and waits until it answers.
    fn start(binary: &Path, namespace: &str, instance: &str, line: &str) -> Result<Self> {
        let log = shell::target_dir()?.join(format!("{instance}.log"));
        let file = File::create(&log).map_err(doing(format!("make {}", log.display())))?;
        let errors = file.try_clone().map_err(doing("share the log"))?;
        let inner = inside(namespace, binary);
        // In a session of its own: Ctrl-C must not reach it before its tables are torn down.
        let mut command = Command::new("setsid");
        command
            .arg(inner.get_program())
            .args(inner.get_args())
            .args(line.split_whitespace())
            .args(["--instance", instance])
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors);
        let start = starting(&command);
        let child = command.spawn().map_err(start)?;
        let mut daemon = Self {
            binary: binary.to_owned(),
            instance: instance.to_owned(),
            child,
            log,
        };
        let ready = daemon.wait_until_ready();
        if ready.is_err() {
            daemon.stop();
        }
        ready.map(|()| daemon)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while let Err(failure) = quiet(&mut self.client("vni show -j")) {
            let gone = self
                .child
                .try_wait()
                .map_err(doing("look after the daemon"))?;
            if gone.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                return said(format!("the daemon does not answer:\n{log}\n{failure}"));
            }
            uninterrupted()?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Returns a command for this daemon.
    fn client(&self, line: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(line.split_whitespace())
            .args(["--instance", &self.instance]);
        command
    }

    /// Takes the daemon away with all that it made; errors are of no use to anybody here.
    fn stop(&mut self) {
        drop(quiet(&mut self.client("teardown")));
        drop(quiet(&mut shell::command(&format!(
            "kill {}",
            self.child.id()
        ))));
        let deadline = Instant::now() + DEADLINE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                drop(self.child.kill());
                drop(self.child.wait());
            }
            thread::sleep(Duration::from_millis(20));
        }
        drop(fs::remove_dir_all(
            Path::new("/sys/fs/bpf/vtep").join(&self.instance),
        ));
        drop(fs::remove_file(format!("/run/vtep/{}.sock", self.instance)));
        drop(fs::remove_file(&self.log));
    }
}

/// One end of a transfer; killed if it is dropped unfinished.
struct End {
    command: String,
    child: Child,
    output: BufReader<ChildStdout>,
}

impl End {
    fn spawn(command: &mut Command) -> Result<Self> {
        let line = text(command);
        let start = starting(command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(start)?;
        match child.stdout.take() {
            Some(output) => Ok(Self {
                command: line,
                child,
                output: BufReader::new(output),
            }),
            None => said("the program has no output"),
        }
    }

    fn wait_for(&mut self, wanted: &str) -> Result<()> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .map_err(doing("read what an end prints"))?;
        if line.trim() == wanted {
            Ok(())
        } else {
            said(format!("`{}` failed", self.command))
        }
    }

    fn finish(mut self) -> Result<String> {
        let mut printed = String::new();
        self.output
            .read_to_string(&mut printed)
            .map_err(doing("read what an end prints"))?;
        let status = self.child.wait().map_err(doing("wait for an end"))?;
        uninterrupted()?;
        if status.success() {
            Ok(printed)
        } else {
            said(format!("`{}` failed", self.command))
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
