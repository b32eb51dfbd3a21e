//! What is published is looked at again, and what is infected now is published no more.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use lazaret_core::{
    Finding, HoldReason, ListKind, NewListEntry, Reason, RejectReason, Session, SessionState, Sha256Digest, StateName,
    Subject, UploadId,
    ports::{ListStore, ObjectStore, OutboxKind, SessionStore},
};
use lazaret_pipeline::{
    RescanCounts, RescanEnd, RescanSettings, Rescanned, Rescanner, SweepReport, Sweeper, SweptWhat,
};
use lazaret_testkit::{
    lists,
    objects::{Effect, MemoryObjectStore, Operation},
};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{Engine, infected},
    faulty::{End, Faults, Faulty, Strike},
    rig::{BUCKET, PUBLISHED, Rig, a_png},
};

fn settings() -> RescanSettings {
    RescanSettings {
        since: None,
        signature_changed: false,
        objects_per_second: None,
        concurrency: NonZeroUsize::new(3).unwrap(),
        dry_run: false,
    }
}

fn only_changed() -> RescanSettings {
    RescanSettings { signature_changed: true, ..settings() }
}

impl Rig {
    async fn rescan_all(&self, settings: RescanSettings) -> (RescanEnd, Vec<(UploadId, Rescanned)>) {
        let mut told = Vec::new();
        let rescanner = Rescanner::new(Arc::clone(&self.station), settings);
        let mut report = |_: &_, id, found: &Rescanned| told.push((id, found.clone()));
        let end = rescanner.run(None, &CancellationToken::new(), &mut report).await.unwrap();
        (end, told)
    }

    async fn rescan(&self, settings: RescanSettings) -> RescanCounts {
        let (end, told) = self.rescan_all(settings).await;
        assert!(end.complete && end.progress.counts.seen == told.len() as u64);
        assert!(told.windows(2).all(|pair| pair[0].0 < pair[1].0), "in their order");
        end.progress.counts
    }

    async fn published_words(&self, words: &[u8]) -> Session {
        let (session, event) = self.upload(words, "note.txt", "text/plain").await;
        self.pass(&event).await.unwrap();
        let session = self.session(&session).await;
        assert!(session.state.published().is_some(), "{session:?}");
        session
    }

    async fn sweep_all(&self, dry_run: bool) -> SweepReport {
        Sweeper::new(Arc::clone(&self.station), Duration::from_hours(1)).sweep(dry_run).await.unwrap()
    }

    async fn nothing_is_left_of(&self, session: &Session) {
        let session = self.session(session).await;
        let SessionState::Revoked { object, .. } = &session.state else { panic!("{session:?}") };
        for key in object.keys() {
            assert!(self.store.object(PUBLISHED, key.as_key().as_str()).is_none(), "{key} is readable");
            let versions = ObjectStore::versions(&*self.store, &object.bucket, key.as_key()).await.unwrap();
            assert!(versions.is_empty(), "versions or delete markers of {key} are left");
        }
        assert!(session.published_deleted_at.is_some(), "{session:?}");
    }
}

fn stores() -> [MemoryObjectStore; 2] {
    let store = || MemoryObjectStore::new(&[BUCKET, PUBLISHED]);
    [store(), store().with_versioning()]
}

/// An image with variants, and three notes, one of which a later signature is about.
async fn published(store: MemoryObjectStore) -> (Rig, Engine, [Session; 4]) {
    let engine = Engine::new("engine");
    let rig = Rig::over(store).await.with_engine(&engine).with_variants(&["thumb", "web"]);
    let rig = rig.with_transformer(lazaret_testkit::transformer::MemoryTransformer::restless_png());
    let (image, event) = rig.upload(&a_png(), "a.png", "image/png").await;
    rig.pass(&event).await.unwrap();
    let image = rig.session(&image).await;
    let first = rig.published_words(b"first").await;
    let second = rig.published_words(b"second: evil").await;
    let third = rig.published_words(b"third").await;
    (rig, engine, [image, first, second, third])
}

