//! The sweeper: what it takes, what it leaves, and what it does beside others.

use std::{sync::Arc, time::Duration};

use lazaret_core::{
    NewSession, ObjectEvent, QuarantineKey, RejectReason, Session, Sha256Digest, StateName, Timestamp, WorkerId,
    ports::{Begun, ObjectStore, Recheck, Revocation, SessionStore},
};
use lazaret_pipeline::{Passed, SweepReport, Sweeper, SweptWhat};
use lazaret_testkit::{
    objects::{Effect, Failure, Fault, MemoryObjectStore, Operation},
    scanners::eicar,
};

use crate::rig::{BUCKET, LONG, PUBLISHED, Rig, event_of, new_session};

const GRACE: Duration = Duration::from_hours(1);

impl Rig {
    async fn sweep(&self, dry_run: bool) -> SweepReport {
        Sweeper::new(Arc::clone(&self.station), GRACE).sweep(dry_run).await.unwrap()
    }

    /// A session whose time is over.
    async fn overdue(&self) -> Session {
        let new = NewSession { expires_in: Duration::ZERO, ..new_session(b"plain words", "note.txt", "text/plain") };
        self.sessions.create(&new).await.unwrap()
    }

    /// One whose key is no place that clients upload to.
    async fn overdue_elsewhere(&self, bucket: &str, prefix: &str) -> Session {
        let new = NewSession { expires_in: Duration::ZERO, ..new_session(b"plain words", "note.txt", "text/plain") };
        let key = QuarantineKey::for_upload(&prefix.parse().unwrap(), new.upload_id);
        let new = NewSession { bucket: bucket.parse().unwrap(), key, ..new };
        self.sessions.create(&new).await.unwrap()
    }

    async fn now(&self) -> Timestamp {
        self.sessions.now().await.unwrap()
    }

    async fn is(&self, session: &Session) -> StateName {
        self.state(session).await.name()
    }

    fn has(&self, session: &Session) -> bool {
        self.store.object(BUCKET, session.key.as_key().as_str()).is_some()
    }
}

fn kinds(report: &SweepReport) -> Vec<SweptWhat> {
    report.swept.iter().map(|swept| swept.what).collect()
}

#[tokio::test]
async fn each_kind_is_swept_and_a_dry_run_changes_nothing() {
    let rig = Rig::new().await.with(|station| station.settings.retain_rejected = Duration::ZERO);
    let never_used = rig.overdue().await;
    let lost_event = rig.overdue().await;
    rig.put(&lost_event, b"plain words");
    let (rejected, event) = rig.upload(&eicar(), "note.txt", "text/plain").await;
    // An attempt that nobody knows the end of, and what it may have left.
    let dead = WorkerId::new("dead");
    rig.sessions.begin_attempt(rejected.upload_id, &dead, Duration::ZERO, 3, true).await.unwrap();
    rig.pass(&event).await.unwrap();
    rig.store.put(PUBLISHED, &format!("published/{}/digest", rejected.object_id), b"a late copy");
    // A revocation that was cut off behind its commit.
    let (revoked, event) = rig.text().await;
    rig.pass(&event).await.unwrap();
    let (sha256, detail) = (Sha256Digest::from_bytes([7; 32]), "blocked".to_owned());
    let found = Recheck { policy: None, sha256, reports: Vec::new(), detail };
    let revocation = Revocation { reason: RejectReason::Blocked, found };
    rig.sessions.revoke(revoked.upload_id, "alice", &revocation).await.unwrap();
    rig.store.put(BUCKET, "quarantine/nobody", b"an orphan of 1970");
    rig.store.begin_upload(BUCKET, "quarantine/nobody-either");
    let deletions = rig.store.calls(Operation::Delete);
    let expected = [
        SweptWhat::ExpiredSession,
        SweptWhat::RecoveredSession,
        SweptWhat::RevokedCopy,
        SweptWhat::LateCopy,
        SweptWhat::Original,
        SweptWhat::Orphan,
        SweptWhat::MultipartUpload,
    ];
    let before = rig.store.keys(BUCKET);
    assert_eq!(kinds(&rig.sweep(true).await), expected);
    assert!(SweptWhat::ALL.iter().all(|what| expected.contains(what)), "a kind is not tried");
    assert_eq!(rig.store.keys(BUCKET), before);
    assert_eq!(rig.copies().len(), 2);
    assert_eq!(rig.is(&never_used).await, StateName::Created);
    assert_eq!((rig.store.calls(Operation::Delete), rig.store.calls(Operation::AbortUpload)), (deletions, 0));

    let mut swept = kinds(&rig.sweep(false).await);
    // The session that has just expired leaves a record of its original behind, to be ticked off.
    swept.dedup();
    assert_eq!(swept, expected);
    assert_eq!(rig.is(&never_used).await, StateName::Expired);
    assert_eq!(rig.is(&lost_event).await, StateName::Finalized);
    assert!(rig.has(&lost_event) && !rig.has(&rejected));
    assert_eq!(rig.store.keys(BUCKET), [lost_event.key.to_string()]);
    assert!(rig.copies().is_empty());
    assert!(rig.session(&rejected).await.original_deleted_at.is_some());
    assert_eq!(kinds(&rig.sweep(false).await), []);
}

