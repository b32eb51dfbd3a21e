//! The object store port: a fake with faults, and the contract that every store must keep.

mod conformance;
mod faults;
mod memory;

pub use conformance::{Client, Setup, conforms};
pub use faults::{Effect, Failure, Fault, Operation};
pub use memory::{MemoryObject, MemoryObjectStore, contents, spooled};
