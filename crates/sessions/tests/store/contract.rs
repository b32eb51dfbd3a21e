//! The statements of the README, as they stand there, and the store at work on what they wrote.

use anyhow::{Context, Result, ensure};
use lazaret_core::{
    SessionState, StateName, UploadId,
    ports::{Begun, OutboxKind, SessionStore},
};
use lazaret_testkit::sessions::{self, LONG, commit, now_is, publish, worker};
use sqlx::{AssertSqlSafe, Connection, Executor};
use uuid::Uuid;

use crate::database::{Database, Engine, on_both};

on_both!(sessions_can_be_written_as_documented, finalizing_from_outside_races_with_the_store);

const README: &str = include_str!("../../README.md");
const ID: &str = "0193a2f0-5c1e-7b7a-9f00-4c2f8e1d0a11";

/// A block of the README by the comment it begins with.
fn documented(title: &str, engine: Engine) -> Result<String> {
    let start = README.find(&format!("```sql\n-- {title}")).with_context(|| format!("no SQL about {title:?}"))?;
    let block = &README[start + "```sql\n".len()..];
    let block = &block[..block.find("```").context("an end")?];
    Ok(match engine {
        // What the README says to write there.
        Engine::Sqlite => block.replace("lazaret_now_ms()", "cast(round(unixepoch('subsec') * 1000) as integer)"),
        Engine::Postgres => block.to_owned(),
    })
}

async fn sessions_can_be_written_as_documented(engine: Engine) -> Result<()> {
    let database = Database::migrated(engine).await?;
    let store = database.open().await?;
    let before = store.now().await?;
    database.run(&documented("A new session", engine)?).await?;
    let id: UploadId = ID.parse()?;
    let session = now_is(&store, id).await?;
    ensure!(session.state == SessionState::Created && session.attempts == 0 && session.overrides.is_empty());
    ensure!(session.created_at >= before && session.expires_at > session.created_at, "{session:?}");
    ensure!(store.find(&session.bucket, session.key.as_key()).await? == Some(session.clone()));
    ensure!(database.run(&documented("A new session", engine)?).await.is_err(), "made twice");
    let answer = store.begin_attempt(id, &worker(), LONG, 3, false).await?;
    ensure!(answer == Begun::NotFinalized(session.clone()), "{answer:?}");

    let finalize = documented("The upload is complete", engine)?;
    for _ in 0..2 {
        database.run(&finalize).await?;
        let finalized = now_is(&store, id).await?;
        ensure!(finalized.state == SessionState::Finalized && finalized.updated_at > session.updated_at);
    }
    let items = store.claim_outbox(OutboxKind::Process, 10, LONG).await?;
    ensure!(items.len() == 1 && items[0].upload_id == id, "{items:?}");
    let body: serde_json::Value = serde_json::from_str(&items[0].payload)?;
    ensure!(body["bucket"] == session.bucket.as_str() && body["key"] == session.key.to_string(), "{body}");
    store.complete_outbox(&[items[0].id]).await?;

    let answer = store.begin_attempt(id, &worker(), LONG, 3, false).await?;
    let Begun::Leased { fence, .. } = answer else { anyhow::bail!("{answer:?}") };
    let published = commit(&store, id, fence, &publish()?).await?;
    database.run(&finalize).await?;
    ensure!(now_is(&store, id).await? == published, "a settled session was finalized");
    ensure!(store.claim_outbox(OutboxKind::Process, 10, LONG).await?.is_empty());
    let audit = store.history(id).await?.audit;
    let steps: Vec<_> = audit.iter().map(|record| (record.action.as_str(), record.from, record.to)).collect();
    ensure!(
        steps
            == [
                ("create", None, StateName::Created),
                ("finalize", Some(StateName::Created), StateName::Finalized),
                ("publish", Some(StateName::Finalized), StateName::Published),
            ],
        "{steps:?}"
    );
    Ok(())
}

/// Whoever is first: finalized once, with one item.
async fn finalizing_from_outside_races_with_the_store(engine: Engine) -> Result<()> {
    let database = Database::migrated(engine).await?;
    let store = database.open().await?;
    let finalize = documented("The upload is complete", engine)?;
    for round in 0..8 {
        let session = sessions::created(&store).await?;
        let id = session.upload_id;
        let mine = finalize.replace(ID, &id.to_string());
        let (outside, marked, inside) =
            tokio::join!(database.run(&mine), store.mark_uploaded(id, "worker-1"), store.finalize(id, "alice"));
        outside.with_context(|| format!("round {round}"))?;
        marked?;
        inside?;
        let items = store.claim_outbox(OutboxKind::Process, 10, LONG).await?;
        ensure!(items.len() == 1, "round {round}: {items:?}");
        store.complete_outbox(&[items[0].id]).await?;
        let audit = store.history(id).await?.audit;
        ensure!(audit.windows(2).all(|pair| pair[1].from == Some(pair[0].to)), "round {round}: {audit:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_role_can_do_this_and_no_more() -> Result<()> {
    let database = Database::migrated(Engine::Postgres).await?;
    let store = database.open().await?;
    let role = format!("control_plane_{}", Uuid::now_v7().simple());
    database.run(&format!("create role {role}")).await?;
    let checked = as_role(&database, &store, &role).await;
    database.run(&format!("drop owned by {role}; drop role {role}")).await?;
    checked
}

async fn as_role(database: &Database, store: &dyn SessionStore, role: &str) -> Result<()> {
    database.run(&documented("A role for the control plane", Engine::Postgres)?.replace("control_plane", role)).await?;
    let mut connection = database.connect().await?;
    connection.execute(AssertSqlSafe(format!("set role {role}"))).await?;
    for title in ["A new session", "The upload is complete"] {
        let statements = documented(title, Engine::Postgres)?;
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.context(title)?;
    }
    let settled = sessions::settled(store, &publish()?).await?.upload_id;
    let held = sessions::settled(store, &sessions::hold()?).await?.upload_id;
    for forbidden in [
        "delete from sessions".to_owned(),
        "update sessions set fence = 7".to_owned(),
        "update sessions set published_key = 'x'".to_owned(),
        "update sessions set attempts = 0, reason = null".to_owned(),
        "update audit set actor = 'x'".to_owned(),
        "delete from outbox".to_owned(),
        "insert into verdicts (upload_id, fence, at_ms, scanner, finding, report) values ('x', 1, 1, 'x', 'clean', '')"
            .to_owned(),
        format!("update sessions set state = 'finalized' where upload_id = '{settled}'"),
        format!("update sessions set state = 'finalized' where upload_id = '{held}'"),
        format!("update sessions set state = 'published' where upload_id = '{ID}'"),
        format!("update sessions set state = 'expired' where upload_id = '{ID}'"),
    ] {
        let answer = sqlx::raw_sql(AssertSqlSafe(forbidden.clone())).execute(&mut connection).await;
        ensure!(answer.is_err(), "allowed: {forbidden}");
    }
    connection.close().await?;
    Ok(())
}
