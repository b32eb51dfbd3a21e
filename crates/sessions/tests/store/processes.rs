//! Several processes on one database, and a process that is killed while it writes.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use lazaret_core::{
    UploadId,
    ports::{SessionStore, Settled},
};
use lazaret_sessions::{SqlSessionStore, StoreOptions};
use lazaret_testkit::sessions::{self, OVER};

use crate::database::{Database, Engine, on_both};

on_both!(
    processes_share_a_database,
    committed_attempts_survive_a_kill,
    abandoned_leases_are_free_at_once_and_their_attempts_stay_counted,
);

const URL: &str = "LAZARET_TEST_SESSIONS_URL";
const SESSION: &str = "LAZARET_TEST_SESSION";
const ATTEMPTS: &str = "LAZARET_TEST_ATTEMPTS";

/// What a child process of the tests below runs: attempts without end, each printed once it is committed.
#[tokio::test]
#[ignore = "started by the other tests of this file"]
async fn child() -> Result<()> {
    let Ok(url) = std::env::var(URL) else { return Ok(()) };
    let id: UploadId = std::env::var(SESSION)?.parse()?;
    let store = SqlSessionStore::open(&url, &StoreOptions::default()).await?;
    for _ in 0..std::env::var(ATTEMPTS)?.parse::<u32>()? {
        let (_, fence) = sessions::begin(&store, id, OVER).await?;
        println!("fence {fence}");
    }
    Ok(())
}

fn start(url: &str, id: UploadId, attempts: u32) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["--exact", "processes::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(URL, url)
        .env(SESSION, id.to_string())
        .env(ATTEMPTS, attempts.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a child")
}

/// The fences a child says it has, as it says them.
fn fences(child: &mut Child) -> Result<impl Iterator<Item = i64> + use<>> {
    let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    Ok(lines.map_while(Result::ok).filter_map(|line| line.split_once("fence ")?.1.trim().parse().ok()))
}

async fn processes_share_a_database(engine: Engine) -> Result<()> {
    let database = Database::migrated(engine).await?;
    let url = database.url();
    let store = database.open().await?;
    let id = sessions::created(&store).await?.upload_id;
    let mut children = (0..3).map(|_| start(url, id, 25)).collect::<Result<Vec<_>>>()?;
    let mut seen = Vec::new();
    for child in &mut children {
        seen.extend(fences(child)?);
        assert!(child.wait()?.success());
    }
    assert_eq!(seen.len(), 75);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 75, "two processes got the same fence");
    assert_eq!(sessions::now_is(&store, id).await?.attempts, 75);
    Ok(())
}

async fn committed_attempts_survive_a_kill(engine: Engine) -> Result<()> {
    let database = Database::migrated(engine).await?;
    let url = database.url();
    let store = database.open().await?;
    let id = sessions::created(&store).await?.upload_id;
    store.close().await;
    let mut told = Vec::new();
    for round in 1..=3 {
        let mut child = start(url, id, 1_000_000)?;
        let mut said = fences(&mut child)?;
        told.extend(said.by_ref().take(round * 5));
        child.kill()?;
        child.wait()?;
        told.extend(said);
    }
    let store = database.open().await?;
    let kept: BTreeSet<i64> = store.history(id).await?.attempts.iter().map(|attempt| attempt.fence.0).collect();
    assert!(told.len() >= 30, "{told:?}");
    assert!(told.iter().all(|fence| kept.contains(fence)), "{told:?} were told, {kept:?} were kept");
    assert_eq!(kept.len(), usize::try_from(sessions::now_is(&store, id).await?.attempts)?);
    Ok(())
}

async fn abandoned_leases_are_free_at_once_and_their_attempts_stay_counted(engine: Engine) -> Result<()> {
    let database = Database::migrated(engine).await?;
    let store = database.open().await?;
    let id = sessions::created(&store).await?.upload_id;
    let (_, first) = sessions::begin(&store, id, Duration::from_hours(1)).await?;
    sessions::settled(&store, &sessions::publish()?).await?;
    assert_eq!(store.abandon_leases().await?, 1);
    assert_eq!(store.abandon_leases().await?, 0);
    // Its holder is gone, and so is what it could do.
    assert!(!store.renew_lease(id, first, Duration::from_hours(1)).await?);
    assert!(matches!(store.settle(id, first, &sessions::publish()?).await?, Settled::Stale));
    let (session, second) = sessions::begin(&store, id, OVER).await?;
    assert!(session.attempts == 2 && second > first, "{session:?}");
    Ok(())
}
