//! Amazon EventBridge (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>). Its keys are raw,
//! unlike those of S3 notifications.

use lazaret_core::{IgnoredRecord, ObjectEvent};
use serde_json::Value;

use crate::{DecodeError, Decoded, Record, error::cut, field::Fields};

pub(crate) fn decode(message: &Value) -> Result<Decoded, DecodeError> {
    let event = Fields { index: 0, record: message };
    let source = event.text("source")?;
    if source != "aws.s3" {
        return Err(DecodeError::UnknownSource { index: 0, origin: cut(source) });
    }
    event.major("version", &["0"], "0")?;
    let name = event.text("detail-type")?;
    let record = if name == "Object Created" {
        Record::Created(created(event)?)
    } else {
        Record::Ignored(IgnoredRecord::OtherEvent(cut(name)))
    };
    Ok(Decoded::one(record))
}

fn created(event: Fields<'_>) -> Result<ObjectEvent, DecodeError> {
    event.optional_major("detail.version", &["0", "1"], "0 or 1")?;
    event.optional_major("detail.event-version", &["1"], "1.x")?;
    Ok(ObjectEvent {
        bucket: event.parse("detail.bucket.name", event.text("detail.bucket.name")?)?,
        key: event.parse("detail.object.key", event.text("detail.object.key")?)?,
        version: event.optional("detail.object.version-id")?,
        etag: event.etag("detail.object.etag")?,
        size: event.size("detail.object.size")?,
        occurred_at: event.time("time")?,
    })
}
