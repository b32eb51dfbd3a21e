//! Uploads whose event was lost, and buckets that were there before Lazaret: what lies in the quarantine is compared with
//! the sessions, and what waits for nobody is put on its way.
//!
//! Nothing is deleted or decided here. Repeating any part of it is harmless: a session is asked for once, and a worker that
//! finds nothing to do says so.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesOrdered};
use lazaret_core::{
    Disposition, ObjectEvent, ObjectKey, Prefix, StateName, Timestamp,
    error::chain,
    ports::{ListFrom, Listed, SessionStoreError, StoreError},
};
use serde::Serialize;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    pace::{Pace, until},
    station::Station,
};

/// What to look at, and how fast.
#[derive(Debug, Clone)]
pub struct ReconcileSettings {
    /// Under which prefix; without one, everything in the quarantine.
    pub prefix: Option<Prefix>,
    /// The most objects a second; without it, as fast as the lookups go.
    pub objects_per_second: Option<NonZeroU32>,
    /// How many sessions are looked up at the same time.
    pub lookups: NonZeroUsize,
    /// An object that is younger is left alone: its event may be on its way.
    pub grace: Duration,
    /// Whether to count only.
    pub dry_run: bool,
}

/// How many objects there were of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ReconcileCounts {
    /// All of them.
    pub seen: u64,
    /// Put on their way, or would be.
    pub requested: u64,
    /// In work, or asked for already.
    pub waiting: u64,
    /// Somebody must finalize them.
    pub awaiting_finalize: u64,
    /// Settled: the sweeper knows how long their originals stay.
    pub settled: u64,
    /// Without a session: recorded, left to the sweeper.
    pub orphans: u64,
    /// Younger than the grace.
    pub young: u64,
    /// Not looked at for an error of their own, which is logged.
    pub failed: u64,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// What there was so far.
    pub counts: ReconcileCounts,
    /// The last key behind which nothing was done yet: to go on after.
    pub last: Option<ObjectKey>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// What there was, and where to go on.
    pub progress: Progress,
    /// False: it was stopped before the end.
    pub complete: bool,
}

