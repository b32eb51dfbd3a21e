//! What the probe finds on a good store, and what follows from it.

use super::*;

impl Rig {
    pub(super) async fn probe(&self) -> Capabilities {
        probe(&self.store, &self.bucket).await.unwrap()
    }

    /// Everything that lies in the bucket: versions, delete markers, open uploads.
    pub(super) async fn litter(&self) -> Vec<String> {
        let versions = self.store.client.list_object_versions().bucket(self.bucket.as_str()).send().await.unwrap();
        let uploads = self.store.client.list_multipart_uploads().bucket(self.bucket.as_str()).send().await.unwrap();
        let objects = versions.versions().iter().map(|found| format!("version {:?} {:?}", found.key, found.version_id));
        let markers =
            versions.delete_markers().iter().map(|found| format!("marker {:?} {:?}", found.key, found.version_id));
        let open = uploads.uploads().iter().map(|found| format!("upload {:?}", found.key));
        objects.chain(markers).chain(open).collect()
    }
}

/// The names of what was found to be so.
fn names(found: &Capabilities, honoured: Honoured) -> Vec<&'static str> {
    found.list().iter().filter(|line| line.honoured == honoured).map(|line| line.name).collect()
}

#[tokio::test]
async fn a_good_store_honours_everything_and_is_left_as_it_was() {
    for checksums in [Checksums::WhenSupported, Checksums::WhenRequired] {
        let rig = Rig::new(checksums, true).await;
        let found = rig.probe().await;
        assert_eq!(names(&found, Honoured::No), ["Content-MD5"; 0], "{found}");
        assert_eq!((found.warning(), rig.litter().await), (None, Vec::new()), "{found}");
        assert!(found.copies_versions());
        assert_eq!(rig.store.capabilities(), found);
    }
}

#[tokio::test]
async fn a_bucket_without_versions_has_nothing_to_pin() {
    let rig = Rig::new(Checksums::WhenSupported, false).await;
    let found = rig.probe().await;
    assert_eq!((found.versions, found.pinned_copy), (Honoured::No, Honoured::No), "{found}");
    assert_eq!((found.metadata_replace, found.conditional_copy), (Honoured::Yes, Honoured::Yes), "{found}");
    assert_eq!((found.warning(), rig.litter().await), (None, Vec::new()), "{found}");
    assert!(!found.copies_versions());
}

#[tokio::test]
async fn probes_at_once_do_not_disturb_each_other() {
    let rig = Rig::new(Checksums::WhenSupported, true).await;
    let found = tokio::join!(rig.probe(), rig.probe(), rig.probe());
    assert_eq!((&found.0, &found.0), (&found.1, &found.2));
    assert_eq!((found.0.warning(), rig.litter().await), (None, Vec::new()));
}

#[tokio::test]
async fn what_a_killed_probe_left_goes_with_a_later_one() {
    use std::time::{SystemTime, UNIX_EPOCH};

    #[expect(clippy::disallowed_methods, reason = "ids of probes hold the time of this host")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let begun = |hours_ago: u64| Uuid::new_v7(uuid::Timestamp::from_unix_time(now - hours_ago * 3600, 0, 0, 0));
    for versioned in [true, false] {
        let rig = Rig::new(Checksums::WhenSupported, versioned).await;
        let key = |id: Uuid| format!("published/.lazaret-probe/{id}/object");
        let (old, recent, foreign) = (key(begun(25)), key(begun(1)), "published/.lazaret-probe/not-a-probe/object");
        for key in [old.as_str(), old.as_str(), recent.as_str(), foreign] {
            rig.put(key, b"left behind").await;
        }
        let found = rig.probe().await;
        assert_eq!(found.warning(), None, "{found}");
        let left = rig.litter().await.join(" ");
        assert!(!left.contains(&old), "{left}");
        assert!(
            left.contains(&recent) && left.contains(foreign),
            "what may still be needed, or is not ours, went: {left}"
        );
    }
}

