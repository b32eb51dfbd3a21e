//! YARA rules from a folder, on YARA-X (<https://virustotal.github.io/yara-x/docs/>).

mod folder;
mod judge;
mod rules;
mod watch;

use std::{
    fmt, io,
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lazaret_core::{
    EngineVersion, Finding, HoldReason, RuleMatch, ScanReport, ScannerName, Spooled, Timestamp,
    ports::{ScanError, Scanner},
};
use thiserror::Error;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use crate::signature_age;
use folder::Limits;
use judge::Trouble;
use rules::RuleSet;
use watch::{InForce, Leash, Source};

/// The longest time between two looks at the folder. A change is in force after two looks and a compilation.
pub const LONGEST_POLL_INTERVAL: Duration = Duration::from_secs(2);
const SHORTEST_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The engine counts whole seconds and rounds to its disadvantage: it must not give up before the deadline.
const ENGINE_GRACE: Duration = Duration::from_secs(1);
const SHOWN_CHARS: usize = 200;

/// Told on the thread of the rules, at the start and with every change. Nobody else logs it.
pub type YaraObserver = Arc<dyn Fn(&YaraNews) + Send + Sync>;

/// What became of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum YaraNews {
    /// A set is in force.
    InForce {
        /// The engine and the set.
        version: EngineVersion,
        /// How many rules there are.
        rules: usize,
        /// What the compiler minds without refusing it, the first few.
        warnings: Vec<String>,
    },
    /// The folder changed into something that cannot be used. The set before it stays in force.
    Broken {
        /// The files, lines and columns, and what is wrong there.
        why: String,
    },
}

/// Where the rules are, and the limits.
#[derive(Clone)]
pub struct YaraSettings {
    /// The name that policies use.
    pub name: ScannerName,
    /// Every `*.yar` and `*.yara` below it, at any depth, is a rule file.
    pub folder: PathBuf,
    /// Where no rule file was changed for longer, nothing is scanned. None: any age will do.
    pub max_signature_age: Option<Duration>,
    /// How often the folder is looked at. At most [`LONGEST_POLL_INTERVAL`] counts.
    pub poll_interval: Duration,
    /// Longer objects are unscannable without being looked at.
    pub max_object_bytes: u64,
    /// How many scans run at once; more wait, within their deadlines. Each takes a core, and up to 32 MB for its copy of
    /// the object; a longer object is mapped.
    pub max_at_once: NonZeroUsize,
    /// More rule files are an error.
    pub max_rule_files: usize,
    /// More bytes in all rule files are an error.
    pub max_rule_bytes: u64,
    /// A report has the worst of its matches up to this number, and one more entry that tells how many are left out.
    pub max_matches: usize,
    /// Told what becomes of the rules.
    pub observer: YaraObserver,
    /// The clock that rules age by.
    pub now: fn() -> Timestamp,
}

impl YaraSettings {
    /// Rules of any age, a look every second, objects up to 2 GiB, as many scans as there are cores, 10 000 rule files with 64 MiB in all,
    /// and 100 matches in a report.
    pub fn new(name: ScannerName, folder: PathBuf, observer: YaraObserver, now: fn() -> Timestamp) -> Self {
        Self {
            name,
            folder,
            max_signature_age: None,
            poll_interval: Duration::from_secs(1),
            max_object_bytes: 2 << 30,
            max_at_once: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            max_rule_files: 10_000,
            max_rule_bytes: 64 << 20,
            max_matches: 100,
            observer,
            now,
        }
    }
}

impl fmt::Debug for YaraSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("YaraSettings").field("name", &self.name).field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Why there are no rules to scan with.
#[derive(Debug, Error)]
pub enum YaraError {
    /// A rule file or folder is there, but not for us.
    #[error("the rules at {} could not be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// More rules than the settings allow.
    #[error("the rule folder {} is too much: {detail}", folder.display())]
    TooMuch {
        /// Which folder.
        folder: PathBuf,
        /// What is too much, and the limit.
        detail: String,
    },
    /// Nothing would ever be found.
    #[error("the rule folder has no rule that could match: every object would be called clean")]
    NoRules,
    /// Rules that do not compile.
    #[error("{files} rule files do not compile: {errors}")]
    Broken {
        /// How many.
        files: usize,
        /// `file:line:column: what`, for the first of them.
        errors: String,
    },
    /// The engine itself failed.
    #[error("YARA-X cannot scan with the rules: {detail}")]
    Engine {
        /// What it said.
        detail: String,
    },
}

