//! Open vSwitch with its datapath in user space (`datapath_type=netdev`), where it is installed: a third contender.
//!
//! ```text
//! VM ── port0  br-int  vxlan0          the tunnel's packets go from bridge to bridge within the datapath
//!                      br-phy  up0 ── underlay
//! ```
//!
//! The underlay's address is that of br-phy, whose own device stands in the hypervisor's namespace.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use vtep_tests::encoder::Mac;
use vtep_tests::lab::ns::{Ns, done, unique};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::wait::{DEADLINE, poll};

use super::pair::{MTU, PORT};
use crate::report::Report;

/// Its name in the report.
pub(crate) const NAME: &str = "ovs";
/// The bridge that has the underlay's address.
const UNDERLAY_BRIDGE: &str = "br-phy";
/// The bridge of the VM and the tunnel.
const BRIDGE: &str = "br-int";
/// The schema of the database, below the directory around that of a program.
const SCHEMA: &str = "share/openvswitch/vswitch.ovsschema";
/// Where programs are that PATH may lack.
const MORE: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// The programs of an installation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Programs {
    server: PathBuf,
    switch: PathBuf,
    tool: PathBuf,
    vsctl: PathBuf,
    appctl: PathBuf,
    schema: PathBuf,
    /// What it says of itself, such as `ovs-vswitchd (Open vSwitch) 3.1.0`.
    version: String,
}

impl Programs {
    /// Those of this machine, or what is missing.
    pub(crate) fn find() -> Result<Self, String> {
        let path = env::var_os("PATH").unwrap_or_default();
        let directories: Vec<PathBuf> = env::split_paths(&path)
            .chain(MORE.map(PathBuf::from))
            .collect();
        let mut programs = Self::among(&directories)?;
        programs.version = version(&programs.switch)?;
        for other in [
            &programs.server,
            &programs.tool,
            &programs.vsctl,
            &programs.appctl,
        ] {
            version(other)?;
        }
        Ok(programs)
    }

    /// Those in the first of these directories that has them, each, and the schema that belongs to the server.
    fn among(directories: &[PathBuf]) -> Result<Self, String> {
        let find = |name: &str| {
            directories
                .iter()
                .map(|directory| directory.join(name))
                .find(|path| path.is_file())
                .ok_or_else(|| format!("there is no {name} in PATH"))
        };
        let server = find("ovsdb-server")?;
        let schema = schemas(&server)
            .find(|path| path.is_file())
            .ok_or_else(|| format!("there is no {SCHEMA} beside {}", server.display()))?;
        Ok(Self {
            switch: find("ovs-vswitchd")?,
            tool: find("ovsdb-tool")?,
            vsctl: find("ovs-vsctl")?,
            appctl: find("ovs-appctl")?,
            server,
            schema,
            version: String::new(),
        })
    }

    /// What is to be known of a row with it.
    pub(crate) fn note(&self) -> String {
        format!(
            "{}, datapath in user space, its threads on any processor; segmentation and checksum offloads off at its VMs, as the \
             userspace datapath needs it, so no GSO packets cross",
            self.version
        )
    }
}

/// Where the schema of a server may be.
fn schemas(server: &Path) -> impl Iterator<Item = PathBuf> {
    let prefix = server.parent().and_then(Path::parent);
    let beside = prefix.map(|prefix| prefix.join(SCHEMA));
    beside.into_iter().chain([Path::new("/usr").join(SCHEMA)])
}

/// The first line that a program prints of itself. An error is that it does not run, for want of a library for instance.
fn version(program: &Path) -> Result<String, String> {
    let failed = |why: &dyn std::fmt::Display| format!("{} does not run: {why}", program.display());
    let out = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| failed(&e))?;
    if !out.status.success() {
        return Err(failed(&String::from_utf8_lossy(&out.stderr).trim()));
    }
    let text = String::from_utf8_lossy(&out.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Says, once in a report, that there is no third contender, and why.
pub(crate) fn note_absence(report: &mut Report, why: &str) {
    let said = "Open vSwitch is not measured";
    let of = |note: &Option<String>| note.as_ref().is_some_and(|note| note.contains(said));
    if !report.rows.iter().any(|row| of(&row.note)) {
        report.note(format!("{said}: {why}"));
    }
}

/// How a hypervisor's instance reaches the other's.
pub(crate) struct UplinkEnds {
    /// The underlay's family.
    pub(crate) family: Family,
    /// The address here, and the MAC it has.
    pub(crate) here: (IpAddr, Mac),
    /// Those at the other hypervisor.
    pub(crate) there: (IpAddr, Mac),
}

/// An instance: a database and a switch, which end with it.
pub(crate) struct Instance<'a> {
    // Goes first.
    switch: Option<OvsProcess>,
    server: OvsProcess,
    directory: Directory,
    programs: &'a Programs,
}