/// Publishing what was scanned, after the client's object of that very version was taken away: only a copy notices.
async fn copies(rig: &Rig) -> bool {
    let head = rig.put("quarantine/copied", b"scanned").await;
    let bytes = rig.store.fetch(&head).await.unwrap();
    // Other bytes of the same length than those that lie at the store show where they were taken from.
    let others = spooled(b"spooled").unwrap();
    let key = published_key("copied");
    publish(rig, &key, PublishSource::AsIs { spooled: &others, object: &head }).await.unwrap();
    let back = rig.store.read_back(&rig.bucket, &key).await.unwrap().unwrap();
    assert!([bytes.sha256(), others.sha256()].contains(&&back.sha256));
    back.sha256 == *bytes.sha256()
}

#[tokio::test]
async fn only_what_a_probe_proved_is_copied_at_the_store() {
    let rig = Rig::new(Checksums::WhenSupported, true).await;
    assert!(!copies(&rig).await, "nothing was proved");
    rig.probe().await;
    assert!(copies(&rig).await, "everything was proved");
    let rig = Rig::new(Checksums::WhenSupported, false).await;
    rig.probe().await;
    assert!(!copies(&rig).await, "there are no versions");
}

#[tokio::test]
async fn what_is_known_not_to_take_parts_gets_one_piece() {
    let mut rig = Rig::new(Checksums::WhenSupported, false).await;
    rig.store.multipart_above_bytes = MIB;
    let bytes = spooled(&vec![7; 2_000_000]).unwrap();
    for (multipart, in_parts) in [(Honoured::Yes, true), (Honoured::Unknown, true), (Honoured::No, false)] {
        rig.store.capabilities = RwLock::new(Capabilities { multipart, ..Capabilities::default() });
        let key = published_key("large");
        publish(&rig, &key, PublishSource::Transformed { spooled: &bytes }).await.unwrap();
        let head = rig.store.head(&rig.bucket, key.as_key(), None).await.unwrap().unwrap();
        assert_eq!(head.etag.as_str().ends_with("-1"), in_parts, "{multipart}: {:?}", head.etag);
    }
}

#[tokio::test]
async fn headers_that_nobody_wrote_are_told() {
    let rig = Rig::new(Checksums::WhenSupported, false).await;
    let key = published_key("foreign");
    let request = rig.store.client.put_object().bucket(rig.bucket.as_str()).key(key.as_key().as_str());
    let request = request
        .content_encoding("gzip")
        .content_language("xx")
        .website_redirect_location("/elsewhere")
        .tagging("scan=clean")
        .body(b"bytes".to_vec().into());
    let expires = request.expires(aws_sdk_s3::primitives::DateTime::from_secs(0));
    expires.send().await.unwrap();
    let back = rig.store.read_back(&rig.bucket, &key).await.unwrap().unwrap();
    let found: Vec<_> = back.unexpected.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let expected = [
        ("Content-Encoding", "gzip"),
        ("Content-Language", "xx"),
        ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("x-amz-website-redirect-location", "/elsewhere"),
        ("x-amz-tagging-count", "1"),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn encryption_is_what_was_asked_for() {
    let mut rig = Rig::new(Checksums::WhenSupported, false).await;
    rig.store.sse = Some(ServerSideEncryption::Aes256);
    let (key, bytes) = (published_key("encrypted"), spooled(b"bytes").unwrap());
    publish(&rig, &key, PublishSource::Transformed { spooled: &bytes }).await.unwrap();
    let back = rig.store.read_back(&rig.bucket, &key).await.unwrap().unwrap();
    assert_eq!(back.unexpected, []);
    rig.store.sse = Some(ServerSideEncryption::AwsKms { key_id: None });
    let back = rig.store.read_back(&rig.bucket, &key).await.unwrap().unwrap();
    assert_eq!(back.unexpected, [("x-amz-server-side-encryption", "AES256".to_owned())]);
}
