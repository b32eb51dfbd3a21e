use std::collections::BTreeSet;

use aws_sdk_s3::types::EncodingType;

use super::*;

const KEYS: [&str; 14] = [
    "a",
    "a/",
    "a/1",
    "a/2",
    "a/b/1",
    "a/b/2",
    "a0",
    "b/1",
    "b/1/x",
    "c d+e",
    "photos/2024/1",
    "photos/2025/1",
    "photos/x",
    "zü",
];

async fn filled() -> Endpoint {
    let endpoint = Endpoint::start().await;
    for key in KEYS {
        endpoint.put(key, key.as_bytes()).await;
    }
    endpoint
}

/// What S3 documents: keys by their bytes; those with the delimiter behind the prefix are rolled up.
fn model(prefix: &str, delimiter: &str) -> Vec<String> {
    let keys: BTreeSet<&str> = KEYS.into_iter().filter(|key| key.starts_with(prefix)).collect();
    let mut shown: Vec<String> = Vec::new();
    for key in keys {
        let found = key[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty());
        let entry = found.map_or(key, |at| &key[..prefix.len() + at + delimiter.len()]);
        if shown.last().map(String::as_str) != Some(entry) {
            shown.push(entry.to_owned());
        }
    }
    shown
}

#[tokio::test]
async fn every_page_length_gives_the_same_listing() {
    let endpoint = filled().await;
    for prefix in ["", "a", "a/", "photos/", "none", "zü"] {
        for delimiter in ["", "/", "/2"] {
            for limit in [1, 2, 3, 1000] {
                let list = endpoint.client.list_objects_v2().bucket(BUCKET).prefix(prefix).delimiter(delimiter);
                let mut pages = list.max_keys(limit).into_paginator().send();
                let mut shown = BTreeSet::new();
                while let Some(page) = pages.next().await {
                    let page = page.unwrap();
                    let before = shown.len();
                    shown.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
                    shown.extend(page.common_prefixes().iter().map(|rolled| rolled.prefix().unwrap().to_owned()));
                    let count = shown.len() - before;
                    assert_eq!(page.key_count(), Some(count.try_into().unwrap()), "nothing is shown twice");
                    assert!(count <= limit.try_into().unwrap());
                }
                let shown: Vec<String> = shown.into_iter().collect();
                assert_eq!(shown, model(prefix, delimiter), "{prefix:?} {delimiter:?} {limit}");
            }
        }
    }
}

#[tokio::test]
async fn the_old_listing_pages_by_marker() {
    let endpoint = filled().await;
    for delimiter in ["", "/"] {
        let mut shown = BTreeSet::new();
        let mut marker = String::new();
        loop {
            let list = endpoint.client.list_objects().bucket(BUCKET).delimiter(delimiter).max_keys(2);
            let page = list.marker(&marker).send().await.unwrap();
            shown.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
            shown.extend(page.common_prefixes().iter().map(|rolled| rolled.prefix().unwrap().to_owned()));
            match page.next_marker {
                Some(next) => marker = next,
                None => break,
            }
        }
        assert_eq!(shown.into_iter().collect::<Vec<_>>(), model("", delimiter));
    }
}

#[tokio::test]
async fn a_listing_tells_what_a_head_tells() {
    let endpoint = filled().await;
    let list = endpoint.client.list_objects_v2().bucket(BUCKET).start_after("photos/x").send().await.unwrap();
    let [entry] = list.contents() else { panic!("one key behind the start") };
    let head = endpoint.client.head_object().bucket(BUCKET).key("zü").send().await.unwrap();
    assert_eq!((entry.key(), entry.size(), entry.e_tag()), (Some("zü"), head.content_length(), head.e_tag()));
    assert_eq!(entry.last_modified().unwrap().secs(), head.last_modified().unwrap().secs());
    let url = endpoint.client.list_objects_v2().bucket(BUCKET).encoding_type(EncodingType::Url);
    let url = url.prefix("c").send().await.unwrap();
    assert_eq!(url.contents()[0].key(), Some("c%20d%2Be"));
    let none = endpoint.client.list_objects_v2().bucket(BUCKET).max_keys(0).send().await.unwrap();
    assert_eq!((none.key_count(), none.is_truncated()), (Some(0), Some(false)));
    let forged = endpoint.client.list_objects_v2().bucket(BUCKET).continuation_token("?").send().await.unwrap_err();
    assert_eq!(code(&forged), "InvalidArgument");
    let missing = endpoint.client.list_objects_v2().bucket("missing").send().await.unwrap_err();
    assert_eq!(code(&missing), "NoSuchBucket");
}
