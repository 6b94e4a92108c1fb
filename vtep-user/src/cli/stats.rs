//! `vtep stats`

use std::net::IpAddr;

use clap::Args;

use super::{Request, args};
use crate::api::client::Show;
use crate::model::{StatsFilter, Vni};

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct StatsArgs {
    /// Of this VNI only
    #[arg(long)]
    vni: Option<Vni>,
    /// Of this port only
    #[arg(long, value_parser = args::dev)]
    dev: Option<String>,
    /// Of this remote VTEP only
    #[arg(long, value_name = "IP", value_parser = args::ip)]
    peer: Option<IpAddr>,
}

impl StatsArgs {
    pub(super) fn request(self) -> Request {
        let Self { vni, dev, peer } = self;
        Request::Show(Show::Stats(StatsFilter { vni, dev, peer }))
    }
}
