//! Against a store that ignores conditions and checksums and says 200 (`LAZARET_TEST_DISHONEST_S3_ENDPOINT`, moto).

use super::*;

/// Two blocks with one MD5, and so with one entity tag (Wang, Feng, Lai and Yu 2004,
/// <https://eprint.iacr.org/2004/199>).
const COLLIDING: [&str; 2] = [
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f8955ad340609f4b30283e488832571415a\
     085125e8f7cdc99fd91dbdf280373c5bd8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0\
     e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70",
    "d131dd02c5e6eec4693d9a0698aff95c2fcab50712467eab4004583eb8fb7f8955ad340609f4b30283e4888325f1415a\
     085125e8f7cdc99fd91dbd7280373c5bd8823e3156348f5bae6dacd436c919c6dd53e23487da03fd02396306d248cda0\
     e99f33420f577ee8ce54b67080280d1ec69821bcb6a8839396f965ab6ff72a70",
];

/// A bucket of the dishonest store, and what a probe of it finds.
async fn probed(versioned: bool) -> (Rig, Capabilities) {
    let rig = Rig::at("LAZARET_TEST_DISHONEST_S3_ENDPOINT", Checksums::WhenSupported, versioned).await;
    let found = rig.probe().await;
    (rig, found)
}

#[tokio::test]
async fn what_the_store_ignores_is_found() {
    for versioned in [false, true] {
        let (rig, found) = probed(versioned).await;
        for (what, honoured) in [
            ("a wrong SHA-256", found.sha256_checksum),
            ("a wrong Content-MD5", found.content_md5),
            ("a condition on a copy", found.conditional_copy),
        ] {
            assert_eq!(honoured, Honoured::No, "{what}\n{found}");
        }
        assert_eq!(found.copies_versions(), versioned, "{found}");
        assert_eq!((found.warning(), rig.litter().await), (None, Vec::new()), "{found}");
    }
}

#[tokio::test]
async fn the_contract_is_kept_all_the_same() {
    for versioned in [false, true] {
        let (rig, _) = probed(versioned).await;
        conforms(rig.setup(versioned)).await.unwrap();
    }
}

#[tokio::test]
async fn bytes_with_the_same_tag_and_length_are_not_published() {
    let [scanned, swapped] = COLLIDING.map(|block| hex::decode(block).unwrap());
    for versioned in [false, true] {
        let (rig, _) = probed(versioned).await;
        let head = rig.put("quarantine/1", &scanned).await;
        let bytes = rig.store.fetch(&head).await.unwrap();
        let after = rig.put("quarantine/1", &swapped).await;
        assert_eq!((&after.etag, after.size), (&head.etag, head.size), "nothing but the bytes tells them apart");
        let key = published_key("1");
        publish(&rig, &key, PublishSource::AsIs { spooled: &bytes, object: &head }).await.unwrap();
        let back = rig.store.read_back(&rig.bucket, &key).await.unwrap().unwrap();
        assert_eq!(back.sha256, *bytes.sha256());
        assert_eq!(contents(&bytes).unwrap(), scanned);
    }
}

#[tokio::test]
async fn a_large_object_goes_in_one_piece_where_parts_do_not_work() {
    let (mut rig, _) = probed(false).await;
    rig.store.multipart_above_bytes = MIB;
    let bytes = spooled(&vec![7; 2_000_000]).unwrap();
    let key = published_key("large");
    publish(&rig, &key, PublishSource::Transformed { spooled: &bytes }).await.unwrap();
    let back = rig.store.read_back(&rig.bucket, &key).await.unwrap().unwrap();
    assert_eq!((back.size, back.sha256), (bytes.len(), *bytes.sha256()));
}
