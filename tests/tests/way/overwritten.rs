//! While clamd is stalled, the key is overwritten with other bytes of the same length: what is published is what was
//! scanned, or nothing.

use anyhow::{Result, ensure};
use lazaret_tests::{
    gate::Gate,
    objects::{Upload, sha256},
    station::Station,
    wait::until_true,
};

use crate::SETTLED_WITHIN;

const SCANNED: &str = "the text that is scanned";
const OTHER: &str = "the text that came later";

#[tokio::test]
async fn an_overwrite_during_the_scan_is_not_published() -> Result<()> {
    overwrite_during_scan(&mut Station::new().await?).await
}

#[tokio::test]
async fn an_overwrite_during_the_scan_is_not_published_from_a_bucket_with_versions() -> Result<()> {
    let mut station = Station::new().await?;
    station.with_versions().await?;
    overwrite_during_scan(&mut station).await
}

/// Text passes as is, so a store that copies by key alone would publish the later bytes.
async fn overwrite_during_scan(station: &mut Station) -> Result<()> {
    ensure!(SCANNED.len() == OTHER.len(), "the lengths have to be the same");
    let gate = Gate::shut(station.servers.clamd_tcp, SCANNED)?;
    station.set("scanner.0.address", format!("tcp:{}", gate.address));
    let worker = station.worker("worker").await?;
    let upload = Upload::new("note.txt", "text/plain", SCANNED);
    let created = station.submit(&upload).await?;
    until_true("the scan waits", SETTLED_WITHIN, async || Ok(gate.waiting() > 0)).await?;
    lazaret_tests::cli::put(&created, OTHER).await?;
    gate.open();
    let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    station.queue.drained(SETTLED_WITHIN).await?;
    let keys = station.store.published().await?;
    match &shown.published {
        Some(published) => {
            ensure!(keys.len() == 1 && keys.contains(&published.key), "{keys:?}");
            let fetched = station.store.fetch(&published.key).await?;
            assert_eq!(String::from_utf8(fetched.body)?, SCANNED);
            assert_eq!(published.sha256, sha256(SCANNED.as_bytes()));
        }
        None => assert!(keys.is_empty(), "{} with {keys:?}", shown.outcome()),
    }
    assert_eq!(shown.times_reached(&shown.state), 1, "{:?}", shown.records("audit"));
    drop(worker);
    Ok(())
}