#[tokio::test]
async fn what_is_in_progress_is_left_alone() {
    let rig = Rig::new().await;
    rig.store.set_now(rig.now().await);
    // A client that is still uploading, beyond its time but not beyond the grace.
    let uploading = rig.overdue().await;
    rig.store.begin_upload(BUCKET, uploading.key.as_key().as_str());
    // Under a live lease.
    let leased = rig.overdue().await;
    let begun = rig.sessions.begin_attempt(leased.upload_id, &WorkerId::new("other"), LONG, 3, true).await.unwrap();
    assert!(matches!(begun, Begun::Leased { .. }));
    // Finalized, with its object.
    let finalized = rig.overdue().await;
    rig.sessions.finalize(finalized.upload_id, "alice").await.unwrap();
    rig.put(&finalized, b"plain words");
    // Rejected a moment ago, held, in time, and an orphan that is young.
    let (rejected, event) = rig.upload(&eicar(), "note.txt", "text/plain").await;
    rig.pass(&event).await.unwrap();
    let (held, event) = rig.upload(b"encrypted", "note.txt", "text/plain").await;
    rig.pass(&event).await.unwrap();
    let (in_time, _) = rig.text().await;
    rig.store.put(BUCKET, "quarantine/young", b"an orphan");
    rig.store.begin_upload(BUCKET, "quarantine/young");

    assert_eq!(rig.sweep(false).await.swept, []);
    assert_eq!(rig.is(&uploading).await, StateName::Created);
    assert_eq!(rig.is(&leased).await, StateName::Finalized);
    assert_eq!(rig.is(&finalized).await, StateName::Finalized);
    for session in [&finalized, &rejected, &held, &in_time] {
        assert!(rig.has(session), "{:?}", session.state);
    }
    assert_eq!(rig.store.calls(Operation::AbortUpload), 0);
}

/// An open upload of 1970 protects nobody; an in-time session protects even that one.
#[tokio::test]
async fn a_stale_multipart_upload_goes_with_its_session() {
    let rig = Rig::new().await;
    let overdue = rig.overdue().await;
    rig.store.begin_upload(BUCKET, overdue.key.as_key().as_str());
    let in_time = rig.sessions.create(&new_session(b"plain words", "note.txt", "text/plain")).await.unwrap();
    rig.store.begin_upload(BUCKET, in_time.key.as_key().as_str());
    rig.sweep(false).await;
    assert_eq!(rig.is(&overdue).await, StateName::Expired);
    assert_eq!(rig.store.calls(Operation::AbortUpload), 1);
    assert_eq!(rig.is(&in_time).await, StateName::Created);
}

/// What a worker that died in a long publish leaves goes a day later; a publish that goes on stays, whatever the grace.
#[tokio::test]
async fn an_unfinished_publish_goes_after_a_day() {
    let rig = Rig::new().await;
    let hours = |hours| Duration::from_hours(hours);
    for (age, aborted) in [(hours(23), 0), (hours(25), 1)] {
        rig.store.set_now(rig.now().await.checked_sub(age).unwrap());
        rig.store.begin_upload(PUBLISHED, "published/object/digest");
        let report = rig.sweep(false).await;
        assert_eq!(kinds(&report), vec![SweptWhat::MultipartUpload; aborted], "{age:?}");
    }
    assert_eq!(rig.store.calls(Operation::AbortUpload), 1);
}

