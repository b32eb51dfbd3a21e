//! Four sweepers at once, two of them with clocks an hour off, beside uploads, scans and finalizes: nothing that lives is
//! swept, and of what does not no version stays.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use lazaret_tests::{
    cli::{Cli, Created, put, variable},
    gate::Gate,
    metrics::Metrics,
    objects::{Upload, eicar, sha256},
    oracle::{Expected, Fate},
    program::{Ended, Running},
    servers::free_address,
    station::{Bus, Database, Station, get},
    wait::until_true,
};

use crate::SETTLED_WITHIN;

/// Debian's libfaketime. The loader knows where this system keeps libraries (`$LIB`, ld.so(8)).
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketime.so.1";
const PART: usize = 5 * 1024 * 1024;
/// How often each `lazaret sweep` runs once everything live is past the grace.
const PASSES: usize = 2;

/// An hour ahead or behind, on the wall clock alone.
fn off_by(hours: &str) -> [(&'static str, String); 3] {
    let alone = ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned());
    [("LD_PRELOAD", FAKETIME.to_owned()), ("FAKETIME", hours.to_owned()), alone]
}

#[tokio::test]
async fn heavy_sweepers_with_wrong_clocks_sweep_nothing_that_lives_and_all_that_does_not() -> Result<()> {
    ensure!(Path::new("/usr/bin/faketime").exists(), "faketime is missing: `cargo xtask test` installs it");
    let mut station = Station::on(Database::Postgres, Bus::Sqs).await?;
    station.with_versions().await?;
    for (key, value) in [
        ("sessions.require_finalize", "true"),
        ("sweeper.grace", "2s"),
        ("sweeper.interval", "1s"),
        ("worker.lease", "2s"),
        ("queue.sqs.visibility_timeout", "2s"),
    ] {
        station.set(key, value);
    }
    let gate = Gate::shut(station.servers.clamd_tcp, "in a long scan")?;
    station.set("scanner.0.address", format!("tcp:{}", gate.address));
    let skewed_listens = free_address()?;
    let mut workers = [station.worker("right").await?, skewed_worker(&station, skewed_listens).await?];

    let live = Live::begin(&station).await?;
    until_true("the long scan waits", SETTLED_WITHIN, async || Ok(gate.waiting() > 0)).await?;
    // Later than all that lives, and so past its grace later.
    let mut dead = Dead::leave(&station).await?;
    let sweeps = [Sweeps::begin(&station, None), Sweeps::begin(&station, Some("-1h"))];
    wait_for_sweepers(&station, &mut dead, &sweeps, skewed_listens).await?;
    let kept = live.finish(&station, &gate).await?;
    for sweeps in sweeps {
        sweeps.end()?;
    }
    station.queue.drained(SETTLED_WITHIN).await?;
    for worker in &mut workers {
        worker.terminate()?;
        worker.ended(SETTLED_WITHIN).await?;
    }
    let mut published = BTreeSet::new();
    for one in &kept {
        let shown = station.show(&one.created.upload_id)?;
        let due = if let Fate::Ended(outcome) = one.fate { outcome } else { "published" };
        assert_eq!(shown.outcome(), due, "{}: {:?}", one.upload.file_name, shown.story);
        assert_eq!(shown.times_reached(&shown.state), 1, "{:?}", shown.records("audit"));
        if let Some(copy) = shown.published {
            assert_eq!(station.store.fetch(&copy.key).await?.sha256, sha256(&one.upload.bytes));
            published.insert(copy.key);
        }
    }
    assert_eq!(station.store.published().await?, published);
    for gone in &dead.sessions {
        assert_eq!(station.show(gone)?.outcome(), "expired/abandoned");
    }
    let versions = station.store.versions("quarantine/").await?;
    let keys: BTreeSet<_> = versions.iter().map(|(key, _)| key.as_str()).collect();
    let originals: BTreeSet<_> =
        kept.iter().filter(|one| matches!(one.fate, Fate::Ended(_))).map(|one| one.created.key.as_str()).collect();
    assert_eq!(keys, originals, "versions and delete markers: {versions:?}");
    Ok(())
}

