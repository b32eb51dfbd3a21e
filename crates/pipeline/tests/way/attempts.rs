//! Attempts: what counts, what is given back, and where an object ends that nobody can get through.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lazaret_core::{
    Disposition, Finding, HoldReason, SessionState, WorkerId,
    ports::{Begun, SessionStore},
};
use lazaret_pipeline::Passed;
use lazaret_testkit::{
    objects::{Effect, Failure, Fault, Operation},
    scanners::MemoryScanner,
};
use tokio_util::sync::CancellationToken;

use crate::{
    faulty::{End, Faults, Faulty, Strike},
    rig::{BUCKET, LONG, Rig, Running, embedded, message, no_verdict, scanner_name},
};

#[tokio::test]
async fn a_scanner_that_is_away_burns_no_attempt() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    rig.scanner.set_down(true);
    for _ in 0..10 {
        rig.pass(&event).await.unwrap_err();
    }
    assert_eq!(rig.session(&session).await.attempts, 0);
    rig.scanner.set_down(false);
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, b"plain words");
}

#[tokio::test]
async fn a_store_that_is_away_burns_no_attempt() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    rig.store.outage(Some(Failure::Unavailable));
    for _ in 0..5 {
        rig.pass(&event).await.unwrap_err();
    }
    rig.store.outage(None);
    assert_eq!(rig.session(&session).await.attempts, 0);
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, b"plain words");
}

/// One object that the store will not give ends held by itself; a store that refuses everybody burns nothing.
#[tokio::test]
async fn an_object_that_is_withheld_does_not_stall_the_station() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    rig.store.outage(Some(Failure::Refused));
    assert_eq!(rig.pass(&event).await.unwrap_err().disposition(), Disposition::Unavailable);
    rig.store.outage(None);
    assert_eq!(rig.session(&session).await.attempts, 0);
    for (attempt, operation) in [(1, Operation::Head), (2, Operation::Fetch), (3, Operation::Head)] {
        rig.store.fault(operation, Fault::Fail(Effect::Before, Failure::Refused));
        assert_eq!(rig.pass(&event).await.unwrap_err().disposition(), Disposition::Retry);
        assert_eq!(rig.session(&session).await.attempts, attempt);
    }
    assert_eq!(rig.pass(&event).await.unwrap(), Passed::Exhausted);
    assert_eq!(rig.state(&session).await, SessionState::Held(HoldReason::AttemptsExhausted));
}

/// An error to the last attempt holds the object under the scanner's name, with the bytes it was about.
#[tokio::test]
async fn a_scanner_without_a_verdict_to_the_end_holds() {
    let rig = Rig::new().await;
    let (session, event) = rig.upload(b"no verdict", "note.txt", "text/plain").await;
    for attempt in 1..3 {
        rig.pass(&event).await.unwrap_err();
        assert_eq!(rig.session(&session).await.attempts, attempt);
        assert_eq!(rig.state(&session).await, SessionState::Finalized);
    }
    assert!(matches!(rig.pass(&event).await.unwrap(), Passed::Settled(_)));
    let held = rig.session(&session).await;
    assert_eq!(held.state, SessionState::Held(HoldReason::ScannerError));
    let source = held.source.expect("the bytes were read");
    assert!(source.sha256.is_some() && source.detected_type.is_some());
    assert_eq!(rig.scanner.scans(), 3);
    assert!(rig.copies().is_empty());
}

/// A body that breaks off is an error of this object: it counts, and ends held, never rejected.
#[tokio::test]
async fn a_body_that_breaks_off_is_no_verdict() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    for failure in [Failure::Body, Failure::Changed, Failure::Body] {
        rig.store.fault(Operation::Fetch, Fault::Fail(Effect::Before, failure));
        rig.pass(&event).await.unwrap_err();
    }
    assert_eq!(rig.state(&session).await, SessionState::Finalized);
    assert_eq!(rig.pass(&event).await.unwrap(), Passed::Exhausted);
    assert_eq!(rig.state(&session).await, SessionState::Held(HoldReason::AttemptsExhausted));
}

/// A process that dies in every attempt leaves begun attempts without an end.
#[tokio::test]
async fn a_crash_loop_ends_held_after_exactly_so_many_attempts() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    for attempt in 1..=3 {
        let worker = WorkerId::new(format!("dead-{attempt}"));
        let begun = rig.sessions.begin_attempt(session.upload_id, &worker, Duration::ZERO, 3, true).await.unwrap();
        assert!(matches!(begun, Begun::Leased { attempt: counted, .. } if counted == attempt), "{begun:?}");
    }
    let queue = embedded(LONG);
    lazaret_core::ports::Queue::send(&*queue, &message(&[event])).await.unwrap();
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, LONG);
    let dead = rig.until("dead-lettered", async |_| queue.dead_letters().pop()).await;
    worker.drain().await;
    assert_eq!(dead.reason, "attempts-exhausted");
    assert_eq!(rig.state(&session).await, SessionState::Held(HoldReason::AttemptsExhausted));
    assert_eq!(rig.scanner.scans(), 0, "a fourth attempt was made");
    assert_eq!(rig.sessions.history(session.upload_id).await.unwrap().attempts.len(), 3);
}

