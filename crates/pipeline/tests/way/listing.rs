//! The allow and block lists, optional scanners, and verdicts that count again.

use std::{sync::Arc, time::Duration};

use lazaret_core::{
    Disposition, Finding, HoldReason, ListEntry, ListKind, NewListEntry, Reason, RejectReason, ScanReport, Session,
    SessionState, Severity, Sha256Digest, Subject,
    ports::{ListStore, ScanError, SessionStore},
};
use lazaret_testkit::{lists, scanners::MemoryScanner};
use sha2::{Digest, Sha256};

use crate::{
    engine::{Engine, infected, rule},
    faulty::{End, Faults, Faulty, Strike},
    rig::{LONG, Rig, a_png, no_verdict, slot},
};

fn of(kind: ListKind, bytes: &[u8]) -> NewListEntry {
    NewListEntry { subject: Subject::Sha256(digest(bytes)), ..lists::digest(kind, 0) }
}

fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

impl Rig {
    /// A rig whose one scanner is this engine.
    pub(crate) fn with_engine(self, engine: &Engine) -> Self {
        let policies = |policy: &mut lazaret_core::Policy| policy.scanners = vec!["engine".parse().unwrap()];
        self.with(|station| station.scanners = vec![slot(engine.clone())]).with_policies(policies)
    }

    async fn list(&self, new: &NewListEntry) -> ListEntry {
        ListStore::add(&*self.sessions, new).await.unwrap()
    }

    /// What becomes of these words.
    async fn judged(&self, bytes: &[u8]) -> Session {
        let (session, event) = self.upload(bytes, "note.txt", "text/plain").await;
        self.pass(&event).await.unwrap();
        self.session(&session).await
    }

    pub(crate) async fn verdicts(&self, session: &Session) -> Vec<ScanReport> {
        self.sessions.history(session.upload_id).await.unwrap().verdicts
    }

    async fn last_words(&self, session: &Session) -> String {
        let audit = self.sessions.history(session.upload_id).await.unwrap().audit;
        audit.into_iter().next_back().unwrap().detail.unwrap_or_default()
    }
}

const fn rejected(reason: RejectReason) -> SessionState {
    SessionState::Rejected(Reason::Rejected(reason))
}

const BLOCKED: SessionState = rejected(RejectReason::Blocked);
const INFECTED: SessionState = rejected(RejectReason::Infected);

/// An engine that finds `Win.Test` in everything.
fn alarmist() -> Engine {
    let engine = Engine::new("engine");
    engine.load(Some("1"), |_| Ok((infected("Win.Test"), Vec::new())));
    engine
}

#[tokio::test]
async fn blocked_bytes_are_rejected_before_they_are_scanned() {
    let engine = Engine::new("engine");
    let rig = Rig::new().await.with_engine(&engine);
    let entry = rig.list(&of(ListKind::Block, b"bad words")).await;
    let session = rig.judged(b"bad words").await;
    assert_eq!((session.state.clone(), engine.scans()), (BLOCKED, 0));
    let detail = session.detail.clone().unwrap();
    assert!(detail.contains(&format!("entry {} of alice: looked at, ticket 7", entry.id)), "{detail}");
    assert_eq!(rig.last_words(&session).await, detail);
    assert!(rig.judged(b"good words").await.state.published().is_some());
    rig.sessions.remove(entry.id, "bob").await.unwrap();
    assert!(rig.judged(b"bad words").await.state.published().is_some(), "an entry that was taken back counts no more");
}

/// Who reads a digest off a published copy, be it a variant, blocks what the same upload would become again.
#[tokio::test]
async fn what_is_made_of_an_upload_may_be_blocked() {
    for of_variant in [false, true] {
        let rig = Rig::new().await.with_variants(&["thumb"]);
        let (first, event) = rig.upload(&a_png(), "photo.png", "image/png").await;
        rig.pass(&event).await.unwrap();
        let SessionState::Published(object) = rig.state(&first).await else { panic!("not published") };
        let copies = rig.copies();
        let sha256 = if of_variant { object.image.unwrap().variants[0].sha256 } else { object.sha256 };
        rig.list(&NewListEntry { subject: Subject::Sha256(sha256), ..lists::digest(ListKind::Block, 0) }).await;
        let (again, event) = rig.upload(&a_png(), "photo.png", "image/png").await;
        rig.pass(&event).await.unwrap();
        assert_eq!(rig.state(&again).await, BLOCKED);
        assert_eq!(rig.copies(), copies);
    }
}

