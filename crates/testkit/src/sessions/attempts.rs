//! Leases, fences and the counting of attempts.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use lazaret_core::{
    Fence, HoldReason, SessionState, StateName, WorkerId,
    ports::{Begun, OutboxKind, SessionStore, Settled},
};
use tokio::task::JoinSet;

use super::{LONG, OVER, SHORT, begin, commit, created, hold, now_is, publish, settled, until, worker};

/// A live lease keeps others out and says for how long. Busy attempts are not counted.
pub async fn lease_is_exclusive_while_live(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    let (session, fence) = begin(store, id, LONG).await?;
    ensure!(session.state == SessionState::Finalized && session.attempts == 1, "{session:?}");
    ensure!(fence == Fence::FIRST, "{fence}");
    ensure!(now_is(store, id).await? == session);
    for _ in 0..3 {
        match store.begin_attempt(id, &WorkerId::new("worker-2"), LONG, 100, true).await? {
            Begun::Busy { remaining } => ensure!(remaining <= LONG && remaining > LONG / 2, "{remaining:?}"),
            other => bail!("expected busy, got {other:?}"),
        }
    }
    ensure!(now_is(store, id).await?.attempts == 1);
    commit(store, id, fence, &publish()?).await?;
    Ok(())
}

/// A real lease ends by itself; the next one has a higher fence and counts another attempt.
pub async fn lease_that_ran_out_is_taken_over(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    let (_, first) = begin(store, id, SHORT).await?;
    let taken = until("the lease runs out", async || {
        match store.begin_attempt(id, &WorkerId::new("worker-2"), LONG, 100, true).await? {
            Begun::Leased { session, fence, attempt } => Ok(Some((session, fence, attempt))),
            Begun::Busy { remaining } => {
                ensure!(remaining <= SHORT);
                Ok(None)
            }
            other => bail!("{other:?}"),
        }
    })
    .await?;
    ensure!(taken.1 > first && taken.2 == 2 && taken.0.attempts == 2, "{taken:?}");
    Ok(())
}

/// Only a newer fence makes a lease stale, not time alone.
pub async fn lease_that_nobody_took_over_still_settles(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    let (_, fence) = begin(store, id, OVER).await?;
    ensure!(store.renew_lease(id, fence, OVER).await?);
    commit(store, id, fence, &publish()?).await?;
    Ok(())
}

/// A renewed lease outlives its first end.
pub async fn renewal_keeps_the_lease(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    let (session, fence) = begin(store, id, OVER).await?;
    ensure!(store.renew_lease(id, fence, LONG).await?);
    let answer = store.begin_attempt(id, &worker(), LONG, 100, true).await?;
    ensure!(matches!(answer, Begun::Busy { .. }), "{answer:?}");
    ensure!(now_is(store, id).await? == session, "renewing changes nothing else");
    Ok(())
}

/// Whoever lost the lease can neither settle, renew, give back nor fail.
pub async fn stale_fence_changes_nothing(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    let (_, stale) = begin(store, id, OVER).await?;
    let (_, fence) = begin(store, id, LONG).await?;
    untouched_by(store, id, stale).await?;
    // Given up: its own fence is worth nothing any more either.
    store.fail_attempt(id, fence, "scan failed").await?;
    untouched_by(store, id, fence).await?;
    let (_, fence) = begin(store, id, LONG).await?;
    store.give_back(id, fence, "shutting down").await?;
    untouched_by(store, id, fence).await?;
    let (_, fence) = begin(store, id, LONG).await?;
    commit(store, id, fence, &publish()?).await?;
    untouched_by(store, id, fence).await
}

/// A fence that was never given out is as stale as an old one.
pub async fn unknown_fence_changes_nothing(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    untouched_by(store, id, Fence(0)).await?;
    let (_, fence) = begin(store, id, LONG).await?;
    untouched_by(store, id, Fence(fence.0 + 1)).await?;
    untouched_by(store, id, Fence(-1)).await
}

async fn untouched_by(store: &dyn SessionStore, id: lazaret_core::UploadId, fence: Fence) -> Result<()> {
    let before = (now_is(store, id).await?, store.history(id).await?);
    ensure!(store.settle(id, fence, &hold()?).await? == Settled::Stale, "settled with fence {fence}");
    ensure!(!store.renew_lease(id, fence, LONG).await?, "renewed with fence {fence}");
    store.give_back(id, fence, "late").await?;
    store.fail_attempt(id, fence, "late").await?;
    let after = (now_is(store, id).await?, store.history(id).await?);
    ensure!(before == after, "fence {fence} changed {before:?} into {after:?}");
    Ok(())
}

