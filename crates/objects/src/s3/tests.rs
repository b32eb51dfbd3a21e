//! Against a real server (`LAZARET_TEST_S3_ENDPOINT`) and against answers that no good server gives.

mod dishonest;
mod faulted;
mod probing;
mod scripted;

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use aws_sdk_s3::types::{BucketVersioningStatus, Tag, Tagging, VersioningConfiguration};
use lazaret_core::ports::{PublishHeaders, PublishSource};
use lazaret_testkit::objects::{Client as StoreClient, Setup, conforms, contents, spooled};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use super::*;
use crate::SpoolSettings;

const MIB: u64 = 1024 * 1024;

/// A store, a bucket of its own, and what lies behind them.
struct Rig {
    store: S3Store,
    bucket: BucketName,
    endpoint: String,
    dir: TempDir,
}

impl Rig {
    async fn new(checksums: Checksums, versioned: bool) -> Self {
        Self::at("LAZARET_TEST_S3_ENDPOINT", checksums, versioned).await
    }

    /// On the server that the environment names.
    async fn at(variable: &str, checksums: Checksums, versioned: bool) -> Self {
        let endpoint = std::env::var(variable);
        let endpoint =
            endpoint.unwrap_or_else(|_| panic!("{variable} must name an S3 server; `cargo xtask test` starts one"));
        let (store, dir) = store_with(S3Settings { checksums, ..settings_for(&endpoint) }).await;
        let bucket = new_bucket(&store, versioned).await;
        Self { store, bucket, endpoint, dir }
    }

    fn setup(&self, versioned: bool) -> Setup<'_> {
        Setup { store: &self.store, client: self, bucket: &self.bucket, versioned }
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> ObjectHead {
        let key = key.parse().unwrap();
        StoreClient::put(self, &self.bucket, &key, bytes).await.unwrap();
        self.store.head(&self.bucket, &key, None).await.unwrap().unwrap()
    }
}

async fn store_with(settings: S3Settings) -> (S3Store, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let spool =
        Spool::new(SpoolSettings { dir: dir.path().join("spool"), budget_bytes: 512 * MIB, memory_limit_bytes: MIB });
    (S3Store::connect(settings, Arc::new(spool.unwrap())).await, dir)
}

fn settings_for(endpoint: &str) -> S3Settings {
    S3Settings {
        endpoint: Some(endpoint.to_owned()),
        force_path_style: true,
        credentials: Some(("test".to_owned(), "test".to_owned())),
        ..S3Settings::aws("us-east-1")
    }
}

async fn new_bucket(store: &S3Store, versioned: bool) -> BucketName {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("objects-{}-{number}", std::process::id());
    store.client.create_bucket().bucket(&name).send().await.expect("a new bucket");
    if versioned {
        let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let set = store.client.put_bucket_versioning().bucket(&name).versioning_configuration(on);
        set.send().await.expect("versioning");
    }
    name.parse().unwrap()
}

#[async_trait]
impl StoreClient for Rig {
    async fn put(&self, bucket: &BucketName, key: &ObjectKey, bytes: &[u8]) -> Result<()> {
        let request = self.store.client.put_object().bucket(bucket.as_str()).key(key.as_str());
        let request = request
            .content_type("text/html")
            .content_disposition("inline")
            .content_language("xx")
            .metadata("evil", "yes")
            .body(bytes.to_vec().into());
        request.send().await?;
        Ok(())
    }

    async fn begin_upload(&self, bucket: &BucketName, key: &ObjectKey) -> Result<()> {
        let request = self.store.client.create_multipart_upload().bucket(bucket.as_str()).key(key.as_str());
        request.send().await?;
        Ok(())
    }
}

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[tokio::test]
async fn the_contract_is_kept_without_versioning() {
    let mut rig = Rig::new(Checksums::WhenSupported, false).await;
    rig.store.page_size = Some(2);
    conforms(rig.setup(false)).await.unwrap();
}

#[tokio::test]
async fn the_contract_is_kept_with_versioning() {
    let mut rig = Rig::new(Checksums::WhenSupported, true).await;
    rig.store.page_size = Some(2);
    conforms(rig.setup(true)).await.unwrap();
}

#[tokio::test]
async fn the_contract_is_kept_without_checksums() {
    let rig = Rig::new(Checksums::WhenRequired, false).await;
    conforms(rig.setup(false)).await.unwrap();
}

fn headers() -> PublishHeaders {
    PublishHeaders {
        content_type: "application/pdf".parse().unwrap(),
        content_disposition: "attachment".to_owned(),
        cache_control: "private".to_owned(),
        metadata: vec![("lazaret-upload-id", "1".to_owned())],
    }
}

async fn publish(rig: &Rig, key: &PublishedKey, source: PublishSource<'_>) -> Result<(), StoreError> {
    rig.store.publish(&PublishRequest { bucket: &rig.bucket, key, source, headers: &headers() }).await
}

fn published_key(name: &str) -> PublishedKey {
    PublishedKey::from_key(format!("published/{name}").parse().unwrap())
}

