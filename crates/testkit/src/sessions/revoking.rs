//! What becomes of published objects later.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lazaret_core::{
    Finding, Reason, RejectReason, ScanReport, Session, SessionState, StateName, UploadId,
    ports::{Decision, EarlierScan, OutboxKind, Recheck, Revocation, SessionStore, SessionStoreError, Settlement},
};
use serde_json::Value;
use uuid::Uuid;

use super::{LONG, OVER, begin, commit, created, hold, now_is, publish, reject, report, settled, source, until};

/// What a later look at the published bytes found.
fn found(finding: Finding) -> Result<Recheck> {
    let SessionState::Published(object) = published_state()? else { unreachable!("it is published") };
    Ok(Recheck {
        policy: Some("images of today".to_owned()),
        sha256: object.sha256,
        reports: vec![report(finding)?],
        detail: "scanner clamd found Later".to_owned(),
    })
}

fn published_state() -> Result<SessionState> {
    let Decision::Publish(object) = publish()?.decision else { unreachable!("publish() publishes") };
    Ok(SessionState::Published(object))
}

fn infected() -> Result<Revocation> {
    let found = found(Finding::Infected { signature: "Later".to_owned() })?;
    Ok(Revocation { reason: RejectReason::Infected, found })
}

/// A revoked session says why, keeps what was published on record, and tells the world once.
pub async fn revokes(store: &dyn SessionStore) -> Result<()> {
    let published = settled(store, &publish()?).await?;
    let object = published.state.published().context("published")?.clone();
    let (id, why) = (published.upload_id, infected()?);
    let revoked = store.revoke(id, "rescan", &why).await?;
    ensure!(
        revoked.state == SessionState::Revoked { object: object.clone(), reason: Some(RejectReason::Infected) },
        "{revoked:?}"
    );
    ensure!(revoked.state.reason() == Some(Reason::Rejected(RejectReason::Infected)));
    ensure!(
        revoked.detail.as_deref() == Some("scanner clamd found Later") && revoked.updated_at > published.updated_at
    );
    ensure!(revoked.source == published.source && revoked.published_deleted_at.is_none(), "{revoked:?}");
    ensure!(now_is(store, id).await? == revoked);
    let history = store.history(id).await?;
    ensure!(history.verdicts == [publish()?.reports, why.found.reports.clone()].concat(), "{:?}", history.verdicts);
    let last = history.audit.last().context("an audit record")?;
    ensure!(
        (last.actor.as_str(), last.action.as_str(), last.to) == ("rescan", "revoke", StateName::Revoked)
            && last.from == Some(StateName::Published)
            && last.reason == Some(Reason::Rejected(RejectReason::Infected))
            && last.detail == revoked.detail,
        "{last:?}"
    );
    let items = store.claim_outbox(OutboxKind::Verdict, 10, LONG).await?;
    ensure!(items.len() == 2, "{items:?}");
    let event: Value = serde_json::from_str(&items[1].payload)?;
    ensure!(event["state"] == "revoked" && event["reason"] == "infected", "{event}");
    ensure!(event["policy"] == "images of today" && event["detail"] == "scanner clamd found Later", "{event}");
    ensure!(event["published"]["key"] == object.key.to_string(), "{event}");
    ensure!(event["scanners"] == serde_json::to_value(&why.found.reports)?, "{event}");

    let blocked = Revocation { reason: RejectReason::Blocked, ..infected()? };
    ensure!(store.revoke(id, "alice", &blocked).await? == revoked, "it is revoked once");
    ensure!(now_is(store, id).await? == revoked && store.history(id).await? == history);
    Ok(())
}

