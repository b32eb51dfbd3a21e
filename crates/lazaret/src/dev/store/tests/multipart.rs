use base64::Engine;

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};

use super::*;

const MIB: usize = 1024 * 1024;

impl Endpoint {
    async fn begin_upload(&self, key: &str) -> String {
        let create = self.client.create_multipart_upload().bucket(BUCKET).key(key).content_type("video/mp4");
        create.metadata("m", "v").send().await.unwrap().upload_id.unwrap()
    }

    async fn part(&self, key: &str, upload: &str, number: i32, body: Vec<u8>) -> CompletedPart {
        let part = self.client.upload_part().bucket(BUCKET).key(key).upload_id(upload).part_number(number);
        let part = part.body(ByteStream::from(body)).send().await.unwrap();
        CompletedPart::builder().part_number(number).e_tag(part.e_tag.unwrap()).build()
    }

    /// The `ETag`, or the code of the refusal.
    async fn complete(&self, key: &str, upload: &str, parts: &[CompletedPart]) -> Result<String, String> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build();
        let complete = self.client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(upload);
        let done = complete.multipart_upload(parts).send().await;
        done.map(|done| done.e_tag.unwrap()).map_err(|error| code(&error))
    }

    async fn uploads(&self) -> Vec<(String, String)> {
        let list = self.client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
        let pairs = list.uploads().iter().map(|upload| (upload.key().unwrap(), upload.upload_id().unwrap()));
        pairs.map(|(key, id)| (key.to_owned(), id.to_owned())).collect()
    }
}

#[tokio::test]
async fn parts_become_one_object_at_once() {
    let endpoint = Endpoint::start().await;
    let upload = endpoint.begin_upload("film").await;
    let (one, two) = (bytes(5 * MIB, 1), bytes(1000, 2));
    // Out of order, and the second is sent twice: the last one counts.
    let stale = endpoint.part("film", &upload, 7, bytes(10, 9)).await;
    let second = endpoint.part("film", &upload, 7, two.clone()).await;
    let first = endpoint.part("film", &upload, 2, one.clone()).await;
    assert_eq!(endpoint.get("film").await, None);
    assert_eq!(endpoint.complete("film", &upload, &[first.clone(), stale]).await, Err("InvalidPart".to_owned()));
    let parts = [first, second];
    let etag = endpoint.complete("film", &upload, &parts).await.unwrap();
    let binary = |part: &CompletedPart| hex::decode(part.e_tag().unwrap().trim_matches('"')).unwrap();
    let md5s = [binary(&parts[0]), binary(&parts[1])].concat();
    let md5 = <s3s::crypto::Md5 as s3s::crypto::Checksum>::checksum(&md5s);
    assert_eq!(etag, format!("\"{}-2\"", hex::encode(md5)));
    let whole = [one.clone(), two.clone()].concat();
    assert!(endpoint.get("film").await.unwrap() == whole);
    let head = endpoint.client.head_object().bucket(BUCKET).key("film").send().await.unwrap();
    assert_eq!((head.content_type(), head.metadata().unwrap()["m"].as_str()), (Some("video/mp4"), "v"));
    assert_eq!((head.e_tag(), head.parts_count()), (Some(etag.as_str()), None));
    let part = endpoint.client.get_object().bucket(BUCKET).key("film").part_number(2).send().await.unwrap();
    assert_eq!(part.parts_count(), Some(2));
    assert_eq!(part.body.collect().await.unwrap().to_vec(), two);
    let [completed] = &endpoint.completed()[..] else { panic!("one object") };
    assert_eq!((completed.size, format!("\"{}\"", completed.etag)), (whole.len() as u64, etag.clone()));
    assert_eq!(endpoint.uploads().await, []);
    assert_eq!(endpoint.complete("film", &upload, &parts).await, Ok(etag), "a repeated request is answered alike");
    assert_eq!(endpoint.completed().len(), 1);
    assert_eq!(endpoint.staged_files(), 0);
}

