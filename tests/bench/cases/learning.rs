//! New MACs: how many a second are learned, from the moment that their frames come until all of them are in the FDB.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use vtep_tests::bpf::asm::{Asm, Reg, Size};
use vtep_tests::bpf::program::{Program, ProgramType, XDP_DROP, array, xdp_context};
use vtep_tests::daemon::Daemon;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::kernel;
use vtep_tests::lab::ns::Ns;
use vtep_tests::link::offload::set_gro;

use crate::measure::{Contender, Scale, bridge, compare, pin, process};
use crate::report::{Goal, Report};

const VNI: u32 = 100;
/// MACs that are learned in one measurement.
const MACS: u32 = 200_000;
/// How long no more are learned until it is clear that the others were lost on the way.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long until the next look at how many are learned: each look costs the daemon time.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// The longest that a measurement may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// The processor that frames come in on; the daemon has the other.
const SENDER: usize = 0;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));
/// The host behind the port.
const NEAR_VM: Mac = Mac::nth(0x0a);
/// The host behind the far VTEP.
const FAR_VM: Mac = Mac::nth(0x0b);

/// Where new MACs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Uplink,
    Port,
}

/// Measures.
pub(crate) fn run(scale: &Scale, report: &mut Report) {
    let count = scale.pick(MACS, 2_000);
    for (from, name) in [
        (From::Uplink, "from the uplink"),
        (From::Port, "from a port"),
    ] {
        let mut vtep = Learner::new(true, from);
        let mut bridge = Learner::new(false, from);
        let figures = compare(
            scale,
            11,
            &mut [
                Contender::new("vtep", || vtep.learn(count)),
                Contender::new("kernel", || bridge.learn(count)),
            ],
        );
        report.ratio(
            &format!("{count} new MACs {name}"),
            "MACs/s",
            &figures,
            Some(Goal::AtLeast(2.0)),
        );
        report.note(format!(
            "processor time for each MAC: vtep's daemon {:.2} us, where frames come in vtep {:.2} us, kernel {:.2} us; frames offered for each MAC: vtep {:.2}, kernel {:.2}",
            vtep.each_us(vtep.spent),
            vtep.each_us(vtep.sending),
            bridge.each_us(bridge.sending),
            vtep.offers_each(),
            bridge.offers_each()
        ));
        report.figure(
            &format!("{count} new MACs {name}, vtep alone"),
            "MACs/s",
            &figures.only(&["vtep"]),
            Some(Goal::AtLeast(500_000.0)),
        );
    }
}

/// A hypervisor with an uplink and a port, and a sender of frames from new MACs at one of them. At the other end of both,
/// what comes out is thrown away.
struct Learner {
    from: From,
    /// What learns, unless the kernel does.
    daemon: Option<Daemon>,
    here: Ns,
    far: Ns,
    vm: Ns,
    _sinks: [OwnedFd; 2],
    /// Measurements so far: each has MACs of its own.
    turn: u8,
    learned: u64,
    offered: u64,
    /// What the daemon spent.
    spent: Duration,
    /// What the sender spent, with what the kernel made of its frames at once.
    sending: Duration,
}

impl Learner {
    fn new(vtep: bool, from: From) -> Self {
        let (here, far, vm) = (Ns::new("hv"), Ns::new("far"), Ns::new("vm"));
        for ns in [&here, &far, &vm] {
            // Nobody else sends.
            for area in ["default", "all"] {
                ns.sysctl(&format!("ipv6/conf/{area}/disable_ipv6"), "1");
            }
        }
        here.veth_for_xdp("up0", &far, "far0");
        here.veth_for_xdp("p0", &vm, "eth0");
        here.ip(&format!("addr add {HERE}/24 dev up0"));
        let far_mac = far.mac("far0");
        here.ip(&format!(
            "neigh add {FAR} lladdr {far_mac} dev up0 nud permanent"
        ));
        // With it a veth takes frames that XDP redirects to its other end.
        set_gro(&here, "up0", true);
        set_gro(&here, "p0", true);
        let drop = Program::load(ProgramType::Xdp, &Asm::new().returns(XDP_DROP));
        let sinks = [drop.attach(&far, "far0"), drop.attach(&vm, "eth0")];
        let daemon = vtep.then(|| {
            let daemon = Daemon::start(
                &here,
                &[
                    "--iface",
                    "up0",
                    "--uplink-hook",
                    "xdp",
                    "--fdb-max",
                    "1000000",
                ],
            );
            daemon.ok(&format!("vni add {VNI}"));
            daemon.ok(&format!("port add p0 --vni {VNI} --hook xdp"));
            daemon.ok(&format!("fdb add {NEAR_VM} --vni {VNI} --dev p0"));
            daemon.ok(&format!("fdb add {FAR_VM} --vni {VNI} --dst {FAR}"));
            process::pin(daemon.pid(), 1);
            daemon
        });
        if !vtep {
            kernel::add_vni(&here, VNI, HERE, 1450);
            kernel::add_port(&here, VNI, "p0");
            here.bridge(&format!(
                "fdb add {NEAR_VM} dev p0 master static
                 fdb add {FAR_VM} dev vx{VNI} master static
                 fdb add {FAR_VM} dev vx{VNI} dst {FAR} self permanent"
            ));
        }
        Self {
            from,
            daemon,
            here,
            far,
            vm,
            _sinks: sinks,
            turn: 0,
            learned: 0,
            offered: 0,
            spent: Duration::ZERO,
            sending: Duration::ZERO,
        }
    }

