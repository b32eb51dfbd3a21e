//! What was committed with a state and must still be done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use lazaret_core::{
    UploadId,
    ports::{OutboxItem, OutboxKind, SessionStore},
};
use tokio::task::JoinSet;

use super::{LONG, OVER, PATIENCE, SHORT, begin, commit, created, hold, publish, settled, until};

/// Each item goes to one claimer while its claim lasts, oldest first, and kinds do not mix.
pub async fn items_go_to_one_claimer(store: &dyn SessionStore) -> Result<()> {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(created(store).await?.upload_id);
    }
    for id in &ids {
        store.finalize(*id, "alice").await?;
    }
    settled(store, &publish()?).await?;
    let mut claimed = Vec::new();
    for expected in [2, 2, 1, 0] {
        let items = store.claim_outbox(OutboxKind::Process, 2, LONG).await?;
        ensure!(items.len() == expected, "{items:?}");
        claimed.extend(items);
    }
    ensure!(claimed.iter().map(|item| item.upload_id).collect::<Vec<_>>() == ids, "{claimed:?}");
    ensure!(claimed.windows(2).all(|pair| pair[0].id < pair[1].id));
    ensure!(claimed.iter().all(|item| item.kind == OutboxKind::Process));
    ensure!(store.claim_outbox(OutboxKind::Verdict, 10, LONG).await?.len() == 1);
    Ok(())
}

/// An item that nobody completed comes again when its claim is over.
pub async fn claims_run_out(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    store.finalize(id, "alice").await?;
    let first = store.claim_outbox(OutboxKind::Process, 10, SHORT).await?;
    ensure!(first.len() == 1 && first[0].upload_id == id);
    let again = until("the claim runs out", async || {
        let items = store.claim_outbox(OutboxKind::Process, 10, OVER).await?;
        Ok((!items.is_empty()).then_some(items))
    })
    .await?;
    ensure!(again == first);
    Ok(())
}

/// A completed item never comes back; completing it again, or an unknown one, is no error.
pub async fn done_items_are_gone(store: &dyn SessionStore) -> Result<()> {
    for _ in 0..3 {
        store.finalize(created(store).await?.upload_id, "alice").await?;
    }
    let items = store.claim_outbox(OutboxKind::Process, 10, OVER).await?;
    let done: Vec<i64> = items.iter().take(2).map(|item| item.id).collect();
    store.complete_outbox(&done).await?;
    store.complete_outbox(&done).await?;
    store.complete_outbox(&[]).await?;
    store.complete_outbox(&(1_000_000..1_002_000).collect::<Vec<_>>()).await?;
    let left = store.claim_outbox(OutboxKind::Process, 10, OVER).await?;
    ensure!(left == items[2..], "{left:?}");
    Ok(())
}

/// Many claimers at once get every item between them, and none twice.
pub async fn claimers_share_nothing(one: Arc<dyn SessionStore>, other: Arc<dyn SessionStore>) -> Result<()> {
    const ITEMS: usize = 30;
    for _ in 0..ITEMS {
        one.finalize(created(&*one).await?.upload_id, "alice").await?;
    }
    let mut claimers = JoinSet::new();
    for number in 0..6 {
        let store = Arc::clone(if number % 2 == 0 { &one } else { &other });
        claimers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let items = store.claim_outbox(OutboxKind::Process, 3, LONG).await?;
                if items.is_empty() {
                    return anyhow::Ok(mine);
                }
                mine.extend(items.into_iter().map(|item| item.id));
                ensure!(mine.len() <= ITEMS, "more was claimed than there is: {mine:?}");
            }
        });
    }
    let mut claimed = Vec::new();
    while let Some(mine) = claimers.join_next().await {
        claimed.extend(mine??);
    }
    ensure!(claimed.len() == ITEMS && claimed.iter().collect::<BTreeSet<_>>().len() == ITEMS, "{claimed:?}");
    Ok(())
}

/// A session with this many verdict items, the later ones of releases that were held again.
async fn told(store: &dyn SessionStore, items: usize) -> Result<UploadId> {
    let id = settled(store, &hold()?).await?.upload_id;
    for _ in 1..items {
        store.release(id, "alice").await?;
        let (_, fence) = begin(store, id, LONG).await?;
        commit(store, id, fence, &hold()?).await?;
    }
    Ok(id)
}

