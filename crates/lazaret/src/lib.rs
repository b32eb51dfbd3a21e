#![doc = include_str!("../README.md")]

pub mod cli;
pub mod command;
pub mod dev;
pub mod failure;
mod output;
pub mod service;
pub mod settings;
pub mod telemetry;
mod tied;
pub mod wiring;
