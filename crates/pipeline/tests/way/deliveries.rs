//! What becomes of messages: duplicates, several records, outages, and the end of a worker.

use std::{sync::Arc, time::Duration};

use lazaret_core::{HoldReason, SessionState, WorkerId, ports::Queue};
use lazaret_testkit::{
    objects::Failure,
    queue::{MemoryQueue, QueueOperation, Settled},
    scanners::MemoryScanner,
};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    faulty::{Faults, FaultyQueue},
    rig::{LONG, Rig, Running, embedded, message, scanner_name},
};

/// What the worker allows itself for giving back after the drain time-out. Where nothing hangs it takes less.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// Lets the deliveries come back at once, whatever delay was asked for.
fn impatient(queue: &Arc<impl Queue + 'static>) -> Arc<FaultyQueue> {
    Arc::new(FaultyQueue { faults: Faults::new(None), inner: Arc::clone(queue) as _ })
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_duplicates_over_three_workers_publish_once() {
    let rig = Rig::new().await;
    let queue = embedded(LONG);
    let mut uploads = Vec::new();
    for number in 0..6 {
        uploads.push(rig.upload(format!("text {number}").as_bytes(), "note.txt", "text/plain").await);
    }
    // Every event twenty times, in an order without a pattern that is the same in every run.
    let mut order: Vec<usize> = (0..20 * uploads.len()).collect();
    order.sort_by_key(|number| number.wrapping_mul(7919) % 101);
    for number in order {
        let (_, event) = &uploads[number % uploads.len()];
        queue.send(&message(std::slice::from_ref(event))).await.unwrap();
    }
    let workers: Vec<_> = (1..=3)
        .map(|number| {
            let name = WorkerId::new(format!("worker-{number}"));
            let station = Arc::new(rig.station_with(|station| station.settings.worker_id = name));
            Running::start(&station, impatient(&queue), 4, LONG)
        })
        .collect();
    rig.until("all acknowledged", async |_| (queue.depth().ready + queue.depth().hidden == 0).then_some(())).await;
    for worker in workers {
        worker.drain().await;
    }
    assert_eq!(queue.depth().dead, 0);
    assert_eq!(rig.copies().len(), uploads.len());
    for (session, _) in &uploads {
        assert_eq!(rig.settlements(session).await.len(), 1);
        assert!(rig.state(session).await.published().is_some());
    }
    assert_eq!(rig.scanner.scans(), uploads.len(), "an object was scanned twice");
}

/// One record that fails keeps the message; the others are settled once.
#[tokio::test]
async fn a_message_comes_again_for_the_record_that_failed() {
    let rig = Rig::new().await;
    let (one, first) = rig.text().await;
    let (stuck, second) = rig.upload(b"no verdict", "note.txt", "text/plain").await;
    let (three, third) = rig.text().await;
    let queue = Arc::new(MemoryQueue::new());
    queue.push(message(&[first, second, third]));
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, LONG);
    let settled = queue.until_settled(1).await;
    worker.drain().await;
    assert!(matches!(settled[0].1, Settled::Returned(delay) if delay > Duration::ZERO), "{settled:?}");
    for session in [&one, &three] {
        assert!(rig.state(session).await.published().is_some());
    }
    assert_eq!(rig.state(&stuck).await, SessionState::Finalized);
    assert_eq!(rig.session(&stuck).await.attempts, 1);
}

#[tokio::test]
async fn what_is_not_understood_is_dead_lettered_once() {
    let rig = Rig::new().await;
    let queue = Arc::new(MemoryQueue::new());
    queue.push(b"\xff\xfe".to_vec());
    queue.push("garbage\n");
    queue.push("");
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, LONG);
    let settled = queue.until_settled(3).await;
    worker.drain().await;
    let dead = settled.iter().filter(|(_, settled)| matches!(settled, Settled::DeadLettered(_))).count();
    assert_eq!((dead, settled.len()), (2, 3), "{settled:?}");
}

/// Good records beside a bad one are worked on; the message goes to the dead letters for the bad one's sake.
#[tokio::test]
async fn a_bad_record_keeps_no_other() {
    let rig = Rig::new().await;
    let (session, good) = rig.text().await;
    let queue = Arc::new(MemoryQueue::new());
    queue.push(format!("garbage\n{}", message(&[good])));
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, LONG);
    let settled = queue.until_settled(1).await;
    worker.drain().await;
    assert!(matches!(&settled[0].1, Settled::DeadLettered(reason) if reason.contains("garbage")), "{settled:?}");
    assert!(rig.state(&session).await.published().is_some());
}

