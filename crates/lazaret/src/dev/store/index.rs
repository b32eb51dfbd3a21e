//! What the store holds, in memory: rebuilt from the files at start.

use std::collections::BTreeMap;

use jiff::Timestamp;
use s3s::S3ErrorCode;

use super::fault::Fault;
use super::record::{ObjectRecord, PartRecord, UploadRecord};

#[derive(Default)]
pub(super) struct Index {
    pub(super) buckets: BTreeMap<String, Bucket>,
}

pub(super) struct Bucket {
    pub(super) created: Timestamp,
    /// By key, in the order of their UTF-8 bytes: the order in which S3 lists.
    pub(super) objects: BTreeMap<String, Listed>,
    /// By upload id.
    pub(super) uploads: BTreeMap<String, Upload>,
}

/// What a listing tells of an object.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) last_modified: Timestamp,
    pub(super) upload_id: Option<String>,
}

/// A multipart upload in progress.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) record: UploadRecord,
    pub(super) parts: BTreeMap<i32, PartRecord>,
}

impl Bucket {
    pub(super) fn new(created: Timestamp) -> Self {
        Self { created, objects: BTreeMap::new(), uploads: BTreeMap::new() }
    }

    /// The upload with this id, if it is one for this key.
    pub(super) fn upload(&mut self, id: &str, key: &str) -> Result<&mut Upload, Fault> {
        self.uploads
            .get_mut(id)
            .filter(|upload| upload.record.key == key)
            .ok_or_else(|| S3ErrorCode::NoSuchUpload.into())
    }
}

impl From<&ObjectRecord> for Listed {
    fn from(record: &ObjectRecord) -> Self {
        Self {
            size: record.size,
            etag: record.etag.clone(),
            last_modified: record.last_modified,
            upload_id: record.upload_id.clone(),
        }
    }
}

impl Index {
    pub(super) fn bucket(&self, name: &str) -> Result<&Bucket, Fault> {
        self.buckets.get(name).ok_or_else(|| S3ErrorCode::NoSuchBucket.into())
    }

    pub(super) fn bucket_mut(&mut self, name: &str) -> Result<&mut Bucket, Fault> {
        self.buckets.get_mut(name).ok_or_else(|| S3ErrorCode::NoSuchBucket.into())
    }
}
