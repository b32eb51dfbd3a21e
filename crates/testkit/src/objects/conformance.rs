//! What every adapter of the object store port must do, the fake included.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use lazaret_core::{
    BucketName, ObjectKey, Prefix, PublishedKey, Sha256Digest, Spooled,
    ports::{
        ListFrom, Listed, ListedUpload, ObjectHead, ObjectStore, Page, PublishHeaders, PublishRequest, PublishSource,
        StoreError,
    },
};
use sha2::{Digest, Sha256};

use super::memory::{contents, spooled};

/// What clients do to a store behind the port's back.
#[async_trait]
pub trait Client: Send + Sync {
    /// PUTs an object, with headers and metadata of the client's own where the store keeps such.
    async fn put(&self, bucket: &BucketName, key: &ObjectKey, bytes: &[u8]) -> Result<()>;

    /// Begins a multipart upload and leaves it.
    async fn begin_upload(&self, bucket: &BucketName, key: &ObjectKey) -> Result<()>;
}

#[async_trait]
impl Client for super::MemoryObjectStore {
    async fn put(&self, bucket: &BucketName, key: &ObjectKey, bytes: &[u8]) -> Result<()> {
        drop(Self::put(self, bucket.as_str(), key.as_str(), bytes));
        Ok(())
    }

    async fn begin_upload(&self, bucket: &BucketName, key: &ObjectKey) -> Result<()> {
        drop(Self::begin_upload(self, bucket.as_str(), key.as_str()));
        Ok(())
    }
}

/// A store under test.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// The adapter.
    pub store: &'a dyn ObjectStore,
    /// Its clients.
    pub client: &'a dyn Client,
    /// An empty bucket.
    pub bucket: &'a BucketName,
    /// Whether the bucket has versioning.
    pub versioned: bool,
}

/// Runs every case. The error names the one that failed.
pub async fn conforms(setup: Setup<'_>) -> Result<()> {
    let case = |name: &'static str| move || format!("object store contract: {name}");
    a_missing_object_has_no_head(setup).await.with_context(case("a missing object has no head"))?;
    a_fetch_is_what_was_put(setup).await.with_context(case("a fetch is what was put"))?;
    an_overwrite_is_never_fetched(setup).await.with_context(case("an overwrite is never fetched"))?;
    a_deleted_object_is_not_fetched(setup).await.with_context(case("a deleted object is not fetched"))?;
    headers_are_ours_alone(setup).await.with_context(case("a published object has our headers alone"))?;
    a_transformed_object_reads_back(setup).await.with_context(case("a transformed object reads back"))?;
    what_was_scanned_is_published(setup).await.with_context(case("what was scanned is published"))?;
    publishing_again_changes_nothing(setup).await.with_context(case("publishing again changes nothing"))?;
    deleting_twice_succeeds(setup).await.with_context(case("deleting what is not there succeeds"))?;
    versions_come_newest_first(setup).await.with_context(case("versions come newest first"))?;
    a_listing_has_every_key_once(setup).await.with_context(case("a listing has every key once, in order"))?;
    a_listing_begins_behind_any_key(setup).await.with_context(case("a listing begins behind any key"))?;
    open_uploads_are_listed_and_aborted(setup).await.with_context(case("open uploads are listed and aborted"))?;
    a_missing_bucket_is_refused(setup).await.with_context(case("a missing bucket is refused"))?;
    Ok(())
}

