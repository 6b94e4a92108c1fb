//! Counters at one moment, as the daemon says them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::api::client::{Client, ClientError};
use crate::cli::daemon::Daemon;
use crate::model::{DropsRow, PeerRow, PortRow, Query, StatsFilter, StatsRow, Vni};

/// Frames, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Count {
    fn add(&mut self, packets: u64, bytes: u64) {
        self.packets += packets;
        self.bytes += bytes;
    }
}

/// Frames of a port, a VNI or a VTEP, as seen from the VMs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    /// From them.
    pub(super) tx: Count,
    /// To them.
    pub(super) rx: Count,
}

/// What is said of a port or a VTEP beside its counters.
pub(super) type About<K> = BTreeMap<K, String>;

/// Counters at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// When they were read.
    pub(super) at: Instant,
    /// Of ports; all VLANs of an interface are one.
    pub(super) ports: BTreeMap<String, Flow>,
    /// Of VNIs.
    pub(super) vnis: BTreeMap<Vni, Flow>,
    /// Of VTEPs.
    pub(super) peers: BTreeMap<IpAddr, Flow>,
    /// Of frames that were dropped, by hook and reason, with what that means.
    pub(super) drops: BTreeMap<(String, String), (Count, String)>,
    /// The VNIs and the state of each port.
    pub(super) about_ports: About<String>,
    /// The state of each VTEP.
    pub(super) about_peers: About<IpAddr>,
}

impl Sample {
    /// Puts rows together.
    pub(super) fn of(
        at: Instant,
        stats: Vec<StatsRow>,
        drops: Vec<DropsRow>,
        ports: Vec<PortRow>,
        peers: Vec<PeerRow>,
    ) -> Self {
        let mut sample = Self {
            at,
            ports: BTreeMap::new(),
            vnis: BTreeMap::new(),
            peers: BTreeMap::new(),
            drops: BTreeMap::new(),
            about_ports: BTreeMap::new(),
            about_peers: BTreeMap::new(),
        };
        for row in stats {
            sample.note(row);
        }
        for row in drops {
            let count = Count {
                packets: row.packets,
                bytes: row.bytes,
            };
            let key = (row.reason, row.hook);
            sample.drops.insert(key, (count, row.meaning));
        }
        // What has no counters yet has its row too: a port that waits for its interface.
        for port in ports {
            let about = sample.about_ports.entry(port.dev.clone()).or_default();
            if !about.is_empty() {
                about.push(' ');
            }
            about.push_str(&port.vni.to_string());
            sample.ports.entry(port.dev).or_default();
        }
        for peer in peers {
            sample.about_peers.insert(peer.ip, peer.state.to_string());
            sample.peers.entry(peer.ip).or_default();
        }
        sample
    }

    fn note(&mut self, row: StatsRow) {
        let flow = match row {
            StatsRow { dev: Some(dev), .. } => self.ports.entry(dev).or_default(),
            StatsRow { vni: Some(vni), .. } => self.vnis.entry(vni).or_default(),
            StatsRow {
                peer: Some(peer), ..
            } => self.peers.entry(peer).or_default(),
            _ => return,
        };
        match row.reason.as_deref() {
            Some("tx") => flow.tx.add(row.packets, row.bytes),
            Some("rx") => flow.rx.add(row.packets, row.bytes),
            _ => {}
        }
    }
}

/// Reads samples of a daemon, also of one that comes after another.
pub(super) struct Sampler<'a> {
    daemon: Daemon<'a>,
    client: Option<Client>,
}

impl<'a> Sampler<'a> {
    pub(super) async fn new(daemon: Daemon<'a>) -> Result<Self, ClientError> {
        let client = Some(daemon.connect().await?);
        Ok(Self { daemon, client })
    }

    /// Reads one.
    pub(super) async fn sample(&mut self) -> Result<Sample, ClientError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.daemon.connect().await?,
        };
        let sample = read(&mut client).await?;
        self.client = Some(client);
        Ok(sample)
    }
}

async fn read(client: &mut Client) -> Result<Sample, ClientError> {
    let ports = client.rows(Query::Ports(None)).await?;
    let peers = client.rows(Query::Peers(None)).await?;
    let drops = client.rows(Query::Drops(StatsFilter::default())).await?;
    let stats = client.rows(Query::Stats(StatsFilter::default())).await?;
    Ok(Sample::of(Instant::now(), stats, drops, ports, peers))
}
