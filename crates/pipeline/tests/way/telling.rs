//! Verdicts reach the sink at least once, in order for each upload, and one that does not go keeps no other.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use lazaret_core::{
    HoldReason, SessionState, UploadId,
    ports::{EventSink, OutboxKind, SessionStore, VerdictEvent},
};
use lazaret_testkit::sinks::MemorySink;
use tokio::time::timeout;

use crate::{
    faulty::{Faults, Faulty},
    rig::{LONG, Rig, Running, SOURCE, embedded},
};

impl Rig {
    async fn published_one(&self) -> UploadId {
        let (session, event) = self.text().await;
        self.pass(&event).await.unwrap();
        session.upload_id
    }

    /// Held, released, and decided again: two events of one upload.
    async fn told_twice(&self) -> UploadId {
        let (session, event) = self.upload(b"encrypted", "note.txt", "text/plain").await;
        self.pass(&event).await.unwrap();
        self.sessions.release(session.upload_id, "alice").await.unwrap();
        self.pass(&event).await.unwrap();
        session.upload_id
    }

    fn tell(&self, sink: &Arc<MemorySink>) -> Running {
        Running::start_telling(&self.station, embedded(LONG) as _, Arc::clone(sink) as Arc<dyn EventSink>)
    }

    async fn nothing_left(&self) {
        self.until("all completed", async |rig| {
            let left = rig.sessions.claim_outbox(OutboxKind::Verdict, 10, Duration::ZERO).await.unwrap();
            left.is_empty().then_some(())
        })
        .await;
    }
}

fn kinds_of(events: &[VerdictEvent], upload: UploadId) -> Vec<&str> {
    events.iter().filter(|event| event.subject == upload).map(|event| event.kind.as_str()).collect()
}

#[tokio::test]
async fn an_event_says_what_was_committed() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    rig.pass(&event).await.unwrap();
    let settled = rig.session(&session).await;
    let sink = Arc::new(MemorySink::new());
    let worker = rig.tell(&sink);
    let told = sink.until_taken(1).await.remove(0);
    rig.nothing_left().await;
    worker.drain().await;
    assert_eq!(told.specversion, "1.0");
    assert_eq!(told.datacontenttype, "application/json");
    assert_eq!((told.source.as_str(), told.kind.as_str()), (SOURCE, "lazaret.upload.published"));
    assert_eq!((told.subject, told.time), (session.upload_id, settled.updated_at));
    assert!(told.id.starts_with(&session.upload_id.to_string()));
    let SessionState::Published(object) = settled.state else { panic!("not published") };
    assert_eq!(told.data["published"]["key"], object.key.to_string());
    assert_eq!(sink.attempts(), 1);
}

/// More than two batches, of which some have two events: all of them are told, each once, in order.
#[tokio::test]
async fn every_upload_is_told_in_its_order() {
    let rig = Rig::new().await;
    let mut uploads = Vec::new();
    for number in 0..130 {
        uploads
            .push((if number % 3 == 0 { rig.told_twice().await } else { rig.published_one().await }, number % 3 == 0));
    }
    let sink = Arc::new(MemorySink::new());
    let expected = uploads.len() + uploads.iter().filter(|(_, twice)| *twice).count();
    let worker = rig.tell(&sink);
    let events = sink.until_taken(expected).await;
    worker.drain().await;
    assert_eq!(events.len(), expected);
    let ids: BTreeSet<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), expected, "an event was told twice");
    for (upload, twice) in uploads {
        let expected: &[&str] =
            if twice { &["lazaret.upload.held", "lazaret.upload.published"] } else { &["lazaret.upload.published"] };
        assert_eq!(kinds_of(&events, upload), expected);
    }
}

/// A refused event keeps the later ones of its own upload back, and nobody else's.
#[tokio::test]
async fn a_refused_event_keeps_only_its_own_upload_back() {
    let rig = Rig::new().await;
    let stuck = rig.told_twice().await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(rig.published_one().await);
    }
    let sink = Arc::new(MemorySink::new());
    sink.refuse_upload(stuck);
    let worker = rig.tell(&sink);
    let events = sink.until_taken(others.len()).await;
    // What comes later goes as well.
    let later = rig.published_one().await;
    let after = sink.until_taken(others.len() + 1).await;
    worker.drain().await;
    assert!(others.iter().all(|upload| kinds_of(&events, *upload).len() == 1));
    assert_eq!(kinds_of(&after, later).len(), 1);
    assert!(kinds_of(&after, stuck).is_empty());
    assert_eq!(sink.attempts(), others.len() + 2, "the refused event was hammered, or its successor was tried");
}

