#![doc = include_str!("../README.md")]

mod clamd;

pub use clamd::{ClamdAddress, ClamdScanner, ClamdSettings, InvalidClamdAddress, MAX_OBJECT_BYTES};