/// All that was left behind is gone, each sweeper has been at work, and then each has made whole passes.
async fn wait_for_sweepers(station: &Station, dead: &mut Dead, sweeps: &[Sweeps], skewed: SocketAddr) -> Result<()> {
    until_true("every sweeper has swept", SETTLED_WITHIN, async || {
        let key = format!("quarantine/nobody/{}", dead.keys.len());
        station.store.put(&key, "text/plain", b"orphan".to_vec()).await?;
        dead.keys.push(key);
        for listen in [station.listen, skewed] {
            let metrics = Metrics::new(get(listen, "/metrics").await?.1);
            if metrics.sum("lazaret_swept_total", &["what=\"orphan\""]).unwrap_or_default() < 1.0 {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await?;
    dead.gone(station).await?;
    let began: Vec<_> = sweeps.iter().map(Sweeps::passes).collect();
    until_true("each sweep passes again", SETTLED_WITHIN, async || {
        Ok(sweeps.iter().zip(&began).all(|(sweeps, began)| sweeps.passes() >= began + PASSES))
    })
    .await
}

/// `lazaret sweep` again and again, beside the test. Each pass has to succeed.
struct Sweeps {
    stop: Arc<AtomicBool>,
    passes: Arc<AtomicUsize>,
    running: JoinHandle<Result<()>>,
}

impl Sweeps {
    fn begin(station: &Station, clock: Option<&'static str>) -> Self {
        let cli: Cli = (**station).clone();
        let (stop, passes) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (told_to_end, count) = (Arc::clone(&stop), Arc::clone(&passes));
        let running = thread::spawn(move || {
            while !told_to_end.load(Ordering::Acquire) {
                let mut command = cli.command();
                command.args(["sweep", "--output", "json"]).envs(clock.into_iter().flat_map(off_by));
                let ended = Ended::run(&mut command)?;
                ensure!(ended.code == Some(0), "{ended:?}");
                count.fetch_add(1, Ordering::AcqRel);
            }
            Ok(())
        });
        Self { stop, passes, running }
    }

    fn passes(&self) -> usize {
        self.passes.load(Ordering::Acquire)
    }

    fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Release);
        self.running.join().unwrap_or_else(|_| bail!("a sweep broke off"))
    }
}

/// A worker whose clock is an hour ahead, as the times in its log tell.
async fn skewed_worker(station: &Station, listen: SocketAddr) -> Result<Running> {
    let mut command = station.command();
    command.arg("worker").env(variable("telemetry.listen"), listen.to_string()).envs(off_by("+1h"));
    let mut worker = Running::start(&mut command, station.folder.path(), "skewed")?;
    until_true("the skewed worker is ready", SETTLED_WITHIN, async || {
        worker.ensure_up()?;
        Ok(get(listen, "/readyz").await.is_ok_and(|(status, _)| status == 200))
    })
    .await?;
    let log = worker.stderr()?;
    let first: serde_json::Value = serde_json::from_str(log.lines().next().context("an empty log")?)?;
    let written = first["timestamp"].as_str().context("a line without its time")?;
    let now = Ended::run(std::process::Command::new("date").args(["--utc", "+%s"]))?.stdout;
    let then = Ended::run(std::process::Command::new("date").args(["--utc", "+%s", "--date", written]))?.stdout;
    let ahead = then.trim().parse::<i64>()? - now.trim().parse::<i64>()?;
    ensure!((3500..3700).contains(&ahead), "its clock is {ahead} s ahead");
    Ok(worker)
}

/// What is under way while everybody sweeps.
struct Live {
    /// Told to be processed, and in a scan past the end of its session's time.
    scanned: Expected,
    /// Nothing sent yet.
    to_come: Expected,
    /// Sent, and not finalized yet.
    to_finalize: Expected,
    /// Half of it sent: its upload's id and the first part.
    in_parts: (Expected, String, CompletedPart),
    /// Rejected, and kept for a while.
    rejected: Expected,
}

impl Live {
    async fn begin(station: &Station) -> Result<Self> {
        let expect = |upload: Upload, options: &[&str], fate| -> Result<Expected> {
            Ok(Expected { created: station.create_with(&upload, options)?, upload, fate })
        };
        let scanned = expect(Upload::text("in a long scan"), &["--expires-in", "2s"], Fate::AsIs)?;
        send(&scanned).await?;
        station.succeed(&["session", "finalize", &scanned.created.upload_id])?;
        let rejected = Upload::new("eicar.txt", "text/plain", eicar());
        let rejected = expect(rejected, &[], Fate::Ended("rejected/infected"))?;
        send(&rejected).await?;
        station.succeed(&["session", "finalize", &rejected.created.upload_id])?;
        let to_come = expect(Upload::text("still to come"), &[], Fate::AsIs)?;
        let to_finalize = expect(Upload::text("to be finalized"), &[], Fate::AsIs)?;
        send(&to_finalize).await?;
        let large = Upload::new("large.txt", "text/plain", "a large text\n".repeat(PART / 10));
        let large = expect(large, &[], Fate::AsIs)?;
        let (id, part) = begin_parts(station, &large.created, &large.upload.bytes[..PART]).await?;
        Ok(Self { scanned, to_come, to_finalize, in_parts: (large, id, part), rejected })
    }

    /// Everything goes on, and ends well.
    async fn finish(self, station: &Station, gate: &Gate) -> Result<Vec<Expected>> {
        let Self { scanned, to_come, to_finalize, in_parts: (large, id, part), rejected } = self;
        for (one, state) in [(&scanned, "finalized"), (&to_come, "created"), (&to_finalize, "uploaded")] {
            assert_eq!(station.show(&one.created.upload_id)?.state, state, "{}", one.upload.file_name);
        }
        gate.open();
        send(&to_come).await?;
        complete_parts(station, &large, &id, part).await?;
        for one in [&to_come, &to_finalize, &large] {
            station.succeed(&["session", "finalize", &one.created.upload_id])?;
        }
        let all = vec![scanned, to_come, to_finalize, large, rejected];
        for one in &all {
            station.settled(&one.created.upload_id, SETTLED_WITHIN).await?;
        }
        Ok(all)
    }
}

async fn send(one: &Expected) -> Result<()> {
    put(&one.created, one.upload.bytes.clone()).await
}

async fn begin_parts(station: &Station, created: &Created, bytes: &[u8]) -> Result<(String, CompletedPart)> {
    let (client, bucket, key) = (&station.store.client, &created.bucket, &created.key);
    let begun = client.create_multipart_upload().bucket(bucket).key(key).content_type("text/plain").send().await?;
    let id = begun.upload_id().context("no upload id")?.to_owned();
    let part = put_part(station, created, &id, 1, bytes).await?;
    Ok((id, part))
}

async fn put_part(station: &Station, to: &Created, id: &str, number: i32, bytes: &[u8]) -> Result<CompletedPart> {
    let request = station.store.client.upload_part().bucket(&to.bucket).key(&to.key).upload_id(id);
    let part = request.part_number(number).body(bytes.to_vec().into()).send().await?;
    Ok(CompletedPart::builder().part_number(number).set_e_tag(part.e_tag().map(str::to_owned)).build())
}

async fn complete_parts(station: &Station, one: &Expected, id: &str, first: CompletedPart) -> Result<()> {
    let second = put_part(station, &one.created, id, 2, &one.upload.bytes[PART..]).await?;
    let parts = CompletedMultipartUpload::builder().parts(first).parts(second).build();
    let request = station.store.client.complete_multipart_upload().bucket(&one.created.bucket);
    request.key(&one.created.key).upload_id(id).multipart_upload(parts).send().await.context("its upload is gone")?;
    Ok(())
}

/// What nobody will come back for.
struct Dead {
    keys: Vec<String>,
    sessions: Vec<String>,
}

impl Dead {
    /// Orphans of three versions; a session past its time, without and with an object that was never finalized; an upload
    /// in parts that no session asked for.
    async fn leave(station: &Station) -> Result<Self> {
        let keys = ["quarantine/nobody/asked", "quarantine/nobody/asked for this+either %"].map(str::to_owned);
        for key in &keys {
            for version in 1..=3 {
                station.store.put(key, "text/plain", format!("orphan {version}").into_bytes()).await?;
            }
        }
        let mut keys = keys.to_vec();
        let mut sessions = Vec::new();
        for sent in [false, true] {
            let upload = Upload::text("given up");
            let created = station.create_with(&upload, &["--expires-in", "3s"])?;
            if sent {
                put(&created, upload.bytes.clone()).await?;
                put(&created, upload.bytes.clone()).await?;
            }
            keys.push(created.key.clone());
            sessions.push(created.upload_id);
        }
        let begun = station.store.client.create_multipart_upload().bucket(&station.store.bucket);
        begun.key("quarantine/nobody/in parts").send().await?;
        Ok(Self { keys, sessions })
    }

    async fn gone(&self, station: &Station) -> Result<()> {
        let mut left = Vec::new();
        let gone = until_true("nothing of what was left is there", SETTLED_WITHIN, async || {
            left = station.store.versions("quarantine/").await?.into_iter().collect();
            left.retain(|(key, _)| self.keys.contains(key));
            let open = station.store.client.list_multipart_uploads().bucket(&station.store.bucket).send().await?;
            let orphan = |key: &&str| *key == "quarantine/nobody/in parts";
            let open = open.uploads().iter().filter_map(|upload| upload.key()).filter(orphan);
            left.extend(open.map(|key| (key.to_owned(), "in parts".to_owned())));
            Ok(left.is_empty())
        })
        .await;
        gone.with_context(|| format!("{left:?}"))
    }
}
