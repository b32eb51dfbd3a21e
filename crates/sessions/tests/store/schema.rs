//! Migrations, what is opened and what is refused, and what the schema itself enforces.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use lazaret_core::{
    ListKind, ObjectEvent, StateName,
    ports::{ListStore, OutboxKind, SessionStore, SessionStoreError},
};
use lazaret_sessions::{MigrationReport, SqlSessionStore, StoreOptions, migrate};
use lazaret_testkit::{lists, sessions};
use sqlx::{Connection, SqliteConnection};
use tokio::task::JoinSet;

use crate::database::{Database, Engine, on_both};

fn url(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("lazaret.db").display())
}

async fn open(url: &str) -> Result<SqlSessionStore, SessionStoreError> {
    SqlSessionStore::open(url, &StoreOptions::default()).await
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

/// The newest version of each schema.
const fn newest(engine: Engine) -> i64 {
    match engine {
        Engine::Sqlite => 7,
        Engine::Postgres => 6,
    }
}

on_both!(
    migrating_is_idempotent,
    several_may_migrate_at_once,
    an_older_schema_is_upgraded_with_what_it_holds,
    other_schemas_are_refused,
    audit_records_and_verdicts_are_append_only,
    an_open_store_goes_on_when_columns_are_added,
    a_broken_record_is_named,
    dropped_calls_leave_no_transaction_behind,
);

async fn migrating_is_idempotent(engine: Engine) -> Result<()> {
    let database = Database::empty(engine).await?;
    let message = not_migrated(open(database.url()).await)?;
    assert!(message.contains("lazaret migrate"), "{message}");
    let to = newest(engine);
    assert_eq!(migrate(database.url()).await?, MigrationReport { from: None, to });
    assert_eq!(migrate(database.url()).await?, MigrationReport { from: Some(to), to });
    let store = open(database.url()).await?;
    store.check().await?;
    store.close().await;
    Ok(())
}

async fn several_may_migrate_at_once(engine: Engine) -> Result<()> {
    for _ in 0..3 {
        let database = Database::empty(engine).await?;
        let mut starts = JoinSet::new();
        for _ in 0..8 {
            let url = database.url().to_owned();
            starts.spawn(async move { migrate(&url).await });
        }
        let mut first = 0;
        while let Some(report) = starts.join_next().await {
            first += usize::from(report??.from.is_none());
        }
        assert_eq!(first, 1, "one does the work");
        open(database.url()).await?.check().await?;
    }
    Ok(())
}

async fn other_schemas_are_refused(engine: Engine) -> Result<()> {
    let database = Database::empty(engine).await?;
    let url = database.url();
    if engine == Engine::Sqlite {
        database.run("pragma user_version = 1").await.ok();
    }
    migrate(url).await?;
    let store = open(url).await?;
    let blob = if engine == Engine::Sqlite { "x'00'" } else { r"'\x00'" };
    database
        .run(&format!(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
             values (9, 'later', true, {blob}, 0)"
        ))
        .await?;
    for message in
        [not_migrated(open(url).await)?, not_migrated(migrate(url).await)?, not_migrated(store.check().await)?]
    {
        assert!(message.contains('9') && message.contains("newer"), "{message}");
    }
    database.run("delete from _sqlx_migrations where version = 9").await?;
    open(url).await?;
    database.run(&format!("update _sqlx_migrations set checksum = {blob}")).await?;
    not_migrated(open(url).await)?;
    not_migrated(migrate(url).await)?;
    database.run("delete from _sqlx_migrations").await?;
    assert!(not_migrated(open(url).await)?.contains("empty"));
    Ok(())
}

#[tokio::test]
async fn a_sqlite_file_is_made_by_a_migration_only() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = url(&folder);
    let message = not_migrated(open(&url).await)?;
    assert!(message.contains("lazaret.db") && message.contains("lazaret migrate"), "{message}");
    assert!(!folder.path().join("lazaret.db").exists(), "opening made the file");
    std::fs::write(folder.path().join("lazaret.db"), b"")?;
    assert!(not_migrated(open(&url).await)?.contains("empty"));
    Ok(())
}