#[tokio::test]
async fn exactly_what_matches_is_revoked() {
    for store in stores() {
        let (rig, engine, [image, first, evil, third]) = published(store).await;
        rig.sessions.claim_outbox(OutboxKind::Verdict, 100, Duration::ZERO).await.unwrap();
        engine.learn("2", "Late.Evil", b"evil");
        let before = rig.copies();
        let dry = rig.rescan(RescanSettings { dry_run: true, ..settings() }).await;
        assert_eq!(dry, RescanCounts { seen: 4, clean: 3, revoked: 1, ..RescanCounts::default() });
        assert_eq!(
            (rig.copies(), rig.session(&evil).await),
            (before.clone(), evil.clone()),
            "a dry run changes nothing"
        );
        assert_eq!(rig.verdicts(&first).await.len(), 1);

        assert_eq!(rig.rescan(settings()).await, dry);
        let revoked = rig.session(&evil).await;
        assert_eq!(revoked.state.reason(), Some(Reason::Rejected(RejectReason::Infected)));
        assert_eq!(revoked.detail.as_deref(), Some("scanner engine found Late.Evil"));
        rig.nothing_is_left_of(&evil).await;
        for session in [&image, &first, &third] {
            assert_eq!(rig.session(session).await, *session, "it stays as it was");
            let [published, again] = rig.verdicts(session).await.try_into().unwrap();
            assert_eq!(
                (published.engine.signatures.as_deref(), again.engine.signatures.as_deref()),
                (Some("1"), Some("2"))
            );
            assert_eq!(again.finding, Finding::Clean);
        }
        assert_eq!(rig.copies().len(), before.len() - 1);
        assert_eq!(rig.verdicts(&evil).await.pop().unwrap().finding, infected("Late.Evil"));
        let told = rig.sessions.claim_outbox(OutboxKind::Verdict, 100, Duration::ZERO).await.unwrap();
        let told: Vec<_> = told.iter().filter(|item| item.payload.contains("\"revoked\"")).collect();
        assert!(told.len() == 1 && told[0].upload_id == evil.upload_id, "{told:?}");

        let again = rig.rescan(settings()).await;
        assert_eq!(again, RescanCounts { seen: 3, clean: 3, ..RescanCounts::default() });
        assert!(rig.sweep_all(false).await.swept.is_empty());
    }
}

/// The object and its variants go together.
#[tokio::test]
async fn variants_go_with_their_object() {
    for store in stores() {
        let (rig, engine, [image, ..]) = published(store).await;
        engine.learn("2", "Late.Picture", b"PNG");
        assert_eq!(rig.rescan(settings()).await.revoked, 1);
        rig.nothing_is_left_of(&image).await;
        assert_eq!(rig.copies().len(), 3, "the notes");
    }
}

/// The process dies, or the store fails, between the commit and the last deletion: the sweeper goes on where it ended.
#[tokio::test]
async fn what_a_crash_leaves_the_sweeper_takes() {
    for (operation, nth) in [("versions", 0), ("versions", 1), ("record_published_deleted", 0)] {
        for end in [End::Dies, End::Fails] {
            for store in stores() {
                let (rig, engine, [image, ..]) = published(store).await;
                engine.learn("2", "Late.Picture", b"PNG");
                let faults = Faults::new(Some(Strike { operation, nth, side: Effect::Before, end }));
                let station = Arc::new(rig.station_with(|station| {
                    station.sessions = Faulty::new(&faults, Arc::clone(&station.sessions));
                    station.store = Faulty::new(&faults, Arc::clone(&station.store));
                }));
                let (rescanner, stop) = (Rescanner::new(station, settings()), CancellationToken::new());
                let mut left = 0;
                let mut report = |_: &_, _, found: &Rescanned| {
                    left += usize::from(matches!(found, Rescanned::Revoked { copies_left: Some(_), .. }));
                };
                tokio::select! {
                    ended = rescanner.run(None, &stop, &mut report) => {
                        assert_eq!((ended.unwrap().progress.counts.revoked, end), (1, End::Fails));
                    }
                    () = faults.died.notified() => assert_eq!(end, End::Dies),
                }
                assert_eq!(left, usize::from(end == End::Fails));
                let now = rig.session(&image).await;
                assert_eq!((now.state.name(), now.published_deleted_at), (StateName::Revoked, None));
                let there = rig.copies().len() - 3;
                let told = rig.sweep_all(true).await.swept;
                assert_eq!((told.len(), rig.copies().len() - 3), (there, there), "a dry run only tells");
                let swept = rig.sweep_all(false).await.swept;
                assert!(
                    swept.len() == there && swept.iter().all(|swept| swept.what == SweptWhat::RevokedCopy),
                    "{swept:?}"
                );
                rig.nothing_is_left_of(&image).await;
                assert!(rig.sweep_all(false).await.swept.is_empty());
            }
        }
    }
}

