//! Waiting for what is to happen, never for a while.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;

const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Asks `probe` again and again until it answers. At the deadline the error names `what` did not happen.
pub async fn until<T>(what: &str, within: Duration, mut probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = probe().await? {
            return Ok(answer);
        }
        if started.elapsed() >= within {
            bail!("not within {} s: {what}", within.as_secs());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// [`until`] for a condition without an answer.
pub async fn until_true(what: &str, within: Duration, mut probe: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    until(what, within, async || Ok(probe().await?.then_some(()))).await
}
