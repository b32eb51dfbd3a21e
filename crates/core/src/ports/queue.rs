use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use thiserror::Error;

use crate::{Disposition, error::Cause};

/// Names one delivery to its queue until it is acknowledged or returned. Opaque to everybody else.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DeliveryTag(Arc<str>);

impl DeliveryTag {
    /// A tag that the adapter understands.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The adapter's own text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DeliveryTag {
    /// A receipt handle lets its holder delete the message, so it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryTag(…)")
    }
}

/// One message, handed to one consumer for a while.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// What to acknowledge.
    pub tag: DeliveryTag,
    /// The message's id on the bus, for logs.
    pub message_id: String,
    /// The message as it came. Not trusted: text or not, it may be anything.
    pub body: Vec<u8>,
    /// String attributes or headers, such as `traceparent`.
    pub attributes: BTreeMap<String, String>,
}

/// A queue of messages: at least once, unordered.
///
/// * A delivery that is neither acknowledged, returned nor dead-lettered is delivered again, at the latest after
///   [`Queue::visibility`].
/// * Every operation on a tag that the queue no longer knows succeeds and changes nothing: the message was, or will
///   be, delivered to somebody else.
/// * `acknowledge` returns once the removal is durable.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Waits for up to `max` messages (at least one is asked for, at most ten come), as long as the queue's long poll lasts.
    /// Empty when none came. Dropping the future loses no message for longer than the visibility timeout.
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, QueueError>;

    /// The effect of the message is durable: remove it.
    async fn acknowledge(&self, tag: &DeliveryTag) -> Result<(), QueueError>;

    /// Delivers the message again after `delay`.
    async fn retry_after(&self, tag: &DeliveryTag, delay: Duration) -> Result<(), QueueError>;

    /// Moves the message to the dead-letter queue with `reason`; where none is configured, the message is removed and the
    /// caller's log is all that remains of it.
    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError>;

    /// Keeps the delivery ours for another [`Queue::visibility`] from now.
    async fn extend(&self, tag: &DeliveryTag) -> Result<(), QueueError>;

    /// No [`Queue::receive`] follows for a while: messages that were brought to this consumer and not handed out go back
    /// to the queue, where others can take them. Receiving again takes part again.
    async fn pause(&self) -> Result<(), QueueError>;

    /// Puts a message on the queue. Durable when it returns.
    async fn send(&self, body: &str) -> Result<(), QueueError>;

    /// How long a delivery stays ours without [`Queue::extend`]. None: as long as the consumer lives.
    fn visibility(&self) -> Option<Duration>;

    /// Asks the queue whether it is there and lets us read.
    async fn check(&self) -> Result<(), QueueError>;
}

/// Why a queue could not do what was asked.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The queue is out of reach or refuses everybody for now.
    #[error("queue {queue} is unavailable")]
    Unavailable {
        /// The queue's name or URL, without credentials.
        queue: String,
        /// What the client library said.
        #[source]
        source: Cause,
    },
    /// The queue answered that this request cannot work: credentials, a missing queue, a message it does not take.
    #[error("queue {queue} refused to {action}")]
    Refused {
        /// The queue's name or URL, without credentials.
        queue: String,
        /// What was asked.
        action: &'static str,
        /// What the client library said.
        #[source]
        source: Cause,
    },
}

impl QueueError {
    /// What to do with the delivery.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable { .. } | Self::Refused { .. } => Disposition::Unavailable,
        }
    }
}
