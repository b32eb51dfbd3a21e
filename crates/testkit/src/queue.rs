//! The queue port: a fake that keeps a record, and the contract that every queue must keep.

mod conformance;
mod memory;

pub use conformance::{DeadLetters, Setup, conforms};
pub use memory::{MemoryQueue, QueueOperation, Settled};
