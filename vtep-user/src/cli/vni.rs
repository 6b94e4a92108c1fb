//! `vtep vni`

use std::net::IpAddr;

use clap::{Args, Subcommand};

use super::args::{self, MaxMacs, Switch};
use super::{Failure, Request};
use crate::api::client::Show;
use crate::model::Op;
use crate::model::{Df, Flood, InnerVlan, Mode, PortRange, Reserved, Tos, Ttl, Vni, VniSpec};

#[derive(Debug, Subcommand)]
pub(super) enum VniVerb {
    /// Make a VNI
    Add {
        /// The VNI, 0 to 16777215
        vni: Vni,
        #[command(flatten)]
        spec: VniArgs,
    },
    /// Change a VNI; what is not given stays
    Set {
        /// The VNI, 0 to 16777215
        vni: Vni,
        #[command(flatten)]
        spec: VniArgs,
    },
    /// Delete a VNI
    Del {
        /// The VNI, 0 to 16777215
        vni: Vni,
    },
    /// Show VNIs
    Show {
        /// This one only
        vni: Option<Vni>,
    },
}

#[derive(Debug, Args)]
pub(super) struct VniArgs {
    /// One of the four usual sets of --flood, --learning and --suppress
    #[arg(long, value_parser = args::word::<Mode>())]
    mode: Option<Mode>,
    /// How broadcast, multicast and unknown unicast frames leave
    #[arg(long, value_parser = args::word::<Flood>())]
    flood: Option<Flood>,
    /// The multicast group that floods go to; needed with --flood multicast
    #[arg(long, value_name = "IP", value_parser = args::ip)]
    group: Option<IpAddr>,
    /// Learn which MAC is where from the frames that come
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    learning: Option<Switch>,
    /// Answer ARP and ND for known hosts here, and let nothing of it leave
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    suppress: Option<Switch>,
    /// Forget a learned MAC that was not seen for so long; 0 for never
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    ageing: Option<i64>,
    /// Hold no more FDB entries than this
    #[arg(long, value_name = "N|none", value_parser = args::max_macs, allow_negative_numbers = true)]
    max_macs: Option<MaxMacs>,
    /// What happens to tagged frames that no VLAN mapping covers
    #[arg(long, value_parser = args::word::<InnerVlan>())]
    inner_vlan: Option<InnerVlan>,
    /// Outer TTL, or that of the inner packet
    #[arg(long, value_name = "N|inherit")]
    ttl: Option<Ttl>,
    /// Outer TOS byte, or that of the inner packet; ECN is as in RFC 6040 either way
    #[arg(long, value_name = "N|inherit")]
    tos: Option<Tos>,
    /// Outer "don't fragment" bit over IPv4
    #[arg(long, value_parser = args::word::<Df>())]
    df: Option<Df>,
    /// Outer UDP source ports
    #[arg(long, value_name = "MIN-MAX")]
    srcport: Option<PortRange>,
    /// What non-zero reserved header bits do on receipt
    #[arg(long, value_parser = args::word::<Reserved>())]
    reserved: Option<Reserved>,
}

impl VniArgs {
    fn spec(self) -> Result<VniSpec, Failure> {
        Ok(VniSpec {
            mode: self.mode,
            flood: self.flood,
            group: self.group,
            learning: self.learning.map(bool::from),
            suppress: self.suppress.map(bool::from),
            ageing_s: self.ageing.map(args::ageing).transpose()?,
            max_macs: self.max_macs.map(MaxMacs::limit).transpose()?,
            inner_vlan: self.inner_vlan,
            ttl: self.ttl,
            tos: self.tos,
            df: self.df,
            srcport: self.srcport,
            reserved: self.reserved,
        })
    }
}

impl VniVerb {
    pub(super) fn request(self) -> Result<Request, Failure> {
        Ok(match self {
            Self::Add { vni, spec } => Request::Change(Op::VniAdd {
                vni,
                spec: Box::new(spec.spec()?),
            }),
            Self::Set { vni, spec } => {
                let spec = spec.spec()?;
                if spec == VniSpec::default() {
                    return Err(Failure::usage(
                        ["vni", "set"],
                        "nothing to set; give at least one option",
                    ));
                }
                Request::Change(Op::VniSet {
                    vni,
                    spec: Box::new(spec),
                })
            }
            Self::Del { vni } => Request::Change(Op::VniDel { vni }),
            Self::Show { vni } => Request::Show(Show::Vnis(vni)),
        })
    }
}
