use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use thiserror::Error;

use crate::{
    BucketName, Disposition, EngineVersion, Fence, HoldReason, InvalidTransition, NewSession, ObjectEvent, ObjectKey,
    PublishedObject, Reason, RejectReason, ScanReport, ScannerName, Session, Sha256Digest, SourceObject, StateName,
    Timestamp, UploadId, WorkerId, error::Cause,
};

/// How an attempt began, or why it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The lease is ours and the attempt is counted, durably.
    Leased {
        /// The session as it stands, finalized.
        session: Session,
        /// What every later write must carry.
        fence: Fence,
        /// Which attempt this is, from 1.
        attempt: u32,
    },
    /// Another worker holds a live lease for this much longer.
    Busy {
        /// Until its lease ends, on the store's clock.
        remaining: Duration,
    },
    /// The session waits to be finalized.
    NotFinalized(Session),
    /// The session is published, rejected, held, expired or revoked.
    Settled(Session),
    /// The limit of attempts was reached before; the session is held by this very write.
    Exhausted(Exhausted),
}

/// A session that this write moved to `held / attempts-exhausted`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// The session, held.
    pub session: Session,
    /// How many attempts were counted.
    pub attempts: u32,
}

/// What the pipeline decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The safe copy was written and read back.
    Publish(PublishedObject),
    /// The bytes are not acceptable.
    Reject {
        /// The reason code.
        reason: RejectReason,
        /// What exactly, with the limit it broke.
        detail: String,
    },
    /// The bytes could not be checked whole.
    Hold {
        /// The reason code.
        reason: HoldReason,
        /// What exactly.
        detail: String,
    },
}

impl Decision {
    /// The state it leads to.
    pub const fn state(&self) -> StateName {
        match self {
            Self::Publish(_) => StateName::Published,
            Self::Reject { .. } => StateName::Rejected,
            Self::Hold { .. } => StateName::Held,
        }
    }

    /// The reason it carries, if any.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Publish(_) => None,
            Self::Reject { reason, .. } => Some(Reason::Rejected(*reason)),
            Self::Hold { reason, .. } => Some(Reason::Held(*reason)),
        }
    }
}

/// Everything one commit writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The decision.
    pub decision: Decision,
    /// Which quarantined bytes it is about. None only where they were never seen.
    pub source: Option<SourceObject>,
    /// The policy that matched, where one was reached.
    pub policy: Option<String>,
    /// Every scanner's answer.
    pub reports: Vec<ScanReport>,
}

/// What a later look at a published object found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recheck {
    /// The policy that was applied, where one was reached.
    pub policy: Option<String>,
    /// Digest of the bytes that were looked at.
    pub sha256: Sha256Digest,
    /// Every scanner's answer.
    pub reports: Vec<ScanReport>,
    /// In plain words, for the audit trail.
    pub detail: String,
}

/// A published object that is withdrawn for what was found in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The reason code.
    pub reason: RejectReason,
    /// What was found. Its detail says what exactly.
    pub found: Recheck,
}

/// An earlier scan that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlierScan<'a> {
    /// Of these bytes.
    pub sha256: &'a Sha256Digest,
    /// Under the policy of this name.
    pub policy: &'a str,
    /// By this scanner.
    pub scanner: &'a ScannerName,
    /// With this engine and these signatures. An engine that does not name its signatures has no earlier scans.
    pub engine: &'a EngineVersion,
    /// Less long ago than this.
    pub within: Duration,
}

/// Whether a fenced write took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It did.
    Committed(Box<Session>),
    /// The lease went to somebody else meanwhile: nothing changed.
    Stale,
}

/// One attempt in a session's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptRecord {
    /// Raised with every lease of this session.
    pub fence: Fence,
    /// Who took it.
    pub worker: WorkerId,
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended; none while it runs or after a crash.
    pub ended_at: Option<Timestamp>,
    /// How it ended: `committed`, `failed`, `given-back`, or none.
    pub result: Option<String>,
    /// What went wrong, where something did.
    pub error: Option<String>,
}

/// One line of the append-only audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// Who: a worker, `sweeper`, `rescan`, or an operator.
    pub actor: String,
    /// What happened, by its event name.
    pub action: String,
    /// The state before.
    pub from: Option<StateName>,
    /// The state after.
    pub to: StateName,
    /// The reason code, if any.
    pub reason: Option<Reason>,
    /// In plain words.
    pub detail: Option<String>,
}

/// The whole story of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct History {
    /// Scanners' answers, oldest first.
    pub verdicts: Vec<ScanReport>,
    /// Attempts, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// The audit trail, oldest first.
    pub audit: Vec<AuditRecord>,
}

