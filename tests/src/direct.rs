//! Sessions and uploads without a process for each: where there are hundreds of them.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use lazaret_core::{NewSession, ObjectId, QuarantineKey, UploadId, ports::SessionStore};
use uuid::Uuid;

use crate::{
    cli::Created,
    objects::Upload,
    station::{Bus, Station, minio_notification},
};

/// A session for this upload under a prefix of the bucket.
pub fn new_session(bucket: &str, prefix: &str, upload: &Upload) -> Result<NewSession> {
    let upload_id = UploadId::from_uuid(Uuid::now_v7());
    Ok(NewSession {
        upload_id,
        object_id: ObjectId::from_uuid(Uuid::now_v7()),
        tenant: "acme".parse()?,
        bucket: bucket.parse()?,
        key: QuarantineKey::for_upload(&prefix.parse()?, upload_id),
        file_name: upload.file_name.parse()?,
        declared_type: upload.content_type.parse()?,
        declared_size: upload.declared_size,
        declared_sha256: upload.declared_sha256.as_deref().map(str::parse).transpose()?,
        expires_in: Duration::from_hours(1),
    })
}

/// What `session create` makes, except for the signed URL.
pub async fn create(station: &Station, sessions: &dyn SessionStore, upload: &Upload) -> Result<Created> {
    let new = new_session(&station.store.bucket, "quarantine/", upload)?;
    let session = sessions.create(&new).await?;
    Ok(Created {
        upload_id: session.upload_id.to_string(),
        object_id: session.object_id.to_string(),
        bucket: session.bucket.to_string(),
        key: session.key.as_key().to_string(),
        put_url: String::new(),
        headers: BTreeMap::new(),
    })
}

/// The upload with our own credentials, and its notification where the store sends none.
pub async fn upload(station: &Station, created: &Created, upload: &Upload) -> Result<()> {
    station.store.put(&created.key, &upload.content_type, upload.bytes.clone()).await?;
    match station.bus {
        Bus::Sqs => Ok(()),
        Bus::Amqp => station.queue.send(&minio_notification(&created.bucket, &created.key)).await,
    }
}
