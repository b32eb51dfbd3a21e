//! S3 notification records: AWS
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>), MinIO
//! (<https://github.com/minio/minio/issues/7665>) and Ceph RGW
//! (<https://docs.ceph.com/en/latest/radosgw/notifications/>).

use lazaret_core::{IgnoredRecord, ObjectEvent, ObjectKey};
use serde_json::Value;

use crate::{DecodeError, Decoded, Record, encoding, error::cut, field::Fields};

pub(crate) fn decode(records: &Value) -> Result<Decoded, DecodeError> {
    let Value::Array(records) = records else {
        return Err(DecodeError::unknown_shape("Records that are not a list"));
    };
    if records.is_empty() {
        return Err(DecodeError::unknown_shape("Records without a record"));
    }
    let mut decoded = Decoded::default();
    for (index, record) in records.iter().enumerate() {
        match decode_one(Fields { index, record }) {
            Ok(record) => decoded.records.push(record),
            Err(error) => decoded.bad.push(error),
        }
    }
    Ok(decoded)
}

/// Who wrote a record, which says how its key is encoded.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Aws,
    Minio,
    Ceph,
}

fn origin(record: Fields<'_>) -> Result<Origin, DecodeError> {
    match record.text("eventSource")? {
        "aws:s3" => Ok(Origin::Aws),
        "minio:s3" => Ok(Origin::Minio),
        "ceph:s3" => Ok(Origin::Ceph),
        other => Err(DecodeError::UnknownSource { index: record.index, origin: cut(other) }),
    }
}

pub(crate) fn decode_one(record: Fields<'_>) -> Result<Record, DecodeError> {
    let origin = origin(record)?;
    record.major("eventVersion", &["2"], "2.x")?;
    let name = record.text("eventName")?;
    if !name.strip_prefix("s3:").unwrap_or(name).starts_with("ObjectCreated:") {
        return Ok(Record::Ignored(IgnoredRecord::OtherEvent(cut(name))));
    }
    Ok(Record::Created(ObjectEvent {
        bucket: record.parse("s3.bucket.name", record.text("s3.bucket.name")?)?,
        key: key(record, origin)?,
        version: record.optional("s3.object.versionId")?,
        etag: record.etag("s3.object.eTag")?,
        size: record.size("s3.object.size")?,
        occurred_at: record.time("eventTime")?,
    }))
}

fn key(record: Fields<'_>, origin: Origin) -> Result<ObjectKey, DecodeError> {
    const PATH: &str = "s3.object.key";
    let text = record.text(PATH)?;
    match origin {
        Origin::Aws | Origin::Minio => {
            let decoded = encoding::form_decode(text).map_err(|why| record.bad(PATH, why))?;
            record.parse(PATH, &decoded)
        }
        Origin::Ceph => record.parse(PATH, text),
    }
}
