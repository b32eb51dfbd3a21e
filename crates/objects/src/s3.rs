//! The object store port on aws-sdk-s3.

mod body;
mod capabilities;
mod failure;
mod listing;
mod probe;
mod publish;
mod read;
mod settings;

use std::{
    fmt,
    sync::{Arc, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use aws_config::{AppName, BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::{
    Client,
    config::{
        Builder, Credentials, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
    },
    presigning::PresigningConfig,
};
use lazaret_core::{
    BucketName, MediaType, ObjectKey, Prefix, PublishedKey, Spooled, VersionId,
    ports::{ListFrom, Listed, ListedUpload, ObjectHead, ObjectStore, Page, PublishRequest, ReadBack, StoreError},
};

use crate::Spool;
use failure::Asked;

pub use capabilities::{Capabilities, Capability, Honoured};
pub use settings::{Checksums, S3Settings, ServerSideEncryption, Timeouts};

/// Requests are tried this often; what still fails is up to the worker, which can wait for longer.
const ATTEMPTS: u32 = 3;

/// The first pause between two tries.
const BACKOFF: Duration = Duration::from_millis(200);

/// An S3-compatible store.
pub struct S3Store {
    client: Client,
    spool: Arc<Spool>,
    checksums: Checksums,
    sse: Option<ServerSideEncryption>,
    timeouts: Timeouts,
    /// What the last probe found.
    capabilities: RwLock<Capabilities>,
    /// Longer objects are uploaded in parts.
    multipart_above_bytes: u64,
    /// The most entries of one page of a listing. None: as many as the store gives.
    page_size: Option<i32>,
}

impl S3Store {
    /// A client of the store. Nothing is asked of the store yet; [`ObjectStore::check`] does that.
    pub async fn connect(settings: S3Settings, spool: Arc<Spool>) -> Self {
        let mut config = match &settings.credentials {
            Some((id, secret)) => Builder::new()
                .behavior_version(BehaviorVersion::latest())
                .credentials_provider(Credentials::new(id, secret, None, None, "lazaret settings")),
            // Told the region, the SDK does not ask the instance for one.
            None => Builder::from(
                &aws_config::defaults(BehaviorVersion::latest())
                    .region(Region::new(settings.region.clone()))
                    .load()
                    .await,
            ),
        };
        let (requests, responses) = match settings.checksums {
            Checksums::WhenSupported => {
                (RequestChecksumCalculation::WhenSupported, ResponseChecksumValidation::WhenSupported)
            }
            Checksums::WhenRequired => {
                (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired)
            }
        };
        config.set_app_name(AppName::new("lazaret").ok());
        if settings.endpoint.is_some() {
            config.set_endpoint_url(settings.endpoint);
        }
        let config = config
            .region(Region::new(settings.region))
            .force_path_style(settings.force_path_style)
            .request_checksum_calculation(requests)
            .response_checksum_validation(responses)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(settings.timeouts.connect)
                    .read_timeout(settings.timeouts.read)
                    .operation_attempt_timeout(settings.timeouts.read)
                    .build(),
            )
            // Uploads are watched by the SDK. Downloads are watched here: the SDK would count our waiting for the
            // disk as the store's.
            .stalled_stream_protection(
                StalledStreamProtectionConfig::enabled()
                    .download_enabled(false)
                    .grace_period(settings.timeouts.body_stall)
                    .build(),
            )
            .build();
        Self {
            client: Client::from_conf(config),
            spool,
            checksums: settings.checksums,
            sse: settings.sse,
            timeouts: settings.timeouts,
            capabilities: RwLock::default(),
            multipart_above_bytes: publish::MULTIPART_ABOVE_BYTES,
            page_size: None,
        }
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn head(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<Option<ObjectHead>, StoreError> {
        self.head_object(bucket, key, version).await
    }

    async fn fetch(&self, head: &ObjectHead) -> Result<Spooled, StoreError> {
        self.fetch_object(head).await
    }

    async fn publish(&self, request: &PublishRequest<'_>) -> Result<(), StoreError> {
        self.publish_object(request).await
    }

    async fn read_back(&self, bucket: &BucketName, key: &PublishedKey) -> Result<Option<ReadBack>, StoreError> {
        self.read_object(bucket, key.as_key(), None).await
    }

    async fn delete(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<(), StoreError> {
        let request = self.client.delete_object().bucket(bucket.as_str()).key(key.as_str());
        match request.set_version_id(version.map(|version| version.as_str().to_owned())).send().await {
            Ok(_) => Ok(()),
            Err(error) if failure::is_missing(&error) => Ok(()),
            Err(error) => Err(Asked::new("delete", format_args!("{bucket}/{key}")).failed(&error)),
        }
    }

    async fn versions(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Vec<VersionId>, StoreError> {
        self.list_versions(bucket, key).await
    }

    async fn list(&self, bucket: &BucketName, prefix: &Prefix, from: ListFrom<'_>) -> Result<Page<Listed>, StoreError> {
        self.list_objects(bucket, prefix, from).await
    }

    async fn list_uploads(
        &self,
        bucket: &BucketName,
        prefix: &Prefix,
        from: Option<&str>,
    ) -> Result<Page<ListedUpload>, StoreError> {
        self.list_open_uploads(bucket, prefix, from).await
    }

    async fn abort_upload(&self, bucket: &BucketName, upload: &ListedUpload) -> Result<(), StoreError> {
        let request = self.client.abort_multipart_upload().bucket(bucket.as_str()).key(upload.key.as_str());
        match request.upload_id(&upload.multipart_id).send().await {
            Ok(_) => Ok(()),
            Err(error) if failure::is_missing(&error) => Ok(()),
            Err(error) => {
                Err(Asked::new("abort the upload of", format_args!("{bucket}/{}", upload.key)).failed(&error))
            }
        }
    }

    async fn presign_put(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        content_type: &MediaType,
        valid_for: Duration,
    ) -> Result<String, StoreError> {
        let asked = Asked::new("sign a PUT of", format_args!("{bucket}/{key}"));
        let signing = PresigningConfig::expires_in(valid_for)
            .map_err(|error| asked.refused(&format!("{valid_for:?} is no validity: {error}")))?;
        let request = self.client.put_object().bucket(bucket.as_str()).key(key.as_str());
        let request = request
            .content_type(content_type.as_str())
            .customize()
            // The SDK would sign the checksum of an empty body, which no client sends.
            .config_override(Builder::new().request_checksum_calculation(RequestChecksumCalculation::WhenRequired))
            .presigned(signing)
            .await;
        request.map(|request| request.uri().to_owned()).map_err(|error| asked.failed(&error))
    }

    async fn check(&self, bucket: &BucketName) -> Result<(), StoreError> {
        let answer = self.client.head_bucket().bucket(bucket.as_str()).send().await;
        answer.map(drop).map_err(|error| Asked::new("find bucket", bucket).failed(&error))
    }
}

impl fmt::Debug for S3Store {
    /// The SDK's own output is long and of no use to a reader of a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("spool", &self.spool).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
