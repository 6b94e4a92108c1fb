//! Starting: check everything, then take over or make what is needed, and leave nothing half made.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use aya::util::KernelVersion;
use vtep_common::maps::{Config, DEFAULT_FDB_ENTRIES};

use super::{DaemonError, core::Core, device_name, facts, owner};
use crate::{
    cli::run::{RunOptions, UplinkHook, XdpMode},
    control::{self, Adopted, Limits, State, Write},
    datapath::{self, Attempt, Datapath, XdpOutcome},
    model::{PortHook, UplinkStatus},
    netlink::{Link, LinkKind, Monitor, Netlink, XdpFeatures},
};

/// Oldest kernel: it has all helpers, and the source address in tunnel keys (6.0).
const OLDEST_KERNEL: (KernelVersion, &str) = (KernelVersion::new(6, 1, 0), "6.1");

/// What a core is made of.
pub(super) struct Prepared {
    pub(super) datapath: Datapath,
    pub(super) state: State,
    pub(super) uplinks: Vec<Link>,
    pub(super) statuses: Vec<UplinkStatus>,
    /// Number of the kernel device.
    pub(super) device: u32,
    /// Events that found the ring buffer full before.
    pub(super) lost: u64,
}

/// A daemon that is ready.
pub(super) struct Started {
    pub(super) core: Core,
    pub(super) monitor: Monitor,
}

pub(super) fn check_kernel() -> Result<(), DaemonError> {
    // No command of that number: a kernel with BPF says that the arguments are invalid.
    // SAFETY: the call reads nothing through a null pointer of length 0.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, i32::MAX, std::ptr::null::<u8>(), 0) };
    let error = std::io::Error::last_os_error();
    if answer < 0 && error.raw_os_error() == Some(libc::ENOSYS) {
        return Err(DaemonError::NoBpf(error));
    }
    let (oldest, needed) = OLDEST_KERNEL;
    match KernelVersion::current() {
        Ok(version) if version >= oldest => Ok(()),
        Ok(_) | Err(_) => {
            let found = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
            Err(DaemonError::Kernel {
                found: found.trim().to_owned(),
                needed,
            })
        }
    }
}

pub(super) async fn start(options: &RunOptions) -> Result<Started, DaemonError> {
    let netlink = Netlink::open()?;
    // Before anything is read: what changes from here on is told.
    let monitor = Monitor::open()?;
    let uplinks = uplinks(&netlink, &options.ifaces).await?;
    let locals = locals(&netlink, options, &uplinks).await?;
    datapath::check_bpffs()?;

    let name = device_name(options.udp_port);
    let tunnel = netlink
        .create_tunnel_device(&name, options.udp_port, &owner(&options.instance))
        .await?;
    let made = prepare(options, &netlink, &uplinks, &tunnel.link, locals).await;
    match made {
        Ok(mut core) => {
            for link in netlink.links().await? {
                core.note_mac(&link);
            }
            core.refresh_own_macs();
            core.refresh_own_addresses().await?;
            core.adopt_groups().await;
            core.resolve_all().await;
            Ok(Started { core, monitor })
        }
        Err(error) => {
            // What was not there before is not left behind.
            if !tunnel.adopted
                && let Err(left) = netlink.delete_link(&name).await
            {
                tracing::warn!(error = %left, "the device {name} stays");
            }
            Err(error)
        }
    }
}

/// The uplinks, each up and Ethernet.
async fn uplinks(netlink: &Netlink, names: &[String]) -> Result<Vec<Link>, DaemonError> {
    let mut seen = HashSet::new();
    let mut links = Vec::new();
    for name in names {
        let link = netlink.link_by_name(name).await?;
        if !seen.insert(link.index) {
            return Err(DaemonError::TwiceNamed(name.clone()));
        }
        if !link.ethernet {
            return Err(DaemonError::NotEthernet(name.clone()));
        }
        if !link.up {
            return Err(DaemonError::LinkDown(name.clone()));
        }
        links.push(link);
    }
    Ok(links)
}

