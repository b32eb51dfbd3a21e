use std::{
    io::{Seek, SeekFrom},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lazaret_core::{
    Finding, HoldReason, Spooled,
    ports::{ScanError, Scanner},
};
use tokio::time::sleep;

use super::spooled;

const AMPLE: Duration = Duration::from_mins(1);
/// How late a deadline may be kept.
const SLACK: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 16;

/// Objects that the engine under test is known to judge so.
#[derive(Debug)]
pub struct Fixtures {
    /// Found clean.
    pub clean: Vec<u8>,
    /// Found infected.
    pub infected: Vec<u8>,
    /// How the signature's name begins.
    pub signature: String,
    /// Held as encrypted. None for an engine that looks into nothing.
    pub encrypted: Option<Vec<u8>>,
    /// Held because of the engine's limits. None for an engine that has none.
    pub over_limits: Option<Vec<u8>>,
    /// Found clean, at least 30 MB, and more than a few milliseconds of work.
    pub huge: Vec<u8>,
}

/// The contract of [`Scanner`], against an engine that judges `fixtures` as they say.
pub async fn conforms(scanner: &dyn Scanner, fixtures: &Fixtures) -> Result<()> {
    scanner.check().await.context("check")?;
    verdicts(scanner, fixtures).await.context("verdicts")?;
    the_offset_does_not_count(scanner, fixtures).await.context("the offset does not count")?;
    empty_is_never_clean(scanner).await.context("empty is never clean")?;
    a_verdict_is_its_objects_own(scanner, fixtures).await.context("a verdict is its object's own")?;
    the_deadline_holds(scanner, fixtures).await.context("the deadline holds")?;
    a_dropped_scan_leaves_nothing(scanner, fixtures).await.context("a dropped scan leaves nothing")
}

async fn finding(scanner: &dyn Scanner, object: &Spooled) -> Result<Finding> {
    let report = scanner.scan(object, AMPLE).await?;
    ensure!(report.scanner == *scanner.name(), "the report is from {}", report.scanner);
    ensure!(!report.engine.engine.is_empty(), "the report names no engine");
    Ok(report.finding)
}

async fn expect_clean(scanner: &dyn Scanner, bytes: &[u8]) -> Result<()> {
    let finding = finding(scanner, &spooled(bytes)?).await?;
    ensure!(finding == Finding::Clean, "expected clean: {finding:?}");
    Ok(())
}

async fn expect_infected(scanner: &dyn Scanner, fixtures: &Fixtures) -> Result<()> {
    match finding(scanner, &spooled(&fixtures.infected)?).await? {
        Finding::Infected { signature } if signature.starts_with(&fixtures.signature) => Ok(()),
        other => bail!("expected {}: {other:?}", fixtures.signature),
    }
}

async fn expect_held(scanner: &dyn Scanner, bytes: &[u8], expected: HoldReason) -> Result<()> {
    match finding(scanner, &spooled(bytes)?).await? {
        Finding::Unscannable { reason, detail } if reason == expected && !detail.is_empty() => Ok(()),
        other => bail!("expected {expected}: {other:?}"),
    }
}

async fn verdicts(scanner: &dyn Scanner, fixtures: &Fixtures) -> Result<()> {
    expect_clean(scanner, &fixtures.clean).await?;
    expect_infected(scanner, fixtures).await?;
    expect_clean(scanner, &fixtures.clean).await.context("after an infected one")?;
    let held = [(&fixtures.encrypted, HoldReason::Encrypted), (&fixtures.over_limits, HoldReason::ScanLimits)];
    for (bytes, reason) in held.into_iter().filter_map(|(bytes, reason)| Some((bytes.as_ref()?, reason))) {
        expect_held(scanner, bytes, reason).await?;
    }
    expect_clean(scanner, &fixtures.huge).await.context("huge")
}

async fn the_offset_does_not_count(scanner: &dyn Scanner, fixtures: &Fixtures) -> Result<()> {
    let object = spooled(&fixtures.infected)?;
    for from in [SeekFrom::Start(0), SeekFrom::End(0)] {
        object.file().seek(from)?;
        let finding = finding(scanner, &object).await?;
        ensure!(matches!(finding, Finding::Infected { .. }), "{from:?}: {finding:?}");
    }
    Ok(())
}

async fn empty_is_never_clean(scanner: &dyn Scanner) -> Result<()> {
    match scanner.scan(&spooled(b"")?, AMPLE).await {
        Err(ScanError::NoVerdict { .. }) => Ok(()),
        other => bail!("expected no verdict: {other:?}"),
    }
}

async fn a_verdict_is_its_objects_own(scanner: &dyn Scanner, fixtures: &Fixtures) -> Result<()> {
    let (clean, infected) = (spooled(&fixtures.clean)?, spooled(&fixtures.infected)?);
    let scans = (0..AT_ONCE).map(|n| finding(scanner, if n % 2 == 0 { &clean } else { &infected }));
    for (n, finding) in futures_util::future::join_all(scans).await.into_iter().enumerate() {
        let finding = finding?;
        let own = if n % 2 == 0 { finding == Finding::Clean } else { matches!(finding, Finding::Infected { .. }) };
        ensure!(own, "number {n} of {AT_ONCE} at once: {finding:?}");
    }
    Ok(())
}

async fn the_deadline_holds(scanner: &dyn Scanner, fixtures: &Fixtures) -> Result<()> {
    let object = spooled(&fixtures.huge)?;
    let deadline = Duration::from_millis(1);
    let started = Instant::now();
    match scanner.scan(&object, deadline).await {
        Err(ScanError::DeadlineExceeded { deadline: told, .. }) => ensure!(told == deadline, "it tells {told:?}"),
        other => bail!("expected a missed deadline: {other:?}"),
    }
    ensure!(started.elapsed() < deadline + SLACK, "it took {:?}", started.elapsed());
    expect_clean(scanner, &fixtures.clean).await.context("after a missed deadline")
}

async fn a_dropped_scan_leaves_nothing(scanner: &dyn Scanner, fixtures: &Fixtures) -> Result<()> {
    let object = spooled(&fixtures.huge)?;
    for _ in 0..3 {
        // The time first: where this thread was kept waiting, both may be over, and the scan is given up all the same.
        tokio::select! {
            biased;
            () = sleep(Duration::from_millis(1)) => {}
            early = scanner.scan(&object, AMPLE) => bail!("it ended within 1 ms: {early:?}"),
        }
    }
    expect_infected(scanner, fixtures).await.context("after dropped scans")
}
