//! What operators do beside running workers: dead letters, reconciliation, the doctor, and a worker whose database comes
//! later than it does. On both queues and both databases.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result};
use lazaret_testkit::proxy::{Faults, Protocol, Proxy};
use lazaret_tests::{
    objects::Upload,
    queue::Bus,
    station::{Database, Station},
    wait::until_true,
};
use serde_json::Value;

use crate::SETTLED_WITHIN;

const BOTH: [(Database, Bus); 2] = [(Database::Sqlite, Bus::Sqs), (Database::Postgres, Bus::Amqp)];

fn json(station: &Station, arguments: &[&str]) -> Result<Value> {
    let arguments: Vec<_> = arguments.iter().copied().chain(["--output", "json"]).collect();
    station.succeed(&arguments)?.json()
}

/// Two dead letters, which the worker made.
async fn with_dead_letters(station: &Station) -> Result<()> {
    let mut worker = station.worker("worker").await?;
    for body in ["no event: one", "no event: two"] {
        station.queue.send(body).await?;
    }
    until_true("both are dead letters", SETTLED_WITHIN, async || Ok(station.dead_letters.left().await?.0 == 2)).await?;
    worker.terminate()?;
    worker.ended(SETTLED_WITHIN).await?;
    Ok(())
}

#[tokio::test]
async fn dead_letters_are_looked_at_left_and_put_back() -> Result<()> {
    for (database, bus) in BOTH {
        let station = Station::on(database, bus).await?;
        with_dead_letters(&station).await?;
        for _ in 0..2 {
            let listed = json(&station, &["dead-letters", "list"])?;
            let listed = listed.as_array().context("no list")?;
            assert_eq!(listed.len(), 2, "{listed:?}");
            for letter in listed {
                assert!(letter["reason"].as_str().is_some_and(|reason| reason.contains("not JSON")), "{letter}");
            }
        }
        let first = json(&station, &["dead-letters", "list", "--limit", "1"])?[0]["message_id"].clone();
        let first = first.as_str().context("no id")?;
        let counted = json(&station, &["dead-letters", "redrive", "--dry-run"])?;
        assert_eq!(counted["redriven"], 2, "{counted}");
        let named = json(&station, &["dead-letters", "redrive", "--id", first])?;
        assert_eq!((&named["redriven"], &named["failed"]), (&1.into(), &0.into()), "{named}");
        until_true("one is left", SETTLED_WITHIN, async || Ok(station.dead_letters.left().await?.0 == 1)).await?;
        let rest = json(&station, &["dead-letters", "redrive"])?;
        assert_eq!(rest["redriven"], 1, "{rest}");
        assert_eq!(json(&station, &["dead-letters", "list"])?, serde_json::json!([]));
        until_true("both are back", SETTLED_WITHIN, async || Ok(station.queue.left().await?.0 == 2)).await?;
        let missing = station.run(&["dead-letters", "redrive", "--id", "nobody"])?;
        assert_eq!(missing.code, Some(1), "{missing:?}");
    }
    Ok(())
}

/// A worker that runs makes a dead letter again of what was put back: the command ends all the same.
#[tokio::test]
async fn a_redrive_ends_beside_a_worker_that_understands_no_more_than_before() -> Result<()> {
    let station = Station::on(Database::Sqlite, Bus::Amqp).await?;
    with_dead_letters(&station).await?;
    let worker = station.worker("again").await?;
    let redriven = json(&station, &["dead-letters", "redrive"])?;
    assert_eq!(redriven["redriven"], 2, "{redriven}");
    until_true("they are back", SETTLED_WITHIN, async || Ok(station.dead_letters.left().await?.0 == 2)).await?;
    drop(worker);
    Ok(())
}

