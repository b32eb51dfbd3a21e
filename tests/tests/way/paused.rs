//! A worker that was stopped past its lease changes nothing when it goes on, wherever it was stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc,
};

use anyhow::{Context, Result, ensure};
use lazaret_testkit::proxy::{Fault, Faults, Protocol, Proxy, Then};
use lazaret_tests::{
    cli::{Created, put},
    gate::Gate,
    objects::{Upload, sha256},
    oracle::{self, Expected, Fate},
    program::Running,
    proxies::server_of,
    servers::free_address,
    station::{Bus, Database, Station, get},
    wait::until_true,
};
use serde_json::Value;

use crate::SETTLED_WITHIN;

/// How the store's answers are held back while a worker publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// clamd's verdict does not come.
    InScan,
    /// The copy is not written yet; it will be, after the other worker has settled the object.
    BeforeCopy,
    /// The copy is written, and the worker does not know.
    AfterCopy,
}

/// Where the first worker stands with an object, and whether its key is overwritten meanwhile.
const CASES: [(Stopped, bool); 6] = [
    (Stopped::InScan, false),
    (Stopped::InScan, true),
    (Stopped::BeforeCopy, false),
    (Stopped::BeforeCopy, true),
    (Stopped::AfterCopy, false),
    (Stopped::AfterCopy, true),
];

#[tokio::test]
async fn heavy_a_worker_stopped_past_its_lease_changes_nothing_on_sqlite() -> Result<()> {
    stopped_past_its_lease(Database::Sqlite).await
}

#[tokio::test]
async fn heavy_a_worker_stopped_past_its_lease_changes_nothing_on_postgresql() -> Result<()> {
    stopped_past_its_lease(Database::Postgres).await
}

async fn stopped_past_its_lease(database: Database) -> Result<()> {
    let mut station = Station::on(database, Bus::Sqs).await?;
    station.set("worker.lease", "2s");
    station.set("worker.concurrency", CASES.len().to_string());
    station.set("queue.sqs.visibility_timeout", "2s");
    let held = Held::between(&mut station)?;
    let first_listens = station.listen;
    let first = station.worker("first").await?;
    let mut uploads = Vec::new();
    for case in CASES {
        let upload = upload(case, "first");
        let created = station.create(&upload)?;
        held.hold(case, &created);
        put(&created, upload.bytes.clone()).await?;
        uploads.push((case, created, upload));
    }
    until_true("the first worker is held everywhere", SETTLED_WITHIN, async || Ok(held.is_complete())).await?;
    first.pause().await?;

    let (mut expected, mut late) = (Vec::new(), Vec::new());
    for (case, created, upload) in uploads {
        if case.0 == Stopped::BeforeCopy {
            late.push(format!("published/{}/{}", created.object_id, sha256(&upload.bytes)));
        }
        let last = if case.1 { self::upload(case, "other") } else { upload.clone() };
        ensure!(last.bytes.len() == upload.bytes.len(), "the lengths have to be the same");
        if case.1 {
            put(&created, last.bytes.clone()).await?;
        }
        expected.push(Expected { created, upload: last, fate: Fate::AsIs });
    }
    let straight = station.servers.s3.clone();
    station.set_for_workers("storage.endpoint", straight);
    station.set_for_workers("scanner.0.address", format!("unix:{}", station.servers.clamd_socket.display()));
    let mut second = station.worker_at("second", free_address()?).await?;
    for one in &expected {
        station.settled(&one.created.upload_id, SETTLED_WITHIN).await.context("the second worker")?;
    }
    station.queue.drained(SETTLED_WITHIN).await?;
    second.terminate()?;
    second.ended(SETTLED_WITHIN).await?;
    let before = Snapshot::of(&station, &expected).await?;

    held.let_go();
    until_true("late copies arrive", SETTLED_WITHIN, async || {
        let keys = station.store.published().await?;
        Ok(late.iter().all(|key| keys.contains(key)))
    })
    .await?;
    first.resume()?;
    until_true("the first worker gave up each of them", SETTLED_WITHIN, async || {
        let log = first.stderr()?;
        let gave_up = |one: &Expected| {
            log.lines().any(|line| line.contains(&one.created.key) && line.contains("an attempt failed, will retry"))
        };
        Ok(expected.iter().all(gave_up) && in_flight(first_listens).await? == 0)
    })
    .await?;
    assert_eq!(Snapshot::of(&station, &expected).await?, before);

    let upload = Upload::text("afterwards");
    let created = station.submit(&upload).await?;
    assert_eq!(station.settled(&created.upload_id, SETTLED_WITHIN).await?.outcome(), "published");
    expected.push(Expected { created, upload, fate: Fate::AsIs });
    station.queue.drained(SETTLED_WITHIN).await?;
    end(first).await?;
    oracle::holds(&station, &expected).await
}

