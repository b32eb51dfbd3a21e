//! Items that were committed with a state and wait to be done.

use std::time::Duration;

use lazaret_core::ports::{OutboxItem, OutboxKind, SessionStoreError};
use sqlx::AssertSqlSafe;

use super::{
    record::{Record, get, parsed},
    write::{Write, kind_name},
};
use crate::payload;

/// How many ids one statement names.
const IDS_PER_STATEMENT: usize = 500;

/// The session is locked: of two who ask at once, the second finds the item of the first.
pub(super) async fn request_processing((mut write, record): (Write, Record)) -> Result<bool, SessionStoreError> {
    if record.session.state.is_settled() || record.protected_ms(write.now_ms()).is_some() {
        return Ok(false);
    }
    let id = record.session.upload_id;
    let waiting = sqlx::query("select id from outbox where upload_id = $1 and kind = $2 limit 1")
        .bind(id.to_string())
        .bind(kind_name(OutboxKind::Process));
    if write.call().row(waiting).await?.is_some() {
        return Ok(false);
    }
    write.announce(id, OutboxKind::Process, payload::process(&record.session)).await?;
    write.commit().await?;
    Ok(true)
}

/// Whoever holds the oldest item of a session holds the session's items: nothing is claimed unless the oldest is free,
/// locked by nobody, and claimed with it. What was claimed or removed meanwhile fails the test when its lock is had.
pub(super) async fn claim(
    mut write: Write,
    kind: OutboxKind,
    limit: u32,
    lease: Duration,
) -> Result<Vec<OutboxItem>, SessionStoreError> {
    let claim = format!(
        "with free as materialized (select oldest.upload_id from outbox oldest where oldest.kind = $2 \
         and (oldest.claimed_until_ms is null or oldest.claimed_until_ms <= $3) \
         and not exists (select 1 from outbox older where older.upload_id = oldest.upload_id \
         and older.kind = oldest.kind and older.id < oldest.id) order by oldest.id limit $4 {}) \
         update outbox set claimed_until_ms = $1 where id in (select item.id from outbox item \
         where item.kind = $2 and item.upload_id in (select upload_id from free) order by item.id limit $4) \
         returning id, upload_id, payload",
        write.call().dialect().skip_locked()
    );
    let claim = sqlx::query(AssertSqlSafe(claim))
        .bind(write.after(lease))
        .bind(kind_name(kind))
        .bind(write.now_ms())
        .bind(i64::from(limit));
    let rows = write.call().rows(claim).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push(OutboxItem {
            id: get(row, "id")?,
            upload_id: parsed(row, "upload_id")?,
            kind,
            payload: get(row, "payload")?,
        });
    }
    write.commit().await?;
    // RETURNING promises no order.
    items.sort_unstable_by_key(|item| item.id);
    Ok(items)
}

/// Locks are taken in the order of ids, so that two who complete the same items do not wait for each other.
pub(super) async fn complete(mut write: Write, ids: &[i64]) -> Result<(), SessionStoreError> {
    for ids in ids.chunks(IDS_PER_STATEMENT) {
        let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let lock = write.call().dialect().lock();
        let delete =
            format!("delete from outbox where id in (select id from outbox where id in ({list}) order by id {lock})");
        // Hardly any two lists are alike: not worth to be kept prepared.
        write.execute(sqlx::query(AssertSqlSafe(delete)).persistent(false)).await?;
    }
    write.commit().await
}
