//! What an object needs is away: consumption pauses, no attempt is burnt, and the work goes on by itself.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use lazaret_core::{
    Disposition, Finding, ObjectEvent, Session,
    ports::{Queue, SessionStore},
};
use lazaret_pipeline::{Passed, Worker, WorkerSettings};
use lazaret_queue::EmbeddedQueue;
use lazaret_testkit::{
    objects::{Effect, Failure, Fault, Operation},
    queue::{MemoryQueue, QueueOperation, Settled},
    scanners::MemoryScanner,
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    faulty::{End, Faults, Faulty, FaultyQueue, Strike},
    rig::{LONG, Rig, Running, bus, embedded, message, no_verdict, scanner_name},
};

/// Shorter than the outages here.
const LEASE: Duration = Duration::from_millis(600);

/// Takes a dependency down, or brings it back.
type Switch<'a> = Box<dyn Fn(bool) + 'a>;

async fn send(queue: &EmbeddedQueue, event: &ObjectEvent) {
    queue.send(&message(std::slice::from_ref(event))).await.unwrap();
}

async fn waiting(rig: &Rig, queue: &EmbeddedQueue, count: usize) -> Vec<Session> {
    let mut sessions = Vec::new();
    for number in 0..count {
        let (session, event) = rig.upload(format!("words {number}").as_bytes(), "note.txt", "text/plain").await;
        send(queue, &event).await;
        sessions.push(session);
    }
    sessions
}

