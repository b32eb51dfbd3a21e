//! The safe copy: its name, its headers, and the proof that it is there.

use lazaret_core::{
    BucketName, Fence, MediaType, PublishedKey, PublishedObject, Session, Spooled, UploadId,
    ports::{ObjectHead, PublishHeaders, PublishRequest, PublishSource, ReadBack, SessionStoreError, StoreError},
};
use thiserror::Error;
use tracing::info_span;

use crate::{metrics::stage, passage::delete_all_versions, station::Station};

/// How long a reader may keep a copy: names are by digest, so only a revocation makes one stale.
const CACHE_CONTROL: &str = "private, max-age=86400, immutable";

/// Why there is no published copy.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session store, asked before a copy is withdrawn.
    #[error(transparent)]
    Sessions(#[from] SessionStoreError),
    /// The copy is not there after it was written.
    #[error("published object {key} is not there after it was written")]
    Missing {
        /// Its key.
        key: PublishedKey,
    },
    /// The copy is not what was written.
    #[error("published object {key} is not what was written: {difference}")]
    Different {
        /// Its key.
        key: PublishedKey,
        /// What differs.
        difference: String,
    },
}

/// What is to be published.
pub(crate) struct Copy<'a> {
    pub(crate) session: &'a Session,
    pub(crate) head: &'a ObjectHead,
    pub(crate) scanned: &'a Spooled,
    pub(crate) transformed: Option<&'a Spooled>,
    pub(crate) media_type: &'a MediaType,
}

/// Writes the copy, reads it back, and compares. The lease was renewed just before.
pub(crate) async fn publish(station: &Station, fence: Fence, copy: &Copy<'_>) -> Result<PublishedObject, PublishError> {
    let bytes = copy.transformed.unwrap_or(copy.scanned);
    let settings = &station.settings;
    let key = PublishedKey::for_object(&settings.published_prefix, copy.session.object_id, bytes.sha256());
    let headers = headers(copy, bytes);
    let source = match copy.transformed {
        Some(spooled) => PublishSource::Transformed { spooled },
        None => PublishSource::AsIs { spooled: copy.scanned, object: copy.head },
    };
    let bucket = &settings.published_bucket;
    let request = PublishRequest { bucket, key: &key, source, headers: &headers };
    stage("publish", info_span!("publish", object.key = %key), station.store.publish(&request)).await?;
    let read_back = stage("read-back", info_span!("read-back"), station.store.read_back(bucket, &key)).await?;
    let Some(read_back) = read_back else { return Err(PublishError::Missing { key }) };
    if let Some(difference) = difference(&read_back, bytes, &headers) {
        withdraw(station, copy.session.upload_id, fence, bucket, &key).await?;
        return Err(PublishError::Different { key, difference });
    }
    Ok(PublishedObject {
        bucket: bucket.clone(),
        key,
        sha256: *bytes.sha256(),
        size: bytes.len(),
        content_type: copy.media_type.clone(),
    })
}

/// Removes a copy that is not what it should be, but only while the lease is ours: under a newer fence another worker
/// may have committed this very name.
async fn withdraw(
    station: &Station,
    id: UploadId,
    fence: Fence,
    bucket: &BucketName,
    key: &PublishedKey,
) -> Result<(), PublishError> {
    if station.sessions.renew_lease(id, fence, station.settings.lease).await? {
        delete_all_versions(station, bucket, key.as_key()).await?;
    }
    Ok(())
}

fn headers(copy: &Copy<'_>, bytes: &Spooled) -> PublishHeaders {
    let session = copy.session;
    let (kind, name) = match copy.transformed {
        Some(_) => ("inline", renamed(session.file_name.as_str(), copy.media_type)),
        None => ("attachment", session.file_name.as_str().to_owned()),
    };
    PublishHeaders {
        content_type: copy.media_type.clone(),
        content_disposition: format!("{kind}; filename*=UTF-8''{}", ext_value(&name)),
        cache_control: CACHE_CONTROL.to_owned(),
        metadata: vec![
            ("lazaret-object-id", session.object_id.to_string()),
            ("lazaret-sha256", bytes.sha256().to_string()),
            ("lazaret-source-sha256", copy.scanned.sha256().to_string()),
            ("lazaret-tenant-id", session.tenant.to_string()),
            ("lazaret-upload-id", session.upload_id.to_string()),
        ],
    }
}

/// A re-encoded image may be of another type than its name says: BMP becomes PNG.
fn renamed(name: &str, media_type: &MediaType) -> String {
    match (media_type.as_str(), name.rsplit_once('.')) {
        ("image/png", Some((stem, extension))) if extension.eq_ignore_ascii_case("bmp") => format!("{stem}.png"),
        _ => name.to_owned(),
    }
}

/// The `ext-value` of RFC 8187: everything but `attr-char` is percent-encoded UTF-8.
fn ext_value(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::with_capacity(name.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(text, "%{byte:02X}").unwrap_or_default();
        }
        text
    })
}

fn difference(read_back: &ReadBack, bytes: &Spooled, headers: &PublishHeaders) -> Option<String> {
    if read_back.size != bytes.len() {
        return Some(format!("{} bytes came back of {}", read_back.size, bytes.len()));
    }
    if read_back.sha256 != *bytes.sha256() {
        return Some(format!("sha256 {} came back, {} was written", read_back.sha256, bytes.sha256()));
    }
    let expected = [
        ("Content-Type", &read_back.content_type, headers.content_type.as_str()),
        ("Content-Disposition", &read_back.content_disposition, &headers.content_disposition),
        ("Cache-Control", &read_back.cache_control, &headers.cache_control),
    ];
    for (name, actual, written) in expected {
        if actual.as_deref() != Some(written) {
            return Some(format!("{name} {actual:?} came back, {written:?} was written"));
        }
    }
    let written = headers.metadata.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    if !read_back.metadata.iter().cloned().eq(written) {
        return Some("other metadata came back than was written".to_owned());
    }
    let (name, value) = read_back.unexpected.first()?;
    Some(format!("{name} {value:?} came back, which was not written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_by_rfc_8187() {
        assert_eq!(ext_value("a b.png"), "a%20b.png");
        assert_eq!(ext_value("größe\"\r\n;.pdf"), "gr%C3%B6%C3%9Fe%22%0D%0A%3B.pdf");
        assert_eq!(ext_value("it's(1)*.txt"), "it%27s%281%29%2A.txt");
    }

    #[test]
    fn only_a_bitmap_changes_its_name() {
        let png = "image/png".parse().unwrap();
        assert_eq!(renamed("a.BMP", &png), "a.png");
        assert_eq!(renamed("a.png", &png), "a.png");
        assert_eq!(renamed("bmp", &png), "bmp");
    }
}