#[tokio::test]
async fn an_upload_in_parts_reads_back_and_leaves_none_open() {
    for checksums in [Checksums::WhenSupported, Checksums::WhenRequired] {
        let mut rig = Rig::new(checksums, false).await;
        rig.store.multipart_above_bytes = MIB;
        let bytes: Vec<u8> = (0..9_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let source = spooled(&bytes).unwrap();
        let key = published_key("parts");
        publish(&rig, &key, PublishSource::Transformed { spooled: &source }).await.unwrap();
        let back = rig.store.read_back(&rig.bucket, &key).await.unwrap().unwrap();
        assert_eq!((back.size, back.sha256), (source.len(), *source.sha256()));
        assert_eq!(back.content_type.as_deref(), Some("application/pdf"));
        let open = rig.store.list_uploads(&rig.bucket, &"published/".parse().unwrap(), None).await.unwrap();
        assert_eq!(open.items, []);
    }
}

async fn probe(store: &S3Store, bucket: &BucketName) -> Result<Capabilities, StoreError> {
    store.probe(bucket, &"published/".parse().unwrap(), Uuid::now_v7()).await
}

/// What a probe of a store finds that copies versions.
fn copying() -> RwLock<Capabilities> {
    let yes = Honoured::Yes;
    RwLock::new(Capabilities { versions: yes, pinned_copy: yes, metadata_replace: yes, ..Capabilities::default() })
}

#[tokio::test]
async fn the_contract_is_kept_with_copies_at_the_store() {
    let mut rig = Rig::new(Checksums::WhenSupported, true).await;
    rig.store.capabilities = copying();
    conforms(rig.setup(true)).await.unwrap();
}

#[tokio::test]
async fn a_copy_that_the_store_refuses_becomes_an_upload() {
    let mut rig = Rig::new(Checksums::WhenSupported, true).await;
    rig.store.capabilities = copying();
    let head = rig.put("quarantine/gone", b"scanned").await;
    let bytes = rig.store.fetch(&head).await.unwrap();
    rig.store.delete(&rig.bucket, &head.key, head.version.as_ref()).await.unwrap();
    let key = published_key("gone");
    publish(&rig, &key, PublishSource::AsIs { spooled: &bytes, object: &head }).await.unwrap();
    let back = rig.store.read_back(&rig.bucket, &key).await.unwrap().unwrap();
    assert_eq!(back.sha256, *bytes.sha256());
}

#[tokio::test]
async fn a_copy_takes_no_tags_of_the_client_along() {
    let mut rig = Rig::new(Checksums::WhenSupported, true).await;
    rig.store.capabilities = copying();
    let head = rig.put("quarantine/tagged", b"scanned").await;
    let bytes = rig.store.fetch(&head).await.unwrap();
    let tag = Tag::builder().key("scan").value("clean").build().unwrap();
    let tags = Tagging::builder().tag_set(tag).build().unwrap();
    let request = rig.store.client.put_object_tagging().bucket(rig.bucket.as_str()).key(head.key.as_str());
    request.tagging(tags).send().await.unwrap();
    assert_eq!(tags_of(&rig, head.key.as_str()).await, 1);
    let key = published_key("tagged");
    publish(&rig, &key, PublishSource::AsIs { spooled: &bytes, object: &head }).await.unwrap();
    assert_eq!(tags_of(&rig, key.as_key().as_str()).await, 0);
}

async fn tags_of(rig: &Rig, key: &str) -> usize {
    let request = rig.store.client.get_object_tagging().bucket(rig.bucket.as_str()).key(key);
    request.send().await.unwrap().tag_set.len()
}

#[tokio::test]
async fn a_version_the_store_never_gave_out_is_no_object() {
    let rig = Rig::new(Checksums::WhenSupported, true).await;
    let head = rig.put("quarantine/1", b"bytes").await;
    let unknown = "no-such-version".parse().unwrap();
    assert_eq!(rig.store.head(&rig.bucket, &head.key, Some(&unknown)).await.unwrap(), None);
}

#[tokio::test]
async fn a_signed_url_takes_one_type_from_an_ordinary_client() {
    let rig = Rig::new(Checksums::WhenSupported, false).await;
    let key: ObjectKey = "quarantine/signed".parse().unwrap();
    let png = "image/png".parse().unwrap();
    let url = rig.store.presign_put(&rig.bucket, &key, &png, Duration::from_mins(1)).await.unwrap();
    assert!(url.contains("X-Amz-SignedHeaders=content-type%3Bhost"), "{url}");
    assert!(!url.contains("checksum"), "{url}");
    let answer = http_put(&rig.endpoint, &url, "image/png", b"uploaded").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let head = rig.store.head(&rig.bucket, &key, None).await.unwrap().unwrap();
    let fetched = rig.store.fetch(&head).await.unwrap();
    assert_eq!(contents(&fetched).unwrap(), b"uploaded");
}

#[tokio::test]
async fn a_validity_that_cannot_be_signed_is_refused() {
    let rig = Rig::new(Checksums::WhenSupported, false).await;
    let key = "quarantine/signed".parse().unwrap();
    let png = "image/png".parse().unwrap();
    let month = Duration::from_hours(30 * 24);
    let refused = rig.store.presign_put(&rig.bucket, &key, &png, month).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
}

async fn http_put(endpoint: &str, url: &str, content_type: &str, body: &[u8]) -> Result<String> {
    let host = endpoint.strip_prefix("http://").context("a plain endpoint")?.trim_end_matches('/');
    let path = url.strip_prefix(endpoint.trim_end_matches('/')).context("a URL of the endpoint")?;
    let mut connection = TcpStream::connect(host).await?;
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(body).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_fetch_leaves_no_name_and_gives_its_space_back() {
    let rig = Rig::new(Checksums::WhenSupported, false).await;
    let head = rig.put("quarantine/large", &vec![9; 20_000_000]).await;
    let fetched = rig.store.fetch(&head).await.unwrap();
    assert_eq!(entries(&rig.dir.path().join("spool")), 0);
    assert_eq!(rig.store.spool.used_bytes(), 20_000_000);
    drop(fetched);
    assert_eq!(rig.store.spool.used_bytes(), 0);
}