/// A request of long ago that the store carries out behind the revocation, under the first fence.
#[tokio::test]
async fn a_late_copy_of_what_was_revoked_is_swept() {
    for store in stores() {
        let (rig, engine, [_, _, evil, _]) = published(store).await;
        engine.learn("2", "Late.Evil", b"evil");
        rig.rescan(settings()).await;
        let SessionState::Revoked { object, .. } = rig.state(&evil).await else { panic!("not revoked") };
        rig.store.put(PUBLISHED, object.key.as_key().as_str(), b"second: evil");
        let [swept] = rig.sweep_all(false).await.swept.try_into().unwrap();
        assert_eq!((swept.what, &swept.key), (SweptWhat::LateCopy, object.key.as_key()));
        rig.nothing_is_left_of(&evil).await;
    }
}

#[tokio::test]
async fn what_todays_signatures_called_clean_is_not_read_again() {
    let (rig, engine, _) = published(MemoryObjectStore::new(&[BUCKET, PUBLISHED])).await;
    let scans = engine.scans();
    let unchanged = RescanCounts { seen: 4, unchanged: 4, ..RescanCounts::default() };
    assert_eq!(rig.rescan(only_changed()).await, unchanged);
    assert_eq!(engine.scans(), scans);
    engine.load(Some("2"), crate::engine::CLEAN);
    assert_eq!(rig.rescan(only_changed()).await, RescanCounts { seen: 4, clean: 4, ..RescanCounts::default() });
    assert_eq!(rig.rescan(only_changed()).await, unchanged);
    assert_eq!(rig.rescan(settings()).await.clean, 4, "all of it is, where nothing else is asked for");
    engine.load(None, crate::engine::CLEAN);
    for _ in 0..2 {
        assert_eq!(rig.rescan(only_changed()).await.clean, 4, "signatures without a name may have changed");
    }
}

/// A second scanner that the policy names today has never seen any of it.
#[tokio::test]
async fn a_new_scanner_sees_everything() {
    let (rig, engine, _) = published(MemoryObjectStore::new(&[BUCKET, PUBLISHED])).await;
    let other = Engine::new("other");
    let rig = rig.with(|station| station.scanners.push(crate::rig::slot(other.clone())));
    let rig = rig.with_policies(|policy| policy.scanners.push("other".parse().unwrap()));
    let scans = engine.scans();
    assert_eq!(rig.rescan(only_changed()).await.clean, 4);
    assert_eq!((other.scans(), engine.scans()), (4, scans + 4));
    assert_eq!(rig.rescan(only_changed()).await.unchanged, 4);
}

#[tokio::test]
async fn only_what_was_published_since() {
    let (rig, _, [.., third]) = published(MemoryObjectStore::new(&[BUCKET, PUBLISHED])).await;
    let since = Some(third.updated_at);
    let counts = rig.rescan(RescanSettings { since, ..settings() }).await;
    assert!(counts.clean >= 1 && counts.clean + counts.passed_over == 4, "{counts:?}");
    let later = third.updated_at.checked_add(Duration::from_millis(1)).unwrap();
    assert_eq!(rig.rescan(RescanSettings { since: Some(later), ..settings() }).await.passed_over, 4);
}

