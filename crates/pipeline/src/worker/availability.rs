//! Whether everything that an object needs is there. While it is not, nothing is consumed and no attempt is burnt.

use std::{
    error::Error,
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use lazaret_core::{error::chain, ports::Queue};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use crate::station::Station;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long one dependency may take to answer. No answer is as good as a bad one.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the session database is called among the dependencies.
const SESSIONS: &str = "sessions";

/// How long consumption waits for attempts to be given back after the database was away for long.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Asks the dependencies, and remembers whether one was lost.
#[derive(Debug)]
pub struct Availability {
    station: Arc<Station>,
    queue: QueueHandle,
    state: Mutex<State>,
    lost: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Raised with every loss and doubt: an answer to a question asked before says nothing of what came after.
    losses: u64,
    /// The last loss that the dependencies have answered for.
    answered: u64,
    /// How long to wait before the next question.
    pause: Duration,
    /// The last pause there was.
    last_pause: Duration,
    /// When consumption last began anew.
    resumed_at: Option<Instant>,
}

impl State {
    const fn is_lost(&self) -> bool {
        self.losses > self.answered
    }

    fn pause_longer(&mut self) {
        self.last_pause = (self.last_pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.pause = self.last_pause;
    }
}

struct QueueHandle(Arc<dyn Queue>);

impl std::fmt::Debug for QueueHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

impl Availability {
    /// Over the dependencies of `station` and the queue.
    pub fn new(station: Arc<Station>, queue: Arc<dyn Queue>) -> Self {
        // Nothing is taken for granted at the start.
        let state = Mutex::new(State { losses: 1, ..State::default() });
        Self { station, queue: QueueHandle(queue), state, lost: Notify::new() }
    }

    /// A dependency failed: consumption pauses until all of them answer again. One that answers the question and fails
    /// at the work, again and again, makes the pauses longer.
    pub(crate) fn lost(&self, error: &dyn Error) {
        let mut state = self.state();
        if !state.is_lost() {
            warn!(error = chain(error), "a dependency is unavailable, consumption pauses");
            if state.resumed_at.is_none_or(|at| at.elapsed() >= LONGEST_PAUSE) {
                state.last_pause = Duration::ZERO;
            }
            state.pause_longer();
        }
        state.losses += 1;
        drop(state);
        self.lost.notify_waiters();
    }

    /// A dependency may have failed: consumption goes on as soon as all of them answer.
    pub(crate) fn doubt(&self) {
        self.state().losses += 1;
        self.lost.notify_waiters();
    }

    /// Whether consumption pauses, or has not begun yet.
    pub fn is_paused(&self) -> bool {
        self.state().is_lost()
    }

    /// Returns when a dependency is lost or doubted.
    pub(crate) async fn until_lost(&self) {
        loop {
            let mut lost = pin!(self.lost.notified());
            lost.as_mut().enable();
            if self.is_paused() {
                return;
            }
            lost.await;
        }
    }

    /// Returns when every dependency answers, asking again and again with growing pauses.
    pub(crate) async fn wait(&self) {
        let mut told = String::new();
        let mut aftermath = Aftermath::new(self.station.settings.lease);
        loop {
            let (losses, pause) = {
                let mut state = self.state();
                if !state.is_lost() {
                    return;
                }
                (state.losses, mem::take(&mut state.pause))
            };
            if !pause.is_zero() {
                sleep(jittered(pause)).await;
            }
            match self.first_missing().await {
                None if aftermath.is_due() => sleep(AFTERMATH).await,
                None => {
                    info!("all dependencies answer, consuming");
                    let mut state = self.state();
                    state.answered = losses;
                    state.resumed_at = Some(Instant::now());
                }
                Some((name, missing)) => {
                    aftermath.missing(name);
                    if missing != told {
                        warn!(missing, "waiting for a dependency");
                        told = missing;
                    }
                    self.state().pause_longer();
                }
            }
        }
    }

    /// Asks each dependency once; the first that fails, in plain words.
    pub async fn check(&self) -> Result<(), String> {
        self.first_missing().await.map_or(Ok(()), |(_, missing)| Err(missing))
    }

    async fn first_missing(&self) -> Option<(&'static str, String)> {
        let station = &self.station;
        let buckets = [&station.settings.bucket, &station.settings.published_bucket];
        let mut questions = vec![
            answer("queue", self.queue.0.check()).boxed(),
            answer(SESSIONS, station.sessions.check()).boxed(),
            answer("sandbox", station.transformer.self_test()).boxed(),
        ];
        questions.extend(buckets.map(|bucket| answer("store", station.store.check(bucket)).boxed()));
        questions.extend(station.scanners.iter().map(|slot| answer("scanner", slot.scanner.check()).boxed()));
        join_all(questions).await.into_iter().flatten().next()
    }

    /// Numbers only: whole between any two statements.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the database was away for so long that leases may have run out meanwhile. Then every worker gives its own
/// attempts back before any worker begins new ones: an attempt that was taken over cannot be given back any more.
struct Aftermath {
    lease: Duration,
    since: Instant,
    database_was_away: bool,
}

impl Aftermath {
    fn new(lease: Duration) -> Self {
        Self { lease, since: Instant::now(), database_was_away: false }
    }

    fn missing(&mut self, name: &str) {
        self.database_was_away |= name == SESSIONS;
    }

    /// True once for each time that the database was away.
    fn is_due(&mut self) -> bool {
        mem::take(&mut self.database_was_away) && self.since.elapsed() > self.lease / 2
    }
}

async fn answer<T, E: Error>(
    name: &'static str,
    question: impl Future<Output = Result<T, E>>,
) -> Option<(&'static str, String)> {
    match timeout(PATIENCE, question).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some((name, format!("{name}: {}", chain(&error)))),
        Err(_) => Some((name, format!("{name}: no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// Half of the pause is fixed and half drawn, so that replicas do not come back in step.
pub(crate) fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let drawn = RandomState::new().hash_one(pause) % 1000;
    let thousandths = u32::try_from(drawn).unwrap_or(0);
    pause / 2 + pause * thousandths / 2000
}