/// Work that panics is an attempt like any other: it comes again and ends held, and the worker lives.
#[tokio::test]
async fn a_panic_ends_one_attempt_and_nothing_else() {
    let scans = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&scans);
    let scanner = MemoryScanner::new(scanner_name(), move |bytes| {
        if bytes == b"a trap" {
            counted.fetch_add(1, Ordering::SeqCst);
            panic!("as told");
        }
        Ok(Finding::Clean)
    });
    let rig = Rig::new().await.with_scanner(scanner);
    let rig = rig.with(|station| {
        station.settings.lease = Duration::from_millis(200);
        station.settings.max_attempts = 1;
    });
    let (trap, event) = rig.upload(b"a trap", "note.txt", "text/plain").await;
    let queue = embedded(LONG);
    let send = async |event| lazaret_core::ports::Queue::send(&*queue, &message(&[event])).await.unwrap();
    send(event).await;
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, LONG);
    rig.until("the trap", async |_| (scans.load(Ordering::SeqCst) == 1).then_some(())).await;
    let (session, event) = rig.text().await;
    send(event).await;
    rig.until("the next", async |rig| rig.state(&session).await.published().cloned()).await;
    rig.until("the trap's end", async |_| queue.dead_letters().pop()).await;
    worker.drain().await;
    assert_eq!(rig.state(&trap).await, SessionState::Held(HoldReason::AttemptsExhausted));
}

/// While the scan goes on, another worker takes the lapsed lease over and decides. The first one's fence is stale.
#[tokio::test]
async fn a_stale_fence_commits_nothing_and_leaves_no_copy() {
    let rig = Rig::new().await;
    let (session, event) = rig.upload(&crate::rig::a_png(), "a.png", "image/png").await;
    let rig = rig.with_transformer(lazaret_testkit::transformer::MemoryTransformer::restless_png());
    let (reached, go_on) = (Arc::default(), Arc::default());
    let hold = Fault::Hold { at: Effect::After, reached: Arc::clone(&reached), go_on: Arc::clone(&go_on) };
    rig.store.fault(Operation::Publish, hold);
    // The renewal before the copy goes through; the next one hangs, as on a machine that was put to sleep.
    let hangs = Strike { operation: "renew_lease", nth: 1, side: Effect::Before, end: End::Dies };
    let lapsing = rig.station_with(|station| {
        station.settings.lease = Duration::from_millis(600);
        station.sessions = Faulty::new(&Faults::new(Some(hangs)), Arc::clone(&station.sessions));
    });
    let first = lazaret_pipeline::Passage::new(Arc::new(lapsing));
    let stop = CancellationToken::new();
    let second = async {
        reached.notified().await;
        let settled = rig.until("taken over", async |rig| match rig.pass(&event).await.unwrap() {
            Passed::Settled(session) => Some(session),
            _ => None,
        });
        let settled = settled.await;
        go_on.notify_one();
        settled
    };
    let (first, second) = tokio::join!(first.pass(&event, &stop), second);
    assert!(first.is_err(), "{first:?}");
    assert_eq!(rig.state(&session).await, second.state);
    let bytes = rig.published(&session).await;
    assert!(bytes.ends_with(b"call 2"), "the copy of the stale worker won");
    assert_eq!(rig.settlements(&session).await.len(), 1);
}

#[tokio::test]
async fn a_copy_that_reads_back_otherwise_is_withdrawn_and_made_again() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    rig.store.before(Operation::ReadBack, |store| {
        let key = store.keys(crate::rig::PUBLISHED).pop().unwrap();
        store.corrupt(crate::rig::PUBLISHED, &key, b"plain w0rds");
    });
    let error = rig.pass(&event).await.unwrap_err();
    assert!(error.to_string().contains("not what was written"), "{error}");
    assert!(rig.copies().is_empty(), "{:?}", rig.copies());
    assert_eq!(rig.state(&session).await, SessionState::Finalized);
    assert!(rig.store.object(BUCKET, session.key.as_key().as_str()).is_some());
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, b"plain words");
}

/// A copy was written, then the attempt was given back; the next decides otherwise. Nothing stays readable, not even
/// where the withdrawal fails at first.
#[tokio::test]
async fn a_copy_of_an_attempt_given_back_does_not_outlive_a_hold() {
    let said = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&said);
    let scanner = MemoryScanner::new(scanner_name(), move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(Finding::Clean),
        1 => Ok(Finding::Unscannable { reason: HoldReason::ScanLimits, detail: "told to".to_owned() }),
        _ => Err(no_verdict()),
    });
    let rig = Rig::new().await.with_scanner(scanner);
    let (session, event) = rig.text().await;
    rig.store.fault(Operation::ReadBack, Fault::Fail(Effect::Before, Failure::Unavailable));
    rig.pass(&event).await.unwrap_err();
    assert_eq!(rig.copies().len(), 1);
    assert_eq!(rig.session(&session).await.attempts, 0);
    rig.store.fault(Operation::List, Fault::Fail(Effect::Before, Failure::Unavailable));
    rig.pass(&event).await.expect_err("the delivery must be kept until the copy is gone");
    assert_eq!(rig.state(&session).await, SessionState::Held(HoldReason::ScanLimits));
    assert_eq!(rig.pass(&event).await.unwrap(), Passed::AlreadySettled);
    assert!(rig.copies().is_empty(), "{:?}", rig.copies());
    assert_eq!(rig.settlements(&session).await.len(), 1);
}
