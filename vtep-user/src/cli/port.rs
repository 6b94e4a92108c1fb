//! `vtep port`

use std::net::IpAddr;

use clap::Subcommand;

use super::args::{self, MaxMacs};
use super::{Failure, Request};
use crate::api::client::Show;
use crate::model::Op;
use crate::model::{MacAddr, PortChange, PortHook, PortPart, PortSpec, VlanId, Vni};

#[derive(Debug, Subcommand)]
pub(super) enum PortVerb {
    /// Put a device, or one VLAN of it, into a VNI
    Add {
        /// The device
        #[arg(value_parser = args::dev)]
        dev: String,
        /// The VNI
        #[arg(long)]
        vni: Vni,
        /// This VLAN of it; without, the untagged frames
        #[arg(long, value_name = "ID")]
        vlan: Option<VlanId>,
        /// The kernel hook to take its frames at
        #[arg(long, value_parser = args::word::<PortHook>())]
        hook: Option<PortHook>,
        /// A MAC behind it: makes a static FDB entry
        #[arg(long)]
        mac: Vec<MacAddr>,
        /// An IP behind it: ARP and ND are answered for it, and the nexthop table has it
        #[arg(long, value_parser = args::ip)]
        ip: Vec<IpAddr>,
        /// Hold no more FDB entries behind it than this
        #[arg(long, value_name = "N|none", value_parser = args::max_macs, allow_negative_numbers = true)]
        max_macs: Option<MaxMacs>,
    },
    /// Change a port; what is not given stays
    Set {
        /// The device
        #[arg(value_parser = args::dev)]
        dev: String,
        /// The VNI to move it to
        #[arg(long)]
        vni: Option<Vni>,
        /// Which VLAN of it; without, the untagged frames
        #[arg(long, value_name = "ID")]
        vlan: Option<VlanId>,
        /// The kernel hook to take its frames at
        #[arg(long, value_parser = args::word::<PortHook>())]
        hook: Option<PortHook>,
        /// A MAC behind it; replaces the FDB entries so far
        #[arg(long)]
        mac: Option<Vec<MacAddr>>,
        /// An IP behind it; replaces the IPs so far
        #[arg(long, value_parser = args::ip)]
        ip: Option<Vec<IpAddr>>,
        /// Hold no more FDB entries behind it than this
        #[arg(long, value_name = "N|none", value_parser = args::max_macs, allow_negative_numbers = true)]
        max_macs: Option<MaxMacs>,
    },
    /// Take a device away with all its VLANs
    Del {
        /// The device
        #[arg(value_parser = args::dev)]
        dev: String,
        /// This VLAN of it only
        #[arg(long, value_name = "ID")]
        vlan: Option<VlanId>,
        /// What of it belongs to this VNI only
        #[arg(long)]
        vni: Option<Vni>,
    },
    /// Show ports
    Show {
        /// This one only
        #[arg(value_parser = args::dev)]
        dev: Option<String>,
    },
}

impl PortVerb {
    pub(super) fn request(self) -> Result<Request, Failure> {
        Ok(match self {
            Self::Add {
                dev,
                vni,
                vlan,
                hook,
                mac,
                ip,
                max_macs,
            } => {
                let spec = PortSpec {
                    dev,
                    vni,
                    vlan,
                    hook,
                    macs: mac,
                    ips: ip,
                    max_macs: max_macs.map(MaxMacs::limit).transpose()?,
                };
                Request::Change(Op::PortAdd(Box::new(spec)))
            }
            Self::Set {
                dev,
                vni,
                vlan,
                hook,
                mac,
                ip,
                max_macs,
            } => {
                let change = PortChange {
                    vlan,
                    vni,
                    hook,
                    macs: mac,
                    ips: ip,
                    max_macs: max_macs.map(MaxMacs::limit).transpose()?,
                };
                if change
                    == (PortChange {
                        vlan,
                        ..PortChange::default()
                    })
                {
                    let sentence = "nothing to set; give at least one option besides --vlan";
                    return Err(Failure::usage(["port", "set"], sentence));
                }
                Request::Change(Op::PortSet {
                    dev,
                    change: Box::new(change),
                })
            }
            Self::Del { dev, vlan, vni } => Request::Change(Op::PortDel {
                dev,
                part: PortPart { vlan, vni },
            }),
            Self::Show { dev } => Request::Show(Show::Ports(dev)),
        })
    }
}
