//! What arrivals and operators do to a session.

use anyhow::{Result, ensure};
use lazaret_core::{
    HoldReason, Reason, SessionState, StateName,
    ports::{OutboxKind, SessionStore, SessionStoreError},
};
use serde_json::Value;

use super::{LONG, begin, commit, created, hold, now_is, publish, reject, settled};

/// Arrival moves a created session and no other.
pub async fn upload_is_marked_once(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    let session = store.mark_uploaded(id, "worker-1").await?;
    ensure!(session.state == SessionState::Uploaded);
    ensure!(store.mark_uploaded(id, "worker-2").await? == session);
    ensure!(store.history(id).await?.audit.len() == 2);
    let finalized = store.finalize(id, "alice").await?;
    ensure!(store.mark_uploaded(id, "worker-2").await? == finalized);
    let rejected = settled(store, &reject()?).await?;
    ensure!(store.mark_uploaded(rejected.upload_id, "worker-2").await? == rejected);
    Ok(())
}

/// Finalizing puts the object on the queue once, from `created` and from `uploaded`.
pub async fn finalizes_once(store: &dyn SessionStore) -> Result<()> {
    for uploaded in [false, true] {
        let session = created(store).await?;
        let id = session.upload_id;
        if uploaded {
            store.mark_uploaded(id, "worker-1").await?;
        }
        let finalized = store.finalize(id, "alice").await?;
        ensure!(finalized.state == SessionState::Finalized);
        let audit = store.history(id).await?.audit;
        ensure!(store.finalize(id, "bob").await? == finalized);
        ensure!(store.history(id).await?.audit == audit, "finalizing again left a trace");
        let items = store.claim_outbox(OutboxKind::Process, 10, LONG).await?;
        ensure!(items.len() == 1 && items[0].upload_id == id, "{items:?}");
        let body: Value = serde_json::from_str(&items[0].payload)?;
        ensure!(body["bucket"] == session.bucket.as_str() && body["key"] == session.key.to_string(), "{body}");
        ensure!(body.get("version").is_none(), "{body}");
    }
    Ok(())
}

/// A settled session is not finalized, and stays as it is.
pub async fn settled_sessions_are_not_finalized(store: &dyn SessionStore) -> Result<()> {
    for settlement in [publish()?, reject()?, hold()?] {
        let session = settled(store, &settlement).await?;
        let answer = store.finalize(session.upload_id, "alice").await;
        ensure!(matches!(answer, Err(SessionStoreError::Transition(_))), "{answer:?}");
        ensure!(now_is(store, session.upload_id).await? == session);
    }
    Ok(())
}

/// A released session is processed again, with the override on record and its attempts counted anew.
pub async fn release_runs_again(store: &dyn SessionStore) -> Result<()> {
    let held = settled(store, &hold()?).await?;
    let id = held.upload_id;
    let released = store.release(id, "alice").await?;
    ensure!(released.state == SessionState::Finalized && released.attempts == 0, "{released:?}");
    ensure!(released.overrides == [HoldReason::Encrypted] && released.detail.is_none(), "{released:?}");
    ensure!(released.source == held.source, "the override is about these bytes and no others: {released:?}");
    ensure!(now_is(store, id).await? == released);
    let items = store.claim_outbox(OutboxKind::Process, 10, LONG).await?;
    ensure!(items.len() == 1 && items[0].upload_id == id, "{items:?}");
    let body: Value = serde_json::from_str(&items[0].payload)?;
    ensure!(body["version"] == "v1", "{body}");
    let audit = store.history(id).await?.audit;
    ensure!(audit.last().is_some_and(|last| last.actor == "alice"
        && last.action == "release"
        && last.detail.as_ref().is_some_and(|detail| detail.contains("encrypted"))));
    // Held and released for the same reason once more: the override is on record once.
    let (session, fence) = begin(store, id, LONG).await?;
    ensure!(session.attempts == 1);
    commit(store, id, fence, &hold()?).await?;
    ensure!(store.release(id, "alice").await?.overrides == [HoldReason::Encrypted]);
    Ok(())
}

/// Nothing but a hold can be released or upheld: an infected object stays rejected.
pub async fn release_is_for_held_sessions(store: &dyn SessionStore) -> Result<()> {
    let finalized = begin(store, created(store).await?.upload_id, LONG).await?.0;
    for session in
        [created(store).await?, finalized, settled(store, &publish()?).await?, settled(store, &reject()?).await?]
    {
        let id = session.upload_id;
        let history = store.history(id).await?;
        for answer in [store.release(id, "alice").await, store.reject_held(id, "alice").await] {
            ensure!(matches!(answer, Err(SessionStoreError::Transition(_))), "{answer:?}");
        }
        ensure!(now_is(store, id).await? == session && store.history(id).await? == history);
    }
    ensure!(store.claim_outbox(OutboxKind::Process, 10, LONG).await?.is_empty());
    Ok(())
}

/// An upheld hold is a rejection for the hold's reason, and the world is told.
pub async fn upheld_hold_is_rejected(store: &dyn SessionStore) -> Result<()> {
    let held = settled(store, &hold()?).await?;
    let id = held.upload_id;
    let rejected = store.reject_held(id, "alice").await?;
    ensure!(rejected.state == SessionState::Rejected(Reason::Held(HoldReason::Encrypted)), "{rejected:?}");
    ensure!(rejected.detail == held.detail && rejected.source == held.source);
    ensure!(now_is(store, id).await? == rejected);
    let audit = store.history(id).await?.audit;
    ensure!(audit.last().is_some_and(|last| last.actor == "alice" && last.to == StateName::Rejected));
    let items = store.claim_outbox(OutboxKind::Verdict, 10, LONG).await?;
    ensure!(items.len() == 2, "{items:?}");
    let event: Value = serde_json::from_str(&items[1].payload)?;
    ensure!(event["state"] == "rejected" && event["reason"] == "encrypted", "{event}");
    ensure!(event["scanners"] == serde_json::to_value(hold()?.reports)?, "{event}");
    Ok(())
}
