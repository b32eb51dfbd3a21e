use std::sync::Arc;

use anyhow::Result;
use lazaret_core::ports::DeadLetterQueue;
use lazaret_testkit::{
    dead_letters::{Holders, Setup as LettersSetup, conforms as letters_conform},
    queue::{DeadLetters, Setup, conforms},
};
use tokio::task::JoinSet;

use super::*;

#[async_trait]
impl DeadLetters for EmbeddedQueue {
    async fn dead_letters(&self) -> Result<Vec<(String, String)>> {
        let text = |letter: DeadLetter| (String::from_utf8_lossy(&letter.body).into_owned(), letter.reason);
        Ok(Self::dead_letters(self).into_iter().map(text).collect())
    }
}

fn queue(settings: EmbeddedSettings) -> Arc<EmbeddedQueue> {
    Arc::new(EmbeddedQueue::new(settings))
}

fn short() -> EmbeddedSettings {
    EmbeddedSettings {
        visibility_timeout: Duration::from_secs(1),
        wait_time: Duration::from_millis(300),
        ..EmbeddedSettings::default()
    }
}

#[tokio::test]
async fn the_contract_is_kept() {
    let queue = queue(short());
    conforms(Setup { queue: &*queue, dead_letters: &*queue }).await.unwrap();
    assert_eq!(queue.depth(), Depth { ready: 0, hidden: 0, dead: 1 });
}

struct InProcess(Arc<EmbeddedQueue>);

#[async_trait]
impl Holders for InProcess {
    async fn open(&self) -> Result<Box<dyn DeadLetterQueue>> {
        Ok(Box::new(EmbeddedDeadLetters::new(Arc::clone(&self.0))))
    }
}

#[tokio::test]
async fn the_contract_of_dead_letters_is_kept() {
    let holders = InProcess(queue(short()));
    letters_conform(LettersSetup { queue: &*holders.0, holders: &holders }).await.unwrap();
    assert!(EmbeddedQueue::dead_letters(&holders.0).is_empty());
}

#[tokio::test]
async fn a_letter_stays_while_the_queue_is_full() {
    let queue = queue(EmbeddedSettings { capacity: 1, ..short() });
    queue.send("first").await.unwrap();
    let taken = queue.receive(1).await.unwrap();
    queue.dead_letter(&taken[0], "garbage").await.unwrap();
    queue.send("second").await.unwrap();
    let holder = EmbeddedDeadLetters::new(Arc::clone(&queue));
    let letter = holder.receive(1).await.unwrap().pop().unwrap();
    assert!(matches!(holder.redrive(&letter).await, Err(QueueError::Unavailable { .. })));
    drop(holder);
    assert_eq!(EmbeddedQueue::dead_letters(&queue)[0].body, b"first");
}

#[tokio::test]
async fn every_waiting_consumer_wakes_for_a_message_and_for_the_time_of_one() {
    let queue = queue(EmbeddedSettings::default());
    let mut consumers = JoinSet::new();
    for _ in 0..3 {
        let queue = Arc::clone(&queue);
        consumers.spawn(async move { queue.receive(1).await.unwrap() });
    }
    tokio::task::yield_now().await;
    for body in ["a", "b", "c"] {
        queue.send(body).await.unwrap();
    }
    let came: Vec<_> = consumers.join_all().await.into_iter().flatten().collect();
    assert_eq!(came.len(), 3);
    let mut waiting = JoinSet::new();
    let consumer = Arc::clone(&queue);
    waiting.spawn(async move { consumer.receive(1).await.unwrap() });
    tokio::task::yield_now().await;
    let delay = Duration::from_millis(300);
    let start = Instant::now();
    queue.retry_after(&came[0].tag, delay).await.unwrap();
    assert_eq!(waiting.join_all().await.concat().len(), 1);
    let took = start.elapsed();
    assert!(took >= delay && took < EmbeddedSettings::default().wait_time, "it took {took:?}");
}

#[tokio::test]
async fn a_full_queue_takes_no_more_until_there_is_room() {
    let queue = queue(EmbeddedSettings { capacity: 1, ..short() });
    queue.send("first").await.unwrap();
    assert!(matches!(queue.send("second").await, Err(QueueError::Unavailable { .. })));
    let taken = queue.receive(1).await.unwrap();
    assert!(queue.send("second").await.is_err(), "a message in work still takes its place");
    queue.acknowledge(&taken[0].tag).await.unwrap();
    queue.send("second").await.unwrap();
}

#[tokio::test]
async fn a_late_acknowledgement_does_not_remove_what_somebody_else_got() {
    let queue = queue(short());
    queue.send("body").await.unwrap();
    let late = queue.receive(1).await.unwrap();
    let mut again = Vec::new();
    while again.is_empty() {
        again = queue.receive(1).await.unwrap();
    }
    queue.acknowledge(&late[0].tag).await.unwrap();
    assert_eq!(queue.depth().hidden, 1);
    queue.acknowledge(&again[0].tag).await.unwrap();
    assert_eq!(queue.depth().hidden, 0);
}

#[tokio::test]
async fn old_dead_letters_are_only_counted() {
    let queue = queue(short());
    for number in 0..=MAX_DEAD_LETTERS {
        queue.send(&number.to_string()).await.unwrap();
        let taken = queue.receive(1).await.unwrap();
        queue.dead_letter(&taken[0], "garbage").await.unwrap();
    }
    let kept = EmbeddedQueue::dead_letters(&queue);
    assert_eq!((kept.len(), kept[0].body.as_slice()), (MAX_DEAD_LETTERS, &b"1"[..]));
    assert_eq!(queue.depth().dead, MAX_DEAD_LETTERS as u64 + 1);
}
