//! `lazaret session create`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use lazaret_core::{
    NewSession, ObjectId, QuarantineKey, StateName, Timestamp, UploadId,
    ports::{ObjectStore, SessionStore},
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    cli::{Create, Output},
    failure::UsageError,
    output,
    settings::{Period, Settings},
    wiring,
};

/// The longest life of a pre-signed URL.
const MAX_EXPIRES_IN: Period = Period::from_secs(7 * 24 * 3600);

/// What a client needs to upload. The URL is a credential: it goes to the standard output stream and nowhere else.
#[derive(Serialize)]
struct Created {
    upload_id: UploadId,
    object_id: ObjectId,
    bucket: String,
    key: String,
    put_url: String,
    headers: BTreeMap<&'static str, String>,
    expires_at: Timestamp,
    state: StateName,
}

pub(super) async fn run(settings: &Settings, arguments: &Create, form: Output) -> Result<()> {
    let expires_in = check(settings, arguments)?;
    let sessions = wiring::sessions(settings).await?;
    let store = wiring::client(settings).await?;
    let upload_id = UploadId::from_uuid(Uuid::now_v7());
    let new = NewSession {
        upload_id,
        object_id: ObjectId::from_uuid(Uuid::now_v7()),
        tenant: arguments.tenant.clone(),
        bucket: settings.storage.bucket.clone(),
        key: QuarantineKey::for_upload(&settings.storage.quarantine_prefix, upload_id),
        file_name: arguments.file_name.clone(),
        declared_type: arguments.content_type.clone(),
        declared_size: arguments.size,
        declared_sha256: arguments.sha256,
        expires_in: expires_in.get(),
    };
    let put_url = store
        .presign_put(&new.bucket, new.key.as_key(), &new.declared_type, expires_in.get())
        .await
        .context("no upload URL can be signed")?;
    let session = sessions.create(&new).await.context("no session was made")?;
    let created = Created {
        upload_id,
        object_id: session.object_id,
        bucket: session.bucket.to_string(),
        key: session.key.to_string(),
        put_url,
        headers: BTreeMap::from([("Content-Type", session.declared_type.to_string())]),
        expires_at: session.expires_at,
        state: session.state.name(),
    };
    match form {
        Output::Json => output::json(&created),
        Output::Table => print(&created),
    }
}

fn check(settings: &Settings, arguments: &Create) -> Result<Period, UsageError> {
    let limit = settings.limits.max_object_size;
    if arguments.size == 0 {
        return Err(UsageError("--size 0: an object without bytes would be rejected".to_owned()));
    }
    if arguments.size > limit.bytes() {
        return Err(UsageError(format!(
            "--size {}: more than limits.max_object_size of {limit} ({} bytes)",
            arguments.size,
            limit.bytes()
        )));
    }
    let expires_in = arguments.expires_in.unwrap_or(settings.limits.upload_ttl);
    if expires_in < Period::from_secs(1) || expires_in > MAX_EXPIRES_IN {
        return Err(UsageError(format!("--expires-in {expires_in}: 1s to {MAX_EXPIRES_IN} are possible")));
    }
    Ok(expires_in)
}

fn print(created: &Created) -> Result<()> {
    let mut rows = vec![
        ("upload_id", created.upload_id.to_string()),
        ("object_id", created.object_id.to_string()),
        ("bucket", created.bucket.clone()),
        ("key", created.key.clone()),
        ("expires_at", created.expires_at.to_string()),
    ];
    rows.extend(created.headers.iter().map(|(name, value)| ("header", format!("{name}: {value}"))));
    rows.push(("put_url", created.put_url.clone()));
    output::show(&output::pairs(rows))?;
    let headers: Vec<_> = created.headers.iter().map(|(name, value)| format!("-H '{name}: {value}' ")).collect();
    output::line(format_args!("\nupload with: curl -T FILE {}'{}'", headers.concat(), created.put_url))
}
