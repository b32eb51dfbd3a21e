//! `lazaret dead-letters redrive`.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    process::ExitCode,
};

use anyhow::{Result, bail};
use futures_util::{StreamExt, stream};
use lazaret_core::{
    HoldReason,
    error::chain,
    ports::{DeadLetter, QueueError},
};
use serde::Serialize;

use super::{Desk, INTERRUPTED, MAX_RECEIVE, Received};
use crate::{
    cli::{Output, Redrive},
    output,
};

/// Letters are read in rounds of at most this many, and put back after that: what becomes a dead letter again meanwhile
/// is no part of the round.
const ROUND: usize = 500;
/// The most bytes of one round.
const ROUND_BYTES: usize = 16 << 20;
/// How many are put back at the same time.
const AT_ONCE: usize = 8;
/// Failures that are told one by one; all are counted.
const MAX_TOLD: usize = 100;

/// What became of the letters.
#[derive(Debug, Default, Serialize)]
struct Report {
    dry_run: bool,
    /// Put back on the queue, or to be put back.
    redriven: u64,
    /// Of those, for uploads that are held since, whose messages are only acknowledged.
    attempts_exhausted: u64,
    /// Equal to one that was put back by this very command: they stay.
    came_back: u64,
    /// Not put back.
    failed: u64,
    /// Why, for the first of them.
    failures: Vec<Failure>,
    /// Ids that were asked for and not found.
    missing: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Failure {
    message_id: String,
    error: String,
}

pub(super) async fn run(desk: &mut Desk<'_>, arguments: &Redrive, form: Output) -> Result<ExitCode> {
    let mut work = Work::new(arguments);
    let ended = work.all(desk).await;
    desk.give_back().await;
    let Work { report, .. } = work;
    print(&report, form)?;
    ended?;
    Ok(if report.failed > 0 || !report.missing.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

struct Work {
    dry_run: bool,
    /// None: all of them.
    wanted: Option<HashSet<String>>,
    report: Report,
    /// What was put back, by its content.
    gone: HashSet<u64>,
    hasher: RandomState,
}

impl Work {
    fn new(arguments: &Redrive) -> Self {
        let wanted = (!arguments.ids.is_empty()).then(|| arguments.ids.iter().cloned().collect());
        let report = Report { dry_run: arguments.dry_run, ..Report::default() };
        Self { dry_run: arguments.dry_run, wanted, report, gone: HashSet::new(), hasher: RandomState::new() }
    }

    async fn all(&mut self, desk: &mut Desk<'_>) -> Result<()> {
        loop {
            let (round, last) = self.round(desk).await?;
            self.put_back(desk, round).await?;
            if last || self.wanted.as_ref().is_some_and(HashSet::is_empty) {
                self.report.missing = self.wanted.take().into_iter().flatten().collect();
                self.report.missing.sort();
                return Ok(());
            }
        }
    }

    /// The letters to put back, and whether there are no more after them.
    async fn round(&mut self, desk: &mut Desk<'_>) -> Result<(Vec<DeadLetter>, bool)> {
        let (mut round, mut bytes) = (Vec::new(), 0);
        while round.len() < ROUND && bytes < ROUND_BYTES {
            let letters = match desk.receive(MAX_RECEIVE).await {
                Ok(Received::Letters(letters)) => letters,
                Ok(Received::End) => return Ok((round, true)),
                Ok(Received::Interrupted) => {
                    keep_all(desk, &round);
                    bail!(INTERRUPTED);
                }
                Err(error) => {
                    keep_all(desk, &round);
                    return Err(error);
                }
            };
            let mut came_again = false;
            for letter in letters {
                if self.is_to_go(&letter) {
                    bytes += letter.body.len();
                    round.push(letter);
                } else {
                    came_again |= !desk.keep(&letter);
                }
            }
            if came_again {
                return Ok((round, true));
            }
        }
        Ok((round, false))
    }

    fn is_to_go(&mut self, letter: &DeadLetter) -> bool {
        if let Some(wanted) = &mut self.wanted
            && !wanted.remove(&letter.message_id)
        {
            return false;
        }
        let came_back = self.gone.contains(&self.content(letter));
        self.report.came_back += u64::from(came_back);
        if !came_back && self.dry_run {
            self.count(letter);
        }
        !came_back && !self.dry_run
    }

    async fn put_back(&mut self, desk: &mut Desk<'_>, round: Vec<DeadLetter>) -> Result<()> {
        let (queue, stop) = (desk.queue, desk.stop.clone());
        let mut outage = None;
        let mut going = stream::iter(round)
            .map(async |letter| {
                if stop.is_cancelled() {
                    return (letter, None);
                }
                let redriven = queue.redrive(&letter).await;
                (letter, Some(redriven))
            })
            .buffer_unordered(AT_ONCE);
        while let Some((letter, redriven)) = going.next().await {
            match redriven {
                Some(Ok(())) => {
                    self.count(&letter);
                    self.gone.insert(self.content(&letter));
                    continue;
                }
                Some(Err(error @ QueueError::Unavailable { .. })) => {
                    // Whatever has not begun stays; what has begun is waited for.
                    outage.get_or_insert(error);
                    stop.cancel();
                }
                Some(Err(error)) => self.fail(&letter, &error),
                None => {}
            }
            desk.keep(&letter);
        }
        match outage {
            Some(error) => Err(anyhow::Error::new(error).context("not every dead letter was put back")),
            None if stop.is_cancelled() => bail!(INTERRUPTED),
            None => Ok(()),
        }
    }

    fn count(&mut self, letter: &DeadLetter) {
        let exhausted =
            letter.reason.as_deref().is_some_and(|reason| reason.contains(HoldReason::AttemptsExhausted.code()));
        self.report.redriven += 1;
        self.report.attempts_exhausted += u64::from(exhausted);
    }

    fn fail(&mut self, letter: &DeadLetter, error: &QueueError) {
        self.report.failed += 1;
        if self.report.failures.len() < MAX_TOLD {
            let message_id = output::plain(&letter.message_id, MAX_TOLD);
            self.report.failures.push(Failure { message_id, error: output::plain(&chain(error), 500) });
        }
    }

    fn content(&self, letter: &DeadLetter) -> u64 {
        self.hasher.hash_one((&letter.body, &letter.attributes))
    }
}

fn keep_all(desk: &mut Desk<'_>, letters: &[DeadLetter]) {
    for letter in letters {
        desk.keep(letter);
    }
}

fn print(report: &Report, form: Output) -> Result<()> {
    if form == Output::Json {
        return output::json(report);
    }
    let verb = if report.dry_run { "would be put back on the queue" } else { "put back on the queue" };
    output::line(format_args!("{} {verb}", report.redriven))?;
    if report.attempts_exhausted > 0 {
        output::line(format_args!(
            "{} of them were given up as attempts-exhausted: their uploads are held, so that the messages are only \
             acknowledged; `lazaret session list --state held` shows them, `lazaret session release ID` sends one through \
             again",
            report.attempts_exhausted
        ))?;
    }
    if report.came_back > 0 {
        output::line(format_args!("{} came back, or equal one that was put back: they stay", report.came_back))?;
    }
    for failure in &report.failures {
        output::line(format_args!("not put back: {}: {}", failure.message_id, failure.error))?;
    }
    for id in &report.missing {
        output::line(format_args!("there is no dead letter {}", output::plain(id, MAX_TOLD)))?;
    }
    Ok(())
}
