//! A station over fakes, and the uploads that go through it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use lazaret_core::{
    Action, BucketName, Finding, HoldReason, ImageOutput, NewSession, ObjectEvent, ObjectId, ObjectKey, Policy,
    PolicySet, PublishedObject, QuarantineKey, ScannerName, Session, SessionState, UploadId, VariantSize, VersionId,
    WorkerId,
    ports::{AuditRecord, EventSink, ObjectHead, Queue, ScanError, Scanner, SessionStore},
};
use lazaret_pipeline::{
    ArchiveLimits, Bus, Message, Passage, PassageError, Passed, ScannerSlot, Station, StationSettings, Verdicts,
    Worker, WorkerSettings,
};
use lazaret_queue::{EmbeddedQueue, EmbeddedSettings};
use lazaret_sessions::{SqliteOptions, SqliteSessionStore, migrate};
use lazaret_testkit::{
    objects::MemoryObjectStore,
    scanners::{MemoryScanner, eicar},
    transformer::{MemoryTransformer, png},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const BUCKET: &str = "uploads";
pub(crate) const PUBLISHED: &str = "published";
/// In whose name verdicts are told.
pub(crate) const SOURCE: &str = "urn:lazaret:test";
/// A lease that no test outlives.
pub(crate) const LONG: Duration = Duration::from_mins(1);
/// What must not be over by itself even where the machine is so busy that a test takes minutes.
const FOR_EVER: Duration = Duration::from_hours(1);
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

/// The parts of a station, to be changed before it is built.
pub(crate) struct Rig {
    pub(crate) store: Arc<MemoryObjectStore>,
    pub(crate) sessions: Arc<SqliteSessionStore>,
    pub(crate) scanner: MemoryScanner,
    pub(crate) transformer: MemoryTransformer,
    pub(crate) station: Arc<Station>,
    _folder: TempDir,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::over(MemoryObjectStore::new(&[BUCKET, PUBLISHED])).await
    }

    pub(crate) async fn over(store: MemoryObjectStore) -> Self {
        // A file: a database in memory dies with its one connection, and a call cut off closes that.
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("sessions.db").display());
        migrate(&url).await.unwrap();
        let sessions = SqliteSessionStore::open(&url, &SqliteOptions::default()).await.unwrap();
        let (store, sessions) = (Arc::new(store), Arc::new(sessions));
        let scanner = MemoryScanner::new(scanner_name(), judge);
        let transformer = MemoryTransformer::png();
        let station = Station {
            sessions: Arc::clone(&sessions) as _,
            lists: Arc::clone(&sessions) as _,
            store: Arc::clone(&store) as _,
            scanners: vec![slot(scanner.clone())],
            transformer: Arc::new(transformer.clone()),
            settings: settings(),
        };
        Self { store, sessions, scanner, transformer, station: Arc::new(station), _folder: folder }
    }

    /// The same rig with a station that `change` has been at.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Station)) -> Self {
        self.station = Arc::new(self.station_with(change));
        self
    }

    /// Another station over the same parts.
    pub(crate) fn station_with(&self, change: impl FnOnce(&mut Station)) -> Station {
        let mut station = Station::clone(&self.station);
        change(&mut station);
        station
    }

    pub(crate) fn with_scanner(self, scanner: MemoryScanner) -> Self {
        let mut rig = self.with(|station| station.scanners = vec![slot(scanner.clone())]);
        rig.scanner = scanner;
        rig
    }

    pub(crate) fn with_transformer(self, transformer: MemoryTransformer) -> Self {
        let mut rig = self.with(|station| station.transformer = Arc::new(transformer.clone()));
        rig.transformer = transformer;
        rig
    }

    /// Policies that make variants of these names, of up to 256 pixels and twice that each time.
    pub(crate) fn with_variants(self, names: &[&str]) -> Self {
        let size = |(max_side, name): (u32, &&str)| VariantSize { name: name.parse().unwrap(), max_side };
        let sizes: Vec<_> = std::iter::successors(Some(256), |side| Some(side * 2)).zip(names).map(size).collect();
        self.with_policies(|policy| policy.image.variants.clone_from(&sizes))
    }

    pub(crate) fn with_policies(self, change: impl Fn(&mut Policy)) -> Self {
        self.with(|station| {
            let mut policies = station.settings.policies.as_slice().to_vec();
            policies.iter_mut().for_each(change);
            station.settings.policies = PolicySet::new(policies);
        })
    }

    /// A session and its upload.
    pub(crate) async fn upload(&self, bytes: &[u8], name: &str, declared: &str) -> (Session, ObjectEvent) {
        let session = self.sessions.create(&new_session(bytes, name, declared)).await.unwrap();
        let event = self.put(&session, bytes);
        (session, event)
    }

    /// A write under the session's key, and the event that tells of it.
    pub(crate) fn put(&self, session: &Session, bytes: &[u8]) -> ObjectEvent {
        event_of(&self.store.put(BUCKET, session.key.as_key().as_str(), bytes))
    }

    pub(crate) async fn text(&self) -> (Session, ObjectEvent) {
        self.upload(b"plain words", "note.txt", "text/plain").await
    }

    pub(crate) async fn pass(&self, event: &ObjectEvent) -> Result<Passed, PassageError> {
        self.passage().pass(event, &CancellationToken::new()).await
    }

    pub(crate) fn passage(&self) -> Passage {
        Passage::new(Arc::clone(&self.station))
    }

    pub(crate) async fn state(&self, session: &Session) -> SessionState {
        self.session(session).await.state
    }

    pub(crate) async fn session(&self, session: &Session) -> Session {
        self.sessions.get(session.upload_id).await.unwrap().unwrap()
    }

    /// The audit records of decisions.
    pub(crate) async fn settlements(&self, session: &Session) -> Vec<AuditRecord> {
        let audit = self.sessions.history(session.upload_id).await.unwrap().audit;
        audit.into_iter().filter(|record| matches!(record.action.as_str(), "publish" | "reject" | "hold")).collect()
    }

    pub(crate) fn copies(&self) -> Vec<String> {
        self.store.keys(PUBLISHED)
    }

    /// The bytes of the published copy; what is published must be what the session names.
    pub(crate) async fn published(&self, session: &Session) -> Vec<u8> {
        let SessionState::Published(object) = self.state(session).await else { panic!("not published") };
        assert_eq!(self.copies(), named(&object));
        self.store.object(PUBLISHED, object.key.as_key().as_str()).unwrap().bytes.unwrap().to_vec()
    }

    /// Waits until `holds` gives something.
    pub(crate) async fn until<T>(&self, what: &str, holds: impl AsyncFn(&Self) -> Option<T>) -> T {
        until(what, async || holds(self).await).await
    }
}

