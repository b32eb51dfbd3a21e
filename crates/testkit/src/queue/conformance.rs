//! What every adapter of the queue port must do.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use lazaret_core::ports::{Delivery, DeliveryTag, Queue};

/// How much later than its time a message may come, on a busy machine.
const SLACK: Duration = Duration::from_secs(10);

/// How long a queue without a visibility timeout is watched for what must not come.
const WATCH: Duration = Duration::from_secs(1);

/// Where dead letters can be looked at.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Body and reason of every dead letter so far, in any order.
    async fn dead_letters(&self) -> Result<Vec<(String, String)>>;
}

/// Opens consumers: each stands for a process of its own.
#[async_trait]
pub trait Consumers: Send + Sync {
    /// Another consumer of the same queue.
    async fn open(&self) -> Result<Box<dyn Queue>>;
}

/// A queue under test: empty, used by nobody else, with a short visibility timeout (seconds), if any, and a shorter long
/// poll.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// The adapter.
    pub queue: &'a dyn Queue,
    /// Its dead-letter queue.
    pub dead_letters: &'a dyn DeadLetters,
}

/// Runs every case on a queue with a visibility timeout. The error names the one that failed.
pub async fn conforms(setup: Setup<'_>) -> Result<()> {
    let queue = setup.queue;
    ensure!(queue.visibility().is_some(), "a queue without a visibility timeout has a suite of its own");
    every_queue(setup).await?;
    unacknowledged_is_redelivered(queue).await.with_context(case("what is not acknowledged is delivered again"))?;
    extended_stays_ours(queue).await.with_context(case("what is extended stays with its consumer"))?;
    Ok(())
}

/// Runs every case on a queue whose deliveries stay with their consumer for as long as it lives.
pub async fn conforms_while_held(setup: Setup<'_>, consumers: &dyn Consumers) -> Result<()> {
    ensure!(setup.queue.visibility().is_none(), "a queue with a visibility timeout has a suite of its own");
    every_queue(setup).await?;
    paused_holds_nothing_back(setup.queue, consumers)
        .await
        .with_context(case("a paused consumer holds nothing back"))?;
    a_lost_consumer(setup.queue, consumers).await.with_context(case("what a lost consumer had is delivered again"))?;
    held_stays_ours(setup.queue, consumers).await.with_context(case("what is in work stays with its consumer"))?;
    Ok(())
}

fn case(name: &'static str) -> impl Fn() -> String {
    move || format!("queue contract: {name}")
}

async fn every_queue(setup: Setup<'_>) -> Result<()> {
    let queue = setup.queue;
    queue.check().await.with_context(case("the queue is there"))?;
    what_is_sent_comes(queue).await.with_context(case("what is sent comes"))?;
    an_empty_queue_answers(queue).await.with_context(case("an empty queue answers after its long poll"))?;
    at_most_ten_come(queue).await.with_context(case("at most ten come, and never more than asked for"))?;
    acknowledged_is_gone(queue).await.with_context(case("what is acknowledged is gone"))?;
    a_retry_comes_after_its_delay(queue).await.with_context(case("a retry comes after its delay, not before"))?;
    unknown_tags_change_nothing(queue).await.with_context(case("unknown tags change nothing"))?;
    dead_letters_keep_their_reason(setup).await.with_context(case("dead letters keep body and reason"))?;
    consumers_share(queue).await.with_context(case("every consumer gets messages of its own"))?;
    after_a_pause_it_goes_on(queue).await.with_context(case("after a pause it goes on"))?;
    Ok(())
}

fn visibility(queue: &dyn Queue) -> Result<Duration> {
    queue.visibility().context("the case needs a queue with a visibility timeout")
}

/// A time in which whatever comes by itself would have come.
fn watch(queue: &dyn Queue) -> Duration {
    queue.visibility().unwrap_or(WATCH)
}

/// Receives until a message comes.
async fn next(queue: &dyn Queue, within: Duration) -> Result<Delivery> {
    let end = Instant::now() + within;
    loop {
        if let Some(delivery) = queue.receive(1).await?.pop() {
            return Ok(delivery);
        }
        ensure!(Instant::now() < end, "no message came within {within:?}");
    }
}

async fn send_and_take(queue: &dyn Queue, body: &str) -> Result<Delivery> {
    queue.send(body).await?;
    let delivery = next(queue, SLACK).await?;
    ensure!(delivery.body == body.as_bytes(), "{:?} came and {body} was sent", text(&delivery));
    Ok(delivery)
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.body).into_owned()
}