/// Why it ended early.
#[derive(Debug, Error)]
pub enum ReconcileError {
    /// The session store.
    #[error(transparent)]
    Sessions(#[from] SessionStoreError),
    /// The object store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reconciles the quarantine with the sessions.
#[derive(Debug, Clone)]
pub struct Reconciler {
    station: Arc<Station>,
    settings: ReconcileSettings,
}

#[derive(Debug, Clone, Copy)]
enum Found {
    Requested,
    Waiting,
    AwaitingFinalize,
    Settled,
    Orphan,
    Young,
    Failed,
}

impl ReconcileCounts {
    const fn add(&mut self, found: Found) {
        self.seen += 1;
        let kind = match found {
            Found::Requested => &mut self.requested,
            Found::Waiting => &mut self.waiting,
            Found::AwaitingFinalize => &mut self.awaiting_finalize,
            Found::Settled => &mut self.settled,
            Found::Orphan => &mut self.orphans,
            Found::Young => &mut self.young,
            Found::Failed => &mut self.failed,
        };
        *kind += 1;
    }
}

impl Reconciler {
    /// Over the quarantine of `station`.
    pub const fn new(station: Arc<Station>, settings: ReconcileSettings) -> Self {
        Self { station, settings }
    }

    /// Goes through the keys in their order, beginning behind `after`, in memory that does not grow with their number.
    /// `report` is called after every object. An outage ends it with an error; what was reported last is where to go on.
    pub async fn run(
        &self,
        after: Option<&ObjectKey>,
        stop: &CancellationToken,
        report: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Reconciled, ReconcileError> {
        let settings = &self.station.settings;
        let prefix = self.settings.prefix.as_ref().unwrap_or(&settings.quarantine_prefix);
        let mut progress = Progress { last: after.cloned(), ..Progress::default() };
        let mut pace = Pace::new(self.settings.objects_per_second);
        let mut next: Option<String> = None;
        loop {
            let from = match (&next, after) {
                (Some(next), _) => ListFrom::Page(next),
                (None, Some(after)) => ListFrom::After(after),
                (None, None) => ListFrom::Start,
            };
            let listed = self.station.store.list(&settings.bucket, prefix, from).await?;
            if !self.page(listed.items, &mut pace, stop, &mut progress, report).await? {
                return Ok(Reconciled { progress, complete: false });
            }
            match listed.next {
                Some(token) => next = Some(token),
                None => return Ok(Reconciled { progress, complete: true }),
            }
        }
    }

    /// False: it was stopped within the page.
    async fn page(
        &self,
        objects: Vec<Listed>,
        pace: &mut Pace,
        stop: &CancellationToken,
        progress: &mut Progress,
        report: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<bool, ReconcileError> {
        let now = self.station.sessions.now().await?;
        let mut looking = FuturesOrdered::new();
        let mut is_stopped = false;
        for object in objects {
            let due = pace.next();
            loop {
                let is_full = looking.len() >= self.settings.lookups.get();
                tokio::select! {
                    biased;
                    () = stop.cancelled() => { is_stopped = true; break }
                    Some(looked) = looking.next(), if !looking.is_empty() && (is_full || due.is_some()) => {
                        note(looked?, progress, report);
                    }
                    () = until(due), if !is_full => break,
                }
            }
            if is_stopped {
                break;
            }
            looking.push_back(self.look(object, now));
        }
        while let Some(looked) = looking.next().await {
            note(looked?, progress, report);
        }
        Ok(!is_stopped)
    }

    async fn look(&self, object: Listed, now: Timestamp) -> Result<(ObjectKey, Found), ReconcileError> {
        match self.find(&object, now).await {
            Ok(found) => Ok((object.key, found)),
            Err(error) if error.disposition() == Disposition::Unavailable => Err(error.into()),
            Err(error) => {
                warn!(object.key = %object.key, error = chain(&error), "an object could not be reconciled");
                Ok((object.key, Found::Failed))
            }
        }
    }

    async fn find(&self, object: &Listed, now: Timestamp) -> Result<Found, SessionStoreError> {
        let (settings, sessions) = (&self.station.settings, &self.station.sessions);
        let is_young = |at: Timestamp| at > now || now.duration_since(at).unsigned_abs() < self.settings.grace;
        if !self.settings.grace.is_zero() && object.modified_at.is_some_and(is_young) {
            return Ok(Found::Young);
        }
        let Some(session) = sessions.find(&settings.bucket, &object.key).await? else {
            if !self.settings.dry_run {
                sessions.record_orphan(&self.event(object)).await?;
            }
            return Ok(Found::Orphan);
        };
        match session.state.name() {
            StateName::Published | StateName::Rejected | StateName::Held | StateName::Expired | StateName::Revoked => {
                Ok(Found::Settled)
            }
            StateName::Uploaded if settings.require_finalize => Ok(Found::AwaitingFinalize),
            StateName::Created | StateName::Uploaded | StateName::Finalized if self.settings.dry_run => {
                Ok(Found::Requested)
            }
            StateName::Created | StateName::Uploaded | StateName::Finalized => {
                let asked = sessions.request_processing(session.upload_id).await?;
                Ok(if asked { Found::Requested } else { Found::Waiting })
            }
        }
    }

    fn event(&self, object: &Listed) -> ObjectEvent {
        ObjectEvent {
            bucket: self.station.settings.bucket.clone(),
            key: object.key.clone(),
            version: None,
            etag: None,
            size: Some(object.size),
            occurred_at: object.modified_at,
        }
    }
}

fn note((key, found): (ObjectKey, Found), progress: &mut Progress, report: &mut (dyn FnMut(&Progress) + Send)) {
    progress.counts.add(found);
    progress.last = Some(key);
    report(progress);
}
