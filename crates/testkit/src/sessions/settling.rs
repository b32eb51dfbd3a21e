//! The commit of a decision.

use anyhow::{Context, Result, ensure};
use lazaret_core::{
    HoldReason, Reason, RejectReason, SessionState, StateName,
    ports::{Decision, OutboxKind, SessionStore, Settled, Settlement},
};
use serde_json::Value;

use super::{LONG, OVER, begin, commit, created, hold, now_is, publish, publish_with, reject, settled, source, worker};

/// A published session knows its copy, its source and its verdicts, and the world is told.
pub async fn publishes(store: &dyn SessionStore) -> Result<()> {
    let settlement = publish()?;
    let session = settled(store, &settlement).await?;
    let Decision::Publish(object) = &settlement.decision else { unreachable!("publish() publishes") };
    ensure!(session.state == SessionState::Published(object.clone()), "{session:?}");
    ensure!(session.detail.is_none() && session.source == Some(source()?));
    ensure!(now_is(store, session.upload_id).await? == session);
    let event = event(store, &settlement).await?;
    ensure!(event["state"] == "published" && event["reason"].is_null(), "{event}");
    ensure!(event["published"]["key"] == object.key.to_string(), "{event}");
    ensure!(event["published"]["sha256"] == object.sha256.to_string(), "{event}");
    ensure!(event["published"]["image"] == serde_json::to_value(&object.image)?, "{event}");
    ensure!(event["published"]["image"]["variants"][0]["key"] == "published/x/thumb", "{event}");
    let plain = publish_with(None)?;
    let Decision::Publish(object) = &plain.decision else { unreachable!("it publishes") };
    let session = settled(store, &plain).await?;
    ensure!(now_is(store, session.upload_id).await?.state == SessionState::Published(object.clone()));
    Ok(())
}

/// A rejected session says why.
pub async fn rejects(store: &dyn SessionStore) -> Result<()> {
    let settlement = reject()?;
    let session = settled(store, &settlement).await?;
    ensure!(session.state == SessionState::Rejected(Reason::Rejected(RejectReason::Infected)), "{session:?}");
    ensure!(session.detail.as_deref() == Some("Eicar-Test-Signature"));
    ensure!(now_is(store, session.upload_id).await? == session);
    let event = event(store, &settlement).await?;
    ensure!(event["state"] == "rejected" && event["reason"] == "infected" && event["published"].is_null(), "{event}");
    Ok(())
}

/// A held session says why, also where the bytes were never seen.
pub async fn holds(store: &dyn SessionStore) -> Result<()> {
    let settlement = hold()?;
    let session = settled(store, &settlement).await?;
    ensure!(session.state == SessionState::Held(HoldReason::Encrypted), "{session:?}");
    let event = event(store, &settlement).await?;
    ensure!(event["state"] == "held" && event["reason"] == "encrypted", "{event}");
    let decision = Decision::Hold { reason: HoldReason::ScannerError, detail: "no answer".to_owned() };
    let unseen = Settlement { decision, source: None, policy: None, reports: Vec::new() };
    let session = settled(store, &unseen).await?;
    ensure!(session.source.is_none() && now_is(store, session.upload_id).await? == session);
    Ok(())
}

/// The one event of the one settled session of this store.
async fn event(store: &dyn SessionStore, settlement: &Settlement) -> Result<Value> {
    let items = store.claim_outbox(OutboxKind::Verdict, 10, LONG).await?;
    ensure!(items.len() == 1, "{items:?}");
    let session = now_is(store, items[0].upload_id).await?;
    let event: Value = serde_json::from_str(&items[0].payload)?;
    ensure!(event["upload_id"] == session.upload_id.to_string(), "{event}");
    ensure!(event["object_id"] == session.object_id.to_string(), "{event}");
    ensure!(event["tenant"] == session.tenant.as_str(), "{event}");
    ensure!(event["policy"] == serde_json::to_value(&settlement.policy)?, "{event}");
    ensure!(event["detail"] == serde_json::to_value(&session.detail)?, "{event}");
    ensure!(event["scanners"] == serde_json::to_value(&settlement.reports)?, "{event}");
    let source = settlement.source.as_ref().context("a source")?;
    ensure!(event["source"]["size"] == source.size, "{event}");
    ensure!(event["source"]["sha256"] == serde_json::to_value(source.sha256)?, "{event}");
    ensure!(event["source"]["content_type"] == serde_json::to_value(&source.detected_type)?, "{event}");
    Ok(event)
}

/// A second commit with the same fence is stale: the first one gave the lease up. Nothing is doubled.
pub async fn settles_once(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    let (_, fence) = begin(store, id, LONG).await?;
    let first = commit(store, id, fence, &publish()?).await?;
    let history = store.history(id).await?;
    for again in [publish()?, reject()?] {
        ensure!(store.settle(id, fence, &again).await? == Settled::Stale);
    }
    ensure!(now_is(store, id).await? == first);
    ensure!(store.history(id).await? == history);
    ensure!(store.claim_outbox(OutboxKind::Verdict, 10, LONG).await?.len() == 1);
    Ok(())
}

/// Attempts, verdicts and audit records, each oldest first.
pub async fn tells_the_whole_story(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    store.mark_uploaded(id, "worker-1").await?;
    store.finalize(id, "alice").await?;
    begin(store, id, OVER).await?;
    let (_, failed) = begin(store, id, LONG).await?;
    store.fail_attempt(id, failed, "timed out").await?;
    let (_, fence) = begin(store, id, LONG).await?;
    commit(store, id, fence, &hold()?).await?;
    store.release(id, "bob").await?;
    let (_, fence) = begin(store, id, LONG).await?;
    commit(store, id, fence, &publish()?).await?;

    let history = store.history(id).await?;
    let steps: Vec<_> =
        history.audit.iter().map(|record| (record.actor.as_str(), record.action.as_str(), record.to)).collect();
    let worker = worker();
    let expected = [
        ("platform", "create", StateName::Created),
        ("worker-1", "object-arrived", StateName::Uploaded),
        ("alice", "finalize", StateName::Finalized),
        (worker.as_str(), "hold", StateName::Held),
        ("bob", "release", StateName::Finalized),
        (worker.as_str(), "publish", StateName::Published),
    ];
    ensure!(steps == expected, "{steps:?}");
    let chained = history.audit.windows(2).all(|pair| pair[1].from == Some(pair[0].to) && pair[0].at <= pair[1].at);
    ensure!(chained && history.audit[0].from.is_none(), "{:?}", history.audit);
    ensure!(history.audit[3].reason == Some(Reason::Held(HoldReason::Encrypted)) && history.audit[3].detail.is_some());
    let results: Vec<_> = history.attempts.iter().map(|attempt| attempt.result.as_deref()).collect();
    ensure!(results == [None, Some("failed"), Some("committed"), Some("committed")], "{results:?}");
    ensure!(history.attempts.windows(2).all(|pair| pair[0].fence < pair[1].fence));
    ensure!(history.attempts[1].error.as_deref() == Some("timed out"));
    let findings = [hold()?.reports, publish()?.reports].concat();
    ensure!(history.verdicts == findings, "{:?}", history.verdicts);
    Ok(())
}
