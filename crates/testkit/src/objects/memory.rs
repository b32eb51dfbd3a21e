use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::File,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use lazaret_core::{
    BucketName, ETag, MediaType, ObjectKey, Prefix, PublishedKey, Sha256Digest, Spooled, Timestamp, VersionId,
    ports::{
        ListFrom, Listed, ListedUpload, ObjectHead, ObjectStore, Page, PublishHeaders, PublishRequest, PublishSource,
        ReadBack, StoreError,
    },
};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use sha2::{Digest, Sha256};

use super::faults::{Effect, Failure, Fault, Operation};

/// Objects of one page, few enough that small tests need a second page.
const PAGE: usize = 3;

/// One version of an object.
#[derive(Debug, Clone)]
pub struct MemoryObject {
    /// Its id, in a bucket with versioning.
    pub version: Option<VersionId>,
    /// The bytes; none in a delete marker.
    pub bytes: Option<Arc<[u8]>>,
    /// The headers it was published with; none where a client put it.
    pub headers: Option<PublishHeaders>,
    /// When it was written.
    pub modified_at: Timestamp,
    etag: u64,
}

type Hook = Box<dyn FnOnce(&MemoryObjectStore) + Send>;

/// An object store in memory that can be made to fail, to stall and to lie.
///
/// ```
/// # use lazaret_testkit::objects::{Effect, Failure, Fault, MemoryObjectStore, Operation};
/// let store = MemoryObjectStore::new(&["bucket"]);
/// let head = store.put("bucket", "quarantine/1", b"bytes");
/// // The answer to the next PUT is lost behind its effect.
/// store.fault(Operation::Publish, Fault::Fail(Effect::After, Failure::Unavailable));
/// // The client overwrites the object between HEAD and GET.
/// store.before(Operation::Fetch, |store| drop(store.put("bucket", "quarantine/1", b"other")));
/// ```
#[derive(Default)]
pub struct MemoryObjectStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    buckets: BTreeMap<String, BTreeMap<String, Vec<MemoryObject>>>,
    uploads: BTreeMap<(String, String, String), Timestamp>,
    versioning: bool,
    dishonest: bool,
    outage: Option<Failure>,
    now: Timestamp,
    written: u64,
    faults: HashMap<Operation, VecDeque<Fault>>,
    hooks: HashMap<Operation, VecDeque<Hook>>,
    calls: HashMap<Operation, usize>,
}

impl MemoryObjectStore {
    /// A store with these buckets, without versioning.
    pub fn new(buckets: &[&str]) -> Self {
        let buckets = buckets.iter().map(|&bucket| (bucket.to_owned(), BTreeMap::new())).collect();
        Self { state: Mutex::new(State { buckets, ..State::default() }) }
    }

    /// The same store with versioning in all of its buckets.
    #[must_use]
    pub fn with_versioning(self) -> Self {
        self.state().versioning = true;
        self
    }

    /// From now on the store ignores every condition and every version it is given, and its GETs answer a head's
    /// question with whatever is there.
    #[must_use]
    pub fn dishonest(self) -> Self {
        self.state().dishonest = true;
        self
    }

    /// The store's clock: what is written gets this time. It begins at 1970.
    pub fn set_now(&self, now: Timestamp) {
        self.state().now = now;
    }

    /// Every call fails before its effect, until `None` lifts it.
    pub fn outage(&self, failure: Option<Failure>) {
        self.state().outage = failure;
    }

    /// The next call of `operation` without a fault gets this one.
    pub fn fault(&self, operation: Operation, fault: Fault) {
        self.state().faults.entry(operation).or_default().push_back(fault);
    }

    /// Runs `hook` when `operation` is called next, before anything else happens.
    pub fn before(&self, operation: Operation, hook: impl FnOnce(&Self) + Send + 'static) {
        self.state().hooks.entry(operation).or_default().push_back(Box::new(hook));
    }

    /// How often `operation` was called.
    pub fn calls(&self, operation: Operation) -> usize {
        self.state().calls.get(&operation).copied().unwrap_or_default()
    }