/// Everything that is published of an object, in the order of a listing.
pub(crate) fn named(object: &PublishedObject) -> Vec<String> {
    let keys: BTreeSet<_> = object.keys().map(ToString::to_string).collect();
    keys.into_iter().collect()
}

pub(crate) async fn until<T>(what: &str, holds: impl AsyncFn() -> Option<T>) -> T {
    let ask = async {
        loop {
            if let Some(found) = holds().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ask).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// What the fake scanner knows.
pub(crate) fn judge(bytes: &[u8]) -> Result<Finding, ScanError> {
    let unscannable = |reason| Ok(Finding::Unscannable { reason, detail: "told to".to_owned() });
    match bytes {
        b"over limits" => unscannable(HoldReason::ScanLimits),
        b"encrypted" => unscannable(HoldReason::Encrypted),
        b"no verdict" => Err(no_verdict()),
        _ if bytes.windows(68).any(|window| window == eicar()) => {
            Ok(Finding::Infected { signature: "Eicar".to_owned() })
        }
        _ => Ok(Finding::Clean),
    }
}

pub(crate) fn no_verdict() -> ScanError {
    ScanError::NoVerdict { scanner: scanner_name(), answer: String::new() }
}

pub(crate) fn scanner_name() -> ScannerName {
    "memory".parse().unwrap()
}

pub(crate) fn slot(scanner: impl Scanner + 'static) -> ScannerSlot {
    ScannerSlot { scanner: Arc::new(scanner), timeout: Duration::from_secs(10), max_size: 1_000_000 }
}

pub(crate) fn a_png() -> Vec<u8> {
    png("an image with a place and a time in it")
}

fn settings() -> StationSettings {
    let policy = |name: &str, types: &[&str], action| Policy {
        name: name.to_owned(),
        types: types.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        action,
        scanners: vec![scanner_name()],
        optional_scanners: Vec::new(),
        reuse_verdicts: None,
        max_size: None,
        max_pixels: None,
        max_side: None,
        max_frames: None,
        image: ImageOutput::default(),
    };
    StationSettings {
        worker_id: WorkerId::new("worker-1"),
        bucket: BUCKET.parse().unwrap(),
        quarantine_prefix: "quarantine/".parse().unwrap(),
        published_bucket: PUBLISHED.parse().unwrap(),
        published_prefix: "published/".parse().unwrap(),
        policies: PolicySet::new(vec![
            policy("images", &["image/png", "image/bmp", "image/tiff"], Action::ReEncode),
            policy("no-gif", &["image/gif"], Action::Reject),
            policy("documents", &["text/plain", "application/zip", "application/pdf"], Action::AsIs),
        ]),
        max_object_size: 10_000_000,
        archive: ArchiveLimits::default(),
        require_finalize: false,
        lease: LONG,
        max_attempts: 3,
        retain_rejected: FOR_EVER,
    }
}

pub(crate) fn new_session(bytes: &[u8], name: &str, declared: &str) -> NewSession {
    let upload_id = UploadId::from_uuid(Uuid::now_v7());
    NewSession {
        upload_id,
        object_id: ObjectId::from_uuid(Uuid::now_v7()),
        tenant: "tenant-1".parse().unwrap(),
        bucket: BUCKET.parse().unwrap(),
        key: QuarantineKey::for_upload(&"quarantine/".parse().unwrap(), upload_id),
        file_name: name.parse().unwrap(),
        declared_type: declared.parse().unwrap(),
        declared_size: bytes.len() as u64,
        declared_sha256: None,
        expires_in: FOR_EVER,
    }
}

pub(crate) fn event_of(head: &ObjectHead) -> ObjectEvent {
    ObjectEvent {
        bucket: head.bucket.clone(),
        key: head.key.clone(),
        version: head.version.clone(),
        etag: Some(head.etag.clone()),
        size: Some(head.size),
        occurred_at: None,
    }
}

/// A message that tells of these objects, one a line.
pub(crate) fn message(events: &[ObjectEvent]) -> String {
    events.iter().map(|event| line(&event.bucket, &event.key, event.version.as_ref())).collect()
}

fn line(bucket: &BucketName, key: &ObjectKey, version: Option<&VersionId>) -> String {
    format!("{bucket} {key} {}\n", version.map_or("", VersionId::as_str))
}

pub(crate) fn bus(queue: Arc<dyn Queue>) -> Bus {
    let decode = |body: &[u8], _: &BTreeMap<String, String>| {
        let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        let mut message = Message::default();
        for line in text.lines() {
            match event(line) {
                Some(event) => message.created.push(event),
                None => message.bad.push(format!("not understood: {line}")),
            }
        }
        Ok(message)
    };
    let span_parent = |_: &tracing::Span, _: &BTreeMap<String, String>| {};
    Bus { queue, decode: Arc::new(decode), encode: Arc::new(line), span_parent: Arc::new(span_parent) }
}

fn event(line: &str) -> Option<ObjectEvent> {
    let mut words = line.split(' ');
    Some(ObjectEvent {
        bucket: words.next()?.parse().ok()?,
        key: words.next()?.parse().ok()?,
        version: words.next().and_then(|version| version.parse().ok()),
        etag: None,
        size: None,
        occurred_at: None,
    })
}

pub(crate) fn embedded(visibility_timeout: Duration) -> Arc<EmbeddedQueue> {
    let wait_time = Duration::from_millis(100);
    Arc::new(EmbeddedQueue::new(EmbeddedSettings { visibility_timeout, wait_time, capacity: 1000 }))
}

/// A worker at work. Dropped or aborted it dies as a killed process does.
pub(crate) struct Running {
    pub(crate) stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(
        station: &Arc<Station>,
        queue: Arc<dyn Queue>,
        concurrency: usize,
        drain_timeout: Duration,
    ) -> Self {
        Self::start_worker(Worker::new(Arc::clone(station), bus(queue), WorkerSettings { concurrency, drain_timeout }))
    }

    /// A worker that tells its verdicts.
    pub(crate) fn start_telling(station: &Arc<Station>, queue: Arc<dyn Queue>, sink: Arc<dyn EventSink>) -> Self {
        let settings = WorkerSettings { concurrency: 4, drain_timeout: LONG };
        let verdicts = Verdicts { sink, source: SOURCE.to_owned() };
        Self::start_worker(Worker::new(Arc::clone(station), bus(queue), settings).with_verdicts(verdicts))
    }

    pub(crate) fn start_worker(worker: Worker) -> Self {
        let stop = CancellationToken::new();
        let running = worker.run(stop.clone());
        #[expect(clippy::disallowed_methods, reason = "aborted when it is dropped")]
        let task = tokio::spawn(running);
        Self { stop, task }
    }

    pub(crate) async fn drain(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }

    pub(crate) async fn kill(mut self) {
        self.task.abort();
        (&mut self.task).await.unwrap_err();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
