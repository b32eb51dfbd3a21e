//! Against a real server: `LAZARET_TEST_SQS_ENDPOINT`.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use anyhow::Result;
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName};
use futures_util::future::join_all;
use lazaret_core::ports::{DeadLetter, DeadLetterQueue};
use lazaret_testkit::{
    dead_letters::{Holders, Setup as LettersSetup, conforms as letters_conform},
    queue::{DeadLetters, Setup, conforms},
};

use super::*;

struct Rig {
    queue: SqsQueue,
    settings: SqsSettings,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Standard,
    Fifo,
}

async fn rig(with_dead_letters: bool) -> Rig {
    rig_of(Kind::Standard, with_dead_letters).await
}

async fn rig_of(kind: Kind, with_dead_letters: bool) -> Rig {
    let endpoint = std::env::var("LAZARET_TEST_SQS_ENDPOINT")
        .expect("LAZARET_TEST_SQS_ENDPOINT must name an SQS server; `cargo xtask test` starts one");
    let mut settings = SqsSettings::new(format!("{endpoint}/000000000000/none"));
    settings.credentials = Some(("test".to_owned(), "test-secret".to_owned()));
    settings.visibility_timeout = Duration::from_secs(2);
    settings.wait_time = Duration::from_secs(1);
    let maker = SqsQueue::connect(settings.clone()).await;
    settings.url = new_queue(&maker.client, "uploads", kind).await;
    if with_dead_letters {
        settings.dead_letter_url = Some(new_queue(&maker.client, "dead", kind).await);
    }
    Rig { queue: SqsQueue::connect(settings.clone()).await, settings }
}

async fn new_queue(client: &Client, name: &str, kind: Kind) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let request = match kind {
        Kind::Standard => client.create_queue().queue_name(name),
        Kind::Fifo => {
            client.create_queue().queue_name(format!("{name}.fifo")).attributes(QueueAttributeName::FifoQueue, "true")
        }
    };
    request.send().await.expect("a new queue").queue_url.expect("its URL")
}

