//! What lies in the quarantine and waits for nobody is found and put on its way.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use lazaret_core::{
    Session, WorkerId,
    ports::{OutboxKind, SessionStore},
};
use lazaret_pipeline::{Progress, ReconcileCounts, ReconcileSettings, Reconciled, Reconciler};
use lazaret_testkit::objects::Effect;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    faulty::{End, Faults, Faulty, Strike},
    rig::{BUCKET, LONG, Rig, Running, embedded, new_session},
};

fn settings() -> ReconcileSettings {
    ReconcileSettings {
        prefix: None,
        objects_per_second: None,
        lookups: 4.try_into().unwrap(),
        grace: Duration::ZERO,
        dry_run: false,
    }
}

impl Rig {
    async fn reconcile(&self, settings: ReconcileSettings) -> Reconciled {
        let reconciler = Reconciler::new(Arc::clone(&self.station), settings);
        reconciler.run(None, &CancellationToken::new(), &mut |_| ()).await.unwrap()
    }

    /// An upload whose event was lost.
    async fn forgotten(&self) -> Session {
        self.text().await.0
    }

    async fn requests(&self) -> usize {
        self.sessions.claim_outbox(OutboxKind::Process, 100, Duration::ZERO).await.unwrap().len()
    }
}

#[tokio::test]
async fn each_kind_is_counted_and_what_was_forgotten_is_published() {
    let rig = Rig::new().await;
    let forgotten = [rig.forgotten().await, rig.forgotten().await, rig.forgotten().await];
    let (_, event) = rig.upload(b"encrypted", "note.txt", "text/plain").await;
    rig.pass(&event).await.unwrap();
    let busy = rig.forgotten().await;
    rig.sessions.begin_attempt(busy.upload_id, &WorkerId::new("other"), LONG, 3, true).await.unwrap();
    for number in 0..4 {
        rig.store.put(BUCKET, &format!("quarantine/{number}"), b"nobody's");
    }
    // Without an object there is nothing to ask for.
    rig.sessions.create(&new_session(b"plain words", "note.txt", "text/plain")).await.unwrap();

    let expected =
        ReconcileCounts { seen: 9, requested: 3, waiting: 1, settled: 1, orphans: 4, ..ReconcileCounts::default() };
    let dry = rig.reconcile(ReconcileSettings { dry_run: true, ..settings() }).await;
    // A dry run does not ask, so it does not learn who is in work.
    assert_eq!(dry.progress.counts, ReconcileCounts { requested: 4, waiting: 0, ..expected });
    assert_eq!(rig.requests().await, 0);

    let done = rig.reconcile(settings()).await;
    assert!(done.complete);
    assert_eq!(done.progress.counts, expected);
    let again = rig.reconcile(settings()).await;
    assert_eq!(again.progress.counts, ReconcileCounts { requested: 0, waiting: 4, ..expected });
    assert_eq!(rig.requests().await, 3);
    let worker = Running::start(&rig.station, embedded(LONG) as _, 2, LONG);
    for session in &forgotten {
        rig.until("published", async |rig| rig.state(session).await.published().cloned()).await;
    }
    worker.drain().await;
}

/// A stop says where to go on, and going on there sees the rest and nothing twice.
#[tokio::test]
async fn a_stop_tells_where_to_go_on() {
    let rig = Rig::new().await;
    for _ in 0..11 {
        rig.forgotten().await;
    }
    let reconciler = Reconciler::new(Arc::clone(&rig.station), settings());
    let stop = CancellationToken::new();
    let mut last_told = Progress::default();
    let mut report = |progress: &Progress| {
        assert!(progress.last > last_told.last, "out of order");
        last_told = progress.clone();
        if progress.counts.seen == 5 {
            stop.cancel();
        }
    };
    let stopped = reconciler.run(None, &stop, &mut report).await.unwrap();
    assert!(!stopped.complete);
    assert_eq!(stopped.progress, last_told);
    let first = stopped.progress.counts.seen;
    assert!((5..11).contains(&first), "{first} before the stop took effect");
    let rest = reconciler.run(stopped.progress.last.as_ref(), &CancellationToken::new(), &mut |_| ()).await.unwrap();
    assert!(rest.complete);
    assert_eq!((rest.progress.counts.seen, rest.progress.counts.requested), (11 - first, 11 - first));
    assert_eq!(rig.requests().await, 11);
}

#[tokio::test]
async fn it_keeps_to_its_rate() {
    let rig = Rig::new().await;
    for _ in 0..11 {
        rig.forgotten().await;
    }
    let began = Instant::now();
    rig.reconcile(ReconcileSettings { objects_per_second: NonZeroU32::new(50), ..settings() }).await;
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}

/// What was written a moment ago is left to its event; so is what is to be finalized to whoever does that.
#[tokio::test]
async fn what_is_on_its_way_is_left_alone() {
    let rig = Rig::new().await.with(|station| station.settings.require_finalize = true);
    rig.store.set_now(rig.sessions.now().await.unwrap());
    let (waits, _) = rig.text().await;
    rig.sessions.mark_uploaded(waits.upload_id, "worker-1").await.unwrap();
    rig.forgotten().await;
    let young = rig.reconcile(ReconcileSettings { grace: LONG, ..settings() }).await.progress.counts;
    assert_eq!((young.seen, young.young), (2, 2));
    let old = rig.reconcile(settings()).await.progress.counts;
    assert_eq!((old.seen, old.awaiting_finalize, old.requested), (2, 1, 1));
}

/// The database fails in the middle, before or after the request took effect: the error comes out, and the next run
/// asks for everything once.
#[tokio::test]
async fn an_outage_in_the_middle_asks_for_nothing_twice() {
    for side in [Effect::Before, Effect::After] {
        let rig = Rig::new().await;
        for _ in 0..7 {
            rig.forgotten().await;
        }
        let lost = Strike { operation: "request_processing", nth: 4, side, end: End::Fails };
        let station = rig.station_with(|station| {
            station.sessions = Faulty::new(&Faults::new(Some(lost)), Arc::clone(&station.sessions));
        });
        let reconciler = Reconciler::new(Arc::new(station), settings());
        let mut done = None;
        let mut report = |progress: &Progress| done.clone_from(&progress.last);
        reconciler.run(None, &CancellationToken::new(), &mut report).await.unwrap_err();
        let went_on = reconciler.run(done.as_ref(), &CancellationToken::new(), &mut |_| ()).await.unwrap();
        assert!(went_on.complete);
        assert_eq!(rig.requests().await, 7, "{side:?}");
    }
}
