//! Every object is told of twenty times, in any order, to three workers on one database: each is settled once.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use lazaret_tests::{
    gate::Gate,
    metrics::Metrics,
    objects::{Upload, eicar, sha256},
    oracle::{self, Expected, Fate},
    servers::free_address,
    station::{Bus, Database, Station, get, minio_notification, notification},
    wait::until_true,
};

use crate::SETTLED_WITHIN;

const OBJECTS: usize = 18;
const TIMES: usize = 20;
const WORKERS: usize = 3;
/// How often a delivery has to find its object in another's hands before the scans go on.
const CONFLICTS: f64 = 10.0;
const ALL_SETTLED_WITHIN: Duration = Duration::from_mins(2);

#[tokio::test]
async fn heavy_twenty_duplicates_over_three_workers_are_settled_once_on_sqs() -> Result<()> {
    duplicates(Bus::Sqs).await
}

#[tokio::test]
async fn heavy_twenty_duplicates_over_three_workers_are_settled_once_on_rabbitmq() -> Result<()> {
    duplicates(Bus::Amqp).await
}

/// The versions of the published keys tell that none was written twice: a later write leaves another version.
async fn duplicates(bus: Bus) -> Result<()> {
    let mut station = Station::on(Database::Postgres, bus).await?;
    station.with_versions().await?;
    station.set("worker.lease", "3s");
    let gate = Gate::shut(station.servers.clamd_tcp, "held at the gate")?;
    station.set("scanner.0.address", format!("tcp:{}", gate.address));
    let expected = upload(&station).await?;
    tell_shuffled(&station, &expected).await?;
    let (mut workers, mut addresses) = (Vec::new(), Vec::new());
    for index in 0..WORKERS {
        let address = free_address()?;
        workers.push(station.start_worker(&format!("worker-{index}"), address)?);
        addresses.push(address);
    }
    until_true("workers meet at one object", SETTLED_WITHIN, async || {
        let busy = deliveries(&addresses).await.ok().and_then(|all| all.get("busy").copied());
        Ok(busy.is_some_and(|busy| busy >= CONFLICTS))
    })
    .await?;
    gate.open();
    station.queue.drained(ALL_SETTLED_WITHIN).await?;
    for one in &expected {
        station.settled(&one.created.upload_id, ALL_SETTLED_WITHIN).await?;
    }
    // RabbitMQ counts neither what a consumer holds nor what waits to be tried again.
    let times = if bus == Bus::Sqs { TIMES + 1 } else { TIMES };
    let (told, objects) = (f64::from(u32::try_from(OBJECTS * times)?), f64::from(u32::try_from(OBJECTS)?));
    until_true("every message is done with", ALL_SETTLED_WITHIN, async || {
        let all = deliveries(&addresses).await?;
        let done: f64 = ["settled", "already-settled", "missing"].iter().filter_map(|result| all.get(*result)).sum();
        Ok(done > told - 0.5)
    })
    .await?;
    let all = deliveries(&addresses).await?;
    eprintln!("deliveries: {all:?}");
    assert!((all["settled"] - objects).abs() < 0.5, "{all:?}");
    for address in &addresses {
        let one = deliveries(&[*address]).await?;
        assert!(one.values().sum::<f64>() > 0.0, "a worker without work shows nothing: {one:?}");
    }
    for worker in &mut workers {
        worker.terminate()?;
        ensure!(worker.ended(SETTLED_WITHIN).await?.success());
    }
    oracle::holds(&station, &expected).await?;
    for one in &expected {
        let shown = station.show(&one.created.upload_id)?;
        for state in ["created", "uploaded", "finalized", "published", "rejected"] {
            assert!(shown.times_reached(state) <= 1, "{state}: {:?}", shown.records("audit"));
        }
    }
    let keys = station.store.published().await?;
    let versions = station.store.versions("published/").await?;
    assert_eq!(versions.len(), keys.len(), "{versions:?}");
    assert_eq!(keys.len(), expected.iter().filter(|one| !matches!(one.fate, Fate::Ended(_))).count());
    Ok(())
}

/// A third passes as is and is held at the gate, a third is re-encoded, the rest are documents and infected.
async fn upload(station: &Station) -> Result<Vec<Expected>> {
    let mut expected = Vec::new();
    for index in 0..OBJECTS {
        let (upload, fate) = match index % 6 {
            0 | 1 => (Upload::text(&format!("held at the gate {index}")), Fate::AsIs),
            2 => (Upload::fixture(&format!("orientation-{}.jpg", index / 6 + 1), "image/jpeg")?, Fate::ReEncoded),
            3 => (Upload::fixture("16-bit.png", "image/png")?, Fate::ReEncoded),
            4 => (Upload::fixture("page.pdf", "application/pdf")?, Fate::AsIs),
            _ => (Upload::new("eicar.txt", "text/plain", eicar()), Fate::Ended("rejected/infected")),
        };
        let created = station.create(&upload)?;
        lazaret_tests::cli::put(&created, upload.bytes.clone()).await?;
        expected.push(Expected { created, upload, fate });
    }
    Ok(expected)
}

/// Sends `TIMES` messages for each object, in an order that no two runs share.
async fn tell_shuffled(station: &Station, expected: &[Expected]) -> Result<()> {
    let seed = UNIX_EPOCH.elapsed()?.as_nanos();
    eprintln!("order {seed}");
    let mut messages: Vec<_> = expected.iter().flat_map(|one| std::iter::repeat_n(one, TIMES)).enumerate().collect();
    messages.sort_by_cached_key(|(index, _)| sha256(format!("{seed} {index}").as_bytes()));
    for (_, Expected { created, .. }) in messages {
        let text = match station.bus {
            Bus::Sqs => notification(&created.bucket, &created.key),
            Bus::Amqp => minio_notification(&created.bucket, &created.key),
        };
        station.queue.send(&text).await?;
    }
    Ok(())
}

/// How deliveries ended, over all workers.
async fn deliveries(workers: &[SocketAddr]) -> Result<BTreeMap<&'static str, f64>> {
    let results = ["settled", "already-settled", "missing", "busy", "retry", "unavailable", "exhausted", "dead-letter"];
    let mut all = BTreeMap::new();
    for worker in workers {
        let metrics = Metrics::new(get(*worker, "/metrics").await.context("a worker does not answer")?.1);
        for result in results {
            *all.entry(result).or_insert(0.0) += metrics.deliveries(result).unwrap_or_default();
        }
    }
    Ok(all)
}
