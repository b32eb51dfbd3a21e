//! A worker is paused in the middle of a publish for longer than its lease, others decide, its copy comes late, and it dies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lazaret_core::{
    Finding, HoldReason, ObjectEvent, Session, StateName, VersionId,
    ports::{ObjectStore, SessionStore},
};
use lazaret_pipeline::{Passage, Passed, SweepReport, Sweeper, SweptWhat};
use lazaret_testkit::{
    objects::{Effect, Fault, MemoryObjectStore, Operation},
    scanners::MemoryScanner,
    transformer::MemoryTransformer,
};
use tokio_util::sync::CancellationToken;

use crate::{
    faulty::{End, Faults, Faulty, Strike},
    rig::{BUCKET, PUBLISHED, Rig, a_png, named, scanner_name},
};

const GRACE: Duration = Duration::from_hours(1);

impl Rig {
    async fn sweep_late(&self, dry_run: bool) -> SweepReport {
        Sweeper::new(Arc::clone(&self.station), GRACE).sweep(dry_run).await.unwrap()
    }

    /// The late worker, with everything that `others` do while it is paused. Its copy lands behind that, and then it dies.
    async fn publishes_late(&self, event: &ObjectEvent, others: impl AsyncFn(&Self)) {
        let (reached, go_on) = (Arc::default(), Arc::default());
        let hold = Fault::Hold { at: Effect::Before, reached: Arc::clone(&reached), go_on: Arc::clone(&go_on) };
        self.store.fault(Operation::Publish, hold);
        let strike = |operation, nth| Some(Strike { operation, nth, side: Effect::Before, end: End::Dies });
        // The renewal before the copy goes through; the next one hangs, as on a machine that was put to sleep.
        let (hangs, dies) = (Faults::new(strike("renew_lease", 1)), Faults::new(strike("read_back", 0)));
        let station = self.station_with(|station| {
            station.settings.lease = Duration::from_millis(300);
            station.sessions = Faulty::new(&hangs, Arc::clone(&station.sessions));
            station.store = Faulty::new(&dies, Arc::clone(&station.store));
        });
        let (passage, stop) = (Passage::new(Arc::new(station)), CancellationToken::new());
        let others = async {
            reached.notified().await;
            others(self).await;
            go_on.notify_one();
            dies.died.notified().await;
        };
        tokio::select! {
            passed = passage.pass(event, &stop) => panic!("it was to die: {passed:?}"),
            () = others => {}
        }
    }

    /// Another worker takes the lapsed lease over and ends the session.
    async fn takes_over(&self, event: &ObjectEvent) {
        self.until("taken over", async |rig| match rig.pass(event).await.unwrap() {
            Passed::Busy(_) => None,
            Passed::Settled(_) | Passed::Exhausted => Some(()),
            passed => panic!("{passed:?}"),
        })
        .await;
    }

    /// The one copy of the session's object that its state does not name.
    async fn late_copy(&self, session: &Session) -> String {
        let state = self.state(session).await;
        let named = state.published().map(named).unwrap_or_default();
        let mut late = self.copies();
        late.retain(|key| !named.contains(key));
        let [late] = late.try_into().expect("one late copy, or the case is not what it says");
        late
    }

    async fn versions(&self, copy: &str) -> Vec<VersionId> {
        self.store.versions(&PUBLISHED.parse().unwrap(), &copy.parse().unwrap()).await.unwrap()
    }

    /// A dry run tells of the late copy and leaves it, a sweep takes it and nothing else, the next has nothing to do.
    async fn is_swept_of(&self, session: &Session, late: &str) {
        let before = (self.copies(), self.store.keys(BUCKET));
        for dry_run in [true, false] {
            assert_eq!((self.copies(), self.store.keys(BUCKET)), before, "a dry run changes nothing");
            let [swept] = self.sweep_late(dry_run).await.swept.try_into().expect("one thing is swept");
            assert_eq!((swept.what, swept.what.as_str()), (SweptWhat::LateCopy, "late-copy"));
            assert_eq!((swept.bucket.as_str(), swept.key.as_str()), (PUBLISHED, late));
            assert_eq!(swept.upload_id, Some(session.upload_id));
        }
        let mut expected = before.0;
        expected.retain(|key| key != late);
        assert_eq!((self.copies(), self.store.keys(BUCKET)), (expected, before.1));
        assert!(self.versions(late).await.is_empty(), "versions or delete markers are left");
        assert_eq!(self.sweep_late(false).await.swept, []);
    }
}