#[tokio::test]
async fn an_allowed_infection_counts_as_clean_and_is_on_record() {
    for new in [lists::signature(ListKind::Allow, "Win.Test"), of(ListKind::Allow, b"false alarm")] {
        let rig = Rig::new().await.with_engine(&alarmist());
        assert_eq!(rig.judged(b"false alarm").await.state, INFECTED);
        let entry = rig.list(&new).await;
        let session = rig.judged(b"false alarm").await;
        assert!(session.state.published().is_some(), "{session:?}");
        let [report] = rig.verdicts(&session).await.try_into().unwrap();
        assert_eq!((report.finding, report.allowed_by), (infected("Win.Test"), Some(entry.id)));
        let audited = rig.last_words(&session).await;
        assert!(audited.contains(&format!("Win.Test, found by scanner engine, is allowed by list entry {}", entry.id)));
        rig.sessions.remove(entry.id, "bob").await.unwrap();
        assert_eq!(rig.judged(b"false alarm").await.state, INFECTED);
    }
}

/// Names are compared exactly, digests are about nothing else, and an entry that expired is none.
#[tokio::test]
async fn nothing_else_is_allowed() {
    let rig = Rig::new().await.with_engine(&alarmist());
    let expires_in = Some(Duration::from_millis(1));
    let expired = rig.list(&NewListEntry { expires_in, ..lists::signature(ListKind::Allow, "Win.Test") }).await;
    for name in ["win.test", "Win.Test.UNOFFICIAL", "Win", "engine:Win.Test"] {
        rig.list(&lists::signature(ListKind::Allow, name)).await;
    }
    rig.list(&of(ListKind::Allow, b"other words")).await;
    rig.until("it is over", async |rig| {
        (rig.sessions.now().await.unwrap() > expired.expires_at.unwrap()).then_some(())
    })
    .await;
    assert_eq!(rig.judged(b"words").await.state, INFECTED);
}

/// Limits, encryption, trouble and a flag stay what they are, whatever is allowed.
#[tokio::test]
async fn only_infections_can_be_allowed() {
    let engine = Engine::new("engine");
    engine.load(Some("1"), |bytes| {
        let held = |reason| Finding::Unscannable { reason, detail: "told to".to_owned() };
        Ok(match bytes {
            b"encrypted" => (held(HoldReason::Encrypted), Vec::new()),
            b"limits" => (held(HoldReason::ScanLimits), Vec::new()),
            b"flagged" => (held(HoldReason::Flagged), vec![rule("house", "macro", Severity::Hold)]),
            b"infected and flagged" => {
                let rules = [rule("house", "bad", Severity::Reject), rule("house", "macro", Severity::Hold)];
                (infected("house:bad"), rules.into())
            }
            _ => return Err(no_verdict()),
        })
    });
    let rig = Rig::new().await.with_engine(&engine).with(|station| station.settings.max_attempts = 1);
    for name in ["house:macro", "house:bad", "told to"] {
        rig.list(&lists::signature(ListKind::Allow, name)).await;
    }
    for (bytes, reason) in [
        (b"encrypted".as_slice(), HoldReason::Encrypted),
        (b"limits", HoldReason::ScanLimits),
        (b"flagged", HoldReason::Flagged),
        (b"infected and flagged", HoldReason::Flagged),
        (b"no verdict", HoldReason::ScannerError),
    ] {
        rig.list(&of(ListKind::Allow, bytes)).await;
        assert_eq!(rig.judged(bytes).await.state, SessionState::Held(reason));
    }
}

#[tokio::test]
async fn of_several_signatures_each_must_be_allowed() {
    let engine = Engine::new("engine");
    engine.load(Some("1"), |_| {
        let rules = ["one", "two"].map(|name| rule("house", name, Severity::Reject));
        Ok((infected("house:one"), rules.into()))
    });
    let rig = Rig::new().await.with_engine(&engine);
    let first = rig.list(&lists::signature(ListKind::Allow, "house:one")).await;
    assert_eq!(rig.judged(b"words").await.state, INFECTED);
    rig.list(&lists::signature(ListKind::Allow, "house:two")).await;
    let session = rig.judged(b"words").await;
    assert!(session.state.published().is_some(), "{session:?}");
    assert_eq!(rig.verdicts(&session).await[0].allowed_by, Some(first.id));
}

