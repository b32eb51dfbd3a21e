//! What becomes of published objects later.

use std::time::Duration;

use lazaret_core::{
    Session, SessionEvent, StateName, UploadId,
    ports::{Recheck, Revocation, SessionStoreError},
};

use super::{
    record::{Record, columns},
    sweep::sessions,
    verdict::{self, About},
    write::{Change, Write, milliseconds},
};
use crate::call::Call;

pub(super) async fn revoke(
    (mut write, mut record): (Write, Record),
    actor: &str,
    Revocation { reason, found }: &Revocation,
) -> Result<Session, SessionStoreError> {
    if record.session.state.name() == StateName::Revoked {
        return Ok(record.session);
    }
    let event = SessionEvent::Revoke(*reason);
    record.session.state.clone().apply(event.clone())?;
    record_found(&mut write, &record, found).await?;
    record.session.detail = Some(found.detail.clone());
    record.policy = found.policy.clone().or(record.policy);
    let change = Change { event, actor, detail: Some(&found.detail), reports: &found.reports };
    let record = write.transition(record, change).await?;
    write.commit().await?;
    Ok(record.session)
}

pub(super) async fn record_recheck(
    (mut write, record): (Write, Record),
    actor: &str,
    found: &Recheck,
) -> Result<bool, SessionStoreError> {
    if record.session.state.name() != StateName::Published {
        return Ok(false);
    }
    record_found(&mut write, &record, found).await?;
    let state = Some(StateName::Published);
    write.audit(&record.session, state, "recheck", actor, Some(&found.detail)).await?;
    write.commit().await?;
    Ok(true)
}

async fn record_found(write: &mut Write, record: &Record, found: &Recheck) -> Result<(), SessionStoreError> {
    let about = About {
        upload_id: record.session.upload_id,
        fence: record.fence,
        sha256: Some(found.sha256),
        policy: found.policy.as_deref(),
    };
    verdict::record(write, &about, &found.reports).await
}

pub(super) async fn withdrawable(
    mut call: Call,
    within: Duration,
    after: Option<&Session>,
    limit: u32,
) -> Result<Vec<Session>, SessionStoreError> {
    let since_ms = call.now_ms().await?.saturating_sub(milliseconds(within));
    let query = sqlx::query(concat!(
        "select ",
        columns!(),
        " from sessions where state = 'revoked' and (published_deleted_at_ms is null or updated_at_ms > $1) \
         and (updated_at_ms, upload_id) > ($2, $3) order by updated_at_ms, upload_id limit $4"
    ))
    .bind(since_ms)
    .bind(after.map_or(i64::MIN, |session| session.updated_at.as_millisecond()))
    .bind(after.map(|session| session.upload_id.to_string()).unwrap_or_default())
    .bind(i64::from(limit));
    sessions(&call.rows(query).await?)
}

/// The first deletion is the one that is remembered.
pub(super) async fn record_published_deleted(mut write: Write, id: UploadId) -> Result<(), SessionStoreError> {
    let update = sqlx::query(
        "update sessions set published_deleted_at_ms = $1 where upload_id = $2 and state = 'revoked' \
         and published_deleted_at_ms is null",
    )
    .bind(write.now_ms())
    .bind(id.to_string());
    write.execute(update).await?;
    write.commit().await
}
