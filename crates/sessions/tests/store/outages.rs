//! A PostgreSQL that is silent, gone, frozen amid a transaction, read-only, full or contended.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lazaret_core::{
    Disposition,
    ports::{Begun, SessionStore, SessionStoreError},
};
use lazaret_sessions::{SqlSessionStore, StoreOptions};
use lazaret_testkit::sessions::{self, LONG, OVER, begin, created, now_is, until};

use crate::{
    database::{Database, Engine},
    line::Line,
};

const TIMEOUT: Duration = Duration::from_millis(1500);
/// What the machine may add to it.
const SLACK: Duration = Duration::from_secs(3);

fn options() -> StoreOptions {
    StoreOptions { timeout: TIMEOUT, connections: 3 }
}

fn unavailable<T: std::fmt::Debug>(answer: Result<T, SessionStoreError>) -> Result<String> {
    match answer {
        Err(error) if error.disposition() == Disposition::Unavailable => {
            Ok(format!("{:#}", anyhow::Error::from(error)))
        }
        other => anyhow::bail!("expected an outage, got {other:?}"),
    }
}

/// The store answers again, without being opened anew.
async fn recovers(store: &dyn SessionStore) -> Result<Duration> {
    let since = Instant::now();
    until("the store recovers", async || Ok(store.check().await.ok())).await?;
    Ok(since.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_database_is_unavailable_in_time() -> Result<()> {
    let database = Database::migrated(Engine::Postgres).await?;
    let line = Line::to(database.url()).await?;
    let store = Arc::new(SqlSessionStore::open(line.url(), &options()).await?);
    let id = created(&*store).await?.upload_id;
    line.freeze();
    for _ in 0..2 {
        let since = Instant::now();
        let worker = sessions::worker();
        let (check, attempt, get, now) =
            tokio::join!(store.check(), store.begin_attempt(id, &worker, LONG, 3, true), store.get(id), store.now());
        ensure!(since.elapsed() < TIMEOUT + SLACK, "{:?}", since.elapsed());
        for answer in [check, attempt.map(drop), get.map(drop), now.map(drop)] {
            unavailable(answer)?;
        }
    }
    let since = Instant::now();
    unavailable(SqlSessionStore::open(line.url(), &options()).await.map(drop))?;
    ensure!(since.elapsed() < TIMEOUT + SLACK, "{:?}", since.elapsed());
    line.thaw();
    let after = recovers(&*store).await?;
    ensure!(after < SLACK, "{after:?}");
    ensure!(now_is(&*store, id).await?.attempts <= 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_database_is_found_again() -> Result<()> {
    let database = Database::migrated(Engine::Postgres).await?;
    let store = SqlSessionStore::open(database.url(), &options()).await?;
    let id = created(&store).await?.upload_id;
    for _ in 0..3 {
        database
            .run("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
            .await?;
        until("an attempt", async || match store.begin_attempt(id, &sessions::worker(), OVER, 100, true).await {
            Ok(Begun::Leased { .. }) => Ok(Some(())),
            Ok(other) => anyhow::bail!("{other:?}"),
            other => unavailable(other).map(|_| None),
        })
        .await?;
    }
    Ok(())
}

/// A worker that is stopped amid its transaction loses the session's row to the next, before that one gives up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_frozen_amid_its_transaction_holds_nobody_up() -> Result<()> {
    let database = Database::migrated(Engine::Postgres).await?;
    let line = Line::to(database.url()).await?;
    let frozen = SqlSessionStore::open(line.url(), &options()).await?;
    // As patient as two of the frozen one, for a busy machine's sake: that one's transaction ends after half its time-out.
    let other = SqlSessionStore::open(database.url(), &StoreOptions { timeout: TIMEOUT * 2, ..options() }).await?;
    // Further and further into what an attempt says.
    for messages in 1..8 {
        let id = created(&frozen).await?.upload_id;
        line.freeze_after(messages);
        let worker = sessions::worker();
        let late = frozen.begin_attempt(id, &worker, OVER, 100, true);
        let taken = async {
            line.frozen().await?;
            // One that waited for longer would give up.
            let (_, fence) = begin(&other, id, LONG).await.with_context(|| format!("after {messages} messages"))?;
            anyhow::Ok(fence)
        };
        let (late, fence) = tokio::join!(late, taken);
        let fence = fence?;
        line.thaw();
        if let Ok(answer) = late {
            // Its commit was through before the line froze.
            ensure!(matches!(answer, Begun::Leased { .. }), "{answer:?}");
        }
        recovers(&frozen).await?;
        ensure!(other.renew_lease(id, fence, LONG).await?, "the frozen one took it back after {messages} messages");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_is_unavailable_until_it_is_not() -> Result<()> {
    let database = Database::migrated(Engine::Postgres).await?;
    let name = database.name();
    let read_only = async |on: bool| {
        let set = format!("begin read write; alter database {name} set default_transaction_read_only = {on}; commit");
        database.run(&set).await
    };
    read_only(true).await?;
    let store = SqlSessionStore::open(database.url(), &options()).await?;
    store.now().await.context("it can be read")?;
    for _ in 0..4 {
        let message = unavailable(store.check().await)?;
        ensure!(message.contains("read-only"), "{message}");
        unavailable(store.create(&sessions::new_session()?).await)?;
    }
    // The connections that were told so are not kept.
    read_only(false).await?;
    let after = recovers(&store).await?;
    ensure!(after < SLACK, "{after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_an_outage_and_what_stays_is_not() -> Result<()> {
    let database = Database::migrated(Engine::Postgres).await?;
    let store = SqlSessionStore::open(database.url(), &options()).await?;
    let id = created(&store).await?.upload_id;
    let outages = [
        "40001", "40P01", "55P03", "57014", "57P01", "57P03", "53100", "53200", "53300", "25006", "58030", "XX000",
        "42501", "08006",
    ];
    for (state, outage) in
        outages.map(|state| (state, true)).into_iter().chain(["22021", "23514", "54000"].map(|state| (state, false)))
    {
        database
            .run(&format!(
                "create or replace function refuse() returns trigger language plpgsql as \
                 $$ begin raise exception 'no' using errcode = '{state}'; end $$; \
                 create or replace trigger refuses before insert on audit for each row execute function refuse()"
            ))
            .await?;
        let answer = store.finalize(id, "alice").await;
        if outage {
            unavailable(answer).context(state)?;
        } else {
            ensure!(matches!(answer, Err(SessionStoreError::Corrupt { .. })), "{state}: {answer:?}");
        }
    }
    database.run("drop trigger refuses on audit").await?;
    store.finalize(id, "alice").await?;
    database.run("drop table health").await?;
    let answer = store.check().await;
    ensure!(matches!(answer, Err(SessionStoreError::NotMigrated { .. })), "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_of_others_are_waited_for_in_time_and_checks_wait_for_none() -> Result<()> {
    let database = Database::migrated(Engine::Postgres).await?;
    let store = SqlSessionStore::open(database.url(), &options()).await?;
    let (id, other) = (created(&store).await?.upload_id, created(&store).await?.upload_id);
    let mut stranger = database.connect().await?;
    let mut lock = sqlx::Connection::begin(&mut stranger).await?;
    for statement in ["select 1 from health for update", "select 1 from sessions where upload_id = $1 for update"] {
        let query = sqlx::query(statement);
        let query = if statement.contains("$1") { query.bind(id.to_string()) } else { query };
        query.execute(&mut *lock).await?;
    }
    let since = Instant::now();
    unavailable(store.begin_attempt(id, &sessions::worker(), LONG, 3, true).await)?;
    ensure!(since.elapsed() < TIMEOUT + SLACK, "{:?}", since.elapsed());
    begin(&store, other, LONG).await?;
    // One that waited would give up: the lock is kept.
    store.check().await?;
    lock.rollback().await?;
    begin(&store, id, LONG).await?;
    Ok(())
}

/// No more rows than there were checks at the same moment, and no outage among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_check_at_once() -> Result<()> {
    let database = Database::migrated(Engine::Postgres).await?;
    let stores = [database.open().await?, database.open().await?, database.open().await?];
    let since = Instant::now();
    for _ in 0..10 {
        let checks = stores.each_ref().map(|store| async { tokio::join!(store.check(), store.check(), store.check()) });
        let [a, b, c] = checks;
        let (a, b, c) = tokio::join!(a, b, c);
        for (x, y, z) in [a, b, c] {
            x.and(y).and(z)?;
        }
    }
    println!("90 checks, 9 at once: {:?}", since.elapsed());
    let rows: i64 = sqlx::query_scalar("select count(*) from health").fetch_one(&mut database.connect().await?).await?;
    ensure!((1..=9).contains(&rows), "{rows} rows");
    Ok(())
}
