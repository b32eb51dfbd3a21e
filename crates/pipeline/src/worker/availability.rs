//! Whether everything that an object needs is there. While it is not, nothing is consumed and no attempt is burnt.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lazaret_core::ports::Queue;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{passage::describe, station::Station};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Asks the dependencies, and remembers whether one was lost.
#[derive(Debug)]
pub struct Availability {
    station: Arc<Station>,
    queue: QueueHandle,
    // Nothing is taken for granted at the start.
    lost: AtomicBool,
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
        Self { station, queue: QueueHandle(queue), lost: AtomicBool::new(true) }
    }

    /// A dependency failed: consumption pauses until all of them answer again.
    pub(crate) fn lost(&self, error: &dyn Error) {
        if !self.lost.swap(true, Ordering::AcqRel) {
            warn!(error = describe(error), "a dependency is unavailable, consumption pauses");
        }
    }

    /// Returns when every dependency answers, asking again and again with growing pauses.
    pub(crate) async fn wait(&self) {
        if !self.lost.load(Ordering::Acquire) {
            return;
        }
        let mut pause = FIRST_PAUSE;
        let mut told = String::new();
        loop {
            let Err(missing) = self.check().await else { break };
            if missing != told {
                warn!(missing, "waiting for a dependency");
                told = missing;
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.lost.store(false, Ordering::Release);
        info!("all dependencies answer, consuming");
    }

    /// Asks each dependency once; the first that fails, in plain words.
    pub async fn check(&self) -> Result<(), String> {
        let named = |name: &str, error: &dyn Error| format!("{name}: {}", describe(error));
        let station = &self.station;
        self.queue.0.check().await.map_err(|error| named("queue", &error))?;
        station.sessions.check().await.map_err(|error| named("sessions", &error))?;
        for bucket in [&station.settings.bucket, &station.settings.published_bucket] {
            station.store.check(bucket).await.map_err(|error| named("store", &error))?;
        }
        for slot in &station.scanners {
            slot.scanner.check().await.map_err(|error| named("scanner", &error))?;
        }
        station.transformer.self_test().await.map_err(|error| named("sandbox", &error))
    }
}

/// Half of the pause is fixed and half drawn, so that replicas do not come back in step.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let drawn = RandomState::new().hash_one(pause) % 1000;
    let thousandths = u32::try_from(drawn).unwrap_or(0);
    pause / 2 + pause * thousandths / 2000
}