    /// What a client's PUT does. Panics where the bucket does not exist or a name is not valid.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) -> ObjectHead {
        let mut state = self.state();
        state.write(bucket, key, Some(bytes.into()), None);
        let bucket = bucket.parse().expect("a valid bucket");
        let key = key.parse().expect("a valid key");
        state.newest(&bucket, &key).expect("it was written").head(&bucket, &key)
    }

    /// What a client's multipart upload does that is never completed.
    pub fn begin_upload(&self, bucket: &str, key: &str) -> ListedUpload {
        let mut state = self.state();
        state.written += 1;
        let (multipart_id, now) = (format!("upload-{}", state.written), state.now);
        state.uploads.insert((bucket.to_owned(), key.to_owned(), multipart_id.clone()), now);
        ListedUpload { key: key.parse().expect("a valid key"), multipart_id, initiated_at: Some(now) }
    }

    /// Changes the bytes of the newest version of an object behind everybody's back, without a new version or
    /// `ETag`.
    pub fn corrupt(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let mut state = self.state();
        let versions = state.buckets.get_mut(bucket).and_then(|bucket| bucket.get_mut(key));
        if let Some(newest) = versions.and_then(|versions| versions.last_mut()) {
            newest.bytes = Some(bytes.into());
        }
    }

    /// The newest version of an object; none where it is deleted.
    pub fn object(&self, bucket: &str, key: &str) -> Option<MemoryObject> {
        let state = self.state();
        let newest = state.buckets.get(bucket)?.get(key)?.last()?;
        newest.bytes.is_some().then(|| newest.clone())
    }

    /// The keys of all objects of a bucket that are not deleted.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let state = self.state();
        let objects = state.buckets.get(bucket).into_iter().flatten();
        let there = |versions: &Vec<MemoryObject>| versions.last().is_some_and(|newest| newest.bytes.is_some());
        objects.filter(|(_, versions)| there(versions)).map(|(key, _)| key.clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the call, runs its hook and takes its fault.
    fn begin(&self, operation: Operation) -> Option<Fault> {
        let hook = {
            let mut state = self.state();
            *state.calls.entry(operation).or_default() += 1;
            state.hooks.get_mut(&operation).and_then(VecDeque::pop_front)
        };
        if let Some(hook) = hook {
            hook(self);
        }
        let mut state = self.state();
        let outage = state.outage.map(|failure| Fault::Fail(Effect::Before, failure));
        outage.or_else(|| state.faults.get_mut(&operation).and_then(VecDeque::pop_front))
    }

    async fn call<T: Send>(
        &self,
        operation: Operation,
        action: &'static str,
        object: String,
        effect: impl FnOnce(&mut State) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let fault = self.begin(operation);
        if let Some(fault) = &fault {
            fault.strike(Effect::Before, action, &object).await?;
        }
        let done = effect(&mut self.state());
        if let Some(fault) = &fault {
            fault.strike(Effect::After, action, &object).await?;
        }
        done
    }
}

impl State {
    fn write(&mut self, bucket: &str, key: &str, bytes: Option<Arc<[u8]>>, headers: Option<PublishHeaders>) {
        self.written += 1;
        let version = self.versioning.then(|| format!("version-{}", self.written).parse().expect("a valid version"));
        let object = MemoryObject { version, bytes, headers, modified_at: self.now, etag: self.written };
        let versions = self.buckets.get_mut(bucket).expect("the bucket exists").entry(key.to_owned()).or_default();
        if !self.versioning {
            versions.clear();
        }
        versions.push(object);
    }

    fn versions(&self, bucket: &BucketName, key: &ObjectKey) -> &[MemoryObject] {
        self.buckets.get(bucket.as_str()).and_then(|bucket| bucket.get(key.as_str())).map_or(&[], Vec::as_slice)
    }

    fn newest(&self, bucket: &BucketName, key: &ObjectKey) -> Option<&MemoryObject> {
        self.versions(bucket, key).last().filter(|newest| newest.bytes.is_some())
    }

    fn find(&self, bucket: &BucketName, key: &ObjectKey, version: Option<&VersionId>) -> Option<&MemoryObject> {
        match version.filter(|_| !self.dishonest) {
            None => self.newest(bucket, key),
            Some(id) => self
                .versions(bucket, key)
                .iter()
                .find(|version| version.version.as_ref() == Some(id))
                .filter(|version| version.bytes.is_some()),
        }
    }

    fn must_exist(&self, bucket: &BucketName, action: &'static str) -> Result<(), StoreError> {
        if self.buckets.contains_key(bucket.as_str()) {
            return Ok(());
        }
        Err(StoreError::Refused { action, object: bucket.to_string(), source: "there is no such bucket".into() })
    }
}

