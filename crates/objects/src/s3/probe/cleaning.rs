//! Leaves the bucket as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lazaret_core::{
    BucketName, ObjectKey, Prefix, VersionId,
    error::chain,
    ports::{ListFrom, ListedUpload, ObjectStore, StoreError},
};
use uuid::Uuid;

use super::Probe;

/// A probe that began so much earlier than this one has ended, whatever became of it and however wrong its clock is.
const LONG_AGO: Duration = Duration::from_hours(24);

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
        if let Err(error) = self.remove_old().await {
            let what =
                format!("objects of older probes may remain under {}/{}: {}", self.bucket, self.folder, chain(&error));
            self.found.notes.push(what);
        }
    }

    /// Removes what probes left that were killed midway: of one page of the listing, which others follow at the next start.
    /// What they left open, the sweeper aborts.
    async fn remove_old(&self) -> Result<(), StoreError> {
        // No key below it can be one either, so nothing was written.
        let Ok(folder) = self.folder.parse::<Prefix>() else { return Ok(()) };
        let listed = self.store.list(self.bucket, &folder, ListFrom::Start).await?.items;
        let keys: BTreeSet<_> = listed.into_iter().map(|listed| listed.key).filter(|key| self.is_old(key)).collect();
        for key in keys {
            remove(self.store, self.bucket, &key, Vec::new()).await?;
        }
        Ok(())
    }

    /// Ids of probes hold the time at which they began.
    fn is_old(&self, key: &ObjectKey) -> bool {
        let began = |id: Uuid| id.get_timestamp().map(|time| Duration::from_secs(time.to_unix().0));
        let id = key.as_str().strip_prefix(&self.folder).and_then(|rest| rest.split_once('/')?.0.parse().ok());
        match (id.and_then(began), began(self.id)) {
            (Some(theirs), Some(ours)) => theirs + LONG_AGO < ours,
            _ => false,
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
