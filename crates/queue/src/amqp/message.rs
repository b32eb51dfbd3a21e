//! What a message carries beside its body.

use std::collections::BTreeMap;

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldArray, FieldTable},
};
use sha2::{Digest, Sha256};

/// Header of a dead letter that says why it is one.
pub(super) const REASON: &str = "lazaret-reason";

/// What binary CloudEvents are known by.
const CONTENT_TYPE: &str = "content-type";

/// Longest reason that is kept.
const MAX_REASON_CHARS: usize = 1000;

/// What the broker writes into headers for itself, and what would make it deliver a copy to further queues.
const OF_THE_BROKER: [&str; 7] =
    ["x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count", "CC", "BCC"];

/// Headers as text, without the broker's own and without the reason.
pub(super) fn attributes(properties: &BasicProperties) -> BTreeMap<String, String> {
    let headers = properties.headers().iter().flat_map(FieldTable::inner);
    let ours = headers.filter(|(name, _)| !is_of_the_broker(name.as_str()) && name.as_str() != REASON);
    let mut attributes: BTreeMap<String, String> =
        ours.filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect();
    if let Some(content_type) = properties.content_type() {
        attributes.insert(CONTENT_TYPE.to_owned(), content_type.to_string());
    }
    attributes
}

/// The sender's id, or one made of the body: the same with every delivery.
pub(super) fn message_id(properties: &BasicProperties, body: &[u8]) -> String {
    let given = properties.message_id().as_ref().map(ToString::to_string).filter(|id| !id.is_empty());
    given.unwrap_or_else(|| format!("body-{}", hex::encode(&Sha256::digest(body)[..8])))
}

/// Properties of a message that is published again: as they were, but for what belonged to that one publishing. The
/// user's name would have to be ours, and a time to live has run already.
pub(super) fn copied(properties: &BasicProperties, reason: Option<&str>) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in properties.headers().iter().flat_map(FieldTable::inner) {
        if !is_of_the_broker(name.as_str()) && name.as_str() != REASON {
            headers.insert(name.clone(), value.clone());
        }
    }
    if let Some(reason) = reason {
        let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
        headers.insert(REASON.into(), AMQPValue::LongString(reason.into()));
    }
    let mut copy = BasicProperties::default().with_headers(headers);
    let keep = |value: &Option<_>, with: fn(BasicProperties, _) -> BasicProperties, copy: BasicProperties| {
        value.clone().map_or(copy.clone(), |value| with(copy, value))
    };
    copy = keep(properties.content_type(), BasicProperties::with_content_type, copy);
    copy = keep(properties.content_encoding(), BasicProperties::with_content_encoding, copy);
    copy = keep(properties.correlation_id(), BasicProperties::with_correlation_id, copy);
    copy = keep(properties.reply_to(), BasicProperties::with_reply_to, copy);
    copy = keep(properties.message_id(), BasicProperties::with_message_id, copy);
    copy = keep(properties.kind(), BasicProperties::with_type, copy);
    copy = keep(properties.app_id(), BasicProperties::with_app_id, copy);
    if let Some(priority) = properties.priority() {
        copy = copy.with_priority(*priority);
    }
    if let Some(timestamp) = properties.timestamp() {
        copy = copy.with_timestamp(*timestamp);
    }
    copy
}

/// Why the message is a dead letter: in our words, or in those of the broker
/// (<https://www.rabbitmq.com/docs/dlx#effects>).
pub(super) fn reason(properties: &BasicProperties) -> Option<String> {
    let headers = properties.headers().as_ref()?.inner();
    if let Some(reason) = headers.get(REASON) {
        return text(reason);
    }
    let AMQPValue::FieldArray(deaths) = headers.get("x-death")? else { return None };
    let AMQPValue::FieldTable(last) = FieldArray::as_slice(deaths).first()? else { return None };
    let field = |name: &str| last.inner().get(name).and_then(text);
    let queue = field("queue").unwrap_or_default();
    Some(format!("{} by the broker, from queue {queue}", field("reason")?.replace('_', "-")))
}

