#![doc = include_str!("../README.md")]

mod clamd;
mod container;
mod exec;
mod failover;
mod icap;
mod nested;
mod proven;
mod signature_age;
#[cfg(feature = "yara")]
mod yara;

pub use clamd::{ClamdAddress, ClamdScanner, ClamdSettings, InvalidClamdAddress, MAX_OBJECT_BYTES};
pub use container::Container;
pub use exec::{ExecError, ExecScanner, ExecSettings};
pub use failover::Failover;
pub use icap::{IcapMethod, IcapScanner, IcapSettings, IcapUrl, InvalidIcapUrl};
pub use proven::{Canaries, Coverage, Marker, ProvenScanner, ProvenSettings, Sight};
#[cfg(feature = "yara")]
pub use yara::{LONGEST_POLL_INTERVAL, YaraError, YaraNews, YaraObserver, YaraScanner, YaraSettings};
