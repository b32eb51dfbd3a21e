//! What every adapter of the dead-letter port must do.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use lazaret_core::ports::{DeadLetter, DeadLetterQueue, DeliveryTag, Queue};

/// How much later than its time a letter may come, on a busy machine.
const SLACK: Duration = Duration::from_secs(15);

/// Opens holders of dead letters: each stands for a process of its own.
#[async_trait]
pub trait Holders: Send + Sync {
    /// Another holder, on the same dead-letter queue.
    async fn open(&self) -> Result<Box<dyn DeadLetterQueue>>;
}

/// A queue and its dead-letter queue under test: both empty and used by nobody else. What a holder leaves must come
/// back within a few seconds.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// The queue that the letters come from, and are redriven to.
    pub queue: &'a dyn Queue,
    /// The dead-letter queue.
    pub holders: &'a dyn Holders,
}

/// Runs every case. The error names the one that failed.
pub async fn conforms(setup: Setup<'_>) -> Result<()> {
    let case = |name: &'static str| move || format!("dead-letter contract: {name}");
    no_letters_is_no_error(setup).await.with_context(case("an empty queue says so"))?;
    letters_come_with_their_reason(setup).await.with_context(case("letters come with body and reason"))?;
    at_most_ten_come(setup).await.with_context(case("at most ten come, and never more than asked for"))?;
    held_is_out_of_sight(setup).await.with_context(case("what one holds nobody else sees"))?;
    given_back_comes_again(setup).await.with_context(case("what is given back comes again as it was"))?;
    what_a_lost_holder_had_comes_back(setup).await.with_context(case("what a lost holder had comes back"))?;
    redriven_is_on_its_queue(setup).await.with_context(case("what is redriven is on its queue and no dead letter"))?;
    unknown_tags_change_nothing(setup).await.with_context(case("unknown tags change nothing"))?;
    Ok(())
}

async fn bury(queue: &dyn Queue, body: &str, reason: &str) -> Result<()> {
    queue.send(body).await?;
    let end = Instant::now() + SLACK;
    loop {
        if let Some(delivery) = queue.receive(1).await?.pop() {
            ensure!(delivery.body == body.as_bytes(), "another message came");
            queue.dead_letter(&delivery, reason).await?;
            return Ok(());
        }
        ensure!(Instant::now() < end, "what was sent did not come");
    }
}

/// Receives until a letter comes.
async fn next(holder: &dyn DeadLetterQueue) -> Result<DeadLetter> {
    let end = Instant::now() + SLACK;
    loop {
        if let Some(letter) = holder.receive(1).await?.pop() {
            return Ok(letter);
        }
        ensure!(Instant::now() < end, "no dead letter came within {SLACK:?}");
    }
}

async fn is_empty(holder: &dyn DeadLetterQueue) -> Result<()> {
    let came = holder.receive(10).await?;
    ensure!(came.is_empty(), "{:?} came", came.iter().map(text).collect::<Vec<_>>());
    Ok(())
}

fn text(letter: &DeadLetter) -> String {
    String::from_utf8_lossy(&letter.body).into_owned()
}

/// The message is on its queue, once, and is taken off it.
async fn take_redriven(queue: &dyn Queue, body: &str) -> Result<()> {
    let end = Instant::now() + SLACK;
    loop {
        if let Some(delivery) = queue.receive(1).await?.pop() {
            ensure!(delivery.body == body.as_bytes(), "another message came");
            ensure!(!delivery.attributes.contains_key("lazaret-reason"), "the reason came back with the message");
            return Ok(queue.acknowledge(&delivery.tag).await?);
        }
        ensure!(Instant::now() < end, "the message is not on its queue");
    }
}

async fn no_letters_is_no_error(setup: Setup<'_>) -> Result<()> {
    let holder = setup.holders.open().await?;
    tokio::time::timeout(SLACK, is_empty(&*holder)).await.context("it still waits")?
}

async fn letters_come_with_their_reason(setup: Setup<'_>) -> Result<()> {
    let body = "{\"key\": \"caf\u{e9} \u{1f600}\"}\n";
    bury(setup.queue, body, "not JSON: expected value").await?;
    let holder = setup.holders.open().await?;
    let letter = next(&*holder).await?;
    ensure!(text(&letter) == body, "another letter came: {:?}", text(&letter));
    ensure!(letter.reason.as_deref() == Some("not JSON: expected value"), "the reason is {:?}", letter.reason);
    ensure!(!letter.attributes.contains_key("lazaret-reason"), "the reason is an attribute as well");
    ensure!(!letter.message_id.is_empty(), "the letter has no id");
    holder.redrive(&letter).await?;
    take_redriven(setup.queue, body).await
}

