//! The one writer: commands and events come in, the state machine says what is to be done, and it is done here.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    net::IpAddr,
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};
use vtep_common::addr::MacAddr;

use super::{
    DaemonError,
    announce::Announcer,
    device_name,
    groups::Groups,
    learning::{Told, WAIT_FOR_MORE},
    remove_dir_if_empty,
    start::Prepared,
};
use crate::{
    api::events::Events,
    ask::{Ask, Command, Reply},
    causes::with_causes,
    cli::run::RunOptions,
    control::{Reserved, State},
    datapath::{self, Datapath, DatapathError},
    model::{Refusal, Status, UplinkStatus},
    netlink::{self, Link, Monitor, Netlink},
    stats,
};

/// How often time is let pass.
const TICK: Duration = Duration::from_secs(1);
/// Changes of a batch that are made before what the kernel side tells has its turn.
const CHANGES_AT_ONCE: usize = 256;

/// Everything that the daemon has.
pub(super) struct Core {
    pub(super) netlink: Netlink,
    pub(super) datapath: Datapath,
    pub(super) state: State,
    pub(super) uplinks: Vec<Link>,
    /// The local addresses were named, and do not follow those of the uplinks.
    pub(super) fixed_locals: bool,
    /// Next hops that the kernel keeps resolved for us.
    pub(super) kept: HashSet<(u32, IpAddr)>,
    /// By which interface and next hop each peer is reached, or would be.
    pub(super) next_hops: HashMap<IpAddr, (u32, IpAddr)>,
    /// Whether a peer could be reached when it was last looked at.
    pub(super) peers_up: HashMap<IpAddr, bool>,
    /// Those who watch.
    pub(super) events: Events,
    pub(super) groups: Groups,
    pub(super) announcer: Announcer,
    /// The MACs of all interfaces.
    pub(super) macs: HashMap<u32, MacAddr>,
    /// The state does not know of a change of our own MACs yet.
    pub(super) own_macs_stale: bool,
    /// Events that had found the ring buffer full when it was last told.
    pub(super) lost: u64,
    pub(super) options: RunOptions,
    pub(super) statuses: Vec<UplinkStatus>,
    /// Number of the kernel device.
    pub(super) device: u32,
}

impl Core {
    pub(super) fn new(options: &RunOptions, netlink: Netlink, prepared: Prepared) -> Self {
        let Prepared {
            datapath,
            state,
            uplinks,
            statuses,
            device,
            lost,
        } = prepared;
        let mut core = Self {
            netlink,
            datapath,
            state,
            uplinks,
            fixed_locals: !options.locals.is_empty(),
            kept: HashSet::new(),
            next_hops: HashMap::new(),
            peers_up: HashMap::new(),
            events: Events::default(),
            groups: Groups::default(),
            announcer: Announcer::new(options.udp_port),
            macs: HashMap::new(),
            own_macs_stale: true,
            lost,
            options: options.clone(),
            statuses,
            device,
        };
        core.reserve();
        core
    }

    /// The UDP port of VXLAN.
    pub(super) const fn udp_port(&self) -> u16 {
        self.options.udp_port
    }

