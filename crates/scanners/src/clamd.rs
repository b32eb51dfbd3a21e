//! clamd, ClamAV's daemon (<https://docs.clamav.net/manual/Usage/Scanning.html#clamd>, clamd(8)).

mod address;
mod connection;
mod exchange;
mod reply;
mod version;

use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lazaret_core::{
    EngineVersion, Finding, HoldReason, ScanReport, ScannerName, Spooled, Timestamp,
    ports::{ScanError, Scanner},
};
use tokio::{sync::Semaphore, time::timeout};
use tracing::{debug, info, warn};

use crate::{container, nested, signature_age};
pub use address::{ClamdAddress, InvalidClamdAddress};
use connection::Fault;
use reply::Subject;

/// The largest `MaxFileSize` that clamd can have: no setting makes it look at more.
pub const MAX_OBJECT_BYTES: u64 = 2_147_483_645;

/// How long what clamd said of itself before a scan is good for. Its version after the scan is always asked anew.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// A clamd that does not say its version in this time is stalled or loading, which is not the object's fault.
const VERSION_WITHIN: Duration = Duration::from_secs(5);
/// How long [`Scanner::check`] waits for all its answers.
const CHECK_DEADLINE: Duration = Duration::from_secs(10);
/// A reload in one scan happens; a reload in each of two in a row does not.
const SCANS_PER_OBJECT: usize = 2;
const SHOWN_CHARS: usize = 200;
/// Deeper than the deepest `MaxRecursion` that clamd allows, which is 100.
const DEEPER_THAN_ANY: u32 = 120;

/// Where a clamd is and what is asked of it.
#[derive(Debug, Clone)]
pub struct ClamdSettings {
    /// The name that policies use.
    pub name: ScannerName,
    /// Where clamd listens.
    pub address: ClamdAddress,
    /// Older signatures, and those of unknown age, are an error. None: any age will do.
    pub max_signature_age: Option<Duration>,
    /// Longer objects are unscannable without being sent. At most [`MAX_OBJECT_BYTES`] counts.
    pub max_object_bytes: u64,
    /// clamd's own `MaxScanTime`, where it is told. It calls clean what it stopped looking at then, so a *clean* that
    /// took as long does not count.
    pub max_scan_time: Option<Duration>,
    /// How many objects are with clamd at once; more wait, within their deadlines. clamd's own `MaxThreads` is 10.
    pub max_connections: NonZeroUsize,
    /// Whether "clean" about an archive counts only from a clamd that has `AlertEncrypted` and `AlertExceedsMax`, which
    /// is found out by trying. Without them it calls clean what it never looked at.
    pub require_alerts: bool,
    /// The clock that signatures age by.
    pub now: fn() -> Timestamp,
}

impl ClamdSettings {
    /// Any age of signatures, all objects that clamd can take, ten at once, alerts required.
    pub fn new(name: ScannerName, address: ClamdAddress, now: fn() -> Timestamp) -> Self {
        // Checked by the compiler: ten is not zero.
        const TEN: NonZeroUsize = NonZeroUsize::new(10).unwrap();
        Self {
            name,
            address,
            max_signature_age: None,
            max_object_bytes: MAX_OBJECT_BYTES,
            max_scan_time: None,
            max_connections: TEN,
            require_alerts: true,
            now,
        }
    }
}

/// A clamd.
#[derive(Debug)]
pub struct ClamdScanner {
    settings: ClamdSettings,
    slots: Semaphore,
    known: Mutex<Known>,
    /// Set once clamd said that descriptors do not reach it.
    streams_only: AtomicBool,
}

/// What clamd said of itself, and when.
#[derive(Debug, Default)]
struct Known {
    version: Option<(EngineVersion, Instant)>,
    alerts: Option<(Alerts, Instant)>,
}

/// Whether clamd says what it could not look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alerts {
    On,
    /// The setting that is missing.
    Lacks(&'static str),
}

impl ClamdScanner {
    /// Nothing is asked yet.
    pub fn new(settings: ClamdSettings) -> Self {
        let slots = Semaphore::new(settings.max_connections.get().min(Semaphore::MAX_PERMITS));
        Self { settings, slots, known: Mutex::default(), streams_only: AtomicBool::new(false) }
    }