#[tokio::test]
async fn parts_that_do_not_fit_are_refused() {
    let endpoint = Endpoint::start().await;
    let upload = endpoint.begin_upload("k").await;
    let small = endpoint.part("k", &upload, 1, bytes(1000, 1)).await;
    let large = endpoint.part("k", &upload, 2, bytes(5 * MIB, 1)).await;
    let complete = |parts: Vec<CompletedPart>| {
        let (endpoint, upload) = (&endpoint, &upload);
        async move { endpoint.complete("k", upload, &parts).await.unwrap_err() }
    };
    assert_eq!(complete(vec![small.clone(), large.clone()]).await, "EntityTooSmall");
    assert_eq!(complete(vec![large.clone(), small.clone()]).await, "InvalidPartOrder");
    assert_eq!(complete(vec![large.clone(), large.clone()]).await, "InvalidPartOrder");
    let missing = CompletedPart::builder().part_number(3).e_tag(small.e_tag().unwrap()).build();
    assert_eq!(complete(vec![large.clone(), missing]).await, "InvalidPart");
    assert_eq!(complete(vec![]).await, "MalformedXML");
    assert_eq!(endpoint.complete("other", &upload, std::slice::from_ref(&large)).await.unwrap_err(), "NoSuchUpload");
    assert_eq!(endpoint.complete("k", "../../objects", &[large]).await.unwrap_err(), "NoSuchUpload");
    for number in [0, 10_001] {
        let part = endpoint.client.upload_part().bucket(BUCKET).key("k").upload_id(&upload).part_number(number);
        assert_eq!(code(&part.body(ByteStream::from_static(b"x")).send().await.unwrap_err()), "InvalidArgument");
    }
    let wrong = endpoint.client.upload_part().bucket(BUCKET).key("k").upload_id(&upload).part_number(1);
    let wrong = wrong.checksum_crc32("AAAAAA==").body(ByteStream::from_static(b"x")).send().await.unwrap_err();
    assert_eq!(code(&wrong), "BadDigest");
    assert_eq!(endpoint.get("k").await, None);
    assert_eq!(endpoint.complete("k", &upload, &[small]).await.map(|_| ()), Ok(()), "the first part 1 is still there");
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    let endpoint = Endpoint::start().await;
    let upload = endpoint.begin_upload("k").await;
    let part = endpoint.part("k", &upload, 1, bytes(1000, 1)).await;
    let abort = || endpoint.client.abort_multipart_upload().bucket(BUCKET).key("k").upload_id(&upload).send();
    abort().await.unwrap();
    assert_eq!(code(&abort().await.unwrap_err()), "NoSuchUpload");
    assert_eq!(endpoint.complete("k", &upload, &[part]).await.unwrap_err(), "NoSuchUpload");
    assert_eq!(endpoint.uploads().await, []);
    let left = std::fs::read_dir(endpoint.root.join("buckets").join(BUCKET).join("uploads")).unwrap().count();
    assert_eq!((left, endpoint.staged_files()), (0, 0));
}

#[tokio::test]
async fn uploads_and_parts_are_listed_in_pages() {
    let endpoint = Endpoint::start().await;
    let mut begun = Vec::new();
    for key in ["a/1", "a/1", "a/2", "b"] {
        begun.push((key.to_owned(), endpoint.begin_upload(key).await));
    }
    assert_eq!(endpoint.uploads().await, begun);
    let list = || endpoint.client.list_multipart_uploads().bucket(BUCKET).max_uploads(1);
    let (mut key, mut id, mut seen) = (None::<String>, None::<String>, Vec::new());
    loop {
        let page = list().set_key_marker(key).set_upload_id_marker(id).send().await.unwrap();
        seen.extend(page.uploads().iter().map(|upload| upload.upload_id().unwrap().to_owned()));
        (key, id) = (page.next_key_marker, page.next_upload_id_marker);
        if page.is_truncated != Some(true) {
            break;
        }
    }
    assert_eq!(seen, begun.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>());
    let under = endpoint.client.list_multipart_uploads().bucket(BUCKET).prefix("a/2").send().await.unwrap();
    assert_eq!(under.uploads().len(), 1);
    let (key, id) = &begun[3];
    for number in [3, 1, 2] {
        endpoint.part(key, id, number, bytes(100, 1)).await;
    }
    let parts = endpoint.client.list_parts().bucket(BUCKET).key(key).upload_id(id).max_parts(2);
    let parts = parts.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.unwrap();
    let told: Vec<_> = parts.iter().map(|part| (part.part_number(), part.size())).collect();
    assert_eq!(told, [1, 2, 3].map(|number| (Some(number), Some(100))));
}

