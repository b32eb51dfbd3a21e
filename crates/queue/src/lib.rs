#![doc = include_str!("../README.md")]

pub mod embedded;
pub mod sqs;

pub use embedded::{DeadLetter, Depth, EmbeddedQueue, EmbeddedSettings};
pub use sqs::{SqsQueue, SqsSettings};