fn stores() -> [MemoryObjectStore; 2] {
    let store = || MemoryObjectStore::new(&[BUCKET, PUBLISHED]);
    [store(), store().with_versioning()]
}

/// Clean to the first who asks.
fn turncoat(then: Finding) -> MemoryScanner {
    let said = AtomicUsize::new(0);
    MemoryScanner::new(scanner_name(), move |_| {
        Ok(if said.fetch_add(1, Ordering::SeqCst) == 0 { Finding::Clean } else { then.clone() })
    })
}

#[tokio::test]
async fn a_rejected_upload_has_none() {
    for store in stores() {
        let infected = Finding::Infected { signature: "Eicar".to_owned() };
        let rig = Rig::over(store).await.with_scanner(turncoat(infected));
        let (session, event) = rig.text().await;
        rig.publishes_late(&event, async |rig| rig.takes_over(&event).await).await;
        assert_eq!(rig.state(&session).await.name(), StateName::Rejected);
        let late = rig.late_copy(&session).await;
        rig.is_swept_of(&session, &late).await;
        assert!(rig.copies().is_empty());
    }
}

#[tokio::test]
async fn a_published_upload_has_the_one_it_names() {
    for store in stores() {
        let rig = Rig::over(store).await.with_transformer(MemoryTransformer::restless_png());
        let (session, event) = rig.upload(&a_png(), "a.png", "image/png").await;
        rig.publishes_late(&event, async |rig| rig.takes_over(&event).await).await;
        let late = rig.late_copy(&session).await;
        assert!(rig.store.object(PUBLISHED, &late).unwrap().bytes.unwrap().ends_with(b"call 1"));
        rig.is_swept_of(&session, &late).await;
        assert!(rig.published(&session).await.ends_with(b"call 2"));
    }
}

/// What was late is the first variant of an attempt that never came to the others.
#[tokio::test]
async fn a_variant_may_come_late() {
    for store in stores() {
        let rig = Rig::over(store).await.with_variants(&["thumb", "web"]);
        let rig = rig.with_transformer(MemoryTransformer::restless_png());
        let (session, event) = rig.upload(&a_png(), "a.png", "image/png").await;
        rig.publishes_late(&event, async |rig| rig.takes_over(&event).await).await;
        let late = rig.late_copy(&session).await;
        assert!(rig.store.object(PUBLISHED, &late).unwrap().bytes.unwrap().ends_with(b"call 1 as thumb"));
        rig.is_swept_of(&session, &late).await;
        assert!(rig.published(&session).await.ends_with(b"call 2"));
        assert_eq!(rig.copies().len(), 3);
    }
}

/// The late copy is the very one that the session names: it came twice, and stays.
#[tokio::test]
async fn the_same_copy_may_come_late() {
    for store in stores() {
        let rig = Rig::over(store).await;
        let (session, event) = rig.text().await;
        rig.publishes_late(&event, async |rig| rig.takes_over(&event).await).await;
        assert_eq!(rig.sweep_late(false).await.swept, []);
        assert_eq!(rig.published(&session).await, b"plain words");
    }
}

/// The first attempt was the last one allowed, or its session expired: nobody raised the fence again.
#[tokio::test]
async fn a_copy_under_the_newest_fence_may_be_late_as_well() {
    let rig = Rig::new().await.with(|station| station.settings.max_attempts = 1);
    let (session, event) = rig.text().await;
    rig.publishes_late(&event, async |rig| rig.takes_over(&event).await).await;
    assert_eq!(rig.state(&session).await.name(), StateName::Held);
    let late = rig.late_copy(&session).await;
    rig.is_swept_of(&session, &late).await;

    let rig = Rig::new().await;
    let new = lazaret_core::NewSession {
        expires_in: Duration::ZERO,
        ..crate::rig::new_session(b"plain words", "note.txt", "text/plain")
    };
    let session = rig.sessions.create(&new).await.unwrap();
    let event = rig.put(&session, b"plain words");
    let expires = async |rig: &Rig| {
        ObjectStore::delete(&*rig.store, &session.bucket, session.key.as_key(), None).await.unwrap();
        rig.until("expired", async |rig| {
            rig.sweep_late(false).await;
            rig.state(&session).await.is_settled().then_some(())
        })
        .await;
    };
    rig.publishes_late(&event, expires).await;
    assert_eq!(rig.state(&session).await.name(), StateName::Expired);
    let late = rig.late_copy(&session).await;
    rig.is_swept_of(&session, &late).await;
}

