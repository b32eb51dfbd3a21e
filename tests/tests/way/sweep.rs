//! `lazaret sweep`: what was abandoned, what nobody asked for, what has been kept long enough.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use lazaret_tests::{
    objects::{Upload, eicar},
    station::Station,
    wait::{until, until_true},
};
use serde_json::Value;

use crate::SETTLED_WITHIN;

#[tokio::test]
async fn what_was_left_is_swept_and_a_dry_run_changes_nothing() -> Result<()> {
    let mut station = Station::new().await?;
    station.set("sweeper.grace", "1s");
    station.set("limits.retain_rejected", "1s");
    let worker = station.worker("worker").await?;
    let infected = station.submit(&Upload::new("eicar.txt", "text/plain", eicar())).await?;
    station.settled(&infected.upload_id, SETTLED_WITHIN).await?;
    drop(worker);
    let abandoned = station.create_with(&Upload::text("never sent"), &["--expires-in", "1s"])?;
    let waiting = station.create(&Upload::text("still to come"))?;
    let orphan = "quarantine/nobody/asked for this";
    station.store.put(orphan, "text/plain", b"orphan".to_vec()).await?;
    let upload = station.store.client.create_multipart_upload().bucket(&station.store.bucket);
    let multipart = upload.key("quarantine/half/an upload").send().await?.upload_id.context("no id")?;

    let expected = BTreeSet::from(["expired-session", "multipart-upload", "original", "orphan"].map(str::to_owned));
    // The grace has to pass first.
    until("everything is due", SETTLED_WITHIN, async || {
        let planned = swept(&station, &["--dry-run"])?;
        Ok((planned == expected).then_some(()))
    })
    .await?;
    assert_eq!(station.show(&abandoned.upload_id)?.state, "created", "a dry run changes nothing");
    let lying = station.store.quarantined().await?;
    assert!(lying.contains(orphan) && lying.contains(&infected.key), "{lying:?}");
    assert_eq!(open_uploads(&station).await?, [multipart]);

    assert_eq!(swept(&station, &[])?, expected);
    assert_eq!(station.show(&abandoned.upload_id)?.outcome(), "expired/abandoned");
    assert_eq!(station.show(&waiting.upload_id)?.outcome(), "created");
    let rejected = station.show(&infected.upload_id)?;
    assert_eq!(rejected.outcome(), "rejected/infected");
    assert!(!rejected.story["original_deleted_at"].is_null(), "{:?}", rejected.story);
    assert!(station.store.keys("").await?.is_empty());
    assert!(open_uploads(&station).await?.is_empty());
    assert!(swept(&station, &[])?.is_empty(), "nothing is left to sweep");
    Ok(())
}

#[tokio::test]
async fn what_is_young_or_in_use_is_not_swept() -> Result<()> {
    let mut station = Station::new().await?;
    station.set("limits.retain_rejected", "1h");
    let worker = station.worker("worker").await?;
    let infected = station.submit(&Upload::new("eicar.txt", "text/plain", eicar())).await?;
    let held = station.submit(&Upload::fixture("encrypted.zip", "application/zip")?).await?;
    for created in [&infected, &held] {
        station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    }
    drop(worker);
    let orphan = "quarantine/nobody/asked for this";
    station.store.put(orphan, "text/plain", b"orphan".to_vec()).await?;
    let arrived = station.submit(&Upload::text("its event is on the way")).await?;
    assert!(swept(&station, &[])?.is_empty());
    let lying = station.store.quarantined().await?;
    for key in [&infected.key, &held.key, &arrived.key, orphan] {
        assert!(lying.contains(key), "{key} is gone");
    }
    Ok(())
}

/// An upload whose event was lost is found by its session's end and processed, not swept away.
#[tokio::test]
async fn an_upload_whose_event_was_lost_is_recovered() -> Result<()> {
    let station = Station::new().await?;
    let upload = Upload::text("lost");
    let created = station.create_with(&upload, &["--expires-in", "1s"])?;
    station.store.put(&created.key, "text/plain", upload.bytes).await?;
    until("its event is taken away", SETTLED_WITHIN, async || {
        let taken = station.queue.take().await?;
        Ok(taken.iter().any(|(body, _)| body.contains(&created.upload_id)).then_some(()))
    })
    .await?;
    until_true("it is recovered", SETTLED_WITHIN, async || Ok(swept(&station, &[])?.contains("recovered-session")))
        .await?;
    let worker = station.worker("worker").await?;
    assert_eq!(station.settled(&created.upload_id, SETTLED_WITHIN).await?.outcome(), "published");
    drop(worker);
    Ok(())
}

/// The kinds of what one sweep did.
fn swept(station: &Station, options: &[&str]) -> Result<BTreeSet<String>> {
    let mut command = station.command();
    command.args(["sweep", "--output", "json"]).args(options);
    let report: Value = lazaret_tests::program::Ended::run(&mut command)?.json()?;
    let swept = report["swept"].as_array().context("no list of what was swept")?;
    Ok(swept.iter().map(|one| one["what"].as_str().unwrap_or_default().to_owned()).collect())
}

async fn open_uploads(station: &Station) -> Result<Vec<String>> {
    let request = station.store.client.list_multipart_uploads().bucket(&station.store.bucket);
    let open = request.send().await?;
    Ok(open.uploads().iter().filter_map(|upload| upload.upload_id().map(str::to_owned)).collect())
}
