//! Ports around ports: one chosen call fails, or never returns as in a process that died, before or after its effect.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use lazaret_core::{
    BucketName, Fence, ListEntry, ListEntryId, MediaType, NewListEntry, NewSession, ObjectEvent, ObjectKey, Prefix,
    PublishedKey, ScanReport, Session, Sha256Digest, Spooled, StateName, Timestamp, UploadId, VersionId, WorkerId,
    ports::{
        Begun, Delivery, DeliveryTag, EarlierScan, EventSink, History, ListFrom, ListStore, Listed, ListedUpload,
        ObjectHead, ObjectStore, OutboxItem, OutboxKind, Page, PublishRequest, Queue, QueueError, ReadBack, Recheck,
        Revocation, SessionStore, SessionStoreError, Settled, Settlement, SinkError, StoreError, VerdictEvent,
    },
};
use lazaret_testkit::objects::Effect;
use tokio::{sync::Notify, task::JoinSet};

/// How the chosen call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With an error.
    Fails,
    /// Not at all: the process is killed meanwhile.
    Dies,
}

/// The call that is struck: the `nth` of its operation, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) operation: &'static str,
    pub(crate) nth: usize,
    pub(crate) side: Effect,
    pub(crate) end: End,
}

/// Counts calls, and strikes one.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    strike: Option<Strike>,
    calls: Mutex<BTreeMap<&'static str, usize>>,
    down: AtomicBool,
    claims: OnceLock<Duration>,
    /// The operation that fails each time, the others being as they are.
    broken: OnceLock<&'static str>,
    is_late: AtomicBool,
    late: Mutex<JoinSet<()>>,
    pub(crate) died: Notify,
}

impl Faults {
    pub(crate) fn new(strike: Option<Strike>) -> Arc<Self> {
        Arc::new(Self { strike, ..Self::default() })
    }

    /// Every call fails before its effect, or none.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Outbox items are claimed for this long, whatever was asked for.
    pub(crate) fn shorten_claims(&self, length: Duration) {
        self.claims.set(length).unwrap();
    }

    /// Every call of this operation fails before its effect.
    pub(crate) fn break_down(&self, operation: &'static str) {
        self.broken.set(operation).unwrap();
    }

    /// The next attempt is begun while its caller is told already that it could not be.
    pub(crate) fn answer_too_early(&self) {
        self.is_late.store(true, Ordering::SeqCst);
    }

    /// How often each operation was called.
    pub(crate) fn calls(&self) -> BTreeMap<&'static str, usize> {
        self.calls.lock().unwrap().clone()
    }

    async fn around<T, E>(
        &self,
        operation: &'static str,
        error: impl Fn() -> E,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let nth = {
            let mut calls = self.calls.lock().unwrap();
            let count = calls.entry(operation).or_default();
            *count += 1;
            *count - 1
        };
        if self.down.load(Ordering::SeqCst) || self.broken.get() == Some(&operation) {
            return Err(error());
        }
        let struck = self.strike.filter(|strike| strike.operation == operation && strike.nth == nth);
        let Some(strike) = struck else { return call.await };
        if strike.side == Effect::After {
            drop(call.await);
        }
        match strike.end {
            End::Fails => Err(error()),
            End::Dies => {
                self.died.notify_one();
                std::future::pending().await
            }
        }
    }
}

/// A port with faults.
pub(crate) struct Faulty<P: ?Sized> {
    pub(crate) faults: Arc<Faults>,
    pub(crate) inner: Arc<P>,
}

impl<P: ?Sized> Faulty<P> {
    pub(crate) fn new(faults: &Arc<Faults>, inner: Arc<P>) -> Arc<Self> {
        Arc::new(Self { faults: Arc::clone(faults), inner })
    }
}

macro_rules! faulty {
    ($port:ident, $error:expr, { $(fn $operation:ident($($name:ident: $type:ty),* $(,)?) -> $out:ty;)+ } $($plain:item)*) => {
        #[async_trait]
        impl $port for Faulty<dyn $port> {
            $(async fn $operation(&self, $($name: $type),*) -> $out {
                self.faults.around(stringify!($operation), $error, self.inner.$operation($($name),*)).await
            })+
            $($plain)*
        }
    };
}

