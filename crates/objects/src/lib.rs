#![doc = include_str!("../README.md")]

pub mod s3;
pub mod spool;

pub use s3::{Capabilities, Capability, Checksums, Honoured, S3Settings, S3Store, ServerSideEncryption, Timeouts};
pub use spool::{Spool, SpoolError, SpoolReservation, SpoolSettings, SpoolWriter};
