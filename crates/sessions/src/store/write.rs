//! The one way to change a session: a transaction that holds its row and the database's time.

use std::time::Duration;

use lazaret_core::{
    Fence, MediaType, Reason, ScanReport, Session, SessionEvent, StateName, UploadId, VersionId,
    ports::{OutboxKind, SessionStoreError},
};
use sqlx::AssertSqlSafe;

use super::record::{Record, at, columns, from_json, get, length, published_of, text, unknown};
use crate::{
    call::{Call, Query},
    error::corrupt,
    payload,
};

/// A write transaction. Dropped without [`Write::commit`] it changes nothing.
pub(super) struct Write {
    call: Call,
    now_ms: i64,
}

/// What happens to a session, and who does it.
pub(super) struct Change<'a> {
    pub(super) event: SessionEvent,
    pub(super) actor: &'a str,
    /// For the audit trail, in plain words.
    pub(super) detail: Option<&'a str>,
    /// The scanners' answers that led to it.
    pub(super) reports: &'a [ScanReport],
}

impl Write {
    pub(super) async fn begin(mut call: Call) -> Result<Self, SessionStoreError> {
        call.begin(call.dialect().begin()).await?;
        let now_ms = call.now_ms().await?;
        Ok(Self { call, now_ms })
    }

    /// Takes the session's lock first and the time after: no other writer's change of it lies between the two.
    pub(super) async fn begin_on(mut call: Call, id: UploadId) -> Result<(Self, Record), SessionStoreError> {
        call.begin(call.dialect().begin()).await?;
        let (record, now_ms) = lock(&mut call, id).await?;
        Ok((Self { call, now_ms }, record))
    }

    pub(super) const fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// This long from now.
    pub(super) fn after(&self, duration: Duration) -> i64 {
        self.now_ms.saturating_add(milliseconds(duration))
    }

    pub(super) const fn call(&mut self) -> &mut Call {
        &mut self.call
    }

    /// How many rows it changed.
    pub(super) async fn execute(&mut self, query: Query<'_>) -> Result<u64, SessionStoreError> {
        self.call.execute(query).await
    }

    pub(super) async fn commit(self) -> Result<(), SessionStoreError> {
        self.call.commit().await
    }

    pub(super) async fn load(&mut self, id: UploadId) -> Result<Record, SessionStoreError> {
        Ok(lock(&mut self.call, id).await?.0)
    }

    /// Writes something that is of no use but to show that it can be done. It waits for nobody: where others are at it
    /// at this moment, a row is added.
    pub(super) async fn prove(&mut self) -> Result<(), SessionStoreError> {
        let lock = self.call.dialect().skip_locked();
        let update = format!(
            "update health set checked_at_ms = $1 where id = (select id from health order by id limit 1 {lock})"
        );
        if self.execute(sqlx::query(AssertSqlSafe(update)).bind(self.now_ms)).await? == 0 {
            self.execute(sqlx::query("insert into health (checked_at_ms) values ($1)").bind(self.now_ms)).await?;
        }
        Ok(())
    }

    /// Moves the session on, saves the whole record, and writes the audit record and, for a settled state, the event.
    pub(super) async fn transition(
        &mut self,
        mut record: Record,
        change: Change<'_>,
    ) -> Result<Record, SessionStoreError> {
        let from = record.session.state.name();
        let action = change.event.name();
        record.session.state = record.session.state.apply(change.event)?;
        // Strictly forward even where the clock is not, so that `updated_at` tells any two states apart.
        record.session.updated_at = at(self.now_ms.max(record.session.updated_at.as_millisecond() + 1))?;
        let settled = record.session.state.is_settled();
        if settled {
            record.lease = None;
        }
        self.save(&record).await?;
        self.audit(&record.session, Some(from), action, change.actor, change.detail).await?;
        if settled {
            let body = payload::verdict(&record.session, record.policy.as_deref(), change.reports);
            self.announce(record.session.upload_id, OutboxKind::Verdict, body).await?;
        }
        Ok(record)
    }