/// Nothing but what is published is revoked, or rechecked.
pub async fn revocation_is_for_published_sessions(store: &dyn SessionStore) -> Result<()> {
    let finalized = begin(store, created(store).await?.upload_id, LONG).await?.0;
    let others = [created(store).await?, finalized, settled(store, &reject()?).await?, settled(store, &hold()?).await?];
    for session in others {
        let (id, history) = (session.upload_id, store.history(session.upload_id).await?);
        let answer = store.revoke(id, "rescan", &infected()?).await;
        ensure!(matches!(answer, Err(SessionStoreError::Transition(_))), "{answer:?}");
        ensure!(!store.record_recheck(id, "rescan", &found(Finding::Clean)?).await?);
        store.record_published_deleted(id).await?;
        ensure!(now_is(store, id).await? == session && store.history(id).await? == history);
    }
    let nobody = UploadId::from_uuid(Uuid::now_v7());
    let answer = store.revoke(nobody, "rescan", &infected()?).await;
    ensure!(matches!(answer, Err(SessionStoreError::NotFound { .. })), "{answer:?}");
    Ok(())
}

/// What was found clean again stays as it is, with the verdicts and who asked on record. The world is told nothing.
pub async fn rechecks_are_on_record(store: &dyn SessionStore) -> Result<()> {
    let published = settled(store, &publish()?).await?;
    let id = published.upload_id;
    let before = store.history(id).await?;
    let found = Recheck { detail: "clean".to_owned(), ..found(Finding::Clean)? };
    ensure!(store.record_recheck(id, "rescan", &found).await?);
    ensure!(now_is(store, id).await? == published);
    let history = store.history(id).await?;
    ensure!(history.verdicts == [before.verdicts, found.reports.clone()].concat(), "{history:?}");
    let last = history.audit.last().context("an audit record")?;
    ensure!(history.audit.len() == before.audit.len() + 1 && last.actor == "rescan" && last.action == "recheck");
    ensure!((last.from, last.to, last.reason) == (Some(StateName::Published), StateName::Published, None), "{last:?}");
    ensure!(last.detail.as_deref() == Some("clean"), "{last:?}");
    ensure!(store.claim_outbox(OutboxKind::Verdict, 10, LONG).await?.len() == 1);
    store.revoke(id, "rescan", &infected()?).await?;
    ensure!(!store.record_recheck(id, "rescan", &found).await?, "it is published no more");
    Ok(())
}

/// Copies are withdrawable until they are recorded as deleted and no late one can come, page by page.
pub async fn withdrawable_until_it_is_over(store: &dyn SessionStore) -> Result<()> {
    settled(store, &publish()?).await?;
    let mut revoked = Vec::new();
    for _ in 0..3 {
        let id = settled(store, &publish()?).await?.upload_id;
        revoked.push(store.revoke(id, "rescan", &infected()?).await?);
    }
    revoked.sort_by_key(|session| (session.updated_at, session.upload_id));
    let all = async || -> Result<Vec<Session>> {
        let mut seen = Vec::new();
        loop {
            let page = store.withdrawable(LONG, seen.last(), 2).await?;
            ensure!(page.len() <= 2 && seen.len() <= 3, "{page:?} after {seen:?}");
            if page.is_empty() {
                return Ok(seen);
            }
            seen.extend(page);
        }
    };
    ensure!(all().await? == revoked);
    let first = revoked[0].upload_id;
    store.record_published_deleted(first).await?;
    let deleted = now_is(store, first).await?;
    ensure!(deleted.published_deleted_at.is_some() && deleted.updated_at == revoked[0].updated_at, "{deleted:?}");
    let later = store.now().await?;
    until("the clock moves on", async || Ok((store.now().await? > later).then_some(()))).await?;
    store.record_published_deleted(first).await?;
    ensure!(now_is(store, first).await? == deleted, "the first deletion is the one that is remembered");
    revoked[0] = deleted;
    ensure!(all().await? == revoked, "a copy may still come late");
    until("nothing can come late any more", async || {
        Ok((store.withdrawable(Duration::from_millis(1), None, 10).await? == revoked[1..]).then_some(()))
    })
    .await
}

/// Counted by state, and by when they came into it.
pub async fn counts_by_state(store: &dyn SessionStore) -> Result<()> {
    created(store).await?;
    settled(store, &publish()?).await?;
    let second = settled(store, &publish()?).await?;
    ensure!(store.count(StateName::Published, None).await? == 2 && store.count(StateName::Revoked, None).await? == 0);
    let found = store.count(StateName::Published, Some(second.updated_at)).await?;
    ensure!((1..=2).contains(&found), "{found}");
    let later = second.updated_at.checked_add(Duration::from_millis(1))?;
    ensure!(store.count(StateName::Published, Some(later)).await? == 0);
    store.revoke(second.upload_id, "rescan", &infected()?).await?;
    ensure!(store.count(StateName::Published, None).await? == 1 && store.count(StateName::Revoked, None).await? == 1);
    Ok(())
}

