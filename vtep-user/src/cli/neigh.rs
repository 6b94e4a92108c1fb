//! `vtep neigh`

use std::net::IpAddr;

use clap::{Args, Subcommand};

use super::{Request, args};
use crate::api::client::Show;
use crate::model::Op;
use crate::model::{MacAddr, NeighDel, NeighSpec, Vni, VniFilter};

#[derive(Debug, Subcommand)]
pub(super) enum NeighVerb {
    /// Answer ARP and ND for a host; refused if it has an entry
    Add(EntryArgs),
    /// Answer ARP and ND for a host, whether it has an entry or not
    Replace(EntryArgs),
    /// Do not answer for a host any more
    Del {
        /// The host
        #[arg(value_parser = args::ip)]
        ip: IpAddr,
        /// The VNI
        #[arg(long)]
        vni: Vni,
        /// Only if it has this MAC
        #[arg(long, value_name = "MAC")]
        lladdr: Option<MacAddr>,
    },
    /// Show the hosts that are answered for
    Show {
        /// Of this VNI only
        #[arg(long)]
        vni: Option<Vni>,
    },
}

#[derive(Debug, Args)]
pub(super) struct EntryArgs {
    /// The host
    #[arg(value_parser = args::ip)]
    ip: IpAddr,
    /// The VNI
    #[arg(long)]
    vni: Vni,
    /// The MAC that the answer names
    #[arg(long, value_name = "MAC")]
    lladdr: MacAddr,
    /// Say in ND answers that it is a router
    #[arg(long)]
    router: bool,
}

impl From<EntryArgs> for NeighSpec {
    fn from(args: EntryArgs) -> Self {
        let EntryArgs {
            ip,
            vni,
            lladdr,
            router,
        } = args;
        Self {
            ip,
            vni,
            lladdr: Some(lladdr),
            router,
        }
    }
}

impl NeighVerb {
    pub(super) fn request(self) -> Request {
        match self {
            Self::Add(entry) => Request::Change(Op::NeighAdd(entry.into())),
            Self::Replace(entry) => Request::Change(Op::NeighReplace(entry.into())),
            Self::Del { ip, vni, lladdr } => {
                Request::Change(Op::NeighDel(NeighDel { ip, vni, lladdr }))
            }
            Self::Show { vni } => Request::Show(Show::Neighs(VniFilter { vni })),
        }
    }
}

/// Reads what follows `neigh` in `neigh add|replace IP` with its options in the plain form; `None` for anything else.
pub(super) fn read_plain_entry<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Op> {
    let op = match words.next()? {
        "add" => Op::NeighAdd,
        "replace" => Op::NeighReplace,
        _ => return None,
    };
    let ip = words.next()?.parse().ok()?;
    let [vni, lladdr] = args::plain_options(words, ["--vni", "--lladdr"])?;
    Some(op(NeighSpec {
        ip,
        vni: vni?.parse().ok()?,
        lladdr: Some(lladdr?.parse().ok()?),
        router: false,
    }))
}