async fn at_most_ten_come(setup: Setup<'_>) -> Result<()> {
    let expected: BTreeSet<String> = (0..13).map(|number| number.to_string()).collect();
    for body in &expected {
        bury(setup.queue, body, "reason").await?;
    }
    let holder = setup.holders.open().await?;
    let (mut held, end) = (Vec::new(), Instant::now() + SLACK);
    for max in [3, 100, 10].into_iter().cycle() {
        let came = holder.receive(max).await?;
        ensure!(came.len() <= max.min(10), "{} came and at most {} may", came.len(), max.min(10));
        held.extend(came);
        if held.len() >= expected.len() {
            break;
        }
        ensure!(Instant::now() < end, "only {} of {} letters came", held.len(), expected.len());
    }
    ensure!(held.iter().map(text).collect::<BTreeSet<_>>() == expected, "a letter came twice, or another one");
    for letter in &held {
        holder.redrive(letter).await?;
        take_redriven(setup.queue, &text(letter)).await?;
    }
    Ok(())
}

async fn held_is_out_of_sight(setup: Setup<'_>) -> Result<()> {
    bury(setup.queue, "mine", "reason").await?;
    let (mine, other) = (setup.holders.open().await?, setup.holders.open().await?);
    let letter = next(&*mine).await?;
    is_empty(&*other).await.context("another holder")?;
    is_empty(&*mine).await.context("the same holder")?;
    mine.redrive(&letter).await?;
    take_redriven(setup.queue, "mine").await
}

async fn given_back_comes_again(setup: Setup<'_>) -> Result<()> {
    for body in ["first", "second"] {
        bury(setup.queue, body, "why").await?;
    }
    let (mine, other) = (setup.holders.open().await?, setup.holders.open().await?);
    let held = [next(&*mine).await?, next(&*mine).await?];
    let tags: Vec<DeliveryTag> = held.iter().map(|letter| letter.tag.clone()).collect();
    mine.give_back(&tags).await?;
    for _ in &held {
        let again = next(&*other).await?;
        let Some(before) = held.iter().find(|letter| letter.body == again.body) else { bail!("another letter came") };
        let as_it_was = (&before.reason, &before.attributes) == (&again.reason, &again.attributes);
        ensure!(as_it_was, "{before:?} became {again:?}");
        other.redrive(&again).await?;
        take_redriven(setup.queue, &text(&again)).await?;
    }
    is_empty(&*other).await
}

async fn what_a_lost_holder_had_comes_back(setup: Setup<'_>) -> Result<()> {
    bury(setup.queue, "left", "reason").await?;
    let lost = setup.holders.open().await?;
    next(&*lost).await?;
    drop(lost);
    let other = setup.holders.open().await?;
    let letter = next(&*other).await?;
    ensure!(text(&letter) == "left", "another letter came");
    other.redrive(&letter).await?;
    take_redriven(setup.queue, "left").await
}

async fn redriven_is_on_its_queue(setup: Setup<'_>) -> Result<()> {
    bury(setup.queue, "try again", "reason").await?;
    let holder = setup.holders.open().await?;
    let letter = next(&*holder).await?;
    holder.redrive(&letter).await?;
    take_redriven(setup.queue, "try again").await?;
    drop(holder);
    is_empty(&*setup.holders.open().await?).await?;
    bury(setup.queue, "and again", "another reason").await?;
    let holder = setup.holders.open().await?;
    let letter = next(&*holder).await?;
    ensure!(letter.reason.as_deref() == Some("another reason"), "the reason is {:?}", letter.reason);
    holder.redrive(&letter).await?;
    take_redriven(setup.queue, "and again").await
}

async fn unknown_tags_change_nothing(setup: Setup<'_>) -> Result<()> {
    bury(setup.queue, "still here", "reason").await?;
    let holder = setup.holders.open().await?;
    holder.give_back(&[DeliveryTag::new("no-such-letter")]).await?;
    let letter = next(&*holder).await?;
    ensure!(text(&letter) == "still here", "another letter came");
    holder.redrive(&letter).await?;
    holder.give_back(std::slice::from_ref(&letter.tag)).await.context("what was redriven")?;
    take_redriven(setup.queue, "still here").await?;
    is_empty(&*holder).await
}
