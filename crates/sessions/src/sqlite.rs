//! Sessions in one SQLite file, shared by all processes of one machine.

mod attempt;
mod outbox;
mod read;
mod record;
mod schema;
mod steer;
mod sweep;
mod write;

use std::{str::FromStr, time::Duration};

use async_trait::async_trait;
use lazaret_core::{
    BucketName, Fence, NewSession, ObjectEvent, ObjectKey, Session, StateName, Timestamp, UploadId, WorkerId,
    ports::{Begun, History, OutboxItem, OutboxKind, SessionStore, SessionStoreError, Settled, Settlement},
};
pub use schema::MigrationReport;
use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::Instant;
use write::Write;

use crate::error::{OpenError, failed};

/// How the database is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How long a writer waits for other writers, in this process and in others, before it gives up.
    pub busy_timeout: Duration,
    /// How many readers work at once. There is one writer.
    pub readers: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { busy_timeout: Duration::from_secs(10), readers: 4 }
    }
}

/// A [`SessionStore`] on SQLite.
///
/// One connection writes: writers of this process queue for it in order and only meet writers of other processes at
/// the database's own lock. A database in memory has this one connection and nothing else.
#[derive(Debug, Clone)]
pub struct SqliteSessionStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Creates the database at `url` if it is missing and brings its schema up to date. Several may do so at once.
pub async fn migrate(url: &str) -> Result<MigrationReport, SessionStoreError> {
    let options = SqliteOptions::default();
    let connect = connect_options(url, &options)?.create_if_missing(true);
    let mut connection = open_for_migration(&connect, options.busy_timeout).await?;
    let report = schema::upgrade(&mut connection).await?;
    connection.close().await.map_err(failed("close the database"))?;
    Ok(report)
}

impl SqliteSessionStore {
    /// Opens the database at `url`: `sqlite:/path/to/file` or `sqlite::memory:`. A file must have been migrated, else
    /// [`SessionStoreError::NotMigrated`]; a database in memory is empty by nature and migrated here.
    pub async fn open(url: &str, options: &SqliteOptions) -> Result<Self, SessionStoreError> {
        let connect = connect_options(url, options)?;
        let path = connect.get_filename().to_owned();
        let memory = in_memory(url);
        if !memory && !tokio::fs::try_exists(&path).await.unwrap_or(true) {
            return Err(SessionStoreError::NotMigrated { detail: format!("there is no file {}", path.display()) });
        }
        // A database in memory lives as long as its connection: it is kept whatever happens.
        let pool = SqlitePoolOptions::new().acquire_timeout(options.busy_timeout).idle_timeout(None).max_lifetime(None);
        let open = |error| SessionStoreError::Unavailable {
            action: "open the database",
            source: Box::new(OpenError { path: path.clone(), source: error }),
        };
        let writer = pool.clone().max_connections(1).connect_with(connect.clone()).await.map_err(&open)?;
        let mut connection = writer.acquire().await.map_err(&open)?;
        if memory {
            schema::upgrade(&mut connection).await?;
            drop(connection);
            return Ok(Self { readers: writer.clone(), writer });
        }
        schema::verify(&mut connection).await?;
        drop(connection);
        let readers = pool.max_connections(options.readers.max(1)).connect_with(connect).await.map_err(&open)?;
        Ok(Self { writer, readers })
    }

    /// Closes every connection, after the work in progress.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Ends every lease, as if the time of each were over, so that what a killed process was working on can be begun
    /// again at once. The attempts stay counted. Returns how many leases there were.
    ///
    /// Only where nobody else can hold a lease: a live worker would lose what it is working on.
    pub async fn abandon_leases(&self) -> Result<u64, SessionStoreError> {
        attempt::abandon_all(self.write("abandon leases").await?).await
    }

    async fn write(&self, action: &'static str) -> Result<Write, SessionStoreError> {
        Write::begin(&self.writer, action).await
    }
}

fn connect_options(url: &str, options: &SqliteOptions) -> Result<SqliteConnectOptions, SessionStoreError> {
    Ok(SqliteConnectOptions::from_str(url)
        .map_err(failed("read the database URL"))?
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // In WAL mode only FULL syncs each commit: an attempt or a verdict must outlive a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(options.busy_timeout)
        .disable_statement_logging())
}

fn in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// Turning a new file to WAL needs it alone, and SQLite does not wait for that: this does.
async fn open_for_migration(
    connect: &SqliteConnectOptions,
    timeout: Duration,
) -> Result<SqliteConnection, SessionStoreError> {
    let deadline = Instant::now() + timeout;
    loop {
        match connect.connect().await {
            Ok(connection) => return Ok(connection),
            Err(sqlx::Error::Database(error)) if is_busy(&*error) && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(source) => {
                let path = connect.get_filename().to_owned();
                let source = Box::new(OpenError { path, source });
                return Err(SessionStoreError::Unavailable { action: "open the database", source });
            }
        }
    }
}

/// `SQLITE_BUSY` (5) and `SQLITE_LOCKED` (6), also in their extended forms (<https://www.sqlite.org/rescode.html>).
fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

