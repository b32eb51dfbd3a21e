//! What a bus tells: an object was created.

use crate::{BucketName, ETag, ObjectKey, Timestamp, VersionId};

/// One object that was created, as an event says. Events are hints: at least once, unordered, late. The store is asked
/// before anything is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEvent {
    /// The bucket.
    pub bucket: BucketName,
    /// The key, decoded as its source encodes it.
    pub key: ObjectKey,
    /// The version, in a bucket with versioning.
    pub version: Option<VersionId>,
    /// The entity tag.
    pub etag: Option<ETag>,
    /// The size in bytes.
    pub size: Option<u64>,
    /// When the store says it happened.
    pub occurred_at: Option<Timestamp>,
}

/// A record that is well formed and none of our business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IgnoredRecord {
    /// `s3:TestEvent`, sent when a notification is configured.
    TestEvent,
    /// An event other than a creation, by its name.
    OtherEvent(String),
}
