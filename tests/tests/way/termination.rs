//! SIGTERM while scans are in flight.

use std::time::{Duration, Instant};

use anyhow::Result;
use lazaret_tests::{gate::Gate, objects::Upload, station::Station, wait::until_true};

use crate::SETTLED_WITHIN;

const IN_FLIGHT: usize = 3;
const DRAIN: Duration = Duration::from_secs(2);
/// What a clean end may cost on top of the grace.
const MARGIN: Duration = Duration::from_secs(8);

/// The scans never end: the worker gives its deliveries back within its grace, and no attempt is burnt.
#[tokio::test]
async fn work_that_does_not_end_in_time_is_given_back() -> Result<()> {
    let mut station = Station::new().await?;
    station.set("worker.drain_timeout", "2s");
    let gate = Gate::shut(station.servers.clamd_tcp, "in flight")?;
    station.set("scanner.0.address", format!("tcp:{}", gate.address));
    let mut first = station.worker("first").await?;
    let mut uploads = Vec::new();
    for index in 0..IN_FLIGHT {
        uploads.push(station.submit(&Upload::text(&format!("in flight {index}"))).await?);
    }
    until_true("all scans wait", SETTLED_WITHIN, async || Ok(gate.waiting() >= IN_FLIGHT)).await?;
    let began = Instant::now();
    first.terminate()?;
    let status = first.ended(DRAIN + MARGIN).await?;
    eprintln!("ended {:?} after SIGTERM", began.elapsed());
    assert!(status.success(), "{status}");
    assert!(station.store.published().await?.is_empty());
    for created in &uploads {
        let shown = station.show(&created.upload_id)?;
        assert!(!shown.is_settled(), "{}", shown.outcome());
        assert_eq!(shown.story["attempts"], 0, "no attempt is burnt: {:?}", shown.story);
    }
    gate.open();
    let second = station.worker("second").await?;
    for created in &uploads {
        let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
        assert_eq!(shown.outcome(), "published");
        assert_eq!(shown.times_reached("published"), 1);
    }
    station.queue.drained(SETTLED_WITHIN).await?;
    assert_eq!(station.dead_letters.left().await?, (0, 0));
    drop(second);
    Ok(())
}

/// The scans end within the grace: their objects are settled by the worker that is going.
#[tokio::test]
async fn work_that_ends_in_time_is_finished() -> Result<()> {
    let mut station = Station::new().await?;
    let gate = Gate::shut(station.servers.clamd_tcp, "nearly done")?;
    station.set("scanner.0.address", format!("tcp:{}", gate.address));
    let mut worker = station.worker("worker").await?;
    let created = station.submit(&Upload::text("nearly done")).await?;
    until_true("the scan waits", SETTLED_WITHIN, async || Ok(gate.waiting() > 0)).await?;
    worker.terminate()?;
    until_true("the worker drains", SETTLED_WITHIN, async || Ok(worker.stderr()?.contains("draining"))).await?;
    gate.open();
    let status = worker.ended(SETTLED_WITHIN).await?;
    assert!(status.success(), "{status}");
    assert_eq!(station.show(&created.upload_id)?.outcome(), "published");
    assert_eq!(station.queue.left().await?, (0, 0));
    Ok(())
}
