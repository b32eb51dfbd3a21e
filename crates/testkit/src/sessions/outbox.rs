//! What was committed with a state and must still be done.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Result, ensure};
use lazaret_core::ports::{OutboxKind, SessionStore};
use tokio::task::JoinSet;

use super::{LONG, OVER, SHORT, created, publish, settled, until};

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
