//! What lies in a bucket.

use aws_sdk_s3::types::EncodingType;
use lazaret_core::{
    BucketName, ObjectKey, Prefix, Timestamp, VersionId,
    ports::{ListFrom, Listed, ListedUpload, Page, StoreError},
};
use percent_encoding::percent_decode_str;

use super::{
    S3Store,
    failure::{self, Asked},
    read::timestamp,
};

impl S3Store {
    pub(super) async fn list_objects(
        &self,
        bucket: &BucketName,
        prefix: &Prefix,
        from: ListFrom<'_>,
    ) -> Result<Page<Listed>, StoreError> {
        let (token, after) = match from {
            ListFrom::Start => (None, None),
            ListFrom::Page(token) => (Some(token.to_owned()), None),
            ListFrom::After(key) => (None, Some(key.as_str().to_owned())),
        };
        let asked = Asked::new("list", format_args!("{bucket}/{prefix}"));
        let request = self.client.list_objects_v2().bucket(bucket.as_str()).prefix(prefix.as_str());
        let request = request
            .encoding_type(EncodingType::Url)
            .set_max_keys(self.page_size)
            .set_continuation_token(token)
            .set_start_after(after);
        let answer = request.send().await.map_err(|error| asked.failed(&error))?;
        let encoded = answer.encoding_type == Some(EncodingType::Url);
        let mut items = Vec::with_capacity(answer.contents().len());
        for object in answer.contents() {
            let size = object.size().and_then(|size| u64::try_from(size).ok());
            items.push(Listed {
                key: listed_key(object.key(), encoded, &asked)?,
                size: size.ok_or_else(|| asked.refused("an entry has no size"))?,
                modified_at: object.last_modified().and_then(timestamp),
            });
        }
        let more = answer.is_truncated().unwrap_or_default();
        let next = answer.next_continuation_token.filter(|_| more);
        if more && next.is_none() {
            return Err(cut_off(&asked));
        }
        Ok(Page { items, next })
    }

    pub(super) async fn list_open_uploads(
        &self,
        bucket: &BucketName,
        prefix: &Prefix,
        from: Option<&str>,
    ) -> Result<Page<ListedUpload>, StoreError> {
        let asked = Asked::new("list uploads of", format_args!("{bucket}/{prefix}"));
        // Two markers make one place; an upload id has no line break.
        let (id_marker, key_marker) = from.and_then(|from| from.split_once('\n')).unzip();
        let request = self.client.list_multipart_uploads().bucket(bucket.as_str()).prefix(prefix.as_str());
        let request = request
            .encoding_type(EncodingType::Url)
            .set_max_uploads(self.page_size)
            .set_key_marker(key_marker.map(str::to_owned))
            .set_upload_id_marker(id_marker.map(str::to_owned));
        let answer = request.send().await.map_err(|error| asked.failed(&error))?;
        let encoded = answer.encoding_type == Some(EncodingType::Url);
        let mut items = Vec::with_capacity(answer.uploads().len());
        for upload in answer.uploads() {
            let multipart_id = upload.upload_id().ok_or_else(|| asked.refused("an entry has no upload id"))?;
            items.push(ListedUpload {
                key: listed_key(upload.key(), encoded, &asked)?,
                multipart_id: multipart_id.to_owned(),
                initiated_at: upload.initiated().and_then(timestamp),
            });
        }
        let next = match (answer.is_truncated(), answer.next_key_marker(), answer.next_upload_id_marker()) {
            (Some(true), Some(key), id) => {
                Some(format!("{}\n{}", id.unwrap_or_default(), listed_key(Some(key), encoded, &asked)?))
            }
            (Some(true), None, _) => return Err(cut_off(&asked)),
            (Some(false) | None, _, _) => None,
        };
        Ok(Page { items, next })
    }

    pub(super) async fn list_versions(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Vec<VersionId>, StoreError> {
        let asked = Asked::new("list versions of", format_args!("{bucket}/{key}"));
        let mut found: Vec<Found> = Vec::new();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let request = self.client.list_object_versions().bucket(bucket.as_str()).prefix(key.as_str());
            let request = request
                .encoding_type(EncodingType::Url)
                .set_max_keys(self.page_size)
                .set_key_marker(key_marker)
                .set_version_id_marker(version_marker);
            let answer = match request.send().await {
                Ok(answer) => answer,
                // A store that cannot list versions has none.
                Err(error) if matches!(failure::answer(&error), Some((501, _) | (_, "NotImplemented"))) => {
                    return Ok(Vec::new());
                }
                Err(error) => return Err(asked.failed(&error)),
            };
            let encoded = answer.encoding_type == Some(EncodingType::Url);
            let objects =
                answer.versions().iter().map(|v| (v.key(), v.version_id(), v.is_latest(), v.last_modified())).chain(
                    answer.delete_markers().iter().map(|m| (m.key(), m.version_id(), m.is_latest(), m.last_modified())),
                );
            for (listed, id, latest, modified) in objects {
                if &listed_key(listed, encoded, &asked)? == key
                    && let Some(id) = id.and_then(|id| id.parse().ok())
                {
                    found.push(Found {
                        latest: latest.unwrap_or_default(),
                        modified_at: modified.and_then(timestamp),
                        id,
                    });
                }
            }
            let next_key = answer.next_key_marker().map(|next| listed_key(Some(next), encoded, &asked)).transpose()?;
            // Keys come in order: once the next page begins behind this key, all of its versions were seen.
            match next_key.filter(|next| answer.is_truncated() == Some(true) && next <= key) {
                Some(next) => key_marker = Some(next.as_str().to_owned()),
                None => return Ok(newest_first(found)),
            }
            version_marker = answer.next_version_id_marker;
        }
    }
}

/// Taken for the end, the rest would never be looked at.
fn cut_off(asked: &Asked) -> StoreError {
    asked.refused("the listing goes on, and the answer does not say where")
}

struct Found {
    latest: bool,
    modified_at: Option<Timestamp>,
    id: VersionId,
}

/// Stores list objects and delete markers apart, each newest first.
fn newest_first(mut found: Vec<Found>) -> Vec<VersionId> {
    // What every object of a bucket without versioning is listed as.
    if found.iter().all(|version| version.id.as_str() == "null") {
        return Vec::new();
    }
    found.sort_by_key(|version| std::cmp::Reverse((version.latest, version.modified_at)));
    found.into_iter().map(|version| version.id).collect()
}

/// Keys are asked for in URL encoding, because XML cannot hold all of them; a store that does not know it sends them
/// as they are and says so by leaving `EncodingType` out.
fn listed_key(key: Option<&str>, encoded: bool, asked: &Asked) -> Result<ObjectKey, StoreError> {
    let key = key.ok_or_else(|| asked.refused("an entry has no key"))?;
    let decoded = if encoded {
        let spaced = key.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().ok().and_then(|key| key.parse().ok())
    } else {
        key.parse().ok()
    };
    decoded.ok_or_else(|| asked.refused(&format!("the key {key:?} of an entry cannot be understood")))
}
