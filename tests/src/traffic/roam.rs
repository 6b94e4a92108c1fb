//! A VM that moves between hypervisors while another one talks to it.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::encoder::{Mac, eth};
use crate::lab::kernel;
use crate::lab::ns::{self, Ns};
use crate::lab::{GREEN, Lab, VM_DEV};
use crate::link::Link as _;
use crate::link::capture::Capture;
use crate::wait::{DEADLINE, until_true};

/// The MAC of the VM that moves.
pub const ROAMER: Mac = Mac::nth(0x42);
/// The MAC of the VM that talks to it.
pub const TALKER: Mac = Mac::nth(0x43);
const EVERY: Duration = Duration::from_millis(1);

/// A place where a VM can be: a device behind a hypervisor that says nothing by itself.
#[derive(Debug)]
pub struct Site {
    /// The VM's end.
    pub link: Capture,
    /// What the device is called at the hypervisor.
    pub port: String,
    /// The hypervisor.
    pub at: usize,
    _ns: Ns,
}

impl Site {
    /// Makes the device, which is no port yet.
    #[must_use]
    pub fn new(lab: &Lab, at: usize, port: &str) -> Self {
        let ns = Ns::new("site");
        ns.sysctl("ipv6/conf/default/disable_ipv6", "1");
        let here = &lab.hypervisors[at].ns;
        here.veth(port, &ns, VM_DEV);
        here.ip(&format!(
            "link set {port} addrgenmode none mtu {}",
            lab.inner_mtu()
        ));
        Self {
            link: Capture::arriving(&ns, VM_DEV),
            port: port.to_owned(),
            at,
            _ns: ns,
        }
    }

    /// Makes it a port of [`GREEN`]; `args` are for `vtep port add`.
    pub fn plug(&self, lab: &Lab, args: &str) {
        let here = &lab.hypervisors[self.at];
        if let Some(vtep) = &here.vtep {
            vtep.ok(&format!("port add {} --vni {GREEN} {args}", self.port));
            return;
        }
        kernel::add_port(&here.ns, GREEN, &self.port);
        until_true("the bridge to forward", || {
            let args = ["-n", here.ns.name(), "link", "show", "dev", &self.port];
            let out = ns::done(Command::new("bridge").args(args), "");
            String::from_utf8_lossy(&out.stdout).contains("state forwarding")
        });
    }

    /// Makes it a port no more.
    pub fn unplug(&self, lab: &Lab) {
        let here = &lab.hypervisors[self.at];
        match &here.vtep {
            Some(vtep) => drop(vtep.ok(&format!("port del {}", self.port))),
            None => here.ns.ip(&format!("link set {} nomaster", self.port)),
        }
    }
}

/// Frames from one VM to [`ROAMER`], one every millisecond, and where they came.
#[derive(Debug)]
pub struct Talk<'a> {
    from: &'a Site,
    to: [&'a Site; 2],
    sent: Vec<Instant>,
    came: Vec<Came>,
}

#[derive(Clone, Copy, Debug)]
struct Came {
    number: usize,
    at: usize,
}

/// What a move cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Frames that were sent after it and never came to the new place.
    pub lost: usize,
    /// From the move until the first frame was sent that came to the new place.
    pub gap: Duration,
}

impl<'a> Talk<'a> {
    /// Begins to talk to whoever is at one of two sites.
    #[must_use]
    pub fn new(from: &'a Site, to: [&'a Site; 2]) -> Self {
        Self {
            from,
            to,
            sent: vec![],
            came: vec![],
        }
    }

    /// Sends one frame and notes what comes until the next one is due.
    pub fn step(&mut self) {
        let number = u32::try_from(self.sent.len()).expect("not that many frames");
        let due = self
            .sent
            .last()
            .map_or_else(Instant::now, |last| *last + EVERY);
        self.watch_until(due);
        self.sent.push(Instant::now());
        let frame = eth(TALKER, ROAMER)
            .ethertype(0x88b6)
            .bytes(&number.to_be_bytes())
            .bytes(&[0x5a; 60]);
        self.from.link.send(&frame.build());
        self.watch_until(Instant::now());
    }

    fn watch_until(&mut self, end: Instant) {
        loop {
            for (at, site) in self.to.iter().enumerate() {
                while let Some(frame) = site.link.recv(Duration::ZERO) {
                    self.came
                        .extend(number(&frame).map(|number| Came { number, at }));
                }
            }
            if Instant::now() >= end {
                return;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Talks until a frame has come to site `at`.
    ///
    /// # Panics
    ///
    /// If none does in time.
    #[track_caller]
    pub fn until_at(&mut self, at: usize) {
        let (first, end) = (self.came.len(), Instant::now() + DEADLINE);
        while !self.came[first..].iter().any(|came| came.at == at) {
            assert!(Instant::now() < end, "nothing comes to site {at}");
            self.step();
        }
    }

    /// Talks for a number of frames.
    pub fn steps(&mut self, count: u32) {
        for _ in 0..count {
            self.step();
        }
    }

    /// Does `event`, by which the VM is at site `at`, and talks on until `enough` frames have come
    /// there; returns what it cost. `event` is done between two frames.
    #[track_caller]
    pub fn cost_of(&mut self, at: usize, enough: usize, event: impl FnOnce()) -> Cost {
        let (first, since) = (self.sent.len(), Instant::now());
        event();
        self.cost_since(at, enough, first, since)
    }

    /// The same for an event that takes its time while frames go on.
    #[track_caller]
    pub fn cost_of_slow(&mut self, at: usize, enough: usize, event: impl FnOnce() + Send) -> Cost {
        let (first, since) = (self.sent.len(), Instant::now());
        std::thread::scope(|scope| {
            let event = scope.spawn(event);
            while !event.is_finished() {
                self.step();
            }
            event.join().expect("the event");
        });
        self.cost_since(at, enough, first, since)
    }

    #[track_caller]
    fn cost_since(&mut self, at: usize, enough: usize, first: usize, since: Instant) -> Cost {
        let end = Instant::now() + DEADLINE;
        let here = |talk: &Self| {
            let here = |came: &&Came| came.at == at && came.number >= first;
            let numbers = talk.came.iter().filter(here).map(|came| came.number);
            numbers.collect::<BTreeSet<_>>()
        };
        while here(self).len() < enough {
            assert!(Instant::now() < end, "nothing comes to site {at}");
            self.step();
        }
        // The last one may still be on its way.
        self.watch_until(Instant::now() + 5 * EVERY);
        let came = here(self);
        let lost = (first..self.sent.len())
            .filter(|number| !came.contains(number))
            .count();
        let reached = came.first().expect("a frame that came");
        Cost {
            lost,
            gap: self.sent[*reached] - since,
        }
    }

    /// Frames that have come to site `at`.
    #[must_use]
    pub fn arrived(&self, at: usize) -> usize {
        self.came.iter().filter(|came| came.at == at).count()
    }
}

/// The number of a frame of a [`Talk`].
fn number(frame: &[u8]) -> Option<usize> {
    let ours = frame.get(6..14)? == [&TALKER.0[..], &[0x88, 0xb6]].concat();
    let number = frame.get(14..18).filter(|_| ours)?;
    Some(u32::from_be_bytes(number.try_into().ok()?) as usize)
}
