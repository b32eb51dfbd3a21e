//! A server that says what it is told to.

use tokio::{net::TcpListener, task::JoinSet};

use super::*;

/// Answers every request with the same bytes, then closes the connection or keeps it open without a word.
struct Scripted {
    endpoint: String,
    _serving: JoinSet<()>,
}

enum Then {
    Close,
    Stall,
}

impl Scripted {
    async fn new(answer: String, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut stalled = Vec::new();
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    if connection.read_buf(&mut request).await.unwrap_or_default() == 0 {
                        break;
                    }
                }
                if connection.write_all(answer.as_bytes()).await.is_ok() && matches!(then, Then::Stall) {
                    stalled.push(connection);
                }
            }
        });
        Self { endpoint, _serving: serving }
    }

    async fn error(status: u16, code: &str, message: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
        let head = format!("HTTP/1.1 {status} Scripted\r\nContent-Type: application/xml\r\nConnection: close\r\n");
        Self::new(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()), Then::Close).await
    }

    async fn object(headers: &str, body: &str, then: Then) -> Self {
        Self::new(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{body}"), then).await
    }

    async fn store(&self) -> (S3Store, TempDir) {
        store_with(settings_for(&self.endpoint)).await
    }
}

fn head_of(size: u64) -> ObjectHead {
    ObjectHead {
        bucket: "bucket".parse().unwrap(),
        key: "quarantine/1".parse().unwrap(),
        version: None,
        etag: "tag".parse().unwrap(),
        size,
        modified_at: None,
    }
}

async fn fetch(server: &Scripted, size: u64) -> StoreError {
    let (mut store, _dir) = server.store().await;
    store.timeouts.body_stall = Duration::from_millis(200);
    let error = store.fetch(&head_of(size)).await.unwrap_err();
    assert_eq!(store.spool.used_bytes(), 0, "space is still reserved");
    error
}

#[tokio::test]
async fn a_body_that_stalls_is_an_error() {
    let server = Scripted::object("ETag: \"tag\"\r\nContent-Length: 10", "12345", Then::Stall).await;
    let error = fetch(&server, 10).await;
    assert!(matches!(&error, StoreError::Body { detail, .. } if detail.contains("nothing came")), "{error}");
}

#[tokio::test]
async fn a_fetch_dropped_midway_gives_its_space_back() {
    let server = Scripted::object("ETag: \"tag\"\r\nContent-Length: 10", "12345", Then::Stall).await;
    let (store, dir) = server.store().await;
    let head = head_of(10);
    {
        let mut fetch = std::pin::pin!(store.fetch(&head));
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut fetch).await.is_err());
        assert_eq!(store.spool.used_bytes(), 10);
    }
    assert_eq!(store.spool.used_bytes(), 0);
    assert_eq!(entries(&dir.path().join("spool")), 0);
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error() {
    let server = Scripted::object("ETag: \"tag\"\r\nContent-Length: 10", "12345", Then::Close).await;
    let error = fetch(&server, 10).await;
    assert!(matches!(&error, StoreError::Body { .. }), "{error}");
}

#[tokio::test]
async fn a_body_without_a_length_must_have_the_length_of_the_head() {
    for body in ["12345", "123456789012345"] {
        let server = Scripted::object("ETag: \"tag\"\r\nConnection: close", body, Then::Close).await;
        let error = fetch(&server, 10).await;
        assert!(matches!(&error, StoreError::Body { .. }), "{error}");
    }
}

#[tokio::test]
async fn another_tag_version_or_length_is_another_object() {
    for headers in [
        "ETag: \"other\"\r\nContent-Length: 5",
        "Content-Length: 5",
        "ETag: \"tag\"\r\nContent-Length: 5\r\nx-amz-version-id: v",
        "ETag: \"tag\"\r\nContent-Length: 4",
    ] {
        let server = Scripted::object(headers, "12345", Then::Close).await;
        let error = fetch(&server, 5).await;
        assert!(matches!(error, StoreError::Changed { .. }), "{headers}: {error}");
    }
}