/// What cannot be checked is told, and stays published.
#[tokio::test]
async fn what_could_not_be_checked_is_told() {
    let (rig, engine, [image, first, second, third]) = published(MemoryObjectStore::new(&[BUCKET, PUBLISHED])).await;
    let key = |session: &Session| session.state.published().unwrap().key.to_string();
    rig.store.corrupt(PUBLISHED, &key(&first), b"other");
    ObjectStore::delete(&*rig.store, &PUBLISHED.parse().unwrap(), &key(&image).parse().unwrap(), None).await.unwrap();
    engine.load(Some("2"), |bytes| {
        if bytes == b"third" {
            return Err(crate::rig::no_verdict());
        }
        let held = Finding::Unscannable { reason: HoldReason::ScanLimits, detail: "told to".to_owned() };
        Ok((held, Vec::new()))
    });
    let (end, told) = rig.rescan_all(settings()).await;
    assert_eq!(end.progress.counts, RescanCounts { seen: 4, unscannable: 1, failed: 3, ..RescanCounts::default() });
    for (session, words) in [
        (&image, "is not there"),
        (&first, "is not what was published"),
        (&second, "could not look at all of it: told to"),
        (&third, "gave no verdict"),
    ] {
        let (_, found) = told.iter().find(|(id, _)| *id == session.upload_id).unwrap();
        let (Rescanned::Failed { detail } | Rescanned::Unscannable { detail }) = found else { panic!("{found:?}") };
        assert!(detail.contains(words), "{detail}");
        assert_eq!(rig.session(session).await, *session, "it stays as it was");
        assert_eq!(rig.verdicts(session).await.len(), 1);
    }
}

/// A type that no policy of today scans is not called clean; one whose input type a policy knows is scanned by that.
#[tokio::test]
async fn the_policy_of_today_decides() {
    let (rig, engine, _) = published(MemoryObjectStore::new(&[BUCKET, PUBLISHED])).await;
    engine.load(Some("2"), crate::engine::CLEAN);
    let rig = rig.with_policies(|policy| {
        if policy.name == "documents" {
            policy.types = vec!["application/pdf".parse().unwrap()];
        }
    });
    assert_eq!(rig.rescan(settings()).await, RescanCounts { seen: 4, clean: 1, failed: 3, ..RescanCounts::default() });
}

/// Blocked by the bytes that were uploaded, or by those that are published, be it as a variant. None has to be read for
/// that.
#[tokio::test]
async fn what_is_blocked_is_revoked() {
    let of_source = |session: &Session| session.source.as_ref().unwrap().sha256.unwrap();
    let of_copy = |session: &Session| session.state.published().unwrap().sha256;
    let of_variant = |session: &Session| {
        let image = session.state.published().unwrap().image.as_ref();
        image.map_or_else(|| of_copy(session), |image| image.variants[1].sha256)
    };
    let choices: [&dyn Fn(&Session) -> Sha256Digest; 3] = [&of_source, &of_copy, &of_variant];
    for choice in choices {
        let (rig, engine, [image, first, ..]) = published(MemoryObjectStore::new(&[BUCKET, PUBLISHED])).await;
        for session in [&image, &first] {
            let new = NewListEntry { subject: Subject::Sha256(choice(session)), ..lists::digest(ListKind::Block, 0) };
            ListStore::add(&*rig.sessions, &new).await.unwrap();
        }
        let (scans, reads) = (engine.scans(), rig.store.calls(Operation::Fetch));
        let counts = rig.rescan(only_changed()).await;
        assert_eq!(counts, RescanCounts { seen: 4, unchanged: 2, revoked: 2, ..RescanCounts::default() });
        assert_eq!((engine.scans(), rig.store.calls(Operation::Fetch)), (scans, reads));
        for session in [&image, &first] {
            rig.nothing_is_left_of(session).await;
            assert_eq!(rig.state(session).await.reason(), Some(Reason::Rejected(RejectReason::Blocked)));
        }
    }
}