async fn end(mut worker: Running) -> Result<()> {
    worker.terminate()?;
    worker.ended(SETTLED_WITHIN).await?;
    Ok(())
}

/// The first and the other bytes of a case are of one length, and different from those of every other case.
fn upload(case: (Stopped, bool), which: &str) -> Upload {
    let place = match case.0 {
        Stopped::InScan => "held in the scan",
        Stopped::BeforeCopy | Stopped::AfterCopy => "held in the publish",
    };
    Upload::text(&format!("{which} bytes {place}, {case:?}"))
}

async fn in_flight(listen: std::net::SocketAddr) -> Result<usize> {
    let text = get(listen, "/metrics").await?.1;
    let line = text.lines().find_map(|line| line.strip_prefix("lazaret_in_flight "));
    Ok(line.context("no lazaret_in_flight")?.trim().parse()?)
}

/// What holds the first worker.
struct Held {
    gate: Gate,
    faults: Faults,
    /// Kept: it relays for as long as it lives.
    _proxy: Proxy,
    arrived: mpsc::Receiver<()>,
    arrive: mpsc::Sender<()>,
    count: std::cell::Cell<usize>,
    doors: std::cell::RefCell<Vec<mpsc::Sender<()>>>,
}

impl Held {
    /// Workers that `station` starts from now on meet the gate and the proxy.
    fn between(station: &mut Station) -> Result<Self> {
        let gate = Gate::shut(station.servers.clamd_tcp, "held in the scan")?;
        station.set_for_workers("scanner.0.address", format!("tcp:{}", gate.address));
        let faults = Faults::new();
        let store = server_of(&station.servers.s3)?;
        let proxy = Proxy::start("store", Protocol::Http, store, &faults)?;
        station.set_for_workers("storage.endpoint", format!("http://{}", proxy.address()));
        let (arrive, arrived) = mpsc::channel();
        Ok(Self { gate, faults, _proxy: proxy, arrived, arrive, count: 0.into(), doors: Vec::new().into() })
    }

    fn hold(&self, case: (Stopped, bool), created: &Created) {
        let (door, opened) = mpsc::channel::<()>();
        let arrive = self.arrive.clone();
        let wait = move || {
            arrive.send(()).ok();
            // Ends with an error, once the door is dropped.
            opened.recv().ok();
            Then::GoOn
        };
        let fault = match case.0 {
            Stopped::InScan => return,
            Stopped::BeforeCopy => Fault::before(wait),
            Stopped::AfterCopy => Fault::after(wait),
        };
        let copy = format!("/published/{}/", created.object_id);
        self.faults.on(1, move |request| request.what.starts_with("PUT") && request.what.contains(&copy), fault);
        self.doors.borrow_mut().push(door);
    }

    fn is_complete(&self) -> bool {
        self.count.set(self.count.get() + self.arrived.try_iter().count());
        let scans = CASES.iter().filter(|case| case.0 == Stopped::InScan).count();
        self.gate.waiting() >= scans && self.count.get() >= CASES.len() - scans
    }

    fn let_go(&self) {
        self.gate.open();
        self.doors.borrow_mut().clear();
    }
}

/// All that a worker could have changed.
#[derive(Debug, PartialEq)]
struct Snapshot {
    sessions: BTreeMap<String, Value>,
    /// Digests and headers by key. The time of the last write is none of them: the same bytes may be written again.
    published: BTreeMap<String, (String, BTreeMap<String, String>)>,
    quarantined: BTreeSet<String>,
}

impl Snapshot {
    async fn of(station: &Station, expected: &[Expected]) -> Result<Self> {
        let mut sessions = BTreeMap::new();
        for one in expected {
            let id = &one.created.upload_id;
            let shown = station.run(&["session", "show", "--output", "json", id])?.json()?;
            sessions.insert(id.clone(), shown);
        }
        let mut published = BTreeMap::new();
        for key in station.store.published().await? {
            let mut fetched = station.store.fetch(&key).await?;
            fetched.headers.retain(|name, _| name.starts_with("content-") || name.starts_with("x-amz-meta-"));
            published.insert(key, (sha256(&fetched.body), fetched.headers));
        }
        Ok(Self { sessions, published, quarantined: station.store.quarantined().await? })
    }
}
