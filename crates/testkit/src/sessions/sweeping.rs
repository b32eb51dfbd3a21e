//! What the sweeper may take away.

use std::time::Duration;

use anyhow::{Result, ensure};
use lazaret_core::{
    ObjectEvent, SessionState, StateName, UploadId,
    ports::{OutboxKind, SessionStore, Settled},
};
use uuid::Uuid;

use super::{
    LONG, OVER, SHORT, begin, commit, created, hold, now_is, overdue, publish, reject, settled, until, worker,
};

/// Only unsettled sessions whose time is over, the longest overdue first.
pub async fn overdue_by_its_own_clock(store: &dyn SessionStore) -> Result<()> {
    created(store).await?;
    let mut expected = Vec::new();
    for step in 0..3 {
        let session = overdue(store).await?;
        match step {
            0 => {}
            1 => drop(store.mark_uploaded(session.upload_id, "worker-1").await?),
            _ => drop(store.finalize(session.upload_id, "alice").await?),
        }
        expected.push(now_is(store, session.upload_id).await?);
    }
    let rejected = overdue(store).await?.upload_id;
    let (_, fence) = begin(store, rejected, LONG).await?;
    commit(store, rejected, fence, &reject()?).await?;
    let found = store.overdue(10).await?;
    ensure!(found == expected, "{found:?} instead of {expected:?}");
    ensure!(store.overdue(2).await? == expected[..2]);
    // A session comes due by itself.
    let new = lazaret_core::NewSession { expires_in: SHORT, ..super::new_session()? };
    let soon = store.create(&new).await?;
    until("the session comes due", async || Ok(store.overdue(10).await?.contains(&soon).then_some(()))).await
}

/// A session under a live lease is neither listed nor expired.
pub async fn live_lease_protects(store: &dyn SessionStore) -> Result<()> {
    let id = overdue(store).await?.upload_id;
    let (session, fence) = begin(store, id, LONG).await?;
    ensure!(store.overdue(10).await?.is_empty());
    ensure!(!store.expire(&session).await?);
    ensure!(now_is(store, id).await? == session);
    store.give_back(id, fence, "draining").await?;
    ensure!(store.overdue(10).await?.len() == 1);
    begin(store, id, OVER).await?;
    ensure!(store.overdue(10).await?.len() == 1, "a lease that ran out protects nothing");
    Ok(())
}

/// Expiry is for the session that was seen: whatever happened since wins.
pub async fn expires_what_is_as_seen(store: &dyn SessionStore) -> Result<()> {
    let seen = overdue(store).await?;
    let id = seen.upload_id;
    let uploaded = store.mark_uploaded(id, "worker-1").await?;
    ensure!(!store.expire(&seen).await?, "it was uploaded since");
    let finalized = store.finalize(id, "alice").await?;
    ensure!(!store.expire(&uploaded).await?, "it was finalized since");
    let (_, fence) = begin(store, id, LONG).await?;
    store.fail_attempt(id, fence, "no answer").await?;
    ensure!(!store.expire(&finalized).await?, "it was tried since");
    let current = now_is(store, id).await?;
    ensure!(store.expire(&current).await?);
    let expired = now_is(store, id).await?;
    ensure!(expired.state == SessionState::Expired, "{expired:?}");
    ensure!(!store.expire(&current).await? && !store.expire(&expired).await?, "it expires once");
    let history = store.history(id).await?;
    ensure!(history.audit.last().is_some_and(|last| last.actor == "sweeper"
        && last.from == Some(StateName::Finalized)
        && last.reason == Some(lazaret_core::Reason::Abandoned)));
    let items = store.claim_outbox(OutboxKind::Verdict, 10, LONG).await?;
    ensure!(items.len() == 1 && items[0].payload.contains("\"expired\""), "{items:?}");

    let early = created(store).await?;
    ensure!(!store.expire(&early).await?, "its time is not over");
    for settlement in [publish()?, hold()?] {
        ensure!(!store.expire(&settled(store, &settlement).await?).await?);
    }
    Ok(())
}

/// A worker that slept through its lease finds its session expired and can commit nothing.
pub async fn expired_session_has_no_worker(store: &dyn SessionStore) -> Result<()> {
    let id = overdue(store).await?.upload_id;
    let (session, fence) = begin(store, id, OVER).await?;
    ensure!(store.expire(&session).await?);
    ensure!(store.settle(id, fence, &publish()?).await? == Settled::Stale);
    ensure!(!store.renew_lease(id, fence, LONG).await?);
    ensure!(now_is(store, id).await?.state == SessionState::Expired);
    Ok(())
}

/// Originals of published and expired sessions may go at once, rejected ones later, held ones never.
pub async fn removable_by_state(store: &dyn SessionStore) -> Result<()> {
    let published = settled(store, &publish()?).await?.upload_id;
    let rejected = settled(store, &reject()?).await?.upload_id;
    settled(store, &hold()?).await?;
    let seen = overdue(store).await?;
    ensure!(store.expire(&seen).await?);
    created(store).await?;
    begin(store, created(store).await?.upload_id, OVER).await?;
    let ids = async |retain, limit| -> Result<Vec<UploadId>> {
        Ok(store.removable(retain, limit).await?.iter().map(|session| session.upload_id).collect())
    };
    ensure!(ids(LONG, 10).await? == [published, seen.upload_id]);
    ensure!(ids(LONG, 1).await? == [published]);
    ensure!(ids(Duration::ZERO, 10).await? == [published, rejected, seen.upload_id]);
    until("the rejected original may go", async || Ok((ids(SHORT, 10).await?.len() == 3).then_some(()))).await
}