    async fn examine(&self, object: &Spooled) -> Result<(EngineVersion, Finding), ScanError> {
        let _slot = self.slots.acquire().await.map_err(|closed| self.unavailable(closed))?;
        let (mut before, alerts) = self.engine().await?;
        let limit = self.settings.max_object_bytes.min(MAX_OBJECT_BYTES);
        if object.len() > limit {
            let detail = format!("{} bytes are longer than the limit of {limit}", object.len());
            return Ok((before, Finding::Unscannable { reason: HoldReason::ScanLimits, detail }));
        }
        for _ in 0..SCANS_PER_OBJECT {
            let asked = Instant::now();
            let finding = self.in_time(self.ask(object).await?, asked.elapsed());
            let after = self.version().await?;
            if after == before {
                return Ok((before, self.doubted(finding, alerts, object).await?));
            }
            debug!(scanner = %self.settings.name, ?before, ?after, "the engine changed during the scan");
            before = after;
        }
        Err(self.no_verdict("(its engine changed during every scan)"))
    }

    /// One scan, by descriptor where that works.
    async fn ask(&self, object: &Spooled) -> Result<Finding, ScanError> {
        let address = &self.settings.address;
        if let ClamdAddress::Unix(path) = address
            && !self.streams_only.load(Ordering::Relaxed)
        {
            let answer = exchange::descriptor(path, object).await.map_err(|error| self.failed(error))?;
            if !reply::refuses_descriptor(&answer) {
                return self.understood(&answer, Subject::Descriptor);
            }
            info!(scanner = %self.settings.name, %address, "descriptors do not reach clamd, objects are streamed to it");
            self.streams_only.store(true, Ordering::Relaxed);
        }
        let answer = exchange::stream(address, object).await.map_err(|error| self.failed(error))?;
        self.understood(&answer, Subject::Stream)
    }

    fn understood(&self, answer: &[u8], subject: Subject) -> Result<Finding, ScanError> {
        reply::finding(answer, subject).ok_or_else(|| self.no_verdict(shown(answer)))
    }

    /// The engine that would scan now, asked not long ago. Trouble here is clamd's own and never costs an object an
    /// attempt.
    async fn engine(&self) -> Result<(EngineVersion, Alerts), ScanError> {
        let (version, alerts) = {
            let known = self.known();
            let version = known.version.as_ref().filter(|(_, asked)| asked.elapsed() < KNOWN_FOR);
            let alerts = known.alerts.filter(|(_, asked)| asked.elapsed() < KNOWN_FOR);
            (version.map(|(version, _)| version.clone()), alerts.map(|(alerts, _)| alerts))
        };
        let version = match version {
            Some(version) => self.fresh(version)?,
            None => self.version().await?,
        };
        let alerts = match alerts {
            Some(alerts) => alerts,
            None => self.prove_alerts().await?,
        };
        Ok((version, alerts))
    }

    /// A clean answer about something with an inside, from a clamd that would not say what it skipped there.
    async fn doubted(&self, finding: Finding, alerts: Alerts, object: &Spooled) -> Result<Finding, ScanError> {
        let (Finding::Clean, Alerts::Lacks(setting)) = (&finding, alerts) else { return Ok(finding) };
        let object = object.clone();
        let has_inside = tokio::task::spawn_blocking(move || container::has_inside(&object)).await;
        let has_inside = has_inside.map_err(io::Error::other).flatten();
        if !has_inside.map_err(|source| ScanError::Spool { scanner: self.settings.name.clone(), source })? {
            return Ok(finding);
        }
        let detail = format!("clamd without `{setting} yes` does not say what it skips in an archive");
        Ok(Finding::Unscannable { reason: HoldReason::ScanLimits, detail })
    }

    /// A clean answer that took as long as clamd looks at anything.
    fn in_time(&self, finding: Finding, took: Duration) -> Finding {
        match (finding, self.settings.max_scan_time) {
            (Finding::Clean, Some(limit)) if took >= limit => {
                let detail = format!(
                    "clamd's answer took {} ms, and after its MaxScanTime of {} ms it no longer looks",
                    took.as_millis(),
                    limit.as_millis()
                );
                Finding::Unscannable { reason: HoldReason::ScanLimits, detail }
            }
            (finding, _) => finding,
        }
    }

    async fn version(&self) -> Result<EngineVersion, ScanError> {
        let answer = timeout(VERSION_WITHIN, exchange::version(&self.settings.address))
            .await
            .map_err(|_| self.unavailable(format!("it did not say its version within {} s", VERSION_WITHIN.as_secs())))?
            .map_err(|error| self.unavailable(error))?;
        let version = version::parse(&answer)
            .ok_or_else(|| self.unavailable(format!("it does not say its version: {:?}", shown(&answer))))?;
        self.known().version = Some((version.clone(), Instant::now()));
        self.fresh(version)
    }

