//! Five hundred objects of every kind, on notifications that the server sends itself: each in the right state once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lazaret_core::{ObjectId, StateName, UploadId, ports::SessionStore};
use lazaret_tests::{
    direct::new_session,
    objects::{Upload, eicar, fixture, sha256},
    station::Station,
    wait::until_true,
};
use tokio::task::JoinSet;

use crate::SETTLED_WITHIN;

const OBJECTS: usize = 500;
const UPLOADS_AT_ONCE: usize = 16;
const ALL_SETTLED_WITHIN: Duration = Duration::from_mins(3);

/// What an object has to become; orphans have no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Published,
    Rejected(&'static str),
    Orphan,
}

/// One object, its session if it has one, and what has to become of it.
struct Member {
    key: String,
    object_id: Option<(UploadId, ObjectId)>,
    upload: Upload,
    fate: Fate,
}

#[tokio::test]
async fn heavy_five_hundred_mixed_objects_are_settled_once_each() -> Result<()> {
    let mut station = Station::new().await?;
    station.set("worker.concurrency", "8");
    let worker = station.worker("worker").await?;
    let crowd = upload_crowd(&station).await?;
    let sessions = station.sessions().await?;
    all_settled(&*sessions, &crowd).await?;
    station.queue.drained(ALL_SETTLED_WITHIN).await?;
    check(&station, &*sessions, &crowd).await?;
    let metrics = station.metrics().await?;
    for (fate, count) in count(&crowd) {
        let counted = match fate {
            Fate::Published => metrics.objects("published", None)?,
            Fate::Rejected(reason) => metrics.objects("rejected", Some(reason))?,
            Fate::Orphan => metrics.objects("orphan", None)?,
        };
        assert!((counted - count).abs() < 0.5, "{fate:?}: {counted} counted of {count}");
    }
    drop(worker);
    Ok(())
}

#[tokio::test]
async fn heavy_five_hundred_mixed_objects_outlive_a_killed_worker() -> Result<()> {
    let mut station = Station::new().await?;
    station.set("worker.concurrency", "8");
    station.set("worker.lease", "3s");
    station.set("queue.sqs.visibility_timeout", "3s");
    let mut worker = station.worker("first").await?;
    let crowd = upload_crowd(&station).await?;
    let sessions = station.sessions().await?;
    until_true("a fifth is settled", ALL_SETTLED_WITHIN, async || Ok(unsettled(&*sessions).await? < OBJECTS * 4 / 5))
        .await?;
    let children = worker.children()?;
    worker.kill()?;
    until_true("its children are gone", SETTLED_WITHIN, async || Ok(!children.iter().any(|child| child.exists())))
        .await?;
    assert_eq!(fs::read_dir(station.folder.path().join("spool"))?.count(), 0, "spool files have names");
    let left = unsettled(&*sessions).await?;
    ensure!(left > 0, "nothing was left for the second worker: kill earlier");
    let second = station.worker("second").await?;
    all_settled(&*sessions, &crowd).await?;
    station.queue.drained(ALL_SETTLED_WITHIN).await?;
    check(&station, &*sessions, &crowd).await?;
    drop(second);
    Ok(())
}

fn member(index: usize) -> Result<(Upload, Fate)> {
    let image = |name: &str, kind| Upload::fixture(name, kind);
    let text = Upload::text(&format!("number {index}"));
    let size = text.bytes.len() as u64;
    Ok(match index % 20 {
        0..=2 => (image(&format!("orientation-{}.jpg", index % 8 + 1), "image/jpeg")?, Fate::Published),
        3 | 4 => (image("16-bit.png", "image/png")?, Fate::Published),
        5 => (image("animated.gif", "image/gif")?, Fate::Published),
        6 if index.is_multiple_of(3) => (image("photo.webp", "image/webp")?, Fate::Published),
        6 => (image("transparent.png", "image/png")?, Fate::Published),
        7 => (image("page.pdf", "application/pdf")?, Fate::Published),
        8 => (Upload::new("eicar.txt", "text/plain", eicar()), Fate::Rejected("infected")),
        9 => (image("eicar.zip.b64", "application/zip")?, Fate::Rejected("infected")),
        10 => (Upload::new("a.png", "image/png", fixture("page.pdf")?), Fate::Rejected("type-mismatch")),
        11 => (text.of_size(size + 1), Fate::Rejected("size-mismatch")),
        12 => (text.promising(sha256(b"something else")), Fate::Rejected("digest-mismatch")),
        13 => (image("truncated.jpg", "image/jpeg")?, Fate::Rejected("decode-failed")),
        14 => (text, Fate::Orphan),
        15 => {
            let sha256 = sha256(&text.bytes);
            (text.promising(sha256), Fate::Published)
        }
        _ => (text, Fate::Published),
    })
}

