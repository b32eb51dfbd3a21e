//! Messages as the SDK has them, and as the port does.

use std::collections::BTreeMap;

use aws_sdk_sqs::{
    Client,
    operation::send_message::builders::SendMessageFluentBuilder,
    types::{Message, MessageAttributeValue},
};
use lazaret_core::ports::QueueError;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::failure::Asked;

/// The most attributes of a message.
pub(super) const MAX_ATTRIBUTES: usize = 10;

/// Whether a queue is FIFO, which its name says
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues.html>).
pub(super) fn is_fifo(url: &str) -> bool {
    let path = url.split('?').next().unwrap_or_default().trim_end_matches('/');
    path.rsplit_once('.').is_some_and(|(_, ending)| ending == "fifo")
}

/// What a FIFO queue wants to know of a message.
#[derive(Debug)]
pub(super) struct Fifo {
    /// Messages of a group come one at a time, in their order.
    group: String,
    /// A second message with this id is dropped for five minutes after the first.
    deduplication: String,
}

impl Fifo {
    /// A message of its own: what says the same comes one at a time, and is dropped by nobody, for it may be asked for
    /// twice. Only the SDK's own repetitions of one request are recognised.
    pub(super) fn new_message(body: &str) -> Self {
        Self { group: digest(body), deduplication: Uuid::now_v7().simple().to_string() }
    }

    /// A message made of another one: made twice within five minutes, it is there once.
    pub(super) fn made_of(message_id: &str, body: &str) -> Self {
        Self { group: digest(body), deduplication: message_id.to_owned() }
    }

    /// A dead letter: made twice of one message, it is there once, and none waits until another was dealt with.
    pub(super) fn letter(message_id: &str) -> Self {
        Self { group: message_id.to_owned(), deduplication: message_id.to_owned() }
    }
}

/// A request that puts `body` on a queue.
pub(super) fn sending(client: &Client, url: &str, body: &str, fifo: impl FnOnce() -> Fifo) -> SendMessageFluentBuilder {
    let request = client.send_message().queue_url(url).message_body(body);
    if !is_fifo(url) {
        return request;
    }
    let Fifo { group, deduplication } = fifo();
    request.message_group_id(group).message_deduplication_id(deduplication)
}

/// The same request with attributes, as many as a message may have. SQS takes no empty values.
pub(super) fn with_attributes<'a>(
    mut request: SendMessageFluentBuilder,
    attributes: impl Iterator<Item = (&'a str, &'a str)>,
    asked: &Asked,
) -> Result<SendMessageFluentBuilder, QueueError> {
    for (name, value) in attributes.filter(|(_, value)| !value.is_empty()).take(MAX_ATTRIBUTES) {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
        request = request.message_attributes(name, value.map_err(|error| asked.refused(&error.to_string()))?);
    }
    Ok(request)
}

/// The attributes of a message that are text.
pub(super) fn attributes(message: &mut Message) -> BTreeMap<String, String> {
    let attributes = message.message_attributes.take().unwrap_or_default().into_iter();
    attributes.filter_map(|(name, value)| Some((name, value.string_value?))).collect()
}

fn digest(body: &str) -> String {
    hex::encode(Sha256::digest(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_fifo_by_its_name() {
        assert!(is_fifo("https://sqs.eu-west-1.amazonaws.com/123456789012/uploads.fifo"));
        assert!(!is_fifo("https://sqs.eu-west-1.amazonaws.com/123456789012/uploads"));
        assert!(!is_fifo("https://uploads.fifo/123456789012/uploads"));
    }

    #[test]
    fn the_same_text_is_one_group_and_two_messages() {
        let (first, second) = (Fifo::new_message("body"), Fifo::new_message("body"));
        assert_eq!(first.group, second.group);
        assert_ne!(first.deduplication, second.deduplication);
        assert_ne!(first.group, Fifo::new_message("another body").group);
    }
}