/// Nothing is taken while the scanner is away; when it is back, everything goes on by itself.
#[tokio::test]
async fn consumption_pauses_while_the_scanner_is_away() {
    let rig = Rig::new().await;
    let queue = embedded(LONG);
    let worker = Running::start(&rig.station, impatient(&queue), 2, LONG);
    let (first, event) = rig.text().await;
    queue.send(&message(&[event])).await.unwrap();
    rig.until("the first", async |rig| rig.state(&first).await.published().cloned()).await;
    rig.scanner.set_down(true);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let (session, event) = rig.text().await;
        queue.send(&message(&[event])).await.unwrap();
        waiting.push(session);
    }
    rig.until("the loss is noticed", async |rig| (rig.scanner.scans() > 1).then_some(())).await;
    let taken = rig.scanner.scans();
    assert!(taken <= 5, "{taken} objects were taken although the scanner was away");
    rig.scanner.set_down(false);
    for session in &waiting {
        rig.until("the others", async |rig| rig.state(session).await.published().cloned()).await;
        assert_eq!(rig.session(session).await.attempts, 1, "an outage burnt an attempt");
    }
    worker.drain().await;
}

/// A queue that answers when asked and fails when read must not be asked thousands of times a second.
#[tokio::test]
async fn a_queue_that_cannot_be_read_is_asked_ever_more_seldom() {
    let rig = Rig::new().await;
    let queue = Arc::new(MemoryQueue::new());
    queue.fail(QueueOperation::Receive, usize::MAX);
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, LONG);
    let began = Instant::now();
    rig.until("asked again", async |_| (queue.calls(QueueOperation::Receive) >= 4).then_some(())).await;
    // Three pauses, each at least half of 250, 500 and 1000 ms.
    assert!(began.elapsed() > Duration::from_millis(850), "{:?}", began.elapsed());
    worker.drain().await;
}

/// After the drain time-out the scan that hangs is cut off, its attempt given back and its message with it.
#[tokio::test]
async fn a_drain_gives_back_what_does_not_end() {
    let gate = Arc::new(Semaphore::new(0));
    let rig = Rig::new().await.with_scanner(MemoryScanner::clean(scanner_name()).with_gate(Arc::clone(&gate)));
    let (session, event) = rig.text().await;
    let (other, second) = rig.text().await;
    let queue = Arc::new(MemoryQueue::new());
    queue.push(message(&[event, second]));
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, Duration::from_millis(200));
    rig.until("scanning", async |rig| (rig.scanner.scans() == 1).then_some(())).await;
    assert_eq!(rig.session(&session).await.attempts, 1);
    let began = Instant::now();
    worker.drain().await;
    assert!(began.elapsed() < GIVE_BACK, "{:?}", began.elapsed());
    assert_eq!(queue.settled(), [("message-1".to_owned(), Settled::Returned(Duration::ZERO))]);
    assert_eq!(rig.session(&session).await.attempts, 0);
    let history = lazaret_core::ports::SessionStore::history(&*rig.sessions, session.upload_id).await.unwrap();
    assert_eq!(history.attempts[0].result.as_deref(), Some("given-back"));
    assert_eq!(rig.state(&other).await, SessionState::Created, "the second record was begun after the stop");
    // Another worker takes it at once, for the lease is over.
    gate.add_permits(1);
    let event = rig.put(&session, b"plain words");
    rig.pass(&event).await.unwrap();
    assert!(rig.state(&session).await.published().is_some());
}

/// A stop lets what can end end: nothing is cut off within the drain time-out.
#[tokio::test]
async fn a_drain_lets_work_end() {
    let gate = Arc::new(Semaphore::new(0));
    let rig = Rig::new().await.with_scanner(MemoryScanner::clean(scanner_name()).with_gate(Arc::clone(&gate)));
    let (session, event) = rig.text().await;
    let queue = Arc::new(MemoryQueue::new());
    queue.push(message(&[event]));
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, LONG);
    rig.until("scanning", async |rig| (rig.scanner.scans() == 1).then_some(())).await;
    worker.stop.cancel();
    gate.add_permits(1);
    worker.drain().await;
    assert!(rig.state(&session).await.published().is_some());
    assert_eq!(queue.settled(), [("message-1".to_owned(), Settled::Acknowledged)]);
}

