//! The clean-up: what was promised and never came, what nobody asked for, what has been kept long enough.
//!
//! Everything is asked again right before it is done, on the session database's clock, and every step may be repeated: any
//! number of sweepers and workers may run at once.

mod late_copies;
mod revoked_copies;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use lazaret_core::{
    BucketName, ObjectKey, Prefix, Reason, Session, StateName, Timestamp, UploadId,
    error::chain,
    ports::{ListFrom, Listed, ListedUpload, SessionStoreError, StoreError},
};
use serde::Serialize;
use thiserror::Error;
use tracing::{info, warn};

use crate::{
    metrics,
    passage::{Copies, PassageError, clean_up, delete_all_versions},
    station::Station,
};

/// How many sessions one step looks at before it asks again.
const BATCH: u32 = 200;

/// No publish takes longer: an older multipart upload under the published prefix belongs to a worker that is gone.
const LONGEST_PUBLISH: Duration = Duration::from_hours(24);

/// What was swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SweptWhat {
    /// A session whose time ran out: now `expired`.
    ExpiredSession,
    /// A session whose event was lost although its object is there: now `finalized`.
    RecoveredSession,
    /// A published copy of an object that was revoked.
    RevokedCopy,
    /// A published copy that came after its session was settled, and that the session does not name.
    LateCopy,
    /// The quarantined original of a settled session.
    Original,
    /// An object that no session asked for, or a late write under a key that is done.
    Orphan,
    /// A multipart upload that was begun and left.
    MultipartUpload,
}

impl SweptWhat {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::ExpiredSession,
        Self::RecoveredSession,
        Self::RevokedCopy,
        Self::LateCopy,
        Self::Original,
        Self::Orphan,
        Self::MultipartUpload,
    ];

    /// The label in metrics and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExpiredSession => "expired-session",
            Self::RecoveredSession => "recovered-session",
            Self::RevokedCopy => "revoked-copy",
            Self::LateCopy => "late-copy",
            Self::Original => "original",
            Self::Orphan => "orphan",
            Self::MultipartUpload => "multipart-upload",
        }
    }
}

/// One thing that was swept, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// What it is.
    pub what: SweptWhat,
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// Its session, if it has one.
    pub upload_id: Option<UploadId>,
}

/// What one pass did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SweepReport {
    /// In the order it was done.
    pub swept: Vec<Swept>,
}

/// Why a pass ended early.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The session store.
    #[error(transparent)]
    Sessions(#[from] SessionStoreError),
    /// The object store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The clean-up of a settled session.
    #[error(transparent)]
    CleanUp(#[from] PassageError),
}

impl SweepError {
    /// Whether everything else would fail as well.
    const fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Sessions(SessionStoreError::Unavailable { .. } | SessionStoreError::NotMigrated { .. })
                | Self::Store(StoreError::Unavailable { .. })
                | Self::CleanUp(
                    PassageError::Sessions(SessionStoreError::Unavailable { .. })
                        | PassageError::Store(StoreError::Unavailable { .. })
                )
        )
    }
}

/// Sweeps.
#[derive(Debug, Clone)]
pub struct Sweeper {
    station: Arc<Station>,
    grace: Duration,
}

/// One pass over everything.
struct Pass<'a> {
    station: &'a Station,
    grace: Duration,
    now: Timestamp,
    dry_run: bool,
    report: SweepReport,
    first_error: Option<SweepError>,
    /// Keys with a multipart upload that is still being written, of each bucket asked for.
    open: HashMap<BucketName, HashSet<ObjectKey>>,
}

impl Sweeper {
    /// Leaves orphans and open multipart uploads alone until they are older than `grace`.
    pub const fn new(station: Arc<Station>, grace: Duration) -> Self {
        Self { station, grace }
    }

    /// One pass. With `dry_run` nothing is changed and the report says what would be. What fails by itself is left and
    /// the rest is swept; the first such error is the answer then.
    pub async fn sweep(&self, dry_run: bool) -> Result<SweepReport, SweepError> {
        let now = self.station.sessions.now().await?;
        let report = SweepReport::default();
        let (station, grace, open) = (&*self.station, self.grace, HashMap::new());
        let mut pass = Pass { station, grace, now, dry_run, report, first_error: None, open };
        pass.overdue_sessions().await?;
        // Before the late ones, which would be told as such.
        pass.revoked_copies().await?;
        // Before the originals, whose clean-up would withdraw copies without a word.
        pass.late_copies().await?;
        pass.originals().await?;
        pass.orphans().await?;
        pass.multipart_uploads().await?;
        pass.first_error.map_or(Ok(pass.report), Err)
    }
}