    /// Has MACs learned that are all new; returns how many a second.
    fn learn(&mut self, count: u32) -> Result<f64, String> {
        self.turn += 1;
        self.forget();
        let known = self.known();
        let (frame, at) = self.frame();
        let (ns, dev) = match self.from {
            From::Uplink => (&self.far, "far0"),
            From::Port => (&self.vm, "eth0"),
        };
        let counter = array(&[0]);
        let sender = Program::load(
            ProgramType::Xdp,
            &newcomers(&counter, at, count, ns.ifindex(dev)),
        );
        let spent = self
            .daemon
            .as_ref()
            .map(|daemon| process::spent(daemon.pid()));
        let (elapsed, offered, sending) = ns.run(|| {
            pin(SENDER);
            let context = xdp_context(frame.len(), 1);
            let (start, mut offered) = (Instant::now(), 0);
            let wanted = known + u64::from(count);
            while start.elapsed() < DEADLINE {
                // All at once: each run takes the kernel milliseconds to begin.
                sender
                    .run_live(&frame, &context, count)
                    .map_err(|error| format!("send: {error}"))?;
                offered += count;
                if self.wait_for(wanted) {
                    return Ok((start.elapsed(), offered, process::of_thread()));
                }
            }
            let missing = known + u64::from(count) - self.known();
            Err(format!(
                "{missing} of {count} MACs were not learned in {DEADLINE:?}"
            ))
        })?;
        if let (Some(daemon), Some(spent)) = (&self.daemon, spent) {
            self.spent += process::spent(daemon.pid()).saturating_sub(spent);
        }
        self.check(count, known)?;
        self.sending += sending;
        self.learned += u64::from(count);
        self.offered += u64::from(offered);
        Ok(f64::from(count) / elapsed.as_secs_f64())
    }

    /// Waits until there are so many entries, as long as they become more; false if they do not any more.
    fn wait_for(&self, wanted: u64) -> bool {
        let (mut most, mut since) = (0, Instant::now());
        loop {
            let now = self.known();
            if now >= wanted {
                return true;
            }
            if now > most {
                (most, since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// The first, the last and one between are where they came from, and there are no others.
    fn check(&self, count: u32, known: u64) -> Result<(), String> {
        let now = self.known();
        if now != known + u64::from(count) {
            return Err(format!(
                "{now} entries in place of {}",
                known + u64::from(count)
            ));
        }
        let Some(daemon) = &self.daemon else {
            return Ok(());
        };
        for number in [0, count / 2, count - 1] {
            let mac = newcomer(self.turn, number);
            let row = daemon.fdb(VNI, mac).unwrap_or_default();
            let place = match self.from {
                From::Uplink => row["dst"] == FAR.to_string().as_str(),
                From::Port => row["dev"] == "p0",
            };
            assert!(place && row["state"] == "learned", "{mac}: {row}");
        }
        Ok(())
    }

    /// Entries that there are now; the kernel counts only those that were learned.
    fn known(&self) -> u64 {
        match &self.daemon {
            Some(daemon) => daemon.fdb_len(),
            None => bridge::learned(&self.here, &format!("br{VNI}")),
        }
    }

    fn forget(&self) {
        if let Some(daemon) = &self.daemon {
            daemon.ok(&format!("fdb flush --vni {VNI} --learned"));
        } else {
            self.here
                .ip(&format!("link set br{VNI} type bridge fdb_flush"));
            self.here
                .bridge(&format!("fdb flush dev vx{VNI} self nopermanent"));
        }
    }

    /// The frame that comes in, and where in it the source is that is new each time.
    fn frame(&self) -> (Vec<u8>, i16) {
        let source = newcomer(self.turn, 0);
        let inner = |frame: vtep_tests::encoder::Frame| {
            let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
            frame.ipv4(a, b).udp(1000, 1000).payload(1, 22).build()
        };
        match self.from {
            From::Port => (inner(eth(source, FAR_VM)), 6),
            From::Uplink => {
                let outer = eth(self.far.mac("far0"), self.here.mac("up0"))
                    .ip(FAR, HERE)
                    .udp_unchecked(50_000, 4789)
                    .vxlan(VNI);
                (inner(outer.eth(source, NEAR_VM)), 50 + 6)
            }
        }
    }

    /// Microseconds for each MAC that was learned.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn each_us(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.learned.max(1) as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn offers_each(&self) -> f64 {
        self.offered as f64 / self.learned.max(1) as f64
    }
}

/// New MAC `number` of a turn.
fn newcomer(turn: u8, number: u32) -> Mac {
    let [a, b, c, d] = number.to_le_bytes();
    Mac([0x06, turn, a, b, c, d])
}

/// A program that makes each frame come from the next of `count` MACs, whose place in the frame is `at`, and sends it out of
/// interface `out`.
fn newcomers(counter: &OwnedFd, at: i16, count: u32, out: u32) -> Asm {
    const DATA: i16 = 0;
    const DATA_END: i16 = 4;
    let end = i32::from(at) + 6;
    Asm::new()
        .copy(Reg::R6, Reg::R1)
        .store_number(Size::Word, Reg::R10, Asm::PLACE, 0)
        .look_up(counter, 13)
        .set(Reg::R7, 1)
        .fetch_add(Reg::R0, 0, Reg::R7)
        .remainder(Reg::R7, count.cast_signed())
        .load(Size::Word, Reg::R2, Reg::R6, DATA)
        .load(Size::Word, Reg::R3, Reg::R6, DATA_END)
        .copy(Reg::R4, Reg::R2)
        .add(Reg::R4, end)
        .jump_greater(Reg::R4, Reg::R3, 5)
        .store(Size::Word, Reg::R2, at + 2, Reg::R7)
        .redirect(out)
        .returns(XDP_DROP)
}
