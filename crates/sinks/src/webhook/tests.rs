//! Against a web server inside the test.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use anyhow::Result;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri},
    response::IntoResponse,
};
use futures_util::future::join_all;
use lazaret_testkit::sinks::{Received, Setup, conforms, event};
use tokio::{io::AsyncWriteExt, net::TcpListener, process::Command, task::JoinSet};

use super::*;

/// Base64 of 32 bytes.
const SECRET: &str = "whsec_c2VjcmV0IGJ5dGVzIHRoYXQgbm9ib2R5IHNlZXMhIQ==";

/// Secrets that a URL may hold.
const PASSWORD: &str = "password-of-the-hook";
const TOKEN: &str = "token-in-the-path";
const QUERY: &str = "key-in-the-query";

#[derive(Debug, Clone)]
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

/// What the server answers, whatever it is asked.
#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: String,
}

impl Answer {
    fn of(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }
}

struct Receiver {
    answer: Mutex<Answer>,
    requests: Mutex<Vec<Request>>,
}

impl Receiver {
    fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap()
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }
}

struct Server {
    receiver: Arc<Receiver>,
    address: SocketAddr,
    _serving: JoinSet<()>,
}

async fn take(
    State(receiver): State<Arc<Receiver>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> impl IntoResponse {
    receiver.requests().push(Request { method, uri, headers, body });
    let answer = receiver.answer.lock().unwrap().clone();
    let headers: HeaderMap = answer.headers.into_iter().collect();
    (axum::http::StatusCode::from_u16(answer.status).unwrap(), headers, Bytes::from(answer.body))
}

async fn server(status: u16) -> Server {
    let receiver = Arc::new(Receiver { answer: Mutex::new(Answer::of(status)), requests: Mutex::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(take).with_state(Arc::clone(&receiver));
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
    Server { receiver, address, _serving: serving }
}

#[async_trait]
impl Received for Server {
    async fn received(&self) -> Result<Vec<String>> {
        Ok(self.receiver.requests().iter().map(|request| request.body.clone()).collect())
    }
}

fn clock() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn settings(address: SocketAddr) -> WebhookSettings {
    let url = format!("http://hook:{PASSWORD}@{address}/hooks/{TOKEN}?key={QUERY}").parse().unwrap();
    WebhookSettings { url, secret: SECRET.to_owned(), timeout: Duration::from_secs(20), clock }
}

fn sink(address: SocketAddr) -> WebhookSink {
    WebhookSink::new(settings(address)).unwrap()
}

async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn the_contract_is_kept() {
    let (takes, refuses) = (server(204).await, server(403).await);
    refuses.receiver.answers(Answer { body: format!("Cannot POST /hooks/{TOKEN}?key={QUERY}"), ..Answer::of(404) });
    let [ours, down, refusing] = [takes.address, nobody().await, refuses.address].map(sink);
    let secrets = [SECRET, "c2VjcmV0", PASSWORD, TOKEN, QUERY];
    let setup = Setup { sink: &ours, received: &takes, down: &down, refusing: &refusing, secrets: &secrets };
    conforms(setup).await.unwrap();
    let shown = format!("{ours:?} {:?}", settings(takes.address));
    assert!(secrets.iter().all(|secret| !shown.contains(secret)), "{shown}");
}

#[tokio::test]
async fn an_event_is_posted_and_signed() {
    let server = server(200).await;
    let event = event(7, 1);
    sink(server.address).deliver(&event).await.unwrap();
    let request = server.receiver.requests().pop().unwrap();
    assert_eq!(request.method, Method::POST);
    assert_eq!(request.uri.to_string(), format!("/hooks/{TOKEN}?key={QUERY}"));
    let header = |name: &str| request.headers[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/cloudevents+json");
    assert_eq!(header("user-agent"), concat!("lazaret/", env!("CARGO_PKG_VERSION")));
    assert!(header("authorization").starts_with("Basic "));
    assert_eq!(header("webhook-id"), event.id);
    assert_eq!(header("webhook-timestamp"), "1800000000");
    let signed = Keys::parse(SECRET).unwrap().sign(&event.id, "1800000000", &request.body);
    assert_eq!(header("webhook-signature"), signed);
}

/// The example of the README, run as it is there.
#[tokio::test]
async fn the_example_verifies_what_we_sign_and_nothing_else() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let server = server(200).await;
    let mut settings = settings(server.address);
    settings.secret = format!("whsec_{} {SECRET}", "b3RoZXI".repeat(8));
    WebhookSink::new(settings).unwrap().deliver(&event(7, 1)).await.unwrap();
    let request = server.receiver.requests().pop().unwrap();
    let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
    let (id, timestamp, signature) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    let verify = async |id: &str, body: &str, now: &str| {
        let script = format!(
            "{example}\nimport sys\nheaders = dict(zip(['webhook-id', 'webhook-timestamp', 'webhook-signature'], \
             sys.argv[1:4]))\nprint(verify({SECRET:?}, headers, sys.stdin.buffer.read(), now=int(sys.argv[4])))"
        );
        let mut python = Command::new("python3");
        python.args(["-c", &script, id, &timestamp, &signature, now]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        child.stdin.take().unwrap().write_all(body.as_bytes()).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let body = &request.body;
    assert_eq!(verify(&id, body, "1800000100").await, "True");
    assert_eq!(verify(&id, &body.replace("published", "rejected"), "1800000100").await, "False");
    assert_eq!(verify("another-id", body, "1800000100").await, "False");
    assert_eq!(verify(&id, body, "1800000301").await, "False", "an old request must not be taken again");
}

#[tokio::test]
async fn what_a_status_means() {
    let server = server(200).await;
    let sink = sink(server.address);
    for (status, passing) in [
        (400, false),
        (401, false),
        (404, false),
        (408, true),
        (410, false),
        (413, false),
        (425, true),
        (429, true),
        (500, true),
        (503, true),
        (301, false),
        (308, false),
    ] {
        server.receiver.answers(Answer::of(status));
        match sink.deliver(&event(1, 1)).await.unwrap_err() {
            SinkError::Unavailable { .. } => assert!(passing, "{status}"),
            SinkError::Refused { .. } => assert!(!passing, "{status}"),
        }
    }
    for status in [200, 201, 202, 204] {
        server.receiver.answers(Answer::of(status));
        sink.deliver(&event(1, 1)).await.unwrap();
    }
}

fn told(error: &SinkError) -> String {
    chain(error)
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (server, there) = (server(308).await, server(200).await);
    let location = format!("http://{}/hooks/{TOKEN}", there.address).parse().unwrap();
    server.receiver.answers(Answer { headers: vec![(LOCATION, location)], ..Answer::of(308) });
    let error = sink(server.address).deliver(&event(1, 1)).await.unwrap_err();
    let expected = format!("redirects are not followed: it points to http://{}/…", there.address);
    assert!(told(&error).ends_with(&expected), "{error:?}");
    assert!(there.receiver.requests().is_empty());
}

#[tokio::test]
async fn of_a_long_answer_only_the_beginning_is_told() {
    let server = server(503).await;
    let headers = vec![(RETRY_AFTER, "120".parse().unwrap())];
    server.receiver.answers(Answer { headers, body: "busy\n ".repeat(1_000_000), ..Answer::of(503) });
    let error = told(&sink(server.address).deliver(&event(1, 1)).await.unwrap_err());
    assert!(error.contains("HTTP 503 Service Unavailable, retry after 120: busy busy"), "{error}");
    assert!(error.len() < 400, "{error}");
}

/// Waits in front of the test's end, not in it: the server takes connections and says nothing.
#[tokio::test]
async fn a_silent_server_is_unavailable_after_its_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(listener.local_addr().unwrap());
    settings.timeout = Duration::from_millis(300);
    let sink = WebhookSink::new(settings).unwrap();
    let start = Instant::now();
    let events = [event(1, 1), event(2, 1)];
    for error in join_all(events.iter().map(|event| sink.deliver(event))).await {
        assert!(matches!(error, Err(SinkError::Unavailable { .. })), "{error:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn settings_that_cannot_work_are_said() {
    let address = nobody().await;
    let with_url = |url: &str| WebhookSettings { url: url.parse().unwrap(), ..settings(address) };
    let error = WebhookSink::new(with_url("ftp://host/")).unwrap_err();
    assert_eq!(error.to_string(), "the webhook's URL begins with ftp:, and http or https is expected");
    let error = WebhookSink::new(WebhookSettings { secret: "hunter2".to_owned(), ..settings(address) }).unwrap_err();
    assert!(matches!(error, WebhookError::Secret) && !error.to_string().contains("hunter2"), "{error}");
}
