//! The store: which operation goes to which connection.

mod attempt;
mod lists;
mod outbox;
mod read;
mod recheck;
mod record;
mod steer;
mod sweep;
mod verdict;
mod write;

use std::time::Duration;

use async_trait::async_trait;
use lazaret_core::{
    BucketName, Fence, ListEntry, ListEntryId, NewListEntry, NewSession, ObjectEvent, ObjectKey, ScanReport, Session,
    Sha256Digest, StateName, Timestamp, UploadId, WorkerId,
    ports::{
        Begun, EarlierScan, History, ListStore, OutboxItem, OutboxKind, Recheck, Revocation, SessionStore,
        SessionStoreError, Settled, Settlement,
    },
};
use record::Record;
use sqlx::AnyPool;
use write::Write;

use crate::{
    call::Call,
    connect::{StoreOptions, Target},
    dialect::Dialect,
    error::failed,
    schema,
};

/// A [`SessionStore`] on SQLite or PostgreSQL.
///
/// On SQLite one connection writes: writers of this process queue for it in order and only meet writers of other
/// processes at the database's own lock. A database in memory has this one connection and nothing else. On PostgreSQL
/// there is one pool, and writers meet at the rows they change.
#[derive(Debug, Clone)]
pub struct SqlSessionStore {
    dialect: Dialect,
    timeout: Duration,
    writers: AnyPool,
    readers: AnyPool,
}

impl SqlSessionStore {
    /// Opens the database at `url`: `sqlite:/path/to/file`, `sqlite::memory:` or `postgres://user@host:port/database`.
    /// It must have been migrated, else [`SessionStoreError::NotMigrated`]; a database in memory is empty by nature and
    /// migrated here.
    pub async fn open(url: &str, options: &StoreOptions) -> Result<Self, SessionStoreError> {
        let target = Target::of(url)?;
        let StoreOptions { timeout, connections } = *options;
        let dialect = target.dialect;
        if dialect == Dialect::Postgres {
            let pool = target.pool(connections, timeout).await?;
            let store = Self { dialect, timeout, readers: pool.clone(), writers: pool };
            schema::verify(&mut store.call("open the database").await?).await?;
            return Ok(store);
        }
        if !target.in_memory && !tokio::fs::try_exists(&target.place).await.unwrap_or(true) {
            return Err(SessionStoreError::NotMigrated { detail: format!("there is no file {}", target.place) });
        }
        let writers = target.pool(1, timeout).await?;
        if target.in_memory {
            let mut connection = writers.acquire().await.map_err(failed("open the database"))?;
            schema::upgrade(&mut connection, dialect).await?;
            return Ok(Self { dialect, timeout, readers: writers.clone(), writers });
        }
        schema::verify(&mut Call::acquire(&writers, dialect, "open the database", timeout).await?).await?;
        let readers = target.pool(connections, timeout).await?;
        Ok(Self { dialect, timeout, writers, readers })
    }

    /// Closes every connection, after the work in progress.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }

    /// Ends every lease, as if the time of each were over, so that what a killed process was working on can be begun
    /// again at once. The attempts stay counted. Returns how many leases there were.
    ///
    /// Only where nobody else can hold a lease: a live worker would lose what it is working on.
    pub async fn abandon_leases(&self) -> Result<u64, SessionStoreError> {
        attempt::abandon_all(self.write("abandon leases").await?).await
    }

    /// The schema version that this program reads and writes, and that an open database has.
    pub fn schema_version(&self) -> i64 {
        schema::version(self.dialect)
    }

    /// A connection that reads.
    async fn call(&self, action: &'static str) -> Result<Call, SessionStoreError> {
        Call::acquire(&self.readers, self.dialect, action, self.timeout).await
    }

    /// A transaction that writes.
    async fn write(&self, action: &'static str) -> Result<Write, SessionStoreError> {
        Write::begin(Call::acquire(&self.writers, self.dialect, action, self.timeout).await?).await
    }

    /// A transaction that holds one session.
    async fn hold(&self, action: &'static str, id: UploadId) -> Result<(Write, Record), SessionStoreError> {
        Write::begin_on(Call::acquire(&self.writers, self.dialect, action, self.timeout).await?, id).await
    }
}

#[async_trait]
impl SessionStore for SqlSessionStore {
    async fn now(&self) -> Result<Timestamp, SessionStoreError> {
        read::now(self.call("read the clock").await?).await
    }

    async fn create(&self, new: &NewSession) -> Result<Session, SessionStoreError> {
        steer::create(self.write("create a session").await?, new).await
    }

    async fn get(&self, id: UploadId) -> Result<Option<Session>, SessionStoreError> {
        read::by_id(self.call("get a session").await?, id).await
    }