#[tokio::test]
async fn lost_events_are_made_up_for_while_a_worker_runs() -> Result<()> {
    for (database, bus) in BOTH {
        let station = Station::on(database, bus).await?;
        let mut created = Vec::new();
        for number in 0..3 {
            created.push(station.submit(&Upload::text(&format!("lost {number}"))).await?);
        }
        // Their events are lost.
        let mut lost = 0;
        until_true("the events are lost", SETTLED_WITHIN, async || {
            lost += station.queue.take().await?.len();
            Ok(lost >= 3)
        })
        .await?;
        let dry = json(&station, &["reconcile", "--dry-run"])?;
        assert_eq!((&dry["seen"], &dry["requested"], &dry["complete"]), (&3.into(), &3.into(), &true.into()), "{dry}");
        let worker = station.worker("worker").await?;
        let checkpoint = station.folder.path().join("checkpoint.json");
        let checkpoint = checkpoint.to_str().context("a path that is no text")?;
        let asked = json(&station, &["reconcile", "--rate", "1000", "--checkpoint", checkpoint])?;
        assert_eq!(asked["seen"], 3, "{asked}");
        assert!(!std::path::Path::new(checkpoint).exists(), "a run that ended leaves no checkpoint");
        for upload in &created {
            assert_eq!(station.settled(&upload.upload_id, SETTLED_WITHIN).await?.outcome(), "published");
        }
        drop(worker);
    }
    Ok(())
}

#[tokio::test]
async fn an_interrupted_reconciliation_says_where_to_go_on_and_does() -> Result<()> {
    let station = Station::new().await?;
    for number in 0..6 {
        station.store.put(&format!("quarantine/orphan-{number}"), "text/plain", vec![b'x']).await?;
    }
    let checkpoint = station.folder.path().join("checkpoint.json");
    let mut slow = station.command();
    slow.args(["reconcile", "--rate", "1", "--output", "json", "--checkpoint"]).arg(&checkpoint);
    let mut slow = slow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    until_true("it keeps its place", SETTLED_WITHIN, async || Ok(checkpoint.exists())).await?;
    let id = rustix::process::Pid::from_raw(i32::try_from(slow.id())?).context("no process")?;
    rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
    let code = slow.wait()?.code();
    assert_eq!(code, Some(1));
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&checkpoint)?)?;
    let after = kept["start_after"].as_str().context("no place")?.to_owned();
    let done: u64 = after.trim_start_matches("quarantine/orphan-").parse::<u64>()? + 1;
    let rest = json(&station, &["reconcile", "--checkpoint", checkpoint.to_str().unwrap_or_default()])?;
    assert_eq!(rest["seen"], 6 - done, "{rest}");
    let named = json(&station, &["reconcile", "--start-after", &after])?;
    assert_eq!(named["seen"], 6 - done, "{named}");
    Ok(())
}

#[tokio::test]
async fn the_doctor_finds_nothing_wrong_with_a_station() -> Result<()> {
    for (database, bus) in BOTH {
        let station = Station::on(database, bus).await?;
        let ended = station.run(&["doctor", "--output", "json"])?;
        let diagnosis: Value = ended.json()?;
        assert_eq!((ended.code, &diagnosis["ok"]), (Some(0), &true.into()), "{diagnosis:#}");
        assert!(station.store.keys("published/").await?.is_empty(), "the probe leaves nothing behind");
    }
    Ok(())
}

/// Telemetry answers and is not ready; as soon as the database is there, the worker begins.
#[tokio::test]
async fn a_worker_waits_for_its_database() -> Result<()> {
    let mut station = Station::on(Database::Postgres, Bus::Amqp).await?;
    let server = station.database_server()?.context("no server")?;
    let proxy = Proxy::start("database", Protocol::Postgres, server, &Faults::new())?;
    proxy.down()?;
    let url = station.database_through(proxy.address())?;
    station.set_for_workers("sessions.url", url);
    let mut worker = station.start_worker("worker", station.listen)?;
    until_true("it says what it waits for", SETTLED_WITHIN, async || {
        worker.ensure_up()?;
        Ok(station.get("/readyz").await.is_ok_and(|(status, body)| status == 503 && body.contains("session database")))
    })
    .await?;
    assert_eq!(station.get("/healthz").await?.0, 200);
    proxy.up()?;
    until_true("it is ready", Duration::from_mins(1), async || {
        worker.ensure_up()?;
        Ok(station.get("/readyz").await.is_ok_and(|(status, _)| status == 200))
    })
    .await?;
    drop((worker, proxy));
    Ok(())
}
