//! Creating, finding and listing buckets.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use s3s::S3ErrorCode;
use s3s::dto::{
    Bucket as BucketEntry, CreateBucketInput, CreateBucketOutput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput,
};
use serde::Serialize;

use super::fault::{Fault, blocking, disk};
use super::index::Bucket;
use super::layout::{BUCKET_RECORD, OBJECTS, UPLOADS, sync_directory};
use super::record::{BucketRecord, now, s3_time};
use super::{DirStore, Shared};

/// Signatures are checked against whatever region the client signed for; this one is shown.
const REGION: &str = "us-east-1";

impl Shared {
    /// Whether it had to be created.
    pub(super) fn add_bucket(&self, name: &str) -> io::Result<bool> {
        let mut index = self.index();
        if index.buckets.contains_key(name) {
            return Ok(false);
        }
        let created = now();
        // Built aside and moved into place, so that a bucket is never half there.
        let staged = tempfile::tempdir_in(self.layout.staging())?;
        fs::create_dir(staged.path().join(OBJECTS))?;
        fs::create_dir(staged.path().join(UPLOADS))?;
        write_json(&staged.path().join(BUCKET_RECORD), &BucketRecord { created })?;
        sync_directory(staged.path())?;
        fs::rename(staged.path(), self.layout.bucket(name))?;
        sync_directory(&self.layout.buckets())?;
        index.buckets.insert(name.to_owned(), Bucket::new(created));
        Ok(true)
    }
}

impl DirStore {
    pub(super) async fn create(&self, input: CreateBucketInput) -> Result<CreateBucketOutput, Fault> {
        let shared = self.shared.clone();
        let location = format!("/{}", input.bucket);
        blocking("create a bucket", move || {
            if shared.add_bucket(&input.bucket).map_err(disk("create a bucket"))? {
                Ok(CreateBucketOutput { location: Some(location) })
            } else {
                Err(S3ErrorCode::BucketAlreadyOwnedByYou.into())
            }
        })
        .await
    }

    pub(super) fn head(&self, bucket: &str) -> Result<HeadBucketOutput, Fault> {
        self.shared.index().bucket(bucket)?;
        Ok(HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..HeadBucketOutput::default() })
    }

    pub(super) fn buckets(&self, input: &ListBucketsInput) -> ListBucketsOutput {
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let index = self.shared.index();
        let buckets = index.buckets.iter().filter(|(name, _)| name.starts_with(prefix));
        let buckets = buckets.map(|(name, bucket)| BucketEntry {
            creation_date: Some(s3_time(bucket.created)),
            name: Some(name.clone()),
            ..BucketEntry::default()
        });
        ListBucketsOutput {
            buckets: Some(buckets.collect()),
            prefix: input.prefix.clone(),
            ..ListBucketsOutput::default()
        }
    }
}

/// Writes a small record and waits for the disk.
pub(super) fn write_json<R: Serialize>(path: &Path, record: &R) -> io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.sync_all()
}
