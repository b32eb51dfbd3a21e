//! The one way to change a session: a write transaction that holds the database's lock and its time.

use std::time::Duration;

use lazaret_core::{
    Fence, MediaType, Reason, ScanReport, Session, SessionEvent, StateName, UploadId, VersionId,
    ports::{OutboxKind, SessionStoreError},
};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::record::{Record, at, from_json, get, length, published_of, unknown};
use crate::{
    error::{corrupt, failed},
    payload,
};

/// The database's clock in milliseconds.
pub(super) const NOW: &str = "select cast(round(unixepoch('subsec') * 1000) as integer)";

/// A write transaction. Dropped without [`Write::commit`] it changes nothing.
pub(super) struct Write {
    tx: Transaction<'static, Sqlite>,
    action: &'static str,
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
    /// Takes the write lock first and the time after: no other writer's commit lies between the two.
    pub(super) async fn begin(writer: &SqlitePool, action: &'static str) -> Result<Self, SessionStoreError> {
        let mut tx = writer.begin_with("begin immediate").await.map_err(failed(action))?;
        let now_ms = sqlx::query_scalar(NOW).fetch_one(&mut *tx).await.map_err(failed(action))?;
        Ok(Self { tx, action, now_ms })
    }

    pub(super) const fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// This long from now.
    pub(super) fn after(&self, duration: Duration) -> i64 {
        self.now_ms.saturating_add(milliseconds(duration))
    }

    pub(super) fn failed(&self) -> impl Fn(sqlx::Error) -> SessionStoreError + use<> {
        failed(self.action)
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.tx
    }

    pub(super) async fn commit(self) -> Result<(), SessionStoreError> {
        self.tx.commit().await.map_err(failed(self.action))
    }

    pub(super) async fn load(&mut self, id: UploadId) -> Result<Record, SessionStoreError> {
        let row = sqlx::query("select * from sessions where upload_id = $1")
            .bind(id.to_string())
            .fetch_optional(&mut *self.tx)
            .await
            .map_err(self.failed())?
            .ok_or_else(unknown(id))?;
        Record::read(&row)
    }

    /// The session, if `fence` is its newest and its lease was not given up. A lease that ran out and that nobody
    /// took over still counts: nobody else can have done anything meanwhile.
    pub(super) async fn load_leased(
        &mut self,
        id: UploadId,
        fence: Fence,
    ) -> Result<Option<Record>, SessionStoreError> {
        let record = self.load(id).await?;
        Ok((record.fence == fence && record.lease.is_some()).then_some(record))
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
        let saved = sqlx::query(
            "update sessions set state = $1, reason = $2, detail = $3, overrides = $4, policy = $5, attempts = $6, \
             fence = $7, lease_worker = $8, lease_until_ms = $9, source_version = $10, source_etag = $11, \
             source_size = $12, source_sha256 = $13, source_type = $14, published_bucket = $15, \
             published_key = $16, published_sha256 = $17, published_size = $18, published_type = $19, \
             updated_at_ms = $20 where upload_id = $21 and fence <= $7",
        )
        .bind(session.state.name().as_str())
        .bind(session.state.reason().map(Reason::code))
        .bind(&session.detail)
        .bind(overrides)
        .bind(&record.policy)
        .bind(i64::from(session.attempts))
        .bind(record.fence.0)
        .bind(record.lease.as_ref().map(|lease| lease.worker.as_str()))
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
        .bind(session.updated_at.as_millisecond())
        .bind(session.upload_id.to_string())
        .execute(&mut *self.tx)
        .await
        .map_err(self.failed())?;
        if saved.rows_affected() == 1 {
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
        sqlx::query(
            "insert into audit (upload_id, at_ms, actor, action, from_state, to_state, reason, detail) \
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(session.upload_id.to_string())
        .bind(self.now_ms)
        .bind(actor)
        .bind(action)
        .bind(from.map(StateName::as_str))
        .bind(session.state.name().as_str())
        .bind(session.state.reason().map(Reason::code))
        .bind(detail)
        .execute(&mut *self.tx)
        .await
        .map_err(self.failed())?;
        Ok(())
    }

    /// Puts an item into the outbox.
    pub(super) async fn announce(
        &mut self,
        id: UploadId,
        kind: OutboxKind,
        payload: String,
    ) -> Result<(), SessionStoreError> {
        sqlx::query("insert into outbox (upload_id, kind, payload, created_at_ms) values ($1, $2, $3, $4)")
            .bind(id.to_string())
            .bind(kind_name(kind))
            .bind(payload)
            .bind(self.now_ms)
            .execute(&mut *self.tx)
            .await
            .map_err(self.failed())?;
        Ok(())
    }

    /// The scanners' answers that the attempt with this fence wrote.
    pub(super) async fn reports(&mut self, id: UploadId, fence: Fence) -> Result<Vec<ScanReport>, SessionStoreError> {
        let rows = sqlx::query("select report from verdicts where upload_id = $1 and fence = $2 order by id")
            .bind(id.to_string())
            .bind(fence.0)
            .fetch_all(&mut *self.tx)
            .await
            .map_err(self.failed())?;
        rows.iter().map(|row| from_json(&get::<String>(row, "report")?)).collect()
    }
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