impl<'a> Instance<'a> {
    /// Starts one in `ns`, with the underlay and [`PORT`] as its ports, and a tunnel to the other end.
    ///
    /// # Panics
    ///
    /// If it does not do as told in time.
    pub(crate) fn start(programs: &'a Programs, ns: &Ns, ends: &UplinkEnds) -> Self {
        let directory = Directory::new();
        let database = directory.file("conf.db");
        done(
            Command::new(&programs.tool)
                .args([OsStr::new("create"), database.as_ref()])
                .arg(&programs.schema),
            "",
        );
        let mut server = directory.daemon(ns, &programs.server, "server");
        server
            .arg(&database)
            .arg(format!("--remote=punix:{}", directory.socket().display()));
        let mut instance = Self {
            switch: None,
            server: OvsProcess::start(server, directory.file("server.out")),
            directory,
            programs,
        };
        let mut init = instance.vsctl();
        init.args(["--no-wait", "init"]);
        answers(&mut instance.server, &mut init);

        let directory = &instance.directory;
        let mut switch = directory.daemon(ns, &programs.switch, "switch");
        switch.arg(format!("unix:{}", directory.socket().display()));
        let mut switch = OvsProcess::start(switch, directory.file("switch.out"));
        let mut version = instance.appctl();
        version.arg("version");
        answers(&mut switch, &mut version);
        instance.switch = Some(switch);

        instance.build(ns, ends);
        instance
    }

    /// The bridges and their ports, and the way to the other end.
    fn build(&self, ns: &Ns, ends: &UplinkEnds) {
        let (here, mac) = ends.here;
        let (there, far_mac) = ends.there;
        let df = match ends.family {
            Family::V4 => "options:df_default=true",
            Family::V6 => "",
        };
        // The kernel has these devices' frames too and is not to answer any of them.
        for dev in [UPLINK, PORT] {
            ns.sysctl(&format!("ipv6/conf/{dev}/disable_ipv6"), "1");
            ns.ip(&format!("link set {dev} arp off"));
        }
        let commands = format!(
            "add-br {UNDERLAY_BRIDGE} -- \
             set bridge {UNDERLAY_BRIDGE} datapath_type=netdev other_config:hwaddr=\"{mac}\" -- \
             add-port {UNDERLAY_BRIDGE} {UPLINK} -- \
             add-br {BRIDGE} -- \
             set bridge {BRIDGE} datapath_type=netdev -- \
             add-port {BRIDGE} {PORT} -- \
             add-port {BRIDGE} vxlan0 -- \
             set interface vxlan0 type=vxlan options:remote_ip=\"{there}\" options:key={GREEN} {df}"
        );
        // Comes back once the switch has done it.
        done(self.vsctl().args(commands.split_whitespace()), "");
        let (prefix, nodad) = (ends.family.prefix(), ends.family.nodad());
        ns.ip(&format!(
            "link set {UNDERLAY_BRIDGE} addrgenmode none mtu {MTU}
             addr add {here}/{prefix} dev {UNDERLAY_BRIDGE} {nodad}
             link set {UNDERLAY_BRIDGE} up"
        ));
        // It finds routes in the kernel, and neighbours by asking, for which it first waits. Before 2.17 it was called otherwise.
        let known = ["tnl/neigh/set", "tnl/arp/set"].map(|command| {
            let neighbour = format!("{command} {UNDERLAY_BRIDGE} {there} {far_mac}");
            let out = self.appctl().args(neighbour.split(' ')).output();
            out.is_ok_and(|out| out.status.success())
        });
        assert!(known.contains(&true), "{UNDERLAY_BRIDGE}: no neighbour");
    }

    /// `ovs-vsctl` for this instance.
    fn vsctl(&self) -> Command {
        let mut command = Command::new(&self.programs.vsctl);
        command
            .arg(format!("--db=unix:{}", self.directory.socket().display()))
            .arg(format!("--timeout={}", DEADLINE.as_secs()));
        command
    }

    /// `ovs-appctl` for this instance's switch.
    fn appctl(&self) -> Command {
        let mut command = Command::new(&self.programs.appctl);
        command
            .arg("--target")
            .arg(self.directory.file("switch.ctl"))
            .arg(format!("--timeout={}", DEADLINE.as_secs()));
        command
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["server.out", "server.log", "switch.out", "switch.log"] {
                let said = fs::read_to_string(self.directory.file(name)).unwrap_or_default();
                eprintln!("---- Open vSwitch, {name} ----\n{said}");
            }
        }
    }
}

