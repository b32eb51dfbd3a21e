//! The way of one object: from an event to a committed decision.
//!
//! The order is what makes a crash harmless: the attempt is committed before a byte is read, the copy is read back before
//! the commit, the original goes after it, and the delivery is acknowledged last of all.

mod attempt;
mod clean_up;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use lazaret_core::{
    Disposition, ObjectEvent, Reason, Session,
    ports::{Begun, ScanError, SessionStoreError, StoreError, TransformError},
};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span};

use crate::{detect::DetectError, metrics, publish::PublishError, station::Station};

pub(crate) use clean_up::{Copies, clean_up, delete_all_versions};

/// Takes objects along their way.
#[derive(Debug, Clone)]
pub struct Passage {
    station: Arc<Station>,
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
            Self::Publish(PublishError::Missing { .. } | PublishError::Different { .. })
            | Self::Withheld(_)
            | Self::Detect(_)
            | Self::Unsound(_)
            | Self::LeaseLost => Disposition::Retry,
        }
    }
}

impl Passage {
    /// A passage through `station`.
    pub const fn new(station: Arc<Station>) -> Self {
        Self { station }
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
        if event.bucket != settings.bucket || !settings.quarantine_prefix.contains(&event.key) {
            return Ok(Passed::NotOurs);
        }
        let sessions = &self.station.sessions;
        let Some(session) = sessions.find(&event.bucket, &event.key).await? else {
            sessions.record_orphan(event).await?;
            metrics::count_object(Some(Reason::NoSession));
            info!(reason = Reason::NoSession.code(), "an object that no session asked for");
            return Ok(Passed::Orphan);
        };
        tracing::Span::current().record("upload.id", tracing::field::display(session.upload_id));
        let begun = sessions
            .begin_attempt(
                session.upload_id,
                &settings.worker_id,
                settings.lease,
                settings.max_attempts,
                !settings.require_finalize,
            )
            .await?;
        match begun {
            Begun::Leased { session, fence, attempt } => {
                let station = &self.station;
                let attempt =
                    attempt::Attempt { station, event, session, fence, number: attempt, seen: OnceLock::new() };
                attempt.run(stop).await
            }
            Begun::Busy { remaining } => Ok(Passed::Busy(remaining)),
            Begun::NotFinalized(session) => {
                sessions.mark_uploaded(session.upload_id, settings.worker_id.as_str()).await?;
                Ok(Passed::AwaitsFinalize)
            }
            Begun::Settled(session) => {
                clean_up(&self.station, &session, event.version.as_ref(), Copies::Perhaps).await?;
                Ok(Passed::AlreadySettled)
            }
            Begun::Exhausted(exhausted) => {
                metrics::count_object(exhausted.session.state.reason());
                clean_up(&self.station, &exhausted.session, event.version.as_ref(), Copies::Perhaps).await?;
                Ok(Passed::Exhausted)
            }
        }
    }
}