    /// Writes everything of a record that can change. The row was read by this transaction; its fence can only rise.
    pub(super) async fn save(&mut self, record: &Record) -> Result<(), SessionStoreError> {
        let session = &record.session;
        let source = session.source.as_ref();
        let published = published_of(&session.state);
        let overrides = serde_json::to_string(&session.overrides).map_err(corrupt)?;
        let image = published.and_then(|object| object.image.as_ref()).map(serde_json::to_string);
        let image = image.transpose().map_err(corrupt)?;
        // Programs of before know `reason` as that of a rejection, a hold or an expiry, and so does the schema.
        let is_revoked = session.state.name() == StateName::Revoked;
        let update = sqlx::query(
            "update sessions set state = $1, reason = $2, detail = $3, overrides = $4, policy = $5, attempts = $6, \
             fence = $7, lease_worker = $8, lease_until_ms = $9, source_version = $10, source_etag = $11, \
             source_size = $12, source_sha256 = $13, source_type = $14, published_bucket = $15, \
             published_key = $16, published_sha256 = $17, published_size = $18, published_type = $19, \
             published_image = $20, updated_at_ms = $21, revoked_reason = $23 where upload_id = $22 and fence <= $7",
        )
        .bind(session.state.name().as_str())
        .bind(session.state.reason().filter(|_| !is_revoked).map(Reason::code))
        .bind(session.detail.as_deref().map(text))
        .bind(overrides)
        .bind(record.policy.as_deref().map(text))
        .bind(i64::from(session.attempts))
        .bind(record.fence.0)
        .bind(record.lease.as_ref().map(|lease| text(lease.worker.as_str())))
        .bind(record.lease.as_ref().map(|lease| lease.until_ms))
        .bind(source.and_then(|source| source.version.as_ref()).map(VersionId::as_str))
        .bind(source.map(|source| source.etag.as_str()))
        .bind(source.map(|source| length(source.size)).transpose()?)
        .bind(source.and_then(|source| source.sha256).map(|sha256| sha256.to_string()))
        .bind(source.and_then(|source| source.detected_type.as_ref()).map(MediaType::as_str))
        .bind(published.map(|object| object.bucket.as_str()))
        .bind(published.map(|object| object.key.as_key().as_str()))
        .bind(published.map(|object| object.sha256.to_string()))
        .bind(published.map(|object| length(object.size)).transpose()?)
        .bind(published.map(|object| object.content_type.as_str()))
        .bind(image)
        .bind(session.updated_at.as_millisecond())
        .bind(session.upload_id.to_string())
        .bind(session.state.reason().filter(|_| is_revoked).map(Reason::code));
        if self.execute(update).await? == 1 {
            Ok(())
        } else {
            Err(corrupt(format!("{} moved under its lock", session.upload_id)))
        }
    }

    pub(super) async fn audit(
        &mut self,
        session: &Session,
        from: Option<StateName>,
        action: &str,
        actor: &str,
        detail: Option<&str>,
    ) -> Result<(), SessionStoreError> {
        let insert = sqlx::query(
            "insert into audit (upload_id, at_ms, actor, action, from_state, to_state, reason, detail) \
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(session.upload_id.to_string())
        .bind(self.now_ms)
        .bind(text(actor))
        .bind(action)
        .bind(from.map(StateName::as_str))
        .bind(session.state.name().as_str())
        .bind(session.state.reason().map(Reason::code))
        .bind(detail.map(text));
        self.execute(insert).await?;
        Ok(())
    }

    /// Puts an item into the outbox.
    pub(super) async fn announce(
        &mut self,
        id: UploadId,
        kind: OutboxKind,
        payload: String,
    ) -> Result<(), SessionStoreError> {
        let insert =
            sqlx::query("insert into outbox (upload_id, kind, payload, created_at_ms) values ($1, $2, $3, $4)")
                .bind(id.to_string())
                .bind(kind_name(kind))
                .bind(payload)
                .bind(self.now_ms);
        self.execute(insert).await?;
        Ok(())
    }

    /// The scanners' answers that the attempt with this fence wrote.
    pub(super) async fn reports(&mut self, id: UploadId, fence: Fence) -> Result<Vec<ScanReport>, SessionStoreError> {
        let query = sqlx::query("select report from verdicts where upload_id = $1 and fence = $2 order by id")
            .bind(id.to_string())
            .bind(fence.0);
        let rows = self.call.rows(query).await?;
        rows.iter().map(|row| from_json(&get::<String>(row, "report")?)).collect()
    }
}

/// Locks the session's row, then asks for the time: what is selected from `locked` is made of rows that are locked.
async fn lock(call: &mut Call, id: UploadId) -> Result<(Record, i64), SessionStoreError> {
    let select = format!(
        "with locked as materialized (select {columns} from sessions where upload_id = $1 {lock}) \
         select {columns}, {clock} as now_ms from locked",
        columns = columns!(),
        lock = call.dialect().lock(),
        clock = call.dialect().clock(),
    );
    let row = call.row(sqlx::query(AssertSqlSafe(select)).bind(id.to_string())).await?.ok_or_else(unknown(id))?;
    Ok((Record::read(&row)?, get(&row, "now_ms")?))
}

pub(super) const fn kind_name(kind: OutboxKind) -> &'static str {
    match kind {
        OutboxKind::Process => "process",
        OutboxKind::Verdict => "verdict",
    }
}

pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
