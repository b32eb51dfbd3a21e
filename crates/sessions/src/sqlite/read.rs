//! Sessions and their histories, as they stand.

use lazaret_core::{
    BucketName, Fence, ObjectKey, Session, StateName, Timestamp, UploadId, WorkerId,
    ports::{AttemptRecord, AuditRecord, History, SessionStoreError},
};
use sqlx::SqlitePool;

use super::{
    record::{Record, at, from_json, get, parsed, parsed_if, time, time_if},
    write::NOW,
};
use crate::error::failed;

pub(super) async fn now(readers: &SqlitePool) -> Result<Timestamp, SessionStoreError> {
    at(sqlx::query_scalar(NOW).fetch_one(readers).await.map_err(failed("read the clock"))?)
}

pub(super) async fn by_id(readers: &SqlitePool, id: UploadId) -> Result<Option<Session>, SessionStoreError> {
    let row = sqlx::query("select * from sessions where upload_id = $1")
        .bind(id.to_string())
        .fetch_optional(readers)
        .await
        .map_err(failed("get a session"))?;
    row.map(|row| Ok(Record::read(&row)?.session)).transpose()
}

pub(super) async fn by_key(
    readers: &SqlitePool,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<Option<Session>, SessionStoreError> {
    let row = sqlx::query("select * from sessions where bucket = $1 and key = $2")
        .bind(bucket.as_str())
        .bind(key.as_str())
        .fetch_optional(readers)
        .await
        .map_err(failed("find a session"))?;
    row.map(|row| Ok(Record::read(&row)?.session)).transpose()
}

pub(super) async fn list(
    readers: &SqlitePool,
    state: Option<StateName>,
    after: Option<UploadId>,
    limit: u32,
) -> Result<Vec<Session>, SessionStoreError> {
    // The empty text sorts before every id.
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let query = match state {
        Some(state) => {
            sqlx::query("select * from sessions where upload_id > $1 and state = $3 order by upload_id limit $2")
                .bind(after)
                .bind(i64::from(limit))
                .bind(state.as_str())
        }
        None => sqlx::query("select * from sessions where upload_id > $1 order by upload_id limit $2")
            .bind(after)
            .bind(i64::from(limit)),
    };
    let rows = query.fetch_all(readers).await.map_err(failed("list sessions"))?;
    rows.iter().map(|row| Ok(Record::read(row)?.session)).collect()
}

pub(super) async fn history(readers: &SqlitePool, id: UploadId) -> Result<History, SessionStoreError> {
    let failed = failed("read a history");
    // One snapshot for all three tables.
    let mut tx = readers.begin().await.map_err(&failed)?;
    let verdicts = sqlx::query("select report from verdicts where upload_id = $1 order by id")
        .bind(id.to_string())
        .fetch_all(&mut *tx)
        .await
        .map_err(&failed)?;
    let attempts = sqlx::query("select * from attempts where upload_id = $1 order by fence")
        .bind(id.to_string())
        .fetch_all(&mut *tx)
        .await
        .map_err(&failed)?;
    let audit = sqlx::query("select * from audit where upload_id = $1 order by id")
        .bind(id.to_string())
        .fetch_all(&mut *tx)
        .await
        .map_err(&failed)?;
    tx.commit().await.map_err(failed)?;
    Ok(History {
        verdicts: verdicts
            .iter()
            .map(|row| from_json(&get::<String>(row, "report")?))
            .collect::<Result<_, SessionStoreError>>()?,
        attempts: attempts
            .iter()
            .map(|row| {
                Ok(AttemptRecord {
                    fence: Fence(get(row, "fence")?),
                    worker: WorkerId::new(get::<String>(row, "worker")?),
                    began_at: time(row, "began_at_ms")?,
                    ended_at: time_if(row, "ended_at_ms")?,
                    result: get(row, "result")?,
                    error: get(row, "error")?,
                })
            })
            .collect::<Result<_, SessionStoreError>>()?,
        audit: audit
            .iter()
            .map(|row| {
                Ok(AuditRecord {
                    at: time(row, "at_ms")?,
                    actor: get(row, "actor")?,
                    action: get(row, "action")?,
                    from: parsed_if(row, "from_state")?,
                    to: parsed(row, "to_state")?,
                    reason: parsed_if(row, "reason")?,
                    detail: get(row, "detail")?,
                })
            })
            .collect::<Result<_, SessionStoreError>>()?,
    })
}
