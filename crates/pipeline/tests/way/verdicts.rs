//! What becomes of which bytes, and what a published object carries.

use std::io::{Cursor, Write};

use lazaret_core::{HoldReason, NewSession, Reason, RejectReason, SessionState, Sha256Digest, ports::SessionStore};
use lazaret_pipeline::Passed;
use lazaret_testkit::{
    objects::MemoryObject,
    scanners::{MemoryScanner, eicar},
    transformer::{Made, MemoryTransformer, png},
};
use sha2::{Digest, Sha256};

use crate::rig::{PUBLISHED, Rig, a_png, new_session, scanner_name, slot};

fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

fn copy(rig: &Rig) -> MemoryObject {
    let copies = rig.copies();
    assert_eq!(copies.len(), 1, "{copies:?}");
    rig.store.object(PUBLISHED, &copies[0]).unwrap()
}

#[tokio::test]
async fn as_is_carries_these_headers_and_nothing_else() {
    let rig = Rig::new().await;
    let (session, event) = rig.upload(b"plain words", "Grüße an alle.txt", "text/plain; charset=utf-8").await;
    let Passed::Settled(settled) = rig.pass(&event).await.unwrap() else { panic!("not settled") };
    let digest = digest(b"plain words").to_string();
    assert_eq!(rig.published(&session).await, b"plain words");
    assert_eq!(rig.copies(), [format!("published/{}/{digest}", session.object_id)]);
    let headers = copy(&rig).headers.unwrap();
    assert_eq!(headers.content_type.as_str(), "text/plain");
    assert_eq!(headers.content_disposition, "attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20an%20alle.txt");
    assert_eq!(headers.cache_control, "private, max-age=86400, immutable");
    let expected = [
        ("lazaret-object-id", session.object_id.to_string()),
        ("lazaret-sha256", digest.clone()),
        ("lazaret-source-sha256", digest),
        ("lazaret-tenant-id", "tenant-1".to_owned()),
        ("lazaret-upload-id", session.upload_id.to_string()),
    ];
    assert_eq!(headers.metadata, expected);
    let history = rig.sessions.history(session.upload_id).await.unwrap();
    assert_eq!(history.verdicts.len(), 1);
    assert_eq!(history.verdicts[0].engine.engine, "Memory 1.0");
    assert!(settled.source.unwrap().sha256.is_some());
    assert!(rig.store.keys(crate::rig::BUCKET).is_empty(), "the original goes after the commit");
}

#[tokio::test]
async fn re_encoded_carries_the_new_bytes_and_both_digests() {
    let rig = Rig::new().await;
    let (input, output) = (a_png(), png(&format!("re-encoded from {} bytes", a_png().len())));
    let (session, event) = rig.upload(&input, "photo.png", "image/png").await;
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, output);
    let headers = copy(&rig).headers.unwrap();
    assert_eq!(headers.content_disposition, "inline; filename*=UTF-8''photo.png");
    assert_eq!(headers.content_type.as_str(), "image/png");
    let metadata: std::collections::BTreeMap<_, _> = headers.metadata.into_iter().collect();
    assert_eq!(metadata["lazaret-sha256"], digest(&output).to_string());
    assert_eq!(metadata["lazaret-source-sha256"], digest(&input).to_string());
}

async fn reason_of(rig: &Rig, bytes: &[u8], change: impl FnOnce(&mut NewSession)) -> Option<Reason> {
    let mut new = new_session(bytes, "note.txt", "text/plain");
    change(&mut new);
    let session = rig.sessions.create(&new).await.unwrap();
    let event = rig.put(&session, bytes);
    let passed = rig.pass(&event).await.unwrap();
    assert!(matches!(passed, Passed::Settled(_)), "{passed:?}");
    assert!(rig.copies().is_empty(), "{:?}", rig.copies());
    assert_eq!(rig.settlements(&session).await.len(), 1);
    rig.state(&session).await.reason()
}

#[tokio::test]
async fn each_broken_promise_has_its_reason() {
    use RejectReason as R;

    let rig = Rig::new().await.with(|station| station.settings.max_object_size = 1000);
    let words = b"plain words";
    let rejected = |reason| Some(Reason::Rejected(reason));
    assert_eq!(reason_of(&rig, words, |new| new.declared_size = 10).await, rejected(R::SizeMismatch));
    assert_eq!(reason_of(&rig, b"", |_| ()).await, rejected(R::Empty));
    assert_eq!(reason_of(&rig, &[b'x'; 1001], |_| ()).await, rejected(R::TooLarge));
    let other = |new: &mut NewSession| new.declared_sha256 = Some(digest(b"other words"));
    assert_eq!(reason_of(&rig, words, other).await, rejected(R::DigestMismatch));
    let png = |new: &mut NewSession| new.declared_type = "image/png".parse().unwrap();
    assert_eq!(reason_of(&rig, words, png).await, rejected(R::TypeMismatch));
    let js = |new: &mut NewSession| new.file_name = "note.js".parse().unwrap();
    assert_eq!(reason_of(&rig, words, js).await, rejected(R::ExtensionMismatch));
    let gif = |new: &mut NewSession| {
        new.file_name = "a.gif".parse().unwrap();
        new.declared_type = "image/gif".parse().unwrap();
    };
    assert_eq!(reason_of(&rig, b"GIF89a\x01\0\x01\0", gif).await, rejected(R::TypeNotAllowed));
    let webp = |new: &mut NewSession| {
        new.file_name = "a.webp".parse().unwrap();
        new.declared_type = "image/webp".parse().unwrap();
    };
    assert_eq!(reason_of(&rig, b"RIFF\x24\0\0\0WEBPVP8 ", webp).await, rejected(R::TypeNotAllowed));
    assert_eq!(rig.scanner.scans(), 0, "nothing of this is worth a scan");
}

