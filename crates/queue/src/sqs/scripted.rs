//! Against a queue of one message inside the test, with a clock that the test moves.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Mutex, MutexGuard},
};

use aws_sdk_sqs::config::{BehaviorVersion, Builder, Credentials, Region, SharedHttpClient};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};

use super::*;

/// How long the scripted server hides a message at most, from its receive.
const LIMIT: Duration = Duration::from_hours(12);

/// A server with one message, which answers as SQS documents.
#[derive(Debug, Default)]
struct Server {
    state: Mutex<State>,
    /// Held back: polls are answered when it is notified.
    answer: Option<Notify>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    polls: usize,
    /// The receipt of the last receive, when that was, and until when the message is hidden.
    delivery: Option<(String, Instant, Instant)>,
    deleted: bool,
    /// Visibility timeouts that were asked for, and when.
    asked: Vec<(Instant, u64)>,
    over_limit: usize,
    /// What every entry of a batch with this receipt fails with.
    failing: BTreeMap<String, (&'static str, bool)>,
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn handle(&self, operation: &str, body: Value) -> Value {
        let answer = match operation {
            "ReceiveMessage" => self.receive(&body).await,
            "ChangeMessageVisibilityBatch" => self.batch(&body, Self::hide),
            "DeleteMessageBatch" => self.batch(&body, Self::delete),
            other => panic!("{other} is not scripted"),
        };
        self.changed.notify_waiters();
        answer
    }

    async fn receive(&self, body: &Value) -> Value {
        self.state().polls += 1;
        self.changed.notify_waiters();
        if let Some(answer) = &self.answer {
            answer.notified().await;
        }
        let now = Instant::now();
        let mut state = self.state();
        let visible = state.delivery.as_ref().is_none_or(|(_, _, until)| *until <= now);
        if state.deleted || !visible {
            return json!({});
        }
        let receipt = format!("receipt-{}", state.polls);
        let until = now + Duration::from_secs(body["VisibilityTimeout"].as_u64().unwrap());
        state.delivery = Some((receipt.clone(), now, until));
        json!({"Messages": [{"MessageId": "one", "ReceiptHandle": receipt, "Body": "{}"}]})
    }

    fn batch(&self, body: &Value, entry: impl Fn(&mut State, &Value) -> Option<(&'static str, String)>) -> Value {
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for asked in body["Entries"].as_array().unwrap() {
            let mut state = self.state();
            let failing = state.failing.get(asked["ReceiptHandle"].as_str().unwrap()).copied();
            let outcome = match failing {
                Some((code, by_sender)) => Some((code, String::new(), by_sender)),
                None => entry(&mut state, asked).map(|(code, message)| (code, message, true)),
            };
            match outcome {
                None => successful.push(json!({"Id": asked["Id"]})),
                Some((code, message, by_sender)) => {
                    failed.push(json!({"Id": asked["Id"], "Code": code, "Message": message, "SenderFault": by_sender}));
                }
            }
        }
        json!({"Successful": successful, "Failed": failed})
    }

    fn hide(state: &mut State, entry: &Value) -> Option<(&'static str, String)> {
        let (now, seconds) = (Instant::now(), entry["VisibilityTimeout"].as_u64().unwrap());
        let Some((receipt, received, until)) = &mut state.delivery else { panic!("nothing was received") };
        if *receipt != entry["ReceiptHandle"] || *until <= now {
            return Some(("MessageNotInflight", "it is not in flight".to_owned()));
        }
        state.asked.push((now, seconds));
        if now + Duration::from_secs(seconds) > *received + LIMIT {
            state.over_limit += 1;
            return Some((
                "InvalidParameterValue",
                "Total VisibilityTimeout for the message is beyond the limit".into(),
            ));
        }
        *until = now + Duration::from_secs(seconds);
        None
    }

    fn delete(state: &mut State, entry: &Value) -> Option<(&'static str, String)> {
        let Some((receipt, _, until)) = &state.delivery else { panic!("nothing was received") };
        if *receipt != entry["ReceiptHandle"] || *until <= Instant::now() {
            return Some(("InvalidParameterValue", "The receipt handle has expired".to_owned()));
        }
        state.deleted = true;
        None
    }

    /// Waits until the state is as it should be.
    async fn until(&self, enough: impl Fn(&State) -> bool) {
        let wait = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if enough(&self.state()) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_hours(1), wait).await.expect("the server was not told to");
    }
}

#[derive(Debug, Clone)]
struct Wire(Arc<Server>);

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let server = Arc::clone(&self.0);
        let answer: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
            let target = request.headers().get("x-amz-target").unwrap().to_owned();
            let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
            let answer = server.handle(target.strip_prefix("AmazonSQS.").unwrap(), body).await;
            Ok(HttpResponse::new(200.try_into().unwrap(), answer.to_string().into()))
        });
        HttpConnectorFuture::new(answer)
    }
}

fn queue(server: &Arc<Server>, visibility_timeout: Duration) -> SqsQueue {
    let wire = SharedHttpConnector::new(Wire(Arc::clone(server)));
    let http: SharedHttpClient = http_client_fn(move |_, _| wire.clone());
    let mut settings = SqsSettings::new("http://sqs.test/1/uploads");
    settings.visibility_timeout = visibility_timeout;
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        .http_client(http);
    SqsQueue::new(Client::from_conf(client::configured(config, &settings).build()), settings)
}

