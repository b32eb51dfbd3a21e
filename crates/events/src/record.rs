//! S3 notification records: AWS
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>), MinIO
//! (<https://github.com/minio/minio/issues/7665>) and Ceph RGW
//! (<https://docs.ceph.com/en/latest/radosgw/notifications/>).

use lazaret_core::{Dialect, IgnoredRecord, ObjectEvent, ObjectKey};
use serde_json::Value;

use crate::{DecodeError, Decoded, Record, encoding, error::cut, field::Fields};

pub(crate) fn decode(records: &Value) -> Result<Decoded, DecodeError> {
    let Value::Array(records) = records else {
        return Err(DecodeError::unknown_shape("Records that are not a list"));
    };
    let fields = || records.iter().enumerate().map(|(index, record)| Fields { index, record });
    let Some(first) = fields().next() else {
        return Err(DecodeError::unknown_shape("Records without a record"));
    };
    let dialect = dialect(first)?;
    let records = fields().map(|record| decode_one(record, dialect)).collect::<Result<_, _>>()?;
    Ok(Decoded { dialect, records })
}

fn dialect(record: Fields<'_>) -> Result<Dialect, DecodeError> {
    match record.text("eventSource")? {
        "aws:s3" => Ok(Dialect::S3),
        "minio:s3" => Ok(Dialect::Minio),
        "ceph:s3" => Ok(Dialect::Ceph),
        other => Err(DecodeError::UnknownSource { index: record.index, origin: cut(other) }),
    }
}

fn decode_one(record: Fields<'_>, of_message: Dialect) -> Result<Record, DecodeError> {
    if dialect(record)? != of_message {
        return Err(record.bad("eventSource", "differs from the first record's"));
    }
    record.major("eventVersion", &["2"], "2.x")?;
    let name = record.text("eventName")?;
    if !name.strip_prefix("s3:").unwrap_or(name).starts_with("ObjectCreated:") {
        return Ok(Record::Ignored(IgnoredRecord::OtherEvent(cut(name))));
    }
    Ok(Record::Created(ObjectEvent {
        bucket: record.parse("s3.bucket.name", record.text("s3.bucket.name")?)?,
        key: key(record, of_message)?,
        version: record.optional("s3.object.versionId")?,
        etag: record.etag("s3.object.eTag")?,
        size: record.size("s3.object.size")?,
        occurred_at: record.time("eventTime")?,
    }))
}

fn key(record: Fields<'_>, dialect: Dialect) -> Result<ObjectKey, DecodeError> {
    const PATH: &str = "s3.object.key";
    let text = record.text(PATH)?;
    match dialect {
        Dialect::S3 | Dialect::Minio => {
            let decoded = encoding::form_decode(text).map_err(|why| record.bad(PATH, why))?;
            record.parse(PATH, &decoded)
        }
        Dialect::Ceph | Dialect::EventBridge => record.parse(PATH, text),
    }
}