async fn an_older_schema_is_upgraded_with_what_it_holds(engine: Engine) -> Result<()> {
    let database = Database::migrated(engine).await?;
    let session = sessions::created(&open(database.url()).await?).await?;
    if engine == Engine::Sqlite {
        database.run("drop index outbox_by_session").await?;
    }
    database
        .run(
            "drop index verdicts_by_bytes; drop index sessions_revoked; drop table list_removals; drop table list_entries; \
             alter table verdicts drop column policy; alter table verdicts drop column reused_from; \
             alter table sessions drop column published_image; alter table sessions drop column revoked_reason; \
             alter table sessions drop column published_deleted_at_ms",
        )
        .await?;
    database.run("drop index sessions_contested; delete from _sqlx_migrations where version > 1").await?;
    let message = not_migrated(open(database.url()).await)?;
    assert!(message.contains("version 1"), "{message}");
    assert_eq!(migrate(database.url()).await?, MigrationReport { from: Some(1), to: newest(engine) });
    assert_eq!(sessions::now_is(&open(database.url()).await?, session.upload_id).await?, session);
    Ok(())
}

/// An error names what is wrong, and no part of a password.
#[tokio::test]
async fn what_cannot_be_opened_is_said_without_secrets() -> Result<()> {
    let server = std::env::var("LAZARET_TEST_POSTGRES_URL").context("LAZARET_TEST_POSTGRES_URL")?;
    let mut nowhere: url::Url = server.parse()?;
    nowhere.set_path("no_such_database");
    nowhere.set_password(Some("hunter2")).ok().context("a password")?;
    let nowhere = nowhere.to_string();
    let options = StoreOptions { timeout: Duration::from_secs(1), ..StoreOptions::default() };
    for (url, expected) in [
        (nowhere.as_str(), "no_such_database"),
        ("postgres://lazaret:hunter2@127.0.0.1:1/lazaret", "127.0.0.1:1"),
        ("mysql://lazaret:hunter2@db/lazaret", "postgres://"),
        ("hunter2", "postgres://"),
        ("postgres//lazaret:hunter2@db/lazaret", "postgres://"),
        ("postgres://lazaret:hunter2@db:99999/lazaret", "readable"),
        ("postgres://lazaret@db/lazaret?passwd=hunter2", "passwd"),
        ("postgres://lazaret@db/lazaret?sslmode=hunter", "readable"),
    ] {
        for error in [
            SqlSessionStore::open(url, &options).await.map(drop).expect_err(url),
            migrate(url).await.map(drop).expect_err(url),
        ] {
            assert!(matches!(error, SessionStoreError::Unavailable { .. }), "{url}: {error:?}");
            let debug = format!("{error:?}");
            let message = format!("{debug} {:#}", anyhow::Error::from(error));
            assert!(message.contains(expected) && !message.contains("hunter2"), "{url}: {message}");
        }
    }
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

    let options = StoreOptions { timeout: Duration::from_millis(50), ..StoreOptions::default() };
    let store = SqlSessionStore::open(&url, &options).await?;
    let mut other = raw(&url).await?;
    let lock = other.begin_with("begin immediate").await?;
    let answer = store.check().await;
    assert!(matches!(answer, Err(SessionStoreError::Unavailable { .. })), "{answer:?}");
    store.now().await.context("readers go on")?;
    lock.rollback().await?;
    store.check().await?;
    Ok(())
}

async fn audit_records_and_verdicts_are_append_only(engine: Engine) -> Result<()> {
    let database = Database::migrated(engine).await?;
    let store = open(database.url()).await?;
    let id = sessions::settled(&store, &sessions::reject()?).await?.upload_id;
    let history = store.history(id).await?;
    let new = lists::digest(ListKind::Allow, 1);
    let entry = ListStore::add(&store, &new).await?.id;
    let entry = store.remove(entry, "bob").await?;
    for (table, id, time) in [
        ("audit", "id", "at_ms"),
        ("verdicts", "id", "at_ms"),
        ("list_entries", "id", "added_at_ms"),
        ("list_removals", "entry_id", "removed_at_ms"),
    ] {
        let again =
            format!("insert into {table} select * from {table} where true on conflict ({id}) do update set {time} = 0");
        let special = match engine {
            Engine::Sqlite => [format!("replace into {table} select * from {table} limit 1"), again],
            Engine::Postgres => {
                [format!("truncate {table} cascade"), again.replace("select *", "overriding system value select *")]
            }
        };
        let plain = [format!("update {table} set {time} = 0"), format!("delete from {table}")];
        for statement in plain.into_iter().chain(special) {
            let error = database.run(&statement).await.expect_err(&statement);
            assert!(format!("{error:#}").contains("append-only"), "{statement}: {error:#}");
        }
    }
    assert_eq!(store.history(id).await?, history);
    assert_eq!(store.entries(true, None, 10).await?, Vec::from_iter(entry));
    Ok(())
}