/// A session is finalized by an attempt only where the caller says that an event suffices.
pub async fn finalizes_only_when_told(store: &dyn SessionStore) -> Result<()> {
    for uploaded in [false, true] {
        let id = created(store).await?.upload_id;
        if uploaded {
            store.mark_uploaded(id, "worker-1").await?;
        }
        let before = now_is(store, id).await?;
        let answer = store.begin_attempt(id, &worker(), LONG, 100, false).await?;
        ensure!(answer == Begun::NotFinalized(before.clone()), "{answer:?}");
        ensure!(now_is(store, id).await? == before);
        let (session, _) = begin(store, id, LONG).await?;
        ensure!(session.state == SessionState::Finalized);
        let audit = store.history(id).await?.audit;
        ensure!(audit.last().is_some_and(|last| last.action == "finalize" && last.to == StateName::Finalized));
    }
    // Once finalized, `finalize` says nothing more.
    let id = created(store).await?.upload_id;
    store.finalize(id, "operator").await?;
    let answer = store.begin_attempt(id, &worker(), LONG, 100, false).await?;
    ensure!(matches!(answer, Begun::Leased { attempt: 1, .. }), "{answer:?}");
    Ok(())
}

/// An attempt given back was none: it is not counted, however often it happens.
pub async fn give_back_takes_the_attempt_back(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    for _ in 0..5 {
        match store.begin_attempt(id, &worker(), LONG, 2, true).await? {
            Begun::Leased { fence, attempt: 1, .. } => store.give_back(id, fence, "clamd is down").await?,
            other => bail!("{other:?}"),
        }
        ensure!(now_is(store, id).await?.attempts == 0);
    }
    let history = store.history(id).await?;
    ensure!(history.attempts.len() == 5);
    ensure!(history.attempts.iter().all(|attempt| attempt.result.as_deref() == Some("given-back")
        && attempt.error.as_deref() == Some("clamd is down")
        && attempt.ended_at.is_some()));
    Ok(())
}

/// Exactly `max_attempts` failures are allowed; the next attempt holds the session with a record and an event.
pub async fn failures_count_and_exhaust(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    for expected in 1..=3 {
        match store.begin_attempt(id, &worker(), LONG, 3, true).await? {
            Begun::Leased { fence, attempt, .. } if attempt == expected => {
                store.fail_attempt(id, fence, "the scan failed").await?;
            }
            other => bail!("attempt {expected}: {other:?}"),
        }
    }
    exhausted(store, id).await
}

/// Attempts whose worker died count like those that failed.
pub async fn crashes_count_and_exhaust(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    for _ in 0..3 {
        begin(store, id, OVER).await?;
    }
    ensure!(store.history(id).await?.attempts.iter().all(|attempt| attempt.result.is_none()));
    exhausted(store, id).await
}

async fn exhausted(store: &dyn SessionStore, id: lazaret_core::UploadId) -> Result<()> {
    match store.begin_attempt(id, &worker(), LONG, 3, true).await? {
        Begun::Exhausted(exhausted) => {
            ensure!(exhausted.attempts == 3, "{exhausted:?}");
            ensure!(exhausted.session.state == SessionState::Held(HoldReason::AttemptsExhausted));
            ensure!(exhausted.session.detail.is_some());
            ensure!(exhausted.session == now_is(store, id).await?);
        }
        other => bail!("expected exhaustion, got {other:?}"),
    }
    let history = store.history(id).await?;
    ensure!(history.attempts.len() == 3, "a fourth attempt was recorded");
    ensure!(history.audit.last().is_some_and(|last| last.action == "hold" && last.to == StateName::Held));
    let items = store.claim_outbox(OutboxKind::Verdict, 10, LONG).await?;
    ensure!(items.len() == 1 && items[0].payload.contains("attempts-exhausted"), "{items:?}");
    let again = store.begin_attempt(id, &worker(), LONG, 3, true).await?;
    ensure!(matches!(again, Begun::Settled(_)), "{again:?}");
    Ok(())
}

/// What is settled is not begun again.
pub async fn settled_sessions_are_not_begun(store: &dyn SessionStore) -> Result<()> {
    for settlement in [publish()?, super::reject()?, hold()?] {
        let session = settled(store, &settlement).await?;
        let answer = store.begin_attempt(session.upload_id, &worker(), LONG, 100, true).await?;
        ensure!(answer == Begun::Settled(session), "{answer:?}");
    }
    Ok(())
}

