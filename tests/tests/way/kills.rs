//! The worker is killed after its n-th request to any dependency, before and after the effect, and after its n-th write
//! to the database's log, for every n of one object's way. Another one goes on.

mod chain;
mod killer;
mod log_watch;

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use lazaret_tests::station::{Bus, Database};

use chain::Chain;

/// Objects on their way at the same time, each at a station of its own: a point is mostly the wait for a lease.
const CHAINS: usize = 12;
/// Points beyond the last request of the way that was measured: ways differ by a poll or two.
const MARGIN: usize = 2;

/// One of the eight ways.
#[derive(Debug, Clone, Copy)]
struct Way {
    re_encoded: bool,
    database: Database,
    bus: Bus,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = if self.re_encoded { "re-encode" } else { "as-is" };
        write!(f, "{action}, {:?}, {:?}", self.database, self.bus)
    }
}

/// When the worker is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// Before the server sees the n-th request.
    Before(usize),
    /// After the n-th request had its effect, before its answer comes.
    After(usize),
    /// After the n-th write to SQLite's log.
    Write(usize),
}

#[test]
fn kills_as_is_sqlite_sqs() -> Result<()> {
    every_point(Way { re_encoded: false, database: Database::Sqlite, bus: Bus::Sqs })
}

#[test]
fn kills_as_is_sqlite_amqp() -> Result<()> {
    every_point(Way { re_encoded: false, database: Database::Sqlite, bus: Bus::Amqp })
}

#[test]
fn kills_as_is_postgres_sqs() -> Result<()> {
    every_point(Way { re_encoded: false, database: Database::Postgres, bus: Bus::Sqs })
}

#[test]
fn kills_as_is_postgres_amqp() -> Result<()> {
    every_point(Way { re_encoded: false, database: Database::Postgres, bus: Bus::Amqp })
}

#[test]
fn kills_re_encode_sqlite_sqs() -> Result<()> {
    every_point(Way { re_encoded: true, database: Database::Sqlite, bus: Bus::Sqs })
}

#[test]
fn kills_re_encode_sqlite_amqp() -> Result<()> {
    every_point(Way { re_encoded: true, database: Database::Sqlite, bus: Bus::Amqp })
}

#[test]
fn kills_re_encode_postgres_sqs() -> Result<()> {
    every_point(Way { re_encoded: true, database: Database::Postgres, bus: Bus::Sqs })
}

#[test]
fn kills_re_encode_postgres_amqp() -> Result<()> {
    every_point(Way { re_encoded: true, database: Database::Postgres, bus: Bus::Amqp })
}

/// What a chain found at its points.
#[derive(Debug, Default)]
struct Tally {
    killed: usize,
    /// The way was over before the point came.
    not_reached: Vec<Point>,
}

fn every_point(way: Way) -> Result<()> {
    let began = Instant::now();
    let (requests, writes) = on_a_runtime(async {
        let mut chain = Chain::start(way).await?;
        let measured = chain.undisturbed().await?;
        chain.end().await?;
        Ok(measured)
    })?;
    for request in &requests {
        println!("    {request}");
    }
    let mut points = VecDeque::new();
    for nth in 1..=requests.len() + MARGIN {
        points.extend([Point::Before(nth), Point::After(nth)]);
    }
    points.extend((1..=writes).map(Point::Write));
    let planned = points.len();
    let points = Mutex::new(points);
    let tallies: Vec<Result<Tally>> = thread::scope(|scope| {
        let chains: Vec<_> = (0..CHAINS).map(|_| scope.spawn(|| on_a_runtime(run(way, &points)))).collect();
        chains.into_iter().map(|chain| chain.join().unwrap_or_else(|_| bail!("a chain panicked"))).collect()
    });
    let mut all = Tally::default();
    for tally in tallies {
        let tally = tally.with_context(|| way.to_string())?;
        all.killed += tally.killed;
        all.not_reached.extend(tally.not_reached);
    }
    println!(
        "{way}: {} kill points of {planned} ({} requests, {writes} writes), {:.0} s; not reached: {:?}",
        all.killed,
        requests.len(),
        began.elapsed().as_secs_f64(),
        all.not_reached
    );
    ensure!(all.killed >= 2 * requests.len() * 9 / 10, "too few points were reached to have seen the whole way");
    Ok(())
}

async fn run(way: Way, points: &Mutex<VecDeque<Point>>) -> Result<Tally> {
    let mut chain = Chain::start(way).await?;
    let mut tally = Tally::default();
    loop {
        let Some(point) = points.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { break };
        if chain.kill_at(point).await.with_context(|| format!("{point:?}"))? {
            tally.killed += 1;
        } else {
            tally.not_reached.push(point);
        }
    }
    chain.end().await?;
    Ok(tally)
}

/// The worker dies with the thread that starts it, so each chain has a thread.
fn on_a_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