/// The rules of a folder.
///
/// The engine cannot be interrupted: a scan whose future is dropped or whose deadline passes runs on in its slot, for up to
/// two seconds after its deadline, or to the end of the object where no pattern matches on the way.
#[derive(Debug)]
pub struct YaraScanner {
    settings: YaraSettings,
    slots: Arc<Semaphore>,
    in_force: Arc<InForce>,
    leash: Leash,
}

impl YaraScanner {
    /// Compiles the rules, which takes seconds for thousands of them, and keeps an eye on the folder until it is dropped.
    pub fn new(settings: YaraSettings) -> Result<Self, YaraError> {
        let source = Source {
            folder: settings.folder.clone(),
            limits: Limits { files: settings.max_rule_files, bytes: settings.max_rule_bytes },
            observer: Arc::clone(&settings.observer),
        };
        let interval = settings.poll_interval.clamp(SHORTEST_POLL_INTERVAL, LONGEST_POLL_INTERVAL);
        let (in_force, leash) = watch::start(source, interval)?;
        let slots = Arc::new(Semaphore::new(settings.max_at_once.get().min(Semaphore::MAX_PERMITS)));
        Ok(Self { settings, slots, in_force, leash })
    }

    /// Why the rules in the folder are not those in force, where that is so. Scans and [`Scanner::check`] go on with the
    /// old ones; whoever tells of readiness must ask here, too.
    pub fn broken(&self) -> Option<String> {
        let ended = || "the thread that watches the rules has ended".to_owned();
        self.in_force.broken().or_else(|| self.leash.is_slack().then(ended))
    }

    async fn examine(&self, object: &Spooled, started: Instant, deadline: Duration) -> Result<Examined, ScanError> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|closed| self.no_verdict(closed.to_string()))?;
        let set = self.in_force.set();
        let engine = self.fresh(&set)?;
        let limit = self.settings.max_object_bytes;
        if object.len() > limit {
            let detail = format!("{} bytes are longer than the limit of {limit}", object.len());
            let finding = Finding::Unscannable { reason: HoldReason::ScanLimits, detail };
            return Ok(Examined { engine, finding, matches: Vec::new() });
        }
        let (object, within) = (object.clone(), deadline.saturating_sub(started.elapsed()) + ENGINE_GRACE);
        let judged = spawn_blocking(move || {
            // Free only when the engine is done, whoever still waits for it.
            let _slot = slot;
            judge::matches(&set, &object, object.len(), within)
        });
        let judged = judged.await.map_err(|_| self.no_verdict("(the engine panicked)"))?;
        let matches = judged.map_err(|trouble| self.failed(trouble, deadline))?;
        let finding = judge::finding(&matches);
        Ok(Examined { engine, finding, matches: judge::cut(matches, self.settings.max_matches) })
    }

    fn fresh(&self, set: &RuleSet) -> Result<EngineVersion, ScanError> {
        match signature_age::stale(&set.version, self.settings.max_signature_age, (self.settings.now)()) {
            None => Ok(set.version.clone()),
            Some(detail) => Err(ScanError::StaleSignatures { scanner: self.settings.name.clone(), detail }),
        }
    }

    fn failed(&self, trouble: Trouble, deadline: Duration) -> ScanError {
        match trouble {
            Trouble::Spool(source) => ScanError::Spool { scanner: self.settings.name.clone(), source },
            Trouble::TimedOut => self.missed(deadline),
            Trouble::NoVerdict(said) => self.no_verdict(said),
        }
    }

    fn missed(&self, deadline: Duration) -> ScanError {
        ScanError::DeadlineExceeded { scanner: self.settings.name.clone(), deadline }
    }

    fn no_verdict(&self, answer: impl Into<String>) -> ScanError {
        let answer = answer.into().chars().take(SHOWN_CHARS).collect();
        ScanError::NoVerdict { scanner: self.settings.name.clone(), answer }
    }
}

struct Examined {
    engine: EngineVersion,
    finding: Finding,
    matches: Vec<RuleMatch>,
}

#[async_trait]
impl Scanner for YaraScanner {
    fn name(&self) -> &ScannerName {
        &self.settings.name
    }

    async fn scan(&self, object: &Spooled, deadline: Duration) -> Result<ScanReport, ScanError> {
        if object.is_empty() {
            return Err(self.no_verdict("(not asked: there is nothing to look at)"));
        }
        let started = Instant::now();
        let examined = timeout(deadline, self.examine(object, started, deadline)).await;
        let Examined { engine, finding, matches } = examined.map_err(|_| self.missed(deadline))??;
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let scanner = self.settings.name.clone();
        Ok(ScanReport { scanner, engine, finding, matches, allowed_by: None, reused_from: None, elapsed_ms })
    }

    async fn check(&self) -> Result<EngineVersion, ScanError> {
        self.fresh(&self.in_force.set())
    }
}

#[cfg(test)]
mod tests;