/// What `begin_attempt` returned is there for everybody, before anything else happens.
pub async fn attempts_are_committed(one: &dyn SessionStore, other: &dyn SessionStore) -> Result<()> {
    let id = created(one).await?.upload_id;
    for expected in 1..=3 {
        let (session, fence) = begin(one, id, OVER).await?;
        ensure!(session.attempts == expected);
        ensure!(now_is(other, id).await? == session);
        let attempts = other.history(id).await?.attempts;
        ensure!(attempts.last().is_some_and(|last| last.fence == fence && last.worker == worker()), "{attempts:?}");
    }
    Ok(())
}

/// Of twenty that want one session at the same moment, one gets it.
pub async fn one_of_many_is_leased(one: Arc<dyn SessionStore>, other: Arc<dyn SessionStore>) -> Result<()> {
    let id = created(&*one).await?.upload_id;
    let mut workers = JoinSet::new();
    for number in 0..20 {
        let store = Arc::clone(if number % 2 == 0 { &one } else { &other });
        let name = WorkerId::new(format!("worker-{number}"));
        workers.spawn(async move { store.begin_attempt(id, &name, LONG, 100, true).await });
    }
    let (mut leased, mut busy) = (0, 0);
    while let Some(answer) = workers.join_next().await {
        match answer?? {
            Begun::Leased { .. } => leased += 1,
            Begun::Busy { .. } => busy += 1,
            unexpected => bail!("{unexpected:?}"),
        }
    }
    ensure!((leased, busy) == (1, 19), "{leased} leased, {busy} busy");
    ensure!(now_is(&*one, id).await?.attempts == 1);
    Ok(())
}

/// Workers that come and go on one session never share a fence, and none of their attempts is lost.
pub async fn fences_are_given_once(one: Arc<dyn SessionStore>, other: Arc<dyn SessionStore>) -> Result<()> {
    const WORKERS: u32 = 6;
    const ATTEMPTS: u32 = 8;
    let id = created(&*one).await?.upload_id;
    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        let store = Arc::clone(if number % 2 == 0 { &one } else { &other });
        workers.spawn(async move {
            let mut fences = Vec::new();
            for _ in 0..ATTEMPTS {
                fences.push(begin(&*store, id, OVER).await?.1);
            }
            ensure!(fences.is_sorted(), "{fences:?}");
            Ok(fences)
        });
    }
    let mut fences = Vec::new();
    while let Some(mine) = workers.join_next().await {
        fences.extend(mine??);
    }
    fences.sort_unstable();
    let expected: Vec<_> = (1..=i64::from(WORKERS * ATTEMPTS)).map(Fence).collect();
    ensure!(fences == expected, "{fences:?}");
    ensure!(now_is(&*other, id).await?.attempts == WORKERS * ATTEMPTS);
    Ok(())
}

/// Of many that settle with one fence, while others try with the one before, one commits.
pub async fn one_of_many_settles(one: Arc<dyn SessionStore>, other: Arc<dyn SessionStore>) -> Result<()> {
    let id = created(&*one).await?.upload_id;
    let (_, stale) = begin(&*one, id, OVER).await?;
    let (_, fence) = begin(&*other, id, LONG).await?;
    let mut workers = JoinSet::new();
    for number in 0..16 {
        let store = Arc::clone(if number % 2 == 0 { &one } else { &other });
        let settlement = if number % 4 < 2 { publish()? } else { hold()? };
        let mine = if number < 8 { stale } else { fence };
        workers.spawn(async move { anyhow::Ok((mine, store.settle(id, mine, &settlement).await?)) });
    }
    let mut committed = Vec::new();
    while let Some(answer) = workers.join_next().await {
        if let (mine, Settled::Committed(session)) = answer?? {
            ensure!(mine == fence, "a stale fence committed {session:?}");
            committed.push(*session);
        }
    }
    ensure!(committed.len() == 1 && now_is(&*one, id).await? == committed[0], "{committed:?}");
    let history = one.history(id).await?;
    ensure!(history.verdicts.len() == 1 && history.audit.len() == 3, "{history:?}");
    ensure!(one.claim_outbox(OutboxKind::Verdict, 10, LONG).await?.len() == 1);
    Ok(())
}
