//! A machine: QEMU, with a tap of a hypervisor as its network card.

use std::cell::{RefCell, RefMut};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use vtep_tests::encoder::Mac;
use vtep_tests::lab::{GREEN, Lab, kernel, ns};
use vtep_tests::traffic::{inner_v4, inner_v6};
use vtep_tests::wait::until;

/// How long a machine may be silent: it is emulated, and starts beside others.
const PATIENCE: Duration = Duration::from_secs(240);

/// What the machine's network card can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Card {
    /// Checksums and segments are left to the other side.
    pub(crate) offloads: bool,
    /// Pairs of queues, and processors.
    pub(crate) queues: u8,
}

/// A machine that runs, or waits for one that moves to it.
pub(crate) struct Machine {
    qemu: Child,
    shell: RefCell<Option<Shell>>,
    control: RefCell<Control>,
    directory: PathBuf,
    card: Card,
    number: u8,
    /// The machine's addresses.
    pub(crate) ips: [IpAddr; 2],
}

impl Machine {
    /// Starts machine `number` as a port of [`GREEN`] at hypervisor `at`.
    pub(crate) fn start(lab: &Lab, at: usize, number: u8, card: Card) -> Self {
        Self::new(lab, at, number, card, None)
    }

    /// Waits until it has started, and gives it its addresses; it answers then.
    pub(crate) fn ready(&self) {
        // What the shell says when it reads.
        let (said, status) = self.shell().answer();
        assert_eq!(status, "0", "{said}");
        let [v4, v6] = self.ips;
        self.run(&format!("ip addr add {v4}/24 dev eth0"));
        self.run(&format!("ip addr add {v6}/64 dev eth0 nodad"));
        self.run("ip link set eth0 up");
        self.run("/peer serve >/tmp/serve 2>&1 &");
        // Port 5000.
        self.run("until grep -q :1388 /proc/net/tcp6; do sleep 0.1; done");
    }

    /// Makes one like it at hypervisor `at`, moves it there while it runs, and returns it with the time for which neither ran, as QEMU says.
    pub(crate) fn migrate(self, lab: &Lab, at: usize) -> (Self, Duration) {
        let there = Self::new(lab, at, self.number, self.card, Some("way"));
        let way = format!("unix:{}", there.directory.join("way").display());
        self.control
            .borrow_mut()
            .ask("migrate", &json!({"uri": way}));
        let downtime = until("the machine to have moved", || {
            let state = self.control.borrow_mut().ask("query-migrate", &json!({}));
            assert_ne!(state["status"], "failed", "{state}");
            (state["status"] == "completed").then(|| state["downtime"].as_u64())?
        });
        (there, Duration::from_millis(downtime))
    }

    fn new(lab: &Lab, at: usize, number: u8, card: Card, from: Option<&str>) -> Self {
        let here = &lab.hypervisors[at];
        let tap = format!("tap{number}");
        let mtu = lab.inner_mtu();
        let multi = if card.queues > 1 { "multi_queue" } else { "" };
        here.ns.ip(&format!(
            "tuntap add {tap} mode tap vnet_hdr {multi}
             link set {tap} mtu {mtu} up"
        ));
        match &here.vtep {
            Some(vtep) => drop(vtep.ok(&format!("port add {tap} --vni {GREEN}"))),
            None => kernel::add_port(&here.ns, GREEN, &tap),
        }
        let directory = std::env::temp_dir().join(ns::unique("machine"));
        std::fs::create_dir(&directory).expect("make the machine's directory");
        let socket = |name: &str| {
            let path = directory.join(name);
            format!("unix:{},server=on,wait=off", path.display())
        };
        let mut command = here.ns.command("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
        ]);
        command.args([
            "-machine", "pc", "-cpu", "qemu64", "-accel", "tcg", "-m", "512",
        ]);
        command.args(["-smp", &card.queues.to_string()]);
        command.arg("-kernel").arg(given("VTEP_MACHINE_KERNEL"));
        command.arg("-initrd").arg(given("VTEP_MACHINE_INITRD"));
        command.args(["-append", "console=ttyS0 panic=-1 net.ifnames=0"]);
        command.arg("-serial");
        command.arg(format!("file:{}", directory.join("console").display()));
        command.args(["-serial", &socket("shell")]);
        command.args(["-qmp", &socket("control")]);
        command.arg("-netdev");
        command.arg(format!(
            "tap,id=net,ifname={tap},script=no,downscript=no,queues={}",
            card.queues
        ));
        command.args(["-device", &card.device(Mac::nth(number), mtu)]);
        if let Some(name) = from {
            command.arg("-incoming");
            command.arg(format!("unix:{}", directory.join(name).display()));
        }
        let qemu = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("run qemu-system-x86_64");
        let control = until("QEMU", || {
            UnixStream::connect(directory.join("control")).ok()
        });
        // What is said while nobody listens is lost.
        let shell = from.is_none().then(|| Shell::new(&directory));
        Self {
            qemu,
            shell: RefCell::new(shell),
            control: RefCell::new(Control::new(control)),
            directory,
            card,
            number,
            ips: [inner_v4(number).into(), inner_v6(number).into()],
        }
    }

    fn shell(&self) -> RefMut<'_, Shell> {
        RefMut::map(self.shell.borrow_mut(), |shell| {
            shell.get_or_insert_with(|| Shell::new(&self.directory))
        })
    }

    /// Runs a line in the machine's shell; returns what it printed.
    ///
    /// # Panics
    ///
    /// If it fails.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> String {
        let (said, status) = self.shell().run(line);
        if status != "0" {
            let console = std::fs::read_to_string(self.directory.join("console"));
            panic!("{line}: {status}: {said}\n{}", console.unwrap_or_default());
        }
        said
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has ended already, or it ends now.
        drop(self.qemu.kill());
        drop(self.qemu.wait());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

