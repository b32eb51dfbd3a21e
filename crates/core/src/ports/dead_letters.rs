use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{DeliveryTag, QueueError};

/// A message that was given up, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it to its queue until it is given back or redriven.
    pub tag: DeliveryTag,
    /// The message's id on the bus.
    pub message_id: String,
    /// The message as it came. Not trusted.
    pub body: Vec<u8>,
    /// String attributes or headers that came with it, without the reason.
    pub attributes: BTreeMap<String, String>,
    /// Why it is here, where it is known: the reason that Lazaret gave, or the broker's own.
    pub reason: Option<String>,
}

/// The dead-letter queue beside a [`super::Queue`].
///
/// What was received and neither given back nor redriven comes back by itself when its holder is gone.
#[async_trait]
pub trait DeadLetterQueue: Send + Sync {
    /// Takes up to `max` dead letters, at most ten, out of everybody else's sight. Empty when there are no more.
    async fn receive(&self, max: usize) -> Result<Vec<DeadLetter>, QueueError>;

    /// Puts dead letters back as they were.
    async fn give_back(&self, tags: &[DeliveryTag]) -> Result<(), QueueError>;

    /// Puts the message on the queue it came from, durably, and removes the dead letter after that. A crash in between
    /// leaves both.
    async fn redrive(&self, letter: &DeadLetter) -> Result<(), QueueError>;
}
