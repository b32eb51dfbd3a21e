//! Processing that is asked for without an object event.

use std::sync::Arc;

use anyhow::{Result, ensure};
use lazaret_core::{
    UploadId,
    ports::{OutboxKind, SessionStore, SessionStoreError},
};
use serde_json::Value;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{LONG, OVER, begin, created, hold, now_is, overdue, publish, reject, settled};

/// A request waits once, moves nothing, and can be repeated when it was carried out.
pub async fn requests_wait_once(store: &dyn SessionStore) -> Result<()> {
    let session = created(store).await?;
    let id = session.upload_id;
    let history = store.history(id).await?;
    ensure!(store.request_processing(id).await?);
    ensure!(!store.request_processing(id).await?, "it waits already");
    let items = store.claim_outbox(OutboxKind::Process, 10, LONG).await?;
    ensure!(items.len() == 1 && items[0].upload_id == id, "{items:?}");
    let body: Value = serde_json::from_str(&items[0].payload)?;
    ensure!(body["bucket"] == session.bucket.as_str() && body["key"] == session.key.to_string(), "{body}");
    ensure!(!store.request_processing(id).await?, "it is being carried out");
    store.complete_outbox(&[items[0].id]).await?;
    ensure!(store.request_processing(id).await?);
    ensure!(now_is(store, id).await? == session && store.history(id).await? == history, "it moved");
    // What a finalize put there is such a request as well.
    let finalized = created(store).await?.upload_id;
    store.finalize(finalized, "alice").await?;
    ensure!(!store.request_processing(finalized).await?);
    let uploaded = created(store).await?.upload_id;
    store.mark_uploaded(uploaded, "worker-1").await?;
    ensure!(store.request_processing(uploaded).await?);
    Ok(())
}

/// There is nothing to ask for where a worker is at it or all is decided; an unknown session is an error.
pub async fn requests_are_for_what_waits(store: &dyn SessionStore) -> Result<()> {
    let id = created(store).await?.upload_id;
    let (_, fence) = begin(store, id, LONG).await?;
    ensure!(!store.request_processing(id).await?, "a live lease");
    store.fail_attempt(id, fence, "no answer").await?;
    ensure!(store.request_processing(id).await?, "nobody is at it");
    let crashed = created(store).await?.upload_id;
    begin(store, crashed, OVER).await?;
    ensure!(store.request_processing(crashed).await?, "its worker is gone");
    for settlement in [publish()?, reject()?, hold()?] {
        let id = settled(store, &settlement).await?.upload_id;
        ensure!(!store.request_processing(id).await?, "{settlement:?}");
    }
    let expired = overdue(store).await?;
    ensure!(store.expire(&expired).await?);
    ensure!(!store.request_processing(expired.upload_id).await?, "expired");
    let unknown = store.request_processing(UploadId::from_uuid(Uuid::now_v7())).await;
    ensure!(matches!(unknown, Err(SessionStoreError::NotFound { .. })), "{unknown:?}");
    ensure!(store.claim_outbox(OutboxKind::Process, 10, LONG).await?.len() == 2);
    Ok(())
}

/// Of many that ask at the same moment, one puts the item there.
pub async fn one_of_many_requests_waits(one: Arc<dyn SessionStore>, other: Arc<dyn SessionStore>) -> Result<()> {
    let id = created(&*one).await?.upload_id;
    let mut callers = JoinSet::new();
    for number in 0..20 {
        let store = Arc::clone(if number % 2 == 0 { &one } else { &other });
        callers.spawn(async move { store.request_processing(id).await });
    }
    let mut asked = 0;
    while let Some(answer) = callers.join_next().await {
        asked += usize::from(answer??);
    }
    ensure!(asked == 1, "{asked} items");
    ensure!(one.claim_outbox(OutboxKind::Process, 10, LONG).await?.len() == 1);
    Ok(())
}
