//! An engine whose limits are measured, not believed.
//!
//! A canary is a harmless text that the engine has a signature for. It is put where policies let content be: alone, at
//! the end of a file of the largest size, in archives in archives, in each container. What the engine does not find
//! there it does not look at, and its *clean* does not count there.

mod canary;
mod coverage;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lazaret_core::{
    Disposition, EngineVersion, Finding, HoldReason, ScanReport, ScannerName, Spooled,
    error::chain,
    ports::{ScanError, Scanner},
};
use tokio::{
    sync::{Mutex, oneshot},
    task::{JoinSet, spawn_blocking},
    time::timeout,
};
use tracing::{info, warn};

use crate::container::Container;
pub use canary::Marker;
pub use coverage::{Coverage, Sight};

/// How long all canaries together may take. The largest is as long as the largest object.
const MEASURED_WITHIN: Duration = Duration::from_mins(5);
/// How long one look for the canary alone may take.
const LOOKED_WITHIN: Duration = Duration::from_secs(10);
/// A measurement is good for this long: an engine's settings may change without a word.
const MEASURED_FOR: Duration = Duration::from_hours(1);
/// How often an engine that knows no canary is asked whether it has come to know one.
const ASKED_AGAIN: Duration = Duration::from_mins(1);
/// What is tried at least, in bytes, where the engine does not look at the end of larger files.
const SMALLEST: u64 = 1 << 20;

/// Whether an engine is tried with canaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canaries {
    /// As far as it knows one: Lazaret's own, or EICAR's. Once it has found one, it has to go on finding it.
    Auto,
    /// It has to know Lazaret's own.
    Required,
    /// It is believed.
    Off,
}

/// What is asked of an engine.
#[derive(Debug, Clone)]
pub struct ProvenSettings {
    /// Whether it is tried.
    pub canaries: Canaries,
    /// The longest object that it is given, in bytes.
    pub max_object_bytes: u64,
    /// How many archives in archives are let in.
    pub depth: u32,
    /// Where the largest canary is made, as a file without a name.
    pub dir: PathBuf,
}

/// A scanner whose *clean* counts only where its engine was seen to find a canary.
pub struct ProvenScanner {
    bench: Arc<Bench>,
    /// A measurement goes on when nobody waits for it any more, or the next caller would begin it anew.
    at_work: std::sync::Mutex<JoinSet<()>>,
}

struct Bench {
    inner: Arc<dyn Scanner>,
    settings: ProvenSettings,
    /// What the last measurement found.
    coverage: RwLock<Option<Arc<Coverage>>>,
    /// One caller tries the engine, and all who wait for it take its answer.
    trial: Mutex<Trial>,
}

#[derive(Debug, Default)]
struct Trial {
    /// What this engine is tried with: once it found one, always this one.
    marker: Option<Marker>,
    /// When the last successful look for the plain canary began.
    seen_at: Option<Instant>,
    /// When the last trial that failed began, and why: whoever waited for it need not repeat it.
    failed: Option<(Instant, String)>,
    /// When the limits were last measured.
    measured_at: Option<Instant>,
}

impl ProvenScanner {
    /// Nothing is asked yet.
    pub fn new(inner: Arc<dyn Scanner>, settings: ProvenSettings) -> Self {
        let bench = Bench { inner, settings, coverage: RwLock::default(), trial: Mutex::default() };
        Self { bench: Arc::new(bench), at_work: std::sync::Mutex::default() }
    }

    /// What the last measurement found. None before the first, while the engine misses its canary, and where it is
    /// not tried.
    pub fn coverage(&self) -> Option<Arc<Coverage>> {
        self.bench.coverage()
    }

    /// Where the engine does not look without saying so, in plain words.
    pub fn misses(&self) -> Vec<String> {
        self.coverage().map(|coverage| coverage.misses(&self.bench.settings)).unwrap_or_default()
    }

    /// What holds for `engine`, after a look for the plain canary that began after `since`.
    async fn proven(&self, engine: EngineVersion, since: Instant) -> Result<Arc<Coverage>, ScanError> {
        let (told, answer) = oneshot::channel();
        let bench = Arc::clone(&self.bench);
        {
            let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
            while at_work.try_join_next().is_some() {}
            at_work.spawn(async move {
                // Nobody may be left to hear it; what was measured is remembered.
                drop(told.send(bench.proven(&engine, since).await));
            });
        }
        answer.await.unwrap_or_else(|_| Err(self.bench.unproven("its trial broke off".to_owned())))
    }