    async fn find(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Option<Session>, SessionStoreError> {
        read::by_key(self.call("find a session").await?, bucket, key).await
    }

    async fn list(
        &self,
        state: Option<StateName>,
        after: Option<UploadId>,
        limit: u32,
    ) -> Result<Vec<Session>, SessionStoreError> {
        read::list(self.call("list sessions").await?, state, after, limit).await
    }

    async fn history(&self, id: UploadId) -> Result<History, SessionStoreError> {
        read::history(self.call("read a history").await?, id).await
    }

    async fn mark_uploaded(&self, id: UploadId, actor: &str) -> Result<Session, SessionStoreError> {
        steer::mark_uploaded(self.hold("mark a session uploaded", id).await?, actor).await
    }

    async fn finalize(&self, id: UploadId, actor: &str) -> Result<Session, SessionStoreError> {
        steer::finalize(self.hold("finalize a session", id).await?, actor).await
    }

    async fn release(&self, id: UploadId, actor: &str) -> Result<Session, SessionStoreError> {
        steer::release(self.hold("release a session", id).await?, actor).await
    }

    async fn reject_held(&self, id: UploadId, actor: &str) -> Result<Session, SessionStoreError> {
        steer::reject_held(self.hold("reject a held session", id).await?, actor).await
    }

    async fn begin_attempt(
        &self,
        id: UploadId,
        worker: &WorkerId,
        lease: Duration,
        max_attempts: u32,
        finalize: bool,
    ) -> Result<Begun, SessionStoreError> {
        attempt::begin(self.hold("begin an attempt", id).await?, worker, lease, max_attempts, finalize).await
    }

    async fn renew_lease(&self, id: UploadId, fence: Fence, lease: Duration) -> Result<bool, SessionStoreError> {
        attempt::renew(self.hold("renew a lease", id).await?, fence, lease).await
    }

    async fn give_back(&self, id: UploadId, fence: Fence, why: &str) -> Result<(), SessionStoreError> {
        attempt::abandon(self.hold("give an attempt back", id).await?, fence, true, why).await
    }

    async fn fail_attempt(&self, id: UploadId, fence: Fence, error: &str) -> Result<(), SessionStoreError> {
        attempt::abandon(self.hold("fail an attempt", id).await?, fence, false, error).await
    }

    async fn settle(&self, id: UploadId, fence: Fence, settlement: &Settlement) -> Result<Settled, SessionStoreError> {
        attempt::settle(self.hold("settle a session", id).await?, fence, settlement).await
    }

    async fn revoke(&self, id: UploadId, actor: &str, why: &Revocation) -> Result<Session, SessionStoreError> {
        recheck::revoke(self.hold("revoke a session", id).await?, actor, why).await
    }

    async fn record_recheck(&self, id: UploadId, actor: &str, found: &Recheck) -> Result<bool, SessionStoreError> {
        recheck::record_recheck(self.hold("record a recheck", id).await?, actor, found).await
    }

    async fn count(&self, state: StateName, since: Option<Timestamp>) -> Result<u64, SessionStoreError> {
        read::count(self.call("count sessions").await?, state, since).await
    }

    async fn withdrawable(
        &self,
        within: Duration,
        after: Option<&Session>,
        limit: u32,
    ) -> Result<Vec<Session>, SessionStoreError> {
        recheck::withdrawable(self.call("list revoked sessions").await?, within, after, limit).await
    }

    async fn record_published_deleted(&self, id: UploadId) -> Result<(), SessionStoreError> {
        recheck::record_published_deleted(self.write("record deleted copies").await?, id).await
    }

    async fn earlier_scan(
        &self,
        wanted: &EarlierScan<'_>,
    ) -> Result<Option<(UploadId, ScanReport)>, SessionStoreError> {
        verdict::earlier(self.call("look for an earlier scan").await?, wanted).await
    }

    async fn record_original_deleted(&self, id: UploadId) -> Result<(), SessionStoreError> {
        sweep::record_original_deleted(self.write("record a deleted original").await?, id).await
    }

    async fn overdue(&self, limit: u32) -> Result<Vec<Session>, SessionStoreError> {
        sweep::overdue(self.call("list overdue sessions").await?, limit).await
    }

    async fn expire(&self, seen: &Session) -> Result<bool, SessionStoreError> {
        sweep::expire(self.hold("expire a session", seen.upload_id).await?, seen).await
    }

    async fn removable(&self, retain_rejected: Duration, limit: u32) -> Result<Vec<Session>, SessionStoreError> {
        sweep::removable(self.call("list removable originals").await?, retain_rejected, limit).await
    }

    async fn contested(
        &self,
        within: Duration,
        after: Option<&Session>,
        limit: u32,
    ) -> Result<Vec<Session>, SessionStoreError> {
        sweep::contested(self.call("list contested sessions").await?, within, after, limit).await
    }

    async fn record_orphan(&self, event: &ObjectEvent) -> Result<(), SessionStoreError> {
        sweep::record_orphan(self.write("record an orphan").await?, event).await
    }

    async fn record_orphan_swept(&self, bucket: &BucketName, key: &ObjectKey) -> Result<(), SessionStoreError> {
        sweep::record_orphan_swept(self.write("record a swept orphan").await?, bucket, key).await
    }

    async fn request_processing(&self, id: UploadId) -> Result<bool, SessionStoreError> {
        outbox::request_processing(self.hold("request the processing of a session", id).await?).await
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
        schema::verify(write.call()).await?;
        write.prove().await?;
        write.commit().await
    }
}

#[async_trait]
impl ListStore for SqlSessionStore {
    async fn add(&self, new: &NewListEntry) -> Result<ListEntry, SessionStoreError> {
        lists::add(self.write("add a list entry").await?, new).await
    }

    async fn remove(&self, id: ListEntryId, by: &str) -> Result<Option<ListEntry>, SessionStoreError> {
        lists::remove(self.write("remove a list entry").await?, id, by).await
    }

    async fn entries(
        &self,
        all: bool,
        after: Option<ListEntryId>,
        limit: u32,
    ) -> Result<Vec<ListEntry>, SessionStoreError> {
        lists::entries(self.call("show list entries").await?, all, after, limit).await
    }

    async fn matching(
        &self,
        digests: &[Sha256Digest],
        signatures: &[String],
    ) -> Result<Vec<ListEntry>, SessionStoreError> {
        lists::matching(self.call("ask the lists").await?, digests, signatures).await
    }
}
