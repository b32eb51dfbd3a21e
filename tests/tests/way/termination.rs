//! SIGTERM with ten scans in flight: nothing is lost, no attempt is burnt, nothing is left behind.

use std::{
    fs,
    io::Cursor,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use image::{DynamicImage, ImageFormat};
use lazaret_tests::{
    gate::Gate,
    objects::Upload,
    oracle::{self, Expected, Fate},
    program::Running,
    station::{Bus, Database, Station},
    wait::{until, until_true},
};

use crate::SETTLED_WITHIN;

const IN_FLIGHT: usize = 10;
const DRAIN: Duration = Duration::from_secs(2);
/// What a clean end may cost on top of the grace.
const MARGIN: Duration = Duration::from_secs(8);
/// Far longer than a test may take: a message that is not given back does not come again in time.
const NEVER: &str = "10m";

#[tokio::test]
async fn scans_that_do_not_end_in_time_are_given_back_on_sqs() -> Result<()> {
    given_back(Bus::Sqs).await
}

#[tokio::test]
async fn scans_that_do_not_end_in_time_are_given_back_on_rabbitmq() -> Result<()> {
    given_back(Bus::Amqp).await
}

#[tokio::test]
async fn scans_that_end_in_time_are_finished_on_sqs() -> Result<()> {
    finished(Bus::Sqs).await
}

#[tokio::test]
async fn scans_that_end_in_time_are_finished_on_rabbitmq() -> Result<()> {
    finished(Bus::Amqp).await
}

/// The scans never end: the worker gives its deliveries back within its grace. Another worker has them at once.
async fn given_back(bus: Bus) -> Result<()> {
    let mut scene = Scene::set(bus, &format!("{}s", DRAIN.as_secs())).await?;
    let began = Instant::now();
    scene.worker.terminate()?;
    let status = scene.worker.ended(DRAIN + MARGIN).await?;
    let took = began.elapsed();
    eprintln!("ended {took:?} after SIGTERM");
    assert!(status.success(), "{status}");
    assert!(took >= DRAIN, "the scans had {took:?} to end");
    scene.nothing_is_left().await?;
    for one in &scene.expected {
        let shown = scene.station.show(&one.created.upload_id)?;
        if one.fate == Fate::ReEncoded && shown.is_settled() {
            continue;
        }
        assert!(!shown.is_settled(), "{}", shown.outcome());
        assert_eq!(shown.story["attempts"], 0, "no attempt is burnt: {:?}", shown.story);
    }
    scene.gate.open();
    let mut second = scene.station.worker("second").await?;
    for one in &scene.expected {
        scene.station.settled(&one.created.upload_id, SETTLED_WITHIN).await?;
    }
    scene.station.queue.drained(SETTLED_WITHIN).await?;
    second.terminate()?;
    second.ended(SETTLED_WITHIN).await?;
    oracle::holds(&scene.station, &scene.expected).await
}

/// The scans end within the grace: their objects are settled by the worker that is going.
async fn finished(bus: Bus) -> Result<()> {
    let mut scene = Scene::set(bus, "30s").await?;
    scene.worker.terminate()?;
    until_true("the worker drains", SETTLED_WITHIN, async || Ok(scene.worker.stderr()?.contains("draining"))).await?;
    scene.gate.open();
    let status = scene.worker.ended(SETTLED_WITHIN).await?;
    assert!(status.success(), "{status}");
    scene.nothing_is_left().await?;
    oracle::holds(&scene.station, &scene.expected).await
}

/// Keeps a jail at work for a moment.
fn large_image() -> Result<Upload> {
    let image = DynamicImage::new_luma8(4000, 4000);
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Jpeg)?;
    Ok(Upload::new("large.jpg", "image/jpeg", bytes.into_inner()))
}

/// A worker ten of whose scans wait at a shut gate, and one of whose jails is at work.
struct Scene {
    station: Station,
    gate: Gate,
    worker: Running,
    /// The jail that was at work at the end.
    children: Vec<PathBuf>,
    expected: Vec<Expected>,
}

impl Scene {
    async fn set(bus: Bus, drain_timeout: &str) -> Result<Self> {
        let mut station = Station::on(Database::Sqlite, bus).await?;
        station.set("worker.drain_timeout", drain_timeout);
        station.set("worker.concurrency", (IN_FLIGHT + 1).to_string());
        station.set("worker.lease", NEVER);
        // On disk, not in memory.
        station.set("worker.memory_spool_limit", "1B");
        if bus == Bus::Sqs {
            station.set("queue.sqs.visibility_timeout", NEVER);
        }
        let gate = Gate::shut(station.servers.clamd_tcp, "in flight")?;
        station.set("scanner.0.address", format!("tcp:{}", gate.address));
        let worker = station.worker("first").await?;
        let mut expected = Vec::new();
        for index in 0..IN_FLIGHT {
            let upload = Upload::text(&format!("in flight {index}"));
            let created = station.submit(&upload).await?;
            expected.push(Expected { created, upload, fate: Fate::AsIs });
        }
        until_true("all scans wait", SETTLED_WITHIN, async || Ok(gate.waiting() >= IN_FLIGHT)).await?;
        let upload = large_image()?;
        let created = station.submit(&upload).await?;
        let all = f64::from(u32::try_from(IN_FLIGHT + 1)?);
        let children = until("the image is at work and has a jail", SETTLED_WITHIN, async || {
            let children = worker.children()?;
            let taken = station.metrics().await?.sum("lazaret_in_flight", &[])? >= all;
            Ok((taken && !children.is_empty()).then_some(children))
        })
        .await?;
        expected.push(Expected { created, upload, fate: Fate::ReEncoded });
        Ok(Self { station, gate, worker, children, expected })
    }

    async fn nothing_is_left(&self) -> Result<()> {
        // The kernel ends them with the worker, those in reserve too; that takes it a moment.
        let gone = async || Ok(!self.children.iter().any(|child| child.exists()));
        until_true("the worker's children are gone", SETTLED_WITHIN, gone).await?;
        let left = fs::read_dir(self.station.folder.path().join("spool"))?.count();
        ensure!(left == 0, "{left} files are left in the spool");
        Ok(())
    }
}
