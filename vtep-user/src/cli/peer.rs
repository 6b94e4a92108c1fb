//! `vtep peer`

use std::net::IpAddr;

use clap::Subcommand;

use super::args::{self, Switch};
use super::{Failure, Request};
use crate::api::client::Show;
use crate::model::Op;
use crate::model::PeerSpec;

#[derive(Debug, Subcommand)]
pub(super) enum PeerVerb {
    /// Show remote VTEPs
    Show {
        /// This one only
        #[arg(value_parser = args::ip)]
        ip: Option<IpAddr>,
    },
    /// Change how a remote VTEP is sent to
    Set {
        /// The remote VTEP
        #[arg(value_parser = args::ip)]
        ip: IpAddr,
        /// Send correct outer UDP checksums over IPv6, or zero
        #[arg(long, value_name = "on|off", hide_possible_values = true)]
        csum6: Option<Switch>,
    },
}

impl PeerVerb {
    pub(super) fn request(self) -> Result<Request, Failure> {
        match self {
            Self::Show { ip } => Ok(Request::Show(Show::Peers(ip))),
            Self::Set { csum6: None, .. } => Err(Failure::usage(
                ["peer", "set"],
                "nothing to set; give --csum6 on or --csum6 off",
            )),
            Self::Set { ip, csum6 } => {
                let spec = PeerSpec {
                    csum6: csum6.map(bool::from),
                };
                Ok(Request::Change(Op::PeerSet { ip, spec }))
            }
        }
    }
}
