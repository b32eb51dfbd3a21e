use std::collections::BTreeSet;

use super::*;

fn odd_keys() -> Vec<String> {
    let keys = [
        "a",
        "a/b",
        "a/",
        "a/b/c",
        "A",
        ".",
        "..",
        "../up",
        "../../../../etc/passwd",
        "a/../b",
        "a/./b",
        "/lead",
        "//two",
        "trail//",
        "a+b c",
        "a%20b",
        "100%",
        "%2F",
        "%2e%2e",
        "ü",
        "u\u{308}",
        "日本語/🦀",
        "q?x=1&y=2#f",
        "back\\slash",
        "quote\"'<&>",
        "~*!()[]{}|^`",
        "c:\\con",
        "lock",
        "upload.json",
        "tab\there",
    ];
    let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    keys.push("k".repeat(1024));
    keys.push("ü".repeat(512));
    keys
}

#[tokio::test]
async fn any_key_is_stored_under_itself_and_nowhere_else() {
    let endpoint = Endpoint::start().await;
    for key in odd_keys() {
        endpoint.put(&key, key.as_bytes()).await;
    }
    let listed = endpoint.client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let listed: Vec<String> = listed.contents.unwrap().into_iter().map(|object| object.key.unwrap()).collect();
    let expected: BTreeSet<String> = odd_keys().into_iter().collect();
    assert_eq!(listed, expected.iter().cloned().collect::<Vec<_>>());
    for key in odd_keys() {
        assert_eq!(endpoint.get(&key).await.unwrap(), key.as_bytes(), "{key:?}");
    }
    let told: BTreeSet<String> = endpoint.completed().into_iter().map(|upload| upload.key).collect();
    assert_eq!(told, expected);
    let Endpoint { root, .. } = &endpoint;
    let objects: Vec<_> = std::fs::read_dir(root.join("buckets").join(BUCKET).join("objects")).unwrap().collect();
    assert_eq!(objects.len(), expected.len());
    let top: BTreeSet<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(top, ["buckets", "lock", "staging"].map(Into::into).into());
    for key in odd_keys() {
        endpoint.client.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
    }
    assert_eq!(endpoint.client.list_objects_v2().bucket(BUCKET).send().await.unwrap().key_count(), Some(0));
}

#[tokio::test]
async fn a_key_of_more_than_1024_bytes_is_refused() {
    let endpoint = Endpoint::start().await;
    let body = ByteStream::from_static(b"x");
    let refused =
        endpoint.client.put_object().bucket(BUCKET).key("k".repeat(1025)).body(body).send().await.unwrap_err();
    assert_eq!(code(&refused), "KeyTooLongError");
}

#[tokio::test]
async fn no_bucket_name_leads_out_of_the_folder() {
    let endpoint = Endpoint::start().await;
    for name in ["..", ".", "a/b", "UPPER", "-x-", "ab", "1.2.3.4", ""] {
        let folder = tempfile::tempdir().unwrap();
        let store = DirStore::open(folder.path(), |_| {}).unwrap();
        assert!(store.ensure_bucket(name).is_err(), "{name}");
    }
    let answer = endpoint.raw("GET", "/%2e%2e/%2e%2e/etc/passwd", &[], b"").await;
    assert!(answer.status >= 400);
}