/// Without an event but with its object: processed where an event would have been enough, expired where somebody had to
/// finalize it and did not.
#[tokio::test]
async fn an_upload_without_its_event() {
    for (require_finalize, becomes) in [(false, StateName::Finalized), (true, StateName::Expired)] {
        let rig = Rig::new().await.with(|station| station.settings.require_finalize = require_finalize);
        let session = rig.overdue().await;
        let event = rig.put(&session, b"plain words");
        rig.sweep(false).await;
        assert_eq!(rig.is(&session).await, becomes);
        assert_eq!(rig.has(&session), !require_finalize);
        rig.pass(&event).await.unwrap();
        let published = rig.state(&session).await.published().is_some();
        assert_eq!(published, !require_finalize);
        assert!(!rig.has(&session));
    }
}

/// A copy of an attempt that died before its commit does not outlive the session.
#[tokio::test]
async fn an_expired_session_leaves_no_copy() {
    let rig = Rig::new().await.with(|station| station.settings.lease = Duration::from_millis(1));
    let session = rig.overdue().await;
    let event: ObjectEvent = rig.put(&session, b"plain words");
    rig.store.fault(Operation::ReadBack, Fault::Fail(Effect::Before, Failure::Body));
    rig.pass(&event).await.unwrap_err();
    assert_eq!(rig.copies().len(), 1, "the case is not what it says");
    lazaret_core::ports::ObjectStore::delete(&*rig.store, &session.bucket, session.key.as_key(), None).await.unwrap();
    rig.sweep(false).await;
    assert_eq!(rig.is(&session).await, StateName::Expired);
    assert!(rig.copies().is_empty(), "{:?}", rig.copies());
}

/// One object that the store will not let go of keeps nothing else.
#[tokio::test]
async fn what_cannot_be_deleted_keeps_no_other() {
    let rig = Rig::new().await;
    for number in 0..5 {
        rig.store.put(BUCKET, &format!("quarantine/{number}"), b"an orphan");
    }
    rig.store.fault(Operation::Delete, Fault::Fail(Effect::Before, Failure::Refused));
    let sweeper = Sweeper::new(Arc::clone(&rig.station), GRACE);
    sweeper.sweep(false).await.expect_err("a deletion failed");
    assert_eq!(rig.store.keys(BUCKET), ["quarantine/0"]);
    sweeper.sweep(false).await.unwrap();
    assert!(rig.store.keys(BUCKET).is_empty());
}

/// Sessions that stay where they are do not hide the ones behind them.
#[tokio::test]
async fn more_than_a_batch_is_swept() {
    let rig = Rig::new().await;
    for _ in 0..205 {
        let stays = rig.overdue().await;
        rig.sessions.finalize(stays.upload_id, "alice").await.unwrap();
        rig.put(&stays, b"plain words");
    }
    let behind = rig.overdue().await;
    rig.sweep(false).await;
    assert_eq!(rig.is(&behind).await, StateName::Expired);
}

