#![doc = include_str!("../README.md")]

pub mod clamd;
pub mod cli;
mod database;
pub mod dev;
pub mod direct;
pub mod gate;
pub mod metrics;
pub mod objects;
pub mod oracle;
pub mod program;
pub mod proxies;
pub mod queue;
pub mod servers;
pub mod station;
pub mod store;
pub mod wait;