fn session_error() -> SessionStoreError {
    SessionStoreError::Unavailable { action: "be struck", source: "injected fault".into() }
}

faulty!(SessionStore, session_error, {
    fn now() -> Result<Timestamp, SessionStoreError>;
    fn create(new: &NewSession) -> Result<Session, SessionStoreError>;
    fn get(id: UploadId) -> Result<Option<Session>, SessionStoreError>;
    fn find(bucket: &BucketName, key: &ObjectKey) -> Result<Option<Session>, SessionStoreError>;
    fn list(state: Option<StateName>, after: Option<UploadId>, limit: u32) -> Result<Vec<Session>, SessionStoreError>;
    fn history(id: UploadId) -> Result<History, SessionStoreError>;
    fn mark_uploaded(id: UploadId, actor: &str) -> Result<Session, SessionStoreError>;
    fn finalize(id: UploadId, actor: &str) -> Result<Session, SessionStoreError>;
    fn release(id: UploadId, actor: &str) -> Result<Session, SessionStoreError>;
    fn reject_held(id: UploadId, actor: &str) -> Result<Session, SessionStoreError>;
    fn renew_lease(id: UploadId, fence: Fence, lease: Duration) -> Result<bool, SessionStoreError>;
    fn give_back(id: UploadId, fence: Fence, why: &str) -> Result<(), SessionStoreError>;
    fn fail_attempt(id: UploadId, fence: Fence, error: &str) -> Result<(), SessionStoreError>;
    fn settle(id: UploadId, fence: Fence, settlement: &Settlement) -> Result<Settled, SessionStoreError>;
    fn record_original_deleted(id: UploadId) -> Result<(), SessionStoreError>;
    fn overdue(limit: u32) -> Result<Vec<Session>, SessionStoreError>;
    fn expire(seen: &Session) -> Result<bool, SessionStoreError>;
    fn removable(retain_rejected: Duration, limit: u32) -> Result<Vec<Session>, SessionStoreError>;
    fn contested(within: Duration, after: Option<&Session>, limit: u32) -> Result<Vec<Session>, SessionStoreError>;
    fn record_orphan(event: &ObjectEvent) -> Result<(), SessionStoreError>;
    fn record_orphan_swept(bucket: &BucketName, key: &ObjectKey) -> Result<(), SessionStoreError>;
    fn revoke(id: UploadId, actor: &str, why: &Revocation) -> Result<Session, SessionStoreError>;
    fn record_recheck(id: UploadId, actor: &str, found: &Recheck) -> Result<bool, SessionStoreError>;
    fn count(state: StateName, since: Option<Timestamp>) -> Result<u64, SessionStoreError>;
    fn withdrawable(within: Duration, after: Option<&Session>, limit: u32) -> Result<Vec<Session>, SessionStoreError>;
    fn record_published_deleted(id: UploadId) -> Result<(), SessionStoreError>;
    fn earlier_scan(wanted: &EarlierScan<'_>) -> Result<Option<(UploadId, ScanReport)>, SessionStoreError>;
    fn request_processing(id: UploadId) -> Result<bool, SessionStoreError>;
    fn complete_outbox(ids: &[i64]) -> Result<(), SessionStoreError>;
    fn check() -> Result<(), SessionStoreError>;
}
async fn begin_attempt(
    &self,
    id: UploadId,
    worker: &WorkerId,
    lease: Duration,
    max_attempts: u32,
    finalize: bool,
) -> Result<Begun, SessionStoreError> {
    if self.faults.is_late.swap(false, Ordering::SeqCst) {
        let (inner, worker) = (Arc::clone(&self.inner), worker.clone());
        let mut under_way =
            Box::pin(async move { drop(inner.begin_attempt(id, &worker, lease, max_attempts, finalize).await) });
        assert!(futures_util::poll!(&mut under_way).is_pending());
        self.faults.late.lock().unwrap().spawn(under_way);
        return Err(session_error());
    }
    let begun = self.inner.begin_attempt(id, worker, lease, max_attempts, finalize);
    self.faults.around("begin_attempt", session_error, begun).await
}
async fn claim_outbox(
    &self,
    kind: OutboxKind,
    limit: u32,
    lease: Duration,
) -> Result<Vec<OutboxItem>, SessionStoreError> {
    let lease = self.faults.claims.get().copied().unwrap_or(lease);
    self.faults.around("claim_outbox", session_error, self.inner.claim_outbox(kind, limit, lease)).await
});

faulty!(ListStore, session_error, {
    fn add(new: &NewListEntry) -> Result<ListEntry, SessionStoreError>;
    fn remove(id: ListEntryId, by: &str) -> Result<Option<ListEntry>, SessionStoreError>;
    fn entries(all: bool, after: Option<ListEntryId>, limit: u32) -> Result<Vec<ListEntry>, SessionStoreError>;
    fn matching(digests: &[Sha256Digest], signatures: &[String]) -> Result<Vec<ListEntry>, SessionStoreError>;
});

fn store_error() -> StoreError {
    StoreError::Unavailable { action: "strike", object: "an object".to_owned(), source: "injected fault".into() }
}

faulty!(ObjectStore, store_error, {
    fn head(
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<Option<ObjectHead>, StoreError>;
    fn fetch(head: &ObjectHead) -> Result<Spooled, StoreError>;
    fn publish(request: &PublishRequest<'_>) -> Result<(), StoreError>;
    fn read_back(bucket: &BucketName, key: &PublishedKey) -> Result<Option<ReadBack>, StoreError>;
    fn delete(bucket: &BucketName, key: &ObjectKey, version: Option<&VersionId>) -> Result<(), StoreError>;
    fn versions(bucket: &BucketName, key: &ObjectKey) -> Result<Vec<VersionId>, StoreError>;
    fn list(bucket: &BucketName, prefix: &Prefix, from: ListFrom<'_>) -> Result<Page<Listed>, StoreError>;
    fn list_uploads(bucket: &BucketName, prefix: &Prefix, from: Option<&str>)
    -> Result<Page<ListedUpload>, StoreError>;
    fn abort_upload(bucket: &BucketName, upload: &ListedUpload) -> Result<(), StoreError>;
    fn presign_put(
        bucket: &BucketName,
        key: &ObjectKey,
        content_type: &MediaType,
        valid_for: Duration,
    ) -> Result<String, StoreError>;
    fn check(bucket: &BucketName) -> Result<(), StoreError>;
});

faulty!(EventSink, || SinkError::Unavailable { sink: "struck".to_owned(), source: "injected fault".into() }, {
    fn deliver(event: &VerdictEvent) -> Result<(), SinkError>;
});

/// Deliveries come back this soon, whatever was asked.
const SOON: Duration = Duration::from_millis(20);

/// The bus with faults, and without patience.
pub(crate) struct FaultyQueue {
    pub(crate) faults: Arc<Faults>,
    pub(crate) inner: Arc<dyn Queue>,
}

impl FaultyQueue {
    async fn around<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        let error = || QueueError::Unavailable { queue: "struck".to_owned(), source: "injected fault".into() };
        self.faults.around(operation, error, call).await
    }
}

#[async_trait]
impl Queue for FaultyQueue {
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        self.around("receive", self.inner.receive(max)).await
    }

    async fn acknowledge(&self, tag: &DeliveryTag) -> Result<(), QueueError> {
        self.around("acknowledge", self.inner.acknowledge(tag)).await
    }

    async fn retry_after(&self, tag: &DeliveryTag, delay: Duration) -> Result<(), QueueError> {
        self.around("retry_after", self.inner.retry_after(tag, delay.min(SOON))).await
    }

    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), QueueError> {
        self.around("dead_letter", self.inner.dead_letter(delivery, reason)).await
    }

    async fn extend(&self, tag: &DeliveryTag) -> Result<(), QueueError> {
        self.around("extend", self.inner.extend(tag)).await
    }

    async fn pause(&self) -> Result<(), QueueError> {
        self.around("pause", self.inner.pause()).await
    }

    async fn send(&self, body: &str) -> Result<(), QueueError> {
        self.around("send", self.inner.send(body)).await
    }

    fn visibility(&self) -> Option<Duration> {
        self.inner.visibility()
    }

    async fn check(&self) -> Result<(), QueueError> {
        self.around("check", self.inner.check()).await
    }
}