/// Nothing comes for longer than the visibility timeout.
async fn nothing_comes(queue: &dyn Queue) -> Result<()> {
    let end = Instant::now() + watch(queue) * 5 / 4;
    while Instant::now() < end {
        let came = queue.receive(10).await?;
        ensure!(came.is_empty(), "{:?} came", came.iter().map(text).collect::<Vec<_>>());
    }
    Ok(())
}

async fn what_is_sent_comes(queue: &dyn Queue) -> Result<()> {
    for body in ["{}", "{\"key\": \"caf\u{e9} \u{1f600}\"}", "not json\nat all"] {
        let delivery = send_and_take(queue, body).await?;
        ensure!(!delivery.message_id.is_empty(), "the message has no id");
        queue.acknowledge(&delivery.tag).await?;
    }
    Ok(())
}

async fn an_empty_queue_answers(queue: &dyn Queue) -> Result<()> {
    let came = tokio::time::timeout(SLACK, queue.receive(10)).await.context("it still waits")??;
    ensure!(came.is_empty(), "{} messages came", came.len());
    Ok(())
}

async fn at_most_ten_come(queue: &dyn Queue) -> Result<()> {
    for number in 0..25 {
        queue.send(&number.to_string()).await?;
    }
    let (mut seen, end) = (BTreeSet::new(), Instant::now() + SLACK);
    for max in [3, 10, 100].into_iter().cycle() {
        let came = queue.receive(max).await?;
        ensure!(came.len() <= max.min(10), "{} came and at most {} may", came.len(), max.min(10));
        for delivery in came {
            queue.acknowledge(&delivery.tag).await?;
            seen.insert(text(&delivery));
        }
        if seen.len() == 25 {
            return Ok(());
        }
        ensure!(Instant::now() < end, "only {} of 25 messages came", seen.len());
    }
    Ok(())
}

async fn unacknowledged_is_redelivered(queue: &dyn Queue) -> Result<()> {
    let first = send_and_take(queue, "again").await?;
    let taken = Instant::now();
    let second = next(queue, visibility(queue)? + SLACK).await?;
    ensure!(second.body == first.body, "another message came");
    ensure!(taken.elapsed() + Duration::from_millis(500) >= visibility(queue)?, "it came {:?} later", taken.elapsed());
    queue.acknowledge(&second.tag).await?;
    Ok(())
}

async fn acknowledged_is_gone(queue: &dyn Queue) -> Result<()> {
    let delivery = send_and_take(queue, "once").await?;
    queue.acknowledge(&delivery.tag).await?;
    nothing_comes(queue).await
}

async fn extended_stays_ours(queue: &dyn Queue) -> Result<()> {
    let delivery = send_and_take(queue, "long work").await?;
    let end = Instant::now() + 2 * visibility(queue)?;
    let mut extended = Instant::now();
    while Instant::now() < end {
        if extended.elapsed() > visibility(queue)? / 3 {
            queue.extend(&delivery.tag).await?;
            extended = Instant::now();
        }
        let poll = tokio::time::timeout(visibility(queue)? / 6, queue.receive(1)).await;
        ensure!(poll.is_err() || poll.is_ok_and(|came| came.is_ok_and(|came| came.is_empty())), "it came again");
    }
    queue.acknowledge(&delivery.tag).await?;
    nothing_comes(queue).await
}

async fn a_retry_comes_after_its_delay(queue: &dyn Queue) -> Result<()> {
    let delay = watch(queue) + Duration::from_secs(1);
    let first = send_and_take(queue, "later").await?;
    queue.retry_after(&first.tag, delay).await?;
    let returned = Instant::now();
    let second = next(queue, delay + SLACK).await?;
    ensure!(second.body == first.body, "another message came");
    ensure!(returned.elapsed() + Duration::from_millis(500) >= delay, "it came {:?} later", returned.elapsed());
    queue.retry_after(&second.tag, Duration::ZERO).await?;
    let returned = Instant::now();
    let third = next(queue, SLACK).await?;
    ensure!(third.body == first.body, "another message came");
    ensure!(returned.elapsed() < watch(queue), "a retry at once came {:?} later", returned.elapsed());
    queue.acknowledge(&third.tag).await?;
    Ok(())
}