/// Nor do originals that cannot be removed.
#[tokio::test]
async fn more_than_a_batch_of_originals_is_swept() {
    let rig = Rig::new().await;
    for _ in 0..201 {
        rig.overdue().await;
    }
    for _ in 0..200 {
        rig.store.fault(Operation::Versions, Fault::Fail(Effect::Before, Failure::Refused));
    }
    Sweeper::new(Arc::clone(&rig.station), GRACE).sweep(false).await.expect_err("200 deletions failed");
    let left = rig.sessions.removable(Duration::ZERO, 500).await.unwrap();
    assert_eq!(left.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sweepers_and_workers_at_once() {
    let rig = Rig::new().await;
    let mut sessions = Vec::new();
    for number in 0..30 {
        let session = rig.overdue().await;
        let event = (number % 3 != 0).then(|| rig.put(&session, b"plain words"));
        sessions.push((session, event));
    }
    let sweeper = Sweeper::new(Arc::clone(&rig.station), GRACE);
    let work = async {
        for (_, event) in sessions.iter().rev() {
            if let Some(event) = event {
                rig.pass(event).await.unwrap();
            }
        }
    };
    let (one, other, ()) = tokio::join!(sweeper.sweep(false), sweeper.sweep(false), work);
    let (one, other) = (one.unwrap(), other.unwrap());
    let expired =
        |report: &SweepReport| kinds(report).iter().filter(|what| **what == SweptWhat::ExpiredSession).count();
    assert_eq!(expired(&one) + expired(&other), 10, "a session expired twice or not at all");
    for (session, event) in &sessions {
        let becomes = if event.is_some() { StateName::Published } else { StateName::Expired };
        assert_eq!(rig.is(session).await, becomes);
        assert!(!rig.has(session));
    }
    assert_eq!(rig.copies().len(), 20);
}

/// Two sweepers at once and an event that comes late: every version of the orphan goes, delete markers included, and open
/// uploads are listed once for all sessions.
#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_goes_with_all_its_versions() {
    let rig = Rig::over(MemoryObjectStore::new(&[BUCKET, PUBLISHED]).with_versioning()).await;
    let key = "quarantine/nobody";
    for number in 0..3_u8 {
        rig.store.put(BUCKET, key, &[number]);
    }
    ObjectStore::delete(&*rig.store, &BUCKET.parse().unwrap(), &key.parse().unwrap(), None).await.unwrap();
    let event = event_of(&rig.store.put(BUCKET, key, b"the last"));
    for _ in 0..20 {
        rig.overdue().await;
    }
    let sweeper = Sweeper::new(Arc::clone(&rig.station), GRACE);
    let (one, other, passed) = tokio::join!(sweeper.sweep(false), sweeper.sweep(false), rig.pass(&event));
    one.unwrap();
    other.unwrap();
    assert_eq!(passed.unwrap(), Passed::Orphan);
    assert!(rig.store.versions(&BUCKET.parse().unwrap(), &key.parse().unwrap()).await.unwrap().is_empty());
    assert!(rig.store.calls(Operation::ListUploads) <= 6, "open uploads were listed for every session");
}

/// A sweep between every two steps of an upload that is past its time but in progress takes nothing of it.
#[tokio::test]
async fn a_sweep_between_any_two_steps_takes_nothing() {
    let rig = Rig::new().await;
    rig.store.set_now(rig.now().await);
    let session = rig.overdue().await;
    rig.store.begin_upload(BUCKET, session.key.as_key().as_str());
    assert_eq!(rig.sweep(false).await.swept, []);
    let event = rig.put(&session, b"plain words");
    assert_eq!(kinds(&rig.sweep(false).await), [SweptWhat::RecoveredSession]);
    for operation in [Operation::Head, Operation::Fetch, Operation::Publish, Operation::ReadBack] {
        let (reached, go_on) = (Arc::default(), Arc::default());
        let hold = Fault::Hold { at: Effect::Before, reached: Arc::clone(&reached), go_on: Arc::clone(&go_on) };
        rig.store.fault(operation, hold);
        let sweep = async {
            reached.notified().await;
            let sweeper = Sweeper::new(Arc::clone(&rig.station), GRACE);
            let (one, other) = tokio::join!(sweeper.sweep(false), sweeper.sweep(false));
            assert_eq!((one.unwrap().swept, other.unwrap().swept), (vec![], vec![]), "{operation:?}");
        };
        if operation == Operation::ReadBack {
            let sweep = async {
                sweep.await;
                go_on.notify_one();
            };
            let (passed, ()) = tokio::join!(rig.pass(&event), sweep);
            passed.unwrap();
        } else {
            // Only as far as the sweep: the attempt is cut off there and given back.
            let stop = tokio_util::sync::CancellationToken::new();
            let passage = rig.passage();
            let cut = async {
                sweep.await;
                stop.cancel();
            };
            let (passed, ()) = tokio::join!(passage.pass(&event, &stop), cut);
            assert_eq!(passed.unwrap(), Passed::Interrupted, "{operation:?}");
        }
    }
    assert_eq!(rig.published(&session).await, b"plain words");
}

/// The row of a session may be somebody else's work: it steers the sweeper nowhere else.
#[tokio::test]
async fn nothing_outside_of_the_quarantine_is_swept() {
    let rig = Rig::new().await;
    let overdue =
        [rig.overdue_elsewhere(BUCKET, "published/").await, rig.overdue_elsewhere(PUBLISHED, "quarantine/").await];
    for session in &overdue {
        rig.store.put(session.bucket.as_str(), session.key.as_key().as_str(), b"not ours");
    }
    // One is there no more for the pipeline, and its original would be next.
    assert!(rig.sessions.expire(&overdue[0]).await.unwrap());
    assert_eq!(rig.sweep(false).await, SweepReport::default());
    for session in &overdue {
        assert!(rig.store.object(session.bucket.as_str(), session.key.as_key().as_str()).is_some());
    }
}
