//! Small objects through replicas on one machine: objects per second, CPU time per object, time from event to settled.
//!
//! Sessions are kept in PostgreSQL, events travel over RabbitMQ, clamd scans over its unix socket, and the store is the S3
//! endpoint of `lazaret dev`, which keeps objects on disk: ministack would be what is measured. Store, broker, database
//! and clamd share the machine with the workers.

use std::{
    collections::HashMap,
    env, fs,
    num::NonZero,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lazaret_core::{StateName, Timestamp, UploadId, ports::SessionStore};
use lazaret_tests::{
    dev::Dev,
    direct::new_session,
    objects::{Upload, fixture},
    program::Running,
    servers::free_address,
    station::{Bus, Database, Station},
    wait::until_true,
};
use serde_json::json;
use tokio::{task::JoinSet, time::interval};

/// Out of sight of the worker inside `lazaret dev`.
const PREFIX: &str = "inbox/";
const TEXT_BYTES: usize = 4096;
const AT_ONCE: usize = 32;
const SETTLED_WITHIN: Duration = Duration::from_mins(30);
/// `USER_HZ`, the unit of times in /proc, is 100 wherever Rust runs on Linux (time(7)).
const TICKS_PER_SECOND: u64 = 100;
/// One object in this many is sent again at half of the rate that was reached, for the time from event to settled.
const TIMED_SHARE: usize = 10;

fn main() -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Result<()> {
    let objects = number("LAZARET_BENCH_OBJECTS", 10_000)?;
    let replicas = number("LAZARET_BENCH_REPLICAS", 3)?;
    let mut station = Station::on(Database::Postgres, Bus::Amqp).await?;
    let dev = Dev::start(station.folder.path(), &[]).await?;
    for (key, value) in [
        ("storage.bucket", dev.ready.bucket.as_str()),
        ("storage.endpoint", &dev.ready.endpoint),
        ("storage.access_key_id", &dev.ready.access_key_id),
        ("storage.secret_access_key", &dev.ready.secret_access_key),
        ("storage.quarantine_prefix", PREFIX),
    ] {
        station.set(key, value);
    }
    let sessions = station.sessions().await?;
    let crowd = upload(&sessions, &dev, objects).await?;

    let mut workers = Vec::new();
    for index in 0..replicas {
        workers.push(station.worker_at(&format!("worker-{index}"), free_address()?).await?);
    }
    let before = cpu_time(&workers)?;
    let began = Instant::now();
    tell(&station, &dev, &crowd, None).await?;
    all_settled(&sessions).await?;
    let took = began.elapsed();
    let cpu = cpu_time(&workers)?.checked_sub(before).context("time runs backwards")?;
    let rate = per_second(crowd.len(), took);

    let late = upload(&sessions, &dev, (objects / TIMED_SHARE).max(1)).await?;
    let pause = Duration::from_secs_f64(2.0 / rate);
    let told = tell(&station, &dev, &late, Some(pause)).await?;
    all_settled(&sessions).await?;
    let latencies = times_to_settled(&sessions, &told).await?;

    println!("objects              {}", crowd.len());
    println!(
        "replicas             {replicas} on {} cores",
        std::thread::available_parallelism().map_or(0, NonZero::get)
    );
    println!("all settled after    {:.1} s", took.as_secs_f64());
    println!("objects per second   {rate:.0}");
    println!("CPU per object       {:.2} ms (workers and their jails)", 1000.0 / per_second(crowd.len(), cpu));
    println!("event to settled     p50 {:.0} ms, p99 {:.0} ms", quantile(&latencies, 50)?, quantile(&latencies, 99)?);
    println!("                     ({} objects at {:.0} a second)", late.len(), rate / 2.0);
    workers.into_iter().chain([dev.process]).try_for_each(Running::dismiss)
}

fn number(name: &str, default: usize) -> Result<usize> {
    env::var(name).map_or(Ok(default), |text| text.parse().with_context(|| format!("{name} = {text:?}")))
}

/// Four texts, published as they are, to one picture, which is re-encoded.
fn object(index: usize) -> Result<Upload> {
    if index.is_multiple_of(5) {
        return Upload::fixture("transparent.png", "image/png");
    }
    let mut text = format!("Lazaret benchmark text {index}. ").repeat(TEXT_BYTES / 32);
    text.truncate(TEXT_BYTES);
    Ok(Upload::new("note.txt", "text/plain", text))
}

/// Sessions straight in the database and objects with our own credentials: it is not the uploading that is measured.
async fn upload(sessions: &Arc<dyn SessionStore>, dev: &Dev, count: usize) -> Result<Vec<(UploadId, String)>> {
    fixture("transparent.png")?;
    let mut uploaded = Vec::with_capacity(count);
    let mut jobs: JoinSet<Result<(UploadId, String)>> = JoinSet::new();
    for index in 0..count {
        if jobs.len() >= AT_ONCE {
            uploaded.push(jobs.join_next().await.context("no upload")???);
        }
        let (upload, sessions, store) = (object(index)?, Arc::clone(sessions), dev.store.clone());
        jobs.spawn(async move {
            let session = sessions.create(&new_session(&store.bucket, PREFIX, &upload)?).await?;
            let key = session.key.as_key().to_string();
            store.put(&key, &upload.content_type, upload.bytes).await?;
            Ok((session.upload_id, key))
        });
    }
    while let Some(done) = jobs.join_next().await {
        uploaded.push(done??);
    }
    Ok(uploaded)
}

/// Sends the events, one each `pause` where there is one, and says when each went.
async fn tell(
    station: &Station,
    dev: &Dev,
    crowd: &[(UploadId, String)],
    pause: Option<Duration>,
) -> Result<HashMap<UploadId, Timestamp>> {
    let mut told = HashMap::with_capacity(crowd.len());
    let mut ticks = interval(pause.unwrap_or(Duration::from_nanos(1)));
    let mut jobs: JoinSet<Result<()>> = JoinSet::new();
    for (upload_id, key) in crowd {
        if pause.is_some() {
            ticks.tick().await;
        }
        if jobs.len() >= AT_ONCE {
            jobs.join_next().await.context("no message")???;
        }
        #[expect(clippy::disallowed_methods, reason = "when the event happens, on the one clock of this machine")]
        let now = Timestamp::now();
        let (queue, body) = (station.queue.clone(), event(&dev.store.bucket, key, now));
        jobs.spawn(async move { queue.send(&body).await });
        told.insert(*upload_id, now);
    }
    while let Some(sent) = jobs.join_next().await {
        sent??;
    }
    Ok(told)
}

fn event(bucket: &str, key: &str, now: Timestamp) -> String {
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "eventTime": now,
        "s3": { "bucket": { "name": bucket }, "object": { "key": key } },
    }] })
    .to_string()
}