#[async_trait]
impl SessionStore for SqliteSessionStore {
    async fn now(&self) -> Result<Timestamp, SessionStoreError> {
        read::now(&self.readers).await
    }

    async fn create(&self, new: &NewSession) -> Result<Session, SessionStoreError> {
        steer::create(self.write("create a session").await?, new).await
    }

    async fn get(&self, id: UploadId) -> Result<Option<Session>, SessionStoreError> {
        read::by_id(&self.readers, id).await
    }

    async fn find(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Option<Session>, SessionStoreError> {
        read::by_key(&self.readers, bucket, key).await
    }

    async fn list(
        &self,
        state: Option<StateName>,
        after: Option<UploadId>,
        limit: u32,
    ) -> Result<Vec<Session>, SessionStoreError> {
        read::list(&self.readers, state, after, limit).await
    }

    async fn history(&self, id: UploadId) -> Result<History, SessionStoreError> {
        read::history(&self.readers, id).await
    }

    async fn mark_uploaded(&self, id: UploadId, actor: &str) -> Result<Session, SessionStoreError> {
        steer::mark_uploaded(self.write("mark a session uploaded").await?, id, actor).await
    }

    async fn finalize(&self, id: UploadId, actor: &str) -> Result<Session, SessionStoreError> {
        steer::finalize(self.write("finalize a session").await?, id, actor).await
    }

    async fn release(&self, id: UploadId, actor: &str) -> Result<Session, SessionStoreError> {
        steer::release(self.write("release a session").await?, id, actor).await
    }

    async fn reject_held(&self, id: UploadId, actor: &str) -> Result<Session, SessionStoreError> {
        steer::reject_held(self.write("reject a held session").await?, id, actor).await
    }

    async fn begin_attempt(
        &self,
        id: UploadId,
        worker: &WorkerId,
        lease: Duration,
        max_attempts: u32,
        finalize: bool,
    ) -> Result<Begun, SessionStoreError> {
        attempt::begin(self.write("begin an attempt").await?, id, worker, lease, max_attempts, finalize).await
    }

    async fn renew_lease(&self, id: UploadId, fence: Fence, lease: Duration) -> Result<bool, SessionStoreError> {
        attempt::renew(self.write("renew a lease").await?, id, fence, lease).await
    }

    async fn give_back(&self, id: UploadId, fence: Fence, why: &str) -> Result<(), SessionStoreError> {
        attempt::abandon(self.write("give an attempt back").await?, id, fence, true, why).await
    }

    async fn fail_attempt(&self, id: UploadId, fence: Fence, error: &str) -> Result<(), SessionStoreError> {
        attempt::abandon(self.write("fail an attempt").await?, id, fence, false, error).await
    }

    async fn settle(&self, id: UploadId, fence: Fence, settlement: &Settlement) -> Result<Settled, SessionStoreError> {
        attempt::settle(self.write("settle a session").await?, id, fence, settlement).await
    }

    async fn record_original_deleted(&self, id: UploadId) -> Result<(), SessionStoreError> {
        sweep::record_original_deleted(self.write("record a deleted original").await?, id).await
    }

    async fn overdue(&self, limit: u32) -> Result<Vec<Session>, SessionStoreError> {
        sweep::overdue(&self.readers, limit).await
    }

    async fn expire(&self, seen: &Session) -> Result<bool, SessionStoreError> {
        sweep::expire(self.write("expire a session").await?, seen).await
    }

    async fn removable(&self, retain_rejected: Duration, limit: u32) -> Result<Vec<Session>, SessionStoreError> {
        sweep::removable(&self.readers, retain_rejected, limit).await
    }

    async fn record_orphan(&self, event: &ObjectEvent) -> Result<(), SessionStoreError> {
        sweep::record_orphan(self.write("record an orphan").await?, event).await
    }

    async fn record_orphan_swept(&self, bucket: &BucketName, key: &ObjectKey) -> Result<(), SessionStoreError> {
        sweep::record_orphan_swept(self.write("record a swept orphan").await?, bucket, key).await
    }

    async fn request_processing(&self, id: UploadId) -> Result<bool, SessionStoreError> {
        outbox::request_processing(self.write("request the processing of a session").await?, id).await
    }

    async fn claim_outbox(
        &self,
        kind: OutboxKind,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<OutboxItem>, SessionStoreError> {
        outbox::claim(self.write("claim outbox items").await?, kind, limit, lease).await
    }

    async fn complete_outbox(&self, ids: &[i64]) -> Result<(), SessionStoreError> {
        outbox::complete(self.write("complete outbox items").await?, ids).await
    }

    async fn check(&self) -> Result<(), SessionStoreError> {
        let mut write = self.write("check the database").await?;
        schema::verify(write.connection()).await?;
        let failed = write.failed();
        sqlx::query("update health set checked_at_ms = $1")
            .bind(write.now_ms())
            .execute(write.connection())
            .await
            .map_err(failed)?;
        write.commit().await
    }
}
