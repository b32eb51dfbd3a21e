//! Items that were committed with a state and wait to be done.

use std::time::Duration;

use lazaret_core::ports::{OutboxItem, OutboxKind, SessionStoreError};
use sqlx::{QueryBuilder, Sqlite};

use super::{
    record::{get, parsed},
    write::{Write, kind_name},
};

/// How many ids one statement names: far below the bind limits of the databases.
const IDS_PER_STATEMENT: usize = 500;

pub(super) async fn claim(
    mut write: Write,
    kind: OutboxKind,
    limit: u32,
    lease: Duration,
) -> Result<Vec<OutboxItem>, SessionStoreError> {
    let failed = write.failed();
    let rows = sqlx::query(
        "update outbox set claimed_until_ms = $1 where id in (select id from outbox where kind = $2 \
         and (claimed_until_ms is null or claimed_until_ms <= $3) order by id limit $4) \
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