async fn unknown_tags_change_nothing(queue: &dyn Queue) -> Result<()> {
    let delivery = send_and_take(queue, "done").await?;
    queue.acknowledge(&delivery.tag).await?;
    let made_up = Delivery { tag: DeliveryTag::new("no-such-delivery"), ..delivery.clone() };
    for unknown in [&delivery.tag, &made_up.tag] {
        queue.acknowledge(unknown).await.context("acknowledge")?;
        queue.extend(unknown).await.context("extend")?;
        queue.retry_after(unknown, Duration::ZERO).await.context("retry")?;
    }
    nothing_comes(queue).await
}

async fn dead_letters_keep_their_reason(setup: Setup<'_>) -> Result<()> {
    let delivery = send_and_take(setup.queue, "what is this").await?;
    setup.queue.dead_letter(&delivery, "not JSON: expected value").await?;
    nothing_comes(setup.queue).await?;
    let expected = ("what is this".to_owned(), "not JSON: expected value".to_owned());
    let end = Instant::now() + SLACK;
    let mut found = setup.dead_letters.dead_letters().await?;
    while found.is_empty() && Instant::now() < end {
        found.extend(setup.dead_letters.dead_letters().await?);
    }
    ensure!(found == [expected], "{found:?}");
    Ok(())
}

async fn consumers_share(queue: &dyn Queue) -> Result<()> {
    let expected: BTreeSet<String> = (0..40).map(|number| format!("shared {number}")).collect();
    for body in &expected {
        queue.send(body).await?;
    }
    let consume = async || {
        let mut mine = Vec::new();
        loop {
            let came = queue.receive(3).await?;
            if came.is_empty() {
                return anyhow::Ok(mine);
            }
            for delivery in came {
                queue.acknowledge(&delivery.tag).await?;
                mine.push(text(&delivery));
            }
        }
    };
    let (a, b, c) = tokio::join!(consume(), consume(), consume());
    let all: Vec<String> = [a?, b?, c?].concat();
    ensure!(all.len() == expected.len(), "{} deliveries of {} messages", all.len(), expected.len());
    ensure!(all.into_iter().collect::<BTreeSet<_>>() == expected, "other messages came");
    Ok(())
}

async fn after_a_pause_it_goes_on(queue: &dyn Queue) -> Result<()> {
    let before = send_and_take(queue, "in work").await?;
    queue.pause().await?;
    queue.pause().await.context("twice")?;
    queue.acknowledge(&before.tag).await?;
    let after = send_and_take(queue, "after the pause").await?;
    queue.acknowledge(&after.tag).await?;
    nothing_comes(queue).await
}

async fn paused_holds_nothing_back(queue: &dyn Queue, consumers: &dyn Consumers) -> Result<()> {
    let first = send_and_take(queue, "in work").await?;
    let waiting: BTreeSet<String> = (0..4).map(|number| format!("waiting {number}")).collect();
    for body in &waiting {
        queue.send(body).await?;
    }
    queue.pause().await?;
    let other = consumers.open().await?;
    let mut came = BTreeSet::new();
    while came.len() < waiting.len() {
        let delivery = next(&*other, SLACK).await?;
        other.acknowledge(&delivery.tag).await?;
        came.insert(text(&delivery));
    }
    ensure!(came == waiting, "{came:?} came");
    queue.acknowledge(&first.tag).await?;
    drop(other);
    nothing_comes(queue).await
}

async fn a_lost_consumer(queue: &dyn Queue, consumers: &dyn Consumers) -> Result<()> {
    queue.pause().await?;
    let lost = consumers.open().await?;
    let first = send_and_take(&*lost, "acknowledged").await?;
    let second = send_and_take(&*lost, "in work").await?;
    lost.send("waiting").await?;
    lost.acknowledge(&first.tag).await?;
    drop(lost);
    let again = [next(queue, SLACK).await?, next(queue, SLACK).await?];
    let bodies: BTreeSet<String> = again.iter().map(text).collect();
    ensure!(bodies.contains(&text(&second)) && bodies.contains("waiting"), "{bodies:?} came");
    for delivery in again {
        queue.acknowledge(&delivery.tag).await?;
    }
    nothing_comes(queue).await
}

async fn held_stays_ours(queue: &dyn Queue, consumers: &dyn Consumers) -> Result<()> {
    let delivery = send_and_take(queue, "long work").await?;
    let other = consumers.open().await?;
    nothing_comes(&*other).await?;
    queue.extend(&delivery.tag).await?;
    queue.acknowledge(&delivery.tag).await?;
    nothing_comes(&*other).await
}
