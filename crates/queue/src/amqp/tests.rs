//! Against a real broker: `LAZARET_TEST_AMQP_URL`.

mod faults;
mod heavy;
mod rig;

use std::time::Instant as Clock;

use anyhow::Result;
use futures_util::future::join_all;
use lapin::{
    options::{BasicGetOptions, BasicRejectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use lazaret_core::ports::{DeadLetter, DeadLetterQueue};
use lazaret_testkit::{
    dead_letters,
    queue::{Consumers, DeadLetters, Setup, conforms_while_held},
};

use super::*;
use rig::{Rig, next, until};

#[async_trait]
impl Consumers for Rig {
    async fn open(&self) -> Result<Box<dyn Queue>> {
        Ok(Box::new(self.queue()))
    }
}

#[async_trait]
impl dead_letters::Holders for Rig {
    async fn open(&self) -> Result<Box<dyn DeadLetterQueue>> {
        Ok(Box::new(self.dead_letters()))
    }
}

#[async_trait]
impl DeadLetters for Rig {
    async fn dead_letters(&self) -> Result<Vec<(String, String)>> {
        let letters = Rig::dead_letters(self).receive(10).await?;
        let text = |letter: DeadLetter| {
            (String::from_utf8_lossy(&letter.body).into_owned(), letter.reason.unwrap_or_default())
        };
        Ok(letters.into_iter().map(text).collect())
    }
}

/// As a sender of events would have them.
fn sent_properties() -> BasicProperties {
    let mut headers = FieldTable::default();
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    headers.insert("traceparent".into(), AMQPValue::LongString(traceparent.into()));
    let properties = BasicProperties::default().with_headers(headers).with_message_id("their-id".into());
    properties.with_content_type("application/cloudevents+json".into())
}

#[tokio::test]
async fn the_contract_is_kept() {
    let rig = Rig::new();
    let queue = rig.queue();
    conforms_while_held(Setup { queue: &queue, dead_letters: &rig }, &rig).await.unwrap();
}

#[tokio::test]
async fn the_dead_letter_contract_is_kept() {
    let rig = Rig::new();
    let queue = rig.queue();
    dead_letters::conforms(dead_letters::Setup { queue: &queue, holders: &rig }).await.unwrap();
}

#[tokio::test]
async fn what_is_missing_is_declared_and_what_is_there_is_used_as_it_is() {
    let rig = Rig::new();
    let channel = rig.connection().await.create_channel().await.unwrap();
    let classic = rig.settings.queue.as_str().into();
    channel.queue_declare(classic, QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
    let main = format!("queue {}", rig.settings.queue);
    let first = declare(&rig.settings).await.unwrap();
    assert_eq!(first.existed, [main.as_str()]);
    assert_eq!(first.made.len(), 6, "{first:?}");
    assert!(first.made.contains(&format!("exchange {}.dead-letters", rig.settings.queue)), "{first:?}");
    let second = declare(&rig.settings).await.unwrap();
    assert_eq!((second.existed.len(), second.made.len()), (7, 0), "{second:?}");
    let queue = rig.queue();
    queue.send("on a classic queue").await.unwrap();
    let delivery = next(&queue).await;
    queue.dead_letter(&delivery, "why").await.unwrap();
    until("the dead letter is there", async || rig.ready(".dead-letters").await == 1).await;
}

#[tokio::test]
async fn looking_changes_nothing_and_a_check_asks_little() {
    let rig = Rig::new();
    let before = look(&rig.settings).await.unwrap();
    assert_eq!((before.there.len(), before.missing.len()), (0, 7), "{before:?}");
    assert_eq!(look(&rig.settings).await.unwrap(), before);
    let queue = rig.queue();
    queue.check().await.unwrap();
    let declared = look(&rig.settings).await.unwrap();
    assert_eq!((declared.there.len(), declared.missing.len()), (7, 0), "{declared:?}");
    let retry = rig.named(".retry.5s");
    rig::delete(&rig.connection().await, &retry).await;
    queue.check().await.unwrap();
    assert_eq!(look(&rig.settings).await.unwrap().missing, [format!("queue {retry}")], "a check declared something");
}

#[tokio::test]
async fn headers_and_ids_go_the_whole_way() {
    let rig = Rig::new();
    let queue = rig.queue();
    queue.check().await.unwrap();
    rig.publish(b"\xff\x00 not text", sent_properties()).await;
    let first = next(&queue).await;
    assert_eq!((first.message_id.as_str(), first.body.as_slice()), ("their-id", &b"\xff\x00 not text"[..]));
    let names: Vec<_> = first.attributes.keys().map(String::as_str).collect();
    assert_eq!(names, ["content-type", "traceparent"]);
    queue.retry_after(&first.tag, Duration::from_millis(1)).await.unwrap();
    let second = next(&queue).await;
    assert_eq!((&second.attributes, &second.body), (&first.attributes, &first.body));
    assert_eq!(second.message_id, "their-id");
    queue.dead_letter(&second, "not JSON").await.unwrap();
    let holder = rig.dead_letters();
    let letter = holder.receive(1).await.unwrap().pop().expect("a dead letter");
    assert_eq!((letter.reason.as_deref(), &letter.attributes), (Some("not JSON"), &first.attributes));
    holder.redrive(&letter).await.unwrap();
    let third = next(&queue).await;
    assert_eq!(
        (&third.attributes, &third.body, third.message_id.as_str()),
        (&first.attributes, &first.body, "their-id")
    );
}

#[tokio::test]
async fn a_dead_letter_says_its_reason_in_a_header() {
    let rig = Rig::new();
    let queue = rig.queue();
    queue.check().await.unwrap();
    queue.send("garbage").await.unwrap();
    let delivery = next(&queue).await;
    queue.dead_letter(&delivery, &"x".repeat(5000)).await.unwrap();
    let letter = rig.pull(".dead-letters").await.expect("a dead letter");
    let headers = letter.properties.headers().clone().unwrap_or_default();
    let Some(AMQPValue::LongString(reason)) = headers.inner().get("lazaret-reason") else { panic!("{headers:?}") };
    assert_eq!(reason.as_bytes().len(), 1000);
    assert_eq!(letter.properties.delivery_mode(), &Some(2));
}

#[tokio::test]
async fn what_the_broker_gave_up_says_the_brokers_reason() {
    let rig = Rig::new();
    let queue = rig.queue();
    queue.check().await.unwrap();
    rig.publish(b"rejected", sent_properties()).await;
    let channel = rig.connection().await.create_channel().await.unwrap();
    let name = rig.settings.queue.as_str();
    let mut got = None;
    while got.is_none() {
        got = channel.basic_get(name.into(), BasicGetOptions::default()).await.unwrap();
    }
    got.unwrap().delivery.acker.reject(BasicRejectOptions { requeue: false }).await.unwrap();
    until("the dead letter is there", async || rig.ready(".dead-letters").await == 1).await;
    let letter = rig.dead_letters().receive(1).await.unwrap().pop().expect("a dead letter");
    assert_eq!(letter.reason, Some(format!("rejected by the broker, from queue {name}")));
    let names: Vec<_> = letter.attributes.keys().map(String::as_str).collect();
    assert_eq!(names, ["content-type", "traceparent"]);
}

#[tokio::test]
async fn a_consumer_holds_no_more_than_its_prefetch() {
    let mut rig = Rig::new();
    rig.settings.prefetch = 2;
    let (a, b) = (rig.queue(), rig.queue());
    a.check().await.unwrap();
    for number in 0..7 {
        a.send(&number.to_string()).await.unwrap();
    }
    let first = a.receive(10).await.unwrap();
    until("two are held", async || rig.ready("").await == 5).await;
    let second = b.receive(10).await.unwrap();
    until("four are held", async || rig.ready("").await == 3).await;
    for queue in [&a, &b] {
        assert!(queue.receive(10).await.unwrap().len() < 2, "more than the prefetch was handed out");
    }
    assert_eq!(rig.ready("").await, 3);
    assert!(!first.is_empty() && !second.is_empty());
    a.acknowledge(&first[0].tag).await.unwrap();
    until("a third one came", async || rig.ready("").await == 2).await;
    a.pause().await.unwrap();
    drop(b);
    until("what was not handed out went back", async || rig.ready("").await >= 4).await;
}

#[tokio::test]
async fn a_dropped_receive_loses_nothing() {
    let mut rig = Rig::new();
    rig.settings.prefetch = 30;
    let queue = rig.queue();
    queue.check().await.unwrap();
    let expected: std::collections::BTreeSet<String> = (0..30).map(|number| number.to_string()).collect();
    let mut came = std::collections::BTreeSet::new();
    let sending = join_all(expected.iter().map(|body| queue.send(body)));
    let receiving = async {
        let mut wait = Duration::from_micros(1);
        while came.len() < expected.len() {
            if let Ok(received) = tokio::time::timeout(wait, queue.receive(3)).await {
                came.extend(received.unwrap().iter().map(|d| String::from_utf8(d.body.clone()).unwrap()));
            }
            wait = wait * 3 / 2;
        }
    };
    let (sent, received) = tokio::join!(sending, tokio::time::timeout(Duration::from_mins(1), receiving));
    sent.into_iter().collect::<Result<Vec<()>, _>>().unwrap();
    received.expect("every message comes");
    assert_eq!(came, expected);
}

#[tokio::test]
async fn what_no_queue_would_get_is_refused() {
    let rig = Rig::new();
    let queue = rig.queue();
    queue.check().await.unwrap();
    let message = |routing_key| {
        let properties = BasicProperties::default();
        queue.publisher.publish(Message { exchange: "", routing_key, properties, body: b"body" })
    };
    let nowhere = rig.named(".nowhere");
    let both = (0..20).map(|number| message(if number % 2 == 0 { &rig.settings.queue } else { &nowhere }));
    for (number, published) in join_all(both).await.into_iter().enumerate() {
        match published {
            Ok(()) => assert_eq!(number % 2, 0, "{number} went nowhere and passed for delivered"),
            Err(Failure::Refused(text)) => assert_eq!((number % 2, text.as_str()), (1, "312 NO_ROUTE")),
            Err(failure) => panic!("{number}: {failure}"),
        }
    }
    assert_eq!(rig.ready("").await, 10);
}
