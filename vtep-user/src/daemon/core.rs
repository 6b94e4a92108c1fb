//! The one writer: commands and events come in, the state machine says what is to be done, and it is done here.

use std::{collections::HashSet, net::IpAddr};

use tokio::sync::mpsc;

use super::{DaemonError, device_name, facts, remove_dir_if_empty, start};
use crate::{
    api::{
        command::{Ask, Command, Op, Refusal, Reply},
        model::{PortHook, Status, UplinkStatus},
    },
    cli::run::RunOptions,
    control::{Effect, LinkFacts, Reserved, State},
    datapath::{self, Datapath, DatapathError},
    netlink::{self, Link, Monitor, Netlink},
    stats,
};

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
    options: RunOptions,
    statuses: Vec<UplinkStatus>,
    /// Number of the kernel device.
    device: u32,
}

impl Core {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of the core, made once"
    )]
    pub(super) fn new(
        options: &RunOptions,
        netlink: Netlink,
        datapath: Datapath,
        state: State,
        uplinks: Vec<Link>,
        statuses: Vec<UplinkStatus>,
        fixed_locals: bool,
        device: u32,
    ) -> Self {
        let mut core = Self {
            netlink,
            datapath,
            state,
            uplinks,
            fixed_locals,
            kept: HashSet::new(),
            options: options.clone(),
            statuses,
            device,
        };
        core.reserve();
        core
    }

    /// Serves until everything is to be removed. Returns true then.
    pub(super) async fn run(
        &mut self,
        mut asks: mpsc::Receiver<Ask>,
        mut monitor: Monitor,
    ) -> bool {
        loop {
            tokio::select! {
                ask = asks.recv() => {
                    let Some(ask) = ask else { return false };
                    let teardown = matches!(ask.command, Command::Teardown);
                    if teardown {
                        let removed = self.teardown().await.map(|()| Reply::Done).map_err(internal);
                        let done = removed.is_ok();
                        ask.answer(removed);
                        if done {
                            return true;
                        }
                        continue;
                    }
                    let Ask { command, reply } = ask;
                    let answer = self.answer(command).await;
                    // Nobody may be there any more to take it.
                    drop(reply.send(answer));
                }
                event = monitor.next() => match event {
                    Ok(event) => self.follow(event, &mut monitor).await,
                    Err(error) => {
                        tracing::error!(%error, "the underlay is not followed any more");
                        return false;
                    }
                },
            }
        }
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
                Ok(Reply::Text(stats::prometheus::text(&snapshot, &self.state)))
            }
            Command::Do(op) => self.change(&op).await.map(|()| Reply::Done),
            Command::Batch(ops) => {
                for (line, op) in &ops {
                    self.change(op)
                        .await
                        .map_err(|refusal| refusal.at_line(*line))?;
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

    /// Makes one change, wholly or not at all.
    async fn change(&mut self, op: &Op) -> Result<(), Refusal> {
        let link = match op {
            Op::PortAdd(spec) => self.port_facts(&spec.dev).await?,
            _ => None,
        };
        let effect = self.state.apply(op, &link)?;
        self.carry_out(effect, link.as_ref()).await
    }

    /// Looks an interface up that is to be a port.
    async fn port_facts(&self, dev: &str) -> Result<Option<LinkFacts>, Refusal> {
        match self.netlink.find_link(dev).await.map_err(internal)? {
            Some(link) if !link.ethernet => Err(Refusal::invalid(format!(
                "interface {dev} carries no Ethernet frames; make a tap with: ip tuntap add dev {dev} mode tap"
            ))),
            Some(link) => {
                let facts = facts::of_port(&self.netlink, &link).map_err(internal)?;
                tracing::info!("port {dev}: {}", delivery(&facts));
                Ok(Some(facts))
            }
            None => Ok(None),
        }
    }

    /// Does what the state machine asks for.
    async fn carry_out(
        &mut self,
        effect: Effect,
        links: Option<&LinkFacts>,
    ) -> Result<(), Refusal> {
        let Effect {
            writes,
            attach,
            detach,
            resolve,
            forget,
            undo,
            join: _,
            leave: _,
            announce: _,
            events: _,
        } = effect;
        for wanted in &attach {
            let xdp = wanted.hook == PortHook::Xdp;
            if let Err(error) = self.datapath.attach_port(&wanted.name, wanted.ifindex, xdp) {
                if let Some(undo) = &undo {
                    // Nothing has been written yet: the state alone goes back.
                    if let Err(refusal) = self.state.apply(undo, &links.cloned()) {
                        tracing::error!(%refusal, "a port that could not be attached stays in the state");
                    }
                }
                return Err(internal(error));
            }
        }
        self.datapath.write(&writes).map_err(internal)?;
        for ifindex in detach {
            self.datapath.detach_port(ifindex).map_err(internal)?;
        }
        for ip in resolve {
            self.resolve(ip).await;
        }
        drop(forget);
        Ok(())
    }

    /// Takes away what hung on an interface that is gone.
    pub(super) async fn port_gone(&mut self, ifindex: u32) {
        let effect = self.state.link_gone(ifindex);
        if effect.writes.is_empty() && effect.detach.is_empty() {
            return;
        }
        tracing::warn!(
            ifindex,
            "the interface of a port is gone, and the port with it"
        );
        if let Err(refusal) = self.carry_out(effect, None).await {
            tracing::error!(%refusal, "the port of an interface that is gone stays");
        }
    }

    /// Takes on what changed about an interface.
    pub(super) fn port_changed(&mut self, link: &Link) -> Result<(), DaemonError> {
        let facts = facts::of_port(&self.netlink, link)?;
        let writes = self.state.link_changed(&facts);
        if !writes.is_empty() {
            tracing::info!("port {}: {}", facts.name, delivery(&facts));
        }
        Ok(self.datapath.write(&writes)?)
    }

    /// Takes on what changed about an uplink: one that was deleted and made again is attached anew.
    pub(super) fn uplink_changed(&mut self, link: &Link) -> Result<(), DaemonError> {
        let Some(at) = self
            .uplinks
            .iter()
            .position(|uplink| uplink.index == link.index || uplink.name == link.name)
        else {
            return Ok(());
        };
        let old = std::mem::replace(&mut self.uplinks[at], link.clone());
        if old.index == link.index {
            return Ok(());
        }
        tracing::warn!("uplink {} was made again; attaching to it", link.name);
        self.datapath.detach_uplink(old.index)?;
        self.statuses[at] =
            start::attach_uplink(&self.options, &self.netlink, link, &mut self.datapath)?;
        self.reserve();
        Ok(())
    }

    /// Tells the state which interfaces cannot be ports.
    fn reserve(&mut self) {
        let mut reserved: std::collections::HashMap<u32, Reserved> = self
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

/// How frames reach a port, for the log.
fn delivery(facts: &LinkFacts) -> &'static str {
    match (facts.xdp_target, facts.peer_target) {
        (true, true) => "XDP may redirect to it, and TC hands frames straight to its other end",
        (true, false) => "XDP may redirect to it",
        (false, true) => {
            "XDP leaves it to TC, since its other end would lose the frames; TC hands them straight to that end"
        }
        (false, false) => "XDP leaves it to TC, since the driver would lose the frames",
    }
}

/// A failure of ours, with its causes.
fn internal(error: impl std::error::Error) -> Refusal {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    Refusal::internal(text)
}

impl From<DatapathError> for Refusal {
    fn from(error: DatapathError) -> Self {
        internal(error)
    }
}