/// More uploads than are tried at once for which the sink is away each time, such as a receiver that fails over what they
/// say: those behind them are told nevertheless, and so is what comes when the others' claims have run out again and
/// again.
#[tokio::test]
async fn events_that_never_go_keep_no_other() {
    let rig = Rig::new().await;
    let sink = Arc::new(MemorySink::new());
    for _ in 0..20 {
        sink.fail_upload(rig.published_one().await);
    }
    let behind = rig.published_one().await;
    let faults = Faults::new(None);
    faults.shorten_claims(Duration::from_millis(300));
    let rig = rig.with(|station| station.sessions = Faulty::new(&faults, Arc::clone(&station.sessions)));
    let worker = rig.tell(&sink);
    let told = timeout(LONG / 2, sink.until_taken(1)).await.expect("it is kept by those before it");
    assert_eq!(told[0].subject, behind);
    // Nothing goes now, so that little is claimed at a time, and the oldest is free each time.
    let tried = sink.attempts();
    sink.until_tried(tried + 20).await;
    let later = rig.published_one().await;
    let told = timeout(LONG / 2, sink.until_taken(2)).await.expect("it is kept by those before it");
    assert!(told.iter().any(|event| event.subject == later));
    worker.drain().await;
}

/// Nothing is lost while the sink is away, and the order holds. Tries become seldom.
#[tokio::test]
async fn a_sink_that_is_away_is_waited_for() {
    let rig = Rig::new().await;
    let twice = rig.told_twice().await;
    let sink = Arc::new(MemorySink::new());
    sink.fail(3);
    let began = tokio::time::Instant::now();
    let worker = rig.tell(&sink);
    let events = sink.until_taken(2).await;
    // Three pauses, each at least half of 500, 1000 and 2000 ms.
    assert!(began.elapsed() > Duration::from_millis(1700), "{:?}", began.elapsed());
    rig.nothing_left().await;
    worker.drain().await;
    assert_eq!(kinds_of(&events, twice), ["lazaret.upload.held", "lazaret.upload.published"]);
    assert_eq!(sink.attempts(), 5);
}

/// The answer to a delivery is lost: it is told again under the same id, before the next of its upload.
#[tokio::test]
async fn a_lost_answer_repeats_the_event_before_the_next() {
    let rig = Rig::new().await;
    let twice = rig.told_twice().await;
    let sink = Arc::new(MemorySink::new());
    sink.lose_answers(1);
    let worker = rig.tell(&sink);
    let events = sink.until_taken(3).await;
    worker.drain().await;
    assert_eq!(kinds_of(&events, twice), ["lazaret.upload.held", "lazaret.upload.held", "lazaret.upload.published"]);
    assert_eq!(events[0].id, events[1].id);
    assert_ne!(events[1].id, events[2].id);
}

/// Two workers at once tell nothing twice while nothing fails.
#[tokio::test]
async fn two_workers_share_the_telling() {
    let rig = Rig::new().await;
    for _ in 0..40 {
        rig.told_twice().await;
    }
    let sink = Arc::new(MemorySink::new());
    let workers = [rig.tell(&sink), rig.tell(&sink)];
    let events = sink.until_taken(80).await;
    rig.nothing_left().await;
    for worker in workers {
        worker.drain().await;
    }
    assert_eq!(sink.events().len(), 80);
    let firsts: Vec<_> = events.iter().filter(|event| event.kind == "lazaret.upload.held").collect();
    assert_eq!(firsts.len(), 40);
    for first in firsts {
        assert_eq!(kinds_of(&events, first.subject), ["lazaret.upload.held", "lazaret.upload.published"]);
    }
    assert_eq!(rig.scanner.scans(), 80);
    let held = events.iter().filter(|event| event.data["reason"] == HoldReason::Encrypted.code()).count();
    assert_eq!(held, 40);
}