    /// Serves until everything has been removed, or something without which it cannot go on has failed.
    pub(super) async fn run(
        &mut self,
        mut asks: mpsc::Receiver<Ask>,
        mut monitor: Monitor,
    ) -> Result<(), DaemonError> {
        let ring = self
            .datapath
            .events_ready()
            .map_err(|error| broken("nothing can be learned", &error))?;
        let mut second = Instant::now() + TICK;
        let mut tick = second;
        // Until when the ring is left alone.
        let mut pause: Option<Instant> = None;
        loop {
            let announce = self.announcer.next().map(Instant::from_std);
            // Of those that are ready one is chosen by chance: none of them starves the others.
            tokio::select! {
                ask = asks.recv() => {
                    let Some(ask) = ask else {
                        return Err(DaemonError::Broken {
                            what: "nobody can ask any more",
                            cause: "the API's servers have ended".to_owned(),
                        });
                    };
                    if self.take_ask(ask).await {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(pause.unwrap_or(second)), if pause.is_some() => {
                    pause = None;
                }
                ready = ring.readable(), if pause.is_none() => {
                    let mut ready =
                        ready.map_err(|error| broken("nothing is learned any more", &error))?;
                    match self.take_events().await {
                        Told::Little => ready.clear_ready(),
                        Told::Much => pause = Some(Instant::now() + WAIT_FOR_MORE),
                        Told::MoreWaits => {}
                    }
                    // The API's tasks have the same thread.
                    tokio::task::yield_now().await;
                }
                () = tokio::time::sleep_until(tick) => {
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
                event = monitor.next() => match event {
                    Ok(event) => self.follow(event, &mut monitor).await,
                    Err(error) => {
                        return Err(broken("the underlay is not followed any more", &error));
                    }
                },
            }
        }
    }

    /// Answers. True if everything has been removed.
    async fn take_ask(&mut self, ask: Ask) -> bool {
        self.look_for_watchers();
        if matches!(ask.command, Command::Teardown) {
            let removed = self
                .teardown()
                .await
                .map(|()| Reply::Done)
                .map_err(internal);
            let done = removed.is_ok();
            ask.answer(removed);
            return done;
        }
        let Ask { command, reply } = ask;
        let answer = self.answer(command).await;
        // Nobody may be there any more to take it.
        drop(reply.send(answer));
        false
    }

    async fn answer(&mut self, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::Status => Ok(Reply::Status(Box::new(self.status()))),
            Command::VniShow(vni) => self.state.vni_rows(vni).map(Reply::Vnis),
            Command::PortShow(dev) => self.state.port_rows(dev.as_deref()).map(Reply::Ports),
            Command::FdbShow(filter) => {
                self.state.fdb_rows(&filter, &self.datapath).map(Reply::Fdb)
            }
            Command::FdbGet { mac, vni } => {
                self.state.fdb_get(mac, vni, &self.datapath).map(Reply::Fdb)
            }
            Command::NeighShow(vni) => self
                .state
                .neigh_rows(vni, &self.datapath)
                .map(Reply::Neighs),
            Command::NexthopShow(vni) => self.state.nexthop_rows(vni).map(Reply::Nexthops),
            Command::PeerShow(ip) => self.state.peer_rows(ip).map(Reply::Peers),
            Command::Stats(filter) => {
                let snapshot = stats::snapshot(&self.datapath, &self.state).map_err(internal)?;
                stats::rows(&snapshot, &self.state, &filter).map(Reply::Stats)
            }
            Command::Drops => {
                let snapshot = stats::snapshot(&self.datapath, &self.state).map_err(internal)?;
                Ok(Reply::Drops(stats::drops(&snapshot)))
            }
            Command::Metrics => {
                let snapshot = stats::snapshot(&self.datapath, &self.state).map_err(internal)?;
                let announced = self.announcer.counters();
                Ok(Reply::Text(stats::prometheus::text(
                    &snapshot,
                    &self.state,
                    announced,
                )))
            }
            Command::Do(op) => self.change(&op).await.map(|()| Reply::Done),
            Command::Batch(ops) => {
                for some in ops.chunks(CHANGES_AT_ONCE) {
                    self.change_some(some).await?;
                    self.take_events().await;
                }
                Ok(Reply::Done)
            }
            Command::Teardown => Err(Refusal::internal("a teardown is not answered here")),
        }
    }

    fn status(&self) -> Status {
        let totals = self.state.totals();
        Status {
            instance: self.options.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            udp_port: self.options.udp_port,
            device: Some(device_name(self.options.udp_port)),
            locals: self.state.locals().to_vec(),
            uplinks: self.statuses.clone(),
            vnis: totals.vnis.into(),
            ports: totals.ports.into(),
            peers: totals.peers.into(),
            fdb: totals.fdb.into(),
            fdb_max: totals.fdb_max.into(),
        }
    }

    /// Tells the state which interfaces cannot be ports.
    pub(super) fn reserve(&mut self) {
        let mut reserved: HashMap<u32, Reserved> = self
            .uplinks
            .iter()
            .map(|link| (link.index, Reserved::Uplink))
            .collect();
        reserved.insert(self.device, Reserved::Tunnel);
        self.state.set_reserved(reserved);
    }

    /// Removes everything from the kernel.
    pub(super) async fn teardown(&mut self) -> Result<(), DaemonError> {
        for link in &self.uplinks {
            self.datapath.detach_uplink(link.index)?;
        }
        for port in self.state.attachments() {
            self.datapath.detach_port(port.ifindex)?;
        }
        self.remove_groups().await?;
        let dir = datapath::instance_dir(&self.options.instance);
        datapath::remove_pins(&dir)?;
        remove_dir_if_empty(dir.parent());
        match self
            .netlink
            .delete_link(&device_name(self.options.udp_port))
            .await
        {
            Ok(()) | Err(netlink::Error::NoSuchLink(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Why a daemon that was running ends.
fn broken(what: &'static str, error: &dyn Error) -> DaemonError {
    DaemonError::Broken {
        what,
        cause: with_causes(error),
    }
}

/// A failure of ours, with its causes.
pub(super) fn internal(error: impl Error) -> Refusal {
    Refusal::internal(with_causes(&error))
}

impl From<DatapathError> for Refusal {
    fn from(error: DatapathError) -> Self {
        internal(error)
    }
}
