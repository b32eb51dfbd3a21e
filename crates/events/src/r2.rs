//! Cloudflare R2 (<https://developers.cloudflare.com/r2/buckets/event-notifications/>). One message is one event; its
//! key is raw, and R2 has no versions.

use lazaret_core::{IgnoredRecord, ObjectEvent};
use serde_json::Value;

use crate::{DecodeError, Decoded, Record, field::Fields};

pub(crate) fn decode(message: &Value) -> Result<Decoded, DecodeError> {
    let event = Fields { index: 0, record: message };
    let record = match event.text("action")? {
        "PutObject" | "CopyObject" | "CompleteMultipartUpload" => Record::Created(created(event)?),
        action @ ("DeleteObject" | "LifecycleDeletion") => {
            Record::Ignored(IgnoredRecord::OtherEvent(action.to_owned()))
        }
        // There is no family of names as in S3: an action that is not known may well create objects.
        action => return Err(event.bad("action", &format!("{action:?} is not known"))),
    };
    Ok(Decoded::one(record))
}

fn created(event: Fields<'_>) -> Result<ObjectEvent, DecodeError> {
    Ok(ObjectEvent {
        bucket: event.parse("bucket", event.text("bucket")?)?,
        key: event.parse("object.key", event.text("object.key")?)?,
        version: None,
        etag: event.etag("object.eTag")?,
        size: event.size("object.size")?,
        occurred_at: event.time("eventTime")?,
    })
}
