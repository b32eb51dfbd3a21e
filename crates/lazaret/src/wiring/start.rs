//! What a worker waits for, and finds out, before it begins.

use std::{error::Error, time::Duration};

use anyhow::Result;
use lazaret_core::error::chain;
use lazaret_sessions::SqlSessionStore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::{Wired, sessions_for_work};
use crate::{failure, settings::Settings, telemetry::Readiness};

/// The first pause between two tries to open the database, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a probe of the store that is asked to stop may take to remove its objects.
const PROBE_GRACE: Duration = Duration::from_secs(5);

/// The session database, as soon as it answers. None: `stop` came first. An error where waiting does not help: it is not
/// migrated, or refuses us.
pub async fn wait_for_sessions(
    settings: &Settings,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<Option<SqlSessionStore>> {
    let (mut pause, mut told) = (FIRST_PAUSE, String::new());
    readiness.wait_for("waiting for the session database");
    loop {
        let Some(opened) = stop.run_until_cancelled(sessions_for_work(settings)).await else { return Ok(None) };
        let error = match opened {
            Ok(sessions) => return Ok(Some(sessions)),
            Err(error) if failure::may_pass(&error) => error,
            Err(error) => return Err(error.into()),
        };
        let missing = chain(&error);
        readiness.wait_for(format!("waiting for the session database: {missing}"));
        if missing != told {
            let advice = failure::advice_for(&error).unwrap_or_default();
            warn!(error = &error as &dyn Error, advice, "the session database does not answer, waiting for it");
            told = missing;
        }
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            return Ok(None);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Finds out what the store honours. A store that cannot be probed is published to in the way that needs nothing of it.
pub async fn probe_store(wired: &Wired, stop: &CancellationToken) {
    let settings = &wired.station.settings;
    let probing = wired.store.probe(&settings.published_bucket, &settings.published_prefix, Uuid::now_v7());
    // Dropped half-way, the probe would leave its objects behind.
    let given_up = async {
        stop.cancelled().await;
        sleep(PROBE_GRACE).await;
    };
    tokio::select! {
        probed = probing => match probed {
            Ok(found) => {
                let copies = found.copies_versions();
                info!(copies_at_the_store = copies, versions = %found.versions, multipart = %found.multipart, "the store was probed");
                if let Some(warning) = found.warning() {
                    warn!(warning, "not everything is known of the store");
                }
            }
            Err(error) => warn!(
                error = chain(&error),
                "the store could not be probed: objects are published from the spool, never by a copy at the store"
            ),
        },
        () = given_up => {}
    }
}
