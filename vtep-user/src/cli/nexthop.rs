//! `vtep nexthop`

use std::net::IpAddr;

use clap::{Args, Subcommand};

use super::{Request, args};
use crate::api::client::Show;
use crate::model::Op;
use crate::model::{MacAddr, NexthopDel, NexthopSpec, Prefix, Vni, VniFilter};

#[derive(Debug, Subcommand)]
pub(super) enum NexthopVerb {
    /// Say where a host, or a prefix of hosts, is; refused if it has an entry
    Add(EntryArgs),
    /// Say where a host, or a prefix of hosts, is, whether it has an entry or not
    Replace(EntryArgs),
    /// Delete an entry
    Del {
        /// The host, or the prefix
        #[arg(value_name = "HOST_IP")]
        ip: Prefix,
        /// The VNI
        #[arg(long)]
        vni: Vni,
        /// Only if it leads to this VTEP
        #[arg(long, value_name = "VTEP_IP", value_parser = args::ip)]
        via: Option<IpAddr>,
        /// Only if frames get this destination MAC
        #[arg(long, value_name = "MAC")]
        lladdr: Option<MacAddr>,
    },
    /// Show the table
    Show {
        /// Of this VNI only
        #[arg(long)]
        vni: Option<Vni>,
    },
}

#[derive(Debug, Args)]
pub(super) struct EntryArgs {
    /// The host, or the prefix
    #[arg(value_name = "HOST_IP")]
    ip: Prefix,
    /// The VNI
    #[arg(long)]
    vni: Vni,
    #[command(flatten)]
    target: Target,
}

/// Where a host is.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Target {
    /// Behind this VTEP; without, where the FDB has --lladdr
    #[arg(long, value_name = "VTEP_IP", value_parser = args::ip)]
    via: Option<IpAddr>,
    /// The destination MAC that frames for it get; without, they keep theirs
    #[arg(long, value_name = "MAC")]
    lladdr: Option<MacAddr>,
}

impl From<EntryArgs> for NexthopSpec {
    fn from(args: EntryArgs) -> Self {
        let EntryArgs {
            ip,
            vni,
            target: Target { via, lladdr },
        } = args;
        Self {
            ip,
            vni,
            via,
            lladdr,
        }
    }
}

impl NexthopVerb {
    pub(super) fn request(self) -> Request {
        match self {
            Self::Add(entry) => Request::Change(Op::NexthopAdd(entry.into())),
            Self::Replace(entry) => Request::Change(Op::NexthopReplace(entry.into())),
            Self::Del {
                ip,
                vni,
                via,
                lladdr,
            } => Request::Change(Op::NexthopDel(NexthopDel {
                ip,
                vni,
                via,
                lladdr,
            })),
            Self::Show { vni } => Request::Show(Show::Nexthops(VniFilter { vni })),
        }
    }
}

/// Reads what follows `nexthop` in `nexthop add|replace HOST_IP` with its options in the plain form; `None` for anything
/// else.
pub(super) fn read_plain_entry<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Op> {
    let op = match words.next()? {
        "add" => Op::NexthopAdd,
        "replace" => Op::NexthopReplace,
        _ => return None,
    };
    let ip = words.next()?.parse().ok()?;
    let [vni, via, lladdr] = args::plain_options(words, ["--vni", "--via", "--lladdr"])?;
    if via.is_none() && lladdr.is_none() {
        return None;
    }
    Some(op(NexthopSpec {
        ip,
        vni: vni?.parse().ok()?,
        via: via.map(args::ip).transpose().ok()?,
        lladdr: lladdr.map(str::parse).transpose().ok()?,
    }))
}
