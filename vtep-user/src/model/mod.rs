//! What vtep is about, before anybody asks for it: values, rows, settings, operations, refusals.
//!
//! The ground floor of this crate. Nothing here knows of the command line, of HTTP or of the kernel; `api`, `cli`,
//! `control` and `daemon` all speak in these types.
//!
//! What can be set and asked for is described once: [`settings`] has what each thing is given, [`operation`] what can be
//! asked, [`command`] what else can be typed. Options, help, lines of a batch, routes and the API's document follow from these.

mod argument;
mod check;
mod column;
pub mod command;
pub mod config;
pub mod endpoint;
mod event;
pub mod given;
mod limits;
pub mod line;
pub mod objects;
mod op;
pub mod operation;
mod query;
mod rate;
mod refusal;
pub mod request;
mod rows;
pub mod schema;
pub mod settings;
mod shape;
mod typed;
mod value;
mod word;
pub mod write;

pub use argument::{
    Argument, ArgumentList, Arguments, Field, Nothing, Parameters, Rule, Setting, Takes,
};
pub use check::CheckRow;
pub use column::{Column, Row, printable};
pub use config::{ApplyOptions, ConfigFile, ConfigLine, DumpFilter, DumpRow, PlanRow, RunLine};
pub use event::*;
pub use op::Op;
pub use query::Query;
pub use rate::{BitRate, FrameRate};
pub use refusal::{Refusal, RefusalKind};
pub use rows::*;
pub use settings::batch::BatchOptions;
pub use settings::capture::{CaptureEnd, CaptureFilter, CaptureLine, CaptureRow, ReasonName};
pub use settings::fdb::{FdbAt, FdbDel, FdbFilter, FdbRow, FdbSpec};
pub use settings::filter::{StatsFilter, VniFilter};
pub use settings::import::{ImportFrom, ImportRow};
pub use settings::neigh::{NeighDel, NeighRow, NeighSpec};
pub use settings::nexthop::{NexthopDel, NexthopRow, NexthopSpec};
pub use settings::peer::{PeerRow, PeerSpec};
pub use settings::port::{PortChange, PortPart, PortRow, PortSpec};
pub use settings::run::{Duplicates, RunOption, RunOptions};
pub use settings::trace::{FrameBytes, LiveLine, TraceAt, TraceRow, TraceSpec, TraceTo};
pub use settings::vni::{VniDelete, VniRow, VniSpec};
pub use shape::{Count, DeviceName, Ip};
pub use typed::*;
pub use value::*;
pub use word::*;