/// Each dependency goes away under load for longer than a lease lasts. Nothing is dead-lettered, no attempt is burnt.
#[tokio::test(flavor = "multi_thread")]
async fn each_dependency_goes_away_and_comes_back() {
    let rig = Rig::new().await;
    let (database, broker) = (Faults::new(None), Faults::new(None));
    // What cannot be returned while the broker is away comes back when this has passed.
    let visibility = Duration::from_secs(2);
    let rig = rig.with(|station| {
        station.settings.lease = LEASE;
        station.sessions = Faulty::new(&database, Arc::clone(&station.sessions));
    });
    let queue = embedded(visibility);
    let faulty = FaultyQueue { faults: Arc::clone(&broker), inner: Arc::clone(&queue) as _ };
    let scanner = rig.scanner.clone().with_delay(Duration::from_millis(5));
    let rig = rig.with_scanner(scanner);
    let worker = Worker::new(
        Arc::clone(&rig.station),
        bus(Arc::new(faulty)),
        WorkerSettings { concurrency: 4, drain_timeout: LONG },
    );
    let availability = worker.availability();
    let running = Running::start_worker(worker);
    let mut all = Vec::new();
    let outages: [(&str, Switch<'_>); 4] = [
        ("scanner", Box::new(|down| rig.scanner.set_down(down))),
        ("database", Box::new(|down| database.set_down(down))),
        ("store", Box::new(|down| rig.store.outage(down.then_some(Failure::Unavailable)))),
        ("broker", Box::new(|down| broker.set_down(down))),
    ];
    for (name, set_down) in outages {
        let scans = rig.scanner.scans();
        all.extend(waiting(&rig, &queue, 50).await);
        rig.until(name, async |rig| (rig.scanner.scans() > scans + 5).then_some(())).await;
        set_down(true);
        rig.until(name, async |_| availability.is_paused().then_some(())).await;
        // The condition that is waited for is time itself: leases run out meanwhile.
        tokio::time::sleep(LEASE * 2).await;
        assert!(availability.is_paused(), "{name}: not paused");
        set_down(false);
        rig.until(name, async |_| {
            let depth = queue.depth();
            (depth.ready + depth.hidden == 0).then_some(())
        })
        .await;
        assert!(!availability.is_paused(), "{name}: still paused");
    }
    running.drain().await;
    assert_eq!(queue.depth().dead, 0);
    for session in &all {
        let session = rig.session(session).await;
        assert!(session.state.published().is_some(), "{:?}", session.state);
        assert_eq!(session.attempts, 1, "an outage burnt an attempt");
    }
}

/// The queue is told of a pause, so that nothing is hoarded, and readiness is gone at once.
#[tokio::test]
async fn the_queue_is_told_of_a_pause() {
    let rig = Rig::new().await;
    let queue = Arc::new(MemoryQueue::new());
    let settings = WorkerSettings { concurrency: 2, drain_timeout: LONG };
    let worker = Worker::new(Arc::clone(&rig.station), bus(Arc::clone(&queue) as _), settings);
    let availability = worker.availability();
    assert!(availability.is_paused(), "ready before anything was asked");
    let worker = Running::start_worker(worker);
    rig.until("ready", async |_| (!availability.is_paused()).then_some(())).await;
    let (_, event) = rig.text().await;
    rig.scanner.set_down(true);
    queue.push(message(&[event]));
    rig.until("paused", async |_| availability.is_paused().then_some(())).await;
    rig.until("polling", async |_| (queue.calls(QueueOperation::Receive) == 2).then_some(())).await;
    // What a call that was under way brings goes back unopened.
    let (other, event) = rig.text().await;
    let unopened = queue.push(message(&[event]));
    let settled = queue.until_settled(2).await;
    let returned = settled.iter().find(|(id, _)| *id == unopened).map(|(_, settled)| settled);
    assert!(matches!(returned, Some(Settled::Returned(delay)) if *delay > Duration::ZERO), "{settled:?}");
    rig.until("told", async |_| (queue.calls(QueueOperation::Pause) == 1).then_some(())).await;
    assert_eq!(rig.scanner.scans(), 1);
    let attempts = rig.sessions.history(other.upload_id).await.unwrap().attempts;
    assert!(attempts.is_empty(), "{attempts:?}");
    worker.drain().await;
}

/// While messages are long in coming a worker learns from its outbox that the database is away.
#[tokio::test]
async fn an_idle_worker_notices_that_the_database_is_away() {
    let rig = Rig::new().await;
    let database = Faults::new(None);
    let rig = rig.with(|station| station.sessions = Faulty::new(&database, Arc::clone(&station.sessions)));
    let queue = Arc::new(MemoryQueue::new());
    let settings = WorkerSettings { concurrency: 1, drain_timeout: LONG };
    let worker = Worker::new(Arc::clone(&rig.station), bus(Arc::clone(&queue) as _), settings);
    let availability = worker.availability();
    let worker = Running::start_worker(worker);
    rig.until("ready", async |_| (!availability.is_paused()).then_some(())).await;
    database.set_down(true);
    rig.until("paused", async |_| availability.is_paused().then_some(())).await;
    database.set_down(false);
    queue.push("");
    rig.until("ready again", async |_| (!availability.is_paused()).then_some(())).await;
    worker.drain().await;
}

/// The database goes away while a scan is under way, for longer than the lease. The attempt is given back nevertheless.
#[tokio::test]
async fn an_outage_longer_than_the_lease_burns_no_attempt() {
    let gate = Arc::new(Semaphore::new(0));
    let rig = Rig::new().await.with_scanner(MemoryScanner::clean(scanner_name()).with_gate(Arc::clone(&gate)));
    let database = Faults::new(None);
    let rig = rig.with(|station| {
        station.settings.lease = LEASE;
        station.sessions = Faulty::new(&database, Arc::clone(&station.sessions));
    });
    let (session, event) = rig.text().await;
    let queue = embedded(LONG);
    send(&queue, &event).await;
    let worker = Running::start(&rig.station, Arc::clone(&queue) as _, 1, LONG);
    rig.until("scanning", async |rig| (rig.scanner.scans() == 1).then_some(())).await;
    database.set_down(true);
    gate.add_permits(2);
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(rig.session(&session).await.attempts, 1);
    database.set_down(false);
    rig.until("published", async |rig| rig.state(&session).await.published().cloned()).await;
    worker.drain().await;
    assert_eq!(rig.session(&session).await.attempts, 1);
    let attempts = rig.sessions.history(session.upload_id).await.unwrap().attempts;
    let results: Vec<_> = attempts.iter().map(|attempt| attempt.result.as_deref()).collect();
    assert_eq!(results, [Some("given-back"), Some("committed")]);
}

/// The attempt was counted and its worker never learned of it: nobody works on it, so it does not count.
#[tokio::test]
async fn a_beginning_whose_answer_is_lost_is_taken_back() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    for side in [Effect::Before, Effect::After] {
        let lost = Strike { operation: "begin_attempt", nth: 0, side, end: End::Fails };
        let rig = rig.station_with(|station| {
            station.sessions = Faulty::new(&Faults::new(Some(lost)), Arc::clone(&station.sessions));
        });
        let passage = lazaret_pipeline::Passage::new(Arc::new(rig));
        let error = passage.pass(&event, &tokio_util::sync::CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.disposition(), Disposition::Unavailable);
    }
    assert_eq!(rig.session(&session).await.attempts, 0);
    // Not busy either: the lease is over.
    assert!(matches!(rig.pass(&event).await.unwrap(), Passed::Settled(_)));
    assert_eq!(rig.session(&session).await.attempts, 1);
    assert_eq!(rig.scanner.scans(), 1);
}