/// What is allowed by one is not allowed for another scanner's finding.
#[tokio::test]
async fn every_scanner_must_be_allowed() {
    let (engine, other) = (alarmist(), Engine::new("other"));
    other.load(Some("1"), |_| Ok((infected("Other.Name"), Vec::new())));
    let rig = Rig::new().await.with_engine(&engine).with(|station| station.scanners.push(slot(other.clone())));
    let rig = rig.with_policies(|policy| policy.scanners.push("other".parse().unwrap()));
    rig.list(&lists::signature(ListKind::Allow, "Win.Test")).await;
    let session = rig.judged(b"words").await;
    assert_eq!(session.state, INFECTED);
    assert!(session.detail.unwrap().contains("scanner other found Other.Name"));
    other.load(Some("1"), |_| Err(no_verdict()));
    let (session, event) = rig.text().await;
    rig.pass(&event).await.unwrap_err();
    assert!(!rig.state(&session).await.is_settled(), "a missing verdict was allowed");
}

#[tokio::test]
async fn block_beats_allow_and_reaches_what_is_only_noted() {
    let rig = Rig::new().await.with_engine(&alarmist());
    rig.list(&of(ListKind::Allow, b"words")).await;
    rig.list(&lists::signature(ListKind::Block, "Win.Test")).await;
    assert_eq!(rig.judged(b"words").await.state, BLOCKED);

    let engine = Engine::new("engine");
    engine.load(Some("1"), |_| Ok((Finding::Clean, vec![rule("house", "links", Severity::Note)])));
    let rig = Rig::new().await.with_engine(&engine);
    assert!(rig.judged(b"words").await.state.published().is_some());
    rig.list(&lists::signature(ListKind::Block, "house:links")).await;
    let session = rig.judged(b"words").await;
    assert_eq!(session.state, BLOCKED);
    assert!(session.detail.as_ref().unwrap().contains("house:links"));
    assert_eq!(rig.verdicts(&session).await.len(), 1, "what was found is on record");
}

/// The database does not answer when the lists are asked, before the scan or behind it.
#[tokio::test]
async fn lists_that_do_not_answer_are_no_empty_lists() {
    for nth in [0, 1] {
        let strike =
            Strike { operation: "matching", nth, side: lazaret_testkit::objects::Effect::Before, end: End::Fails };
        let faults = Faults::new(Some(strike));
        let rig = Rig::new().await.with_engine(&alarmist());
        let rig = rig.with(|station| station.lists = Faulty::new(&faults, Arc::clone(&station.lists)));
        let (session, event) = rig.text().await;
        let error = rig.pass(&event).await.unwrap_err();
        assert_eq!(error.disposition(), Disposition::Unavailable);
        let now = rig.session(&session).await;
        assert!((now.state.is_settled(), now.attempts) == (false, 0), "{now:?}");
        rig.pass(&event).await.unwrap();
        assert_eq!(rig.state(&session).await, INFECTED);
    }
}

/// What an optional scanner finds, cannot look at, or never says stops nothing; what it says is on record.
#[tokio::test]
async fn optional_scanners_only_note() {
    let says =
        |answer: fn() -> Result<Finding, ScanError>| MemoryScanner::new("extra".parse().unwrap(), move |_| answer());
    let limits = || Ok(Finding::Unscannable { reason: HoldReason::ScanLimits, detail: "told to".to_owned() });
    for (extra, on_record) in [
        (says(|| Ok(infected("Extra"))), 2),
        (says(limits), 2),
        (says(|| Ok(Finding::Clean)), 2),
        (says(|| Err(no_verdict())), 1),
    ] {
        let rig = Rig::new().await.with(|station| station.scanners.push(slot(extra.clone())));
        let rig = rig.with_policies(|policy| policy.optional_scanners.push("extra".parse().unwrap()));
        rig.list(&lists::signature(ListKind::Block, "Extra")).await;
        let session = rig.judged(b"plain words").await;
        assert!(session.state.published().is_some(), "{session:?}");
        let verdicts = rig.verdicts(&session).await;
        assert_eq!(verdicts.len(), on_record, "{verdicts:?}");
        assert_eq!(verdicts[0].scanner.as_str(), "memory", "those that decide come first");
        assert_eq!(extra.scans(), 1);
        let session = rig.judged(b"encrypted").await;
        assert_eq!(session.state, SessionState::Held(HoldReason::Encrypted), "the others decide as ever");
    }
}