fn is_of_the_broker(name: &str) -> bool {
    OF_THE_BROKER.iter().any(|own| name == *own || own.ends_with('-') && name.starts_with(own))
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::Boolean(value) => Some(value.to_string()),
        AMQPValue::ShortShortInt(value) => Some(value.to_string()),
        AMQPValue::ShortShortUInt(value) => Some(value.to_string()),
        AMQPValue::ShortInt(value) => Some(value.to_string()),
        AMQPValue::ShortUInt(value) => Some(value.to_string()),
        AMQPValue::LongInt(value) => Some(value.to_string()),
        AMQPValue::LongUInt(value) => Some(value.to_string()),
        AMQPValue::LongLongInt(value) => Some(value.to_string()),
        AMQPValue::Float(value) => Some(value.to_string()),
        AMQPValue::Double(value) => Some(value.to_string()),
        AMQPValue::Timestamp(value) => Some(value.to_string()),
        AMQPValue::ShortString(value) => Some(value.to_string()),
        AMQPValue::LongString(value) => Some(String::from_utf8_lossy(value.as_bytes()).into_owned()),
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(value: &str) -> AMQPValue {
        AMQPValue::LongString(value.into())
    }

    fn table(entries: Vec<(&str, AMQPValue)>) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert(name.into(), value);
        }
        table
    }

    #[test]
    fn headers_become_attributes_and_the_brokers_own_do_not() {
        let headers = table(vec![
            ("traceparent", long("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
            ("cloudEvents:id", long("1")),
            ("count", AMQPValue::LongInt(-7)),
            ("live", AMQPValue::Boolean(true)),
            ("bytes", AMQPValue::Void),
            ("x-delivery-count", AMQPValue::LongLongInt(2)),
            ("x-first-death-queue", long("q")),
            (REASON, long("why")),
        ]);
        let properties = BasicProperties::default().with_headers(headers).with_content_type("application/json".into());
        let attributes = attributes(&properties);
        let names: Vec<_> = attributes.keys().map(String::as_str).collect();
        assert_eq!(names, ["cloudEvents:id", "content-type", "count", "live", "traceparent"]);
        assert_eq!([&attributes["count"], &attributes["live"]], ["-7", "true"]);
    }

    #[test]
    fn a_copy_keeps_what_the_sender_said_and_loses_what_was_of_its_publishing() {
        let headers = table(vec![
            ("traceparent", long("00-1-2-01")),
            ("x-death", AMQPValue::FieldArray(FieldArray::default())),
            ("CC", AMQPValue::FieldArray(FieldArray::default())),
            (REASON, long("an older reason")),
        ]);
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_message_id("id".into())
            .with_type("kind".into())
            .with_timestamp(7)
            .with_user_id("somebody".into())
            .with_expiration("1000".into());
        let expected = BasicProperties::default()
            .with_headers(table(vec![("traceparent", long("00-1-2-01"))]))
            .with_message_id("id".into())
            .with_type("kind".into())
            .with_timestamp(7);
        assert_eq!(copied(&properties, None), expected);
        assert_eq!(reason(&copied(&properties, Some("a new one"))).as_deref(), Some("a new one"));
    }

    #[test]
    fn the_brokers_reason_is_read_where_there_is_none_of_ours() {
        let death = table(vec![("reason", long("delivery_limit")), ("queue", long("uploads"))]);
        let mut deaths = FieldArray::default();
        deaths.push(AMQPValue::FieldTable(death));
        let properties = |headers| BasicProperties::default().with_headers(table(headers));
        let by_broker = properties(vec![("x-death", AMQPValue::FieldArray(deaths))]);
        assert_eq!(reason(&by_broker).as_deref(), Some("delivery-limit by the broker, from queue uploads"));
        assert_eq!(reason(&properties(vec![("x-death", long("odd"))])), None);
        assert_eq!(reason(&BasicProperties::default()), None);
    }

    #[test]
    fn a_message_without_an_id_has_the_same_one_every_time() {
        let given = BasicProperties::default().with_message_id("theirs".into());
        assert_eq!(message_id(&given, b"body"), "theirs");
        let none = BasicProperties::default();
        assert_eq!(message_id(&none, b"body"), message_id(&none, b"body"));
        assert_ne!(message_id(&none, b"body"), message_id(&none, b"another"));
    }
}
