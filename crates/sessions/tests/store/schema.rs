//! Migrations, what is opened and what is refused, and what the schema itself enforces.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use lazaret_core::{
    ObjectEvent,
    ports::{SessionStore, SessionStoreError},
};
use lazaret_sessions::{MigrationReport, SqliteOptions, SqliteSessionStore, migrate};
use lazaret_testkit::sessions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tokio::task::JoinSet;

fn url(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("lazaret.db").display())
}

async fn open(url: &str) -> Result<SqliteSessionStore, SessionStoreError> {
    SqliteSessionStore::open(url, &SqliteOptions::default()).await
}

async fn raw(url: &str) -> Result<SqliteConnection> {
    Ok(SqliteConnection::connect(url).await?)
}

fn not_migrated<T>(answer: Result<T, SessionStoreError>) -> Result<String> {
    match answer {
        Err(error @ SessionStoreError::NotMigrated { .. }) => Ok(error.to_string()),
        Err(other) => bail!("expected NotMigrated, got {other:?}"),
        Ok(_) => bail!("expected NotMigrated, got a store"),
    }
}

#[tokio::test]
async fn migrating_creates_the_file_and_is_idempotent() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = url(&folder);
    let message = not_migrated(open(&url).await)?;
    assert!(message.contains("lazaret.db") && message.contains("lazaret migrate"), "{message}");
    assert!(!folder.path().join("lazaret.db").exists(), "opening made the file");
    assert_eq!(migrate(&url).await?, MigrationReport { from: None, to: 2 });
    assert_eq!(migrate(&url).await?, MigrationReport { from: Some(2), to: 2 });
    let store = open(&url).await?;
    store.check().await?;
    store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_may_migrate_at_once() -> Result<()> {
    for _ in 0..5 {
        let folder = tempfile::tempdir()?;
        let mut starts = JoinSet::new();
        for _ in 0..8 {
            let url = url(&folder);
            starts.spawn(async move { migrate(&url).await });
        }
        let mut first = 0;
        while let Some(report) = starts.join_next().await {
            first += usize::from(report??.from.is_none());
        }
        assert_eq!(first, 1, "one does the work");
        open(&url(&folder)).await?.check().await?;
    }
    Ok(())
}

#[tokio::test]
async fn other_schemas_are_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = url(&folder);
    std::fs::write(folder.path().join("lazaret.db"), b"")?;
    assert!(not_migrated(open(&url).await)?.contains("empty"));
    migrate(&url).await?;
    let store = open(&url).await?;

    let mut database = raw(&url).await?;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
         values (7, 'later', true, x'00', 0)",
    )
    .execute(&mut database)
    .await?;
    for message in
        [not_migrated(open(&url).await)?, not_migrated(migrate(&url).await)?, not_migrated(store.check().await)?]
    {
        assert!(message.contains('7') && message.contains("newer"), "{message}");
    }
    sqlx::query("delete from _sqlx_migrations where version = 7").execute(&mut database).await?;
    open(&url).await?;
    sqlx::query("update _sqlx_migrations set checksum = x'00'").execute(&mut database).await?;
    not_migrated(open(&url).await)?;
    not_migrated(migrate(&url).await)?;
    Ok(())
}

#[tokio::test]
async fn what_is_no_database_is_unavailable() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("lazaret.db"), "this is not a database ".repeat(100))?;
    let nowhere = format!("sqlite:{}", folder.path().join("no/such/folder/lazaret.db").display());
    for answer in
        [open(&url(&folder)).await.map(drop), migrate(&url(&folder)).await.map(drop), migrate(&nowhere).await.map(drop)]
    {
        let Err(SessionStoreError::Unavailable { source, .. }) = answer else { bail!("{answer:?}") };
        assert!(source.to_string().contains("lazaret.db"), "{source}");
    }
    Ok(())
}

#[tokio::test]
async fn a_check_needs_a_database_that_takes_writes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = url(&folder);
    migrate(&url).await?;
    let read_only = open(&format!("{url}?mode=ro")).await?;
    let answer = read_only.check().await;
    assert!(matches!(answer, Err(SessionStoreError::Unavailable { .. })), "{answer:?}");

    let options = SqliteOptions { timeout: Duration::from_millis(50), ..SqliteOptions::default() };
    let store = SqliteSessionStore::open(&url, &options).await?;
    let mut other = raw(&url).await?;
    let lock = other.begin_with("begin immediate").await?;
    let answer = store.check().await;
    assert!(matches!(answer, Err(SessionStoreError::Unavailable { .. })), "{answer:?}");
    store.now().await.context("readers go on")?;
    lock.rollback().await?;
    store.check().await?;
    Ok(())
}