impl Setup<'_> {
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<ObjectHead> {
        let key = key.parse()?;
        self.client.put(self.bucket, &key, bytes).await?;
        let head = self.store.head(self.bucket, &key, None).await?.context("what was put has no head")?;
        ensure!(head.size == bytes.len() as u64, "size is {}", head.size);
        ensure!(head.bucket == *self.bucket && head.key == key, "head names {}/{}", head.bucket, head.key);
        ensure!(head.version.is_some() == self.versioned, "version is {:?}", head.version);
        Ok(head)
    }

    async fn publish(&self, key: &PublishedKey, source: PublishSource<'_>) -> Result<()> {
        let request = PublishRequest { bucket: self.bucket, key, source, headers: &headers()? };
        Ok(self.store.publish(&request).await?)
    }

    /// The published object is these bytes with our headers and nothing else.
    async fn reads_back(&self, key: &PublishedKey, bytes: &[u8]) -> Result<()> {
        let back = self.store.read_back(self.bucket, key).await?.context("it is not there")?;
        ensure!(back.size == bytes.len() as u64, "size is {}", back.size);
        ensure!(back.sha256 == digest(bytes), "other bytes came back");
        let expected = headers()?;
        ensure!(back.content_type.as_deref() == Some(expected.content_type.as_str()), "{:?}", back.content_type);
        ensure!(back.content_disposition.as_ref() == Some(&expected.content_disposition), "{back:?}");
        ensure!(back.cache_control.as_ref() == Some(&expected.cache_control), "{:?}", back.cache_control);
        let metadata: Vec<_> = expected.metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        ensure!(back.metadata == metadata, "{:?}", back.metadata);
        ensure!(back.unexpected.is_empty(), "{:?}", back.unexpected);
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

/// Metadata is sorted by name, as it is when it is read back.
fn headers() -> Result<PublishHeaders> {
    Ok(PublishHeaders {
        content_type: "image/png".parse()?,
        content_disposition: "attachment; filename*=UTF-8''caf%C3%A9.png".to_owned(),
        cache_control: "private, max-age=31536000, immutable".to_owned(),
        metadata: vec![("lazaret-sha256", "0".repeat(64)), ("lazaret-upload-id", "a-b-c".to_owned())],
    })
}

fn published(name: &str) -> Result<PublishedKey> {
    Ok(PublishedKey::from_key(format!("published/{name}").parse()?))
}

fn holds(spooled: &Spooled, bytes: &[u8]) -> Result<()> {
    ensure!(spooled.len() == bytes.len() as u64, "{} bytes are spooled", spooled.len());
    ensure!(*spooled.sha256() == digest(bytes), "the digest is of other bytes");
    ensure!(contents(spooled)? == bytes, "other bytes are spooled");
    Ok(())
}

async fn a_missing_object_has_no_head(setup: Setup<'_>) -> Result<()> {
    let key = "quarantine/missing".parse()?;
    ensure!(setup.store.head(setup.bucket, &key, None).await?.is_none());
    ensure!(setup.store.read_back(setup.bucket, &published("missing")?).await?.is_none());
    let head = setup.put("quarantine/present", b"here").await?;
    if let Some(version) = &head.version {
        let there = setup.store.head(setup.bucket, &head.key, Some(version)).await?;
        ensure!(there.as_ref() == Some(&head), "HEAD of the version is {there:?}");
        ensure!(setup.store.head(setup.bucket, &key, Some(version)).await?.is_none(), "a version of another key");
    }
    Ok(())
}

async fn a_fetch_is_what_was_put(setup: Setup<'_>) -> Result<()> {
    let large: Vec<u8> = (0..3_000_001_u32).flat_map(u32::to_le_bytes).take(3_000_001).collect();
    for (name, bytes) in [("empty", &b""[..]), ("small", b"some bytes"), ("large", &large)] {
        let head = setup.put(&format!("quarantine/{name}"), bytes).await?;
        holds(&setup.store.fetch(&head).await?, bytes).with_context(|| name)?;
    }
    let odd = "quarantine/a b+c&d%2Fe?f=ü#'\"<>.png";
    let head = setup.put(odd, b"odd").await.with_context(|| odd)?;
    holds(&setup.store.fetch(&head).await?, b"odd")
}

async fn an_overwrite_is_never_fetched(setup: Setup<'_>) -> Result<()> {
    let head = setup.put("quarantine/overwritten", b"first").await?;
    setup.put("quarantine/overwritten", b"later").await?;
    match setup.store.fetch(&head).await {
        Ok(spooled) if setup.versioned => holds(&spooled, b"first"),
        Err(StoreError::Changed { .. }) if !setup.versioned => Ok(()),
        other => bail!("the fetch of the first bytes ended in {other:?}"),
    }
}

async fn a_deleted_object_is_not_fetched(setup: Setup<'_>) -> Result<()> {
    let head = setup.put("quarantine/deleted", b"bytes").await?;
    setup.store.delete(setup.bucket, &head.key, head.version.as_ref()).await?;
    ensure!(setup.store.head(setup.bucket, &head.key, None).await?.is_none(), "it still has a head");
    match setup.store.fetch(&head).await {
        Err(StoreError::Changed { .. }) => Ok(()),
        other => bail!("the fetch ended in {other:?}"),
    }
}

async fn headers_are_ours_alone(setup: Setup<'_>) -> Result<()> {
    let head = setup.put("quarantine/as is+1", b"<html>").await?;
    let bytes = setup.store.fetch(&head).await?;
    let key = published("as-is")?;
    setup.publish(&key, PublishSource::AsIs { spooled: &bytes, object: &head }).await?;
    setup.reads_back(&key, b"<html>").await
}

async fn a_transformed_object_reads_back(setup: Setup<'_>) -> Result<()> {
    for (name, bytes) in [("empty", Vec::new()), ("small", b"re-encoded".to_vec()), ("large", vec![7; 1_500_000])] {
        let key = published(&format!("transformed-{name}"))?;
        let bytes_spooled = spooled(&bytes)?;
        setup.publish(&key, PublishSource::Transformed { spooled: &bytes_spooled }).await.with_context(|| name)?;
        setup.reads_back(&key, &bytes).await.with_context(|| name)?;
    }
    Ok(())
}

async fn what_was_scanned_is_published(setup: Setup<'_>) -> Result<()> {
    let head = setup.put("quarantine/swapped", b"scanned").await?;
    let bytes = setup.store.fetch(&head).await?;
    setup.put("quarantine/swapped", b"swapped").await?;
    let key = published("swapped")?;
    setup.publish(&key, PublishSource::AsIs { spooled: &bytes, object: &head }).await?;
    setup.reads_back(&key, b"scanned").await
}

async fn publishing_again_changes_nothing(setup: Setup<'_>) -> Result<()> {
    let key = published("twice")?;
    let bytes = spooled(b"the same")?;
    for _ in 0..2 {
        setup.publish(&key, PublishSource::Transformed { spooled: &bytes }).await?;
        setup.reads_back(&key, b"the same").await?;
    }
    Ok(())
}

async fn deleting_twice_succeeds(setup: Setup<'_>) -> Result<()> {
    let head = setup.put("quarantine/twice", b"bytes").await?;
    for _ in 0..2 {
        setup.store.delete(setup.bucket, &head.key, head.version.as_ref()).await?;
    }
    setup.store.delete(setup.bucket, &"quarantine/never-was".parse()?, None).await?;
    Ok(())
}

async fn versions_come_newest_first(setup: Setup<'_>) -> Result<()> {
    let key: ObjectKey = "quarantine/versions".parse()?;
    ensure!(setup.store.versions(setup.bucket, &key).await?.is_empty(), "a key that never was has versions");
    let first = setup.put(key.as_str(), b"first").await?;
    let second = setup.put(key.as_str(), b"second").await?;
    setup.put("quarantine/versions-of-another", b"other").await?;
    let expected: Vec<_> = [second.version, first.version].into_iter().flatten().collect();
    let found = setup.store.versions(setup.bucket, &key).await?;
    ensure!(found == expected, "{found:?}");
    if setup.versioned {
        setup.store.delete(setup.bucket, &key, None).await?;
        let marked = setup.store.versions(setup.bucket, &key).await?;
        ensure!(marked.len() == 3 && marked[1..] == expected, "with a delete marker: {marked:?}");
        ensure!(setup.store.head(setup.bucket, &key, Some(&marked[0])).await?.is_none(), "a delete marker has a head");
        for version in &marked {
            setup.store.delete(setup.bucket, &key, Some(version)).await?;
        }
        ensure!(setup.store.versions(setup.bucket, &key).await?.is_empty(), "deleted versions are still there");
    }
    Ok(())
}

async fn a_listing_has_every_key_once(setup: Setup<'_>) -> Result<()> {
    let mut expected = ["list/a", "list/b +%2B", "list/c/d", "list/é", "list/e&<>", "list/f", "list/g"];
    for key in expected {
        setup.put(key, key.as_bytes()).await?;
    }
    setup.put("list-not", b"").await?;
    expected.sort_unstable();
    let prefix: Prefix = "list/".parse()?;
    let mut found: Vec<Listed> = Vec::new();
    let mut from = None;
    for _ in 0..=expected.len() {
        let Page { items, next } = setup.store.list(setup.bucket, &prefix, ListFrom::page(from.as_deref())).await?;
        found.extend(items);
        from = next;
        if from.is_none() {
            break;
        }
    }
    ensure!(from.is_none(), "the listing does not end");
    let keys: Vec<_> = found.iter().map(|item| item.key.as_str()).collect();
    ensure!(keys == expected, "{keys:?}");
    ensure!(found.iter().all(|item| item.size == item.key.as_str().len() as u64), "a size is wrong");
    ensure!(found.iter().all(|item| item.modified_at.is_some()), "an item has no time");
    Ok(())
}

async fn a_listing_begins_behind_any_key(setup: Setup<'_>) -> Result<()> {
    let mut keys = ["after/a", "after/b +%2B", "after/c/d&<>", "after/c/é", "after/d?#", "after/e"];
    keys.sort_unstable();
    for key in keys {
        setup.put(key, b"").await?;
    }
    let gone = setup.put("after/c/d+e%20f", b"").await?;
    for version in [gone.version.as_ref(), None] {
        setup.store.delete(setup.bucket, &gone.key, version).await?;
    }
    let prefix: Prefix = "after/".parse()?;
    for after in keys.into_iter().chain([gone.key.as_str(), "after/", "after/zz", "aft", "b"]) {
        let expected: Vec<_> = keys.into_iter().filter(|key| *key > after).collect();
        let key: ObjectKey = after.parse()?;
        let mut page = setup.store.list(setup.bucket, &prefix, ListFrom::After(&key)).await?;
        let mut found = page.items;
        while let Some(next) = page.next {
            page = setup.store.list(setup.bucket, &prefix, ListFrom::Page(&next)).await?;
            found.append(&mut page.items);
            ensure!(found.len() <= keys.len(), "behind {after:?}, the listing does not end");
        }
        let found: Vec<_> = found.iter().map(|item| item.key.as_str()).collect();
        ensure!(found == expected, "behind {after:?}: {found:?}");
    }
    Ok(())
}

async fn open_uploads_are_listed_and_aborted(setup: Setup<'_>) -> Result<()> {
    let prefix: Prefix = "uploads/".parse()?;
    let mut keys = Vec::new();
    for number in 0..5 {
        let key: ObjectKey = format!("uploads/{number} +").parse()?;
        setup.client.begin_upload(setup.bucket, &key).await?;
        keys.push(key);
    }
    setup.client.begin_upload(setup.bucket, &"elsewhere/upload".parse()?).await?;
    let found = all_uploads(setup, &prefix).await?;
    let found_keys: Vec<_> = found.iter().map(|upload| upload.key.clone()).collect();
    ensure!(found_keys == keys, "{found_keys:?}");
    ensure!(found.iter().all(|upload| upload.initiated_at.is_some()), "an upload has no time");
    for upload in found.iter().chain(&found) {
        setup.store.abort_upload(setup.bucket, upload).await?;
    }
    let left = all_uploads(setup, &prefix).await?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

async fn all_uploads(setup: Setup<'_>, prefix: &Prefix) -> Result<Vec<ListedUpload>> {
    let mut found = Vec::new();
    let mut from = None;
    loop {
        let page = setup.store.list_uploads(setup.bucket, prefix, from.as_deref()).await?;
        found.extend(page.items);
        ensure!(found.len() < 100, "the listing does not end");
        from = page.next;
        if from.is_none() {
            return Ok(found);
        }
    }
}

async fn a_missing_bucket_is_refused(setup: Setup<'_>) -> Result<()> {
    setup.store.check(setup.bucket).await?;
    let missing: BucketName = "lazaret-no-such-bucket".parse()?;
    match setup.store.check(&missing).await {
        Err(StoreError::Refused { .. }) => {}
        other => bail!("the check of a missing bucket ended in {other:?}"),
    }
    let key = published("nowhere")?;
    let source = PublishSource::Transformed { spooled: &spooled(b"bytes")? };
    let request = PublishRequest { bucket: &missing, key: &key, source, headers: &headers()? };
    match setup.store.publish(&request).await {
        Err(StoreError::Refused { .. }) => {}
        other => bail!("publishing to a missing bucket ended in {other:?}"),
    }
    let hour = Duration::from_hours(1);
    let url = setup.store.presign_put(setup.bucket, &"quarantine/signed".parse()?, &"image/png".parse()?, hour).await?;
    ensure!(url.contains("quarantine/signed"), "the signed URL names another key");
    Ok(())
}
