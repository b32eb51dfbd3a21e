use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::*;

const ALGORITHMS: [ChecksumAlgorithm; 5] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32C,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
];

#[tokio::test]
async fn every_checksum_is_kept_and_told() {
    let endpoint = Endpoint::start().await;
    for algorithm in ALGORITHMS {
        let key = algorithm.as_str();
        let body = ByteStream::from_static(b"the body");
        let put = endpoint.client.put_object().bucket(BUCKET).key(key).checksum_algorithm(algorithm.clone()).body(body);
        put.send().await.unwrap();
        let head = endpoint.client.head_object().bucket(BUCKET).key(key).checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        let told = [
            head.checksum_crc32,
            head.checksum_crc32_c,
            head.checksum_crc64_nvme,
            head.checksum_sha1,
            head.checksum_sha256,
        ];
        let at = ALGORITHMS.iter().position(|other| *other == algorithm).unwrap();
        assert_eq!(told.iter().position(Option::is_some), Some(at), "{key}");
        // The SDK compares the checksum while it reads.
        assert_eq!(endpoint.get(key).await.unwrap(), b"the body");
    }
}

#[tokio::test]
async fn a_body_with_another_digest_never_becomes_visible() {
    let endpoint = Endpoint::start().await;
    endpoint.put("key", b"before").await;
    let wrong = [
        ("Content-MD5", STANDARD.encode([7; 16])),
        ("x-amz-checksum-crc32", STANDARD.encode([7; 4])),
        ("x-amz-checksum-crc32c", STANDARD.encode([7; 4])),
        ("x-amz-checksum-crc64nvme", STANDARD.encode([7; 8])),
        ("x-amz-checksum-sha1", STANDARD.encode([7; 20])),
        ("x-amz-checksum-sha256", STANDARD.encode([7; 32])),
        ("x-amz-checksum-sha256", "not base64".to_owned()),
        ("x-amz-checksum-blake9", STANDARD.encode([7; 32])),
        ("x-amz-content-sha256", hex::encode([7; 32])),
    ];
    for (name, value) in &wrong {
        let path = endpoint.presigned_put("key").await;
        let answer = endpoint.raw("PUT", &path, &[(*name, value.as_str())], b"after").await;
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        assert_eq!(endpoint.get("key").await.unwrap(), b"before", "{name}");
    }
    // Presigners of other languages move the headers into the query, where S3 honours them too.
    let hoisted = endpoint.client.put_object().bucket(BUCKET).key("key").customize().mutate_request(|request| {
        let uri = format!("{}&x-amz-checksum-crc32=AAAAAA%3D%3D", request.uri());
        request.set_uri(uri).unwrap();
    });
    let presigning = PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
    let hoisted = hoisted.presigned(presigning).await.unwrap();
    let answer = endpoint.raw("PUT", &endpoint.path_of(hoisted.uri()), &[], b"after").await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(endpoint.get("key").await.unwrap(), b"before");
    assert_eq!(endpoint.staged_files(), 0);
    assert_eq!(endpoint.completed().len(), 1);
}

/// The SDK signs every chunk where the connection is not encrypted.
#[tokio::test]
async fn a_signed_chunk_that_changes_on_the_way_is_refused() {
    let endpoint = Endpoint::start().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = client(proxy.local_addr().unwrap());
    let mut relay = JoinSet::new();
    relay.spawn(corrupt(proxy, endpoint.address));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, [&bytes(100_000, 1)[..], NEEDLE, &bytes(100_000, 2)].concat()).unwrap();
    let body = ByteStream::from_path(&file).await.unwrap();
    let refused = through.put_object().bucket(BUCKET).key("k").body(body).send().await.unwrap_err();
    assert_eq!(code(&refused), "SignatureDoesNotMatch");
    assert_eq!(endpoint.get("k").await, None);
}

const NEEDLE: &[u8] = b"needle";

