//! Whose clock it is: with a PostgreSQL whose clock is set by the test, nothing depends on the caller's.

use std::time::Duration;

use anyhow::{Result, ensure};
use lazaret_core::{
    NewSession,
    ports::{Begun, SessionStore, Settled},
};
use lazaret_sessions::{SqlSessionStore, StoreOptions};
use lazaret_testkit::sessions::{LONG, begin, commit, created, new_session, now_is, publish, worker};

use crate::database::{Database, Engine};

const CLOCK: &str = "create schema skew; create table skew.clock (hours bigint); insert into skew.clock values (0); \
    create function skew.clock_timestamp() returns timestamptz language sql volatile as \
    $$ select pg_catalog.clock_timestamp() + (select hours from skew.clock) * interval '1 hour' $$";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_end_by_the_clock_of_the_database() -> Result<()> {
    let database = Database::migrated(Engine::Postgres).await?;
    database.run(CLOCK).await?;
    let set = async |hours: i64| database.run(&format!("update skew.clock set hours = {hours}")).await;
    let url = format!("{}?options[search_path]=skew,pg_catalog,public", database.url());
    let one = SqlSessionStore::open(&url, &StoreOptions::default()).await?;
    let other = SqlSessionStore::open(&url, &StoreOptions::default()).await?;
    let id = created(&one).await?.upload_id;
    let due = one.create(&NewSession { expires_in: LONG, ..new_session()? }).await?;
    let (_, first) = begin(&one, id, LONG).await?;
    ensure!(other.overdue(10).await?.is_empty());

    // No time has passed for the callers.
    set(2).await?;
    let (session, second) = begin(&other, id, LONG).await?;
    ensure!(session.attempts == 2 && second > first);
    ensure!(!one.renew_lease(id, first, LONG).await?);
    ensure!(one.settle(id, first, &publish()?).await? == Settled::Stale);
    ensure!(one.overdue(10).await? == std::slice::from_ref(&due));

    // A clock that was set back lets no lease end and no session expire early, and `updated_at` still rises.
    set(-5).await?;
    match one.begin_attempt(id, &worker(), LONG, 100, true).await? {
        Begun::Busy { remaining } => ensure!(remaining > LONG * 6, "{remaining:?}"),
        unexpected => anyhow::bail!("{unexpected:?}"),
    }
    ensure!(one.overdue(10).await?.is_empty() && !one.expire(&due).await?);
    let before = now_is(&one, id).await?.updated_at;
    let published = commit(&other, id, second, &publish()?).await?;
    ensure!(published.updated_at > before, "{published:?}");
    ensure!(one.now().await? < before);
    ensure!(one.removable(Duration::ZERO, 10).await?.len() == 1);
    Ok(())
}

/// What waited for a lock is judged by the time when it had it, not by when it began to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_is_asked_for_after_the_lock_was_had() -> Result<()> {
    let database = Database::migrated(Engine::Postgres).await?;
    database.run(CLOCK).await?;
    let url = format!("{}?options[search_path]=skew,pg_catalog,public", database.url());
    let store = SqlSessionStore::open(&url, &StoreOptions::default()).await?;
    let id = created(&store).await?.upload_id;
    begin(&store, id, LONG).await?;
    let mut stranger = database.connect().await?;
    let mut lock = sqlx::Connection::begin(&mut stranger).await?;
    // Nothing is changed in the row: its lock alone makes the other wait.
    sqlx::query("select 1 from sessions for update").execute(&mut *lock).await?;
    let worker = worker();
    let waiting = store.begin_attempt(id, &worker, LONG, 100, true);
    let moved = async {
        lazaret_testkit::sessions::until("it waits", async || {
            let waiting =
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut database.connect().await?).await?;
            Ok((waiting > 0).then_some(()))
        })
        .await?;
        database.run("update skew.clock set hours = 2").await?;
        anyhow::Ok(lock.rollback().await?)
    };
    let (answer, moved) = tokio::join!(waiting, moved);
    moved?;
    ensure!(matches!(answer?, Begun::Leased { attempt: 2, .. }), "the lease was over when its row was had");
    Ok(())
}
