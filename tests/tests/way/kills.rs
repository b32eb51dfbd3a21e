//! The worker is killed after its n-th request to any dependency, before and after the effect, and after its n-th write
//! to the database's log, for every n of one object's way. Another one goes on.

mod chain;
mod killer;
mod log_watch;
mod points;

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lazaret_tests::station::{Bus, Database};
use tokio::time::sleep;

use chain::Chain;
use points::{Next, Points};

/// Objects on their way at the same time, each at a station of its own: a point is mostly the wait for a lease.
const CHAINS: usize = 12;
/// HEAD and GET, the scan, PUT and GET, DELETE, and the acknowledgement.
const FEWEST_REQUESTS: usize = 7;
/// How often a chain without work looks for some.
const LOOK_EVERY: Duration = Duration::from_millis(50);

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

fn every_point(way: Way) -> Result<()> {
    let began = Instant::now();
    let points = Points::new(way.database == Database::Sqlite);
    let seen = on_a_runtime(async {
        let mut chain = Chain::start(way).await?;
        let seen = chain.undisturbed().await?;
        chain.end().await?;
        Ok(seen)
    })?;
    for request in &seen {
        println!("    {request}");
    }
    let ended: Vec<Result<()>> = thread::scope(|scope| {
        let chains: Vec<_> = (0..CHAINS).map(|_| scope.spawn(|| on_a_runtime(run(way, &points)))).collect();
        chains.into_iter().map(|chain| chain.join().unwrap_or_else(|_| bail!("a chain panicked"))).collect()
    });
    for one in ended {
        one.with_context(|| way.to_string())?;
    }
    let [before, after, writes] = points.tally();
    println!(
        "{way}: {} kill points, {before} before and {after} after requests, {writes} at writes; {:.0} s",
        before + after + writes,
        began.elapsed().as_secs_f64(),
    );
    ensure!(before.min(after) >= FEWEST_REQUESTS, "the way was not seen whole");
    ensure!((writes > 0) == (way.database == Database::Sqlite), "{writes} writes to SQLite's log were seen");
    Ok(())
}

async fn run(way: Way, points: &Points) -> Result<()> {
    let mut chain = Chain::start(way).await?;
    loop {
        match points.take() {
            Next::Point(point) => {
                let killed = chain.kill_at(point).await.with_context(|| format!("{point:?}"))?;
                points.tried(point, killed);
            }
            Next::Later => sleep(LOOK_EVERY).await,
            Next::Over => return chain.end().await,
        }
    }
}

/// The worker dies with the thread that starts it, so each chain has a thread.
fn on_a_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