impl MemoryObject {
    fn head(&self, bucket: &BucketName, key: &ObjectKey) -> ObjectHead {
        ObjectHead {
            bucket: bucket.clone(),
            key: key.clone(),
            version: self.version.clone(),
            etag: self.etag(),
            size: self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            modified_at: Some(self.modified_at),
        }
    }

    fn etag(&self) -> ETag {
        format!("etag-{}", self.etag).parse().expect("a valid ETag")
    }
}

#[async_trait]
impl ObjectStore for MemoryObjectStore {
    async fn head(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<Option<ObjectHead>, StoreError> {
        self.call(Operation::Head, "HEAD", format!("{bucket}/{key}"), |state| {
            Ok(state.find(bucket, key, version).map(|object| object.head(bucket, key)))
        })
        .await
    }

    async fn fetch(&self, head: &ObjectHead) -> Result<Spooled, StoreError> {
        let name = format!("{}/{}", head.bucket, head.key);
        self.call(Operation::Fetch, "GET", name.clone(), |state| {
            let found = state.find(&head.bucket, &head.key, head.version.as_ref());
            let object = found.filter(|object| state.dishonest || object.etag() == head.etag);
            let Some(bytes) = object.and_then(|object| object.bytes.as_ref()) else {
                return Err(StoreError::Changed { object: name });
            };
            if bytes.len() as u64 != head.size {
                let detail = format!("{} of {} bytes came", bytes.len(), head.size);
                return Err(StoreError::Body { object: name, detail });
            }
            spooled(bytes).map_err(|source| StoreError::Spool { dir: "memory".into(), source })
        })
        .await
    }

    async fn publish(&self, request: &PublishRequest<'_>) -> Result<(), StoreError> {
        let name = format!("{}/{}", request.bucket, request.key);
        self.call(Operation::Publish, "PUT", name, |state| {
            state.must_exist(request.bucket, "PUT")?;
            let copied = match request.source {
                PublishSource::AsIs { object, .. } if object.version.is_some() => state
                    .find(&object.bucket, &object.key, object.version.as_ref())
                    .filter(|found| state.dishonest || found.etag() == object.etag)
                    .and_then(|found| found.bytes.clone()),
                PublishSource::AsIs { .. } | PublishSource::Transformed { .. } => None,
            };
            let (PublishSource::AsIs { spooled, .. } | PublishSource::Transformed { spooled }) = request.source;
            let bytes = match copied {
                Some(bytes) => bytes,
                None => contents(spooled).map_err(|source| StoreError::Spool { dir: "memory".into(), source })?.into(),
            };
            let key = request.key.as_key().as_str();
            state.write(request.bucket.as_str(), key, Some(bytes), Some(request.headers.clone()));
            Ok(())
        })
        .await
    }

    async fn read_back(&self, bucket: &BucketName, key: &PublishedKey) -> Result<Option<ReadBack>, StoreError> {
        self.call(Operation::ReadBack, "GET", format!("{bucket}/{key}"), |state| {
            let Some(object) = state.newest(bucket, key.as_key()) else { return Ok(None) };
            let bytes = object.bytes.as_deref().unwrap_or_default();
            let headers = object.headers.as_ref();
            let named = |(name, value): &(&'static str, String)| ((*name).to_owned(), value.clone());
            let mut metadata: Vec<_> = headers.iter().flat_map(|headers| headers.metadata.iter().map(named)).collect();
            metadata.sort();
            Ok(Some(ReadBack {
                size: bytes.len() as u64,
                sha256: Sha256Digest::from_bytes(Sha256::digest(bytes).into()),
                content_type: headers.map(|headers| headers.content_type.to_string()),
                content_disposition: headers.map(|headers| headers.content_disposition.clone()),
                cache_control: headers.map(|headers| headers.cache_control.clone()),
                metadata,
                unexpected: Vec::new(),
            }))
        })
        .await
    }

    async fn delete(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<(), StoreError> {
        self.call(Operation::Delete, "delete", format!("{bucket}/{key}"), |state| {
            state.must_exist(bucket, "delete")?;
            match version {
                None if state.versioning => state.write(bucket.as_str(), key.as_str(), None, None),
                _ => {
                    let objects = state.buckets.entry(bucket.to_string()).or_default();
                    if let Some(versions) = objects.get_mut(key.as_str()) {
                        versions.retain(|found| version.is_some() && found.version.as_ref() != version);
                        if versions.is_empty() {
                            objects.remove(key.as_str());
                        }
                    }
                }
            }
            Ok(())
        })
        .await
    }

    async fn versions(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Vec<VersionId>, StoreError> {
        self.call(Operation::Versions, "list versions of", format!("{bucket}/{key}"), |state| {
            state.must_exist(bucket, "list versions of")?;
            Ok(state.versions(bucket, key).iter().rev().filter_map(|object| object.version.clone()).collect())
        })
        .await
    }

    async fn list(&self, bucket: &BucketName, prefix: &Prefix, from: ListFrom<'_>) -> Result<Page<Listed>, StoreError> {
        let from = match from {
            ListFrom::Start => None,
            ListFrom::Page(from) => Some(from),
            ListFrom::After(key) => Some(key.as_str()),
        };
        self.call(Operation::List, "list", format!("{bucket}/{prefix}"), |state| {
            state.must_exist(bucket, "list")?;
            let objects = state.buckets.get(bucket.as_str()).into_iter().flatten();
            let items = objects.filter_map(|(key, _)| {
                let key: ObjectKey = key.parse().ok()?;
                let newest = state.newest(bucket, &key)?;
                let size = newest.bytes.as_ref()?.len() as u64;
                Some(Listed { key, size, modified_at: Some(newest.modified_at) })
            });
            let items = items.filter(|item| prefix.contains(&item.key));
            Ok(page(items, from, |item| item.key.as_str().to_owned()))
        })
        .await
    }

    async fn list_uploads(
        &self,
        bucket: &BucketName,
        prefix: &Prefix,
        from: Option<&str>,
    ) -> Result<Page<ListedUpload>, StoreError> {
        self.call(Operation::ListUploads, "list uploads of", format!("{bucket}/{prefix}"), |state| {
            state.must_exist(bucket, "list uploads of")?;
            let uploads = state
                .uploads
                .iter()
                .filter(|((name, key, _), _)| name == bucket.as_str() && key.starts_with(prefix.as_str()));
            let items = uploads.filter_map(|((_, key, id), begun)| {
                Some(ListedUpload { key: key.parse().ok()?, multipart_id: id.clone(), initiated_at: Some(*begun) })
            });
            Ok(page(items, from, |item| format!("{}\n{}", item.key, item.multipart_id)))
        })
        .await
    }

    async fn abort_upload(&self, bucket: &BucketName, upload: &ListedUpload) -> Result<(), StoreError> {
        self.call(Operation::AbortUpload, "abort the upload of", format!("{bucket}/{}", upload.key), |state| {
            state.uploads.remove(&(bucket.to_string(), upload.key.to_string(), upload.multipart_id.clone()));
            Ok(())
        })
        .await
    }

    async fn presign_put(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        content_type: &MediaType,
        valid_for: Duration,
    ) -> Result<String, StoreError> {
        self.call(Operation::PresignPut, "sign a PUT of", format!("{bucket}/{key}"), |_| {
            Ok(format!("memory://{bucket}/{key}?content-type={content_type}&expires={}", valid_for.as_secs()))
        })
        .await
    }

    async fn check(&self, bucket: &BucketName) -> Result<(), StoreError> {
        self.call(Operation::Check, "find bucket", bucket.to_string(), |state| state.must_exist(bucket, "find")).await
    }
}

/// One page of items in order, beginning behind the place `from`.
fn page<T>(items: impl Iterator<Item = T>, from: Option<&str>, place: impl Fn(&T) -> String) -> Page<T> {
    let mut items: Vec<T> = items.filter(|item| from.is_none_or(|from| place(item).as_str() > from)).collect();
    let more = items.len() > PAGE;
    items.truncate(PAGE);
    let next = items.last().filter(|_| more).map(place);
    Page { items, next }
}

/// These bytes as the spool would hold them: in a sealed memfd.
pub fn spooled(bytes: &[u8]) -> io::Result<Spooled> {
    let mut file = File::from(memfd_create("testkit", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::FUTURE_WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(Spooled::new(file, bytes.len() as u64, Sha256Digest::from_bytes(Sha256::digest(bytes).into()), ()))
}

/// All bytes of a spooled object.
pub fn contents(spooled: &Spooled) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; usize::try_from(spooled.len()).map_err(io::Error::other)?];
    spooled.file().read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