#[tokio::test]
async fn what_passes_is_unavailable_and_what_does_not_is_refused() {
    for (status, code, passes) in [
        (503, "SlowDown", true),
        (500, "InternalError", true),
        (429, "TooManyRequests", true),
        (400, "RequestTimeout", true),
        (403, "InvalidAccessKeyId", false),
        (403, "SignatureDoesNotMatch", false),
        (403, "AccessDenied", false),
        (404, "NoSuchBucket", false),
        (301, "PermanentRedirect", false),
    ] {
        let server = Scripted::error(status, code, "the reason").await;
        let error = fetch(&server, 5).await;
        match (&error, passes) {
            (StoreError::Unavailable { source, .. }, true) | (StoreError::Refused { source, .. }, false) => {
                assert_eq!(source.to_string(), format!("{code}: the reason (HTTP {status})"));
            }
            _ => panic!("{code}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_copy_that_fails_behind_its_200_is_not_believed() {
    let body = "<Error><Code>InternalError</Code><Message>halfway</Message></Error>";
    let answer = format!("Content-Length: {}\r\nConnection: close", body.len());
    let server = Scripted::object(&answer, body, Then::Close).await;
    let (mut store, _dir) = server.store().await;
    store.capabilities = copying();
    let bytes = spooled(b"bytes").unwrap();
    let mut object = head_of(5);
    object.version = Some("v".parse().unwrap());
    let key = published_key("1");
    let source = PublishSource::AsIs { spooled: &bytes, object: &object };
    let request = PublishRequest { bucket: &object.bucket, key: &key, source, headers: &headers() };
    let error = store.publish(&request).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { action: "copy to", .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_listening_is_unavailable_and_says_so_in_one_line() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (store, _dir) = store_with(settings_for(&endpoint)).await;
    let error = store.check(&"bucket".parse().unwrap()).await.unwrap_err();
    let StoreError::Unavailable { source, .. } = &error else { panic!("{error:?}") };
    let cause = source.to_string();
    assert!(cause.contains("onnection refused") && !cause.contains('\n'), "{cause}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_unavailable() {
    let server = Scripted::new(String::new(), Then::Stall).await;
    let mut settings = settings_for(&server.endpoint);
    settings.timeouts.read = Duration::from_millis(100);
    let (store, _dir) = store_with(settings).await;
    let error = store.head(&"bucket".parse().unwrap(), &"key".parse().unwrap(), None).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn no_error_shows_a_secret_or_a_signature() {
    let server = Scripted::error(403, "SignatureDoesNotMatch", "the signature does not match").await;
    let mut settings = settings_for(&server.endpoint);
    settings.credentials = Some(("the-key-id".to_owned(), "the-secret".to_owned()));
    let (store, _dir) = store_with(settings).await;
    let error = store.fetch(&head_of(5)).await.unwrap_err();
    let shown = format!("{error:?} {error} {store:?}");
    assert!(shown.contains("SignatureDoesNotMatch"), "{shown}");
    for secret in ["the-secret", "Signature=", "X-Amz-Signature", "AWS4-HMAC"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn a_probe_that_is_not_allowed_says_so_and_proves_nothing() {
    let server = Scripted::error(403, "AccessDenied", "not you").await;
    let (mut store, _dir) = server.store().await;
    store.capabilities = copying();
    let found = probe(&store, &"bucket".parse().unwrap()).await.unwrap();
    assert!(found.list().iter().all(|line| line.honoured == Honoured::Unknown), "{found}");
    let warning = found.warning().unwrap();
    assert!(warning.contains("AccessDenied: not you (HTTP 403)"), "{warning}");
    assert_eq!(store.capabilities(), found);
}

#[tokio::test]
async fn a_probe_of_a_store_out_of_reach_is_an_error_and_changes_nothing() {
    let server = Scripted::error(503, "SlowDown", "later").await;
    let (mut store, _dir) = server.store().await;
    store.capabilities = copying();
    let error = probe(&store, &"bucket".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(store.capabilities().copies_versions(), "what was known is forgotten");
}

#[tokio::test]
async fn a_listing_that_does_not_say_where_it_goes_on_has_not_ended() {
    for root in ["ListBucketResult", "ListMultipartUploadsResult"] {
        let body = format!("<{root}><IsTruncated>true</IsTruncated></{root}>");
        let headers = format!("Content-Type: application/xml\r\nConnection: close\r\nContent-Length: {}", body.len());
        let server = Scripted::object(&headers, &body, Then::Close).await;
        let (store, _dir) = server.store().await;
        let (bucket, prefix): (BucketName, _) = ("bucket".parse().unwrap(), "quarantine/".parse().unwrap());
        let listed = match root {
            "ListBucketResult" => store.list(&bucket, &prefix, ListFrom::Start).await.map(drop),
            _ => store.list_uploads(&bucket, &prefix, None).await.map(drop),
        };
        assert!(matches!(listed, Err(StoreError::Refused { .. })), "{root}: {listed:?}");
    }
}
