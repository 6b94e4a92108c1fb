//! Starting: check everything, then take over or make what is needed, and leave nothing half made.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Instant,
};

use aya::util::KernelVersion;
use vtep_common::abi::{id::Ifindex, map::DEFAULT_FDB_ENTRIES};

use super::{
    core::{Core, CoreParts},
    error::DaemonError,
    facts, locals,
    options::Options,
    others::Surroundings,
    promiscuity,
    slow_path::{self, SlowPath},
    tags::Blind,
    too_big::Answerer,
    uplinks::{self, Uplinks, XdpChoice},
};
use crate::{
    control::{Adopted, Attachment, Ground, Limits, ReservedFor, State, Wanted, Write},
    datapath::{self, Datapath, DatapathError, Transaction},
    model::{PortHook, UplinkHook, UplinkStatus, XdpMode},
    netlink::{Link, Netlink, NetlinkMonitor, PathReports},
};

/// Oldest kernel: it has all helpers, and the source address in tunnel keys (6.0).
const OLDEST_KERNEL: (KernelVersion, &str) = (KernelVersion::new(6, 1, 0), "6.1");

/// A daemon that is ready.
pub(super) struct Started {
    pub(super) core: Core,
    pub(super) monitor: NetlinkMonitor,
    /// What the configuration file asks for.
    pub(super) wanted: Option<Wanted>,
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

pub(super) async fn start(options: &mut Options) -> Result<Started, DaemonError> {
    let netlink = Netlink::open()?;
    let answerer = Answerer::open();
    let path_reports = hear_paths();
    // Before anything is read: what changes from here on is reported.
    let monitor = NetlinkMonitor::open()?;
    let named = uplinks::find(&netlink, &options.run.ifaces, options.waits()).await?;
    let uplinks: Vec<Link> = named.iter().filter_map(|(_, link)| link.clone()).collect();
    let locals = locals::find(&netlink, options, &uplinks).await?;
    datapath::check_bpffs()?;
    // A bad file changes nothing.
    let wanted = read_wanted(options, &locals)?;

    let tunnel = slow_path::create(&netlink, options.instance(), options.udp_port(), None).await?;
    let made = prepare(
        options,
        &netlink,
        named,
        &tunnel.link,
        locals,
        (answerer, path_reports),
    )
    .await;
    match made {
        Ok(mut core) => {
            core.look_around().await?;
            Ok(Started {
                core,
                monitor,
                wanted,
            })
        }
        Err(error) => {
            // What was not there before is not left behind.
            if !tunnel.adopted
                && let Err(left) = netlink.delete_link(&tunnel.link.name).await
            {
                tracing::warn!(error = %left, "could not delete the device {}", tunnel.link.name);
            }
            Err(error)
        }
    }
}

/// Opens what the underlay is heard with. Without the right to do so it is not, and the rest goes on.
fn hear_paths() -> PathReports {
    PathReports::open().unwrap_or_else(|error| {
        tracing::warn!(
            %error,
            "cannot hear what the underlay says of path MTUs; start vtep with CAP_NET_RAW"
        );
        PathReports::deaf()
    })
}

/// What the configuration file asks for, if there is one.
fn read_wanted(options: &mut Options, locals: &[IpAddr]) -> Result<Option<Wanted>, DaemonError> {
    let Some(config) = &mut options.config else {
        return Ok(None);
    };
    // There can be millions; nobody needs them again.
    let lines = std::mem::take(&mut config.lines);
    let uplinks = options.run.ifaces.iter();
    let uplinks = uplinks.map(|name| (name.clone(), ReservedFor::Uplink));
    let tunnel = slow_path::device_name(options.udp_port());
    let ground = Ground {
        limits: limits(options, options.run.fdb_max.unwrap_or(DEFAULT_FDB_ENTRIES)),
        locals: locals.to_vec(),
        udp_port: options.udp_port(),
        reserved: uplinks.chain([(tunnel, ReservedFor::SlowPath)]).collect(),
    };
    let wanted = Wanted::of(lines, ground);
    wanted.map(Some).map_err(DaemonError::Config)
}

/// How much fits, where the FDB has so many places.
fn limits(options: &Options, fdb: u32) -> Limits {
    Limits {
        fdb,
        duplicates: options.run.duplicates,
        ..Limits::default()
    }
}

/// Opens the data path, takes over its state and attaches the programs.
async fn prepare(
    options: &Options,
    netlink: &Netlink,
    named: Vec<uplinks::Named>,
    device: &Link,
    locals: Vec<IpAddr>,
    (answerer, path_reports): (Answerer, PathReports),
) -> Result<Core, DaemonError> {
    let dir = datapath::instance_dir(options.instance());
    let mut datapath = Datapath::open(&dir, options.run.fdb_max.unwrap_or(DEFAULT_FDB_ENTRIES))?;
    let mut transaction = Transaction::default();
    let uplinks: Vec<Link> = named.iter().filter_map(|(_, link)| link.clone()).collect();
    let wanted = OpenedFor {
        uplinks: &uplinks,
        device,
        locals,
    };
    let prepared = take_over(options, netlink, wanted, &mut datapath, &mut transaction).await;
    match prepared {
        Ok((state, statuses, blind)) => {
            let (instance, udp_port) = (options.instance().to_owned(), options.udp_port());
            Core::new(CoreParts {
                options: options.clone(),
                netlink: netlink.clone(),
                datapath,
                state,
                blind,
                answerer,
                path_reports,
                uplinks: Uplinks::new(named, statuses),
                slow_path: SlowPath::new(netlink.clone(), instance, udp_port, device),
            })
        }
        Err(error) => {
            if datapath.adopted() {
                datapath.rollback(transaction);
            } else {
                drop(datapath);
                let devices = uplinks.iter().chain([device]);
                let devices: Vec<String> = devices.map(|link| link.name.clone()).collect();
                datapath::detach_all_without_links(&dir, &devices)?;
                datapath::remove_pins(&dir)?;
            }
            Err(error)
        }
    }
}

/// What a data path is opened for.
struct OpenedFor<'a> {
    uplinks: &'a [Link],
    /// The slow-path device.
    device: &'a Link,
    locals: Vec<IpAddr>,
}

