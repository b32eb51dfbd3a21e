#![doc = include_str!("../README.md")]

pub mod cli;
pub mod dev;
pub mod gate;
pub mod metrics;
pub mod objects;
pub mod program;
pub mod servers;
pub mod station;
pub mod store;
pub mod wait;
