//! An object that fails or kills its worker ends held after exactly so many attempts, and the others go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lazaret_core::{
    Disposition, Finding, HoldReason, ScannerName, Session, SessionState, WorkerId,
    ports::{Queue, ScanError, SessionStore},
};
use lazaret_pipeline::Passed;
use lazaret_testkit::scanners::MemoryScanner;
use tokio_util::sync::CancellationToken;

use crate::{
    faulty::{Faults, FaultyQueue},
    rig::{LONG, Rig, Running, embedded, message, scanner_name},
};

const TRAP: &[u8] = b"a trap";

/// A scanner that does `what` when it meets the trap, and counts how often it did.
fn trapped(
    what: impl Fn(&ScannerName) -> Result<Finding, ScanError> + Send + Sync + 'static,
) -> (MemoryScanner, Arc<AtomicUsize>) {
    let met = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&met);
    let scanner = MemoryScanner::new(scanner_name(), move |bytes| {
        if bytes != TRAP {
            return Ok(Finding::Clean);
        }
        counted.fetch_add(1, Ordering::SeqCst);
        what(&scanner_name())
    });
    (scanner, met)
}

async fn attempts_of(rig: &Rig, session: &Session) -> usize {
    rig.sessions.history(session.upload_id).await.unwrap().attempts.len()
}

/// Sends a trap among others through one worker, and gives the trap's session when it has ended.
async fn a_trap_among_others(rig: &Rig) -> Session {
    let queue = embedded(LONG);
    let impatient = FaultyQueue { faults: Faults::new(None), inner: Arc::clone(&queue) as _ };
    let (trap, event) = rig.upload(TRAP, "note.txt", "text/plain").await;
    let mut others = Vec::new();
    queue.send(&message(&[event])).await.unwrap();
    for _ in 0..5 {
        let (session, event) = rig.text().await;
        queue.send(&message(&[event])).await.unwrap();
        others.push(session);
    }
    let worker = Running::start(&rig.station, Arc::new(impatient), 2, LONG);
    for session in &others {
        rig.until("the others", async |rig| rig.state(session).await.published().cloned()).await;
    }
    rig.until("the trap", async |rig| rig.state(&trap).await.is_settled().then_some(())).await;
    rig.until("no message left", async |_| {
        let depth = queue.depth();
        (depth.ready + depth.hidden == 0).then_some(())
    })
    .await;
    worker.drain().await;
    rig.session(&trap).await
}

#[tokio::test]
async fn panics_are_attempts() {
    let (scanner, met) = trapped(|_| panic!("as told"));
    let rig = Rig::new().await.with_scanner(scanner);
    let trap = a_trap_among_others(&rig).await;
    assert_eq!(trap.state, SessionState::Held(HoldReason::AttemptsExhausted));
    assert_eq!((met.load(Ordering::SeqCst), attempts_of(&rig, &trap).await), (3, 3));
    assert!(trap.detail.unwrap().contains("its work broke off: as told"));
}

/// The last one holds it by the scanner's name.
#[tokio::test]
async fn time_outs_are_attempts() {
    let late = |scanner: &ScannerName| {
        Err(ScanError::DeadlineExceeded { scanner: scanner.clone(), deadline: Duration::from_secs(1) })
    };
    let (scanner, met) = trapped(late);
    let rig = Rig::new().await.with_scanner(scanner);
    let trap = a_trap_among_others(&rig).await;
    assert_eq!(trap.state, SessionState::Held(HoldReason::ScannerError));
    assert_eq!((met.load(Ordering::SeqCst), attempts_of(&rig, &trap).await), (3, 3));
}

/// The process dies each time in the middle of the scan, under another name each time.
#[tokio::test]
async fn deaths_are_attempts() {
    let rig = Rig::new().await;
    let hanging = MemoryScanner::clean(scanner_name()).with_delay(LONG);
    let rig = rig.with_scanner(hanging).with(|station| station.settings.lease = Duration::from_millis(300));
    let (trap, event) = rig.upload(TRAP, "note.txt", "text/plain").await;
    let queue = embedded(Duration::from_millis(300));
    queue.send(&message(&[event])).await.unwrap();
    for death in 1..=3 {
        let station =
            Arc::new(rig.station_with(|station| station.settings.worker_id = WorkerId::new(format!("worker-{death}"))));
        let impatient = FaultyQueue { faults: Faults::new(None), inner: Arc::clone(&queue) as _ };
        let worker = Running::start(&station, Arc::new(impatient), 1, LONG);
        rig.until("scanning", async |rig| (rig.scanner.scans() == death).then_some(())).await;
        worker.kill().await;
    }
    let impatient = FaultyQueue { faults: Faults::new(None), inner: Arc::clone(&queue) as _ };
    let last = Running::start(&rig.station, Arc::new(impatient), 1, LONG);
    let dead = rig.until("dead-lettered", async |_| queue.dead_letters().pop()).await;
    last.drain().await;
    assert_eq!(dead.reason, "attempts-exhausted");
    assert_eq!(rig.state(&trap).await, SessionState::Held(HoldReason::AttemptsExhausted));
    assert_eq!((rig.scanner.scans(), attempts_of(&rig, &trap).await), (3, 3));
}

/// What is away for one object only, again and again while others get through, is that object's own matter: it neither
/// pauses the others for ever nor comes for ever.
#[tokio::test]
async fn an_outage_of_one_object_is_its_own() {
    let away = |scanner: &ScannerName| {
        let source = "it went down over this".into();
        Err(ScanError::Unavailable { scanner: scanner.clone(), address: "memory".to_owned(), source })
    };
    let (scanner, met) = trapped(away);
    let rig = Rig::new().await.with_scanner(scanner);
    let (trap, event) = rig.upload(TRAP, "note.txt", "text/plain").await;
    let passage = rig.passage();
    let stop = CancellationToken::new();
    let mut outages = 0;
    loop {
        match passage.pass(&event, &stop).await {
            Ok(passed) => {
                assert_eq!(passed, Passed::Exhausted);
                break;
            }
            Err(error) if error.disposition() == Disposition::Unavailable => outages += 1,
            Err(error) => assert_eq!(error.disposition(), Disposition::Retry, "{error}"),
        }
        let (_, other) = rig.text().await;
        assert!(matches!(passage.pass(&other, &stop).await.unwrap(), Passed::Settled(_)));
    }
    assert_eq!(rig.state(&trap).await, SessionState::Held(HoldReason::AttemptsExhausted));
    assert_eq!((outages, met.load(Ordering::SeqCst)), (6, 9), "two outages and one failure for each attempt");
}
