//! Nothing lost, nothing twice, nothing wrong: what was uploaded against what is there now.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use lazaret_core::{
    PublishedObject, Session, SessionState, StateName,
    ports::{AuditRecord, History},
};
use serde_json::Value;

use crate::{
    cli::{Created, Shown},
    objects::{Upload, sha256},
    station::Station,
};

const PROBES: &str = "published/.lazaret-probe/";

/// What has to become of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Published byte for byte.
    AsIs,
    /// Published as another file of the same picture.
    ReEncoded,
    /// Not published; state and reason, such as `rejected/infected`.
    Ended(&'static str),
}

/// One upload and what has to become of it.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its session.
    pub created: Created,
    /// What was sent.
    pub upload: Upload,
    /// What has to become of it.
    pub fate: Fate,
}

/// Compares the published prefix, the quarantine, the session table, the queue, the dead-letter queue and the digests of
/// what was uploaded. The error lists everything that is wrong. These are all uploads there ever were at the station, and
/// all of them are settled; no worker runs any more, for RabbitMQ does not tell what a consumer holds.
pub async fn holds(station: &Station, expected: &[Expected]) -> Result<()> {
    let mut findings = Findings::default();
    let mut recorded = BTreeSet::new();
    let sessions = station.sessions().await?;
    for one in expected {
        let id = one.created.upload_id.parse()?;
        let session = sessions.get(id).await?.with_context(|| format!("session {id} is gone"))?;
        findings.session(one, &session, &sessions.history(id).await?);
        if let SessionState::Published(published) = &session.state {
            for copy in copies(published) {
                findings.copy(station, one, &copy).await;
                recorded.insert(copy.key);
            }
        }
    }
    findings.table(station, expected)?;
    if let Some(one) = expected.first() {
        findings.shown(one, &station.show(&one.created.upload_id)?);
    }
    let mut published = station.store.published().await?;
    // What a worker tries the store with as it starts stays where it is killed in the middle of that. It is nobody's
    // upload, and lies where no reader is sent.
    published.retain(|key| !key.starts_with(PROBES));
    findings.same("published objects", &recorded, &published);
    let originals = expected.iter().filter(|one| matches!(one.fate, Fate::Ended(_)));
    let originals = originals.map(|one| one.created.key.clone()).collect();
    findings.same("originals", &originals, &station.store.quarantined().await?);
    let unfinished = station.store.client.list_multipart_uploads().bucket(&station.store.bucket).send().await?;
    findings.ensure(unfinished.uploads().is_empty(), || format!("unfinished: {:?}", unfinished.uploads()));
    for (name, queue) in [("queue", &station.queue), ("dead-letter queue", &station.dead_letters)] {
        let left = queue.left().await?;
        findings.ensure(left == (0, 0), || format!("the {name} holds {left:?} messages"));
    }
    findings.conclude()
}

/// One of the objects that were published of an upload, as its session records it.
#[derive(Debug)]
struct Recorded {
    key: String,
    sha256: String,
    size: u64,
    content_type: String,
}

/// The copy and its variants.
fn copies(published: &PublishedObject) -> Vec<Recorded> {
    let PublishedObject { key, sha256, size, content_type, image, .. } = published;
    let object = Recorded {
        key: key.to_string(),
        sha256: sha256.to_string(),
        size: *size,
        content_type: content_type.to_string(),
    };
    let variants = image.iter().flat_map(|image| &image.variants).map(|variant| Recorded {
        key: variant.key.to_string(),
        sha256: variant.sha256.to_string(),
        size: variant.size,
        content_type: variant.content_type.to_string(),
    });
    std::iter::once(object).chain(variants).collect()
}

/// State and reason on one line: `published`, `rejected/infected`.
fn outcome(state: &SessionState) -> String {
    let name = state.name();
    state.reason().map_or_else(|| name.to_string(), |reason| format!("{name}/{reason}"))
}

#[derive(Debug, Default)]
struct Findings(Vec<String>);

