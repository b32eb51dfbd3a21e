//! What an operator or the platform asks for reaches the queue by the outbox.

use std::sync::Arc;

use lazaret_core::{
    HoldReason, SessionState, StateName,
    ports::{OutboxKind, SessionStore},
};
use lazaret_pipeline::Passed;
use lazaret_testkit::{objects::MemoryObjectStore, queue::MemoryQueue, queue::QueueOperation};

use crate::rig::{BUCKET, LONG, PUBLISHED, Rig, Running, embedded};

#[tokio::test]
async fn a_session_that_must_be_finalized_waits_for_it() {
    let rig = Rig::new().await.with(|station| station.settings.require_finalize = true);
    let (session, event) = rig.text().await;
    assert_eq!(rig.pass(&event).await.unwrap(), Passed::AwaitsFinalize);
    assert_eq!(rig.state(&session).await, SessionState::Uploaded);
    assert_eq!(rig.pass(&event).await.unwrap(), Passed::AwaitsFinalize);
    assert_eq!((rig.session(&session).await.attempts, rig.scanner.scans()), (0, 0));
    let queue = embedded(LONG);
    let worker = Running::start(&rig.station, queue as _, 1, LONG);
    rig.sessions.finalize(session.upload_id, "alice").await.unwrap();
    rig.until("published", async |rig| rig.state(&session).await.published().cloned()).await;
    worker.drain().await;
    assert_eq!(rig.published(&session).await, b"plain words");
}

/// A release names the version that was held, whatever was written since.
#[tokio::test]
async fn a_release_processes_the_version_that_was_held() {
    let rig = Rig::over(MemoryObjectStore::new(&[BUCKET, PUBLISHED]).with_versioning()).await;
    let (session, event) = rig.upload(b"encrypted", "note.txt", "text/plain").await;
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.state(&session).await, SessionState::Held(HoldReason::Encrypted));
    rig.put(&session, b"something");
    let worker = Running::start(&rig.station, embedded(LONG) as _, 1, LONG);
    rig.sessions.release(session.upload_id, "alice").await.unwrap();
    rig.until("settled", async |rig| rig.state(&session).await.is_settled().then_some(())).await;
    worker.drain().await;
    assert_eq!(rig.published(&session).await, b"encrypted");
}

/// An item that could not be put on the queue stays in the outbox, and goes out when its claim has run out.
#[tokio::test]
async fn what_the_queue_did_not_take_is_not_forgotten() {
    let rig = Rig::new().await.with(|station| station.settings.require_finalize = true);
    let (session, _) = rig.text().await;
    rig.sessions.finalize(session.upload_id, "alice").await.unwrap();
    let queue = Arc::new(MemoryQueue::new());
    queue.fail(QueueOperation::Send, usize::MAX);
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, LONG);
    rig.until("tried", async |_| (queue.calls(QueueOperation::Send) > 0).then_some(())).await;
    worker.drain().await;
    assert!(queue.sent().is_empty());
    assert_eq!(rig.state(&session).await.name(), StateName::Finalized);
    let free = rig.sessions.claim_outbox(OutboxKind::Process, 10, LONG).await.unwrap();
    assert!(free.is_empty(), "the claim was given up or the item was lost: {free:?}");
}

/// Verdicts that nobody listens to do not pile up.
#[tokio::test]
async fn verdicts_are_not_hoarded() {
    let rig = Rig::new().await;
    for _ in 0..3 {
        let (_, event) = rig.text().await;
        rig.pass(&event).await.unwrap();
    }
    let worker = Running::start(&rig.station, embedded(LONG) as _, 1, LONG);
    rig.until("carried out", async |rig| {
        // Claimed for no time, so that the worker gets what there is.
        let left = rig.sessions.claim_outbox(OutboxKind::Verdict, 10, std::time::Duration::ZERO).await.unwrap();
        left.is_empty().then_some(())
    })
    .await;
    worker.drain().await;
}
