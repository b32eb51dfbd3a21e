//! The queue port on Amazon SQS and servers that speak its protocol.

mod attributes;
mod batch;
mod client;
mod dead_letters;
mod failure;
mod message;
mod poll;
mod receipt;
mod settings;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_sqs::{Client, types::Message};
use lazaret_core::ports::{Delivery, DeliveryTag, Queue, QueueError};
use tracing::{debug, warn};

use batch::{Batches, Change};
use failure::Asked;
use message::{Fifo, sending};
use poll::Polls;
use receipt::{MAX_HIDDEN, Receipts, handle};

pub use attributes::SqsAttributes;
pub use dead_letters::SqsDeadLetters;
pub use settings::SqsSettings;

/// The most messages of one receive, and the most entries of one batch.
const MAX_BATCH: usize = 10;

/// One SQS queue, standard or FIFO, and its dead-letter queue where there is one.
///
/// * A receive that is dropped goes on by itself until its long poll ends, and what it brings is given back at once.
///   Only where the queue, or the runtime, ends before that does such a message stay hidden for its visibility timeout:
///   who stops should wait for a receive for a moment, and return what comes.
/// * SQS hides a message for at most twelve hours from its receive. An extension asks for no more than is left of them,
///   and for nothing after that: the message is delivered again, and the lease in the session store keeps its upload with
///   one worker.
/// * On a FIFO queue, messages that say the same come one at a time; [`Queue::retry_after`] holds back those behind it,
///   too.
pub struct SqsQueue {
    client: Client,
    url: String,
    dead_letter_url: Option<String>,
    visibility_timeout: Duration,
    receipts: Receipts,
    polls: Polls,
    hider: Arc<Batches>,
    remover: Batches,
}

impl SqsQueue {
    /// A client of the queue. Nothing is asked of it yet; [`Queue::check`] does that.
    pub async fn connect(settings: SqsSettings) -> Self {
        let client = client::client(&settings).await;
        Self::new(client, settings)
    }

    fn new(client: Client, settings: SqsSettings) -> Self {
        let visibility_timeout = settings.visibility_timeout.min(MAX_HIDDEN);
        let request = client.receive_message().queue_url(&settings.url).message_attribute_names("All");
        let request =
            request.wait_time_seconds(seconds(settings.wait())).visibility_timeout(seconds(visibility_timeout));
        let hider = Arc::new(Batches::new(&client, &settings.url, Change::Hide));
        Self {
            polls: Polls::new(request, Arc::clone(&hider), Asked::new(&settings.url, "hand out messages")),
            hider,
            remover: Batches::new(&client, &settings.url, Change::Remove),
            receipts: Receipts::new(),
            client,
            url: settings.url,
            dead_letter_url: settings.dead_letter_url,
            visibility_timeout,
        }
    }

    /// Asks the queue what it is set to.
    pub async fn attributes(&self) -> Result<SqsAttributes, QueueError> {
        SqsAttributes::ask(&self.client, &self.url, self.dead_letter_url.as_deref()).await
    }

    /// A message without a receipt handle can neither be acknowledged nor put back, so it is nobody's.
    fn delivery(&self, mut message: Message, asked: tokio::time::Instant) -> Option<Delivery> {
        let attributes = message::attributes(&mut message);
        let message_id = message.message_id.unwrap_or_default();
        let Some(receipt) = message.receipt_handle else {
            warn!(message.id = message_id, "a message without a receipt handle was left to the queue");
            return None;
        };
        let tag = self.receipts.tag(&receipt, asked);
        Some(Delivery { tag, message_id, body: message.body.unwrap_or_default().into_bytes(), attributes })
    }
}

#[async_trait]
impl Queue for SqsQueue {
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        let (messages, asked) = self.polls.receive(max).await?;
        Ok(messages.into_iter().filter_map(|message| self.delivery(message, asked)).collect())
    }

    async fn acknowledge(&self, tag: &DeliveryTag) -> Result<(), QueueError> {
        self.remover.remove(handle(tag)).await
    }

    async fn retry_after(&self, tag: &DeliveryTag, delay: Duration) -> Result<(), QueueError> {
        self.hider.hide(handle(tag), seconds(delay.min(self.receipts.left(tag)))).await
    }

    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
        if let Some(url) = &self.dead_letter_url {
            dead_letters::bury(&self.client, url, delivery, reason).await?;
        }
        self.remover.remove(handle(&delivery.tag)).await
    }

    async fn extend(&self, tag: &DeliveryTag) -> Result<(), QueueError> {
        let left = self.receipts.left(tag);
        if left.is_zero() {
            debug!("a delivery can be extended no more");
            return Ok(());
        }
        if left < self.visibility_timeout {
            warn!("a delivery is extended for the last time: SQS hides no message for longer than {MAX_HIDDEN:?}");
        }
        self.hider.hide(handle(tag), seconds(left.min(self.visibility_timeout))).await
    }

    /// Nothing is brought here before it is asked for.
    async fn pause(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn send(&self, body: &str) -> Result<(), QueueError> {
        let request = sending(&self.client, &self.url, body, || Fifo::new_message(body));
        request.send().await.map(drop).map_err(|error| Asked::new(&self.url, "take a message").failed(&error))
    }

    fn visibility(&self) -> Option<Duration> {
        Some(self.visibility_timeout)
    }

    async fn check(&self) -> Result<(), QueueError> {
        for url in std::iter::once(&self.url).chain(&self.dead_letter_url) {
            attributes::told_arn(&self.client, url).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for SqsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsQueue")
            .field("url", &self.url)
            .field("dead_letter_url", &self.dead_letter_url)
            .field("visibility_timeout", &self.visibility_timeout)
            .finish_non_exhaustive()
    }
}

/// Whole seconds, rounded up: SQS knows no others.
fn seconds(time: Duration) -> i32 {
    let whole = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    i32::try_from(whole).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;
