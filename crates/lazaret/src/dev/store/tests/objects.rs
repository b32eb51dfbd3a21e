use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{Delete, MetadataDirective, ObjectIdentifier};

use super::*;

#[tokio::test]
async fn what_a_writer_says_of_an_object_is_told_to_readers() {
    let endpoint = Endpoint::start().await;
    let expires = DateTime::from_str("Thu, 01 Jan 2032 00:00:00 GMT", DateTimeFormat::HttpDate).unwrap();
    let put = endpoint.client.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"hello"));
    let put = put
        .content_type("image/png")
        .content_disposition("attachment; filename*=UTF-8''na%C3%AFve.png")
        .cache_control("private, max-age=60, immutable")
        .content_encoding("identity")
        .content_language("de")
        .expires(expires)
        .metadata("lazaret-tenant-id", "t1");
    let put = put.send().await.unwrap();
    assert_eq!(put.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    let get = endpoint.client.get_object().bucket(BUCKET).key("k").send().await.unwrap();
    let head = endpoint.client.head_object().bucket(BUCKET).key("k").send().await.unwrap();
    assert_eq!(head.content_type(), Some("image/png"));
    assert_eq!(head.content_disposition(), Some("attachment; filename*=UTF-8''na%C3%AFve.png"));
    assert_eq!(head.cache_control(), Some("private, max-age=60, immutable"));
    assert_eq!(head.content_encoding(), Some("identity"));
    assert_eq!(head.content_language(), Some("de"));
    assert_eq!(head.expires_string(), Some("Thu, 01 Jan 2032 00:00:00 GMT"));
    assert_eq!(head.metadata().unwrap()["lazaret-tenant-id"], "t1");
    assert_eq!(head.content_length(), Some(5));
    assert_eq!(
        (get.content_type(), get.e_tag(), get.last_modified()),
        (head.content_type(), put.e_tag(), head.last_modified())
    );
    assert_eq!(get.content_disposition(), head.content_disposition());
    assert_eq!(get.metadata(), head.metadata());
    assert_eq!(get.body.collect().await.unwrap().to_vec(), b"hello");
    let [completed] = &endpoint.completed()[..] else { panic!("one upload") };
    assert_eq!((completed.bucket.as_str(), completed.key.as_str(), completed.size), (BUCKET, "k", 5));
    assert_eq!(completed.etag, "5d41402abc4b2a76b9719d911017c592");
}

#[tokio::test]
async fn an_empty_object_is_one() {
    let endpoint = Endpoint::start().await;
    endpoint.put("empty", b"").await;
    assert_eq!(endpoint.get("empty").await.unwrap(), b"");
    let part = endpoint.client.get_object().bucket(BUCKET).key("empty").part_number(1).send().await.unwrap();
    assert_eq!(part.content_length(), Some(0));
}

#[tokio::test]
async fn only_one_of_twenty_writers_creates_a_key() {
    let endpoint = Endpoint::start().await;
    let mut writers = JoinSet::new();
    for writer in 0..20_u8 {
        let client = endpoint.client.clone();
        writers.spawn(async move {
            let body = ByteStream::from(bytes(100_000, writer));
            let put = client.put_object().bucket(BUCKET).key("one").if_none_match("*").body(body);
            put.send().await.map(|_| writer).map_err(|error| code(&error))
        });
    }
    let outcomes = writers.join_all().await;
    let winners: Vec<u8> = outcomes.iter().filter_map(|outcome| outcome.clone().ok()).collect();
    let [winner] = winners[..] else { panic!("one winner, not {winners:?}") };
    assert!(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(|code| code == "PreconditionFailed"));
    assert!(endpoint.get("one").await.unwrap() == bytes(100_000, winner));
    assert_eq!(endpoint.completed().len(), 1);
    assert_eq!(endpoint.staged_files(), 0);
}

#[tokio::test]
async fn a_write_can_be_bound_to_the_version_it_replaces() {
    let endpoint = Endpoint::start().await;
    let put = |tag: &str| {
        let body = ByteStream::from_static(b"new");
        endpoint.client.put_object().bucket(BUCKET).key("k").if_match(tag).body(body).send()
    };
    assert_eq!(code(&put("\"00\"").await.unwrap_err()), "NoSuchKey");
    let first = endpoint.put("k", b"old").await;
    assert_eq!(code(&put("\"00\"").await.unwrap_err()), "PreconditionFailed");
    assert_eq!(endpoint.get("k").await.unwrap(), b"old");
    put(&first).await.unwrap();
    assert_eq!(endpoint.get("k").await.unwrap(), b"new");
}