/// The message is not acknowledged before the commit, and is after it.
#[tokio::test]
async fn a_delivery_is_kept_visible_and_acknowledged_last() {
    let gate = Arc::new(Semaphore::new(0));
    let rig = Rig::new().await.with_scanner(MemoryScanner::clean(scanner_name()).with_gate(Arc::clone(&gate)));
    let (session, event) = rig.text().await;
    let queue = Arc::new(MemoryQueue::new().with_visibility(Duration::from_millis(60)));
    queue.push(message(&[event]));
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, LONG);
    rig.until("extended", async |_| (queue.calls(QueueOperation::Extend) >= 3).then_some(())).await;
    assert!(queue.settled().is_empty());
    gate.add_permits(1);
    queue.until_settled(1).await;
    assert!(rig.state(&session).await.published().is_some(), "acknowledged before its commit");
    worker.drain().await;
}

/// One object that is held does not keep the next.
#[tokio::test]
async fn the_store_comes_back_and_so_does_the_work() {
    let rig = Rig::new().await;
    let (held, first) = rig.upload(b"encrypted", "note.txt", "text/plain").await;
    let (session, second) = rig.text().await;
    let queue = embedded(LONG);
    rig.store.outage(Some(Failure::Unavailable));
    queue.send(&message(&[first])).await.unwrap();
    queue.send(&message(&[second])).await.unwrap();
    let worker = Running::start(&rig.station, impatient(&queue), 2, LONG);
    rig.store.outage(None);
    rig.until("published", async |rig| rig.state(&session).await.published().cloned()).await;
    rig.until("drained", async |_| (queue.depth().ready + queue.depth().hidden == 0).then_some(())).await;
    worker.drain().await;
    assert_eq!(rig.state(&held).await, SessionState::Held(HoldReason::Encrypted));
    assert_eq!(rig.session(&session).await.attempts, 1);
}

/// Ten scans that never end: the drain takes its time-out and little more, and every attempt and message is back.
#[tokio::test]
async fn a_drain_ends_in_time_whatever_hangs() {
    let hanging = MemoryScanner::clean(scanner_name()).with_gate(Arc::new(Semaphore::new(0)));
    let rig = Rig::new().await.with_scanner(hanging);
    let queue = Arc::new(MemoryQueue::new());
    let mut sessions = Vec::new();
    for _ in 0..10 {
        let (session, event) = rig.text().await;
        queue.push(message(&[event]));
        sessions.push(session);
    }
    let drain_timeout = Duration::from_millis(500);
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 10, drain_timeout);
    rig.until("scanning", async |rig| (rig.scanner.scans() == 10).then_some(())).await;
    let began = Instant::now();
    worker.drain().await;
    let took = began.elapsed();
    println!("ten hanging scans were drained in {took:?} of {drain_timeout:?}");
    assert!(took < drain_timeout + GIVE_BACK, "{took:?}");
    let settled = queue.settled();
    assert_eq!(settled.len(), 10, "{settled:?}");
    assert!(settled.iter().all(|(_, settled)| *settled == Settled::Returned(Duration::ZERO)), "{settled:?}");
    for session in &sessions {
        assert_eq!(rig.session(session).await.attempts, 0);
    }
}

/// A call to the queue that is under way at the stop may end, and what it brings goes back at once. Then the queue is
/// told that nobody takes part any more.
#[tokio::test]
async fn a_stop_gives_back_what_is_still_on_its_way() {
    let rig = Rig::new().await;
    let queue = Arc::new(MemoryQueue::new());
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, LONG);
    rig.until("polling", async |_| (queue.calls(QueueOperation::Receive) == 1).then_some(())).await;
    let (session, event) = rig.text().await;
    worker.stop.cancel();
    queue.push(message(&[event]));
    worker.drain().await;
    assert_eq!(queue.settled(), [("message-1".to_owned(), Settled::Returned(Duration::ZERO))]);
    assert_eq!(queue.calls(QueueOperation::Pause), 1);
    assert_eq!(rig.state(&session).await, SessionState::Created);
}

/// A queue that never answers keeps no stop for longer than its grace.
#[tokio::test]
async fn a_stop_does_not_wait_for_a_poll_that_stays_empty() {
    let rig = Rig::new().await;
    let queue = Arc::new(MemoryQueue::new());
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, LONG);
    rig.until("polling", async |_| (queue.calls(QueueOperation::Receive) == 1).then_some(())).await;
    let began = Instant::now();
    worker.drain().await;
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    assert_eq!(queue.calls(QueueOperation::Pause), 1);
}