/// A held upload with a late copy.
async fn held() -> (Rig, Session, ObjectEvent) {
    let reason = HoldReason::ScanLimits;
    let held = Finding::Unscannable { reason, detail: "told to".to_owned() };
    let rig = Rig::new().await.with_scanner(turncoat(held));
    let (session, event) = rig.text().await;
    rig.publishes_late(&event, async |rig| rig.takes_over(&event).await).await;
    assert_eq!(rig.state(&session).await.name(), StateName::Held);
    (rig, session, event)
}

#[tokio::test]
async fn a_held_upload_has_none() {
    let (rig, session, _) = held().await;
    let late = rig.late_copy(&session).await;
    rig.is_swept_of(&session, &late).await;
}

/// Released, the upload is published by a newer attempt, under the name of the late copy. A sweep beside it leaves it alone.
#[tokio::test]
async fn the_copy_of_a_live_attempt_stays() {
    let (rig, session, event) = held().await;
    rig.sessions.release(session.upload_id, "alice").await.unwrap();
    let (reached, go_on) = (Arc::default(), Arc::default());
    let hold = Fault::Hold { at: Effect::After, reached: Arc::clone(&reached), go_on: Arc::clone(&go_on) };
    rig.store.fault(Operation::Publish, hold);
    let sweep = async {
        reached.notified().await;
        assert_eq!(rig.sweep_late(false).await.swept, []);
        go_on.notify_one();
    };
    let (passed, ()) = tokio::join!(rig.pass(&event), sweep);
    assert!(matches!(passed.unwrap(), Passed::Settled(_)));
    assert_eq!(rig.sweep_late(false).await.swept, []);
    assert_eq!(rig.published(&session).await, b"plain words");
}

/// The upload is released, and published again, when the sweep has seen its copy and not deleted it yet.
#[tokio::test]
async fn a_copy_is_asked_about_again_before_it_goes() {
    let (rig, session, event) = held().await;
    let (reached, go_on) = (Arc::default(), Arc::default());
    let hold = Fault::Hold { at: Effect::After, reached: Arc::clone(&reached), go_on: Arc::clone(&go_on) };
    rig.store.fault(Operation::List, hold);
    let release = async {
        reached.notified().await;
        rig.sessions.release(session.upload_id, "alice").await.unwrap();
        assert!(matches!(rig.pass(&event).await.unwrap(), Passed::Settled(_)));
        go_on.notify_one();
    };
    let (report, ()) = tokio::join!(rig.sweep_late(false), release);
    assert_eq!(report.swept, []);
    assert_eq!(rig.published(&session).await, b"plain words");
}

/// What was settled by its first attempt costs the sweep no listing: there may be millions.
#[tokio::test]
async fn only_contested_sessions_are_listed() {
    let rig = Rig::new().await;
    for _ in 0..5 {
        let (_, event) = rig.text().await;
        rig.pass(&event).await.unwrap();
    }
    let listings = rig.store.calls(Operation::List);
    assert_eq!(rig.sweep_late(false).await.swept, []);
    assert_eq!(rig.store.calls(Operation::List), listings + 1, "the quarantine, and nothing else");
    assert_eq!(rig.copies().len(), 5);
}

/// One copy that the store will not let go of keeps no other, nor the rest of the sweep.
#[tokio::test]
async fn what_cannot_be_withdrawn_keeps_no_other() {
    let rig = Rig::new().await.with(|station| station.settings.max_attempts = 1);
    for _ in 0..2 {
        let (_, event) = rig.text().await;
        rig.publishes_late(&event, async |rig| rig.takes_over(&event).await).await;
    }
    rig.store.put(BUCKET, "quarantine/nobody", b"an orphan of 1970");
    assert_eq!(rig.copies().len(), 2);
    rig.store.fault(Operation::Delete, Fault::Fail(Effect::Before, lazaret_testkit::objects::Failure::Refused));
    Sweeper::new(Arc::clone(&rig.station), GRACE).sweep(false).await.expect_err("a deletion failed");
    assert_eq!(rig.copies().len(), 1);
    assert!(rig.store.object(BUCKET, "quarantine/nobody").is_none());
    rig.sweep_late(false).await;
    assert!(rig.copies().is_empty());
}
