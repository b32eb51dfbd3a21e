//! The contract that every store keeps, through the adapter that the pipeline uses.

use anyhow::Result;
use async_trait::async_trait;
use lazaret_core::{BucketName, ObjectKey};
use lazaret_objects::{Honoured, S3Settings, S3Store, Spool, SpoolSettings};
use lazaret_testkit::objects::{Client as StoreClient, Setup, conforms};
use uuid::Uuid;

use super::*;

#[async_trait]
impl StoreClient for Endpoint {
    async fn put(&self, bucket: &BucketName, key: &ObjectKey, bytes: &[u8]) -> Result<()> {
        let request = self.client.put_object().bucket(bucket.as_str()).key(key.as_str()).content_type("text/html");
        request.metadata("evil", "yes").body(bytes.to_vec().into()).send().await?;
        Ok(())
    }

    async fn begin_upload(&self, bucket: &BucketName, key: &ObjectKey) -> Result<()> {
        self.client.create_multipart_upload().bucket(bucket.as_str()).key(key.as_str()).send().await?;
        Ok(())
    }
}

async fn adapter(endpoint: &Endpoint) -> S3Store {
    let folder = endpoint.folder.as_ref().unwrap().path();
    let spool = SpoolSettings { dir: folder.join("spool"), budget_bytes: 1 << 26, memory_limit_bytes: 1 << 20 };
    let settings = S3Settings {
        endpoint: Some(format!("http://{}", endpoint.address)),
        force_path_style: true,
        credentials: Some((ACCESS_KEY.to_owned(), SECRET_KEY.to_owned())),
        ..S3Settings::aws("us-east-1")
    };
    S3Store::connect(settings, Arc::new(Spool::new(spool).unwrap())).await
}

#[tokio::test]
async fn the_contract_of_a_store_is_kept() {
    let endpoint = Endpoint::start().await;
    let (store, bucket) = (adapter(&endpoint).await, BUCKET.parse().unwrap());
    conforms(Setup { store: &store, client: &endpoint, bucket: &bucket, versioned: false }).await.unwrap();
    endpoint.stop().await;
}

#[tokio::test]
async fn a_probe_finds_all_but_versions_and_leaves_nothing() {
    let endpoint = Endpoint::start().await;
    let (store, bucket) = (adapter(&endpoint).await, BUCKET.parse().unwrap());
    let found = store.probe(&bucket, &"published/".parse().unwrap(), Uuid::now_v7()).await.unwrap();
    let lacking: Vec<_> =
        found.list().iter().filter(|line| line.honoured != Honoured::Yes).map(|line| line.name).collect();
    assert_eq!((lacking, found.warning()), (vec!["versions", "pinned copy"], None));
    let left = endpoint.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let open = endpoint.client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    assert_eq!((left.contents().len(), open.uploads().len()), (0, 0));
    endpoint.stop().await;
}