/// An earlier scan of the same bytes by the same engine with the same signatures under the same policy, and no other.
pub async fn earlier_scans_are_alike(store: &dyn SessionStore) -> Result<()> {
    let clean = report(Finding::Clean)?;
    let sha256 = source()?.sha256.context("a digest")?;
    let wanted =
        EarlierScan { sha256: &sha256, policy: "images", scanner: &clean.scanner, engine: &clean.engine, within: LONG };
    ensure!(store.earlier_scan(&wanted).await?.is_none());
    let first = settled(store, &publish()?).await?.upload_id;
    ensure!(store.earlier_scan(&wanted).await? == Some((first, clean.clone())));
    let mut newer = clean.engine.clone();
    newer.signatures = Some("27001".to_owned());
    let mut upgraded = clean.engine.clone();
    "ClamAV 1.5.0".clone_into(&mut upgraded.engine);
    let mut unnamed = clean.engine.clone();
    unnamed.signatures = None;
    let (other, elsewhere) = (lazaret_core::Sha256Digest::from_bytes([9; 32]), "yara".parse()?);
    for unlike in [
        EarlierScan { sha256: &other, ..wanted },
        EarlierScan { policy: "documents", ..wanted },
        EarlierScan { scanner: &elsewhere, ..wanted },
        EarlierScan { engine: &newer, ..wanted },
        EarlierScan { engine: &upgraded, ..wanted },
        EarlierScan { engine: &unnamed, ..wanted },
        EarlierScan { within: OVER, ..wanted },
    ] {
        let answer = store.earlier_scan(&unlike).await?;
        ensure!(answer.is_none(), "{unlike:?}: {answer:?}");
    }
    until("it is over", async || {
        Ok(store
            .earlier_scan(&EarlierScan { within: Duration::from_millis(1), ..wanted })
            .await?
            .is_none()
            .then_some(()))
    })
    .await?;
    // One that was taken from an earlier one is none itself: its time would never be over.
    let reused = ScanReport { reused_from: Some(first), elapsed_ms: 0, ..clean.clone() };
    settled(store, &Settlement { reports: vec![reused], ..publish()? }).await?;
    ensure!(store.earlier_scan(&wanted).await? == Some((first, clean.clone())));
    Ok(())
}

/// The newest scan decides, and it has to have said *clean* by itself, of an upload that nobody released.
pub async fn earlier_scans_said_clean_by_themselves(store: &dyn SessionStore) -> Result<()> {
    let clean = report(Finding::Clean)?;
    let sha256 = source()?.sha256.context("a digest")?;
    let wanted =
        EarlierScan { sha256: &sha256, policy: "images", scanner: &clean.scanner, engine: &clean.engine, within: LONG };
    let infected = report(Finding::Infected { signature: "Later".to_owned() })?;
    let allowed = ScanReport { allowed_by: Some(lazaret_core::ListEntryId(1)), ..infected.clone() };
    for newest in [infected, allowed] {
        let id = settled(store, &publish()?).await?.upload_id;
        ensure!(store.earlier_scan(&wanted).await? == Some((id, clean.clone())));
        settled(store, &Settlement { reports: vec![newest], ..publish()? }).await?;
        ensure!(store.earlier_scan(&wanted).await?.is_none());
    }
    // Released from a limit, say: the engine was asked all the same, and may not have looked at all of it.
    let id = created(store).await?.upload_id;
    let (_, fence) = begin(store, id, LONG).await?;
    commit(store, id, fence, &hold()?).await?;
    store.release(id, "alice").await?;
    let (_, fence) = begin(store, id, LONG).await?;
    commit(store, id, fence, &publish()?).await?;
    ensure!(store.earlier_scan(&wanted).await?.is_none());
    Ok(())
}