impl Pass<'_> {
    fn record(&mut self, what: SweptWhat, bucket: &BucketName, key: &ObjectKey, upload_id: Option<UploadId>) {
        if !self.dry_run {
            ::metrics::counter!(metrics::SWEPT, "what" => what.as_str()).increment(1);
            info!(what = what.as_str(), object.key = %key, upload.id = upload_id.map(tracing::field::display), "swept");
        }
        self.report.swept.push(Swept { what, bucket: bucket.clone(), key: key.clone(), upload_id });
    }

    fn is_past_grace(&self, since: Option<Timestamp>) -> bool {
        self.is_older_than(since, self.grace)
    }

    fn is_older_than(&self, since: Option<Timestamp>, age: Duration) -> bool {
        // An object of unknown age is young.
        since.is_some_and(|since| self.now.duration_since(since).unsigned_abs() > age && since < self.now)
    }

    /// What went wrong with one thing must not keep the others; an outage ends the pass.
    fn go_on(&mut self, key: &ObjectKey, error: SweepError) -> Result<(), SweepError> {
        if error.is_outage() {
            return Err(error);
        }
        warn!(object.key = %key, error = chain(&error), "could not be swept");
        self.first_error.get_or_insert(error);
        Ok(())
    }

    async fn overdue_sessions(&mut self) -> Result<(), SweepError> {
        // Those that stay where they are come first in every answer, and must not hide the others.
        let mut seen = HashSet::new();
        loop {
            let limit = BATCH.saturating_add(u32::try_from(seen.len()).unwrap_or(u32::MAX));
            let overdue = self.station.sessions.overdue(limit).await?;
            let fresh: Vec<_> = overdue.iter().filter(|session| seen.insert(session.upload_id)).collect();
            for session in &fresh {
                if let Err(error) = self.overdue_session(session).await {
                    self.go_on(session.key.as_key(), error)?;
                }
            }
            if fresh.is_empty() || overdue.len() < limit as usize {
                return Ok(());
            }
        }
    }

    async fn overdue_session(&mut self, session: &Session) -> Result<(), SweepError> {
        let key = session.key.as_key();
        if !self.is_ours(session) {
            return Ok(());
        }
        // Before the look at the object: an upload that is completed in between is seen as one or the other.
        let is_open = self.open_uploads(&session.bucket).await?.contains(key);
        let object = self.station.store.head(&session.bucket, key, None).await?;
        let what = match (object, session.state.name()) {
            // Its object is there, so it was uploaded in time or nearly so: the event was lost, not the upload.
            (Some(_), StateName::Created | StateName::Uploaded) if !self.station.settings.require_finalize => {
                SweptWhat::RecoveredSession
            }
            // A finalized upload is never swept away while its object is there.
            (Some(_), StateName::Finalized) => return Ok(()),
            (None, _) if is_open => return Ok(()),
            (Some(_) | None, _) => SweptWhat::ExpiredSession,
        };
        let moved = self.dry_run
            || match what {
                SweptWhat::RecoveredSession => self.recover(session).await?,
                SweptWhat::ExpiredSession
                | SweptWhat::RevokedCopy
                | SweptWhat::LateCopy
                | SweptWhat::Original
                | SweptWhat::Orphan
                | SweptWhat::MultipartUpload => self.expire(session).await?,
            };
        if moved {
            self.record(what, &session.bucket, key, Some(session.upload_id));
        }
        Ok(())
    }

    /// A control plane, or settings that have changed since, may name any place: what lies elsewhere is not ours to touch.
    fn is_ours(&self, session: &Session) -> bool {
        let (bucket, key) = (&session.bucket, session.key.as_key());
        let is_ours = self.station.quarantines(bucket, key);
        if !is_ours {
            warn!(upload.id = %session.upload_id, %bucket, object.key = %key, "a session outside of the quarantine, left alone");
        }
        is_ours
    }

    /// False: a worker or another sweeper was faster.
    async fn recover(&self, session: &Session) -> Result<bool, SweepError> {
        match self.station.sessions.finalize(session.upload_id, "sweeper").await {
            Ok(_) => Ok(true),
            Err(SessionStoreError::Transition(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn expire(&self, session: &Session) -> Result<bool, SweepError> {
        if !self.station.sessions.expire(session).await? {
            return Ok(false);
        }
        metrics::count_object(Some(Reason::Abandoned));
        Ok(true)
    }

    /// A multipart upload that is still being written protects its session until it is stale itself. They are listed once in
    /// a pass: who begins one later than that had no time left.
    async fn open_uploads(&mut self, bucket: &BucketName) -> Result<&HashSet<ObjectKey>, SweepError> {
        if !self.open.contains_key(bucket) {
            let prefix = &self.station.settings.quarantine_prefix;
            let (mut open, mut from) = (HashSet::new(), None);
            loop {
                let page = self.station.store.list_uploads(bucket, prefix, from.as_deref()).await?;
                let young = page.items.into_iter().filter(|upload| !self.is_past_grace(upload.initiated_at));
                open.extend(young.map(|upload| upload.key));
                match page.next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
            self.open.insert(bucket.clone(), open);
        }
        Ok(self.open.entry(bucket.clone()).or_default())
    }

    async fn originals(&mut self) -> Result<(), SweepError> {
        // Those that cannot be removed come first in every answer, and must not hide the others.
        let mut stuck = HashSet::new();
        loop {
            let limit = BATCH.saturating_add(u32::try_from(stuck.len()).unwrap_or(u32::MAX));
            let removable = self.station.sessions.removable(self.station.settings.retain_rejected, limit).await?;
            let fresh: Vec<_> = removable.iter().filter(|session| !stuck.contains(&session.upload_id)).collect();
            for session in &fresh {
                if !self.is_ours(session) {
                    stuck.insert(session.upload_id);
                    continue;
                }
                match self.original(session).await {
                    Ok(()) if self.dry_run => {
                        stuck.insert(session.upload_id);
                    }
                    Ok(()) => {}
                    Err(error) => {
                        stuck.insert(session.upload_id);
                        self.go_on(session.key.as_key(), error)?;
                    }
                }
            }
            if fresh.is_empty() || removable.len() < limit as usize {
                return Ok(());
            }
        }
    }

    async fn original(&mut self, session: &Session) -> Result<(), SweepError> {
        let key = session.key.as_key();
        // Most expired sessions never had one: their record is closed, and nothing was swept.
        let is_there = self.station.store.head(&session.bucket, key, None).await?.is_some();
        if !self.dry_run {
            clean_up(self.station, session, None, Copies::Perhaps).await?;
            if session.state.name() == StateName::Rejected {
                delete_all_versions(self.station, &session.bucket, key).await?;
                self.station.sessions.record_original_deleted(session.upload_id).await?;
            }
        }
        if is_there {
            self.record(SweptWhat::Original, &session.bucket, key, Some(session.upload_id));
        }
        Ok(())
    }

    async fn orphans(&mut self) -> Result<(), SweepError> {
        let (bucket, prefix) = (&self.station.settings.bucket, &self.station.settings.quarantine_prefix);
        let mut from = None;
        loop {
            let page = self.station.store.list(bucket, prefix, ListFrom::page(from.as_deref())).await?;
            for object in page.items {
                if self.is_past_grace(object.modified_at)
                    && let Err(error) = self.orphan(bucket, &object).await
                {
                    self.go_on(&object.key, error)?;
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn orphan(&mut self, bucket: &BucketName, object: &Listed) -> Result<(), SweepError> {
        let session = self.station.sessions.find(bucket, &object.key).await?;
        let upload_id = session.as_ref().map(|session| session.upload_id);
        let is_done = session.is_none_or(|session| match session.state.name() {
            StateName::Published | StateName::Expired | StateName::Revoked => true,
            StateName::Rejected => session.original_deleted_at.is_some(),
            StateName::Created | StateName::Uploaded | StateName::Finalized | StateName::Held => false,
        });
        if !is_done {
            return Ok(());
        }
        if !self.dry_run {
            delete_all_versions(self.station, bucket, &object.key).await?;
            self.station.sessions.record_orphan_swept(bucket, &object.key).await?;
        }
        self.record(SweptWhat::Orphan, bucket, &object.key, upload_id);
        Ok(())
    }

    async fn multipart_uploads(&mut self) -> Result<(), SweepError> {
        let settings = &self.station.settings;
        self.uploads_under(&settings.bucket, &settings.quarantine_prefix, self.grace).await?;
        // A worker that died while it published a large object leaves one of its own.
        let grace = self.grace.max(LONGEST_PUBLISH);
        self.uploads_under(&settings.published_bucket, &settings.published_prefix, grace).await
    }

    async fn uploads_under(&mut self, bucket: &BucketName, prefix: &Prefix, grace: Duration) -> Result<(), SweepError> {
        let mut from = None;
        loop {
            let page = self.station.store.list_uploads(bucket, prefix, from.as_deref()).await?;
            for upload in page.items {
                if self.is_older_than(upload.initiated_at, grace)
                    && let Err(error) = self.multipart_upload(bucket, &upload).await
                {
                    self.go_on(&upload.key, error)?;
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn multipart_upload(&mut self, bucket: &BucketName, upload: &ListedUpload) -> Result<(), SweepError> {
        let session = self.station.sessions.find(bucket, &upload.key).await?;
        let in_time = |session: &Session| !session.state.is_settled() && session.expires_at > self.now;
        if session.as_ref().is_some_and(in_time) {
            return Ok(());
        }
        if !self.dry_run {
            self.station.store.abort_upload(bucket, upload).await?;
        }
        self.record(SweptWhat::MultipartUpload, bucket, &upload.key, session.map(|session| session.upload_id));
        Ok(())
    }
}