/// Waits until a command to a process succeeds.
///
/// # Panics
///
/// If it does not in time, or the process ends.
fn answers(process: &mut OvsProcess, command: &mut Command) {
    let answered = poll(DEADLINE, || {
        if let Ok(Some(status)) = process.child.try_wait() {
            panic!("{} ended with {status}:\n{}", process.what, process.said());
        }
        let out = command.stdin(Stdio::null()).output();
        out.is_ok_and(|out| out.status.success()).then_some(())
    });
    assert!(
        answered.is_some(),
        "{} did not answer in {DEADLINE:?}:\n{}",
        process.what,
        process.said()
    );
}

/// A process, killed on drop.
struct OvsProcess {
    child: Child,
    what: String,
    out: PathBuf,
}

impl OvsProcess {
    /// Starts it, with what it says in the file `out`.
    fn start(mut command: Command, out: PathBuf) -> Self {
        let open = || {
            File::options()
                .create(true)
                .append(true)
                .open(&out)
                .expect("a file for what it says")
        };
        command.stdin(Stdio::null()).stdout(open()).stderr(open());
        // SAFETY: prctl is safe to call between fork and exec; a daemon must not outlive the benchmark.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let what = format!("{command:?}");
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("start {what}: {e}"));
        Self { child, what, out }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }
}

impl Drop for OvsProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A directory for what an instance keeps, removed on drop.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = env::temp_dir().join(unique("ovs"));
        fs::create_dir(&path).unwrap_or_else(|e| panic!("make {}: {e}", path.display()));
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The socket of the database.
    fn socket(&self) -> PathBuf {
        self.file("db.sock")
    }

    /// A daemon in `ns` that keeps everything of its own here.
    fn daemon(&self, ns: &Ns, program: &Path, name: &str) -> Command {
        let mut command = ns.command(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, &self.0);
        }
        let own = |extension: &str| self.file(&format!("{name}.{extension}"));
        command
            .arg("--no-chdir")
            .arg("-vconsole:warn")
            .arg(format!("--pidfile={}", own("pid").display()))
            .arg(format!("--log-file={}", own("log").display()))
            .arg(format!("--unixctl={}", own("ctl").display()));
        command
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An installation that lacks one file: `bin`, `sbin` and `share` below a directory.
    fn installation(without: &str) -> (Directory, [PathBuf; 2]) {
        let directory = Directory::new();
        let files = [
            "sbin/ovsdb-server",
            "sbin/ovs-vswitchd",
            "bin/ovsdb-tool",
            "bin/ovs-vsctl",
            "bin/ovs-appctl",
            SCHEMA,
        ];
        for file in files.into_iter().filter(|file| !file.ends_with(without)) {
            let path = directory.file(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let path = ["bin", "sbin"].map(|name| directory.file(name));
        (directory, path)
    }

    #[test]
    fn programs_are_found_in_any_directory_and_the_schema_beside_the_server() {
        let (directory, path) = installation("nothing");

        let found = Programs::among(&path).unwrap();

        assert_eq!(found.switch, directory.file("sbin/ovs-vswitchd"));
        assert_eq!(found.appctl, directory.file("bin/ovs-appctl"));
        let schema = directory.file("sbin/../share/openvswitch/vswitch.ovsschema");
        assert_eq!(
            found.schema.canonicalize().unwrap(),
            schema.canonicalize().unwrap()
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        for name in [
            "ovsdb-server",
            "ovs-vswitchd",
            "ovsdb-tool",
            "ovs-vsctl",
            "ovs-appctl",
        ] {
            let (_directory, path) = installation(name);
            let why = Programs::among(&path).unwrap_err();
            assert_eq!(why, format!("there is no {name} in PATH"));
        }
        let file = env::temp_dir().join("no such program");
        assert!(version(&file).unwrap_err().contains("does not run"));
    }

    #[test]
    fn that_it_is_not_there_is_said_once() {
        let mut report = Report::start(true);
        report.begin("case", "something");
        report.single("one", "s", 1.0, None);
        note_absence(&mut report, "there is no ovsdb-server in PATH");
        report.single("other", "s", 1.0, None);
        note_absence(&mut report, "there is no ovsdb-server in PATH");

        assert_eq!(
            report.rows[0].note.as_deref(),
            Some("Open vSwitch is not measured: there is no ovsdb-server in PATH")
        );
        assert_eq!(report.rows[1].note, None);
    }
}
