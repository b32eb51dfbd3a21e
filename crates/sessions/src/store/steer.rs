//! Sessions made, and moved by what arrives and by operators.

use lazaret_core::{
    NewSession, Session, SessionEvent, SessionState, StateName,
    ports::{OutboxKind, SessionStoreError},
};

use super::{
    record::{Record, length, text},
    write::{Change, Write},
};
use crate::payload;

/// Who makes sessions: the platform, on a tenant's behalf.
const PLATFORM: &str = "platform";

pub(super) async fn create(mut write: Write, new: &NewSession) -> Result<Session, SessionStoreError> {
    let insert = sqlx::query(
        "insert into sessions (upload_id, object_id, tenant, bucket, key, file_name, declared_type, declared_size, \
         declared_sha256, state, created_at_ms, updated_at_ms, expires_at_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12) on conflict do nothing",
    )
    .bind(new.upload_id.to_string())
    .bind(new.object_id.to_string())
    .bind(new.tenant.as_str())
    .bind(new.bucket.as_str())
    .bind(text(new.key.as_key().as_str()))
    .bind(new.file_name.as_str())
    .bind(new.declared_type.as_str())
    .bind(length(new.declared_size)?)
    .bind(new.declared_sha256.map(|sha256| sha256.to_string()))
    .bind(StateName::Created.as_str())
    .bind(write.now_ms())
    .bind(write.after(new.expires_in));
    if write.execute(insert).await? == 0 {
        return Err(SessionStoreError::Conflict { id: new.upload_id });
    }
    let session = write.load(new.upload_id).await?.session;
    write.audit(&session, None, "create", PLATFORM, None).await?;
    write.commit().await?;
    Ok(session)
}

pub(super) async fn mark_uploaded(
    (mut write, record): (Write, Record),
    actor: &str,
) -> Result<Session, SessionStoreError> {
    if record.session.state.name() != StateName::Created {
        return Ok(record.session);
    }
    let change = Change { event: SessionEvent::ObjectArrived, actor, detail: None, reports: &[] };
    let record = write.transition(record, change).await?;
    write.commit().await?;
    Ok(record.session)
}

pub(super) async fn finalize((mut write, record): (Write, Record), actor: &str) -> Result<Session, SessionStoreError> {
    if record.session.state.name() == StateName::Finalized {
        return Ok(record.session);
    }
    let change = Change { event: SessionEvent::Finalize, actor, detail: None, reports: &[] };
    let record = write.transition(record, change).await?;
    write.announce(record.session.upload_id, OutboxKind::Process, payload::process(&record.session)).await?;
    write.commit().await?;
    Ok(record.session)
}

pub(super) async fn release(
    (mut write, mut record): (Write, Record),
    actor: &str,
) -> Result<Session, SessionStoreError> {
    let body = payload::process(&record.session);
    let mut note = None;
    if let SessionState::Held(reason) = record.session.state {
        note = Some(format!("overrides {reason}"));
        if !record.session.overrides.contains(&reason) {
            record.session.overrides.push(reason);
        }
        record.session.attempts = 0;
        record.session.detail = None;
        record.policy = None;
    }
    let change = Change { event: SessionEvent::Release, actor, detail: note.as_deref(), reports: &[] };
    let record = write.transition(record, change).await?;
    write.announce(record.session.upload_id, OutboxKind::Process, body).await?;
    write.commit().await?;
    Ok(record.session)
}

pub(super) async fn reject_held(
    (mut write, record): (Write, Record),
    actor: &str,
) -> Result<Session, SessionStoreError> {
    let detail = record.session.detail.clone();
    let reports = write.reports(record.session.upload_id, record.fence).await?;
    let change = Change { event: SessionEvent::RejectHeld, actor, detail: detail.as_deref(), reports: &reports };
    let record = write.transition(record, change).await?;
    write.commit().await?;
    Ok(record.session)
}
