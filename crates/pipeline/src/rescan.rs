//! What was published, looked at again with the signatures of today.
//!
//! Each published object is read once and scanned as an upload of its type would be. What is infected now, or blocked, is
//! revoked: first the state is committed, then its copies are deleted, the object's and those of its variants together, for
//! they were made of the same bytes. Variants are not read: we have drawn them, and a signature that is about the upload is
//! found in the object. Everything else stays published, whatever could not be checked: that is told.

mod object;

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
};

use futures_util::{StreamExt, stream::FuturesOrdered};
use lazaret_core::{
    Disposition, EngineVersion, RejectReason, ScannerName, StateName, Timestamp, UploadId,
    error::chain,
    ports::{ScanError, SessionStoreError, StoreError},
};
use serde::Serialize;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::{
    pace::{Pace, until},
    passage::PassageError,
    station::Station,
};

/// How many sessions are asked for at a time.
const PAGE: u32 = 200;

/// What to look at, and how fast.
#[derive(Debug, Clone)]
pub struct RescanSettings {
    /// Only what was published since then.
    pub since: Option<Timestamp>,
    /// Only what was not found clean before by the engines and signatures of today.
    pub signature_changed: bool,
    /// The most objects a second; without it, as fast as the scanners go.
    pub objects_per_second: Option<NonZeroU32>,
    /// How many objects are read and scanned at the same time.
    pub concurrency: NonZeroUsize,
    /// Whether to look only: nothing is revoked, and nothing recorded.
    pub dry_run: bool,
}

/// How many objects there were of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RescanCounts {
    /// All of them.
    pub seen: u64,
    /// Scanned, and clean.
    pub clean: u64,
    /// Found clean before by the same engines with the same signatures.
    pub unchanged: u64,
    /// Published before the time that was asked for, or published no more when their turn came.
    pub passed_over: u64,
    /// Infected or blocked: revoked, or would be.
    pub revoked: u64,
    /// A scanner could not look at all of it: published as before.
    pub unscannable: u64,
    /// Not checked: published as before.
    pub failed: u64,
}

