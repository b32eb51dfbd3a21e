//! The queue port on Amazon SQS and servers that speak its protocol.

mod batch;
mod failure;
mod settings;

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;
use aws_config::{AppName, BehaviorVersion, ConfigLoader, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sqs::{
    Client,
    config::{Builder, Credentials},
    types::{Message, MessageAttributeValue, QueueAttributeName},
};
use lazaret_core::ports::{Delivery, DeliveryTag, Queue, QueueError};
use tracing::warn;

use batch::Deleter;
use failure::Asked;

pub use settings::SqsSettings;

/// The most messages of one receive, and the most entries of one batch.
const MAX_BATCH: usize = 10;

/// The longest long poll, and the longest a message can be hidden
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>).
const MAX_WAIT: Duration = Duration::from_secs(20);
const MAX_HIDDEN: Duration = Duration::from_hours(12);

/// The most attributes of a message; one of them is ours in a dead letter.
const MAX_ATTRIBUTES: usize = 10;

/// The attribute of a dead letter that says why it is one.
const REASON: &str = "lazaret-reason";

/// The longest reason that is sent, in characters.
const MAX_REASON_CHARS: usize = 500;

/// The longest body of a dead letter. A message may have used all of the 256 KiB that queues take by default, and the
/// reason must still fit beside it.
const MAX_DEAD_LETTER_BYTES: usize = 240 * 1024;

/// Requests are tried this often; what still fails is up to the worker, which can wait for longer.
const ATTEMPTS: u32 = 3;

const BACKOFF: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// One SQS queue, and its dead-letter queue where there is one.
pub struct SqsQueue {
    client: Client,
    url: String,
    dead_letter_url: Option<String>,
    wait_seconds: i32,
    visibility_timeout: Duration,
    deleter: Deleter,
}

impl SqsQueue {
    /// A client of the queue. Nothing is asked of it yet; [`Queue::check`] does that.
    pub async fn connect(settings: SqsSettings) -> Self {
        let region = settings.region().map(Region::new);
        let endpoint = settings.endpoint();
        let mut config = match &settings.credentials {
            Some((id, secret)) => Builder::new()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new(id, secret, None, None, "lazaret settings")),
            None => Builder::from(&chain(region.as_ref()).load().await),
        };
        config.set_app_name(AppName::new("lazaret").ok());
        if region.is_some() {
            config.set_region(region);
        }
        if endpoint.is_some() {
            config.set_endpoint_url(endpoint);
        }
        let wait = settings.wait_time.min(MAX_WAIT);
        let config = config
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .read_timeout(wait + READ_TIMEOUT)
                    .operation_attempt_timeout(wait + READ_TIMEOUT)
                    .build(),
            )
            .build();
        let client = Client::from_conf(config);
        Self {
            deleter: Deleter::new(client.clone(), settings.url.clone()),
            client,
            url: settings.url,
            dead_letter_url: settings.dead_letter_url,
            wait_seconds: seconds(wait),
            visibility_timeout: settings.visibility_timeout,
        }
    }

    fn asked(&self, action: &'static str) -> Asked {
        Asked::new(&self.url, action)
    }

    async fn hide(&self, tag: &DeliveryTag, time: Duration, action: &'static str) -> Result<(), QueueError> {
        let request = self.client.change_message_visibility().queue_url(&self.url).receipt_handle(tag.as_str());
        match request.visibility_timeout(seconds(time.min(MAX_HIDDEN))).send().await {
            Ok(_) => Ok(()),
            Err(error) if failure::is_unknown_receipt(&error) => Ok(()),
            Err(error) => Err(self.asked(action).failed(&error)),
        }
    }

    async fn bury(&self, url: &str, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
        let asked = Asked::new(url, "take a dead letter");
        let body = &delivery.body[..delivery.body.len().min(MAX_DEAD_LETTER_BYTES)];
        let mut request = self.client.send_message().queue_url(url).message_body(String::from_utf8_lossy(body));
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect();
        let reason = if reason.is_empty() { "no reason was given".to_owned() } else { reason };
        let ours = (REASON, reason.as_str());
        let theirs = delivery.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let kept = theirs.filter(|(name, value)| *name != REASON && !value.is_empty());
        for (name, value) in std::iter::once(ours).chain(kept).take(MAX_ATTRIBUTES) {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            request = request.message_attributes(name, value.map_err(|error| asked.refused(&error.to_string()))?);
        }
        request.send().await.map(drop).map_err(|error| asked.failed(&error))
    }
}

