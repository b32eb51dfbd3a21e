use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::{
    BucketName, Disposition, ETag, MediaType, ObjectKey, Prefix, PublishedKey, Sha256Digest, Spooled, Timestamp,
    VersionId, error::Cause,
};

/// What HEAD says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The version, in a bucket with versioning.
    pub version: Option<VersionId>,
    /// The entity tag.
    pub etag: ETag,
    /// Length in bytes.
    pub size: u64,
    /// When it was written, on the store's clock.
    pub modified_at: Option<Timestamp>,
}

/// Every header a published object carries. The store adds nothing of the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishHeaders {
    /// `Content-Type`.
    pub content_type: MediaType,
    /// `Content-Disposition` (RFC 6266).
    pub content_disposition: String,
    /// `Cache-Control` (RFC 9111).
    pub cache_control: String,
    /// User metadata, by name without `x-amz-meta-`.
    pub metadata: Vec<(&'static str, String)>,
}

/// Where the bytes to publish are.
#[derive(Debug, Clone, Copy)]
pub enum PublishSource<'a> {
    /// The bytes that were scanned, as they lie in the spool; `object` names the quarantined version they were read
    /// from, for stores that can copy exactly that version.
    AsIs {
        /// The spooled bytes.
        spooled: &'a Spooled,
        /// The version they were read from.
        object: &'a ObjectHead,
    },
    /// The output of a transform of the scanned bytes.
    Transformed {
        /// The spooled output.
        spooled: &'a Spooled,
    },
}

/// One object to publish.
#[derive(Debug, Clone, Copy)]
pub struct PublishRequest<'a> {
    /// The bucket to publish to.
    pub bucket: &'a BucketName,
    /// The key, which ends in the digest of the bytes.
    pub key: &'a PublishedKey,
    /// The bytes.
    pub source: PublishSource<'a>,
    /// The headers.
    pub headers: &'a PublishHeaders,
}

/// What a published object turned out to be when it was read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    /// Length of the body that came.
    pub size: u64,
    /// Digest of the body that came.
    pub sha256: Sha256Digest,
    /// The headers that came with it. `metadata` is sorted by name.
    pub content_type: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// User metadata, sorted by name.
    pub metadata: Vec<(String, String)>,
    /// What came with it beside those and changes how the object is read or kept: `Content-Encoding`,
    /// `Content-Language`, `Expires`, a redirect, tags, or another encryption than the store was asked for.
    pub unexpected: Vec<(&'static str, String)>,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: ObjectKey,
    /// Length in bytes.
    pub size: u64,
    /// When it was written, on the store's clock.
    pub modified_at: Option<Timestamp>,
}

/// One multipart upload that was begun and neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUpload {
    /// The key.
    pub key: ObjectKey,
    /// The store's id of the multipart upload.
    pub multipart_id: String,
    /// When it was begun, on the store's clock.
    pub initiated_at: Option<Timestamp>,
}

