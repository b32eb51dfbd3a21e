//! The count of attempts, kept true while the database comes and goes.
//!
//! An attempt is counted by the write that begins it, so what an outage interrupts must be taken back. While the database
//! is away there is nothing else to do: it is asked until it answers, for a lease that ran out is still ours as long as
//! nobody took it over. Only where the database answers and this one write of it fails all the same, it is let go: the
//! attempt counts, and its lease runs out.

use std::time::Duration;

use lazaret_core::{
    Disposition, Fence, Session, UploadId,
    error::chain,
    ports::{Begun, SessionStore, SessionStoreError},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Passage, PassageError};

/// The pauses between two questions. The longest is short against the time that workers wait before they begin anew
/// after the database was away.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long the database is asked once the process has to end.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// After how many failures it is asked whether it is there at all, and how often it may say so before what fails is
/// taken to fail for its own reasons: a row that somebody has locked and left, say. It must not hold its slot for ever.
const FAILURES_OF_AN_OUTAGE: u32 = 5;
const FAILURES_OF_ITS_OWN: u32 = 5;

impl Passage {
    /// Begins an attempt. One whose beginning was committed and whose answer was lost is found and taken back: nobody
    /// works on it.
    pub(super) async fn begin(&self, session: &Session, stop: &CancellationToken) -> Result<Begun, PassageError> {
        let (settings, id) = (&self.station.settings, session.upload_id);
        let (lease, max_attempts, finalize) = (settings.lease, settings.max_attempts, !settings.require_finalize);
        let begun = self.station.sessions.begin_attempt(id, &settings.worker_id, lease, max_attempts, finalize).await;
        match begun {
            Ok(begun) => Ok(begun),
            Err(error) => {
                let error = error.into();
                self.tell_of(&error);
                if error.disposition() == Disposition::Unavailable {
                    self.take_back_unanswered(id, stop).await;
                }
                Err(error)
            }
        }
    }

    /// In this process nobody else works on the session, and what breaks off in it ends its attempt: an attempt of ours
    /// without an end is the one that we were not told of.
    async fn take_back_unanswered(&self, id: UploadId, stop: &CancellationToken) {
        let mut patience = Patience::new(&*self.station.sessions, stop);
        while let Err(error) = self.try_to_take_back(id).await {
            if !patience.lasts(&error).await {
                warn!(error = chain(&error), "an attempt may be counted that nobody has made");
                return;
            }
        }
    }

    async fn try_to_take_back(&self, id: UploadId) -> Result<(), SessionStoreError> {
        let sessions = &self.station.sessions;
        // The write that nobody answered may still be on its way to be committed. Another write of the session has its
        // turn after that one has ended, and this one, with the fence of nobody, changes nothing.
        sessions.give_back(id, Fence(0), "to wait for its turn").await?;
        let last = sessions.history(id).await?.attempts.pop();
        match last {
            Some(last) if last.worker == self.station.settings.worker_id && last.ended_at.is_none() => {
                info!("an attempt whose beginning was not answered is given back");
                sessions.give_back(id, last.fence, "the answer to its beginning was lost").await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Ends the lease and takes the attempt back.
    pub(super) async fn give_back(
        &self,
        id: UploadId,
        fence: Fence,
        why: &str,
        stop: &CancellationToken,
    ) -> Result<(), SessionStoreError> {
        let mut patience = Patience::new(&*self.station.sessions, stop);
        loop {
            let Err(error) = self.station.sessions.give_back(id, fence, why).await else { return Ok(()) };
            if !patience.lasts(&error).await {
                warn!(error = chain(&error), "an attempt could not be given back: it counts, and its lease runs out");
                return Err(error);
            }
        }
    }
}

/// How long the database is asked: until it answers, or until a stop leaves no more time.
struct Patience<'a> {
    sessions: &'a dyn SessionStore,
    stop: &'a CancellationToken,
    pause: Duration,
    deadline: Option<Instant>,
    failures: u32,
    /// How many of the last failures were no outage.
    of_its_own: u32,
}

impl<'a> Patience<'a> {
    const fn new(sessions: &'a dyn SessionStore, stop: &'a CancellationToken) -> Self {
        Self { sessions, stop, pause: FIRST_PAUSE, deadline: None, failures: 0, of_its_own: 0 }
    }

    /// Waits until it may be asked again. False: it has answered, or there is no more time or use.
    async fn lasts(&mut self, error: &SessionStoreError) -> bool {
        if error.disposition() != Disposition::Unavailable {
            return false;
        }
        if self.stop.is_cancelled() {
            let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + LAST_PATIENCE);
            sleep(FIRST_PAUSE).await;
            return Instant::now() < deadline;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures > FAILURES_OF_AN_OUTAGE {
            let is_there = self.stop.run_until_cancelled(self.sessions.check()).await;
            self.of_its_own = if matches!(is_there, Some(Ok(()))) { self.of_its_own + 1 } else { 0 };
            if self.of_its_own > FAILURES_OF_ITS_OWN {
                return false;
            }
        }
        self.stop.run_until_cancelled(sleep(self.pause)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}
