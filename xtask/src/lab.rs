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
pub(crate) const VNI: u32 = 100;

/// The port that the machine's interface is, on its hypervisor.
pub(crate) const PORT: &str = "vm0";

/// How long anything may take that should take no time.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where a sink listens.
const SINK_PORT: u16 = 5001;

/// The underlay's address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The largest frame body of a virtual machine that fits an underlay of 1500 bytes.
    const fn machine_mtu(self) -> u32 {
        match self {
            Self::V4 => 1450,
            Self::V6 => 1430,
        }
    }
}

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

    /// The hypervisor's underlay address, and the router's on the same link.
    const fn underlay(self, family: Family, routed: bool) -> (&'static str, &'static str) {
        match (family, self, routed) {
            (Family::V4, Self::A, _) => ("192.0.2.1", "192.0.2.254"),
            (Family::V4, Self::B, false) => ("192.0.2.2", "192.0.2.254"),
            (Family::V4, Self::B, true) => ("198.51.100.2", "198.51.100.254"),
            (Family::V6, Self::A, _) => ("2001:db8:1::1", "2001:db8:1::fe"),
            (Family::V6, Self::B, false) => ("2001:db8:1::2", "2001:db8:1::fe"),
            (Family::V6, Self::B, true) => ("2001:db8:2::2", "2001:db8:2::fe"),
        }
    }
}

/// The namespaces, and what runs in them.
pub(crate) struct Lab {
    name: String,
    family: Family,
    routed: bool,
    namespaces: Vec<String>,
    daemons: Vec<Daemon>,
    kept: bool,
}

impl Lab {
    /// Makes the namespaces, the links between them and their addresses.
    pub(crate) fn new(tag: &str, family: Family, routed: bool) -> Result<Self> {
        shell::hold_interrupts()?;
        let name = format!("{tag}{}", std::process::id());
        let mut lab = Self {
            name,
            family,
            routed,
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
            let mtu = self.family.machine_mtu();
            ip(&format!(
                "link add {PORT} netns {hypervisor} mtu {mtu} type veth \
                 peer name eth0 netns {machine} mtu {mtu} address {}",
                side.mac()
            ))?;
            ip(&format!(
                "-n {machine} addr add {}/24 dev eth0",
                side.machine()
            ))?;
            ip(&format!("-n {machine} link set eth0 up"))?;
            ip(&format!("-n {hypervisor} link set {PORT} up"))?;
        }
        if self.routed {
            self.wire_through_router()?;
        } else {
            self.wire_directly()?;
        }
        for side in Side::BOTH {
            let (address, gateway) = side.underlay(self.family, self.routed);
            let hypervisor = self.hypervisor(side);
            self.add_address(&hypervisor, "eth0", address)?;
            if self.routed {
                ip(&format!("-n {hypervisor} route add default via {gateway}"))?;
            }
        }
        Ok(())
    }

    fn wire_directly(&self) -> Result<()> {
        let [a, b] = Side::BOTH.map(|side| self.hypervisor(side));
        ip(&format!(
            "link add eth0 netns {a} type veth peer name eth0 netns {b}"
        ))
    }