/// Where a listing of objects goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFrom<'a> {
    /// At the first key.
    Start,
    /// Where the page before ended: its [`Page::next`]. Not to be kept for longer than the listing lasts.
    Page(&'a str),
    /// Behind this key, which need not be there (any more).
    After(&'a ObjectKey),
}

impl<'a> ListFrom<'a> {
    /// The first page, or the one behind the page that ended with `next`.
    pub fn page(next: Option<&'a str>) -> Self {
        next.map_or(Self::Start, Self::Page)
    }
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the store's order.
    pub items: Vec<T>,
    /// Where the next page begins; none on the last.
    pub next: Option<String>,
}

/// An S3-compatible object store.
///
/// * Nothing is believed that the store could be wrong about: callers compare sizes and digests themselves.
/// * A body that ends early, stalls or changes while it is read is an error, never a short object.
/// * Deleting what is not there succeeds.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// HEAD of the newest version, or of `version`. None: there is no such object.
    async fn head(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<Option<ObjectHead>, StoreError>;

    /// Reads the object once, pinned to the version and entity tag of `head`, into the spool, hashing as it comes.
    /// Space is reserved first; where all of it is taken the call waits.
    async fn fetch(&self, head: &ObjectHead) -> Result<Spooled, StoreError>;

    /// Writes the object with exactly the given headers.
    async fn publish(&self, request: &PublishRequest<'_>) -> Result<(), StoreError>;

    /// Reads a published object whole, hashing as it comes and keeping nothing. None: it is not there.
    async fn read_back(&self, bucket: &BucketName, key: &PublishedKey) -> Result<Option<ReadBack>, StoreError>;

    /// Deletes one version; without `version`, the object under the key.
    async fn delete(&self, bucket: &BucketName, key: &ObjectKey, version: Option<&VersionId>)
    -> Result<(), StoreError>;

    /// The ids of every version of `key`, newest first, delete markers included. Empty in a bucket without versioning.
    async fn versions(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Vec<VersionId>, StoreError>;

    /// One page of the objects under `prefix`, in the order of their keys.
    async fn list(&self, bucket: &BucketName, prefix: &Prefix, from: ListFrom<'_>) -> Result<Page<Listed>, StoreError>;

    /// One page of the open multipart uploads under `prefix`.
    async fn list_uploads(
        &self,
        bucket: &BucketName,
        prefix: &Prefix,
        from: Option<&str>,
    ) -> Result<Page<ListedUpload>, StoreError>;

    /// Aborts an open multipart upload.
    async fn abort_upload(&self, bucket: &BucketName, upload: &ListedUpload) -> Result<(), StoreError>;

    /// A URL that allows one PUT with this content type until `valid_for` has passed. It is a credential: it goes to
    /// the client and nowhere else.
    async fn presign_put(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        content_type: &MediaType,
        valid_for: Duration,
    ) -> Result<String, StoreError>;

    /// Asks the store whether the bucket is there and readable.
    async fn check(&self, bucket: &BucketName) -> Result<(), StoreError>;
}

/// Why an object store could not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store is out of reach or refuses everybody for now: connection, time-out, 5xx, throttling.
    #[error("object store is unavailable: {action} {object}")]
    Unavailable {
        /// What was asked.
        action: &'static str,
        /// Bucket and key.
        object: String,
        /// What the client library said.
        #[source]
        source: Cause,
    },
    /// The store answered that this request cannot work: credentials, a missing bucket.
    #[error("object store refused: {action} {object}")]
    Refused {
        /// What was asked.
        action: &'static str,
        /// Bucket and key.
        object: String,
        /// What the client library said.
        #[source]
        source: Cause,
    },
    /// The object is not the one that HEAD saw: gone, or overwritten meanwhile.
    #[error("object {object} changed while it was read")]
    Changed {
        /// Bucket and key.
        object: String,
    },
    /// The body ended early, came too long, or stalled.
    #[error("body of {object} broke off: {detail}")]
    Body {
        /// Bucket and key.
        object: String,
        /// What happened, with the bytes seen and expected.
        detail: String,
    },
    /// The object can never fit into the spool.
    #[error("object {object} of {size} bytes does not fit into worker.spool_budget of {budget} bytes")]
    SpoolBudget {
        /// Bucket and key.
        object: String,
        /// Its size.
        size: u64,
        /// The whole budget.
        budget: u64,
    },
    /// The spool could not be written: disk full, no permission.
    #[error("spool in {dir} failed (make room there, or set worker.spool_dir to a disk that has room)")]
    Spool {
        /// The folder of the spool.
        dir: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// What to do with the delivery.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable { .. } | Self::Refused { .. } | Self::Spool { .. } => Disposition::Unavailable,
            Self::Changed { .. } | Self::Body { .. } => Disposition::Retry,
            Self::SpoolBudget { .. } => Disposition::Reject,
        }
    }
}
