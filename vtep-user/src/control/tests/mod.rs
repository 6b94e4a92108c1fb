//! Tests of the whole state machine: each of its writes is replayed on a model of the maps.

mod adoption;
mod bridge;
mod config;
mod delivery;
mod duplicates;
mod hosts;
mod interleaving;
mod lab;
mod learning;
mod model;
mod modes;
mod path;
mod policy;
mod random;
mod rates;
mod room;
mod rules;
mod trace;