#[tokio::test]
async fn audit_records_and_verdicts_are_append_only() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = url(&folder);
    migrate(&url).await?;
    let store = open(&url).await?;
    let id = sessions::settled(&store, &sessions::reject()?).await?.upload_id;
    let history = store.history(id).await?;
    let mut database = raw(&url).await?;
    for table in ["audit", "verdicts"] {
        for statement in [
            format!("update {table} set at_ms = 0"),
            format!("delete from {table}"),
            format!("replace into {table} select * from {table} limit 1"),
            format!("insert into {table} select * from {table} where true on conflict do update set at_ms = 0"),
        ] {
            let answer = sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut database).await;
            let error = answer.expect_err(&statement).to_string();
            assert!(error.contains("append-only"), "{statement}: {error}");
        }
    }
    assert_eq!(store.history(id).await?, history);
    Ok(())
}

#[tokio::test]
async fn a_broken_record_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = url(&folder);
    migrate(&url).await?;
    let store = open(&url).await?;
    let id = sessions::created(&store).await?.upload_id;
    let mut database = raw(&url).await?;
    sqlx::query("update sessions set tenant = 'a b'").execute(&mut database).await?;
    let answer = store.get(id).await;
    assert!(matches!(&answer, Err(SessionStoreError::Corrupt { detail }) if detail.contains("tenant")), "{answer:?}");
    let answer = store.begin_attempt(id, &sessions::worker(), sessions::LONG, 3, true).await;
    assert!(matches!(answer, Err(SessionStoreError::Corrupt { .. })), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn orphans_are_kept_with_their_times() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = url(&folder);
    migrate(&url).await?;
    let store = open(&url).await?;
    let event = ObjectEvent {
        bucket: "uploads".parse()?,
        key: "quarantine/stray".parse()?,
        version: Some("v1".parse()?),
        etag: None,
        size: Some(3),
        occurred_at: None,
    };
    let mut database = raw(&url).await?;
    let count = "select count(*), count(swept_at_ms) from orphans";
    for _ in 0..3 {
        store.record_orphan(&event).await?;
    }
    assert_eq!(sqlx::query_as::<_, (i64, i64)>(count).fetch_one(&mut database).await?, (1, 0));
    store.record_orphan_swept(&event.bucket, &event.key).await?;
    store.record_orphan(&event).await?;
    assert_eq!(sqlx::query_as::<_, (i64, i64)>(count).fetch_one(&mut database).await?, (1, 1));
    // Other bytes under the same key are another orphan.
    store.record_orphan(&ObjectEvent { version: Some("v2".parse()?), ..event }).await?;
    assert_eq!(sqlx::query_as::<_, (i64, i64)>(count).fetch_one(&mut database).await?, (2, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_leave_no_transaction_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = url(&folder);
    migrate(&url).await?;
    let store = Arc::new(open(&url).await?);
    let id = sessions::created(&*store).await?.upload_id;
    let worker = sessions::worker();
    for step in 0..60_u64 {
        let call = store.begin_attempt(id, &worker, sessions::OVER, 1000, true);
        // Cut at another point each time; whether it was early or late, the store must go on.
        let cut = Duration::from_micros(step * 50);
        if let Ok(answer) = tokio::time::timeout(cut, call).await {
            answer?;
        }
    }
    let session = sessions::now_is(&*store, id).await?;
    let attempts = store.history(id).await?.attempts;
    assert_eq!(attempts.len(), usize::try_from(session.attempts)?, "an attempt was half written");
    sessions::begin(&*store, id, sessions::LONG).await?;
    Ok(())
}

#[tokio::test]
async fn the_file_is_in_wal_mode() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = url(&folder);
    migrate(&url).await?;
    let store = open(&url).await?;
    sessions::created(&store).await?;
    let mut database = raw(&url).await?;
    let mode: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&mut database).await?;
    assert_eq!(mode, "wal");
    assert!(Path::new(&format!("{}-wal", folder.path().join("lazaret.db").display())).exists());
    Ok(())
}
