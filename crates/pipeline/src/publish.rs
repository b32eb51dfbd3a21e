//! The safe copy: its name, its headers, and the proof that it is there. Variants of an image are published before the
//! image, each by the same rules, under a key of its own.

mod file_name;

use std::collections::HashSet;

use lazaret_core::{
    BucketName, Fence, MediaType, PublishedImage, PublishedKey, PublishedObject, PublishedVariant, Session, Spooled,
    UploadId, VariantName,
    ports::{
        Dimensions, ObjectHead, PublishHeaders, PublishRequest, PublishSource, ReadBack, SessionStoreError, StoreError,
    },
};
use thiserror::Error;
use tracing::info_span;

use crate::{
    metrics::stage,
    passage::delete_all_versions,
    station::Station,
    transform::{Looks, Made, MadeFile, Variant},
};
use file_name::{Display, disposition, name_of};

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
    /// What the scanned bytes are.
    pub(crate) media_type: &'a MediaType,
    /// What is published instead of them.
    pub(crate) made: Option<&'a Made>,
}

/// Writes the copy and its variants, reads them back, and compares. The lease was renewed just before.
pub(crate) async fn publish(station: &Station, fence: Fence, copy: &Copy<'_>) -> Result<PublishedObject, PublishError> {
    let Some(made) = copy.made else {
        let source = PublishSource::AsIs { spooled: copy.scanned, object: copy.head };
        let name = copy.session.file_name.as_str();
        let headers = headers(copy, copy.scanned, copy.media_type, disposition(Display::Attachment, name));
        let key = write(station, fence, copy.session, source, &headers).await?;
        return Ok(published(station, key, copy.scanned, copy.media_type, None));
    };
    let image = match &made.looks {
        Some(looks) => Some(publish_variants(station, fence, copy, &made.object, looks).await?),
        None => None,
    };
    // Only what was made of pixels can be shown without a thought.
    let display = if made.looks.is_some() { Display::Inline } else { Display::Attachment };
    let key = write_made(station, fence, copy, &made.object, None, display).await?;
    Ok(published(station, key, &made.object.spooled, &made.object.media_type, image))
}

/// Equal bytes have one key and are written once; as the object itself where they are the object.
async fn publish_variants(
    station: &Station,
    fence: Fence,
    copy: &Copy<'_>,
    object: &MadeFile,
    looks: &Looks,
) -> Result<PublishedImage, PublishError> {
    let mut written = HashSet::from([*object.spooled.sha256()]);
    let mut variants = Vec::with_capacity(looks.variants.len());
    for Variant { name, file, dimensions } in &looks.variants {
        let sha256 = *file.spooled.sha256();
        let key = if written.insert(sha256) {
            write_made(station, fence, copy, file, Some(name), Display::Inline).await?
        } else {
            key(station, copy.session, &file.spooled)
        };
        variants.push(PublishedVariant {
            name: name.clone(),
            key,
            sha256,
            size: file.spooled.len(),
            content_type: file.media_type.clone(),
            width: dimensions.width,
            height: dimensions.height,
        });
    }
    let Dimensions { width, height, frames } = looks.dimensions;
    Ok(PublishedImage { width, height, frames, thumbhash: looks.thumbhash.clone(), variants })
}

fn published(
    station: &Station,
    key: PublishedKey,
    bytes: &Spooled,
    media_type: &MediaType,
    image: Option<PublishedImage>,
) -> PublishedObject {
    PublishedObject {
        bucket: station.settings.published_bucket.clone(),
        key,
        sha256: *bytes.sha256(),
        size: bytes.len(),
        content_type: media_type.clone(),
        image,
    }
}

async fn write_made(
    station: &Station,
    fence: Fence,
    copy: &Copy<'_>,
    file: &MadeFile,
    variant: Option<&VariantName>,
    display: Display,
) -> Result<PublishedKey, PublishError> {
    let name = name_of(&copy.session.file_name, copy.media_type, variant, &file.media_type);
    let headers = headers(copy, &file.spooled, &file.media_type, disposition(display, &name));
    let source = PublishSource::Transformed { spooled: &file.spooled };
    write(station, fence, copy.session, source, &headers).await
}

fn key(station: &Station, session: &Session, bytes: &Spooled) -> PublishedKey {
    PublishedKey::for_object(&station.settings.published_prefix, session.object_id, bytes.sha256())
}

/// One object, written, read back and compared.
async fn write(
    station: &Station,
    fence: Fence,
    session: &Session,
    source: PublishSource<'_>,
    headers: &PublishHeaders,
) -> Result<PublishedKey, PublishError> {
    let (PublishSource::AsIs { spooled: bytes, .. } | PublishSource::Transformed { spooled: bytes }) = source;
    let key = key(station, session, bytes);
    let bucket = &station.settings.published_bucket;
    let request = PublishRequest { bucket, key: &key, source, headers };
    stage("publish", info_span!("publish", object.key = %key), station.store.publish(&request)).await?;
    let read_back = stage("read-back", info_span!("read-back"), station.store.read_back(bucket, &key)).await?;
    let Some(read_back) = read_back else { return Err(PublishError::Missing { key }) };
    if let Some(difference) = difference(&read_back, bytes, headers) {
        withdraw(station, session.upload_id, fence, bucket, &key).await?;
        return Err(PublishError::Different { key, difference });
    }
    Ok(key)
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

fn headers(copy: &Copy<'_>, bytes: &Spooled, media_type: &MediaType, content_disposition: String) -> PublishHeaders {
    let session = copy.session;
    PublishHeaders {
        content_type: media_type.clone(),
        content_disposition,
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
