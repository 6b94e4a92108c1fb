//! `vtep fdb`

use std::net::IpAddr;

use clap::{Args, Subcommand};

use super::{Request, args};
use crate::api::client::Show;
use crate::model::Op;
use crate::model::{FdbDel, FdbFilter, FdbSpec, MacAddr, Vni};

#[derive(Debug, Subcommand)]
pub(super) enum FdbVerb {
    /// Add an entry; refused if the MAC has one, but for 00:00:00:00:00:00: its list takes another VTEP
    Add(EntryArgs),
    /// Add a destination to the flood list (the all-zero MAC) or to a multicast MAC
    Append(EntryArgs),
    /// Write an entry whether the MAC has one or not
    Replace(EntryArgs),
    /// Delete an entry wherever it points; for the all-zero MAC, give --dst
    Del {
        /// The MAC
        mac: MacAddr,
        /// The VNI
        #[arg(long)]
        vni: Vni,
        /// Only if it points to this VTEP
        #[arg(long, value_name = "VTEP_IP", value_parser = args::ip, conflicts_with = "dev")]
        dst: Option<IpAddr>,
        /// Only if it points to this port
        #[arg(long, value_name = "PORT", value_parser = args::dev)]
        dev: Option<String>,
    },
    /// Show where a MAC is
    Get {
        /// The MAC
        mac: MacAddr,
        /// The VNI
        #[arg(long)]
        vni: Vni,
    },
    /// Show entries
    Show {
        /// Of this VNI only
        #[arg(long)]
        vni: Option<Vni>,
        /// Behind this VTEP only
        #[arg(long, value_name = "IP", value_parser = args::ip)]
        dst: Option<IpAddr>,
        /// Behind this port only
        #[arg(long, value_name = "PORT", value_parser = args::dev)]
        dev: Option<String>,
    },
    /// Delete all entries of a VNI that match
    Flush {
        /// The VNI
        #[arg(long)]
        vni: Vni,
        /// Behind this VTEP only
        #[arg(long, value_name = "IP", value_parser = args::ip)]
        dst: Option<IpAddr>,
        /// Behind this port only
        #[arg(long, value_name = "PORT", value_parser = args::dev)]
        dev: Option<String>,
        /// Learned ones only
        #[arg(long)]
        learned: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct EntryArgs {
    /// The MAC; 00:00:00:00:00:00 names the flood list
    mac: MacAddr,
    /// The VNI
    #[arg(long)]
    vni: Vni,
    #[command(flatten)]
    target: Target,
}

/// Where a MAC is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// Behind this VTEP
    #[arg(long, value_name = "VTEP_IP", value_parser = args::ip)]
    dst: Option<IpAddr>,
    /// Behind this local port
    #[arg(long, value_name = "PORT", value_parser = args::dev)]
    dev: Option<String>,
}

impl From<EntryArgs> for FdbSpec {
    fn from(
        EntryArgs {
            mac,
            vni,
            target: Target { dst, dev },
        }: EntryArgs,
    ) -> Self {
        Self { mac, vni, dst, dev }
    }
}

impl FdbVerb {
    pub(super) fn request(self) -> Request {
        match self {
            Self::Add(entry) => Request::Change(Op::FdbAdd(entry.into())),
            Self::Append(entry) => Request::Change(Op::FdbAppend(entry.into())),
            Self::Replace(entry) => Request::Change(Op::FdbReplace(entry.into())),
            Self::Del { mac, vni, dst, dev } => {
                Request::Change(Op::FdbDel(FdbDel { mac, vni, dst, dev }))
            }
            Self::Get { mac, vni } => Request::Show(Show::FdbGet { mac, vni }),
            Self::Show { vni, dst, dev } => Request::Show(Show::Fdb(FdbFilter {
                vni,
                dst,
                dev,
                learned: false,
            })),
            Self::Flush {
                vni,
                dst,
                dev,
                learned,
            } => Request::Change(Op::FdbFlush(FdbFilter {
                vni: Some(vni),
                dst,
                dev,
                learned,
            })),
        }
    }
}

/// Reads what follows `fdb` in `fdb add|append|replace MAC` with its options in the plain form, hundreds of times faster
/// than clap does.
///
/// Returns `None` for anything else, be it another command or a mistake.
pub(super) fn read_plain_entry<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Op> {
    let op = match words.next()? {
        "add" => Op::FdbAdd,
        "append" => Op::FdbAppend,
        "replace" => Op::FdbReplace,
        _ => return None,
    };
    let mac = words.next()?.parse().ok()?;
    let [vni, dst, dev] = args::plain_options(words, ["--vni", "--dst", "--dev"])?;
    if dst.is_some() == dev.is_some() {
        return None;
    }
    Some(op(FdbSpec {
        mac,
        vni: vni?.parse().ok()?,
        dst: dst.map(args::ip).transpose().ok()?,
        dev: dev.map(args::dev).transpose().ok()?,
    }))
}