/// Checks first, then attaches what is new, which may be refused and rolled back (`transaction`), and only then changes tables
/// and programs that are in use.
async fn take_over(
    options: &Options,
    netlink: &Netlink,
    wanted: OpenedFor<'_>,
    datapath: &mut Datapath,
    transaction: &mut Transaction,
) -> Result<(State, Vec<UplinkStatus>, Blind), DaemonError> {
    let OpenedFor {
        uplinks,
        device,
        locals,
    } = wanted;
    if let Some(wanted) = options
        .run
        .fdb_max
        .filter(|wanted| *wanted != datapath.fdb_max())
    {
        return Err(DaemonError::FdbSize {
            instance: options.instance().to_owned(),
            found: datapath.fdb_max(),
            wanted,
        });
    }
    let limits = limits(options, datapath.fdb_max());
    let (state, writes) = if datapath.adopted() {
        let found = datapath.config()?;
        if found.udp_port != options.udp_port() {
            return Err(DaemonError::UdpPort {
                instance: options.instance().to_owned(),
                found: found.udp_port,
                wanted: options.udp_port(),
            });
        }
        adopt(options, netlink, locals, limits, datapath).await?
    } else {
        (State::new(limits, locals, options.udp_port()), Vec::new())
    };

    let flags = uplinks::flags(options, uplinks);
    let fill = |datapath: &mut Datapath| {
        datapath.write(&writes)?;
        datapath.keep_drops(|kind, number| state.is_owner(kind, number))?;
        datapath.write(&state.start(device.index, flags))
    };
    let mut hooks = Vec::new();
    for link in uplinks {
        let hook = uplinks::choose_hook(options, netlink, link)?;
        if let (UplinkHook::Xdp, Err(why)) = (options.run.uplink_hook, &hook) {
            return Err(DaemonError::UnseenTags(why.clone()));
        }
        hooks.push(hook);
    }
    let blind = find_blind(netlink, &state).await?;
    let ports = |port: Attachment| {
        let xdp = port.hook == PortHook::Xdp && !blind.has(port.ifindex);
        (port.name, port.ifindex, xdp)
    };
    let ports: Vec<_> = state.attachments().map(ports).collect();
    if datapath.is_beside() {
        // The tables stay as they are until one rename makes ours the ones that count: either vtep can go on with them.
        datapath.try_flags(flags, transaction)?;
        let statuses = attach_new(&ports, device, uplinks, &hooks, datapath, transaction)?;
        datapath.pin_programs()?;
        let swap = Instant::now();
        replace_programs(&ports, device, uplinks, &statuses, datapath)?;
        datapath.put_in_place()?;
        tracing::info!(took = ?swap.elapsed(), "migrated the pinned state");
        fill(datapath)?;
        detach_unwanted(netlink, &ports, device, uplinks, datapath).await?;
        datapath.forget_earlier();
        return Ok((state, statuses, blind));
    }
    if datapath.adopted() {
        // What is new meets the last daemon's tables and parts, whole as they are.
        datapath.try_flags(flags, transaction)?;
        let statuses = attach_new(&ports, device, uplinks, &hooks, datapath, transaction)?;
        datapath.set_tail_calls()?;
        fill(datapath)?;
        replace_programs(&ports, device, uplinks, &statuses, datapath)?;
        detach_unwanted(netlink, &ports, device, uplinks, datapath).await?;
        datapath.pin_programs()?;
        return Ok((state, statuses, blind));
    }
    // Tables first: nothing may be attached by an instance without a version (see `datapath::pins`).
    fill(datapath)?;
    let statuses = attach_new(&ports, device, uplinks, &hooks, datapath, transaction)?;
    datapath.pin_programs()?;
    Ok((state, statuses, blind))
}

