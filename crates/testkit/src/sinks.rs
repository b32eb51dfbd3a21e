//! Sinks of verdict events: the contract, and a fake.

mod conformance;
mod memory;

pub use conformance::{Received, Setup, conforms, event};
pub use memory::MemorySink;