/// What an outbox item is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutboxKind {
    /// A session was finalized or released without an object event: it is to be put on the queue.
    Process,
    /// A session was settled: the world is to be told.
    Verdict,
}

/// Something that was committed together with a state and must still be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxItem {
    /// Ascending; for one session in the order of commits.
    pub id: i64,
    /// The session it is about.
    pub upload_id: UploadId,
    /// What it is for.
    pub kind: OutboxKind,
    /// The event's body: JSON.
    pub payload: String,
}

/// Upload sessions, their leases, verdicts, audit trail and outbox.
///
/// * Time is the store's: no caller's clock decides about leases, expiry or retention.
/// * Every write that changes a state appends an audit record in the same transaction.
/// * A write with a fence changes nothing unless the fence is the newest and its lease has not been given up.
/// * Attempts are committed before `begin_attempt` returns.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// The store's clock.
    async fn now(&self) -> Result<Timestamp, SessionStoreError>;

    /// Makes a session. A second one with the same id or the same bucket and key is a [`SessionStoreError::Conflict`].
    async fn create(&self, new: &NewSession) -> Result<Session, SessionStoreError>;

    /// The session with this id.
    async fn get(&self, id: UploadId) -> Result<Option<Session>, SessionStoreError>;

    /// The session that this key was handed out for.
    async fn find(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Option<Session>, SessionStoreError>;

    /// Sessions by id, which is by age; `after` is the last one seen.
    async fn list(
        &self,
        state: Option<StateName>,
        after: Option<UploadId>,
        limit: u32,
    ) -> Result<Vec<Session>, SessionStoreError>;

    /// The whole story of one session. Empty for an unknown id.
    async fn history(&self, id: UploadId) -> Result<History, SessionStoreError>;

    /// `created → uploaded`; a session further on stays as it is.
    async fn mark_uploaded(&self, id: UploadId, actor: &str) -> Result<Session, SessionStoreError>;

    /// `created | uploaded → finalized`, with an [`OutboxKind::Process`] item. A finalized session stays as it is.
    async fn finalize(&self, id: UploadId, actor: &str) -> Result<Session, SessionStoreError>;

    /// `held → finalized` with the hold's reason recorded as overridden, the attempts counted anew and an
    /// [`OutboxKind::Process`] item. The source stays on record: the override is about those bytes.
    async fn release(&self, id: UploadId, actor: &str) -> Result<Session, SessionStoreError>;

    /// `held → rejected`.
    async fn reject_held(&self, id: UploadId, actor: &str) -> Result<Session, SessionStoreError>;

    /// Takes the lease, raises the fence and counts the attempt in one committed write. A session that is `created` or
    /// `uploaded` is finalized by the same write where `finalize` is true. With `max_attempts` already counted the
    /// session is held instead.
    async fn begin_attempt(
        &self,
        id: UploadId,
        worker: &WorkerId,
        lease: Duration,
        max_attempts: u32,
        finalize: bool,
    ) -> Result<Begun, SessionStoreError>;

    /// Extends the lease. False: it is somebody else's now.
    async fn renew_lease(&self, id: UploadId, fence: Fence, lease: Duration) -> Result<bool, SessionStoreError>;

    /// Ends the lease and takes the attempt back: it was not this object's fault. Nothing for a stale fence.
    async fn give_back(&self, id: UploadId, fence: Fence, why: &str) -> Result<(), SessionStoreError>;

    /// Ends the lease; the attempt stays counted. Nothing for a stale fence.
    async fn fail_attempt(&self, id: UploadId, fence: Fence, error: &str) -> Result<(), SessionStoreError>;

    /// New state, verdicts, audit record and outbox item in one fenced transaction.
    async fn settle(&self, id: UploadId, fence: Fence, settlement: &Settlement) -> Result<Settled, SessionStoreError>;

    /// `published → revoked`, with the verdicts that led to it. A revoked session stays as it is. The copies are to be
    /// deleted after this, and [`SessionStore::record_published_deleted`] after them.
    async fn revoke(&self, id: UploadId, actor: &str, why: &Revocation) -> Result<Session, SessionStoreError>;

    /// Adds verdicts, and an audit record, to a published session that stays published. False: it is published no more.
    async fn record_recheck(&self, id: UploadId, actor: &str, found: &Recheck) -> Result<bool, SessionStoreError>;

    /// How many sessions have been in this state since `since`, or at all.
    async fn count(&self, state: StateName, since: Option<Timestamp>) -> Result<u64, SessionStoreError>;

    /// Up to `limit` revoked sessions whose published copies are not recorded as deleted, or that were revoked less than
    /// `within` ago, so that a copy may still come late. The longest revoked first; `after` is the last one seen.
    async fn withdrawable(
        &self,
        within: Duration,
        after: Option<&Session>,
        limit: u32,
    ) -> Result<Vec<Session>, SessionStoreError>;

    /// The published copies of a revoked session are gone. Nothing for a session in another state.
    async fn record_published_deleted(&self, id: UploadId) -> Result<(), SessionStoreError>;

    /// The newest scan like this one, if it was made for an upload without overrides, of its own and not taken from an
    /// earlier one, and said *clean* without the help of an allow list.
    async fn earlier_scan(&self, wanted: &EarlierScan<'_>)
    -> Result<Option<(UploadId, ScanReport)>, SessionStoreError>;

    /// The quarantined original of a settled session is gone.
    async fn record_original_deleted(&self, id: UploadId) -> Result<(), SessionStoreError>;

    /// Up to `limit` sessions not settled whose `expires_at` has passed and that no live lease protects, the longest
    /// overdue first.
    async fn overdue(&self, limit: u32) -> Result<Vec<Session>, SessionStoreError>;

    /// `created | uploaded | finalized → expired`, if the session is still as `seen` and no live lease protects it. False: it moved.
    async fn expire(&self, seen: &Session) -> Result<bool, SessionStoreError>;

    /// Up to `limit` settled sessions whose original is still recorded as present and may go: published, revoked and
    /// expired ones at once, rejected ones after `retain_rejected`.
    async fn removable(&self, retain_rejected: Duration, limit: u32) -> Result<Vec<Session>, SessionStoreError>;

    /// Up to `limit` settled sessions that have an attempt without a commit and that changed their state less than `within`
    /// ago, the longest settled first; `after` is the last one seen. What such an attempt began may take effect late.
    async fn contested(
        &self,
        within: Duration,
        after: Option<&Session>,
        limit: u32,
    ) -> Result<Vec<Session>, SessionStoreError>;

    /// Remembers an object that no session asked for. Repeating it changes nothing.
    async fn record_orphan(&self, event: &ObjectEvent) -> Result<(), SessionStoreError>;

    /// The orphan was deleted.
    async fn record_orphan_swept(&self, bucket: &BucketName, key: &ObjectKey) -> Result<(), SessionStoreError>;

    /// Puts an [`OutboxKind::Process`] item into the outbox for a session that is not settled, that no live lease
    /// protects and that has no such item yet. False: there is nothing to ask for. The state stays as it is.
    async fn request_processing(&self, id: UploadId) -> Result<bool, SessionStoreError>;

    /// Claims up to `limit` outbox items of one kind for `lease`, oldest first. Nobody else gets them meanwhile, nor a
    /// later item of the same session: what is claimed at the same time is one caller's, in its order.
    async fn claim_outbox(
        &self,
        kind: OutboxKind,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<OutboxItem>, SessionStoreError>;

    /// The items are done and removed.
    async fn complete_outbox(&self, ids: &[i64]) -> Result<(), SessionStoreError>;

    /// Asks the database whether it is there, migrated and writable.
    async fn check(&self) -> Result<(), SessionStoreError>;
}

/// Why the session store could not do what was asked.
#[derive(Debug, Error)]
pub enum SessionStoreError {
    /// The database is out of reach, busy for too long, or full.
    #[error("session database is unavailable: {action}")]
    Unavailable {
        /// What was asked.
        action: &'static str,
        /// What the client library said.
        #[source]
        source: Cause,
    },
    /// There is no such session.
    #[error("there is no session {id}")]
    NotFound {
        /// The id.
        id: UploadId,
    },
    /// A session with this id or key exists already.
    #[error("a session with this id or key exists already: {id}")]
    Conflict {
        /// The id.
        id: UploadId,
    },
    /// The session's state does not allow it.
    #[error(transparent)]
    Transition(#[from] InvalidTransition),
    /// A row does not hold what this program writes.
    #[error("session record is not readable: {detail}")]
    Corrupt {
        /// Which field, and its value.
        detail: String,
    },
    /// The schema is missing, or of another version than this program.
    #[error("session database is not migrated: {detail}; run `lazaret migrate`")]
    NotMigrated {
        /// Found and expected versions.
        detail: String,
    },
}

impl SessionStoreError {
    /// What to do with the delivery.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable { .. } | Self::NotMigrated { .. } => Disposition::Unavailable,
            Self::NotFound { .. } | Self::Conflict { .. } | Self::Transition(_) | Self::Corrupt { .. } => {
                Disposition::DeadLetter
            }
        }
    }
}