#[async_trait]
impl Queue for SqsQueue {
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        let request = self.client.receive_message().queue_url(&self.url);
        let answer = request
            // One to ten, so the conversion holds.
            .max_number_of_messages(i32::try_from(max.clamp(1, MAX_BATCH)).unwrap_or(1))
            .wait_time_seconds(self.wait_seconds)
            .visibility_timeout(seconds(self.visibility_timeout))
            .message_attribute_names("All")
            .send()
            .await
            .map_err(|error| self.asked("hand out messages").failed(&error))?;
        let received = answer.messages.unwrap_or_default();
        Ok(received.into_iter().filter_map(delivery).collect())
    }

    async fn acknowledge(&self, tag: &DeliveryTag) -> Result<(), QueueError> {
        self.deleter.delete(tag).await
    }

    async fn retry_after(&self, tag: &DeliveryTag, delay: Duration) -> Result<(), QueueError> {
        self.hide(tag, delay, "put a message back").await
    }

    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
        if let Some(url) = &self.dead_letter_url {
            self.bury(url, delivery, reason).await?;
        }
        self.deleter.delete(&delivery.tag).await
    }

    async fn extend(&self, tag: &DeliveryTag) -> Result<(), QueueError> {
        self.hide(tag, self.visibility_timeout, "extend a delivery").await
    }

    /// Nothing is brought here before it is asked for.
    async fn pause(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn send(&self, body: &str) -> Result<(), QueueError> {
        let sent = self.client.send_message().queue_url(&self.url).message_body(body).send().await;
        sent.map(drop).map_err(|error| self.asked("take a message").failed(&error))
    }

    fn visibility(&self) -> Option<Duration> {
        Some(self.visibility_timeout)
    }

    async fn check(&self) -> Result<(), QueueError> {
        for url in std::iter::once(&self.url).chain(&self.dead_letter_url) {
            let request = self.client.get_queue_attributes().queue_url(url);
            let answer = request.attribute_names(QueueAttributeName::QueueArn).send().await;
            answer.map_err(|error| Asked::new(url, "say who it is").failed(&error))?;
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

/// The AWS SDK's default chain. Told the region, it does not ask the instance for one.
fn chain(region: Option<&Region>) -> ConfigLoader {
    let chain = aws_config::defaults(BehaviorVersion::latest());
    match region {
        Some(region) => chain.region(region.clone()),
        None => chain,
    }
}

/// A message without a receipt handle can neither be acknowledged nor put back, so it is nobody's.
fn delivery(message: Message) -> Option<Delivery> {
    let message_id = message.message_id.unwrap_or_default();
    let Some(receipt) = message.receipt_handle else {
        warn!(message.id = message_id, "a message without a receipt handle was left to the queue");
        return None;
    };
    let mut attributes = BTreeMap::new();
    for (name, value) in message.message_attributes.unwrap_or_default() {
        if let Some(value) = value.string_value {
            attributes.insert(name, value);
        }
    }
    Some(Delivery {
        tag: DeliveryTag::new(receipt),
        message_id,
        body: message.body.unwrap_or_default().into_bytes(),
        attributes,
    })
}

/// Whole seconds, rounded up: SQS knows no others.
fn seconds(time: Duration) -> i32 {
    let whole = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    i32::try_from(whole).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
