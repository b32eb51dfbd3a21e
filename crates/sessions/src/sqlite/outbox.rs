//! Items that were committed with a state and wait to be done.

use std::time::Duration;

use lazaret_core::{
    UploadId,
    ports::{OutboxItem, OutboxKind, SessionStoreError},
};
use sqlx::{QueryBuilder, Sqlite};

use super::{
    record::{get, parsed},
    write::{Write, kind_name},
};
use crate::payload;

/// How many ids one statement names: far below the bind limits of the databases.
const IDS_PER_STATEMENT: usize = 500;

pub(super) async fn request_processing(mut write: Write, id: UploadId) -> Result<bool, SessionStoreError> {
    let record = write.load(id).await?;
    let now_ms = write.now_ms();
    if record.session.state.is_settled() || record.lease.as_ref().is_some_and(|lease| lease.until_ms > now_ms) {
        return Ok(false);
    }
    let failed = write.failed();
    let waiting: Option<i64> = sqlx::query_scalar("select id from outbox where upload_id = $1 and kind = $2 limit 1")
        .bind(id.to_string())
        .bind(kind_name(OutboxKind::Process))
        .fetch_optional(write.connection())
        .await
        .map_err(failed)?;
    if waiting.is_some() {
        return Ok(false);
    }
    write.announce(id, OutboxKind::Process, payload::process(&record.session)).await?;
    write.commit().await?;
    Ok(true)
}

/// An item is passed over while an older one of the same session and kind is somebody else's.
pub(super) async fn claim(
    mut write: Write,
    kind: OutboxKind,
    limit: u32,
    lease: Duration,
) -> Result<Vec<OutboxItem>, SessionStoreError> {
    let failed = write.failed();
    let rows = sqlx::query(
        "update outbox set claimed_until_ms = $1 where id in (select item.id from outbox item where item.kind = $2 \
         and (item.claimed_until_ms is null or item.claimed_until_ms <= $3) \
         and not exists (select 1 from outbox older where older.upload_id = item.upload_id and older.kind = item.kind \
         and older.id < item.id and older.claimed_until_ms > $3) order by item.id limit $4) \
         returning id, upload_id, payload",
    )
    .bind(write.after(lease))
    .bind(kind_name(kind))
    .bind(write.now_ms())
    .bind(i64::from(limit))
    .fetch_all(write.connection())
    .await
    .map_err(failed)?;
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

pub(super) async fn complete(mut write: Write, ids: &[i64]) -> Result<(), SessionStoreError> {
    for ids in ids.chunks(IDS_PER_STATEMENT) {
        let failed = write.failed();
        let mut delete = QueryBuilder::<Sqlite>::new("delete from outbox where id in (");
        let mut list = delete.separated(", ");
        for id in ids {
            list.push_bind(*id);
        }
        list.push_unseparated(")");
        delete.build().execute(write.connection()).await.map_err(failed)?;
    }
    write.commit().await
}