async fn all_settled(sessions: &Arc<dyn SessionStore>) -> Result<()> {
    until_true("all are settled", SETTLED_WITHIN, async || {
        for state in [StateName::Created, StateName::Uploaded, StateName::Finalized] {
            if !sessions.list(Some(state), None, 1).await?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

/// Milliseconds from event to commit, in order, on one machine's clock.
async fn times_to_settled(sessions: &Arc<dyn SessionStore>, told: &HashMap<UploadId, Timestamp>) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(told.len());
    for (upload_id, told_at) in told {
        let audit = sessions.history(*upload_id).await?.audit;
        let settled = audit.iter().find(|record| record.to == StateName::Published);
        let settled = settled.with_context(|| format!("{upload_id} is not published: {audit:?}"))?;
        times.push(settled.at.duration_since(*told_at).as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn quantile(sorted: &[f64], percent: usize) -> Result<f64> {
    ensure!(!sorted.is_empty(), "nothing was timed");
    Ok(sorted[(sorted.len() - 1) * percent / 100])
}

/// What the workers and those of their children that have ended used.
fn cpu_time(workers: &[Running]) -> Result<Duration> {
    let mut ticks = 0;
    for worker in workers {
        let stat = fs::read_to_string(format!("/proc/{}/stat", worker.id()))?;
        // The name in parentheses may hold anything; user, system and the same of children are fields 14 to 17 (proc(5)).
        let fields = stat.rsplit_once(')').context("no stat")?.1.split_whitespace();
        for field in fields.skip(11).take(4) {
            ticks += field.parse::<u64>()?;
        }
    }
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
