//! Against a real server: `LAZARET_TEST_SQS_ENDPOINT`.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use anyhow::{Context, Result};
use futures_util::future::join_all;
use lazaret_testkit::queue::{DeadLetters, Setup, conforms};

use super::*;

struct Rig {
    queue: SqsQueue,
}

async fn rig(with_dead_letters: bool) -> Rig {
    let endpoint = std::env::var("LAZARET_TEST_SQS_ENDPOINT")
        .expect("LAZARET_TEST_SQS_ENDPOINT must name an SQS server; `cargo xtask test` starts one");
    let mut settings = SqsSettings::new(format!("{endpoint}/000000000000/none"));
    settings.credentials = Some(("test".to_owned(), "test-secret".to_owned()));
    settings.visibility_timeout = Duration::from_secs(2);
    settings.wait_time = Duration::from_secs(1);
    let maker = SqsQueue::connect(settings.clone()).await;
    settings.url = new_queue(&maker.client, "uploads").await;
    if with_dead_letters {
        settings.dead_letter_url = Some(new_queue(&maker.client, "dead").await);
    }
    Rig { queue: SqsQueue::connect(settings).await }
}

async fn new_queue(client: &Client, name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    client.create_queue().queue_name(name).send().await.expect("a new queue").queue_url.expect("its URL")
}

#[async_trait]
impl DeadLetters for Rig {
    async fn dead_letters(&self) -> Result<Vec<(String, String)>> {
        let url = self.queue.dead_letter_url.as_ref().context("no dead-letter queue")?;
        let request = self.queue.client.receive_message().queue_url(url).max_number_of_messages(10);
        let answer = request.message_attribute_names("All").wait_time_seconds(1).send().await?;
        let received = answer.messages.unwrap_or_default().into_iter().filter_map(delivery);
        let letter = |delivery: Delivery| {
            let reason = delivery.attributes.get(REASON).cloned().unwrap_or_default();
            (String::from_utf8_lossy(&delivery.body).into_owned(), reason)
        };
        Ok(received.map(letter).collect())
    }
}

#[tokio::test]
async fn the_contract_is_kept() {
    let rig = rig(true).await;
    conforms(Setup { queue: &rig.queue, dead_letters: &rig }).await.unwrap();
}

#[tokio::test]
async fn many_acknowledgements_at_once_remove_every_message() {
    let rig = rig(false).await;
    for number in 0..30 {
        rig.queue.send(&number.to_string()).await.unwrap();
    }
    let mut taken = Vec::new();
    while taken.len() < 30 {
        taken.extend(rig.queue.receive(10).await.unwrap());
    }
    let mut made_up = taken[0].clone();
    made_up.tag = DeliveryTag::new("no-such-receipt");
    let made_up = std::iter::once(&made_up.tag);
    let tags: Vec<_> = taken.iter().map(|delivery| &delivery.tag).chain(made_up).collect();
    let results = join_all(tags.into_iter().map(|tag| rig.queue.acknowledge(tag))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let visible_again = Instant::now() + rig.queue.visibility_timeout;
    while Instant::now() < visible_again {
        assert!(rig.queue.receive(10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_dead_letter_keeps_its_attributes_and_leaves_the_queue() {
    let rig = rig(true).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let value = MessageAttributeValue::builder().data_type("String").string_value(traceparent).build().unwrap();
    let request = rig.queue.client.send_message().queue_url(&rig.queue.url).message_body("garbage");
    request.message_attributes("traceparent", value).send().await.unwrap();
    let taken = rig.queue.receive(1).await.unwrap().pop().unwrap();
    assert_eq!(taken.attributes.get("traceparent").map(String::as_str), Some(traceparent));
    rig.queue.dead_letter(&taken, "not\nJSON").await.unwrap();
    let url = rig.queue.dead_letter_url.as_ref().unwrap();
    let request = rig.queue.client.receive_message().queue_url(url).message_attribute_names("All");
    let letters = request.wait_time_seconds(1).send().await.unwrap().messages.unwrap();
    let letter = delivery(letters[0].clone()).unwrap();
    assert_eq!(letter.attributes.get("traceparent").map(String::as_str), Some(traceparent));
    assert_eq!(letter.attributes.get(REASON).map(String::as_str), Some("notJSON"));
}

#[tokio::test]
async fn a_message_of_the_longest_size_still_becomes_a_dead_letter() {
    let rig = rig(true).await;
    rig.queue.send(&"x".repeat(256 * 1024)).await.unwrap();
    let taken = rig.queue.receive(1).await.unwrap().pop().unwrap();
    rig.queue.dead_letter(&taken, "not JSON").await.unwrap();
    let letters = rig.dead_letters().await.unwrap();
    assert_eq!((letters[0].0.len(), letters[0].1.as_str()), (MAX_DEAD_LETTER_BYTES, "not JSON"));
}

#[tokio::test]
async fn a_missing_queue_is_refused_and_a_dead_server_is_unavailable() {
    let rig = rig(false).await;
    let mut settings = SqsSettings::new(format!("{}-not", rig.queue.url));
    settings.credentials = Some(("test".to_owned(), "test-secret".to_owned()));
    let missing = SqsQueue::connect(settings.clone()).await;
    let error = missing.check().await.unwrap_err();
    assert!(matches!(error, QueueError::Refused { .. }), "{error:?}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    settings.url = format!("http://{}/000000000000/uploads", listener.local_addr().unwrap());
    drop(listener);
    let dead = SqsQueue::connect(settings).await;
    let tag = DeliveryTag::new("receipt");
    for error in [dead.check().await, dead.acknowledge(&tag).await, dead.extend(&tag).await] {
        let Err(QueueError::Unavailable { source, .. }) = error else { panic!("{error:?}") };
        assert!(source.to_string().contains("onnection refused"), "{source}");
    }
}

#[test]
fn times_are_rounded_up_to_seconds() {
    assert_eq!(seconds(Duration::ZERO), 0);
    assert_eq!(seconds(Duration::from_millis(1)), 1);
    assert_eq!(seconds(Duration::from_secs(3)), 3);
    assert_eq!(seconds(Duration::MAX), i32::MAX);
}