/// The first deletion counts; a removed original is removable no more.
pub async fn deleted_original_is_remembered_once(store: &dyn SessionStore) -> Result<()> {
    let id = settled(store, &publish()?).await?.upload_id;
    store.record_original_deleted(id).await?;
    let first = now_is(store, id).await?;
    ensure!(first.original_deleted_at.is_some());
    ensure!(store.removable(LONG, 10).await?.is_empty());
    let later = store.now().await?;
    until("the clock moves on", async || Ok((store.now().await? > later).then_some(()))).await?;
    store.record_original_deleted(id).await?;
    ensure!(now_is(store, id).await? == first);
    ensure!(store.record_original_deleted(UploadId::from_uuid(Uuid::now_v7())).await.is_err());
    Ok(())
}

/// Contested is what is settled and has an attempt that did not commit, whatever came of it and whoever settled.
pub async fn contested_by_its_attempts(store: &dyn SessionStore) -> Result<()> {
    for settlement in [publish()?, reject()?, hold()?] {
        settled(store, &settlement).await?;
    }
    let twice = settled(store, &hold()?).await?.upload_id;
    store.release(twice, "alice").await?;
    let (_, fence) = begin(store, twice, LONG).await?;
    commit(store, twice, fence, &publish()?).await?;
    let never_tried = overdue(store).await?;
    ensure!(store.expire(&never_tried).await?);
    begin(store, created(store).await?.upload_id, OVER).await?;
    ensure!(store.contested(LONG, None, 10).await?.is_empty(), "every attempt committed, or nothing is settled");

    let mut expected = Vec::new();
    for (end, settlement) in [(0, publish()?), (1, reject()?), (2, hold()?)] {
        let id = created(store).await?.upload_id;
        let (_, fence) = begin(store, id, OVER).await?;
        match end {
            0 => {}
            1 => store.give_back(id, fence, "draining").await?,
            _ => store.fail_attempt(id, fence, "no answer").await?,
        }
        let (_, fence) = begin(store, id, LONG).await?;
        ensure!(store.contested(LONG, None, 10).await? == expected, "it is not settled");
        expected.push(commit(store, id, fence, &settlement).await?);
    }
    // Settled by nobody's commit, under the first fence.
    let expired = overdue(store).await?.upload_id;
    let (seen, _) = begin(store, expired, OVER).await?;
    ensure!(store.expire(&seen).await?);
    expected.push(now_is(store, expired).await?);
    let exhausted = created(store).await?.upload_id;
    begin(store, exhausted, OVER).await?;
    store.begin_attempt(exhausted, &worker(), LONG, 1, true).await?;
    expected.push(now_is(store, exhausted).await?);
    // In the same millisecond they are in the order of their ids.
    expected.sort_by_key(|session| (session.updated_at, session.upload_id));
    let found = store.contested(LONG, None, 10).await?;
    ensure!(found == expected, "{found:?} instead of {expected:?}");

    store.release(exhausted, "alice").await?;
    expected.retain(|session| session.upload_id != exhausted);
    ensure!(store.contested(LONG, None, 10).await? == expected, "a released session is not settled");
    Ok(())
}

/// Page by page, the longest settled first, and no more once `within` has passed.
pub async fn contested_in_pages_until_it_is_over(store: &dyn SessionStore) -> Result<()> {
    let mut expected = Vec::new();
    for _ in 0..5 {
        let id = created(store).await?.upload_id;
        begin(store, id, OVER).await?;
        let (_, fence) = begin(store, id, LONG).await?;
        expected.push(commit(store, id, fence, &reject()?).await?);
    }
    expected.sort_by_key(|session| (session.updated_at, session.upload_id));
    let mut seen = Vec::new();
    loop {
        let page = store.contested(LONG, seen.last(), 2).await?;
        ensure!(page.len() <= 2 && seen.len() <= expected.len(), "{page:?} after {seen:?}");
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    ensure!(seen == expected, "{seen:?} instead of {expected:?}");
    until("nothing can come late any more", async || {
        Ok(store.contested(SHORT, None, 10).await?.is_empty().then_some(()))
    })
    .await?;
    ensure!(store.contested(SHORT, expected.first(), 10).await?.is_empty());
    ensure!(store.contested(LONG, None, 10).await? == expected);
    Ok(())
}

/// Orphans are noted, and noted as gone, without complaint however often it is said.
pub async fn orphans_are_remembered_once(store: &dyn SessionStore) -> Result<()> {
    let event = ObjectEvent {
        bucket: "uploads".parse()?,
        key: "quarantine/nobody asked".parse()?,
        version: None,
        etag: Some("abc".parse()?),
        size: Some(3),
        occurred_at: Some(store.now().await?),
    };
    let bare = ObjectEvent { etag: None, size: None, occurred_at: None, ..event.clone() };
    for event in [&event, &event, &bare] {
        store.record_orphan(event).await?;
    }
    store.record_orphan_swept(&event.bucket, &event.key).await?;
    store.record_orphan_swept(&event.bucket, &event.key).await?;
    store.record_orphan(&event).await?;
    store.record_orphan_swept(&event.bucket, &"never/seen".parse()?).await?;
    Ok(())
}
