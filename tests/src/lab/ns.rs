//! Network namespaces that live as long as their owner.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::link::offload::set_vlan_offload;
use crate::wait::until_true;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A name that no other test process and no other call in this one uses.
#[must_use]
pub fn unique(role: &str) -> String {
    format!(
        "vt{}-{}-{role}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A network namespace, deleted on drop.
#[derive(Debug)]
pub struct Ns {
    name: String,
}

impl Ns {
    /// Makes a namespace with loopback up, in which new addresses are usable at once.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    #[must_use]
    pub fn new(role: &str) -> Self {
        let name = unique(role);
        done(Command::new("ip").args(["netns", "add", &name]), "");
        let ns = Self { name };
        for area in ["default", "all"] {
            ns.sysctl(&format!("ipv6/conf/{area}/accept_dad"), "0");
            ns.sysctl(&format!("ipv6/conf/{area}/router_solicitations"), "0");
        }
        ns.ip("link set lo up");
        ns
    }

    /// Its name, as `ip netns` lists it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs `body` on a thread of its own inside the namespace. Sockets that it returns stay there.
    ///
    /// # Panics
    ///
    /// If `body` does, or the namespace cannot be entered.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let test = std::thread::current();
        let file = File::open(self.path()).expect("open the namespace");
        let result = std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name(test.name().unwrap_or("test").to_owned())
                .spawn_scoped(scope, || {
                    // SAFETY: the descriptor is open for the length of the call; only this thread moves.
                    let moved = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
                    assert_eq!(moved, 0, "setns: {}", std::io::Error::last_os_error());
                    body()
                })
                .expect("start a thread")
                .join()
        });
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A command that will run inside. The rest of the system, bpffs too, is as outside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg(program);
        command
    }

    /// Runs `ip` commands inside, one per line.
    ///
    /// # Panics
    ///
    /// If one fails.
    pub fn ip(&self, lines: &str) {
        done(
            Command::new("ip").args(["-n", &self.name, "-batch", "-"]),
            lines,
        );
    }

    /// Runs `bridge` commands inside, one per line.
    ///
    /// # Panics
    ///
    /// If one fails.
    pub fn bridge(&self, lines: &str) {
        done(
            Command::new("bridge").args(["-n", &self.name, "-batch", "-"]),
            lines,
        );
    }

    /// What `ip` prints.
    ///
    /// # Panics
    ///
    /// If it fails.
    #[must_use]
    pub fn ip_output(&self, args: &str) -> String {
        let out = done(
            Command::new("ip")
                .args(["-n", &self.name])
                .args(args.split(' ')),
            "",
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Waits until the state of every interface is that of its carrier: the kernel takes note of a carrier some time after it came or went.
    ///
    /// # Panics
    ///
    /// If one's state does not become so in time.
    pub fn settled(&self) {
        let settled = |link: &Value| {
            let carries = link["flags"]
                .as_array()
                .is_some_and(|flags| flags.contains(&"LOWER_UP".into()));
            let state = link["operstate"].as_str();
            matches!(state, Some("UP" | "UNKNOWN")) == carries
        };
        until_true(
            "the interfaces' states to be those of their carriers",
            || {
                let links: Vec<Value> = serde_json::from_str(&self.ip_output("-j link show"))
                    .expect("a list of interfaces");
                links.iter().all(settled)
            },
        );
    }

    /// Writes `/proc/sys/net/KEY`.
    ///
    /// # Panics
    ///
    /// If there is no such key.
    pub fn sysctl(&self, key: &str, value: &str) {
        self.run(|| {
            std::fs::write(format!("/proc/sys/net/{key}"), value)
                .unwrap_or_else(|e| panic!("set net/{key} to {value}: {e}"));
        });
    }

    /// Joins `dev` here with `far_dev` in `far` by a veth pair, both up. A frame that is sent from now on arrives.
    ///
    /// # Panics
    ///
    /// If the kernel does not take note of their carriers in time.
    pub fn veth(&self, dev: &str, far: &Self, far_dev: &str) {
        self.ip(&format!(
            "link add name {dev} type veth peer name {far_dev} netns {}",
            far.name
        ));
        self.ip(&format!("link set {dev} up"));
        far.ip(&format!("link set {far_dev} up"));
        // Until the kernel has taken note of the carrier, what is sent is dropped.
        until_true("both ends of a veth to be up", || {
            [(self, dev), (far, far_dev)].iter().all(|(ns, dev)| {
                let shown = ns.ip_output(&format!("-o link show dev {dev}"));
                shown.contains(" state UP ")
            })
        });
    }

    /// The same, with VLAN tags left in the frames: XDP sees them.
    pub fn veth_for_xdp(&self, dev: &str, far: &Self, far_dev: &str) {
        self.veth(dev, far, far_dev);
        set_vlan_offload(self, dev, false);
        set_vlan_offload(far, far_dev, false);
    }

    /// The index of a device.
    ///
    /// # Panics
    ///
    /// If there is none of that name.
    #[must_use]
    pub fn ifindex(&self, dev: &str) -> u32 {
        self.run(|| {
            let name = std::ffi::CString::new(dev).expect("a name without NUL");
            // SAFETY: the name is NUL-terminated and outlives the call.
            let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
            assert_ne!(index, 0, "there is no {dev} in {}", self.name);
            index
        })
    }

    /// The MAC of a device.
    ///
    /// # Panics
    ///
    /// If there is none of that name.
    #[must_use]
    pub fn mac(&self, dev: &str) -> crate::encoder::Mac {
        let text = self.ip_output(&format!("-o link show dev {dev}"));
        let after = text
            .split("link/ether ")
            .nth(1)
            .expect("an Ethernet device");
        after
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .expect("a MAC")
    }

    /// How many want an interface to be promiscuous.
    ///
    /// # Panics
    ///
    /// If there is no such interface.
    #[must_use]
    pub fn promiscuity(&self, dev: &str) -> u64 {
        let links = self.ip_output(&format!("-j -d link show dev {dev}"));
        let links: Vec<Value> = serde_json::from_str(&links).expect("a list of interfaces");
        links[0]["promiscuity"].as_u64().expect("a number")
    }

    /// Whether a device of that name is here.
    #[must_use]
    pub fn has_device(&self, dev: &str) -> bool {
        self.ip_output("-o link show").contains(&format!(" {dev}"))
    }
}

impl Drop for Ns {
    fn drop(&mut self) {
        match Command::new("ip")
            .args(["netns", "del", &self.name])
            .output()
        {
            Ok(out) if out.status.success() => {}
            Ok(out) => eprintln!(
                "delete {}: {}",
                self.name,
                String::from_utf8_lossy(&out.stderr)
            ),
            Err(e) => eprintln!("delete {}: {e}", self.name),
        }
    }
}

/// Runs a command with `input` on its standard input and insists on success.
///
/// # Panics
///
/// If the command cannot be run or does not end with 0.
pub fn done(command: &mut Command, input: &str) -> Output {
    let out = with_input(command, input);
    assert!(
        out.status.success(),
        "{command:?} with input {input:?}: {}: {}{}",
        out.status,
        String::from_utf8_lossy(&out.stderr),
        String::from_utf8_lossy(&out.stdout),
    );
    out
}

/// Runs a command with `input` on its standard input.
///
/// # Panics
///
/// If the command cannot be run.
pub fn with_input(command: &mut Command, input: &str) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("run {command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("a piped standard input");
    // A command that refuses its arguments closes its input early, which is for its caller to judge.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    child
        .wait_with_output()
        .unwrap_or_else(|e| panic!("wait for {command:?}: {e}"))
}