    /// The report, with a *clean* only where the engine has shown that it looks there.
    async fn examined(&self, object: &Spooled, deadline: Duration) -> Result<ScanReport, ScanError> {
        let began = Instant::now();
        let mut report = self.bench.inner.scan(object, deadline).await?;
        if report.finding != Finding::Clean {
            return Ok(report);
        }
        // A look that began after the scan: signatures that were unloaded meanwhile are missed now.
        let left = deadline.saturating_sub(began.elapsed());
        let coverage = timeout(left, self.proven(report.engine.clone(), Instant::now()))
            .await
            .unwrap_or_else(|_| Err(self.bench.unproven("its canary is still being looked for".to_owned())))?;
        if let Some(detail) = self.bench.doubt(&coverage, object).await? {
            report.finding = Finding::Unscannable { reason: HoldReason::ScanLimits, detail };
        }
        Ok(report)
    }
}

impl Bench {
    fn name(&self) -> &ScannerName {
        self.inner.name()
    }

    fn coverage(&self) -> Option<Arc<Coverage>> {
        self.coverage.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, coverage: Option<Arc<Coverage>>) {
        *self.coverage.write().unwrap_or_else(PoisonError::into_inner) = coverage;
    }

    /// What holds for `engine`, after a look for the plain canary that began after `since`.
    async fn proven(&self, engine: &EngineVersion, since: Instant) -> Result<Arc<Coverage>, ScanError> {
        let mut trial = self.trial.lock().await;
        if let Some((_, why)) = trial.failed.as_ref().filter(|(began, _)| *began >= since) {
            return Err(self.unproven(why.clone()));
        }
        let began = Instant::now();
        let tried = self.try_out(&mut trial, engine, since).await;
        trial.failed = tried.as_ref().err().map(|error| (began, chain(error)));
        if let Some((_, why)) = &trial.failed {
            warn!(scanner = %self.name(), why, "the engine could not be tried with its canary");
        }
        tried
    }

    async fn try_out(
        &self,
        trial: &mut Trial,
        engine: &EngineVersion,
        since: Instant,
    ) -> Result<Arc<Coverage>, ScanError> {
        let is_known = |trial: &Trial, coverage: &Coverage| {
            let age = if trial.marker.is_some() { MEASURED_FOR } else { ASKED_AGAIN };
            coverage.engine == *engine
                && coverage.marker == trial.marker
                && trial.measured_at.is_some_and(|at| at.elapsed() < age)
        };
        if let Some(known) = self.coverage().filter(|coverage| is_known(trial, coverage)) {
            if trial.marker.is_none() || trial.seen_at.is_some_and(|at| at >= since) {
                return Ok(known);
            }
            self.look(trial).await?;
            if known.marker == trial.marker {
                return Ok(known);
            }
        } else {
            self.look(trial).await?;
        }
        let began = Instant::now();
        let coverage = timeout(MEASURED_WITHIN, self.measure(engine, trial.marker)).await.unwrap_or_else(|_| {
            Err(self.unproven(format!("the canaries took longer than {} s", MEASURED_WITHIN.as_secs())))
        })?;
        trial.measured_at = Some(began);
        let before = self.coverage();
        if before.as_deref() != Some(&coverage) {
            self.tell(&coverage);
        }
        let coverage = Arc::new(coverage);
        self.remember(Some(Arc::clone(&coverage)));
        Ok(coverage)
    }

    /// Looks for the plain canary, of the kind that is known or else of any kind.
    async fn look(&self, trial: &mut Trial) -> Result<(), ScanError> {
        let began = Instant::now();
        let (candidates, required): (&[Marker], bool) = match (trial.marker, self.settings.canaries) {
            (Some(Marker::Own), _) | (None, Canaries::Required) => (&[Marker::Own], true),
            (Some(Marker::Eicar), _) => (&[Marker::Own, Marker::Eicar], true),
            (None, Canaries::Auto | Canaries::Off) => (&[Marker::Own, Marker::Eicar], false),
        };
        for marker in candidates {
            if self.sees(marker.plain(), LOOKED_WITHIN).await? == Sight::Found {
                trial.marker = Some(*marker);
                trial.seen_at = Some(began);
                return Ok(());
            }
        }
        trial.seen_at = None;
        if !required {
            return Ok(());
        }
        self.remember(None);
        let which = trial.marker.unwrap_or(Marker::Own);
        Err(self.unproven(format!("it does not find {which}: {}", which.remedy())))
    }