/// An infection that is allowed stays published, and is looked at each time, for it may be allowed no more.
#[tokio::test]
async fn what_is_allowed_stays_until_it_is_not() {
    let (rig, engine, [_, _, evil, _]) = published(MemoryObjectStore::new(&[BUCKET, PUBLISHED])).await;
    engine.learn("2", "Late.Evil", b"evil");
    let entry = ListStore::add(&*rig.sessions, &lists::signature(ListKind::Allow, "Late.Evil")).await.unwrap();
    assert_eq!(rig.rescan(only_changed()).await.clean, 4);
    assert_eq!(rig.verdicts(&evil).await.pop().unwrap().allowed_by, Some(entry.id));
    assert_eq!(
        rig.rescan(only_changed()).await,
        RescanCounts { seen: 4, clean: 1, unchanged: 3, ..RescanCounts::default() }
    );
    rig.sessions.remove(entry.id, "bob").await.unwrap();
    assert_eq!(rig.rescan(only_changed()).await.revoked, 1);
    rig.nothing_is_left_of(&evil).await;
}

/// An outage ends it and says where to go on; going on there sees the rest and nothing twice.
#[tokio::test]
async fn an_outage_tells_where_to_go_on() {
    // Each in the middle of the second object.
    for (operation, nth) in [("record_recheck", 1), ("matching", 3), ("fetch", 1)] {
        let (rig, engine, _) = published(MemoryObjectStore::new(&[BUCKET, PUBLISHED])).await;
        engine.learn("2", "Late.Evil", b"evil");
        let strike = Strike { operation, nth, side: Effect::Before, end: End::Fails };
        let faults = Faults::new(Some(strike));
        let station = rig.station_with(|station| {
            station.sessions = Faulty::new(&faults, Arc::clone(&station.sessions));
            station.lists = Faulty::new(&faults, Arc::clone(&station.lists));
            station.store = Faulty::new(&faults, Arc::clone(&station.store));
        });
        let one = RescanSettings { concurrency: NonZeroUsize::MIN, ..settings() };
        let rescanner = Rescanner::new(Arc::new(station), one);
        let mut last = None;
        let mut report = |progress: &lazaret_pipeline::RescanProgress, _, _: &_| last = progress.last;
        rescanner.run(None, &CancellationToken::new(), &mut report).await.unwrap_err();
        assert!(last.is_some(), "{operation}");
        let rest = rescanner.run(last, &CancellationToken::new(), &mut |_, _, _| ()).await.unwrap();
        assert!(rest.complete && rest.progress.counts.failed == 0, "{operation}: {rest:?}");
        assert_eq!((rest.progress.counts.seen, rest.progress.counts.revoked), (3, 1), "{operation}");
    }
}

/// A stop brings what was begun to its end.
#[tokio::test]
async fn a_stop_tells_where_to_go_on() {
    let (rig, ..) = published(MemoryObjectStore::new(&[BUCKET, PUBLISHED])).await;
    let (stop, mut last) = (CancellationToken::new(), None);
    let rescanner =
        Rescanner::new(Arc::clone(&rig.station), RescanSettings { concurrency: NonZeroUsize::MIN, ..settings() });
    let mut report = |_: &_, id, _: &_| {
        last = Some(id);
        stop.cancel();
    };
    let stopped = rescanner.run(None, &stop, &mut report).await.unwrap();
    assert!(!stopped.complete && stopped.progress.counts.seen < 4 && stopped.progress.last == last, "{stopped:?}");
    let rest = rescanner.run(last, &CancellationToken::new(), &mut |_, _, _| ()).await.unwrap();
    assert_eq!(rest.progress.counts.seen + stopped.progress.counts.seen, 4);
}
