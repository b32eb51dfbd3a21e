//! `lazaret dead-letters`: look at and replay messages that were given up.
//!
//! What is looked at is out of everybody else's sight until it is given back, which happens on every way out of here. If
//! this process is killed, the queue gives it back by itself.

mod list;
mod redrive;
mod view;

use std::{collections::HashSet, hash::BuildHasher, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use lazaret_core::ports::{DeadLetter, DeadLetterQueue, DeliveryTag};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    cli::{DeadLetters, Output},
    service,
    settings::Settings,
    wiring,
};

/// The most letters of one receive.
const MAX_RECEIVE: usize = 10;
/// How long a receive goes on after an interruption: what it brings can be given back at once.
const RECEIVE_GRACE: Duration = Duration::from_secs(5);

/// Said where a command was told to stop.
const INTERRUPTED: &str = "interrupted: the dead letters that were looked at are back in their queue";

pub(super) async fn run(settings: &Settings, command: &DeadLetters, form: Output) -> Result<ExitCode> {
    let queue = wiring::dead_letters(settings).await?;
    let mut desk = Desk::new(queue.as_ref(), service::termination()?);
    match command {
        DeadLetters::List { limit } => list::run(&mut desk, usize::from(*limit), form).await,
        DeadLetters::Redrive(arguments) => redrive::run(&mut desk, arguments, form).await,
    }
}

/// The letters that are out of everybody else's sight.
struct Desk<'a> {
    queue: &'a dyn DeadLetterQueue,
    stop: CancellationToken,
    /// To be given back.
    kept: Vec<DeliveryTag>,
    /// The message ids of those, as numbers: whatever comes twice is where the queue begins anew.
    seen: HashSet<u64>,
}

/// What a receive came to.
enum Received {
    Letters(Vec<DeadLetter>),
    /// There are no more.
    End,
    Interrupted,
}

impl<'a> Desk<'a> {
    fn new(queue: &'a dyn DeadLetterQueue, stop: CancellationToken) -> Self {
        Self { queue, stop, kept: Vec::new(), seen: HashSet::new() }
    }

    async fn receive(&self, max: usize) -> Result<Received> {
        if self.stop.is_cancelled() {
            return Ok(Received::Interrupted);
        }
        let given_up = async {
            self.stop.cancelled().await;
            sleep(RECEIVE_GRACE).await;
        };
        tokio::select! {
            received = self.queue.receive(max.min(MAX_RECEIVE)) => {
                let letters = received.context("the dead letters cannot be read")?;
                Ok(if letters.is_empty() { Received::End } else { Received::Letters(letters) })
            }
            () = given_up => Ok(Received::Interrupted),
        }
    }

    /// Keeps a letter until the end. False: it was kept before, and came again because that took too long.
    fn keep(&mut self, letter: &DeadLetter) -> bool {
        self.kept.push(letter.tag.clone());
        self.seen.insert(self.seen.hasher().hash_one(&letter.message_id))
    }

    /// Gives back everything that was kept. What cannot be given back comes back by itself.
    async fn give_back(&mut self) {
        if let Err(error) = self.queue.give_back(&self.kept).await {
            let letters = self.kept.len();
            warn!(
                error = &error as &dyn std::error::Error,
                letters, "dead letters could not be given back; they come back by themselves within minutes"
            );
        }
        self.kept.clear();
    }
}
