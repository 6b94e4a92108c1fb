//! The one writer: commands and events come in, the state machine says what is to be done, and it is done here.
//!
//! Each thing that the daemon knows has a room of its own, which keeps its fields to itself; the core arranges them.

mod announce;
mod answer;
mod apply;
mod bridge;
mod configure;
mod heard;
mod learn;
mod others;
mod planning;
mod repair;
mod trace;
mod track;
mod work;
mod works;

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    time::Duration,
};

use futures::{StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use vtep_common::abi::id::{Ifindex, PeerId};

use self::{planning::Planning, works::Works};
use super::{
    announcer::Announcer,
    attacher::{Attacher, LookAt},
    bridges::Bridges,
    capture,
    configuration::Configuration,
    error::DaemonError,
    groups::Groups,
    options::Options,
    own_macs::OwnMacs,
    process, promiscuity,
    repairs::Repairs,
    resolver::Resolver,
    ring::{Backlog, EVENTS_AT_ONCE, LostEvents, MOST_EVENTS, WAIT_FOR_MORE},
    service::{self, ServiceManager},
    slow_path::{self, SlowPath},
    tags::Blind,
    teardown,
    too_big::Answerer,
    uplinks::Uplinks,
};
use crate::{
    api::event_feed::Events,
    ask::{Ask, CaptureAsk, Reply},
    causes::with_causes,
    control::{ReservedFor, State, Wanted},
    datapath::{CaptureGround, Datapath},
    model::Refusal,
    netlink::{Link, Netlink, NetlinkMonitor, PathReports},
};

/// How often time is let pass.
const TICK: Duration = Duration::from_secs(1);

/// What a core is made of.
pub(super) struct CoreParts {
    pub(super) options: Options,
    pub(super) netlink: Netlink,
    pub(super) datapath: Datapath,
    pub(super) state: State,
    pub(super) blind: Blind,
    pub(super) answerer: Answerer,
    pub(super) path_reports: PathReports,
    pub(super) uplinks: Uplinks,
    pub(super) slow_path: SlowPath,
}

/// What became of the ports of an interface that has come.
type Came = Result<Result<Reply, Refusal>, oneshot::error::RecvError>;

/// Everything that the daemon has.
pub(super) struct Core {
    options: Options,
    netlink: Netlink,
    datapath: Datapath,
    state: State,
    blind: Blind,
    answerer: Answerer,
    path_reports: PathReports,
    uplinks: Uplinks,
    slow_path: SlowPath,
    /// The VRF that the uplinks belong to.
    vrf: Option<Ifindex>,
    resolver: Resolver,
    attacher: Attacher,
    works: Works,
    groups: Groups,
    announcer: Announcer,
    own_macs: OwnMacs,
    bridges: Bridges,
    repairs: Repairs,
    lost: LostEvents,
    /// The peer whose counters were looked at last.
    heard_last: Option<PeerId>,
    /// The configuration file.
    config: Option<Configuration>,
    planning: Planning,
    /// What the configuration file asks for at the start is being done.
    starting: Option<oneshot::Receiver<Result<Reply, Refusal>>>,
    /// How many changes were made.
    changes: u64,
    /// Interfaces that have come, whose ports are being made.
    coming: HashSet<String>,
    came: FuturesUnordered<LocalBoxFuture<'static, (String, Came)>>,
    /// A change has brought new peers, whose paths are not known yet.
    finding: bool,
    service: ServiceManager,
    /// Those who watch.
    events: Events,
    /// Who captures.
    captures: Option<mpsc::Sender<CaptureAsk>>,
}

impl Core {
    pub(super) fn new(prepared: CoreParts) -> Result<Self, DaemonError> {
        let CoreParts {
            options,
            netlink,
            datapath,
            state,
            blind,
            answerer,
            path_reports,
            uplinks,
            slow_path,
        } = prepared;
        let mut core = Self {
            resolver: Resolver::start()?,
            attacher: Attacher::start(
                datapath.port_programs()?,
                slow_path::owner(options.instance()),
            )?,
            works: Works::default(),
            groups: Groups::new(netlink.clone(), options.udp_port()),
            announcer: Announcer::new(options.udp_port()),
            own_macs: OwnMacs::default(),
            bridges: Bridges::new(options.instance()),
            repairs: Repairs::default(),
            vrf: None,
            lost: LostEvents::new(&datapath)?,
            heard_last: None,
            config: options.config.as_ref().map(Configuration::new),
            planning: Planning::default(),
            starting: None,
            changes: 0,
            coming: HashSet::new(),
            came: FuturesUnordered::new(),
            finding: false,
            service: ServiceManager::new(),
            events: Events::default(),
            captures: None,
            options,
            netlink,
            datapath,
            state,
            blind,
            answerer,
            path_reports,
            uplinks,
            slow_path,
        };
        core.reserve();
        // What an earlier daemon has heard is where counting begins.
        core.hear_all_peers();
        Ok(core)
    }

    /// Looks at everything that was there before this daemon, and finds the path to every peer.
    pub(super) async fn look_around(&mut self) -> Result<(), DaemonError> {
        let links = self.netlink.links().await?;
        for link in &links {
            self.own_macs.note(link);
        }
        self.bridges.reset(&links);
        self.find_vrf();
        self.tend_slow_path(false).await;
        self.reserve();
        self.refresh_own_macs();
        self.refresh_uplink_macs()?;
        // Before numbers are given out: what frames have said so far is of those that are in use.
        for _ in 0..=MOST_EVENTS / EVENTS_AT_ONCE {
            if self.read_events().await != Backlog::MoreWaits {
                break;
            }
        }
        self.refresh_own_addresses().await?;
        let (groups, locals) = (self.state.groups(), self.state.locals());
        self.groups.adopt(groups, &self.uplinks, locals).await;
        // A port may have been one before ports were promiscuous.
        let ports = self.ports_to_tend().collect();
        let broken = self.attacher.look_at(ports, LookAt::Everything).await;
        self.repair_ports(broken);
        self.resolve_all();
        self.wait_for_paths().await
    }

    /// Where those who watch get what happens.
    pub(super) fn events(&self) -> Events {
        self.events.clone()
    }

    /// Has the capture that runs end before everything is removed.
    pub(super) fn end_before_teardown(&mut self, captures: mpsc::Sender<CaptureAsk>) {
        self.captures = Some(captures);
    }

    /// What captures start from.
    pub(super) fn capture_ground(&self) -> Result<CaptureGround, DaemonError> {
        Ok(self.datapath.capture_ground()?)
    }

    /// Whether there was nothing of the instance before.
    pub(super) const fn is_fresh(&self) -> bool {
        !self.datapath.adopted()
    }

    /// Has what the configuration file asks for done first, if there is one.
    pub(super) fn start_with(&mut self, wanted: Option<Wanted>) {
        if let Some(wanted) = wanted {
            self.apply_first(wanted);
        } else {
            self.is_ready();
        }
    }

    /// Serves until everything has been removed, or something without which it cannot go on has failed.
    #[expect(
        clippy::too_many_lines,
        reason = "an arm for each thing that can happen"
    )]
    pub(super) async fn run(
        &mut self,
        mut asks: mpsc::Receiver<Ask>,
        mut monitor: NetlinkMonitor,
    ) -> Result<(), DaemonError> {
        let ring = self
            .datapath
            .events_ready()
            .map_err(|error| broken("cannot wait for learning events", &error))?;
        let too_big = self
            .datapath
            .too_big_ready()
            .map_err(|error| broken("cannot wait for frames that are too big", &error))?;
        let mut second = Instant::now() + TICK;
        let mut tick = second;
        // Until when the ring is left alone.
        let mut pause: Option<Instant> = None;
        loop {
            self.tell_service();
            let announce = self.announcer.next().map(Instant::from_std);
            // Of those that are ready one is chosen by chance: none of them starves the others.
            tokio::select! {
                ask = asks.recv(), if self.starting.is_none() => {
                    let Some(ask) = ask else {
                        return Err(DaemonError::Broken {
                            what: "cannot serve the API any more",
                            cause: "the API servers have ended".to_owned(),
                        });
                    };
                    if self.take_ask(ask).await {
                        return Ok(());
                    }
                }
                applied = has_started(&mut self.starting), if self.starting.is_some() => {
                    self.starting = None;
                    applied.map_err(DaemonError::Config)?;
                    self.is_ready();
                }
                () = tokio::time::sleep_until(pause.unwrap_or(second)), if pause.is_some() => {
                    pause = None;
                }
                ready = ring.readable(), if pause.is_none() && !self.works.ahead => {
                    let mut ready =
                        ready.map_err(|error| broken("cannot read learning events any more", &error))?;
                    match self.read_events().await {
                        Backlog::Little => ready.clear_ready(),
                        Backlog::Much => pause = Some(Instant::now() + WAIT_FOR_MORE),
                        Backlog::MoreWaits => {}
                    }
                    // The API's tasks have the same thread.
                    tokio::task::yield_now().await;
                }
                ready = too_big.readable(), if self.answerer.can_answer() => {
                    let mut ready = ready.map_err(|error| {
                        broken("cannot read of frames that are too big any more", &error)
                    })?;
                    if self.answer_too_big() {
                        ready.clear_ready();
                    }
                    tokio::task::yield_now().await;
                }
                heard = self.path_reports.next(), if !self.works.ahead => {
                    self.hear_of_path(heard);
                    tokio::task::yield_now().await;
                }
                () = tokio::time::sleep_until(tick), if !self.works.ahead => {
                    let now = Instant::now();
                    if now >= second {
                        self.each_second().await;
                        second = now + TICK;
                    }
                    let behind = self.tick().await;
                    tick = if behind { now } else { second };
                    tokio::task::yield_now().await;
                }
                () = tokio::time::sleep_until(announce.unwrap_or(second)), if announce.is_some() => {
                    self.send_announcements();
                }
                () = std::future::ready(()), if self.works.can_go_on() => {
                    self.resume().await;
                    // Whoever makes many changes does not keep others from learning.
                    if !self.works.ahead {
                        self.read_events().await;
                    }
                    tokio::task::yield_now().await;
                }
                Some((work, woken)) = self.works.waiting.next() => {
                    self.wake(work, woken).await;
                    tokio::task::yield_now().await;
                }
                Some(reading) = self.planning.reads.next() => {
                    self.has_read(reading).await;
                }
                Some(looked) = self.planning.looks.next() => {
                    self.has_looked(looked);
                }
                () = std::future::ready(()), if self.starting.is_none() && self.tends_bridges() => {
                    self.tend_bridges().await;
                    tokio::task::yield_now().await;
                }
                Some(tended) = self.repairs.tended.next() => {
                    self.take_tended(tended);
                }
                Some(asked) = self.bridges.asked.next() => {
                    self.port_was_asked(asked);
                }
                Some((dev, came)) = self.came.next() => {
                    let ended = |_| Err(Refusal::internal("the request was left undone"));
                    self.has_come(&dev, came.unwrap_or_else(ended));
                }
                found = self.resolver.next(), if !self.works.ahead => {
                    self.take_found(found.ok_or_else(no_paths)?);
                    tokio::task::yield_now().await;
                }
                event = monitor.next(), if !self.works.ahead => match event {
                    Ok(event) => self.track(event, &mut monitor).await,
                    Err(error) => {
                        return Err(broken("cannot follow the underlay any more", &error));
                    }
                },
            }
        }
    }

    /// Says that it serves, and that what the configuration file asks for at the start is done.
    fn is_ready(&self) {
        process::give_back_memory();
        tracing::info!(instance = self.options.instance(), "ready");
        ServiceManager::ready();
    }

    /// Tells the service manager that the loop goes round.
    fn tell_service(&mut self) {
        if self.service.is_due() {
            let totals = self.state.totals();
            let waits_for = self.waits_for();
            let about = service::about(totals.vnis, totals.ports, totals.peers, &waits_for);
            self.service.alive(about);
        }
    }

    /// Tells the state which interfaces cannot be ports.
    fn reserve(&mut self) {
        let uplinks = self.uplinks.iter();
        let mut reserved: HashMap<Ifindex, ReservedFor> = uplinks
            .map(|link: &Link| (link.index, ReservedFor::Uplink))
            .collect();
        reserved.insert(self.slow_path.ifindex(), ReservedFor::SlowPath);
        let gates = self.bridges.gate_ends();
        reserved.extend(gates.map(|ifindex| (ifindex, ReservedFor::Gate)));
        self.state.set_reserved(reserved);
    }

    /// Removes everything from the kernel.
    pub(super) async fn teardown(&mut self) -> Result<(), DaemonError> {
        // It would put back what is removed here.
        let _paused = match &self.captures {
            Some(captures) => Some(capture::pause(captures).await),
            None => None,
        };
        // Before anything is detached: no guest is without a way meanwhile.
        self.bridges.reset(&self.netlink.links().await?);
        self.bridges.remove_all(&self.netlink).await?;
        for link in self.uplinks.iter() {
            self.datapath.detach_uplink(link.index)?;
        }
        let ports: Vec<Ifindex> = self.state.attachments().map(|port| port.ifindex).collect();
        for ifindex in ports {
            promiscuity::restore(&self.netlink, &self.datapath.own_at_ports(), ifindex).await;
            self.datapath.detach_port(ifindex)?;
        }
        self.resolver.release_all().await;
        self.groups.remove().await?;
        teardown::remove_pins(self.options.instance())?;
        self.slow_path.delete().await
    }
}

/// Waits until what the configuration file asks for at the start is done.
async fn has_started(
    starting: &mut Option<oneshot::Receiver<Result<Reply, Refusal>>>,
) -> Result<(), Refusal> {
    match starting {
        Some(answer) => match answer.await {
            Ok(answer) => answer.map(drop),
            Err(_) => Err(Refusal::internal("the daemon is shutting down")),
        },
        None => Ok(()),
    }
}

/// Why a daemon ends that finds no paths any more.
fn no_paths() -> DaemonError {
    DaemonError::Broken {
        what: "cannot find the paths to VTEPs any more",
        cause: "the thread that finds them has ended".to_owned(),
    }
}

/// Why a daemon that was running ends.
fn broken(what: &'static str, error: &dyn Error) -> DaemonError {
    DaemonError::Broken {
        what,
        cause: with_causes(error),
    }
}