/// The addresses to send from: those named, else one of each family from the uplinks.
async fn locals(
    netlink: &Netlink,
    options: &RunOptions,
    uplinks: &[Link],
) -> Result<Vec<IpAddr>, DaemonError> {
    let dev = || {
        uplinks
            .first()
            .map(|link| link.name.clone())
            .unwrap_or_default()
    };
    for &ip in &options.locals {
        if let Some(what) = control::unfit(ip) {
            return Err(DaemonError::UnfitLocal { ip, what });
        }
    }
    if !options.locals.is_empty() {
        let ours = netlink.all_local_addresses().await?;
        return match options.locals.iter().find(|ip| !ours.contains(ip)) {
            Some(&ip) => Err(DaemonError::NotLocal { ip, dev: dev() }),
            None => Ok(options.locals.clone()),
        };
    }
    let chosen = choose_locals(netlink, uplinks).await?;
    if chosen.is_empty() {
        Err(DaemonError::NoAddress { dev: dev() })
    } else {
        Ok(chosen)
    }
}

/// The best address of each family that the uplinks have.
pub(super) async fn choose_locals(
    netlink: &Netlink,
    uplinks: &[Link],
) -> Result<Vec<IpAddr>, DaemonError> {
    let mut found = Vec::new();
    for link in uplinks {
        found.extend(netlink.local_addresses(link.index).await?);
    }
    let global = |ip: &&IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    };
    let first = |v4: bool| {
        found
            .iter()
            .filter(global)
            .find(|ip| ip.is_ipv4() == v4)
            .copied()
    };
    Ok(first(true).into_iter().chain(first(false)).collect())
}

/// Opens the data path, takes over its state and attaches the programs.
async fn prepare(
    options: &RunOptions,
    netlink: &Netlink,
    uplinks: &[Link],
    device: &Link,
    locals: Vec<IpAddr>,
) -> Result<Core, DaemonError> {
    let dir = datapath::instance_dir(&options.instance);
    let mut datapath = Datapath::open(&dir, options.fdb_max.unwrap_or(DEFAULT_FDB_ENTRIES))?;
    let mut attempt = Attempt::default();
    let wanted = Wanted {
        uplinks,
        device,
        locals,
    };
    let prepared = take_over(options, netlink, wanted, &mut datapath, &mut attempt).await;
    match prepared {
        Ok((state, statuses)) => {
            let prepared = Prepared {
                lost: datapath.lost_events()?,
                datapath,
                state,
                uplinks: uplinks.to_vec(),
                statuses,
                device: device.index,
            };
            Ok(Core::new(options, netlink.clone(), prepared))
        }
        Err(error) => {
            if datapath.adopted() {
                datapath.take_back(attempt);
            } else {
                drop(datapath);
                let devices = uplinks.iter().chain([device]);
                let names: Vec<String> = devices.map(|link| link.name.clone()).collect();
                datapath::detach_all_without_links(&dir, &names)?;
                datapath::remove_pins(&dir)?;
            }
            Err(error)
        }
    }
}

/// What a data path is opened for.
struct Wanted<'a> {
    uplinks: &'a [Link],
    /// The kernel device.
    device: &'a Link,
    locals: Vec<IpAddr>,
}

