//! `GetObject` and `HeadObject`.

use std::io::{Seek, SeekFrom};
use std::ops;

use s3s::dto::{
    ChecksumMode, ChecksumType, ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    StreamingBlob, Timestamp, TimestampFormat,
};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::DirStore;
use super::conditions::ReadCondition;
use super::digests::show_checksums;
use super::fault::{Fault, disk};
use super::objects::{Opened, refuse_customer_key};
use super::record::s3_time;

/// Held in memory for each open download.
const CHUNK_BYTES: usize = 256 * 1024;

impl DirStore {
    pub(super) async fn get(&self, input: GetObjectInput) -> Result<GetObjectOutput, Fault> {
        refuse_customer_key(input.sse_customer_algorithm.is_some())?;
        let condition = ReadCondition {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let mut opened = self.opened(input.bucket, input.key, input.version_id, condition).await?;
        let span = opened.span(input.range, input.part_number)?;
        let partial = input.range.is_some() || input.part_number.is_some();
        let mut output = described(&opened, &span, partial, input.checksum_mode.as_ref());
        opened.file.seek(SeekFrom::Start(span.start)).map_err(disk("read an object"))?;
        output.parts_count = parts_count(&opened.record.parts, input.part_number);
        let bytes = tokio::fs::File::from_std(opened.file).take(span.end - span.start);
        output.body = Some(StreamingBlob::wrap(ReaderStream::with_capacity(bytes, CHUNK_BYTES)));
        Ok(output)
    }

    pub(super) async fn describe(&self, input: HeadObjectInput) -> Result<HeadObjectOutput, Fault> {
        refuse_customer_key(input.sse_customer_algorithm.is_some())?;
        let condition = ReadCondition {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let opened = self.opened(input.bucket, input.key, input.version_id, condition).await?;
        let span = opened.span(input.range, input.part_number)?;
        let partial = input.range.is_some() || input.part_number.is_some();
        let as_read = described(&opened, &span, partial, input.checksum_mode.as_ref());
        Ok(HeadObjectOutput {
            accept_ranges: as_read.accept_ranges,
            cache_control: as_read.cache_control,
            checksum_crc32: as_read.checksum_crc32,
            checksum_crc32c: as_read.checksum_crc32c,
            checksum_crc64nvme: as_read.checksum_crc64nvme,
            checksum_sha1: as_read.checksum_sha1,
            checksum_sha256: as_read.checksum_sha256,
            checksum_type: as_read.checksum_type,
            content_disposition: as_read.content_disposition,
            content_encoding: as_read.content_encoding,
            content_language: as_read.content_language,
            content_length: as_read.content_length,
            content_range: as_read.content_range,
            content_type: as_read.content_type,
            e_tag: as_read.e_tag,
            expires: as_read.expires,
            last_modified: as_read.last_modified,
            metadata: as_read.metadata,
            parts_count: parts_count(&opened.record.parts, input.part_number),
            ..HeadObjectOutput::default()
        })
    }
}

/// Everything about an answer but its body.
fn described(opened: &Opened, span: &ops::Range<u64>, partial: bool, mode: Option<&ChecksumMode>) -> GetObjectOutput {
    let record = &opened.record;
    let headers = &record.headers;
    let mut output = GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        cache_control: headers.cache_control.clone(),
        content_disposition: headers.content_disposition.clone(),
        content_encoding: headers.content_encoding.clone(),
        content_language: headers.content_language.clone(),
        content_length: i64::try_from(span.end - span.start).ok(),
        content_range: (partial && !span.is_empty())
            .then(|| format!("bytes {}-{}/{}", span.start, span.end - 1, record.size)),
        // What S3 says of an object whose writer named no type.
        content_type: Some(headers.content_type.clone().unwrap_or_else(|| "binary/octet-stream".to_owned())),
        e_tag: Some(ETag::Strong(record.etag.clone())),
        expires: headers.expires.as_deref().and_then(|date| Timestamp::parse(TimestampFormat::HttpDate, date).ok()),
        last_modified: Some(s3_time(record.last_modified)),
        metadata: Some(headers.metadata.clone().into_iter().collect()),
        ..GetObjectOutput::default()
    };
    // A checksum is one of the whole object: beside a part of it, a client would compare the wrong bytes.
    if !partial && mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) {
        show_checksums!(output, record.checksums);
        output.checksum_type = record.checksums.values().next().map(|sum| {
            let composite = sum.contains('-');
            ChecksumType::from_static(if composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT })
        });
    }
    output
}

/// Told only to readers who ask for a part.
fn parts_count(parts: &[u64], asked: Option<i32>) -> Option<i32> {
    asked.and_then(|_| i32::try_from(parts.len()).ok()).filter(|count| *count > 0)
}
