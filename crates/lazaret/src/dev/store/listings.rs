//! The listing operations.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::S3ErrorCode;
use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, MultipartUpload,
    Object, ObjectStorageClass, Part,
};

use super::DirStore;
use super::digests::show_checksums;
use super::fault::{Fault, refuse};
use super::index::{Listed, Upload};
use super::listing::{Query, limit, page, shown};
use super::record::s3_time;

impl DirStore {
    pub(super) fn list_v2(&self, input: ListObjectsV2Input) -> Result<ListObjectsV2Output, Fault> {
        let token = input.continuation_token.as_deref().map(open_token).transpose()?;
        let after = token.as_deref().or(input.start_after.as_deref()).unwrap_or_default();
        let url = is_url(input.encoding_type.as_ref());
        let query = Query {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().unwrap_or_default(),
            after,
            limit: limit(input.max_keys)?,
        };
        let index = self.shared.index();
        let page = page(&index.bucket(&input.bucket)?.objects, &query);
        let count = page.items.len() + page.prefixes.len();
        Ok(ListObjectsV2Output {
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.map(|last| URL_SAFE_NO_PAD.encode(last)),
            contents: Some(page.items.into_iter().map(|(key, object)| entry(key, object, url)).collect()),
            common_prefixes: Some(rolled(page.prefixes, url)),
            key_count: i32::try_from(count).ok(),
            max_keys: i32::try_from(query.limit).ok(),
            prefix: input.prefix.map(|prefix| shown(&prefix, url)),
            delimiter: input.delimiter.map(|delimiter| shown(&delimiter, url)),
            start_after: input.start_after.map(|after| shown(&after, url)),
            continuation_token: input.continuation_token,
            encoding_type: input.encoding_type,
            name: Some(input.bucket),
            ..ListObjectsV2Output::default()
        })
    }

    pub(super) fn list_v1(&self, input: ListObjectsInput) -> Result<ListObjectsOutput, Fault> {
        let url = is_url(input.encoding_type.as_ref());
        let query = Query {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().unwrap_or_default(),
            after: input.marker.as_deref().unwrap_or_default(),
            limit: limit(input.max_keys)?,
        };
        let index = self.shared.index();
        let page = page(&index.bucket(&input.bucket)?.objects, &query);
        Ok(ListObjectsOutput {
            is_truncated: Some(page.next.is_some()),
            next_marker: page.next.map(|last| shown(&last, url)),
            contents: Some(page.items.into_iter().map(|(key, object)| entry(key, object, url)).collect()),
            common_prefixes: Some(rolled(page.prefixes, url)),
            max_keys: i32::try_from(query.limit).ok(),
            prefix: input.prefix.map(|prefix| shown(&prefix, url)),
            delimiter: input.delimiter.map(|delimiter| shown(&delimiter, url)),
            marker: Some(shown(input.marker.as_deref().unwrap_or_default(), url)),
            encoding_type: input.encoding_type,
            name: Some(input.bucket),
            ..ListObjectsOutput::default()
        })
    }