#[tokio::test]
async fn a_declared_digest_that_is_right_is_kept() {
    let rig = Rig::new().await;
    let mut new = new_session(b"plain words", "note.txt", "text/plain");
    new.declared_sha256 = Some(digest(b"plain words"));
    let session = rig.sessions.create(&new).await.unwrap();
    let event = rig.put(&session, b"plain words");
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.published(&session).await, b"plain words");
}

#[tokio::test]
async fn what_the_scanner_says() {
    let rig = Rig::new().await;
    assert_eq!(reason_of(&rig, &eicar(), |_| ()).await, Some(Reason::Rejected(RejectReason::Infected)));
    assert_eq!(reason_of(&rig, b"encrypted", |_| ()).await, Some(Reason::Held(HoldReason::Encrypted)));
    assert_eq!(reason_of(&rig, b"over limits", |_| ()).await, Some(Reason::Held(HoldReason::ScanLimits)));
}

#[tokio::test]
async fn what_a_scanner_does_not_look_at_whole_is_held() {
    let rig = Rig::new().await.with(|station| station.scanners[0].max_size = 10);
    assert_eq!(reason_of(&rig, b"eleven byte", |_| ()).await, Some(Reason::Held(HoldReason::ScanLimits)));
    assert_eq!(rig.scanner.scans(), 0);
}

/// One engine in trouble is no excuse for what another has found, and one that is content none for the trouble.
#[tokio::test]
async fn every_scanner_has_a_say() {
    let second = MemoryScanner::clean("second".parse().unwrap());
    let rig = Rig::new().await.with(|station| {
        station.scanners.push(slot(second.clone()));
        let mut policies = station.settings.policies.as_slice().to_vec();
        for policy in &mut policies {
            policy.scanners.push("second".parse().unwrap());
        }
        station.settings.policies = lazaret_core::PolicySet::new(policies);
    });
    second.set_down(true);
    assert_eq!(reason_of(&rig, &eicar(), |_| ()).await, Some(Reason::Rejected(RejectReason::Infected)));
    let (session, event) = rig.text().await;
    rig.pass(&event).await.unwrap_err();
    assert_eq!(rig.state(&session).await, SessionState::Finalized);
    second.set_down(false);
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.sessions.history(session.upload_id).await.unwrap().verdicts.len(), 2);
    assert_eq!(rig.published(&session).await, b"plain words");
}

#[tokio::test]
async fn an_encrypted_zip_is_held_whatever_the_scanner_says() {
    let rig = Rig::new().await.with_scanner(MemoryScanner::clean(scanner_name()));
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("a.txt", zip::write::SimpleFileOptions::default()).unwrap();
    writer.write_all(b"secret").unwrap();
    let mut bytes = writer.finish().unwrap().into_inner();
    let as_zip = |new: &mut NewSession| {
        new.file_name = "a.zip".parse().unwrap();
        new.declared_type = "application/zip".parse().unwrap();
    };
    let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[directory + 8] |= 1;
    assert_eq!(reason_of(&rig, &bytes, as_zip).await, Some(Reason::Held(HoldReason::Encrypted)));
    assert_eq!(rig.scanner.scans(), 1, "an infection would have been said");
}

#[tokio::test]
async fn what_the_jail_says() {
    let as_png = |new: &mut NewSession| {
        new.file_name = "a.png".parse().unwrap();
        new.declared_type = "image/png".parse().unwrap();
    };
    for (made, reason) in [
        (Made::Refused(RejectReason::PixelLimit), Reason::Rejected(RejectReason::PixelLimit)),
        (Made::Held(HoldReason::TransformKilled), Reason::Held(HoldReason::TransformKilled)),
    ] {
        let rig = Rig::new().await.with_transformer(MemoryTransformer::new(move |_, _, _| made.clone()));
        assert_eq!(reason_of(&rig, &a_png(), as_png).await, Some(reason));
    }
}

#[tokio::test]
async fn orphans_foreigners_and_the_missing_change_nothing() {
    let rig = Rig::new().await;
    let (session, event) = rig.text().await;
    let mut foreign = event.clone();
    foreign.key = "elsewhere/x".parse().unwrap();
    assert_eq!(rig.pass(&foreign).await.unwrap(), Passed::NotOurs);
    foreign.bucket = "other-bucket".parse().unwrap();
    assert_eq!(rig.pass(&foreign).await.unwrap(), Passed::NotOurs);
    let mut orphan = event.clone();
    orphan.key = "quarantine/nobody".parse().unwrap();
    assert_eq!(rig.pass(&orphan).await.unwrap(), Passed::Orphan);
    assert_eq!(rig.session(&session).await, session);
    let (gone, event) = rig.text().await;
    let key = gone.key.as_key();
    lazaret_core::ports::ObjectStore::delete(&*rig.store, &gone.bucket, key, None).await.unwrap();
    assert_eq!(rig.pass(&event).await.unwrap(), Passed::Missing);
    assert_eq!(rig.session(&gone).await.attempts, 0, "an absent object costs no attempt");
    // A second event, of a later upload, still finds its way.
    let event = rig.put(&gone, b"plain words");
    assert!(matches!(rig.pass(&event).await.unwrap(), Passed::Settled(_)));
}
