//! The way of one object: from an event to a committed decision.
//!
//! The order is what makes a crash harmless: the attempt is committed before a byte is read, the copy is read back before
//! the commit, the original goes after it, and the delivery is acknowledged last of all.

mod attempt;
mod clean_up;
mod desk;
mod ledger;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::FutureExt;
use lazaret_core::{
    Disposition, ObjectEvent, Reason, Session,
    ports::{Begun, ScanError, SessionStoreError, StoreError, TransformError},
};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span};

use crate::{detect::DetectError, metrics, publish::PublishError, station::Station, worker::Availability};
use attempt::Attempt;
use desk::Desk;

pub(crate) use clean_up::{Copies, clean_up, delete_all_versions, stray_copies, withdraw_copy};

/// Takes objects along their way.
#[derive(Debug, Clone)]
pub struct Passage {
    station: Arc<Station>,
    desk: Arc<Desk>,
    availability: Option<Arc<Availability>>,
}

/// Where one event led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// Another bucket or prefix.
    NotOurs,
    /// No session asked for it: recorded, left to the sweeper.
    Orphan,
    /// There is no such object (any more).
    Missing,
    /// It waits to be finalized.
    AwaitsFinalize,
    /// It was settled before.
    AlreadySettled,
    /// Another worker is at it for this much longer.
    Busy(Duration),
    /// It was settled now.
    Settled(Box<Session>),
    /// It is held now, for it used up its attempts before.
    Exhausted,
    /// We were told to stop; the attempt was given back.
    Interrupted,
}

/// Why an event led nowhere.
#[derive(Debug, Error)]
pub enum PassageError {
    /// The session store.
    #[error(transparent)]
    Sessions(#[from] SessionStoreError),
    /// The object store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store lets us at the bucket and not at this one object: a key it is encrypted with, an archive class. Only
    /// this object's attempts are spent on that; nothing else waits for it.
    #[error("the object is withheld although its bucket is not")]
    Withheld(#[source] StoreError),
    /// A dependency went away in the middle of its work, so what it said about the object says nothing of the object.
    #[error("a dependency went away meanwhile")]
    WentAway(#[source] Box<PassageError>),
    /// A dependency fails for this object again and again while others get through: this object's attempts are spent.
    #[error("this object finds unavailable what others find there")]
    Alone(#[source] Box<PassageError>),
    /// A scanner.
    #[error(transparent)]
    Scanner(#[from] ScanError),
    /// The transform.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// The published copy.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The magic bytes.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// A policy and the scanners do not fit together, or a result is not to be believed.
    #[error("{0}")]
    Unsound(String),
    /// The lease went to another worker.
    #[error("the lease went to another worker")]
    LeaseLost,
}

impl PassageError {
    /// What to do with the delivery.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Sessions(error) | Self::Publish(PublishError::Sessions(error)) => error.disposition(),
            Self::Store(error) | Self::Publish(PublishError::Store(error)) => error.disposition(),
            Self::Scanner(error) => error.disposition(),
            Self::Transform(error) => error.disposition(),
            Self::WentAway(_) => Disposition::Unavailable,
            Self::Publish(PublishError::Missing { .. } | PublishError::Different { .. })
            | Self::Withheld(_)
            | Self::Alone(_)
            | Self::Detect(_)
            | Self::Unsound(_)
            | Self::LeaseLost => Disposition::Retry,
        }
    }
}

impl Passage {
    /// A passage through `station`. Its clones know of each other what they work on.
    pub fn new(station: Arc<Station>) -> Self {
        Self { station, desk: Arc::default(), availability: None }
    }

    /// The same passage, telling at once when a dependency is away.
    pub(crate) fn telling(self, availability: Arc<Availability>) -> Self {
        Self { availability: Some(availability), ..self }
    }

    fn tell_of(&self, error: &PassageError) {
        if let Some(availability) = &self.availability
            && error.disposition() == Disposition::Unavailable
        {
            availability.lost(error);
        }
    }

    /// Takes the object that `event` names as far as it goes. After `stop` the work ends early with its attempt given
    /// back.
    pub async fn pass(&self, event: &ObjectEvent, stop: &CancellationToken) -> Result<Passed, PassageError> {
        let span = info_span!(
            "object",
            object.key = %event.key,
            upload.id = tracing::field::Empty,
            reason = tracing::field::Empty
        );
        self.pass_in_span(event, stop).instrument(span).await
    }

    async fn pass_in_span(&self, event: &ObjectEvent, stop: &CancellationToken) -> Result<Passed, PassageError> {
        let settings = &self.station.settings;
        if !self.station.quarantines(&event.bucket, &event.key) {
            return Ok(Passed::NotOurs);
        }
        let found = self.find(event).await.inspect_err(|error| self.tell_of(error))?;
        let Some(session) = found else { return Ok(Passed::Orphan) };
        tracing::Span::current().record("upload.id", tracing::field::display(session.upload_id));
        // Two deliveries of one object in one process: the attempt that the database knows of is the other's.
        let Some(_place) = self.desk.take(session.upload_id) else { return Ok(Passed::Busy(settings.lease / 3)) };
        match self.begin(&session, stop).await? {
            Begun::Leased { session, fence, attempt } => {
                let attempt = Attempt { passage: self, event, session, fence, number: attempt, seen: OnceLock::new() };
                match AssertUnwindSafe(attempt.run(stop)).catch_unwind().await {
                    Ok(passed) => passed,
                    Err(panic) => {
                        attempt.broke_off(panic_message(&*panic)).await;
                        resume_unwind(panic)
                    }
                }
            }
            begun => self.without_attempt(begun, event).await.inspect_err(|error| self.tell_of(error)),
        }
    }

    /// None: an orphan, which is on record now.
    async fn find(&self, event: &ObjectEvent) -> Result<Option<Session>, PassageError> {
        let sessions = &self.station.sessions;
        let found = sessions.find(&event.bucket, &event.key).await?;
        if found.is_none() {
            sessions.record_orphan(event).await?;
            metrics::count_object(Some(Reason::NoSession));
            info!(reason = Reason::NoSession.code(), "an object that no session asked for");
        }
        Ok(found)
    }

    async fn without_attempt(&self, begun: Begun, event: &ObjectEvent) -> Result<Passed, PassageError> {
        let (station, version) = (&self.station, event.version.as_ref());
        match begun {
            Begun::Leased { .. } => Err(PassageError::Unsound("an attempt that began is not run".to_owned())),
            Begun::Busy { remaining } => Ok(Passed::Busy(remaining)),
            Begun::NotFinalized(session) => {
                let worker = station.settings.worker_id.as_str();
                station.sessions.mark_uploaded(session.upload_id, worker).await?;
                Ok(Passed::AwaitsFinalize)
            }
            Begun::Settled(session) => {
                clean_up(station, &session, version, Copies::Perhaps).await?;
                Ok(Passed::AlreadySettled)
            }
            Begun::Exhausted(exhausted) => {
                metrics::count_object(exhausted.session.state.reason());
                clean_up(station, &exhausted.session, version, Copies::Perhaps).await?;
                Ok(Passed::Exhausted)
            }
        }
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}