/// Checks first, then attaches what is new, which may be refused and can be taken back (`attempt`), and only then changes tables
/// and programs that are in use.
async fn take_over(
    options: &RunOptions,
    netlink: &Netlink,
    wanted: Wanted<'_>,
    datapath: &mut Datapath,
    attempt: &mut Attempt,
) -> Result<(State, Vec<UplinkStatus>), DaemonError> {
    let Wanted {
        uplinks,
        device,
        locals,
    } = wanted;
    if let Some(wanted) = options
        .fdb_max
        .filter(|wanted| *wanted != datapath.fdb_max())
    {
        return Err(DaemonError::FdbSize {
            instance: options.instance.clone(),
            found: datapath.fdb_max(),
            wanted,
        });
    }
    let limits = Limits {
        fdb: datapath.fdb_max(),
        duplicates: options.duplicates,
        ..Limits::default()
    };
    let (state, writes) = if datapath.adopted() {
        let found = datapath.config()?;
        if found.udp_port != options.udp_port {
            return Err(DaemonError::UdpPort {
                instance: options.instance.clone(),
                found: found.udp_port,
                wanted: options.udp_port,
            });
        }
        adopt(options, netlink, locals, limits, datapath).await?
    } else {
        (State::new(limits, locals, options.udp_port), Vec::new())
    };

    let partial = uplinks.iter().any(|link| link.kind == LinkKind::Veth);
    let mut flags = if partial {
        Config::PARTIAL_CHECKSUMS
    } else {
        0
    };
    if partial && options.xdp_mode == XdpMode::Generic {
        flags |= Config::XDP_LEAVES_ALL;
    }
    let fill = |datapath: &mut Datapath| {
        datapath.write(&writes)?;
        datapath.write(&state.start(device.index, flags))
    };
    let mut hooks = Vec::new();
    for link in uplinks {
        hooks.push(choose_hook(options, netlink, link)?);
    }
    if datapath.adopted() {
        // What is new meets the last daemon's tables and parts, whole as they are.
        datapath.try_flags(flags, attempt)?;
        let statuses = attach_new(&state, device, uplinks, &hooks, datapath, attempt)?;
        datapath.set_parts()?;
        fill(datapath)?;
        renew(&state, device, uplinks, &hooks, datapath)?;
        datapath.pin_programs()?;
        return Ok((state, statuses));
    }
    // Tables first: nothing may be attached by an instance without a version (see `datapath::pins`).
    fill(datapath)?;
    let statuses = attach_new(&state, device, uplinks, &hooks, datapath, attempt)?;
    datapath.pin_programs()?;
    Ok((state, statuses))
}

/// Attaches to what the programs are not attached to yet. What they are attached to keeps those that it has.
fn attach_new(
    state: &State,
    device: &Link,
    uplinks: &[Link],
    hooks: &[Hook],
    datapath: &mut Datapath,
    attempt: &mut Attempt,
) -> Result<Vec<UplinkStatus>, DaemonError> {
    datapath.try_tc("tc_tunnel", &device.name, device.index, attempt)?;
    for port in state.attachments() {
        datapath.try_tc("tc_port", &port.name, port.ifindex, attempt)?;
        if port.hook == PortHook::Xdp {
            let auto = datapath::XdpMode::Auto;
            let port = (&*port.name, port.ifindex);
            datapath.try_xdp("xdp_port", port, auto, None, attempt)?;
        }
    }
    let mut statuses = Vec::new();
    for (link, hook) in uplinks.iter().zip(hooks) {
        statuses.push(attach_uplink(link, hook, datapath, attempt)?);
    }
    Ok(statuses)
}

/// Replaces the programs of the last daemon, and detaches those that are not wanted any more.
fn renew(
    state: &State,
    device: &Link,
    uplinks: &[Link],
    hooks: &[Hook],
    datapath: &mut Datapath,
) -> Result<(), DaemonError> {
    datapath.attach_tunnel(&device.name, device.index)?;
    for ifindex in datapath.attached("tc_tunnel")? {
        if ifindex != device.index {
            datapath.detach_tunnel(ifindex)?;
        }
    }
    let mut ports = HashSet::new();
    for port in state.attachments() {
        datapath.attach_port(&port.name, port.ifindex, port.hook == PortHook::Xdp)?;
        ports.insert(port.ifindex);
    }
    for ifindex in datapath.attached("tc_port")? {
        if !ports.contains(&ifindex) {
            datapath.detach_port(ifindex)?;
        }
    }
    for (link, hook) in uplinks.iter().zip(hooks) {
        datapath.renew_uplink(&link.name, link.index, hook.is_ok())?;
    }
    // An uplink of the last daemon that is none any more.
    let kept: HashSet<u32> = uplinks.iter().map(|link| link.index).collect();
    for ifindex in datapath.attached("tc_uplink")? {
        if !kept.contains(&ifindex) {
            datapath.detach_uplink(ifindex)?;
        }
    }
    Ok(())
}

