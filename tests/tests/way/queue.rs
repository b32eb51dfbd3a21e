//! Messages that are none of our business, or nobody's.

use anyhow::Result;
use lazaret_tests::{
    objects::Upload,
    station::{Queue, Station, notification},
    wait::until,
};

use crate::SETTLED_WITHIN;

const GARBAGE: [&str; 4] =
    ["not JSON {", "{\"hello\":\"world\"}", "[]", "{\"Records\":[{\"eventSource\":\"aws:s3\"}]}"];

#[tokio::test]
async fn garbage_is_dead_lettered_with_its_reason_and_the_rest_is_counted() -> Result<()> {
    let station = Station::new().await?;
    for message in GARBAGE {
        station.queue.send(message).await?;
    }
    let gone = station.create(&Upload::text("never sent"))?;
    station.queue.send(&notification(&station.store.bucket, &gone.key)).await?;
    station.queue.send(&notification("a-foreign-bucket", "quarantine/x")).await?;
    station.queue.send(&notification(&station.store.bucket, "elsewhere/x")).await?;
    let mut worker = station.worker("worker").await?;
    station.queue.drained(SETTLED_WITHIN).await?;

    let buried = all(&station.dead_letters, GARBAGE.len()).await?;
    for message in GARBAGE {
        let (_, attributes) = &buried.iter().find(|(body, _)| body == message).expect("the message is buried");
        assert!(attributes.to_lowercase().contains("reason"), "{message}: {attributes}");
    }
    let log = worker.stderr()?;
    let told = log.lines().filter(|line| line.contains("not understood")).count();
    assert_eq!(told, GARBAGE.len(), "{log}");

    let metrics = station.metrics().await?;
    let counted = |result: &str| metrics.deliveries(result);
    assert!((counted("dead-letter")? - 4.0).abs() < 0.5, "{}", metrics.text());
    assert!((counted("missing")? - 1.0).abs() < 0.5, "{}", metrics.text());
    // The server's own test event is one of them.
    assert!(counted("not-ours")? >= 2.0, "{}", metrics.text());

    let shown = station.show(&gone.upload_id)?;
    assert!(!shown.is_settled(), "{}", shown.outcome());
    assert_eq!(shown.story["attempts"], 0, "an object that is not there burns no attempt");

    // And it works on.
    let created = station.submit(&Upload::text("after the garbage")).await?;
    assert_eq!(station.settled(&created.upload_id, SETTLED_WITHIN).await?.outcome(), "published");
    worker.ensure_up()
}

/// The same event three times, and once more after the object was settled.
#[tokio::test]
async fn a_repeated_event_changes_nothing() -> Result<()> {
    let station = Station::new().await?;
    let upload = Upload::text("many events");
    let created = station.submit(&upload).await?;
    for _ in 0..3 {
        station.queue.send(&notification(&created.bucket, &created.key)).await?;
    }
    let worker = station.worker("worker").await?;
    station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    station.queue.drained(SETTLED_WITHIN).await?;
    station.queue.send(&notification(&created.bucket, &created.key)).await?;
    station.queue.drained(SETTLED_WITHIN).await?;
    let shown = station.show(&created.upload_id)?;
    assert_eq!(shown.outcome(), "published");
    assert_eq!(shown.times_reached("published"), 1, "{:?}", shown.records("audit"));
    assert_eq!(station.store.published().await?.len(), 1);
    assert!(station.store.quarantined().await?.is_empty());
    drop(worker);
    Ok(())
}

async fn all(queue: &Queue, count: usize) -> Result<Vec<(String, String)>> {
    let mut taken = Vec::new();
    until("the dead letters arrive", SETTLED_WITHIN, async || {
        taken.extend(queue.take().await?);
        Ok((taken.len() >= count).then_some(()))
    })
    .await?;
    assert_eq!(taken.len(), count, "{taken:?}");
    Ok(taken)
}