#[tokio::test]
async fn reads_honour_their_conditions() {
    let endpoint = Endpoint::start().await;
    let tag = endpoint.put("k", b"body").await;
    let get = || endpoint.client.get_object().bucket(BUCKET).key("k");
    let past = DateTime::from_secs(1_000_000_000);
    get().if_match(&tag).send().await.unwrap();
    assert_eq!(code(&get().if_match("\"00\"").send().await.unwrap_err()), "PreconditionFailed");
    assert_eq!(code(&get().if_unmodified_since(past).send().await.unwrap_err()), "PreconditionFailed");
    get().if_none_match("\"00\"").send().await.unwrap();
    get().if_modified_since(past).send().await.unwrap();
    for same in [get().if_none_match(&tag), get().if_modified_since(get().send().await.unwrap().last_modified.unwrap())]
    {
        let answer = same.send().await.unwrap_err();
        assert_eq!(answer.raw_response().unwrap().status().as_u16(), 304);
    }
    let head = endpoint.client.head_object().bucket(BUCKET).key("k").if_match("\"00\"").send().await.unwrap_err();
    assert_eq!(head.raw_response().unwrap().status().as_u16(), 412);
}

#[tokio::test]
async fn ranges_are_cut_out_of_the_object() {
    let endpoint = Endpoint::start().await;
    endpoint.put("k", b"0123456789").await;
    let cases = [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
    ];
    for (range, body, told) in cases {
        let get = endpoint.client.get_object().bucket(BUCKET).key("k").range(range).send().await.unwrap();
        assert_eq!(get.content_range(), Some(told));
        assert_eq!(get.body.collect().await.unwrap().to_vec(), body.as_bytes());
    }
    let beyond = endpoint.client.get_object().bucket(BUCKET).key("k").range("bytes=10-").send().await.unwrap_err();
    assert_eq!(beyond.raw_response().unwrap().status().as_u16(), 416);
}

#[tokio::test]
async fn a_reader_keeps_the_version_it_began_with() {
    let endpoint = Endpoint::start().await;
    let old = bytes(16_000_000, 1);
    endpoint.put("replaced", old.clone()).await;
    endpoint.put("deleted", old.clone()).await;
    let open = |key: &str| endpoint.client.get_object().bucket(BUCKET).key(key).send();
    let (mut replaced, mut deleted) = (open("replaced").await.unwrap(), open("deleted").await.unwrap());
    let first = [replaced.body.next().await.unwrap().unwrap(), deleted.body.next().await.unwrap().unwrap()];
    assert!(first.iter().all(|chunk| chunk.len() < old.len()), "the rest is still to be read");
    endpoint.put("replaced", bytes(16_000_000, 2)).await;
    endpoint.client.delete_object().bucket(BUCKET).key("deleted").send().await.unwrap();
    for (first, rest) in first.iter().zip([replaced.body, deleted.body]) {
        let whole = [&first[..], &rest.collect().await.unwrap().into_bytes()].concat();
        assert!(whole == old);
    }
    assert!(endpoint.get("replaced").await.unwrap() == bytes(16_000_000, 2));
    assert_eq!(endpoint.get("deleted").await, None);
}

