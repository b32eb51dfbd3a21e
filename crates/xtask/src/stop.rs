//! Ctrl-C and its relatives as a flag, so that every wait can end and every guard can run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Turns SIGINT, SIGTERM and SIGHUP into the flag.
pub(crate) fn listen() -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&REQUESTED)).context("cannot watch for Ctrl-C")?;
    }
    Ok(())
}

pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Waits a while, shorter when a stop is requested.
pub(crate) fn pause(within: Duration) {
    let started = Instant::now();
    while !requested() && started.elapsed() < within {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Asks `probe` again and again until it answers, the deadline passes (`Ok(None)`) or a stop is requested.
pub(crate) fn poll<T>(within: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let started = Instant::now();
    loop {
        if requested() {
            bail!("interrupted");
        }
        if let Some(answer) = probe()? {
            return Ok(Some(answer));
        }
        if started.elapsed() >= within {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}