async fn adopt(
    options: &RunOptions,
    netlink: &Netlink,
    locals: Vec<IpAddr>,
    limits: Limits,
    datapath: &Datapath,
) -> Result<(State, Vec<Write>), DaemonError> {
    let mut links = HashMap::new();
    for link in netlink.links().await? {
        links.insert(link.index, facts::of_port(netlink, &link)?);
    }
    let Adopted {
        state,
        writes,
        notes,
    } = State::adopt(&datapath.dump()?, locals, options.udp_port, limits, &links);
    for note in notes {
        tracing::warn!("{note}");
    }
    let totals = state.totals();
    tracing::info!(
        vnis = totals.vnis,
        ports = totals.ports,
        peers = totals.peers,
        fdb = totals.fdb,
        "adopted the pinned state"
    );
    Ok((state, writes))
}

/// The mode of XDP at an uplink, or why it has TC alone.
pub(super) type Hook = Result<datapath::XdpMode, String>;

/// XDP where it is wanted and pays.
pub(super) fn choose_hook(
    options: &RunOptions,
    netlink: &Netlink,
    link: &Link,
) -> Result<Hook, DaemonError> {
    let native = netlink
        .xdp_features(link.index)?
        .is_none_or(|features| features.has(XdpFeatures::BASIC));
    let tc_because = match options.uplink_hook {
        UplinkHook::Tc => Some("it was asked for"),
        UplinkHook::Auto if link.kind == LinkKind::Veth => Some(
            "XDP on a veth switches segmentation offload off at its other end; have it with: --uplink-hook xdp",
        ),
        UplinkHook::Auto if !native && options.xdp_mode == XdpMode::Auto => Some(
            "the driver has no native XDP, and generic XDP is no faster than TC; have it with: --uplink-hook xdp",
        ),
        UplinkHook::Xdp | UplinkHook::Auto => None,
    };
    Ok(match (tc_because, options.xdp_mode) {
        (Some(why), _) => Err(why.to_owned()),
        (None, XdpMode::Auto) => Ok(datapath::XdpMode::Auto),
        (None, XdpMode::Native) => Ok(datapath::XdpMode::Native),
        (None, XdpMode::Generic) => Ok(datapath::XdpMode::Generic),
    })
}

/// Attaches to an uplink, TC always, unless it is attached already. Says what it got, and why.
pub(super) fn attach_uplink(
    link: &Link,
    hook: &Hook,
    datapath: &mut Datapath,
    attempt: &mut Attempt,
) -> Result<UplinkStatus, DaemonError> {
    // TC first: what XDP passes on has somewhere to go.
    datapath.try_tc("tc_uplink", &link.name, link.index, attempt)?;
    let (hook, why) = match hook {
        Err(why) => ("tc", Some(why.clone())),
        Ok(mode) => {
            let now = if link.generic_xdp {
                datapath::XdpMode::Generic
            } else {
                datapath::XdpMode::Native
            };
            let uplink = (&*link.name, link.index);
            match datapath.try_xdp("xdp_uplink", uplink, *mode, Some(now), attempt)? {
                XdpOutcome::Native => ("xdp native", None),
                XdpOutcome::Generic(why) => ("xdp generic", Some(why)),
                XdpOutcome::Kept => ("xdp", Some("as the last daemon attached it".to_owned())),
            }
        }
    };
    if let Some(why) = &why {
        tracing::info!("uplink {}: {hook}, because {why}", link.name);
    } else {
        tracing::info!("uplink {}: {hook}", link.name);
    }
    Ok(UplinkStatus {
        dev: link.name.clone(),
        hook: hook.to_owned(),
        why,
    })
}
