//! What the sweeper asks and records.

use std::time::Duration;

use lazaret_core::{
    BucketName, ObjectEvent, ObjectKey, Session, SessionEvent, Timestamp, UploadId, ports::SessionStoreError,
};
use sqlx::any::AnyRow;

use super::{
    record::{Record, columns, length, text, unknown},
    write::{Change, Write, milliseconds},
};
use crate::call::Call;

/// How the sweeper signs the audit trail.
const SWEEPER: &str = "sweeper";

pub(super) async fn overdue(mut call: Call, limit: u32) -> Result<Vec<Session>, SessionStoreError> {
    let now_ms = call.now_ms().await?;
    let query = sqlx::query(concat!(
        "select ",
        columns!(),
        " from sessions where state in ('created', 'uploaded', 'finalized') \
         and expires_at_ms <= $1 and (lease_until_ms is null or lease_until_ms <= $1) \
         order by expires_at_ms, upload_id limit $2"
    ))
    .bind(now_ms)
    .bind(i64::from(limit));
    sessions(&call.rows(query).await?)
}

/// Asks again under the write lock, so that nothing a worker or an uploader did meanwhile is overlooked.
pub(super) async fn expire((mut write, record): (Write, Record), seen: &Session) -> Result<bool, SessionStoreError> {
    let now_ms = write.now_ms();
    let due = record.session.expires_at.as_millisecond() <= now_ms;
    if record.session != *seen || record.session.state.is_settled() || !due || record.protected_ms(now_ms).is_some() {
        return Ok(false);
    }
    let change = Change { event: SessionEvent::Expire, actor: SWEEPER, detail: None, reports: &[] };
    write.transition(record, change).await?;
    write.commit().await?;
    Ok(true)
}

pub(super) async fn removable(
    mut call: Call,
    retain_rejected: Duration,
    limit: u32,
) -> Result<Vec<Session>, SessionStoreError> {
    let now_ms = call.now_ms().await?;
    let query = sqlx::query(concat!(
        "select ",
        columns!(),
        " from sessions where original_deleted_at_ms is null \
         and (state in ('published', 'revoked', 'expired') or (state = 'rejected' and updated_at_ms <= $1)) \
         order by updated_at_ms, upload_id limit $2"
    ))
    .bind(now_ms.saturating_sub(milliseconds(retain_rejected)))
    .bind(i64::from(limit));
    sessions(&call.rows(query).await?)
}

pub(super) async fn contested(
    mut call: Call,
    within: Duration,
    after: Option<&Session>,
    limit: u32,
) -> Result<Vec<Session>, SessionStoreError> {
    let since_ms = call.now_ms().await?.saturating_sub(milliseconds(within));
    // To the letter as in the partial index `sessions_contested`, else SQLite does not use it. What is not settled has no
    // fence yet, or is finalized.
    let query = sqlx::query(
        concat!("select ", columns!(), " from sessions where fence > 0 and state <> 'finalized' \
         and (fence > 1 or state not in ('published', 'revoked')) and updated_at_ms > $1 \
         and (updated_at_ms, upload_id) > ($2, $3) and exists (select 1 from attempts \
         where attempts.upload_id = sessions.upload_id and (attempts.result is null or attempts.result <> 'committed')) \
         order by updated_at_ms, upload_id limit $4"),
    )
    .bind(since_ms)
    .bind(after.map_or(since_ms, |session| session.updated_at.as_millisecond()))
    .bind(after.map(|session| session.upload_id.to_string()).unwrap_or_default())
    .bind(i64::from(limit));
    sessions(&call.rows(query).await?)
}

pub(super) fn sessions(rows: &[AnyRow]) -> Result<Vec<Session>, SessionStoreError> {
    rows.iter().map(|row| Ok(Record::read(row)?.session)).collect()
}

/// The first deletion is the one that is remembered.
pub(super) async fn record_original_deleted(mut write: Write, id: UploadId) -> Result<(), SessionStoreError> {
    let update = sqlx::query(
        "update sessions set original_deleted_at_ms = coalesce(original_deleted_at_ms, $1) where upload_id = $2",
    )
    .bind(write.now_ms())
    .bind(id.to_string());
    if write.execute(update).await? == 0 {
        return Err(unknown(id)());
    }
    write.commit().await
}

pub(super) async fn record_orphan(mut write: Write, event: &ObjectEvent) -> Result<(), SessionStoreError> {
    let insert = sqlx::query(
        "insert into orphans (bucket, key, version, etag, size, occurred_at_ms, seen_at_ms) \
         values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
    )
    .bind(event.bucket.as_str())
    .bind(text(event.key.as_str()))
    .bind(event.version.as_ref().map_or_else(String::new, |version| text(version.as_str())))
    .bind(event.etag.as_ref().map_or_else(String::new, |etag| text(etag.as_str())))
    .bind(event.size.map(length).transpose()?)
    .bind(event.occurred_at.map(Timestamp::as_millisecond))
    .bind(write.now_ms());
    write.execute(insert).await?;
    write.commit().await
}

pub(super) async fn record_orphan_swept(
    mut write: Write,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<(), SessionStoreError> {
    let update =
        sqlx::query("update orphans set swept_at_ms = $1 where bucket = $2 and key = $3 and swept_at_ms is null")
            .bind(write.now_ms())
            .bind(bucket.as_str())
            .bind(text(key.as_str()));
    write.execute(update).await?;
    write.commit().await
}