async fn take(queue: &SqsQueue) -> Delivery {
    queue.receive(1).await.unwrap().pop().expect("a message")
}

#[tokio::test(start_paused = true)]
async fn a_message_is_extended_to_its_twelve_hours_and_not_beyond() {
    let server = Arc::new(Server::default());
    let visibility = Duration::from_mins(1);
    let queue = queue(&server, visibility);
    let delivery = take(&queue).await;
    let received = Instant::now();
    while received.elapsed() < LIMIT + Duration::from_mins(10) {
        tokio::time::sleep(visibility / 3).await;
        queue.extend(&delivery.tag).await.unwrap();
    }
    let (asked, until) = {
        let state = server.state();
        (state.asked.clone(), state.delivery.as_ref().unwrap().2)
    };
    assert_eq!(server.state().over_limit, 0, "the server was asked for more than it gives");
    let unused = LIMIT.checked_sub(until - received).expect("hidden for longer than the limit");
    assert!(unused < Duration::from_secs(10), "{unused:?} of the twelve hours were not used");
    let last = asked.last().unwrap().0 - received;
    assert!(last < LIMIT, "the server was still asked after {last:?}");
    let again = take(&queue).await;
    queue.acknowledge(&delivery.tag).await.unwrap();
    queue.extend(&delivery.tag).await.unwrap();
    assert!(!server.state().deleted, "the late acknowledgement removed somebody else's delivery");
    queue.extend(&again.tag).await.unwrap();
    assert_eq!(server.state().asked.last().unwrap().1, 60, "the new delivery has twelve hours of its own");
    queue.acknowledge(&again.tag).await.unwrap();
    assert!(server.state().deleted);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_put_off_for_no_longer_than_what_is_left() {
    let server = Arc::new(Server::default());
    let queue = queue(&server, LIMIT * 2);
    let delivery = take(&queue).await;
    tokio::time::advance(Duration::from_hours(11)).await;
    queue.retry_after(&delivery.tag, Duration::from_hours(3)).await.unwrap();
    let state = server.state();
    assert_eq!(state.over_limit, 0);
    let (_, received, until) = state.delivery.as_ref().unwrap();
    assert!(*until - *received + Duration::from_mins(1) > LIMIT, "it comes back much too early");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_counts_otherwise_is_believed() {
    let server = Arc::new(Server::default());
    let queue = queue(&server, Duration::from_mins(1));
    let delivery = take(&queue).await;
    server.state().delivery.as_mut().unwrap().1 -= LIMIT;
    queue.extend(&delivery.tag).await.unwrap();
    assert_eq!(server.state().over_limit, 1);
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_nobody_waits_any_more_is_given_back() {
    let server = Arc::new(Server { answer: Some(Notify::new()), ..Server::default() });
    let queue = queue(&server, Duration::from_mins(1));
    tokio::select! {
        _ = queue.receive(10) => panic!("it was answered"),
        () = server.until(|state| state.polls == 1) => {}
    }
    server.answer.as_ref().unwrap().notify_one();
    server.until(|state| state.asked.iter().any(|(_, seconds)| *seconds == 0)).await;
    server.answer.as_ref().unwrap().notify_one();
    assert_eq!(take(&queue).await.message_id, "one");
}

#[tokio::test(start_paused = true)]
async fn what_came_and_was_not_taken_is_given_back() {
    let server = Arc::new(Server { answer: Some(Notify::new()), ..Server::default() });
    let queue = queue(&server, Duration::from_mins(1));
    {
        let mut receive = std::pin::pin!(queue.receive(10));
        tokio::select! {
            biased;
            _ = &mut receive => panic!("it was answered"),
            () = server.until(|state| state.polls == 1) => {}
        }
        server.answer.as_ref().unwrap().notify_one();
        server.until(|state| state.delivery.is_some()).await;
        // The answer is on its way to a future that is not polled again.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    server.until(|state| state.asked.iter().any(|(_, seconds)| *seconds == 0)).await;
}

#[tokio::test(start_paused = true)]
async fn each_caller_of_a_batch_has_a_result_of_its_own() {
    let server = Arc::new(Server::default());
    let queue = queue(&server, Duration::from_mins(1));
    let delivery = take(&queue).await;
    server.state().failing.insert("broken".to_owned(), ("InternalError", false));
    server.state().failing.insert("denied".to_owned(), ("AccessDenied", true));
    let tags = [delivery.tag.clone(), DeliveryTag::new("broken"), DeliveryTag::new("denied"), DeliveryTag::new("old")];
    for results in [
        join_all(tags.iter().map(|tag| queue.retry_after(tag, Duration::from_secs(5)))).await,
        join_all(tags.iter().map(|tag| queue.acknowledge(tag))).await,
    ] {
        assert!(matches!(
            results.as_slice(),
            [Ok(()), Err(QueueError::Unavailable { .. }), Err(QueueError::Refused { .. }), Ok(())]
        ));
    }
}