/// The database commits the beginning only after its caller was told of an outage, as one does that was frozen.
#[tokio::test]
async fn a_beginning_that_is_still_on_its_way_is_waited_for_and_taken_back() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    let database = Faults::new(None);
    let rig = rig.with(|station| station.sessions = Faulty::new(&database, Arc::clone(&station.sessions)));
    for _ in 0..5 {
        database.answer_too_early();
        assert_eq!(rig.pass(&event).await.unwrap_err().disposition(), Disposition::Unavailable);
    }
    assert!(matches!(rig.pass(&event).await.unwrap(), Passed::Settled(_)));
    let attempts = rig.sessions.history(session.upload_id).await.unwrap().attempts;
    let results: Vec<_> = attempts.iter().map(|attempt| attempt.result.as_deref()).collect();
    let back = Some("given-back");
    assert_eq!(results, [back, back, back, back, back, Some("committed")]);
    assert_eq!(rig.session(&session).await.attempts, 1);
}

/// Where the database is there and one attempt cannot be given back all the same, that holds its slot for a while only.
#[tokio::test]
async fn an_attempt_that_cannot_be_given_back_keeps_its_slot_for_a_while_only() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    let database = Faults::new(None);
    database.break_down("give_back");
    let rig = rig.with(|station| station.sessions = Faulty::new(&database, Arc::clone(&station.sessions)));
    rig.scanner.set_down(true);
    let error = timeout(LONG, rig.pass(&event)).await.expect("it is held for ever").unwrap_err();
    assert_eq!(error.disposition(), Disposition::Unavailable);
    assert_eq!(rig.session(&session).await.attempts, 1, "it counts");
}

/// A scanner that dies in the middle of a scan answers something that is no verdict. That is not the object's fault.
#[tokio::test]
async fn a_scanner_that_dies_in_a_scan_burns_no_attempt() {
    let itself = Arc::new(OnceLock::<MemoryScanner>::new());
    let seen = Arc::clone(&itself);
    let scanner = MemoryScanner::new(scanner_name(), move |_| match seen.get() {
        Some(scanner) if scanner.scans() == 1 => {
            scanner.set_down(true);
            Err(no_verdict())
        }
        _ => Ok(Finding::Clean),
    });
    itself.set(scanner.clone()).unwrap();
    let rig = Rig::new().await.with_scanner(scanner);
    let (session, event) = rig.text().await;
    assert_eq!(rig.pass(&event).await.unwrap_err().disposition(), Disposition::Unavailable);
    assert_eq!(rig.session(&session).await.attempts, 0);
    rig.scanner.set_down(false);
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, b"plain words");
}

/// Nor is a body that breaks off as the store goes away.
#[tokio::test]
async fn a_store_that_dies_in_a_body_burns_no_attempt() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    rig.store.fault(Operation::Fetch, Fault::Fail(Effect::Before, Failure::Body));
    rig.store.fault(Operation::Check, Fault::Fail(Effect::Before, Failure::Unavailable));
    assert_eq!(rig.pass(&event).await.unwrap_err().disposition(), Disposition::Unavailable);
    assert_eq!(rig.session(&session).await.attempts, 0);
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, b"plain words");
}