#[tokio::test]
async fn copies_take_or_replace_what_is_said_of_the_object() {
    let endpoint = Endpoint::start().await;
    let put = endpoint.client.put_object().bucket(BUCKET).key("a b/ü").body(ByteStream::from_static(b"body"));
    let tag = put.content_type("text/plain").metadata("kept", "yes").send().await.unwrap().e_tag.unwrap();
    let copy = |to: &str| endpoint.client.copy_object().bucket(BUCKET).key(to).copy_source("uploads/a%20b/%C3%BC");
    let same = copy("same").copy_source_if_match(&tag).send().await.unwrap();
    assert_eq!(same.copy_object_result.unwrap().e_tag, Some(tag.clone()));
    let replace = copy("other").metadata_directive(MetadataDirective::Replace).content_type("image/png").send();
    replace.await.unwrap();
    let head = |key: &str| endpoint.client.head_object().bucket(BUCKET).key(key).send();
    let (same, other) = (head("same").await.unwrap(), head("other").await.unwrap());
    assert_eq!((same.content_type(), same.metadata().unwrap().len()), (Some("text/plain"), 1));
    assert_eq!((other.content_type(), other.metadata().unwrap().len()), (Some("image/png"), 0));
    assert_eq!(endpoint.get("other").await.unwrap(), b"body");
    let changed = copy("never").copy_source_if_match("\"00\"").send().await.unwrap_err();
    assert_eq!(code(&changed), "PreconditionFailed");
    assert_eq!(endpoint.get("never").await, None);
    assert_eq!(code(&copy("a b/ü").send().await.unwrap_err()), "InvalidRequest");
    let onto_itself = copy("a b/ü").metadata_directive(MetadataDirective::Replace).content_type("image/gif").send();
    onto_itself.await.unwrap();
    assert_eq!(head("a b/ü").await.unwrap().content_type(), Some("image/gif"));
    let missing = endpoint.client.copy_object().bucket(BUCKET).key("x").copy_source("uploads/none").send();
    assert_eq!(code(&missing.await.unwrap_err()), "NoSuchKey");
    let keys: Vec<String> = endpoint.completed().into_iter().map(|upload| upload.key).collect();
    assert_eq!(keys, ["a b/ü", "same", "other", "a b/ü"]);
}

#[tokio::test]
async fn sequencers_grow_with_every_write() {
    let endpoint = Endpoint::start().await;
    for round in 0..50_u8 {
        endpoint.put("k", [round]).await;
    }
    let sequencers: Vec<String> = endpoint.completed().into_iter().map(|upload| upload.sequencer).collect();
    assert!(sequencers.windows(2).all(|pair| pair[0] < pair[1]), "{sequencers:?}");
}

#[tokio::test]
async fn deleting_is_final_and_may_be_repeated() {
    let endpoint = Endpoint::start().await;
    for key in ["one", "two", "three"] {
        endpoint.put(key, b"x").await;
    }
    for _ in 0..2 {
        endpoint.client.delete_object().bucket(BUCKET).key("one").send().await.unwrap();
    }
    let named = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let versioned = ObjectIdentifier::builder().key("three").version_id("7").build().unwrap();
    let delete = Delete::builder().objects(named("two")).objects(named("never")).objects(versioned).build().unwrap();
    let done = endpoint.client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
    assert_eq!(done.deleted().len(), 2);
    assert_eq!(done.errors()[0].key(), Some("three"));
    assert_eq!((endpoint.get("one").await, endpoint.get("two").await), (None, None));
    assert_eq!(endpoint.get("three").await.unwrap(), b"x");
}

#[tokio::test]
async fn buckets_are_made_found_and_told_apart() {
    let endpoint = Endpoint::start().await;
    let client = &endpoint.client;
    client.create_bucket().bucket("second").send().await.unwrap();
    assert_eq!(code(&client.create_bucket().bucket("second").send().await.unwrap_err()), "BucketAlreadyOwnedByYou");
    client.head_bucket().bucket("second").send().await.unwrap();
    assert_eq!(
        client.head_bucket().bucket("third").send().await.unwrap_err().raw_response().unwrap().status().as_u16(),
        404
    );
    let buckets = client.list_buckets().send().await.unwrap();
    let names: Vec<_> = buckets.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, ["second", BUCKET]);
    client.get_bucket_location().bucket(BUCKET).send().await.unwrap();
    assert_eq!(client.get_bucket_versioning().bucket(BUCKET).send().await.unwrap().status(), None);
    let body = ByteStream::from_static(b"x");
    let lost = client.put_object().bucket("third").key("k").body(body).send().await.unwrap_err();
    assert_eq!(code(&lost), "NoSuchBucket");
    endpoint.put("k", b"first").await;
    assert_eq!(code(&client.get_object().bucket("second").key("k").send().await.unwrap_err()), "NoSuchKey");
    let versioned = client.get_object().bucket(BUCKET).key("k").version_id("7").send().await.unwrap_err();
    assert_eq!(code(&versioned), "InvalidArgument");
}