    fn fresh(&self, version: EngineVersion) -> Result<EngineVersion, ScanError> {
        match signature_age::stale(&version, self.settings.max_signature_age, (self.settings.now)()) {
            None => Ok(version),
            Some(detail) => Err(ScanError::StaleSignatures { scanner: self.settings.name.clone(), detail }),
        }
    }

    /// Two archives that a clamd with the right settings does not call clean.
    async fn prove_alerts(&self) -> Result<Alerts, ScanError> {
        if !self.settings.require_alerts {
            return Ok(Alerts::On);
        }
        let archives = [
            (nested::encrypted(), HoldReason::Encrypted, "AlertEncrypted"),
            (nested::nested(b"x", DEEPER_THAN_ANY), HoldReason::ScanLimits, "AlertExceedsMax"),
        ];
        let mut alerts = Alerts::On;
        for (archive, expected, setting) in archives {
            let answer = exchange::bytes(&self.settings.address, &archive).await;
            let answer = answer.map_err(|error| self.unavailable(error))?;
            match reply::finding(&answer, Subject::Stream) {
                Some(Finding::Unscannable { reason, .. }) if reason == expected => {}
                Some(Finding::Clean | Finding::Infected { .. } | Finding::Unscannable { .. }) => {
                    alerts = Alerts::Lacks(setting);
                }
                None => return Err(self.unavailable(format!("it cannot scan: {:?}", shown(&answer)))),
            }
        }
        self.remember(alerts);
        Ok(alerts)
    }

    /// Says it once, and again when it changes.
    fn remember(&self, alerts: Alerts) {
        let before = self.known().alerts.replace((alerts, Instant::now())).map(|(before, _)| before);
        if let Alerts::Lacks(setting) = alerts
            && before != Some(alerts)
        {
            warn!(
                scanner = %self.settings.name,
                "clamd hides what it skips, so archives are held: set {setting} yes in its clamd.conf"
            );
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn within<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<T, ScanError>> + Send,
    ) -> Result<T, ScanError> {
        timeout(deadline, work)
            .await
            .unwrap_or_else(|_| Err(ScanError::DeadlineExceeded { scanner: self.settings.name.clone(), deadline }))
    }

    fn failed(&self, error: io::Error) -> ScanError {
        match error.downcast::<Fault>() {
            Ok(Fault::Connect(source)) => self.unavailable(source),
            Ok(Fault::Spool(source)) => ScanError::Spool { scanner: self.settings.name.clone(), source },
            // It took the request and then was gone: perhaps because of this object, so the attempt counts.
            Err(error) => self.no_verdict(format!("(the connection failed: {error})")),
        }
    }

    fn unavailable(&self, source: impl Into<lazaret_core::error::Cause>) -> ScanError {
        let address = self.settings.address.to_string();
        ScanError::Unavailable { scanner: self.settings.name.clone(), address, source: source.into() }
    }

    fn no_verdict(&self, answer: impl Into<String>) -> ScanError {
        ScanError::NoVerdict { scanner: self.settings.name.clone(), answer: answer.into() }
    }
}

/// A reply for people, cut.
fn shown(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).trim_end_matches('\0').chars().take(SHOWN_CHARS).collect()
}

#[async_trait]
impl Scanner for ClamdScanner {
    fn name(&self) -> &ScannerName {
        &self.settings.name
    }

    async fn scan(&self, object: &Spooled, deadline: Duration) -> Result<ScanReport, ScanError> {
        if object.is_empty() {
            return Err(self.no_verdict("(not asked: it calls every empty object OK)"));
        }
        let started = Instant::now();
        let examined = self.within(deadline, self.examine(object)).await;
        // Whatever went wrong, the next object goes only to a clamd that speaks.
        let (engine, finding) = examined.inspect_err(|_| *self.known() = Known::default())?;
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(ScanReport {
            scanner: self.settings.name.clone(),
            engine,
            finding,
            matches: Vec::new(),
            allowed_by: None,
            reused_from: None,
            elapsed_ms,
        })
    }

    async fn check(&self) -> Result<EngineVersion, ScanError> {
        let answers = async {
            let version = self.version().await?;
            self.prove_alerts().await?;
            Ok(version)
        };
        self.within(CHECK_DEADLINE, answers).await
    }
}

#[cfg(test)]
pub(crate) mod tests;