    /// Uploads in progress by key, those of one key in the order in which they began. Prefixes are not rolled up.
    pub(super) fn list_uploads(&self, input: &ListMultipartUploadsInput) -> Result<ListMultipartUploadsOutput, Fault> {
        if input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(refuse(S3ErrorCode::NotImplemented, "uploads cannot be listed with a delimiter"));
        }
        let url = is_url(input.encoding_type.as_ref());
        let limit = limit(input.max_uploads)?;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        // Without an upload id, the marker stands behind every upload of its key.
        let marker = input.key_marker.as_deref().map(|key| (key, input.upload_id_marker.as_deref()));
        let behind = |key: &str, id: &str| match marker {
            None => true,
            Some((marker, None)) => key > marker,
            Some((marker, Some(upload))) => (key, id) > (marker, upload),
        };
        let index = self.shared.index();
        let mut uploads: Vec<(&str, &str, &Upload)> = index
            .bucket(&input.bucket)?
            .uploads
            .iter()
            .map(|(id, upload)| (upload.record.key.as_str(), id.as_str(), upload))
            .filter(|(key, id, _)| key.starts_with(prefix) && behind(key, id))
            .collect();
        // Ids begin with the time at which they were drawn.
        uploads.sort_unstable_by_key(|(key, id, _)| (*key, *id));
        let truncated = uploads.len() > limit && limit > 0;
        uploads.truncate(limit);
        let last = uploads.last().filter(|_| truncated);
        Ok(ListMultipartUploadsOutput {
            is_truncated: Some(truncated),
            next_key_marker: last.map(|(key, ..)| shown(key, url)),
            next_upload_id_marker: last.map(|(_, id, _)| (*id).to_owned()),
            uploads: Some(uploads.into_iter().map(|(key, id, upload)| in_progress(key, id, upload, url)).collect()),
            max_uploads: i32::try_from(limit).ok(),
            prefix: input.prefix.as_deref().map(|prefix| shown(prefix, url)),
            key_marker: input.key_marker.as_deref().map(|marker| shown(marker, url)),
            upload_id_marker: input.upload_id_marker.clone(),
            encoding_type: input.encoding_type.clone(),
            bucket: Some(input.bucket.clone()),
            ..ListMultipartUploadsOutput::default()
        })
    }

    pub(super) fn list_parts(&self, input: ListPartsInput) -> Result<ListPartsOutput, Fault> {
        let limit = limit(input.max_parts)?;
        let marker = input.part_number_marker.unwrap_or_default();
        let mut index = self.shared.index();
        let upload = index.bucket_mut(&input.bucket)?.upload(&input.upload_id, &input.key)?;
        let rest: Vec<_> = upload.parts.iter().filter(|(number, _)| **number > marker).collect();
        let truncated = rest.len() > limit && limit > 0;
        let parts: Vec<Part> = rest
            .into_iter()
            .take(limit)
            .map(|(number, part)| {
                let mut entry = Part {
                    e_tag: Some(ETag::Strong(part.etag.clone())),
                    last_modified: Some(s3_time(part.last_modified)),
                    part_number: Some(*number),
                    size: i64::try_from(part.size).ok(),
                    ..Part::default()
                };
                show_checksums!(entry, part.checksums);
                entry
            })
            .collect();
        Ok(ListPartsOutput {
            is_truncated: Some(truncated),
            next_part_number_marker: parts.last().filter(|_| truncated).and_then(|part| part.part_number),
            parts: Some(parts),
            max_parts: i32::try_from(limit).ok(),
            part_number_marker: input.part_number_marker,
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            ..ListPartsOutput::default()
        })
    }
}

fn entry(key: &str, object: &Listed, url: bool) -> Object {
    Object {
        key: Some(shown(key, url)),
        size: i64::try_from(object.size).ok(),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(s3_time(object.last_modified)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Object::default()
    }
}

fn in_progress(key: &str, id: &str, upload: &Upload, url: bool) -> MultipartUpload {
    MultipartUpload {
        key: Some(shown(key, url)),
        upload_id: Some(id.to_owned()),
        initiated: Some(s3_time(upload.record.initiated)),
        ..MultipartUpload::default()
    }
}

fn rolled(prefixes: Vec<String>, url: bool) -> Vec<CommonPrefix> {
    prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(shown(&prefix, url)) }).collect()
}

fn is_url(encoding: Option<&EncodingType>) -> bool {
    encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL)
}

fn open_token(token: &str) -> Result<String, Fault> {
    let key = URL_SAFE_NO_PAD.decode(token).ok().and_then(|key| String::from_utf8(key).ok());
    key.ok_or_else(|| refuse(S3ErrorCode::InvalidArgument, "the continuation token is not one of this store"))
}