/// No item is handed out while an older one of its session and kind is there that does not go with it.
pub async fn later_items_wait_for_earlier_ones(store: &dyn SessionStore) -> Result<()> {
    let id = told(store, 3).await?;
    let other = settled(store, &publish()?).await?.upload_id;
    let claim = async |limit, lease| store.claim_outbox(OutboxKind::Verdict, limit, lease).await;
    let first = claim(1, LONG).await?;
    ensure!(first.len() == 1 && first[0].upload_id == id, "{first:?}");
    // Others are not held up, and neither are items of another kind.
    let next = claim(10, LONG).await?;
    ensure!(next.len() == 1 && next[0].upload_id == other, "a later item overtook: {next:?}");
    ensure!(!store.claim_outbox(OutboxKind::Process, 10, LONG).await?.is_empty());
    ensure!(claim(10, LONG).await?.is_empty());
    store.complete_outbox(&[first[0].id]).await?;
    let rest = claim(10, OVER).await?;
    ensure!(rest.len() == 2 && rest.iter().all(|item| item.upload_id == id && item.id > first[0].id), "{rest:?}");
    // Claims that ran out begin with the oldest again, and take the later ones along or leave them be.
    let again = claim(1, LONG).await?;
    ensure!(again == rest[..1], "{again:?}");
    ensure!(claim(10, LONG).await?.is_empty());
    // What is done out of order moves nothing up.
    store.complete_outbox(&[rest[1].id]).await?;
    ensure!(claim(10, LONG).await?.is_empty());
    store.complete_outbox(&[rest[0].id]).await?;
    ensure!(claim(10, LONG).await?.is_empty());
    Ok(())
}

/// What claimers saw, and who is at which session.
#[derive(Default)]
struct Ledger {
    carried: BTreeMap<UploadId, Vec<i64>>,
    at: BTreeMap<UploadId, u32>,
}

/// Claimers at the same time keep each session's order, and no two are at one session.
pub async fn concurrent_claims_keep_the_order(one: Arc<dyn SessionStore>, other: Arc<dyn SessionStore>) -> Result<()> {
    const SESSIONS: usize = 6;
    const ITEMS: usize = 5;
    for _ in 0..SESSIONS {
        told(&*one, ITEMS).await?;
    }
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut claimers = JoinSet::new();
    for number in 0..8 {
        let store = Arc::clone(if number % 2 == 0 { &one } else { &other });
        let ledger = Arc::clone(&ledger);
        claimers.spawn(async move {
            while lock(&ledger).carried.values().map(Vec::len).sum::<usize>() < SESSIONS * ITEMS {
                let items = store.claim_outbox(OutboxKind::Verdict, number % 4 + 1, LONG).await?;
                carry(&*store, &ledger, number, &items).await?;
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        });
    }
    let joined = async {
        while let Some(claimer) = claimers.join_next().await {
            claimer??;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, joined).await.context("items were left over")??;
    let ledger = lock(&ledger);
    ensure!(ledger.carried.len() == SESSIONS);
    for (id, items) in &ledger.carried {
        ensure!(items.len() == ITEMS && items.is_sorted(), "{id}: {items:?}");
    }
    Ok(())
}

async fn carry(store: &dyn SessionStore, ledger: &Mutex<Ledger>, claimer: u32, items: &[OutboxItem]) -> Result<()> {
    for item in items {
        let there = lock(ledger).at.insert(item.upload_id, claimer);
        ensure!(there.is_none_or(|other| other == claimer), "{claimer} and {there:?} are at {item:?}");
        lock(ledger).carried.entry(item.upload_id).or_default().push(item.id);
        tokio::task::yield_now().await;
    }
    // One by one, so that others come in between.
    for (position, item) in items.iter().enumerate() {
        if !items[position + 1..].iter().any(|later| later.upload_id == item.upload_id) {
            lock(ledger).at.remove(&item.upload_id);
        }
        store.complete_outbox(&[item.id]).await?;
    }
    Ok(())
}

fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
