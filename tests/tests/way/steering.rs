//! What operators and platforms decide: finalize, release, reject.

use anyhow::Result;
use lazaret_tests::{
    objects::{Upload, eicar},
    station::Station,
    wait::until_true,
};

use crate::SETTLED_WITHIN;

#[tokio::test]
async fn an_upload_waits_to_be_finalized_where_that_is_required() -> Result<()> {
    let mut station = Station::new().await?;
    station.set("sessions.require_finalize", "true");
    let worker = station.worker("worker").await?;
    let empty = station.create(&Upload::text("nothing came"))?;
    let early = station.run(&["session", "finalize", &empty.upload_id])?;
    assert_eq!(early.code, Some(1), "{early:?}");

    let created = station.submit(&Upload::text("to be finalized")).await?;
    until_true("it is uploaded", SETTLED_WITHIN, async || Ok(station.show(&created.upload_id)?.state == "uploaded"))
        .await?;
    station.queue.drained(SETTLED_WITHIN).await?;
    assert!(station.store.published().await?.is_empty());
    station.succeed(&["session", "finalize", &created.upload_id])?;
    let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    assert_eq!(shown.outcome(), "published");
    for state in ["uploaded", "finalized", "published"] {
        assert_eq!(shown.times_reached(state), 1, "{state}: {:?}", shown.records("audit"));
    }
    let again = station.run(&["session", "finalize", &created.upload_id])?;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert_eq!(again.stderr.trim_end().lines().count(), 1, "{again:?}");
    drop(worker);
    Ok(())
}

#[tokio::test]
async fn a_held_upload_is_released_with_the_override_recorded() -> Result<()> {
    let station = Station::new().await?;
    let worker = station.worker("worker").await?;
    let upload = Upload::fixture("encrypted.zip", "application/zip")?;
    let created = station.submit(&upload).await?;
    let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    assert_eq!(shown.outcome(), "held/encrypted");
    assert!(station.store.published().await?.is_empty());
    station.succeed(&["session", "release", "--actor", "alice", &created.upload_id])?;
    let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    assert_eq!(shown.outcome(), "published");
    assert_eq!(shown.story["overrides"], serde_json::json!(["encrypted"]));
    let released = shown.records("audit").iter().find(|record| record["actor"] == "alice");
    assert_eq!(released.map(|record| &record["from"]), Some(&"held".into()), "{:?}", shown.records("audit"));
    let published = shown.published.expect("a published copy");
    assert_eq!(station.store.fetch(&published.key).await?.body, upload.bytes);
    drop(worker);
    Ok(())
}

#[tokio::test]
async fn a_held_upload_is_rejected_for_good() -> Result<()> {
    let station = Station::new().await?;
    let worker = station.worker("worker").await?;
    let created = station.submit(&Upload::fixture("encrypted.zip", "application/zip")?).await?;
    station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    station.succeed(&["session", "reject", &created.upload_id])?;
    assert_eq!(station.show(&created.upload_id)?.outcome(), "rejected/encrypted");
    for verb in ["release", "reject", "finalize"] {
        let ended = station.run(&["session", verb, &created.upload_id])?;
        assert_eq!(ended.code, Some(1), "{verb}: {ended:?}");
    }
    assert_eq!(station.show(&created.upload_id)?.outcome(), "rejected/encrypted");
    assert!(station.store.published().await?.is_empty());
    drop(worker);
    Ok(())
}

#[tokio::test]
async fn an_infected_upload_cannot_be_released() -> Result<()> {
    let station = Station::new().await?;
    let worker = station.worker("worker").await?;
    let created = station.submit(&Upload::new("eicar.txt", "text/plain", eicar())).await?;
    station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    let ended = station.run(&["session", "release", &created.upload_id])?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("rejected") && ended.stderr.trim_end().lines().count() == 1, "{ended:?}");
    assert_eq!(station.show(&created.upload_id)?.outcome(), "rejected/infected");
    assert!(station.store.published().await?.is_empty());
    drop(worker);
    Ok(())
}