/// The name and number of a port's interface, and whether XDP takes its frames.
type PortHooks = (String, Ifindex, bool);

/// The ports that XDP is to take frames from, and whose VLAN tags it does not see now.
async fn find_blind(netlink: &Netlink, state: &State) -> Result<Blind, DaemonError> {
    let mut blind = Blind::default();
    for port in state.attachments() {
        if port.hook == PortHook::Xdp
            && let Some(link) = netlink.link(port.ifindex).await?
        {
            blind.look(netlink, &link)?;
        }
    }
    Ok(blind)
}

/// Attaches to what the programs are not attached to yet. What they are attached to keeps those that it has.
fn attach_new(
    ports: &[PortHooks],
    device: &Link,
    uplinks: &[Link],
    hooks: &[XdpChoice],
    datapath: &mut Datapath,
    transaction: &mut Transaction,
) -> Result<Vec<UplinkStatus>, DaemonError> {
    datapath.try_tc("tc_tunnel", &device.name, device.index, transaction)?;
    for (name, ifindex, xdp) in ports {
        datapath.try_tc("tc_port", name, *ifindex, transaction)?;
        if *xdp {
            let auto = XdpMode::Auto;
            match datapath.try_xdp("xdp_port", (name, *ifindex), auto, None, transaction) {
                // TC alone takes its frames then; who tends the port says so.
                Ok(_) | Err(DatapathError::NoNativeXdp { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let mut statuses = Vec::new();
    for (link, hook) in uplinks.iter().zip(hooks) {
        statuses.push(uplinks::attach(link, hook, datapath, transaction)?);
    }
    Ok(statuses)
}

/// Replaces the programs of the last daemon.
fn replace_programs(
    ports: &[PortHooks],
    device: &Link,
    uplinks: &[Link],
    statuses: &[UplinkStatus],
    datapath: &mut Datapath,
) -> Result<(), DaemonError> {
    datapath.attach_slow_path(&device.name, device.index)?;
    for (name, ifindex, xdp) in ports {
        datapath.attach_port(name, *ifindex, *xdp)?;
    }
    for (link, status) in uplinks.iter().zip(statuses) {
        let xdp = uplinks::has_xdp(status);
        datapath.replace_uplink(&link.name, link.index, xdp)?;
    }
    Ok(())
}

/// Detaches the programs of the last daemon from what is not wanted any more.
async fn detach_unwanted(
    netlink: &Netlink,
    ports: &[PortHooks],
    device: &Link,
    uplinks: &[Link],
    datapath: &mut Datapath,
) -> Result<(), DaemonError> {
    for ifindex in datapath.attached("tc_tunnel")? {
        if ifindex != device.index {
            datapath.detach_slow_path(ifindex)?;
        }
    }
    let kept: HashSet<Ifindex> = ports.iter().map(|(_, ifindex, _)| *ifindex).collect();
    for ifindex in datapath.attached("tc_port")? {
        if !kept.contains(&ifindex) {
            promiscuity::restore(netlink, &datapath.own_at_ports(), ifindex).await;
            datapath.detach_port(ifindex)?;
        }
    }
    // What was no port of the last daemon any more.
    for ifindex in datapath.own_at_ports().noted_promiscuous()? {
        if !kept.contains(&ifindex) {
            datapath.own_at_ports().forget_promiscuous(ifindex)?;
        }
    }
    // An uplink of the last daemon that is none any more.
    let kept: HashSet<Ifindex> = uplinks.iter().map(|link| link.index).collect();
    for ifindex in datapath.attached("tc_uplink")? {
        if !kept.contains(&ifindex) {
            datapath.detach_uplink(ifindex)?;
        }
    }
    Ok(())
}

async fn adopt(
    options: &Options,
    netlink: &Netlink,
    locals: Vec<IpAddr>,
    limits: Limits,
    datapath: &Datapath,
) -> Result<(State, Vec<Write>), DaemonError> {
    let mut links = HashMap::new();
    let (surroundings, own) = (
        Surroundings::read_or_nothing(netlink),
        datapath.own_at_ports(),
    );
    for link in netlink.links().await? {
        let at = (link.index, link.name.as_str());
        let others = surroundings.at(netlink, &own, at).unwrap_or_default();
        links.insert(link.index, facts::of_port(netlink, &link, others)?);
    }
    let mut dump = datapath.dump()?;
    // Until there is an address, the last daemon's will do.
    let locals = if locals.is_empty() {
        dump.locals.iter().copied().map(IpAddr::from).collect()
    } else {
        locals
    };
    if let Some(handle) = datapath.filter_handle() {
        for ifindex in datapath.attached("tc_port")? {
            if links.contains_key(&ifindex) {
                let attached = netlink.has_filter(ifindex, handle)?;
                dump.attached.insert(ifindex, attached);
            }
        }
    }
    let Adopted {
        state,
        writes,
        notes,
    } = State::adopt(&dump, locals, options.udp_port(), limits, &links);
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
