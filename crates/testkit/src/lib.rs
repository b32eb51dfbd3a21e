#![doc = include_str!("../README.md")]

pub mod dead_letters;
pub mod lists;
pub mod objects;
pub mod proxy;
pub mod queue;
pub mod scanners;
pub mod sessions;
pub mod sinks;
pub mod transformer;
