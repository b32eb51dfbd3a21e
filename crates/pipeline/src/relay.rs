//! The outbox: what was committed together with a state and must still be done.

use std::{sync::Arc, time::Duration};

use lazaret_core::{
    Disposition, Session,
    ports::{OutboxItem, OutboxKind, QueueError, SessionStore, SessionStoreError},
};
use thiserror::Error;
use tracing::warn;

use crate::bus::Bus;

/// How long an item is ours alone.
const CLAIM: Duration = Duration::from_mins(1);
/// How many items are taken at once.
const BATCH: u32 = 100;

/// Carries outbox items out.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) bus: Bus,
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

impl Relay {
    /// Carries out what is there now; how many items went.
    pub(crate) async fn run_once(&self) -> Result<usize, RelayError> {
        let work = self.sessions.claim_outbox(OutboxKind::Process, BATCH, CLAIM).await?;
        let mut first_error = None;
        for item in &work {
            match self.carry_out(item).await {
                Ok(()) => {}
                Err(error) if error.is_outage() => return Err(error),
                // Its claim runs out and it is tried again; it must not keep those behind it.
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        // Nobody subscribes to verdicts in this build (`events.kind = "none"`): they are dropped, not hoarded.
        let verdicts = self.sessions.claim_outbox(OutboxKind::Verdict, BATCH, CLAIM).await?;
        let ids: Vec<i64> = verdicts.iter().map(|item| item.id).collect();
        if !ids.is_empty() {
            self.sessions.complete_outbox(&ids).await?;
        }
        first_error.map_or(Ok(work.len() + ids.len()), Err)
    }

    async fn carry_out(&self, item: &OutboxItem) -> Result<(), RelayError> {
        self.enqueue(item).await?;
        Ok(self.sessions.complete_outbox(&[item.id]).await?)
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
