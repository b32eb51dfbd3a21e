//! CloudEvents 1.0 around S3 notification records: structured mode
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>) and binary mode, whose context
//! is in the attributes of the message.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use lazaret_core::IgnoredRecord;
use serde_json::Value;

use crate::{DecodeError, Decoded, Record, error::cut, field::Fields, is_test_event, parse, record};

/// What the bindings put before a context attribute, in any case: HTTP `ce-`, Kafka `ce_`, AMQP `cloudEvents:` or
/// `cloudEvents_` (<https://github.com/cloudevents/spec/tree/v1.0.2/cloudevents/bindings>).
const PREFIXES: &[&str] = &["ce-", "ce_", "cloudEvents:", "cloudEvents_"];

/// How the types of events begin whose data is an S3 notification.
const S3_TYPES: &[&str] = &[
    // The CloudEvents adapter for S3, also before MinIO's `s3:ObjectCreated:Put`
    // (<https://github.com/cloudevents/spec/blob/main/cloudevents/adapters/aws-s3.md>).
    "com.amazonaws.s3.",
    // Ceph RGW with `cloudevents=true`, by version with and without `s3:`
    // (<https://docs.ceph.com/en/latest/radosgw/notifications/>).
    "com.amazonaws.Object",
    "com.amazonaws.s3:",
    // The TriggerMesh source for S3.
    "com.amazon.s3.",
];

/// How the types of the events begin that Lazaret itself sends.
const OWN_TYPES: &str = "lazaret.";

pub(crate) fn is_structured(message: &Value) -> bool {
    message.get("specversion").is_some()
}

/// An event that is a message of its own.
pub(crate) fn decode_structured(message: &Value) -> Result<Decoded, DecodeError> {
    let event = Fields { index: 0, record: message };
    check(event)?;
    match (message.get("data"), event.optional_text("data_base64")?) {
        (Some(data), None) => decode_data(data),
        (None, Some(encoded)) => {
            let data = STANDARD.decode(encoded).map_err(|_| event.bad("data_base64", "base64 is expected"))?;
            decode_data(&parse(&data)?)
        }
        (Some(_), Some(_)) => Err(event.bad("data", "there is data_base64 as well")),
        (None, None) => Err(event.bad("data", "missing")),
    }
}

/// What the attributes say of the body, where they make it the data of an event.
pub(crate) fn context(attributes: &BTreeMap<String, String>) -> Option<Value> {
    let attribute =
        |name: &str| attributes.iter().find(|(full, _)| is_named(full, name)).map(|(_, value)| value.as_str());
    let specversion = attribute("specversion")?;
    Some(serde_json::json!({ "specversion": specversion, "type": attribute("type") }))
}

/// A body that is the data of an event in binary mode.
pub(crate) fn decode_binary(context: &Value, data: &Value) -> Result<Decoded, DecodeError> {
    check(Fields { index: 0, record: context })?;
    decode_data(data)
}

fn is_named(full: &str, name: &str) -> bool {
    PREFIXES.iter().any(|prefix| {
        full.split_at_checked(prefix.len())
            .is_some_and(|(head, rest)| head.eq_ignore_ascii_case(prefix) && rest.eq_ignore_ascii_case(name))
    })
}

fn check(event: Fields<'_>) -> Result<(), DecodeError> {
    event.major("specversion", &["1"], "1.x")?;
    let kind = event.text("type")?;
    if kind.starts_with(OWN_TYPES) {
        return Err(DecodeError::OwnEvent { kind: cut(kind) });
    }
    if S3_TYPES.iter().any(|known| kind.starts_with(known)) {
        return Ok(());
    }
    Err(DecodeError::unknown_shape(format!("a CloudEvent of type {kind}, which is no S3 notification")))
}

/// One record, or a message of records as Ceph RGW sends. Each says itself who wrote it.
fn decode_data(data: &Value) -> Result<Decoded, DecodeError> {
    if is_structured(data) {
        return Err(DecodeError::unknown_shape("a CloudEvent inside a CloudEvent"));
    }
    if is_test_event(data) {
        return Ok(Decoded::one(Record::Ignored(IgnoredRecord::TestEvent)));
    }
    match data.get("Records") {
        Some(records) => record::decode(records),
        None => record::decode_one(Fields { index: 0, record: data }).map(Decoded::one),
    }
}
