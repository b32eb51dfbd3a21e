//! Whether everything that an object needs is there. While it is not, nothing is consumed and no attempt is burnt.

use std::{
    error::Error,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lazaret_core::{error::chain, ports::Queue};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::station::Station;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How long one dependency may take to answer. No answer is as good as a bad one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the dependencies, and remembers whether one was lost.
#[derive(Debug)]
pub struct Availability {
    station: Arc<Station>,
    queue: QueueHandle,
    state: Mutex<State>,
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
        Self { station, queue: QueueHandle(queue), state }
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
    }

    /// A dependency may have failed: consumption goes on as soon as all of them answer.
    pub(crate) fn doubt(&self) {
        self.state().losses += 1;
    }

    /// Whether consumption pauses, or has not begun yet.
    pub fn is_paused(&self) -> bool {
        self.state().is_lost()
    }

    /// Returns when every dependency answers, asking again and again with growing pauses.
    pub(crate) async fn wait(&self) {
        let mut told = String::new();
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
            match self.check().await {
                Ok(()) => {
                    info!("all dependencies answer, consuming");
                    let mut state = self.state();
                    state.answered = losses;
                    state.resumed_at = Some(Instant::now());
                }
                Err(missing) => {
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
        let station = &self.station;
        answer("queue", self.queue.0.check()).await?;
        answer("sessions", station.sessions.check()).await?;
        for bucket in [&station.settings.bucket, &station.settings.published_bucket] {
            answer("store", station.store.check(bucket)).await?;
        }
        for slot in &station.scanners {
            answer("scanner", slot.scanner.check()).await?;
        }
        answer("sandbox", station.transformer.self_test()).await
    }

    /// Numbers only: whole between any two statements.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer<T, E: Error>(name: &str, question: impl Future<Output = Result<T, E>>) -> Result<(), String> {
    match timeout(PATIENCE, question).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{name}: {}", chain(&error))),
        Err(_) => Err(format!("{name}: no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Half of the pause is fixed and half drawn, so that replicas do not come back in step.
pub(crate) fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let drawn = RandomState::new().hash_one(pause) % 1000;
    let thousandths = u32::try_from(drawn).unwrap_or(0);
    pause / 2 + pause * thousandths / 2000
}
