//! Against a real server, `LAZARET_TEST_SQS_ENDPOINT`, which speaks SNS too: a topic that fills a queue.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use lazaret_testkit::sinks::{Received, Setup, conforms, event};
use uuid::Uuid;

use super::*;

const SECRET: &str = "test-secret-of-the-topic";

fn settings(topic_arn: String) -> SnsSinkSettings {
    let endpoint = std::env::var("LAZARET_TEST_SQS_ENDPOINT")
        .expect("LAZARET_TEST_SQS_ENDPOINT must name a server of SQS and SNS; `cargo xtask test` starts one");
    let credentials = Some(("test".to_owned(), SECRET.to_owned()));
    SnsSinkSettings { topic_arn, endpoint: Some(endpoint), region: None, credentials }
}

struct Target {
    sink: SnsSink,
    queues: aws_sdk_sqs::Client,
    queue: String,
    bodies: Mutex<Vec<String>>,
}

/// A topic and a queue that is subscribed to it, to events that `filter` lets through.
async fn target(ending: &str, filter: Option<&str>) -> Result<Target> {
    let settings = settings("arn:aws:sns:us-east-1:000000000000:none".to_owned());
    let config = aws::config(settings.endpoint.clone(), None, settings.credentials.as_ref()).await;
    let (topics, queues) = (Client::new(&config), aws_sdk_sqs::Client::new(&config));
    let name = format!("verdicts-{}{ending}", Uuid::now_v7().simple());
    let (mut topic, mut queue) = (topics.create_topic().name(&name), queues.create_queue().queue_name(&name));
    if !ending.is_empty() {
        topic = topic.attributes("FifoTopic", "true");
        queue = queue.attributes(QueueAttributeName::FifoQueue, "true");
    }
    let topic_arn = topic.send().await?.topic_arn.context("no topic")?;
    let queue = queue.send().await?.queue_url.context("no queue")?;
    let told = queues.get_queue_attributes().queue_url(&queue).attribute_names(QueueAttributeName::QueueArn);
    let told = told.send().await?.attributes.unwrap_or_default();
    let arn = told.get(&QueueAttributeName::QueueArn).context("a queue without an ARN")?;
    let subscription = topics.subscribe().topic_arn(&topic_arn).protocol("sqs").endpoint(arn);
    let subscription = subscription.attributes("RawMessageDelivery", "true");
    match filter {
        Some(filter) => subscription.attributes("FilterPolicy", filter).send().await?,
        None => subscription.send().await?,
    };
    let sink = SnsSink::connect(SnsSinkSettings { topic_arn, ..settings }).await;
    Ok(Target { sink, queues, queue, bodies: Mutex::default() })
}

#[async_trait]
impl Received for Target {
    async fn received(&self) -> Result<Vec<String>> {
        let request = self.queues.receive_message().queue_url(&self.queue).max_number_of_messages(10);
        let came = request.wait_time_seconds(1).send().await?.messages.unwrap_or_default();
        for message in &came {
            let receipt = message.receipt_handle().context("no receipt")?;
            self.queues.delete_message().queue_url(&self.queue).receipt_handle(receipt).send().await?;
        }
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.extend(came.into_iter().filter_map(|message| message.body));
        Ok(bodies.clone())
    }
}

async fn keeps_the_contract(target: Target) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let arn = &target.sink.topic_arn;
    let down = SnsSinkSettings { endpoint: Some(format!("http://{address}")), ..settings(arn.clone()) };
    let down = SnsSink::connect(down).await;
    let refusing = SnsSink::connect(settings(arn.replace("verdicts", "none"))).await;
    let setup = Setup { sink: &target.sink, received: &target, down: &down, refusing: &refusing, secrets: &[SECRET] };
    conforms(setup).await.unwrap();
}

#[tokio::test]
async fn the_contract_is_kept() {
    keeps_the_contract(target("", None).await.unwrap()).await;
}

#[tokio::test]
async fn the_contract_is_kept_by_a_fifo_topic() {
    keeps_the_contract(target(".fifo", None).await.unwrap()).await;
}

#[tokio::test]
async fn a_subscription_filters_by_type_and_a_fifo_queue_keeps_the_group() {
    let target = target(".fifo", Some("{\"type\": [\"lazaret.upload.held\"]}")).await.unwrap();
    let (published, mut held) = (event(1, 1), event(1, 2));
    held.kind = "lazaret.upload.held".to_owned();
    target.sink.deliver(&published).await.unwrap();
    target.sink.deliver(&held).await.unwrap();
    let request = target.queues.receive_message().queue_url(&target.queue).max_number_of_messages(10);
    let request = request.wait_time_seconds(5).message_attribute_names("All");
    let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
    let came = request.send().await.unwrap().messages.unwrap();
    let bodies: Vec<_> = came.iter().map(|message| message.body().unwrap()).collect();
    assert_eq!(bodies, [serde_json::to_string(&held).unwrap()]);
    let attributes = came[0].message_attributes().unwrap();
    assert_eq!(attributes["content-type"].string_value().unwrap(), "application/cloudevents+json");
    assert_eq!(attributes["subject"].string_value().unwrap(), held.subject.to_string());
    let group = &came[0].attributes().unwrap()[&MessageSystemAttributeName::MessageGroupId];
    assert_eq!(*group, held.subject.to_string());
}

#[tokio::test]
async fn the_secret_is_not_shown_and_the_region_is_the_topics() {
    let settings = settings("arn:aws:sns:eu-west-1:1:verdicts".to_owned());
    let sink = SnsSink::connect(settings.clone()).await;
    let shown = format!("{settings:?} {sink:?}");
    assert!(shown.contains("arn:aws:sns:eu-west-1:1:verdicts") && !shown.contains(SECRET), "{shown}");
    assert_eq!(sink.client.config().region().unwrap().as_ref(), "eu-west-1");
}