    fn wire_through_router(&mut self) -> Result<()> {
        let router = format!("{}-router", self.name);
        self.add_namespace(&router)?;
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let write = format!("echo 1 > /proc/sys/net/{setting}");
            quiet(inside(&router, Path::new("sh")).args(["-c", &write]))?;
        }
        for side in Side::BOTH {
            let (hypervisor, link) = (self.hypervisor(side), side.letter());
            ip(&format!(
                "link add eth0 netns {hypervisor} type veth peer name {link} netns {router}"
            ))?;
            let (_, gateway) = side.underlay(self.family, true);
            self.add_address(&router, &link.to_string(), gateway)?;
        }
        Ok(())
    }

    fn add_namespace(&mut self, namespace: &str) -> Result<()> {
        uninterrupted()?;
        ip(&format!("netns add {namespace}"))?;
        self.namespaces.push(namespace.to_owned());
        ip(&format!("-n {namespace} link set lo up"))
    }

    fn add_address(&self, namespace: &str, device: &str, address: &str) -> Result<()> {
        let (length, at_once) = match self.family {
            Family::V4 => (24, ""),
            // Without this it could not be used before duplicate address detection is through.
            Family::V6 => (64, "nodad"),
        };
        ip(&format!(
            "-n {namespace} addr add {address}/{length} dev {device} {at_once}"
        ))?;
        ip(&format!("-n {namespace} link set dev {device} up"))
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

    /// The underlay address of a hypervisor.
    pub(crate) fn vtep(&self, side: Side) -> &'static str {
        side.underlay(self.family, self.routed).0
    }

    /// Connects the machines with the kernel's own `vxlan` device and a bridge.
    pub(crate) fn connect_by_kernel(&self) -> Result<()> {
        for side in Side::BOTH {
            let hypervisor = self.hypervisor(side);
            let (here, there) = (self.vtep(side), self.vtep(side.other()));
            let mtu = self.family.machine_mtu();
            ip(&format!("-n {hypervisor} link add br0 type bridge"))?;
            ip(&format!(
                "-n {hypervisor} link add vxlan0 mtu {mtu} type vxlan id {VNI} dstport 4789 \
                 local {here} dev eth0 nolearning"
            ))?;
            for device in ["vxlan0", PORT] {
                ip(&format!("-n {hypervisor} link set {device} master br0"))?;
            }
            for device in ["vxlan0", "br0"] {
                ip(&format!("-n {hypervisor} link set dev {device} up"))?;
            }
            for mac in ["00:00:00:00:00:00", side.other().mac()] {
                quiet(&mut shell::command(&format!(
                    "bridge -n {hypervisor} fdb append {mac} dev vxlan0 dst {there}"
                )))?;
            }
        }
        Ok(())
    }

    /// Connects the machines with vtep; `said` sees each command line on its hypervisor.
    pub(crate) fn connect_by_vtep(
        &mut self,
        binary: &Path,
        mut said: impl FnMut(Side, &str),
    ) -> Result<()> {
        for side in Side::BOTH {
            uninterrupted()?;
            let line = format!("run --iface eth0 --local {}", self.vtep(side));
            said(side, &line);
            let daemon =
                Daemon::start(binary, &self.hypervisor(side), &self.instance(side), &line)?;
            self.daemons.push(daemon);
        }
        for side in Side::BOTH {
            for line in self.tables(side) {
                said(side, &line);
                self.ask(side, &line)?;
            }
        }
        Ok(())
    }

    /// The commands that fill a hypervisor's tables.
    fn tables(&self, side: Side) -> Vec<String> {
        let there = self.vtep(side.other());
        vec![
            format!("vni add {VNI} --mode l2"),
            format!("port add {PORT} --vni {VNI}"),
            format!("fdb add {} --vni {VNI} --dev {PORT}", side.mac()),
            format!("fdb append 00:00:00:00:00:00 --vni {VNI} --dst {there}"),
            format!("fdb add {} --vni {VNI} --dst {there}", side.other().mac()),
        ]
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

    /// The process ids of the daemons.
    pub(crate) fn daemons(&self) -> impl Iterator<Item = u32> {
        self.daemons.iter().map(|daemon| daemon.child.id())
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

    /// Sends by TCP from a machine to the other; returns bytes and time as the receiver saw them.
    pub(crate) fn transfer(&self, from: Side, size: Size) -> Result<(u64, Duration)> {
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
        let (take, give) = match size {
            Size::Bytes(bytes) => (vec![], vec!["--bytes".to_owned(), bytes.to_string()]),
            Size::Seconds(seconds) => (vec!["--seconds".to_owned(), seconds.to_string()], vec![]),
        };
        let both = |verb: &str, options| [vec![verb.to_owned(), at.clone()], options].concat();

        let mut sink = End::spawn(&mut end(from.other(), &both("sink", take)))?;
        sink.wait_for(traffic::LISTENING)?;
        let source = End::spawn(&mut end(from, &both("source", give)))?;
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

/// How much to transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    /// This many bytes, each checked.
    Bytes(u64),
    /// As much as goes through in this time.
    Seconds(u64),
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