/// What there is to be told of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Rescanned {
    /// It is clean, as it was.
    Clean,
    /// The engines and signatures of today have called it clean before.
    Unchanged,
    /// It is not looked at.
    PassedOver,
    /// It is published no more, or would not be.
    Revoked {
        /// The reason code.
        reason: RejectReason,
        /// What was found.
        detail: String,
        /// Why its copies are still there, where they are: the sweeper deletes them.
        copies_left: Option<String>,
    },
    /// A scanner could not look at all of it.
    Unscannable {
        /// What kept it.
        detail: String,
    },
    /// It could not be checked.
    Failed {
        /// Why.
        detail: String,
    },
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RescanProgress {
    /// How many published objects there are, when it began.
    pub total: u64,
    /// What there was so far.
    pub counts: RescanCounts,
    /// The last upload behind which nothing was done yet: to go on after.
    pub last: Option<UploadId>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RescanEnd {
    /// What there was, and where to go on.
    pub progress: RescanProgress,
    /// False: it was stopped before the end.
    pub complete: bool,
}

/// Why it ended early: a dependency is away, so that nothing else could be checked either.
#[derive(Debug, Error)]
pub enum RescanError {
    /// The session store.
    #[error(transparent)]
    Sessions(#[from] SessionStoreError),
    /// A scanner.
    #[error(transparent)]
    Scanner(#[from] ScanError),
    /// Something else on the way of an object.
    #[error(transparent)]
    Passage(#[from] PassageError),
}

/// Looks at what is published.
#[derive(Debug, Clone)]
pub struct Rescanner {
    station: Arc<Station>,
    settings: RescanSettings,
}

impl RescanCounts {
    const fn add(&mut self, found: &Rescanned) {
        self.seen += 1;
        let kind = match found {
            Rescanned::Clean => &mut self.clean,
            Rescanned::Unchanged => &mut self.unchanged,
            Rescanned::PassedOver => &mut self.passed_over,
            Rescanned::Revoked { .. } => &mut self.revoked,
            Rescanned::Unscannable { .. } => &mut self.unscannable,
            Rescanned::Failed { .. } => &mut self.failed,
        };
        *kind += 1;
    }
}

/// What every scanner says of itself.
type Engines = Vec<(ScannerName, EngineVersion)>;

/// Told of each object when it is done, in their order.
pub type OnRescanned<'a> = dyn FnMut(&RescanProgress, UploadId, &Rescanned) + Send + 'a;

impl Rescanner {
    /// Over what `station` has published.
    pub const fn new(station: Arc<Station>, settings: RescanSettings) -> Self {
        Self { station, settings }
    }

    /// Goes through what is published by age of its session, beginning behind `after`, in memory that does not grow with its
    /// number. `report` is called after every object. An outage ends it with an error; what was reported last is where to go
    /// on. What was revoked stays so, and repeating any part of it is harmless.
    pub async fn run(
        &self,
        after: Option<UploadId>,
        stop: &CancellationToken,
        report: &mut OnRescanned<'_>,
    ) -> Result<RescanEnd, RescanError> {
        let total = self.station.sessions.count(StateName::Published, None).await?;
        let mut progress = RescanProgress { total, last: after, ..RescanProgress::default() };
        let mut pace = Pace::new(self.settings.objects_per_second);
        let mut page_after = after;
        loop {
            let sessions = self.station.sessions.list(Some(StateName::Published), page_after, PAGE).await?;
            let is_last = sessions.len() < PAGE as usize;
            page_after = sessions.last().map(|session| session.upload_id);
            // Anew for each page: they may be renewed meanwhile.
            let engines = if sessions.is_empty() { Engines::new() } else { self.engines().await? };
            let mut looking = FuturesOrdered::new();
            for session in sessions {
                let due = pace.next();
                loop {
                    let is_full = looking.len() >= self.settings.concurrency.get();
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {
                            // What was begun is brought to its end.
                            while let Some(looked) = looking.next().await {
                                note(looked?, &mut progress, report);
                            }
                            return Ok(RescanEnd { progress, complete: false });
                        }
                        Some(looked) = looking.next(), if !looking.is_empty() && (is_full || due.is_some()) => {
                            note(looked?, &mut progress, report);
                        }
                        () = until(due), if !is_full => break,
                    }
                }
                looking.push_back(self.look(session, &engines));
            }
            while let Some(looked) = looking.next().await {
                note(looked?, &mut progress, report);
            }
            if is_last {
                return Ok(RescanEnd { progress, complete: true });
            }
        }
    }

    /// A scanner that cannot scan now ends the run: nothing could be said of anything.
    async fn engines(&self) -> Result<Engines, ScanError> {
        let policies = self.station.settings.policies.as_slice();
        let mut engines = Engines::new();
        for slot in &self.station.scanners {
            let name = slot.scanner.name();
            if policies.iter().any(|policy| policy.scanners.contains(name)) {
                engines.push((name.clone(), slot.scanner.check().await?));
            }
        }
        Ok(engines)
    }

    /// Whether everything else would fail as well. A store that refuses one object and not the bucket keeps only that one.
    async fn is_outage(&self, error: &PassageError) -> bool {
        let (store, settings) = (&self.station.store, &self.station.settings);
        match error {
            PassageError::Store(StoreError::Refused { .. }) => store.check(&settings.published_bucket).await.is_err(),
            error => error.disposition() == Disposition::Unavailable,
        }
    }

    async fn look(
        &self,
        session: lazaret_core::Session,
        engines: &Engines,
    ) -> Result<(UploadId, Rescanned), RescanError> {
        let id = session.upload_id;
        let looking = object::Look { station: &self.station, settings: &self.settings, engines, session };
        match looking.look().await {
            Ok(found) => Ok((id, found)),
            Err(error) if self.is_outage(&error).await => Err(error.into()),
            Err(error) => {
                // A session that another rescan has revoked meanwhile has no copy to be read any more.
                let now = self.station.sessions.get(id).await?;
                let is_published = now.is_some_and(|now| now.state.published().is_some());
                let failed = Rescanned::Failed { detail: chain(&error) };
                Ok((id, if is_published { failed } else { Rescanned::PassedOver }))
            }
        }
    }
}

fn note((id, found): (UploadId, Rescanned), progress: &mut RescanProgress, report: &mut OnRescanned<'_>) {
    progress.counts.add(&found);
    progress.last = Some(id);
    report(progress, id, &found);
}