/// Workers go on while a later version migrates: what it adds they do not ask for. PostgreSQL refuses a prepared statement
/// whose `*` has come to mean something else.
async fn an_open_store_goes_on_when_columns_are_added(engine: Engine) -> Result<()> {
    let database = Database::migrated(engine).await?;
    let options = StoreOptions { connections: 1, ..StoreOptions::default() };
    let store = SqlSessionStore::open(database.url(), &options).await?;
    let everything = async || -> Result<()> {
        let published = sessions::settled(&store, &sessions::publish()?).await?;
        let id = published.upload_id;
        assert_eq!(store.find(&published.bucket, published.key.as_key()).await?, Some(published.clone()));
        assert!(!store.list(None, None, 10).await?.is_empty());
        assert!(!store.list(Some(StateName::Published), None, 10).await?.is_empty());
        assert!(store.overdue(10).await?.is_empty());
        store.removable(Duration::ZERO, 10).await?;
        store.contested(sessions::LONG, None, 10).await?;
        store.withdrawable(sessions::LONG, None, 10).await?;
        store.claim_outbox(OutboxKind::Verdict, 10, Duration::ZERO).await?;
        store.history(id).await?;
        let entry = ListStore::add(&store, &lists::signature(ListKind::Block, "Eicar")).await?;
        assert!(store.matching(&[], &["Eicar".to_owned()]).await?.contains(&entry));
        store.entries(true, None, 10).await?;
        store.record_original_deleted(id).await?;
        Ok(())
    };
    // Twice, so that every statement is prepared.
    everything().await?;
    everything().await?;
    for table in ["sessions", "attempts", "verdicts", "audit", "outbox", "orphans", "list_entries", "list_removals"] {
        database.run(&format!("alter table {table} add column of_a_later_version text")).await?;
    }
    everything().await.context("after columns were added")
}

async fn a_broken_record_is_named(engine: Engine) -> Result<()> {
    let database = Database::migrated(engine).await?;
    let store = open(database.url()).await?;
    let id = sessions::created(&store).await?.upload_id;
    if engine == Engine::Postgres {
        // PostgreSQL refuses what cannot be read.
        for (column, value) in [
            ("tenant", "a b"),
            ("file_name", "a/b"),
            ("file_name", "a\u{202e}gpj.exe"),
            ("declared_type", "image"),
            ("declared_sha256", "ab"),
            ("object_id", "ab"),
            ("key", ""),
        ] {
            let update = format!("update sessions set {column} = '{value}'");
            let error = database.run(&update).await.expect_err(&update);
            assert!(format!("{error:#}").contains("check constraint"), "{update}: {error:#}");
        }
        let checks = "select string_agg(format('alter table sessions drop constraint %I', conname), '; ') from pg_constraint \
                      where conrelid = 'sessions'::regclass and contype = 'c'";
        let checks: String = sqlx::query_scalar(checks).fetch_one(&mut database.connect().await?).await?;
        database.run(&checks).await?;
    }
    database.run("update sessions set tenant = 'a b'").await?;
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

async fn dropped_calls_leave_no_transaction_behind(engine: Engine) -> Result<()> {
    let database = Database::migrated(engine).await?;
    let store = Arc::new(open(database.url()).await?);
    let id = sessions::created(&*store).await?.upload_id;
    let worker = sessions::worker();
    for step in 0..60_u64 {
        let call = store.begin_attempt(id, &worker, sessions::OVER, 1000, true);
        // Cut at another point each time; whether it was early or late, the store must go on.
        let cut = Duration::from_micros(step * if engine == Engine::Sqlite { 50 } else { 150 });
        if let Ok(answer) = tokio::time::timeout(cut, call).await {
            answer?;
        }
    }
    // A commit that was asked for before its call was dropped may still be on its way: behind this one none is.
    sessions::begin(&*store, id, sessions::LONG).await?;
    let session = sessions::now_is(&*store, id).await?;
    let attempts = store.history(id).await?.attempts;
    assert_eq!(attempts.len(), usize::try_from(session.attempts)?, "an attempt was half written");
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
