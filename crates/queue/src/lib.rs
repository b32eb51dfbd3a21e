#![doc = include_str!("../README.md")]

pub mod amqp;
pub mod embedded;
pub mod sqs;

pub use amqp::{AmqpDeadLetters, AmqpQueue, AmqpSettings};
pub use embedded::{DeadLetter, Depth, EmbeddedDeadLetters, EmbeddedQueue, EmbeddedSettings};
pub use sqs::{SqsAttributes, SqsDeadLetters, SqsQueue, SqsSettings};
