//! One station, and one object after the other.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use lazaret_core::{StateName, ports::SessionStore};
use lazaret_testkit::proxy::{Fault, Request};
use lazaret_tests::{
    cli::Created,
    direct,
    objects::Upload,
    oracle::{self, Expected, Fate},
    program::Running,
    proxies::Proxies,
    station::{Bus, Database, Station},
    wait::until_true,
};

use super::{Way, killer::Killer, log_watch::LogWatch, points::Point};

const SETTLED_WITHIN: Duration = Duration::from_mins(1);

/// The image and a smaller one: there is a cut between the two.
const WITH_A_VARIANT: &str = r#"[{ name = "images", types = ["image/png"], action = "re-encode", scanners = ["clamd"], variants = { thumb = 32 } }]"#;

pub(super) struct Chain {
    way: Way,
    station: Station,
    proxies: Proxies,
    sessions: Arc<dyn SessionStore>,
    worker: Running,
    expected: Vec<Expected>,
}

impl Chain {
    pub(super) async fn start(way: Way) -> Result<Self> {
        let mut station = Station::on(way.database, way.bus).await?;
        // The shortest there are: what a dead worker held is waited for at every point.
        station.set("worker.lease", "1s");
        station.set("worker.concurrency", "1");
        if way.bus == Bus::Sqs {
            station.set("queue.sqs.visibility_timeout", "1s");
        }
        if way.re_encoded {
            station.set("policy", WITH_A_VARIANT);
        }
        let proxies = Proxies::between(&mut station)?;
        let sessions = station.sessions().await?;
        let worker = station.worker("worker").await?;
        Ok(Self { way, station, proxies, sessions, worker, expected: Vec::new() })
    }

    /// The requests of one object's way without a fault.
    pub(super) async fn undisturbed(&mut self) -> Result<Vec<Request>> {
        let created = self.create().await?;
        self.proxies.faults.restart();
        self.upload(&created).await?;
        until_true("the object's way is over", SETTLED_WITHIN, async || {
            Ok(self.is_over(&created).await? && self.is_acknowledged())
        })
        .await?;
        Ok(self.proxies.faults.seen())
    }

    /// Kills the worker at a point of the next object's way and lets another one go on. False: the way was over before.
    pub(super) async fn kill_at(&mut self, point: Point) -> Result<bool> {
        let created = self.create().await?;
        let killer = Killer::of(&self.worker)?;
        self.proxies.faults.restart();
        let mut watch = None;
        match point {
            Point::Before(nth) => {
                let killer = killer.clone();
                self.proxies.faults.on(nth, not_to_the_database, Fault::before(move || killer.kill()));
            }
            Point::After(nth) => {
                let killer = killer.clone();
                self.proxies.faults.at(nth, Fault::after(move || killer.kill()));
            }
            Point::Write(nth) => watch = Some(self.watch_for(nth, &killer)?),
        }
        self.upload(&created).await?;
        until_true("the worker is killed, or the object's way is over", SETTLED_WITHIN, async || {
            // A request that has met its fault waits for its effect: the kill is about to come.
            let is_due = !matches!(point, Point::Write(_)) && self.proxies.faults.pending() == 0;
            Ok(killer.has_killed() || !is_due && self.is_acknowledged() && self.is_over(&created).await?)
        })
        .await?;
        let was_killed = killer.disarm();
        drop(watch);
        // A fault that nobody met must not meet the next object.
        self.proxies.faults.restart();
        if was_killed {
            self.worker.kill()?;
            let name = format!("worker-{}", self.expected.len());
            self.worker = self.station.start_worker(&name, self.station.listen)?;
            self.goes_on(&created).await?;
        }
        Ok(was_killed)
    }

    /// Ends the worker and asks the oracle about every object there was.
    pub(super) async fn end(mut self) -> Result<()> {
        self.station.queue.drained(SETTLED_WITHIN).await?;
        self.worker.terminate()?;
        self.worker.ended(SETTLED_WITHIN).await?;
        oracle::holds(&self.station, &self.expected).await
    }

    async fn create(&mut self) -> Result<Created> {
        let upload = if self.way.re_encoded {
            Upload::fixture("16-bit.png", "image/png")?
        } else {
            Upload::text(&format!("number {} of {}", self.expected.len(), self.station.store.bucket))
        };
        let created = direct::create(&self.station, &*self.sessions, &upload).await?;
        let fate = if self.way.re_encoded { Fate::ReEncoded } else { Fate::AsIs };
        self.expected.push(Expected { created: created.clone(), upload, fate });
        Ok(created)
    }

    async fn upload(&self, created: &Created) -> Result<()> {
        let upload = &self.expected.last().context("no upload")?.upload;
        direct::upload(&self.station, created, upload).await
    }

    /// The new worker consumes, and the object's way is over.
    async fn goes_on(&self, created: &Created) -> Result<()> {
        let what = format!("the way of {} is over after a restart", created.upload_id);
        until_true(&what, SETTLED_WITHIN, async || Ok(self.is_consuming() && self.is_over(created).await?)).await
    }

    fn is_consuming(&self) -> bool {
        let consumes = |what: &str| matches!(what, "AmazonSQS.ReceiveMessage" | "basic.consume");
        self.proxies.faults.seen().iter().any(|request| consumes(&request.what))
    }

    /// Published, the original gone, no message waiting.
    async fn is_over(&self, created: &Created) -> Result<bool> {
        let session = self.sessions.get(created.upload_id.parse()?).await?.context("a session is gone")?;
        let settled = session.state.name() == StateName::Published && session.original_deleted_at.is_some();
        Ok(settled && self.station.queue.left().await? == (0, 0))
    }

    /// RabbitMQ does not tell what a consumer holds; the proxy saw the acknowledgement.
    fn is_acknowledged(&self) -> bool {
        self.way.bus == Bus::Sqs || self.proxies.faults.seen().iter().any(|request| request.what == "basic.ack")
    }

    fn watch_for(&self, nth: usize, killer: &Killer) -> Result<LogWatch> {
        ensure!(self.way.database == Database::Sqlite, "only SQLite's log can be watched");
        let killer = killer.clone();
        LogWatch::start(&self.station.database(), nth, move || {
            killer.kill();
        })
    }
}

/// A statement that did not come and the one before it whose answer did not come leave the same database behind: the
/// latter are all tried.
fn not_to_the_database(request: &Request) -> bool {
    request.proxy != "database"
}