#[tokio::test]
async fn a_checksum_over_the_parts_is_compared() {
    let endpoint = Endpoint::start().await;
    let create = endpoint.client.create_multipart_upload().bucket(BUCKET).key("k");
    let create = create.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await.unwrap();
    let upload = create.upload_id.unwrap();
    let part = endpoint.client.upload_part().bucket(BUCKET).key("k").upload_id(&upload).part_number(1);
    let part = part.checksum_algorithm(ChecksumAlgorithm::Sha256).body(ByteStream::from_static(b"x"));
    let part = part.send().await.unwrap();
    let sum = part.checksum_sha256().unwrap().to_owned();
    let complete = |whole: String, of_part: &str| {
        let part =
            CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap()).checksum_sha256(of_part).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let complete = endpoint.client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(&upload);
        complete.multipart_upload(parts).checksum_sha256(whole).send()
    };
    let base64 = base64::engine::general_purpose::STANDARD;
    let binary = base64.decode(&sum).unwrap();
    let whole = <s3s::crypto::Sha256 as s3s::crypto::Checksum>::checksum(&binary);
    let whole = format!("{}-1", base64.encode(whole));
    assert_eq!(code(&complete(format!("{sum}-1"), &sum).await.unwrap_err()), "BadDigest");
    assert_eq!(code(&complete(whole.clone(), &base64.encode([0; 32])).await.unwrap_err()), "InvalidPart");
    complete(whole, &sum).await.unwrap();
    assert_eq!(endpoint.get("k").await.unwrap(), b"x");
}

#[tokio::test]
async fn completion_honours_its_condition() {
    let endpoint = Endpoint::start().await;
    endpoint.put("k", b"first").await;
    let upload = endpoint.begin_upload("k").await;
    let part = endpoint.part("k", &upload, 1, b"second".to_vec()).await;
    let parts = CompletedMultipartUpload::builder().parts(part.clone()).build();
    let complete = endpoint.client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(&upload);
    let refused = complete.multipart_upload(parts).if_none_match("*").send().await.unwrap_err();
    assert_eq!(code(&refused), "PreconditionFailed");
    assert_eq!(endpoint.get("k").await.unwrap(), b"first");
    endpoint.complete("k", &upload, &[part]).await.unwrap();
    assert_eq!(endpoint.get("k").await.unwrap(), b"second");
}

#[tokio::test]
async fn a_part_can_be_copied_from_an_object() {
    let endpoint = Endpoint::start().await;
    endpoint.put("source", b"0123456789").await;
    let upload = endpoint.begin_upload("k").await;
    let copy = endpoint.client.upload_part_copy().bucket(BUCKET).key("k").upload_id(&upload).part_number(1);
    let copy = copy.copy_source("uploads/source").copy_source_range("bytes=2-4").send().await.unwrap();
    let tag = copy.copy_part_result.unwrap().e_tag.unwrap();
    let part = CompletedPart::builder().part_number(1).e_tag(tag).build();
    endpoint.complete("k", &upload, &[part]).await.unwrap();
    assert_eq!(endpoint.get("k").await.unwrap(), b"234");
}