    async fn measure(&self, engine: &EngineVersion, marker: Option<Marker>) -> Result<Coverage, ScanError> {
        let mut coverage = Coverage::unmeasured(engine.clone());
        let Some(marker) = marker else { return Ok(coverage) };
        coverage.marker = Some(marker);
        for (container, packed) in canary::CONTAINERS {
            coverage.containers.insert(*container, self.sees(packed, MEASURED_WITHIN).await?);
        }
        let depth = self.settings.depth;
        coverage.depth = Some((depth, self.sees(&canary::nested(depth), MEASURED_WITHIN).await?));
        // EICAR's counts only where it is the whole file.
        if marker == Marker::Own {
            coverage.largest = Some(self.largest().await?);
        }
        Ok(coverage)
    }

    /// The longest file at whose end the engine finds the canary.
    async fn largest(&self) -> Result<u64, ScanError> {
        let mut len = self.settings.max_object_bytes;
        loop {
            let dir = self.settings.dir.clone();
            let made = spawn_blocking(move || canary::at_the_end(&dir, len)).await.map_err(io::Error::other).flatten();
            match self.sight(&made.map_err(|error| self.unmade(&error))?, MEASURED_WITHIN).await? {
                Sight::Found => return Ok(len),
                Sight::Told | Sight::Missed if len <= SMALLEST => return Ok(0),
                // What an engine says at one length it need not say at another.
                Sight::Told | Sight::Missed => len = (len / 2).max(SMALLEST),
            }
        }
    }

    async fn sees(&self, bytes: &[u8], within: Duration) -> Result<Sight, ScanError> {
        let object = canary::object(bytes).map_err(|error| self.unmade(&error))?;
        self.sight(&object, within).await
    }

    /// An engine that gives no answer about a canary, twice, has not found it. Whatever else goes wrong is the engine's
    /// trouble and no object's.
    async fn sight(&self, object: &Spooled, within: Duration) -> Result<Sight, ScanError> {
        for _ in 0..2 {
            match self.inner.scan(object, within).await {
                Ok(ScanReport { finding: Finding::Infected { .. }, .. }) => return Ok(Sight::Found),
                Ok(ScanReport { finding: Finding::Unscannable { .. }, .. }) => return Ok(Sight::Told),
                Ok(ScanReport { finding: Finding::Clean, .. }) => return Ok(Sight::Missed),
                Err(ScanError::NoVerdict { .. }) => {}
                Err(error) if error.disposition() == Disposition::Unavailable => return Err(error),
                Err(error) => return Err(self.unproven(format!("a canary got no answer: {}", chain(&error)))),
            }
        }
        Ok(Sight::Missed)
    }

    fn unmade(&self, error: &io::Error) -> ScanError {
        self.unproven(format!("a canary could not be made in {}: {error}", self.settings.dir.display()))
    }

    fn tell(&self, coverage: &Coverage) {
        let scanner = self.name();
        let misses = coverage.misses(&self.settings);
        match (coverage.marker, misses.is_empty()) {
            (None, _) => warn!(
                %scanner,
                "the engine finds neither Lazaret's canary nor EICAR's, so its limits cannot be measured and its word \
                 about containers does not count: {}",
                Marker::Own.remedy()
            ),
            (Some(marker), true) => info!(%scanner, %marker, "the engine finds every canary"),
            (Some(marker), false) => {
                warn!(%scanner, %marker, misses = misses.join("; "), "the engine does not find every canary");
            }
        }
    }

    /// Why a *clean* about this object does not count, if it does not.
    async fn doubt(&self, coverage: &Arc<Coverage>, object: &Spooled) -> Result<Option<String>, ScanError> {
        let (object, coverage, settings) = (object.clone(), Arc::clone(coverage), self.settings.clone());
        let judged = spawn_blocking(move || {
            let container = Container::of(&object)?;
            Ok(coverage.doubt(&settings, object.len(), container))
        });
        judged
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|source| ScanError::Spool { scanner: self.name().clone(), source })
    }

    fn unproven(&self, detail: String) -> ScanError {
        ScanError::Unproven { scanner: self.name().clone(), detail }
    }
}

#[async_trait]
impl Scanner for ProvenScanner {
    fn name(&self) -> &ScannerName {
        self.bench.name()
    }

    async fn scan(&self, object: &Spooled, deadline: Duration) -> Result<ScanReport, ScanError> {
        if self.bench.settings.canaries == Canaries::Off {
            return self.bench.inner.scan(object, deadline).await;
        }
        self.examined(object, deadline).await
    }

    async fn check(&self) -> Result<EngineVersion, ScanError> {
        let engine = self.bench.inner.check().await?;
        if self.bench.settings.canaries != Canaries::Off {
            self.proven(engine.clone(), Instant::now()).await?;
        }
        Ok(engine)
    }
}

impl std::fmt::Debug for ProvenScanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Bench { settings, .. } = &*self.bench;
        f.debug_struct("ProvenScanner").field("name", self.name()).field("settings", settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