impl Findings {
    fn ensure(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.0.push(otherwise());
        }
    }

    fn same(&mut self, what: &str, expected: &BTreeSet<String>, found: &BTreeSet<String>) {
        let missing: Vec<_> = expected.difference(found).collect();
        let surplus: Vec<_> = found.difference(expected).collect();
        self.ensure(missing.is_empty(), || format!("{what} lost: {missing:?}"));
        self.ensure(surplus.is_empty(), || format!("{what} that nobody knows of: {surplus:?}"));
    }

    fn session(&mut self, expected: &Expected, session: &Session, history: &History) {
        let (id, found) = (&expected.created.upload_id, outcome(&session.state));
        let due = match expected.fate {
            Fate::AsIs | Fate::ReEncoded => "published",
            Fate::Ended(outcome) => outcome,
        };
        self.ensure(found == due, || {
            format!("{id} ({}) is {found} instead of {due}: {session:?}, {history:?}", expected.upload.file_name)
        });
        let ends = [StateName::Published, StateName::Rejected, StateName::Held, StateName::Expired];
        let settled = |record: &&AuditRecord| ends.contains(&record.to) && record.from != Some(record.to);
        let settlements = history.audit.iter().filter(settled).count();
        self.ensure(settlements == 1, || format!("{id} was settled {settlements} times: {:?}", history.audit));
    }

    /// The program tells the same story.
    fn shown(&mut self, expected: &Expected, shown: &Shown) {
        let id = &expected.created.upload_id;
        let is_published = matches!(expected.fate, Fate::AsIs | Fate::ReEncoded);
        let due = if let Fate::Ended(outcome) = expected.fate { outcome } else { "published" };
        self.ensure(shown.outcome() == due && shown.published.is_some() == is_published, || {
            format!("{id} is shown as {}: {:?}", shown.outcome(), shown.story)
        });
    }

    async fn copy(&mut self, station: &Station, expected: &Expected, published: &Recorded) {
        let (id, source) = (&expected.created.upload_id, sha256(&expected.upload.bytes));
        let fetched = match station.store.fetch(&published.key).await {
            Ok(fetched) => fetched,
            Err(error) => return self.0.push(format!("{id}: its copy cannot be read: {error:#}")),
        };
        let (key, object_id) = (&published.key, &expected.created.object_id);
        self.ensure(*key == format!("published/{object_id}/{}", fetched.sha256), || {
            format!("{id}: the bytes under {key} have the digest {}", fetched.sha256)
        });
        let same = fetched.sha256 == published.sha256 && fetched.body.len() as u64 == published.size;
        self.ensure(same, || format!("{id}: {published:?} is not what lies there: {}", fetched.sha256));
        let as_is = fetched.sha256 == source;
        self.ensure(as_is == (expected.fate == Fate::AsIs), || {
            format!("{id}: uploaded {source}, published {}, expected {:?}", fetched.sha256, expected.fate)
        });
        for (name, value) in [
            ("content-type", &published.content_type),
            ("x-amz-meta-lazaret-upload-id", id),
            ("x-amz-meta-lazaret-object-id", object_id),
            ("x-amz-meta-lazaret-sha256", &fetched.sha256),
            ("x-amz-meta-lazaret-source-sha256", &source),
        ] {
            let found = fetched.header(name);
            self.ensure(found == value, || format!("{id}: {name} is {found:?} instead of {value:?}"));
        }
    }

    /// Every session there is was expected, and says the same in a list.
    fn table(&mut self, station: &Station, expected: &[Expected]) -> Result<()> {
        let limit = (expected.len() + 100).to_string();
        let list = station.run(&["session", "list", "--output", "json", "--limit", &limit])?;
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let rows: Vec<Value> = list.json()?;
        let states: BTreeMap<_, _> = rows.iter().map(|row| (text(row, "upload_id"), text(row, "state"))).collect();
        let ids = expected.iter().map(|one| one.created.upload_id.clone()).collect();
        self.same("sessions", &ids, &states.keys().cloned().collect());
        for one in expected {
            let state = states.get(&one.created.upload_id).map_or("", String::as_str);
            let due = match one.fate {
                Fate::AsIs | Fate::ReEncoded => "published",
                Fate::Ended(outcome) => outcome.split('/').next().unwrap_or_default(),
            };
            self.ensure(state == due, || format!("{} is listed as {state:?}", one.created.upload_id));
        }
        Ok(())
    }

    fn conclude(self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        bail!("{} findings:\n{}", self.0.len(), self.0.join("\n"))
    }
}