/// Makes the sessions in the database and uploads with our own credentials: a process for each would take longer
/// than everything else.
async fn upload_crowd(station: &Station) -> Result<Vec<Member>> {
    let sessions = station.sessions().await?;
    let mut crowd = Vec::with_capacity(OBJECTS);
    let mut uploads = JoinSet::new();
    for index in 0..OBJECTS {
        let (upload, fate) = member(index)?;
        let session = match fate {
            Fate::Orphan => None,
            Fate::Published | Fate::Rejected(_) => {
                Some(sessions.create(&new_session(&station.store.bucket, "quarantine/", &upload)?).await?)
            }
        };
        let key = session
            .as_ref()
            .map_or_else(|| format!("quarantine/nobody/asked {index}+%"), |session| session.key.as_key().to_string());
        if uploads.len() >= UPLOADS_AT_ONCE {
            uploads.join_next().await.context("no upload")???;
        }
        let (store, to, content_type, bytes) =
            (station.store.clone(), key.clone(), upload.content_type.clone(), upload.bytes.clone());
        uploads.spawn(async move { store.put(&to, &content_type, bytes).await });
        let object_id = session.map(|session| (session.upload_id, session.object_id));
        crowd.push(Member { key, object_id, upload, fate });
    }
    while let Some(uploaded) = uploads.join_next().await {
        uploaded??;
    }
    Ok(crowd)
}

async fn unsettled(sessions: &dyn SessionStore) -> Result<usize> {
    let mut count = 0;
    for state in [StateName::Created, StateName::Uploaded, StateName::Finalized] {
        count += sessions.list(Some(state), None, u32::try_from(OBJECTS)?).await?.len();
    }
    Ok(count)
}

async fn all_settled(sessions: &dyn SessionStore, crowd: &[Member]) -> Result<()> {
    let with_session = crowd.iter().filter(|member| member.object_id.is_some()).count();
    ensure!(sessions.list(None, None, u32::try_from(OBJECTS)?).await?.len() == with_session, "sessions are missing");
    until_true("all are settled", ALL_SETTLED_WITHIN, async || Ok(unsettled(sessions).await? == 0)).await
}

/// Every session in its state, one settlement in its audit trail, and among the published objects what they name and
/// nothing else.
async fn check(station: &Station, sessions: &dyn SessionStore, crowd: &[Member]) -> Result<()> {
    let mut published = BTreeSet::new();
    for member in crowd {
        let Some((upload_id, object_id)) = member.object_id else { continue };
        let session = sessions.get(upload_id).await?.context("a session is gone")?;
        let what = format!("{upload_id} ({})", member.upload.file_name);
        let found = match session.state.name() {
            StateName::Published => Fate::Published,
            _ => Fate::Rejected(session.state.reason().map_or("none", lazaret_core::Reason::code)),
        };
        assert_eq!(found, member.fate, "{what}: {:?}", session.detail);
        if let Some(object) = session.state.published() {
            let key = object.key.as_key().to_string();
            assert_eq!(key, format!("published/{object_id}/{}", object.sha256), "{what}");
            published.insert(key);
        }
        let audit = sessions.history(upload_id).await?.audit;
        let settled = audit.iter().filter(|record| matches!(record.to, StateName::Published | StateName::Rejected));
        let moved = settled.filter(|record| record.from != Some(record.to)).count();
        assert_eq!(moved, 1, "{what}: {audit:?}");
    }
    assert_eq!(station.store.published().await?, published);
    let quarantined = station.store.quarantined().await?;
    for member in crowd {
        let kept = quarantined.contains(&member.key);
        assert_eq!(kept, member.fate != Fate::Published, "{}: {:?}", member.key, member.fate);
    }
    assert_eq!(station.dead_letters.left().await?, (0, 0));
    Ok(())
}

fn count(crowd: &[Member]) -> BTreeMap<Fate, f64> {
    let mut counts = BTreeMap::new();
    for member in crowd {
        *counts.entry(member.fate).or_insert(0.0) += 1.0;
    }
    counts
}