#[async_trait]
impl DeadLetters for Rig {
    async fn dead_letters(&self) -> Result<Vec<(String, String)>> {
        let letters = SqsDeadLetters::connect(self.settings.clone()).await?.receive(10).await?;
        let letter = |letter: DeadLetter| (text(&letter.body), letter.reason.unwrap_or_default());
        Ok(letters.into_iter().map(letter).collect())
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

#[async_trait]
impl Holders for Rig {
    async fn open(&self) -> Result<Box<dyn DeadLetterQueue>> {
        let client = client::client(&self.settings).await;
        Ok(Box::new(SqsDeadLetters::new(client, self.settings.clone(), Duration::from_secs(6))?))
    }
}

#[tokio::test]
async fn the_contract_is_kept() {
    let rig = rig(true).await;
    conforms(Setup { queue: &rig.queue, dead_letters: &rig }).await.unwrap();
}

#[tokio::test]
async fn the_contract_is_kept_by_a_fifo_queue() {
    let rig = rig_of(Kind::Fifo, true).await;
    conforms(Setup { queue: &rig.queue, dead_letters: &rig }).await.unwrap();
}

#[tokio::test]
async fn the_contract_of_dead_letters_is_kept() {
    let rig = rig(true).await;
    letters_conform(LettersSetup { queue: &rig.queue, holders: &rig }).await.unwrap();
}

#[tokio::test]
async fn the_contract_of_dead_letters_is_kept_by_a_fifo_queue() {
    let rig = rig_of(Kind::Fifo, true).await;
    letters_conform(LettersSetup { queue: &rig.queue, holders: &rig }).await.unwrap();
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
    let holder = rig.open().await.unwrap();
    let letter = holder.receive(1).await.unwrap().pop().unwrap();
    assert_eq!(letter.attributes, taken.attributes);
    assert_eq!(letter.reason.as_deref(), Some("notJSON"));
    holder.redrive(&letter).await.unwrap();
    let again = rig.queue.receive(1).await.unwrap().pop().unwrap();
    assert_eq!((again.body, again.attributes), (taken.body, taken.attributes));
}

#[tokio::test]
async fn a_message_of_the_longest_size_still_becomes_a_dead_letter() {
    let rig = rig(true).await;
    rig.queue.send(&"x".repeat(256 * 1024)).await.unwrap();
    let taken = rig.queue.receive(1).await.unwrap().pop().unwrap();
    rig.queue.dead_letter(&taken, "not JSON").await.unwrap();
    let holder = rig.open().await.unwrap();
    let letter = holder.receive(1).await.unwrap().pop().unwrap();
    assert_eq!((letter.body.len(), letter.reason.as_deref()), (dead_letters::MAX_LETTER_BYTES, Some("not JSON")));
    let Err(QueueError::Refused { source, .. }) = holder.redrive(&letter).await else { panic!("half a message went") };
    assert_eq!(source.to_string(), "the message had 262144 bytes, and only 245760 were kept");
}

#[tokio::test]
async fn what_the_redrive_policy_moved_says_so_and_goes_back() {
    let rig = rig(true).await;
    let dead_letter_url = rig.queue.dead_letter_url.as_ref().unwrap();
    let arn = attributes::told_arn(&rig.queue.client, dead_letter_url).await.unwrap().unwrap();
    let policy = format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":\"1\"}}");
    let request = rig.queue.client.set_queue_attributes().queue_url(&rig.queue.url);
    request.attributes(QueueAttributeName::RedrivePolicy, policy).send().await.unwrap();
    rig.queue.send("body").await.unwrap();
    let taken = rig.queue.receive(1).await.unwrap().pop().unwrap();
    rig.queue.retry_after(&taken.tag, Duration::ZERO).await.unwrap();
    assert!(rig.queue.receive(1).await.unwrap().is_empty());
    let holder = rig.open().await.unwrap();
    let letter = holder.receive(1).await.unwrap().pop().unwrap();
    let reason = letter.reason.as_deref().unwrap();
    assert!(reason.starts_with("moved by the redrive policy of uploads-"), "{reason}");
    holder.redrive(&letter).await.unwrap();
    assert_eq!(rig.queue.receive(1).await.unwrap().pop().unwrap().body, b"body");
    let found = rig.queue.attributes().await.unwrap();
    assert_eq!((found.max_receive_count, found.fifo), (Some(1), false));
    assert_eq!((found.dead_letter_target.as_deref(), found.dead_letter_arn.as_deref()), (Some(&*arn), Some(&*arn)));
    assert_eq!(found.visibility_timeout, Duration::from_secs(30));
    let found = found.contradictions(&rig.settings, 5).join("\n");
    assert!(found.contains("after 1 receives, and worker.max_attempts is 5"), "{found}");
}

#[tokio::test]
async fn without_a_dead_letter_queue_there_is_nothing_to_show() {
    let settings = SqsSettings { credentials: Some(Default::default()), ..SqsSettings::new("http://host/1/uploads") };
    let Err(error) = SqsDeadLetters::connect(settings).await else { panic!("it has one") };
    let told = lazaret_core::error::chain(&error);
    assert_eq!(
        told,
        "queue http://host/1/uploads refused to show its dead letters: it has no dead-letter queue: set \
         queue.sqs.dead_letter_url"
    );
}

#[tokio::test]
async fn a_fifo_queue_takes_the_same_text_twice() {
    let rig = rig_of(Kind::Fifo, false).await;
    for _ in 0..2 {
        rig.queue.send("process upload 7").await.unwrap();
        let taken = rig.queue.receive(10).await.unwrap();
        assert_eq!(taken.len(), 1, "{taken:?}");
        rig.queue.acknowledge(&taken[0].tag).await.unwrap();
    }
    assert!(rig.queue.attributes().await.unwrap().fifo);
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
