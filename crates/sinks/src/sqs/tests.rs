//! Against a real server: `LAZARET_TEST_SQS_ENDPOINT`.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use lazaret_testkit::sinks::{Received, Setup, conforms, event};
use uuid::Uuid;

use super::*;

const SECRET: &str = "test-secret-of-the-queue";

fn settings(url: String) -> SqsSinkSettings {
    let credentials = Some(("test".to_owned(), SECRET.to_owned()));
    SqsSinkSettings { url, endpoint: None, region: None, credentials }
}

fn endpoint() -> String {
    std::env::var("LAZARET_TEST_SQS_ENDPOINT")
        .expect("LAZARET_TEST_SQS_ENDPOINT must name an SQS server; `cargo xtask test` starts one")
}

struct Target {
    sink: SqsSink,
    bodies: Mutex<Vec<String>>,
}

async fn target(ending: &str) -> Target {
    let maker = SqsSink::connect(settings(endpoint())).await;
    let mut request = maker.client.create_queue().queue_name(format!("verdicts-{}{ending}", Uuid::now_v7().simple()));
    if !ending.is_empty() {
        request = request.attributes(QueueAttributeName::FifoQueue, "true");
    }
    let url = request.send().await.unwrap().queue_url.unwrap();
    Target { sink: SqsSink::connect(settings(url)).await, bodies: Mutex::default() }
}

impl Target {
    async fn take(&self) -> Result<Vec<Message>> {
        let request = self.sink.client.receive_message().queue_url(&self.sink.url).max_number_of_messages(10);
        let request = request.wait_time_seconds(1).message_attribute_names("All");
        let answer = request.message_system_attribute_names(MessageSystemAttributeName::All).send().await?;
        let messages = answer.messages.unwrap_or_default();
        for message in &messages {
            let receipt = message.receipt_handle().unwrap();
            self.sink.client.delete_message().queue_url(&self.sink.url).receipt_handle(receipt).send().await?;
        }
        Ok(messages)
    }
}

#[async_trait]
impl Received for Target {
    async fn received(&self) -> Result<Vec<String>> {
        let came = self.take().await?;
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.extend(came.into_iter().filter_map(|message| message.body));
        Ok(bodies.clone())
    }
}

async fn keeps_the_contract(target: Target) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let down = SqsSink::connect(settings(format!("http://{address}/000000000000/verdicts"))).await;
    let refusing = SqsSink::connect(settings(format!("{}-not", target.sink.url))).await;
    let setup = Setup { sink: &target.sink, received: &target, down: &down, refusing: &refusing, secrets: &[SECRET] };
    conforms(setup).await.unwrap();
}

#[tokio::test]
async fn the_contract_is_kept() {
    keeps_the_contract(target("").await).await;
}

#[tokio::test]
async fn the_contract_is_kept_by_a_fifo_queue() {
    keeps_the_contract(target(".fifo").await).await;
}

#[tokio::test]
async fn an_event_can_be_told_from_others_by_its_attributes() {
    let (target, event) = (target(".fifo").await, event(1, 1));
    target.sink.deliver(&event).await.unwrap();
    target.sink.deliver(&event).await.unwrap();
    let came = target.take().await.unwrap();
    assert_eq!(came.len(), 1, "the queue drops the second one");
    let attributes = came[0].message_attributes().unwrap();
    let text = |name: &str| attributes[name].string_value().unwrap();
    assert_eq!(text("content-type"), "application/cloudevents+json");
    assert_eq!(text("type"), "lazaret.upload.published");
    assert_eq!(text("subject"), event.subject.to_string());
    let told = came[0].attributes().unwrap();
    assert_eq!(told[&MessageSystemAttributeName::MessageGroupId], event.subject.to_string());
    assert_eq!(told[&MessageSystemAttributeName::MessageDeduplicationId], event.id);
}

#[tokio::test]
async fn neither_secret_nor_signed_query_is_shown() {
    let mut settings = settings("https://id:key@sqs.eu-west-1.amazonaws.com/1/verdicts?Signature=abc".to_owned());
    settings.endpoint = Some("http://id:key@proxy/".to_owned());
    let sink = SqsSink::connect(settings.clone()).await;
    let shown = format!("{settings:?} {sink:?}");
    assert!(shown.contains("https://sqs.eu-west-1.amazonaws.com/1/verdicts"), "{shown}");
    for secret in [SECRET, "key", "abc"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(region_in("https://sqs.eu-west-1.amazonaws.com/1/verdicts").as_deref(), Some("eu-west-1"));
    assert_eq!(region_in("http://127.0.0.1:4566/1/verdicts"), None);
}