impl Card {
    /// The device as QEMU takes it.
    fn device(self, mac: Mac, mtu: u32) -> String {
        let mut device = vec![format!(
            "virtio-net-pci,netdev=net,mac={mac},host_mtu={mtu},romfile="
        )];
        if !self.offloads {
            device.push("csum=off,guest_csum=off,gso=off,mrg_rxbuf=off".to_owned());
            let both = ["tso4", "tso6", "ecn", "ufo"]
                .map(|what| format!("guest_{what}=off,host_{what}=off"));
            device.extend(both);
        }
        if self.queues > 1 {
            device.push(format!("mq=on,vectors={}", 2 * self.queues + 2));
        }
        device.join(",")
    }
}

/// What `cargo xtask test machines` has made.
fn given(name: &str) -> PathBuf {
    let Some(path) = std::env::var_os(name) else {
        panic!("{name} is not set; type: cargo xtask test machines");
    };
    path.into()
}

/// The machine's shell, on its second serial line.
struct Shell {
    lines: BufReader<UnixStream>,
}

impl Shell {
    fn new(directory: &std::path::Path) -> Self {
        let stream = until("the machine's shell", || {
            UnixStream::connect(directory.join("shell")).ok()
        });
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a read timeout");
        Self {
            lines: BufReader::new(stream),
        }
    }

    /// Runs a line; returns what it printed, and its status.
    fn run(&mut self, line: &str) -> (String, String) {
        let words = format!("{{ {line}\n}} </dev/null 2>&1; echo \"@@ $?\"\n");
        let mut stream = self.lines.get_ref();
        stream.write_all(words.as_bytes()).expect("ask the shell");
        self.answer()
    }

    /// Reads until a status.
    fn answer(&mut self) -> (String, String) {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let length = self.lines.read_line(&mut line);
            assert!(length.expect("the shell's answer") > 0, "no shell: {said}");
            if let Some(status) = line.trim_end().strip_prefix("@@ ") {
                return (said, status.to_owned());
            }
            said += &line;
        }
    }
}

/// QEMU's own command line (QMP).
struct Control {
    lines: BufReader<UnixStream>,
}

impl Control {
    fn new(stream: UnixStream) -> Self {
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a read timeout");
        let mut control = Self {
            lines: BufReader::new(stream),
        };
        control.line();
        control.ask("qmp_capabilities", &json!({}));
        control
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("QEMU's answer");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Asks, and returns the answer.
    fn ask(&mut self, what: &str, arguments: &Value) -> Value {
        let asked = json!({"execute": what, "arguments": arguments});
        let mut stream = self.lines.get_ref();
        writeln!(stream, "{asked}").expect("ask QEMU");
        loop {
            let mut line = self.line();
            assert!(line["error"].is_null(), "{what}: {line}");
            // Events come between.
            if !line["return"].is_null() {
                return line["return"].take();
            }
        }
    }
}
