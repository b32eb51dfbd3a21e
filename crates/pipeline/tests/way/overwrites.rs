//! The key is written again while its first bytes are on their way.

use lazaret_core::{HoldReason, SessionState, ports::SessionStore};
use lazaret_pipeline::Passed;
use lazaret_testkit::{
    objects::{MemoryObjectStore, Operation},
    scanners::eicar,
};

use crate::rig::{BUCKET, PUBLISHED, Rig, event_of};

fn stores() -> [MemoryObjectStore; 4] {
    let store = || MemoryObjectStore::new(&[BUCKET, PUBLISHED]);
    [store(), store().with_versioning(), store().dishonest(), store().with_versioning().dishonest()]
}

/// Wherever between HEAD and commit the bytes change: what is published was scanned, or nothing is.
#[tokio::test]
async fn what_is_published_is_what_was_scanned() {
    let evil: Vec<u8> = eicar();
    let good: Vec<u8> = (0..evil.len()).map(|_| b'a').collect();
    for operation in [Operation::Fetch, Operation::Publish, Operation::ReadBack, Operation::Delete] {
        for store in stores() {
            let rig = Rig::over(store).await;
            let (session, event) = rig.upload(&good, "note.txt", "text/plain").await;
            let (key, bytes) = (session.key.to_string(), evil.clone());
            rig.store.before(operation, move |store| drop(store.put(BUCKET, &key, &bytes)));
            let mut ends = 0;
            while ends < 5 && !rig.state(&session).await.is_settled() {
                ends += 1;
                drop(rig.pass(&event).await);
            }
            for key in rig.copies() {
                let copy = rig.store.object(PUBLISHED, &key).unwrap().bytes.unwrap();
                assert_eq!(&copy[..], &good[..], "{operation:?}");
            }
            if let SessionState::Published(_) = rig.state(&session).await {
                assert_eq!(rig.published(&session).await, good);
            } else {
                assert!(rig.copies().is_empty());
            }
        }
    }
}

/// Versions are pinned: the first upload is what is published, and the later version goes with it.
#[tokio::test]
async fn a_later_version_does_not_get_in_the_way() {
    let rig = Rig::over(MemoryObjectStore::new(&[BUCKET, PUBLISHED]).with_versioning()).await;
    let (session, first) = rig.text().await;
    let late = rig.put(&session, b"other words");
    rig.pass(&first).await.unwrap();
    assert_eq!(rig.published(&session).await, b"plain words");
    assert_eq!(rig.pass(&late).await.unwrap(), Passed::AlreadySettled);
    assert_eq!(rig.published(&session).await, b"plain words");
    assert!(rig.store.keys(BUCKET).is_empty(), "the late version is still there");
}

#[tokio::test]
async fn a_late_write_under_a_published_key_is_deleted() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    rig.pass(&event).await.unwrap();
    let late = event_of(&rig.store.put(BUCKET, session.key.as_key().as_str(), &eicar()));
    assert_eq!(rig.pass(&late).await.unwrap(), Passed::AlreadySettled);
    assert!(rig.store.keys(BUCKET).is_empty());
    assert_eq!(rig.published(&session).await, b"plain words");
}

#[tokio::test]
async fn a_released_object_passes_with_its_override() {
    let rig = Rig::new().await;
    let (session, event) = rig.upload(b"encrypted", "note.txt", "text/plain").await;
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.state(&session).await, SessionState::Held(HoldReason::Encrypted));
    rig.sessions.release(session.upload_id, "alice").await.unwrap();
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, b"encrypted");
}

/// The operator took the risk of the bytes he saw, not of what the client writes afterwards.
#[tokio::test]
async fn an_override_is_about_the_bytes_that_were_held() {
    let rig = Rig::new().await;
    let (session, event) = rig.upload(b"encrypted", "note.txt", "text/plain").await;
    rig.pass(&event).await.unwrap();
    rig.sessions.release(session.upload_id, "alice").await.unwrap();
    // Another object of the same length that the scanner cannot look into either.
    let scanner = lazaret_testkit::scanners::MemoryScanner::new(crate::rig::scanner_name(), |_| {
        Ok(lazaret_core::Finding::Unscannable { reason: HoldReason::Encrypted, detail: "told to".to_owned() })
    });
    let rig = rig.with_scanner(scanner);
    let event = rig.put(&session, b"ENCRYPTED");
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.state(&session).await, SessionState::Held(HoldReason::Encrypted));
    assert!(rig.copies().is_empty());
}

/// A release is for one reason: the same bytes are held again for another.
#[tokio::test]
async fn an_override_is_for_one_reason() {
    let rig = Rig::new().await;
    let (session, event) = rig.upload(b"encrypted", "note.txt", "text/plain").await;
    rig.pass(&event).await.unwrap();
    rig.sessions.release(session.upload_id, "alice").await.unwrap();
    let rig = rig.with(|station| station.scanners[0].max_size = 5);
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.state(&session).await, SessionState::Held(HoldReason::ScanLimits));
}