/// One that is down, too slow, not configured, or not for objects of this size.
#[tokio::test]
async fn optional_scanners_that_are_not_there_stop_nothing() {
    let down = MemoryScanner::clean("extra".parse().unwrap());
    down.set_down(true);
    let slow = MemoryScanner::clean("extra".parse().unwrap()).with_delay(LONG);
    let mut slots = vec![slot(down), slot(slow), slot(MemoryScanner::clean("extra".parse().unwrap()))];
    slots[1].timeout = Duration::from_millis(20);
    slots[2].max_size = 3;
    for extra in slots.into_iter().map(Some).chain([None]) {
        let rig = Rig::new().await.with(|station| station.scanners.extend(extra));
        let rig = rig.with_policies(|policy| policy.optional_scanners.push("extra".parse().unwrap()));
        let session = rig.judged(b"plain words").await;
        assert!(session.state.published().is_some(), "{session:?}");
        assert_eq!(rig.verdicts(&session).await.len(), 1);
    }
}

impl Rig {
    fn reusing(self, within: Duration) -> Self {
        self.with_policies(|policy| policy.reuse_verdicts = Some(within))
    }
}

#[tokio::test]
async fn a_verdict_counts_again_for_the_same_bytes() {
    let engine = Engine::new("engine");
    let rig = Rig::new().await.with_engine(&engine).reusing(LONG);
    let first = rig.judged(b"words").await;
    let second = rig.judged(b"words").await;
    let third = rig.judged(b"words").await;
    assert_eq!(engine.scans(), 1);
    for (session, from) in [(&first, None), (&second, Some(first.upload_id)), (&third, Some(first.upload_id))] {
        assert!(session.state.published().is_some(), "{session:?}");
        let [report] = rig.verdicts(session).await.try_into().unwrap();
        assert_eq!((report.reused_from, report.engine.signatures.as_deref()), (from, Some("1")));
        assert_eq!((report.finding, report.elapsed_ms), (Finding::Clean, u64::from(from.is_none())));
    }
    rig.judged(b"other words").await;
    assert_eq!(engine.scans(), 2);
    engine.learn("2", "Win.Test", b"words");
    assert_eq!(rig.judged(b"words").await.state, INFECTED, "new signatures have the last word");
    // And their word stands: nothing earlier comes back with the old signatures.
    engine.load(Some("1"), crate::engine::CLEAN);
    rig.judged(b"words").await;
    assert_eq!(engine.scans(), 4);
}

#[tokio::test]
async fn a_verdict_counts_again_only_where_it_may() {
    let engine = Engine::new("engine");
    let twice = async |rig: &Rig| {
        let before = engine.scans();
        rig.judged(b"words").await;
        rig.judged(b"words").await;
        engine.scans() - before
    };
    let rig = Rig::new().await.with_engine(&engine);
    assert_eq!(twice(&rig).await, 2, "not by itself");
    let rig = rig.reusing(Duration::ZERO);
    assert_eq!(twice(&rig).await, 2, "its time is over");
    let rig = rig.reusing(LONG).with_policies(|policy| policy.name = format!("{}-anew", policy.name));
    assert_eq!(twice(&rig).await, 1, "not under another policy, then under its own");
    engine.load(None, crate::engine::CLEAN);
    assert_eq!(twice(&rig).await, 2, "signatures without a name may be any");
    engine.load(Some("3"), |_| Ok((infected("Win.Test"), Vec::new())));
    rig.list(&lists::signature(ListKind::Allow, "Win.Test")).await;
    assert_eq!(twice(&rig).await, 2, "what is allowed is not clean");
}
