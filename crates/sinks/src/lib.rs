#![doc = include_str!("../README.md")]

pub mod amqp;
mod aws;
mod failure;
pub mod sns;
pub mod sqs;
pub mod webhook;

use lazaret_core::ports::{SinkError, VerdictEvent};

pub use amqp::{AmqpSink, AmqpSinkSettings};
pub use sns::{SnsSink, SnsSinkSettings};
pub use sqs::{SqsSink, SqsSinkSettings};
pub use webhook::{WebhookError, WebhookSettings, WebhookSink};

/// The media type of an event in structured mode
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md#3-envelope>).
const MEDIA_TYPE: &str = "application/cloudevents+json";

/// What is sent of an event: the same bytes for every sink.
fn body(sink: &str, event: &VerdictEvent) -> Result<String, SinkError> {
    serde_json::to_string(event).map_err(|error| failure::refused(sink, &error.to_string()))
}
