//! What is kept about an object or a part, and how it is laid behind the bytes in the same file:
//! `bytes ‖ JSON ‖ length of the JSON (u64, little endian) ‖ magic`. The end of the file is always ours, so
//! nothing that a client uploads can be taken for a record.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

use jiff::Timestamp;
use s3s::dto::TimestampFormat;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::digests::Checksums;

const MAGIC: &[u8; 8] = b"LZROBJ\x00\x01";
/// S3 limits a key to 1 KiB and user metadata to 2 KiB; 10,000 part sizes make the rest.
const LONGEST_RECORD: u64 = 1024 * 1024;

/// The record of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectRecord {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) last_modified: Timestamp,
    pub(super) headers: Headers,
    pub(super) checksums: Checksums,
    /// Sizes in order, of an object that came in parts; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<u64>,
    /// The multipart upload that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) upload_id: Option<String>,
}

/// The record of one part of a multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartRecord {
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) last_modified: Timestamp,
    pub(super) checksums: Checksums,
}

/// The record of a multipart upload in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UploadRecord {
    pub(super) key: String,
    pub(super) initiated: Timestamp,
    pub(super) headers: Headers,
}

/// The record of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BucketRecord {
    pub(super) created: Timestamp,
}

/// What the writer said about the object and readers get back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Headers {
    pub(super) content_type: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) cache_control: Option<String>,
    /// As an HTTP date.
    pub(super) expires: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// The headers that an input asks to be kept.
macro_rules! headers_of {
    ($input:expr) => {
        $crate::dev::store::record::Headers {
            content_type: $input.content_type.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $crate::dev::store::record::kept_encoding($input.content_encoding.as_deref()),
            content_language: $input.content_language.clone(),
            cache_control: $input.cache_control.clone(),
            expires: $input.expires.as_ref().and_then($crate::dev::store::record::http_date),
            metadata: $input.metadata.clone().unwrap_or_default().into_iter().collect(),
        }
    };
}
pub(super) use headers_of;

/// `aws-chunked` is how the body travelled, not what the object is.
pub(super) fn kept_encoding(encoding: Option<&str>) -> Option<String> {
    let kept: Vec<_> = encoding?.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
    Some(kept.join(", ")).filter(|kept| !kept.is_empty())
}

/// The instant as an HTTP date.
pub(super) fn http_date(at: &s3s::dto::Timestamp) -> Option<String> {
    let mut date = Vec::new();
    at.format(TimestampFormat::HttpDate, &mut date).ok()?;
    String::from_utf8(date).ok()
}

/// Lays the record behind what was written to `file` so far.
pub(super) fn append<R: Serialize>(file: &mut File, record: &R) -> io::Result<()> {
    let mut tail = serde_json::to_vec(record)?;
    let length = tail.len() as u64;
    tail.extend_from_slice(&length.to_le_bytes());
    tail.extend_from_slice(MAGIC);
    file.write_all(&tail)
}

/// The record of an open file, and how many bytes lie before it.
pub(super) fn read<R: DeserializeOwned>(file: &File) -> io::Result<(R, u64)> {
    let length = file.metadata()?.len();
    let end = length.checked_sub(16).ok_or_else(|| damaged("no room for a record"))?;
    let (mut record_length, mut magic) = ([0; 8], [0; 8]);
    file.read_exact_at(&mut record_length, end)?;
    file.read_exact_at(&mut magic, end + 8)?;
    if magic != *MAGIC {
        return Err(damaged("its end is not a record's"));
    }
    let record_length = u64::from_le_bytes(record_length);
    let start = end
        .checked_sub(record_length)
        .filter(|_| record_length <= LONGEST_RECORD)
        .ok_or_else(|| damaged("its record is longer than the file or the limit"))?;
    let mut json = vec![0; usize::try_from(record_length).map_err(io::Error::other)?];
    file.read_exact_at(&mut json, start)?;
    Ok((serde_json::from_slice(&json)?, start))
}

fn damaged(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// The time for `Last-Modified`.
#[expect(clippy::disallowed_methods, reason = "this is the store, whose clock the others agree on")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

/// The same instant as the S3 types have it.
pub(super) fn s3_time(at: Timestamp) -> s3s::dto::Timestamp {
    SystemTime::from(at).into()
}
