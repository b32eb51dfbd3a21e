//! The three ways of bytes into the published bucket: a copy at the store, one PUT, a multipart upload.

use std::{collections::HashMap, ops::Range};

use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::{
    config::{Builder, StalledStreamProtectionConfig, http::HttpResponse},
    error::SdkError,
    operation::copy_object::CopyObjectError,
    types::{
        ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, MetadataDirective,
        ServerSideEncryption as SdkEncryption, TaggingDirective,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use lazaret_core::{
    BucketName, PublishedKey, Sha256Digest, Spooled, VersionId,
    error::chain,
    ports::{ObjectHead, PublishHeaders, PublishRequest, PublishSource, StoreError},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tracing::debug;

use super::{
    Checksums, Honoured, S3Store, ServerSideEncryption, body,
    failure::{self, Asked},
};

/// The longest object that one `CopyObject` takes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).
const MAX_COPY_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// Longer objects are uploaded in parts, so that a broken connection costs one part.
pub(super) const MULTIPART_ABOVE_BYTES: u64 = 64 * 1024 * 1024;

/// The shortest part that is used; S3 demands 5 MiB.
const PART_BYTES: u64 = 32 * 1024 * 1024;

/// The most parts of an upload (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const MAX_PARTS: u64 = 10_000;

/// Everything but what RFC 3986 leaves alone, and the slash between bucket and key.
const COPY_SOURCE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

impl S3Store {
    pub(super) async fn publish_object(&self, request: &PublishRequest<'_>) -> Result<(), StoreError> {
        let capabilities = self.capabilities();
        let spooled = match request.source {
            PublishSource::AsIs { spooled, object } => {
                // What nobody has proved, or nobody could, is not used: the spool has the scanned bytes.
                if let Some(version) = pinned_version(object)
                    && capabilities.copies_versions()
                    && object.size <= MAX_COPY_BYTES
                    && self.copy(request, object, version).await?
                {
                    return Ok(());
                }
                spooled
            }
            PublishSource::Transformed { spooled } => spooled,
        };
        if spooled.len() > self.multipart_above_bytes && capabilities.multipart != Honoured::No {
            self.put_in_parts(request, spooled).await
        } else {
            self.put(request, spooled).await
        }
    }

    /// Copies the scanned version at the store. False: the store would not, and the spool has the bytes anyway.
    async fn copy(
        &self,
        request: &PublishRequest<'_>,
        object: &ObjectHead,
        version: &VersionId,
    ) -> Result<bool, StoreError> {
        let asked = asked("copy to", request);
        let sent = self.send_copy(request.bucket, request.key, request.headers, object, Some(version)).await;
        let Err(error) = sent else { return Ok(true) };
        match asked.failed(&*error) {
            error @ StoreError::Unavailable { .. } => Err(error),
            error => {
                debug!(object = asked.object, error = chain(&error), "no copy at the store, uploading instead");
                Ok(false)
            }
        }
    }

    /// A copy of `object` with these headers and nothing of the client's; of whatever is newest where `version` is none.
    pub(super) async fn send_copy(
        &self,
        bucket: &BucketName,
        key: &PublishedKey,
        headers: &PublishHeaders,
        object: &ObjectHead,
        version: Option<&VersionId>,
    ) -> Result<(), Box<SdkError<CopyObjectError, HttpResponse>>> {
        let mut source = utf8_percent_encode(&format!("{}/{}", object.bucket, object.key), COPY_SOURCE).to_string();
        if let Some(version) = version {
            source.push_str("?versionId=");
            source.extend(utf8_percent_encode(version.as_str(), COPY_SOURCE));
        }
        let (sse, kms_key) = self.encryption();
        self.client
            .copy_object()
            .bucket(bucket.as_str())
            .key(key.as_key().as_str())
            .copy_source(source)
            .copy_source_if_match(format!("\"{}\"", object.etag))
            .metadata_directive(MetadataDirective::Replace)
            // By none: the client's own would be copied.
            .tagging_directive(TaggingDirective::Replace)
            .content_type(headers.content_type.as_str())
            .content_disposition(&headers.content_disposition)
            .cache_control(&headers.cache_control)
            .set_metadata(Some(metadata(headers)))
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(kms_key)
            .customize()
            // A long copy sends next to nothing until it is done, which is no stall.
            .config_override(
                self.patience(object.size).stalled_stream_protection(StalledStreamProtectionConfig::disabled()),
            )
            .send()
            .await?;
        Ok(())
    }

    async fn put(&self, request: &PublishRequest<'_>, spooled: &Spooled) -> Result<(), StoreError> {
        let headers = request.headers;
        let (sse, kms_key) = self.encryption();
        self.client
            .put_object()
            .bucket(request.bucket.as_str())
            .key(request.key.as_key().as_str())
            .content_type(headers.content_type.as_str())
            .content_disposition(&headers.content_disposition)
            .cache_control(&headers.cache_control)
            .set_metadata(Some(metadata(headers)))
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(kms_key)
            .set_checksum_sha256(self.checksum(spooled.sha256()))
            .content_length(signed(spooled.len()))
            .body(body::stream(spooled, 0..spooled.len()))
            .customize()
            .config_override(self.patience(spooled.len()))
            .send()
            .await
            .map(drop)
            .map_err(|error| asked("PUT", request).failed(&error))
    }

    async fn put_in_parts(&self, request: &PublishRequest<'_>, spooled: &Spooled) -> Result<(), StoreError> {
        let headers = request.headers;
        let (sse, kms_key) = self.encryption();
        let algorithm = (self.checksums == Checksums::WhenSupported).then_some(ChecksumAlgorithm::Sha256);
        let asked_to_begin = asked("begin the upload of", request);
        let upload = self
            .client
            .create_multipart_upload()
            .bucket(request.bucket.as_str())
            .key(request.key.as_key().as_str())
            .content_type(headers.content_type.as_str())
            .content_disposition(&headers.content_disposition)
            .cache_control(&headers.cache_control)
            .set_metadata(Some(metadata(headers)))
            .set_server_side_encryption(sse)
            .set_ssekms_key_id(kms_key)
            .set_checksum_algorithm(algorithm)
            .send()
            .await
            .map_err(|error| asked_to_begin.failed(&error))?;
        let upload = upload.upload_id().ok_or_else(|| asked_to_begin.refused("the answer has no upload id"))?;
        let put = self.put_parts(request, spooled, upload).await;
        if put.is_err() {
            // The sweeper aborts what this cannot.
            let abort = self.client.abort_multipart_upload().bucket(request.bucket.as_str());
            if let Err(error) = abort.key(request.key.as_key().as_str()).upload_id(upload).send().await {
                debug!(
                    error = chain(&asked("abort the upload of", request).failed(&error)),
                    "a multipart upload stays open"
                );
            }
        }
        put
    }

    async fn put_parts(&self, request: &PublishRequest<'_>, spooled: &Spooled, upload: &str) -> Result<(), StoreError> {
        let (bucket, key) = (request.bucket.as_str(), request.key.as_key().as_str());
        let put_part = asked("PUT a part of", request);
        let mut done = CompletedMultipartUpload::builder();
        for (number, range) in (1..).zip(parts(spooled.len())) {
            let checksum = match self.checksums {
                Checksums::WhenSupported => {
                    let digest = body::digest(spooled, range.clone()).await;
                    Some(STANDARD.encode(digest.map_err(|error| self.unreadable(error))?.as_bytes()))
                }
                Checksums::WhenRequired => None,
            };
            let part_bytes = range.end - range.start;
            let part = self
                .client
                .upload_part()
                .bucket(bucket)
                .key(key)
                .upload_id(upload)
                .part_number(number)
                .set_checksum_sha256(checksum.clone())
                .content_length(signed(part_bytes))
                .body(body::stream(spooled, range))
                .customize()
                .config_override(self.patience(part_bytes))
                .send()
                .await
                .map_err(|error| put_part.failed(&error))?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).set_checksum_sha256(checksum);
            done = done.parts(part.build());
        }
        let complete = self.client.complete_multipart_upload().bucket(bucket).key(key).upload_id(upload);
        let completed = complete
            .multipart_upload(done.build())
            .customize()
            .config_override(self.patience(spooled.len()))
            .send()
            .await;
        match completed {
            Ok(_) => Ok(()),
            // The answer to a completion was lost, and the next one finds no upload any more. What it made is read back
            // by the caller, as always.
            Err(error) if failure::is_missing(&error) && self.is_there(request, spooled.len()).await? => Ok(()),
            Err(error) => Err(asked("complete the upload of", request).failed(&error)),
        }
    }

    async fn is_there(&self, request: &PublishRequest<'_>, len: u64) -> Result<bool, StoreError> {
        let head = self.head_object(request.bucket, request.key.as_key(), None).await?;
        Ok(head.is_some_and(|head| head.size == len))
    }

    fn unreadable(&self, source: std::io::Error) -> StoreError {
        StoreError::Spool { dir: self.spool.dir().display().to_string(), source }
    }

    fn checksum(&self, digest: &Sha256Digest) -> Option<String> {
        (self.checksums == Checksums::WhenSupported).then(|| STANDARD.encode(digest.as_bytes()))
    }

    pub(super) fn encryption(&self) -> (Option<SdkEncryption>, Option<String>) {
        match &self.sse {
            None => (None, None),
            Some(ServerSideEncryption::Aes256) => (Some(SdkEncryption::Aes256), None),
            Some(ServerSideEncryption::AwsKms { key_id }) => (Some(SdkEncryption::AwsKms), key_id.clone()),
        }
    }

    /// The SDK's read time-out runs from the start of the request, so it must leave room for `bytes`.
    fn patience(&self, bytes: u64) -> Builder {
        let deadline = self.timeouts.for_transfer(bytes);
        let timeouts = TimeoutConfig::builder().read_timeout(deadline).operation_attempt_timeout(deadline).build();
        Builder::new().timeout_config(timeouts)
    }
}

fn asked(action: &'static str, request: &PublishRequest<'_>) -> Asked {
    Asked::new(action, format_args!("{}/{}", request.bucket, request.key))
}

/// The version that a copy can be pinned to. "null" names whatever was written last while versioning was off.
fn pinned_version(object: &ObjectHead) -> Option<&VersionId> {
    object.version.as_ref().filter(|version| version.as_str() != "null")
}

fn metadata(headers: &PublishHeaders) -> HashMap<String, String> {
    headers.metadata.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// The ranges of an upload in parts, all of one length but the last.
fn parts(len: u64) -> impl Iterator<Item = Range<u64>> {
    let part = PART_BYTES.max(len.div_ceil(MAX_PARTS));
    (0..len.div_ceil(part)).map(move |number| number * part..len.min((number + 1) * part))
}

/// The SDK counts in i64; no file is longer.
fn signed(len: u64) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_object_and_are_never_too_many() {
        for len in [1, PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES - 1, MAX_PARTS * PART_BYTES * 7 + 1] {
            let parts: Vec<_> = parts(len).collect();
            assert!(parts.len() as u64 <= MAX_PARTS);
            assert_eq!((parts[0].start, parts[parts.len() - 1].end), (0, len));
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(parts.iter().all(|part| !part.is_empty()));
        }
    }
}
