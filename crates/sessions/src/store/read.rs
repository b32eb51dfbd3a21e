//! Sessions and their histories, as they stand.

use lazaret_core::{
    BucketName, Fence, ObjectKey, Session, StateName, Timestamp, UploadId, WorkerId,
    ports::{AttemptRecord, AuditRecord, History, SessionStoreError},
};

use super::record::{Record, at, columns, from_json, get, parsed, parsed_if, time, time_if};
use crate::{call::Call, error::corrupt};

pub(super) async fn now(mut call: Call) -> Result<Timestamp, SessionStoreError> {
    at(call.now_ms().await?)
}

pub(super) async fn by_id(mut call: Call, id: UploadId) -> Result<Option<Session>, SessionStoreError> {
    let row = call
        .row(sqlx::query(concat!("select ", columns!(), " from sessions where upload_id = $1")).bind(id.to_string()))
        .await?;
    row.map(|row| Ok(Record::read(&row)?.session)).transpose()
}

pub(super) async fn by_key(
    mut call: Call,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<Option<Session>, SessionStoreError> {
    // No session can have such a key: PostgreSQL knows no NUL in text.
    if key.as_str().contains('\0') {
        return Ok(None);
    }
    let query = sqlx::query(concat!("select ", columns!(), " from sessions where bucket = $1 and key = $2"))
        .bind(bucket.as_str());
    let row = call.row(query.bind(key.as_str())).await?;
    row.map(|row| Ok(Record::read(&row)?.session)).transpose()
}

pub(super) async fn list(
    mut call: Call,
    state: Option<StateName>,
    after: Option<UploadId>,
    limit: u32,
) -> Result<Vec<Session>, SessionStoreError> {
    const OF_ANY: &str =
        concat!("select ", columns!(), " from sessions where upload_id > $1 order by upload_id limit $2");
    const OF_ONE: &str = concat!(
        "select ",
        columns!(),
        " from sessions where upload_id > $1 and state = $3 order by upload_id limit $2"
    );
    // The empty text sorts before every id.
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let page = sqlx::query(if state.is_some() { OF_ONE } else { OF_ANY }).bind(after).bind(i64::from(limit));
    let query = match state {
        Some(state) => page.bind(state.as_str()),
        None => page,
    };
    let rows = call.rows(query).await?;
    rows.iter().map(|row| Ok(Record::read(row)?.session)).collect()
}

pub(super) async fn count(
    mut call: Call,
    state: StateName,
    since: Option<Timestamp>,
) -> Result<u64, SessionStoreError> {
    let count = sqlx::query("select count(*) as found from sessions where state = $1 and updated_at_ms >= $2")
        .bind(state.as_str())
        .bind(since.map_or(i64::MIN, Timestamp::as_millisecond));
    let row = call.row(count).await?.ok_or_else(|| corrupt("a count without a row"))?;
    u64::try_from(get::<i64>(&row, "found")?).map_err(corrupt)
}

pub(super) async fn history(mut call: Call, id: UploadId) -> Result<History, SessionStoreError> {
    // One snapshot for all three tables.
    call.begin(call.dialect().begin_snapshot()).await?;
    let id = id.to_string();
    let verdicts = sqlx::query("select report from verdicts where upload_id = $1 order by id").bind(&id);
    let verdicts = call.rows(verdicts).await?;
    let attempts = sqlx::query(
        "select fence, worker, began_at_ms, ended_at_ms, result, error from attempts where upload_id = $1 order by fence",
    ).bind(&id);
    let attempts = call.rows(attempts).await?;
    let audit = sqlx::query(
        "select at_ms, actor, action, from_state, to_state, reason, detail from audit where upload_id = $1 order by id",
    )
    .bind(&id);
    let audit = call.rows(audit).await?;
    call.commit().await?;
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
