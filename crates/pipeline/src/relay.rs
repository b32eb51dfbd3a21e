//! The outbox: what was committed together with a state and must still be done.

mod verdicts;

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream};
use lazaret_core::{
    Disposition, Session,
    error::chain,
    ports::{OutboxItem, OutboxKind, QueueError, SessionStore, SessionStoreError},
};
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    bus::Bus,
    worker::{Availability, jittered},
};

pub(crate) use verdicts::VerdictRelay;
pub use verdicts::Verdicts;

/// How long an item is ours alone.
const CLAIM: Duration = Duration::from_mins(1);
/// How many items are taken at once.
const BATCH: u32 = 100;
/// How many of them are carried out at the same time.
const AT_ONCE: usize = 16;
/// How often an outbox that was empty is looked at.
const IDLE: Duration = Duration::from_millis(500);
/// The longest pause between two tries while nothing can be carried out.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Carries out the items that put sessions on the queue.
pub(crate) struct Relay {
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) bus: Bus,
    pub(crate) availability: Arc<Availability>,
}

#[derive(Debug, Error)]
pub(crate) enum RelayError {
    #[error(transparent)]
    Sessions(#[from] SessionStoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl RelayError {
    /// Whether every other item would fail as well.
    const fn is_outage(&self) -> bool {
        match self {
            Self::Sessions(error) => matches!(error.disposition(), Disposition::Unavailable),
            Self::Queue(_) => true,
        }
    }
}

/// The pauses between batches: none while they are full, growing ones while they fail. A batch that a stop cuts off loses
/// nothing: what it has claimed is free again when the claim runs out.
#[derive(Debug, Default)]
struct Rhythm {
    pause: Duration,
}

impl Rhythm {
    /// Waits until the next batch is due. False: there is none, for we were stopped.
    async fn wait(
        &mut self,
        ended: Result<Progress, RelayError>,
        stop: &CancellationToken,
        availability: &Availability,
    ) -> bool {
        let pause = match ended {
            Ok(progress) => {
                self.pause = Duration::ZERO;
                if progress == Progress::More {
                    return !stop.is_cancelled();
                }
                IDLE
            }
            Err(error) => {
                if self.pause.is_zero() {
                    warn!(error = chain(&error), "the outbox cannot be carried out, will retry");
                }
                // A worker that waits for messages learns here that the database is away.
                if let RelayError::Sessions(error) = &error
                    && error.disposition() == Disposition::Unavailable
                {
                    availability.doubt();
                }
                self.pause = (self.pause * 2).clamp(IDLE, LONGEST_PAUSE);
                self.pause
            }
        };
        stop.run_until_cancelled(sleep(jittered(pause))).await.is_some()
    }
}

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There may be more at once.
    More,
    /// That was all for now.
    Empty,
}

impl Relay {
    /// Carries out items until `stop`.
    pub(crate) async fn run(self, stop: &CancellationToken) {
        let mut rhythm = Rhythm::default();
        while let Some(ended) = stop.run_until_cancelled(self.run_once()).await
            && rhythm.wait(ended, stop, &self.availability).await
        {}
    }

    async fn run_once(&self) -> Result<Progress, RelayError> {
        let items = self.sessions.claim_outbox(OutboxKind::Process, BATCH, CLAIM).await?;
        let sends: Vec<_> = items.iter().map(|item| self.enqueue(item).map(|sent| (item.id, sent))).collect();
        let mut sending = stream::iter(sends).buffer_unordered(AT_ONCE);
        let (mut done, mut failed) = (Vec::with_capacity(items.len()), None);
        while let Some((id, sent)) = sending.next().await {
            match sent {
                Ok(()) => done.push(id),
                Err(error) if error.is_outage() => {
                    failed = Some(error);
                    break;
                }
                // Its claim runs out and it is tried again; it must not keep those behind it.
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        self.sessions.complete_outbox(&done).await?;
        match failed {
            Some(error) => Err(error),
            None if items.len() == BATCH as usize => Ok(Progress::More),
            None => Ok(Progress::Empty),
        }
    }

    async fn enqueue(&self, item: &OutboxItem) -> Result<(), RelayError> {
        let Some(session) = self.sessions.get(item.upload_id).await? else {
            warn!(upload.id = %item.upload_id, "an outbox item without a session, dropped");
            return Ok(());
        };
        self.bus.queue.send(&self.message(&session)).await?;
        Ok(())
    }

    fn message(&self, session: &Session) -> String {
        let version = session.source.as_ref().and_then(|source| source.version.as_ref());
        (self.bus.encode)(&session.bucket, session.key.as_key(), version)
    }
}
