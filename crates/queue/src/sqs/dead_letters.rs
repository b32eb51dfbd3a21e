//! The dead-letter port on SQS: a second queue, which Lazaret fills, and so may the redrive policy of the first.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    types::{Message, MessageSystemAttributeName},
};
use futures_util::future::join_all;
use lazaret_core::ports::{DeadLetter, DeadLetterQueue, Delivery, DeliveryTag, QueueError};

use super::{
    SqsSettings,
    batch::{Batches, Change},
    client::client,
    failure::Asked,
    message::{Fifo, attributes, sending, with_attributes},
    poll::Polls,
    receipt::{Receipts, handle},
    seconds,
};

/// The attribute of a dead letter that says why it is one.
const REASON: &str = "lazaret-reason";

/// The attribute of a dead letter whose body was too long: how many bytes it had.
const CUT: &str = "lazaret-cut";

/// The longest reason that is sent, in characters.
const MAX_REASON_CHARS: usize = 500;

/// The longest body of a dead letter. A message may have used all of the 256 KiB that queues take by default, and the
/// reason must still fit beside it.
pub(super) const MAX_LETTER_BYTES: usize = 240 * 1024;

/// The longest a look into the dead-letter queue waits for the first letter. A long poll asks all of the queue's
/// servers, so that it finds what is there; a short one may not.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// How long letters stay with their holder.
const HELD: Duration = Duration::from_mins(2);

/// A reason without the characters that SQS refuses in a value
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>): it may quote a message,
/// which must not choose whether it becomes a dead letter.
fn sendable(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')).take(MAX_REASON_CHARS).collect()
}

/// Puts a message on the dead-letter queue.
pub(super) async fn bury(client: &Client, url: &str, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
    let asked = Asked::new(url, "take a dead letter");
    let length = delivery.body.len();
    let body = String::from_utf8_lossy(&delivery.body[..length.min(MAX_LETTER_BYTES)]);
    let reason = sendable(reason);
    let reason = if reason.is_empty() { "no reason was given" } else { &reason };
    let cut = if length > MAX_LETTER_BYTES { length.to_string() } else { String::new() };
    let ours = [(REASON, reason), (CUT, cut.as_str())].into_iter().filter(|(_, value)| !value.is_empty());
    let theirs = delivery.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let theirs = theirs.filter(|(name, value)| !matches!(*name, REASON | CUT) && !value.is_empty());
    let request = sending(client, url, &body, || Fifo::letter(&delivery.message_id));
    let request = with_attributes(request, ours.chain(theirs), &asked)?;
    request.send().await.map(drop).map_err(|error| asked.failed(&error))
}

/// The dead letters of one SQS queue.
///
/// A letter that is neither given back nor redriven within two minutes comes back by itself. Of a FIFO queue's own
/// redrive policy come letters in the groups of their messages: of each group only what one receive brought is seen until
/// that was given back.
pub struct SqsDeadLetters {
    client: Client,
    queue_url: String,
    url: String,
    receipts: Receipts,
    polls: Polls,
    hider: Arc<Batches>,
    remover: Batches,
}

impl SqsDeadLetters {
    /// A client of the queue and of its dead-letter queue. Without `dead_letter_url` it is refused; nothing else is asked
    /// of anybody yet.
    pub async fn connect(settings: SqsSettings) -> Result<Self, QueueError> {
        let client = client(&settings).await;
        Self::new(client, settings, HELD)
    }

    pub(super) fn new(client: Client, settings: SqsSettings, held: Duration) -> Result<Self, QueueError> {
        let Some(url) = settings.dead_letter_url else {
            let asked = Asked::new(&settings.url, "show its dead letters");
            return Err(asked.refused("it has no dead-letter queue: set queue.sqs.dead_letter_url"));
        };
        let request = client.receive_message().queue_url(&url);
        let request = request
            .wait_time_seconds(seconds(settings.wait_time.min(MAX_WAIT)))
            .visibility_timeout(seconds(held))
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All);
        let hider = Arc::new(Batches::new(&client, &url, Change::Hide));
        Ok(Self {
            polls: Polls::new(request, Arc::clone(&hider), Asked::new(&url, "hand out dead letters")),
            hider,
            remover: Batches::new(&client, &url, Change::Remove),
            receipts: Receipts::new(),
            queue_url: settings.url,
            url,
            client,
        })
    }
}

#[async_trait]
impl DeadLetterQueue for SqsDeadLetters {
    async fn receive(&self, max: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let (messages, asked) = self.polls.receive(max).await?;
        let letter = |mut message: Message| {
            let tag = self.receipts.tag(message.receipt_handle.as_deref()?, asked);
            let mut attributes = attributes(&mut message);
            let reason = attributes.remove(REASON).or_else(|| reason_of_policy(&message));
            let message_id = message.message_id.unwrap_or_default();
            Some(DeadLetter {
                tag,
                message_id,
                body: message.body.unwrap_or_default().into_bytes(),
                attributes,
                reason,
            })
        };
        Ok(messages.into_iter().filter_map(letter).collect())
    }

    async fn give_back(&self, tags: &[DeliveryTag]) -> Result<(), QueueError> {
        let given = join_all(tags.iter().map(|tag| self.hider.hide(handle(tag), 0))).await;
        given.into_iter().collect()
    }

    async fn redrive(&self, letter: &DeadLetter) -> Result<(), QueueError> {
        let asked = Asked::new(&self.queue_url, "take a dead letter back");
        if let Some(bytes) = letter.attributes.get(CUT) {
            let kept = letter.body.len();
            return Err(asked.refused(&format!("the message had {bytes} bytes, and only {kept} were kept")));
        }
        let Ok(body) = str::from_utf8(&letter.body) else {
            return Err(asked.refused("the message is not UTF-8, and SQS takes nothing else"));
        };
        let theirs = letter.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = sending(&self.client, &self.queue_url, body, || Fifo::made_of(&letter.message_id, body));
        let request = with_attributes(request, theirs, &asked)?;
        request.send().await.map_err(|error| asked.failed(&error))?;
        self.remover.remove(handle(&letter.tag)).await
    }
}

impl fmt::Debug for SqsDeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue_url, url, .. } = self;
        f.debug_struct("SqsDeadLetters").field("queue_url", queue_url).field("url", url).finish_non_exhaustive()
    }
}

/// What SQS tells of a message that its own redrive policy moved.
fn reason_of_policy(message: &Message) -> Option<String> {
    let told = message.attributes.as_ref()?;
    let source = told.get(&MessageSystemAttributeName::DeadLetterQueueSourceArn)?;
    let queue = source.rsplit(':').next().unwrap_or_default();
    let count = told.get(&MessageSystemAttributeName::ApproximateReceiveCount).map_or("?", String::as_str);
    Some(format!("moved by the redrive policy of {queue}: received too often ({count} times by now)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_no_character_that_a_queue_refuses() {
        let quoted = "an object with the fields [a\u{0}\u{fffe}\u{ffff}\n\u{fffd}\u{10ffff}]";
        assert_eq!(sendable(quoted), "an object with the fields [a\u{fffd}\u{10ffff}]");
        assert_eq!(sendable(&"x".repeat(MAX_REASON_CHARS + 1)).len(), MAX_REASON_CHARS);
    }
}
