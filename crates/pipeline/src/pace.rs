//! So many a second and no more.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::{Instant, sleep_until};

/// When the next one may begin.
pub(crate) struct Pace {
    every: Option<Duration>,
    due: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self { every: per_second.map(|rate| Duration::from_secs(1) / rate.get()), due: Instant::now() }
    }

    /// None: at once. Time that was lost is not caught up on.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        let every = self.every?;
        let due = self.due.max(Instant::now());
        self.due = due + every;
        Some(due)
    }
}

pub(crate) async fn until(due: Option<Instant>) {
    if let Some(due) = due {
        sleep_until(due).await;
    }
}
