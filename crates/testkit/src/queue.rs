//! The queue port: a fake that keeps a record, and the contract that every queue must keep.

mod conformance;
mod memory;

pub use conformance::{Consumers, DeadLetters, Setup, conforms, conforms_while_held};
pub use memory::{MemoryQueue, QueueOperation, Settled};
