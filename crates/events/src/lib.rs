#![doc = include_str!("../README.md")]

mod cloudevent;
mod encoding;
mod error;
mod eventbridge;
mod field;
mod r2;
mod record;

use std::collections::BTreeMap;

use lazaret_core::{BucketName, IgnoredRecord, ObjectEvent, ObjectKey, VersionId};
use serde_json::{Value, json};

pub use error::DecodeError;

/// The longest message that is read: what SQS allows
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>).
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// A message of a known shape.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The records that are understood, in their order.
    pub records: Vec<Record>,
    /// Why the others are not. The good ones are to be worked on all the same.
    pub bad: Vec<DecodeError>,
}

impl Decoded {
    pub(crate) fn one(record: Record) -> Self {
        Self { records: vec![record], bad: Vec::new() }
    }
}

/// One record of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An object was created.
    Created(ObjectEvent),
    /// Well formed, and none of our business.
    Ignored(IgnoredRecord),
}

/// Decodes the body of a message. A record that is not understood does not keep the others. The attributes or headers
/// that came with the message matter only where they say that the body is the data of a CloudEvent in binary mode.
pub fn decode(body: &[u8], attributes: &BTreeMap<String, String>) -> Result<Decoded, DecodeError> {
    let message = parse(body)?;
    if let Some(context) = cloudevent::context(attributes) {
        return cloudevent::decode_binary(&context, &message);
    }
    match envelope(&message)? {
        None => decode_bare(&message),
        Some(inner) => {
            let inner = parse(inner.as_bytes())?;
            if envelope(&inner)?.is_some() {
                return Err(DecodeError::NestedEnvelope);
            }
            decode_bare(&inner)
        }
    }
}

/// A message that [`decode`] reads as the creation of this object: how Lazaret puts work on the queue itself.
pub fn encode(bucket: &BucketName, key: &ObjectKey, version: Option<&VersionId>) -> String {
    let mut object = json!({ "key": encoding::form_encode(key) });
    if let Some(version) = version {
        object["versionId"] = version.as_str().into();
    }
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": { "s3SchemaVersion": "1.0", "bucket": { "name": bucket.as_str() }, "object": object },
    }] })
    .to_string()
}

fn parse(body: &[u8]) -> Result<Value, DecodeError> {
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(DecodeError::TooLong { len: body.len() });
    }
    serde_json::from_slice(body).map_err(|source| DecodeError::NotJson { source })
}

/// What an SNS envelope holds
/// (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>).
fn envelope(message: &Value) -> Result<Option<&str>, DecodeError> {
    let (Some(kind), Some(_)) = (message.get("Type"), message.get("TopicArn")) else { return Ok(None) };
    if kind != "Notification" {
        return Err(DecodeError::unknown_shape(format!("an SNS message of type {kind}")));
    }
    match message.get("Message") {
        Some(Value::String(inner)) => Ok(Some(inner)),
        _ => Err(DecodeError::unknown_shape("an SNS notification whose Message is not a string")),
    }
}

/// What AWS sends when a notification is configured.
fn is_test_event(message: &Value) -> bool {
    message.get("Event").is_some_and(|event| event == "s3:TestEvent")
}

fn decode_bare(message: &Value) -> Result<Decoded, DecodeError> {
    let Value::Object(fields) = message else {
        return Err(DecodeError::unknown_shape("JSON that is not an object"));
    };
    if let Some(records) = fields.get("Records") {
        return record::decode(records);
    }
    if is_test_event(message) {
        return Ok(Decoded::one(Record::Ignored(IgnoredRecord::TestEvent)));
    }
    if fields.contains_key("detail-type") && fields.contains_key("detail") {
        return eventbridge::decode(message);
    }
    if cloudevent::is_structured(message) {
        return cloudevent::decode_structured(message);
    }
    if fields.contains_key("account") && fields.contains_key("action") {
        return r2::decode(message);
    }
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    Err(DecodeError::unknown_shape(format!("an object with the fields [{}]", names.join(", "))))
}

#[cfg(test)]
mod tests;
