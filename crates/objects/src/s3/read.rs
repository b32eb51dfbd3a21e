//! HEAD and GET.

use aws_sdk_s3::{
    operation::get_object::GetObjectOutput,
    primitives::{ByteStream, DateTime},
};
use bytes::Bytes;
use lazaret_core::{
    BucketName, ETag, ObjectKey, Sha256Digest, Spooled, Timestamp, VersionId,
    error::chain,
    ports::{ObjectHead, ReadBack, StoreError},
};
use sha2::{Digest, Sha256};

use super::{
    S3Store,
    failure::{self, Asked},
};

impl S3Store {
    pub(super) async fn head_object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<Option<ObjectHead>, StoreError> {
        let asked = Asked::new("HEAD", format_args!("{bucket}/{key}"));
        let request = self.client.head_object().bucket(bucket.as_str()).key(key.as_str());
        let answer = match request.set_version_id(version.map(|version| version.as_str().to_owned())).send().await {
            Ok(answer) => answer,
            Err(error) => {
                return match (failure::answer(&error), version) {
                    // 405: a delete marker is a version, but not an object.
                    (Some((404, _)), _) | (Some((405, _)), Some(_)) => Ok(None),
                    // The answer to HEAD has no body that would say what is wrong. A version id that the store never
                    // gave out is one reason, and an event from outside may name one: if the key alone is fine, it
                    // was the version.
                    (Some((400, _)), Some(_)) => Box::pin(self.head_object(bucket, key, None)).await.map(|_| None),
                    _ => Err(asked.failed(&error)),
                };
            }
        };
        let etag = answer.e_tag().and_then(entity_tag).ok_or_else(|| asked.refused("the answer has no ETag"))?;
        let size = answer.content_length().and_then(|len| u64::try_from(len).ok());
        Ok(Some(ObjectHead {
            bucket: bucket.clone(),
            key: key.clone(),
            version: answer.version_id().and_then(|version| version.parse().ok()),
            etag,
            size: size.ok_or_else(|| asked.refused("the answer has no Content-Length"))?,
            modified_at: answer.last_modified().and_then(timestamp),
        }))
    }

    pub(super) async fn fetch_object(&self, head: &ObjectHead) -> Result<Spooled, StoreError> {
        let asked = Asked::new("GET", format_args!("{}/{}", head.bucket, head.key));
        let about = |error: crate::SpoolError| error.about(asked.object.clone());
        let reservation = self.spool.reserve(head.size).await.map_err(about)?;
        let request = self.client.get_object().bucket(head.bucket.as_str()).key(head.key.as_str());
        let request = request
            .if_match(format!("\"{}\"", head.etag))
            .set_version_id(head.version.as_ref().map(|version| version.as_str().to_owned()));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if failure::is_missing(&error) => return Err(asked.changed()),
            // 405: the version is a delete marker by now.
            Err(error) if matches!(failure::answer(&error), Some((405 | 412, _))) => return Err(asked.changed()),
            Err(error) => return Err(asked.failed(&error)),
        };
        if !is_what_head_saw(&answer, head) {
            return Err(asked.changed());
        }
        let mut writer = self.spool.begin(reservation, head.size).await.map_err(about)?;
        let mut body = answer.body;
        while let Some(bytes) = self.next_bytes(&mut body, writer.written_bytes(), head.size, &asked).await? {
            writer.write(bytes).await.map_err(about)?;
        }
        writer.finish().await.map_err(about)
    }

    pub(super) async fn read_object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<Option<ReadBack>, StoreError> {
        let asked = Asked::new("GET", format_args!("{bucket}/{key}"));
        let request = self.client.get_object().bucket(bucket.as_str()).key(key.as_str());
        let mut answer = match request.set_version_id(version.map(|version| version.as_str().to_owned())).send().await {
            Ok(answer) => answer,
            Err(error) if failure::is_missing(&error) => return Ok(None),
            Err(error) => return Err(asked.failed(&error)),
        };
        let announced = answer.content_length().and_then(|len| u64::try_from(len).ok());
        let announced = announced.ok_or_else(|| asked.refused("the answer has no Content-Length"))?;
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut body = std::mem::take(&mut answer.body);
        while let Some(bytes) = self.next_bytes(&mut body, size, announced, &asked).await? {
            size += bytes.len() as u64;
            hash.update(&bytes);
        }
        if size != announced {
            return Err(asked.body(format!("{size} of {announced} bytes came")));
        }
        let unexpected = self.unexpected(&answer);
        let mut metadata: Vec<_> = answer.metadata.take().unwrap_or_default().into_iter().collect();
        metadata.sort();
        Ok(Some(ReadBack {
            size,
            sha256: Sha256Digest::from_bytes(hash.finalize().into()),
            content_type: answer.content_type,
            content_disposition: answer.content_disposition,
            cache_control: answer.cache_control,
            metadata,
            unexpected,
        }))
    }

    /// What a published object does not have, and encryption other than it was asked for.
    fn unexpected(&self, answer: &GetObjectOutput) -> Vec<(&'static str, String)> {
        let tags = answer.tag_count().filter(|count| *count > 0).map(|count| count.to_string());
        let encryption = self.encryption().0.filter(|asked| answer.server_side_encryption() != Some(asked)).map(|_| {
            answer.server_side_encryption().map_or_else(|| "none".to_owned(), |found| found.as_str().to_owned())
        });
        let found = [
            ("Content-Encoding", answer.content_encoding().map(str::to_owned)),
            ("Content-Language", answer.content_language().map(str::to_owned)),
            ("Expires", answer.expires_string().map(str::to_owned)),
            ("x-amz-website-redirect-location", answer.website_redirect_location().map(str::to_owned)),
            ("x-amz-tagging-count", tags),
            ("x-amz-server-side-encryption", encryption),
        ];
        found.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?))).collect()
    }

    /// The next bytes of a body, or its end. A body may be slow, but it may not stand still.
    async fn next_bytes(
        &self,
        body: &mut ByteStream,
        seen: u64,
        expected: u64,
        asked: &Asked,
    ) -> Result<Option<Bytes>, StoreError> {
        let stall = self.timeouts.body_stall;
        match tokio::time::timeout(stall, body.try_next()).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(asked.body(format!("{} after {seen} of {expected} bytes", chain(&error)))),
            Err(_) => Err(asked.body(format!("nothing came for {stall:?} after {seen} of {expected} bytes"))),
        }
    }
}

/// A store may ignore the conditions of a GET, so its answer is compared with them.
fn is_what_head_saw(answer: &GetObjectOutput, head: &ObjectHead) -> bool {
    answer.e_tag().and_then(entity_tag).as_ref() == Some(&head.etag)
        && answer.version_id() == head.version.as_ref().map(VersionId::as_str)
        && answer.content_length().is_none_or(|len| u64::try_from(len) == Ok(head.size))
}

pub(super) fn entity_tag(text: &str) -> Option<ETag> {
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    text.parse().ok()
}

pub(super) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}
