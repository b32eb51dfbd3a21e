//! Leaves the bucket as it was.

use std::collections::BTreeMap;

use lazaret_core::{
    BucketName, ObjectKey, Prefix, VersionId,
    error::chain,
    ports::{ListedUpload, ObjectStore, StoreError},
};

use super::Probe;

impl Probe<'_> {
    /// Removes everything that was written or may have been.
    pub(super) async fn clean_up(&mut self) {
        let mut left = Vec::new();
        let mut uploads = std::mem::take(&mut self.uploads);
        match self.open_uploads().await {
            Ok(open) => uploads.extend(open),
            Err(error) => left.push(error),
        }
        for upload in uploads {
            left.extend(self.store.abort_upload(self.bucket, &upload).await.err());
        }
        let mut written: BTreeMap<ObjectKey, Vec<VersionId>> = BTreeMap::new();
        for (key, version) in self.keys.drain(..) {
            written.entry(key).or_default().extend(version);
        }
        for (key, named) in written {
            left.extend(remove(self.store, self.bucket, &key, named).await.err());
        }
        if let Some(error) = left.first() {
            let what = format!("objects of the probe may remain under {}/{}: {}", self.bucket, self.base, chain(error));
            self.found.notes.push(what);
        }
    }

    pub(super) async fn open_uploads(&self) -> Result<Vec<ListedUpload>, StoreError> {
        let prefix: Prefix = match self.base.parse() {
            Ok(prefix) => prefix,
            // No key below it can be one either, so nothing was begun.
            Err(_) => return Ok(Vec::new()),
        };
        Ok(self.store.list_uploads(self.bucket, &prefix, None).await?.items)
    }
}

/// Deletes every version of a key, or the object where it has none. Listing versions may be forbidden, and the store's
/// own answers may lack one whose answer was lost: each helps out the other.
async fn remove(
    store: &dyn ObjectStore,
    bucket: &BucketName,
    key: &ObjectKey,
    mut versions: Vec<VersionId>,
) -> Result<(), StoreError> {
    let listed = store.versions(bucket, key).await;
    if let Ok(listed) = &listed {
        versions.extend(listed.iter().cloned());
    }
    versions.sort();
    versions.dedup();
    // Deleting nothing from a bucket with versions would leave a delete marker.
    if versions.is_empty() && store.head(bucket, key, None).await?.is_some() {
        store.delete(bucket, key, None).await?;
    }
    for version in &versions {
        store.delete(bucket, key, Some(version)).await?;
    }
    listed.map(drop)
}