/// Passes one connection on, with one word replaced.
async fn corrupt(proxy: TcpListener, server: SocketAddr) {
    let (mut client, _) = proxy.accept().await.unwrap();
    let mut server = TcpStream::connect(server).await.unwrap();
    let (mut client_read, mut client_write) = client.split();
    let (mut server_read, mut server_write) = server.split();
    let up = async {
        let mut held = Vec::new();
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = client_read.read(&mut buffer).await {
            held.extend_from_slice(&buffer[..read]);
            if let Some(at) = held.windows(NEEDLE.len()).position(|window| window == NEEDLE) {
                held[at] = b'b';
            }
            // The end of what came may be the start of the word; the end of the request is not.
            let safe = if held.ends_with(b"\r\n") { held.len() } else { held.len().saturating_sub(NEEDLE.len()) };
            server_write.write_all(&held[..safe]).await.unwrap();
            held.drain(..safe);
        }
    };
    tokio::select! {
        () = up => {}
        _ = tokio::io::copy(&mut server_read, &mut client_write) => {}
    }
}

#[tokio::test]
async fn a_checksum_that_follows_the_body_is_awaited_and_compared() {
    let endpoint = Endpoint::start().await;
    let crc32 = |body: &[u8]| STANDARD.encode(<s3s::crypto::Crc32 as s3s::crypto::Checksum>::checksum(body));
    let sum = crc32(b"hello");
    let right = format!("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:{sum}\r\n\r\n");
    let cases = [
        ("another body", right.replace("hello", "jello")),
        ("another sum", right.replace(&sum, "AAAAAA==")),
        ("no sum", "5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("another algorithm", right.replace("crc32:", "crc32c:")),
        ("no end", "5\r\nhello\r\n".to_owned()),
        ("too short", right.replace("5\r\nhello", "4\r\nhell").replace(&sum, &crc32(b"hell"))),
        ("too long", right.replace("5\r\nhello", "6\r\nhellos").replace(&sum, &crc32(b"hellos"))),
    ];
    for (case, body) in cases {
        let headers = signed_for_trailer(&endpoint, "/uploads/k", 5);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = endpoint.raw("PUT", "/uploads/k", &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{case}: {}", answer.text());
        assert_eq!(endpoint.get("k").await, None, "{case}");
    }
    let headers = signed_for_trailer(&endpoint, "/uploads/k", 5);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = endpoint.raw("PUT", "/uploads/k", &headers, right.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(endpoint.get("k").await.unwrap(), b"hello");
    assert_eq!(endpoint.staged_files(), 0);
}

/// Headers of a PUT whose chunks are not signed, as SDKs send it over TLS
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
fn signed_for_trailer(endpoint: &Endpoint, path: &str, length: usize) -> Vec<(&'static str, String)> {
    #[expect(clippy::disallowed_methods, reason = "the clock of a client")]
    let now = jiff::Timestamp::now();
    let (time, day) = (now.strftime("%Y%m%dT%H%M%SZ").to_string(), now.strftime("%Y%m%d").to_string());
    let mut headers = vec![
        ("host", endpoint.address.to_string()),
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned()),
        ("x-amz-date", time.clone()),
        ("x-amz-decoded-content-length", length.to_string()),
        ("x-amz-trailer", "x-amz-checksum-crc32".to_owned()),
    ];
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines = headers.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join("\n");
    let request = format!("PUT\n{path}\n\n{lines}\n\n{names}\nSTREAMING-UNSIGNED-PAYLOAD-TRAILER");
    let scope = format!("{day}/eu-central-1/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(request)));
    let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
    for step in scope.split('/') {
        key = hmac(&key, step);
    }
    let signature = hex::encode(hmac(&key, &to_sign));
    let credential = format!("{ACCESS_KEY}/{scope}");
    headers.remove(0);
    headers.push((
        "authorization",
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"),
    ));
    headers
}

/// HMAC-SHA256 (RFC 2104) with a key of at most one block.
fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let pad = |with: u8| (0..64).map(|at| key.get(at).unwrap_or(&0) ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([&pad(0x36)[..], text.as_bytes()].concat());
    Sha256::digest([&pad(0x5c)[..], &inner[..]].concat()).to_vec()
}

#[tokio::test]
async fn a_body_that_stops_short_leaves_nothing() {
    let endpoint = Endpoint::start().await;
    endpoint.put("key", b"before").await;
    let path = endpoint.presigned_put("key").await;
    let mut stream = endpoint.begin("PUT", &path, &[], 2_000_000).await;
    stream.write_all(&bytes(1_500_000, 0)).await.unwrap();
    until("the body is being written", || endpoint.staged_files() == 1).await;
    drop(stream);
    until("it is gone", || endpoint.staged_files() == 0).await;
    assert_eq!(endpoint.get("key").await.unwrap(), b"before");
    assert_eq!(endpoint.completed().len(), 1);
}

#[tokio::test]
async fn a_body_without_a_length_is_refused() {
    let endpoint = Endpoint::start().await;
    let path = endpoint.presigned_put("key").await;
    let mut stream = TcpStream::connect(endpoint.address).await.unwrap();
    let request = format!(
        "PUT {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        endpoint.address
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = Raw::read(stream).await;
    assert_eq!(answer.status, 411, "{}", answer.text());
    assert_eq!(endpoint.get("key").await, None);
}

/// s3s unpacks chunks only where the signature is in a header; stored as they are they would be another body.
#[tokio::test]
async fn a_presigned_chunked_body_is_refused_rather_than_stored_packed() {
    let endpoint = Endpoint::start().await;
    let path = endpoint.presigned_put("key").await;
    let headers = [
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("x-amz-decoded-content-length", "5"),
        ("Content-Encoding", "aws-chunked"),
    ];
    let answer = endpoint.raw("PUT", &path, &headers, b"5\r\nhello\r\n0\r\n\r\n").await;
    assert!(answer.status >= 400, "{}", answer.text());
    assert_eq!(endpoint.get("key").await, None);
}

#[tokio::test]
async fn a_streamed_file_of_many_batches_arrives_whole() {
    let endpoint = Endpoint::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    let body = bytes(5_000_003, 9);
    std::fs::write(&file, &body).unwrap();
    let put = endpoint.client.put_object().bucket(BUCKET).key("big").body(ByteStream::from_path(&file).await.unwrap());
    put.send().await.unwrap();
    assert!(endpoint.get("big").await.unwrap() == body);
    let head = endpoint.client.head_object().bucket(BUCKET).key("big").send().await.unwrap();
    assert_eq!(head.content_encoding, None, "aws-chunked is not the object's encoding");
    let plain = plain_client(endpoint.address);
    plain
        .put_object()
        .bucket(BUCKET)
        .key("plain")
        .body(ByteStream::from_path(&file).await.unwrap())
        .send()
        .await
        .unwrap();
    assert!(endpoint.get("plain").await.unwrap() == body);
}

#[tokio::test]
async fn an_upload_under_way_is_let_finish_when_the_server_stops() {
    let endpoint = Endpoint::start().await;
    let path = endpoint.presigned_put("key").await;
    let mut stream = endpoint.begin("PUT", &path, &[], 1_000_000).await;
    let body = bytes(1_000_000, 3);
    stream.write_all(&body[..600_000]).await.unwrap();
    until("the body is being written", || endpoint.staged_files() == 1).await;
    endpoint.stop.cancel();
    until("nobody listens any more", || std::net::TcpStream::connect(endpoint.address).is_err()).await;
    stream.write_all(&body[600_000..]).await.unwrap();
    assert_eq!(Raw::read(stream).await.status, 200);
    let root = endpoint.root.clone();
    let Endpoint { mut server, folder: _kept, .. } = endpoint;
    server.join_next().await.unwrap().unwrap();
    let again = Endpoint::over(&root).await;
    assert!(again.get("key").await.unwrap() == body);
}
