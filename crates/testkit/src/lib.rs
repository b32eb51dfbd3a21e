#![doc = include_str!("../README.md")]

pub mod objects;
pub mod scanners;
pub mod sessions;
