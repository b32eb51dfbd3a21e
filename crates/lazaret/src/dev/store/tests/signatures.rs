use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::Credentials;
use jiff::ToSpan;

use super::*;

#[tokio::test]
async fn a_presigned_put_stores_what_an_ordinary_client_sends() {
    let endpoint = Endpoint::start().await;
    let path = endpoint.presigned_put("photos/cat one.jpg").await;
    let answer = endpoint.raw("PUT", &path, &[("Expect", "100-continue")], b"not really a cat").await;
    assert!(answer.head.contains("200 ok") || answer.text().contains("200 OK"), "{}", answer.head);
    assert_eq!(endpoint.get("photos/cat one.jpg").await.unwrap(), b"not really a cat");
}

#[tokio::test]
async fn a_changed_signature_or_key_is_refused() {
    let endpoint = Endpoint::start().await;
    let path = endpoint.presigned_put("one").await;
    let (start, signature) = path.split_once("X-Amz-Signature=").unwrap();
    let other = if signature.starts_with('0') { "1" } else { "0" };
    let forged = format!("{start}X-Amz-Signature={other}{}", &signature[1..]);
    for forged in [forged, path.replacen("/one", "/two", 1)] {
        let answer = endpoint.raw("PUT", &forged, &[], b"x").await;
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains("SignatureDoesNotMatch"), "{}", answer.text());
    }
    assert_eq!(endpoint.get("one").await, None);
    assert_eq!(endpoint.get("two").await, None);
}

#[tokio::test]
async fn an_access_key_that_nobody_has_is_answered_as_aws_does() {
    let endpoint = Endpoint::start().await;
    let unknown = Credentials::new("AKIDOFNOBODY", SECRET_KEY, None, None, "test");
    let client = Client::from_conf(settings(endpoint.address).credentials_provider(unknown).build());
    let error = client.list_objects_v2().bucket(BUCKET).send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 403);
    assert_eq!(code(&error), "InvalidAccessKeyId");
}

#[tokio::test]
async fn an_expired_url_is_refused() {
    let endpoint = Endpoint::start().await;
    #[expect(clippy::disallowed_methods, reason = "the clock of a client")]
    let an_hour_ago = SystemTime::from(jiff::Timestamp::now() - 1.hour());
    let expired = PresigningConfig::builder().start_time(an_hour_ago).expires_in(Duration::from_mins(1));
    let put = endpoint.client.put_object().bucket(BUCKET).key("late");
    let signed = put.presigned(expired.build().unwrap()).await.unwrap();
    let answer = endpoint.raw("PUT", &endpoint.path_of(signed.uri()), &[], b"x").await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(endpoint.get("late").await, None);
}

#[tokio::test]
async fn signed_headers_bind_type_and_length() {
    let endpoint = Endpoint::start().await;
    let put = endpoint.client.put_object().bucket(BUCKET).key("bound").content_type("image/png").content_length(4);
    let signed = put.presigned(PresigningConfig::expires_in(Duration::from_mins(1)).unwrap()).await.unwrap();
    let path = endpoint.path_of(signed.uri());
    let wrong_type = endpoint.raw("PUT", &path, &[("Content-Type", "text/html")], b"four").await;
    let wrong_length = endpoint.raw("PUT", &path, &[("Content-Type", "image/png")], b"seven..").await;
    assert_eq!((wrong_type.status, wrong_length.status), (403, 403));
    assert_eq!(endpoint.get("bound").await, None);
    let right = endpoint.raw("PUT", &path, &[("Content-Type", "image/png")], b"four").await;
    assert_eq!(right.status, 200, "{}", right.text());
}

#[tokio::test]
async fn nobody_is_served_without_the_right_key() {
    let endpoint = Endpoint::start().await;
    endpoint.put("private", b"mine").await;
    for (method, path) in [("GET", "/uploads/private"), ("PUT", "/uploads/new"), ("GET", "/uploads"), ("GET", "/")] {
        let answer = endpoint.raw(method, path, &[], b"").await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
    }
    for (id, secret) in [(ACCESS_KEY, "wrong"), ("SOMEONEELSE", SECRET_KEY)] {
        let stranger =
            settings(endpoint.address).credentials_provider(Credentials::new(id, secret, None, None, "test"));
        let stranger = Client::from_conf(stranger.build());
        let refused = stranger.get_object().bucket(BUCKET).key("private").send().await.unwrap_err();
        assert_eq!(refused.raw_response().unwrap().status().as_u16(), 403);
    }
}

/// A form upload would be gathered in memory.
#[tokio::test]
async fn uploads_by_form_are_refused() {
    let endpoint = Endpoint::start().await;
    let form = "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; \
                name=\"file\"; filename=\"f\"\r\n\r\nhello\r\n--b--\r\n";
    let headers = [("Content-Type", "multipart/form-data; boundary=b")];
    let answer = endpoint.raw("POST", "/uploads", &headers, form.as_bytes()).await;
    assert!(answer.status >= 400, "{}", answer.status);
    assert_eq!(endpoint.get("k").await, None);
}

/// What s3s would log at debug is the whole request. In a process of its own, for tests that run beside it would
/// decide which events its subscriber sees.
#[test]
fn no_signature_reaches_the_log() {
    let module = module_path!().split_once("::").unwrap().1;
    let alone = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", &format!("{module}::no_signature_reaches_the_log_of_this_process")])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&alone.stdout);
    assert!(alone.status.success() && output.contains("1 passed"), "{output}");
}

#[tokio::test(flavor = "current_thread")]
#[ignore = "started by another test"]
async fn no_signature_reaches_the_log_of_this_process() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let endpoint = Endpoint::start().await;
    let path = endpoint.presigned_put("k").await;
    // From here on the client in this process is plain sockets: the SDK writes a log of its own.
    log.0.lock().unwrap().clear();
    let signature = path.split_once("X-Amz-Signature=").unwrap().1[..64].to_owned();
    assert_eq!(endpoint.raw("PUT", &path, &[], b"x").await.status, 200);
    assert_eq!(endpoint.raw("PUT", &path.replacen("/k", "/l", 1), &[], b"x").await.status, 403);
    endpoint.stop().await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("put_object"), "the store's own log is there: {text}");
    assert!(!text.contains(&signature) && !text.contains(SECRET_KEY), "{text}");
}
