//! Any program as a scanner: the object on its descriptor 0, its verdict as one JSON object on its descriptor 1. It runs
//! in a jail, since nobody here wrote it and it reads hostile bytes.

mod verdict;
mod version;

use std::{
    fs::File,
    io,
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lazaret_core::{
    EngineVersion, Finding, HoldReason, ScanReport, ScannerName, Sha256Digest, Spooled, Timestamp,
    ports::{JailedProgram, ProgramEnd, ProgramJail, ProgramJailError, ScanError, Scanner},
};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use thiserror::Error;
use tokio::{
    sync::{Mutex, Semaphore},
    time::timeout,
};
use tracing::info;

use crate::signature_age;

/// What is asked of a program that does not scan now.
const ASK_VERSION: &str = "--version";
/// How long what a program said of itself is good for.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// How long a program may take to say its version.
const VERSION_WITHIN: Duration = Duration::from_secs(10);
/// The jail's clock runs behind the deadline of a scan, which covers waiting for a turn, too.
const BEHIND_DEADLINE: Duration = Duration::from_secs(5);
/// No verdict is nearly as long.
const MAX_ANSWER_BYTES: u64 = 64 << 10;
const SHOWN_CHARS: usize = 200;

/// Which program, and what it may use.
#[derive(Debug, Clone)]
pub struct ExecSettings {
    /// The name that policies use.
    pub name: ScannerName,
    /// The program by its absolute path, and its arguments.
    pub command: Vec<String>,
    /// Files and folders that it may read beside the system's libraries, absolute paths.
    pub readable: Vec<PathBuf>,
    /// Whether it may have more than one thread.
    pub threads: bool,
    /// Address space, in bytes.
    pub memory_bytes: u64,
    /// Processor time for one object.
    pub cpu_time: Duration,
    /// Longer objects are unscannable without being handed over.
    pub max_object_bytes: u64,
    /// How many of it run at once; more objects wait, within their deadlines.
    pub max_programs: NonZeroUsize,
    /// Older signatures, and those of unknown age, are an error. None: any age will do.
    pub max_signature_age: Option<Duration>,
    /// The clock that signatures age by.
    pub now: fn() -> Timestamp,
}

impl ExecSettings {
    /// Nothing more to read, one thread, 512 MiB and 30 s of processor time, objects of any length, four at once, any age
    /// of signatures.
    pub fn new(name: ScannerName, command: Vec<String>, now: fn() -> Timestamp) -> Self {
        // Checked by the compiler: four is not zero.
        const FOUR: NonZeroUsize = NonZeroUsize::new(4).unwrap();
        Self {
            name,
            command,
            readable: Vec::new(),
            threads: false,
            memory_bytes: 512 << 20,
            cpu_time: Duration::from_secs(30),
            max_object_bytes: u64::MAX,
            max_programs: FOUR,
            max_signature_age: None,
            now,
        }
    }
}

/// Why a program cannot be a scanner.
#[derive(Debug, Error)]
pub enum ExecError {
    /// No program is named, or not by an absolute path.
    #[error("scanner {scanner} needs a command that begins with an absolute path, not {command:?}")]
    Command {
        /// Which scanner.
        scanner: ScannerName,
        /// What it has.
        command: Vec<String>,
    },
    /// What it may read is not told by absolute paths.
    #[error("scanner {scanner} can read absolute paths only, not {}", path.display())]
    Readable {
        /// Which scanner.
        scanner: ScannerName,
        /// What it has.
        path: PathBuf,
    },
    /// There is no memory for the object that goes with the question for its version.
    #[error("scanner {scanner} cannot be asked for its version")]
    Memory {
        /// Which scanner.
        scanner: ScannerName,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A program.
pub struct ExecScanner {
    settings: ExecSettings,
    jail: Arc<dyn ProgramJail>,
    slots: Semaphore,
    /// What it said of itself, and when. Held while it is asked, so that one asks for all.
    known: Mutex<Option<(EngineVersion, Instant)>>,
    nothing: Spooled,
}

impl std::fmt::Debug for ExecScanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecScanner").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ExecScanner {
    /// Nothing is started yet.
    pub fn new(settings: ExecSettings, jail: Arc<dyn ProgramJail>) -> Result<Self, ExecError> {
        let scanner = settings.name.clone();
        if settings.command.first().is_none_or(|program| !program.starts_with('/')) {
            return Err(ExecError::Command { scanner, command: settings.command });
        }
        if let Some(path) = settings.readable.iter().find(|path| !path.is_absolute()) {
            return Err(ExecError::Readable { scanner, path: path.clone() });
        }
        let nothing = nothing().map_err(|source| ExecError::Memory { scanner, source })?;
        let slots = Semaphore::new(settings.max_programs.get().min(Semaphore::MAX_PERMITS));
        Ok(Self { settings, jail, slots, known: Mutex::default(), nothing })
    }

    async fn examine(&self, object: &Spooled, deadline: Duration) -> Result<(EngineVersion, Finding), ScanError> {
        let _slot = self.slots.acquire().await.map_err(|closed| self.unavailable(closed.into()))?;
        let engine = self.engine().await?;
        let limit = self.settings.max_object_bytes;
        if object.len() > limit {
            let detail = format!("{} bytes are longer than the limit of {limit}", object.len());
            return Ok((engine, Finding::Unscannable { reason: HoldReason::ScanLimits, detail }));
        }
        let answer = match self.run(None, object, deadline + BEHIND_DEADLINE).await? {
            ProgramEnd::Exited { code: 0, answer, .. } => answer,
            bad => return Err(self.no_verdict(&ended_badly(&bad))),
        };
        let finding = verdict::parse(&answer).map_err(|why| self.no_verdict(&why))?;
        Ok((engine, finding))
    }

    async fn run(
        &self,
        question: Option<&str>,
        object: &Spooled,
        wall_time: Duration,
    ) -> Result<ProgramEnd, ScanError> {
        let settings = &self.settings;
        let mut words = settings.command.iter();
        let program = words.next().map(PathBuf::from).unwrap_or_default();
        let program = JailedProgram {
            program,
            arguments: words.map(String::as_str).chain(question).map(Into::into).collect(),
            readable: settings.readable.clone(),
            threads: settings.threads,
            memory_bytes: settings.memory_bytes,
            cpu_time: settings.cpu_time,
            wall_time,
            max_answer_bytes: MAX_ANSWER_BYTES,
        };
        self.jail.run(&program, object).await.map_err(|error| match error {
            ProgramJailError::Object { source, .. } => ScanError::Spool { scanner: settings.name.clone(), source },
            error @ (ProgramJailError::Layer { .. } | ProgramJailError::Start { .. }) => {
                self.unavailable(Box::new(error))
            }
        })
    }

    /// The engine that would scan now, asked not long ago. Trouble here is the program's own and never costs an object an
    /// attempt.
    async fn engine(&self) -> Result<EngineVersion, ScanError> {
        let mut known = self.known.lock().await;
        if let Some((version, asked)) = &*known
            && asked.elapsed() < KNOWN_FOR
        {
            return self.fresh(version.clone());
        }
        let version = self.ask_version().await?;
        if let Some((before, _)) = &*known
            && *before != version
        {
            info!(scanner = %self.settings.name, ?before, ?version, "the engine has changed");
        }
        *known = Some((version.clone(), Instant::now()));
        self.fresh(version)
    }

    async fn ask_version(&self) -> Result<EngineVersion, ScanError> {
        let end = self.run(Some(ASK_VERSION), &self.nothing, VERSION_WITHIN).await?;
        let ProgramEnd::Exited { code: 0, answer, .. } = &end else {
            return Err(self.unavailable(format!("asked for its version, {}", ended_badly(&end)).into()));
        };
        version::parse(answer).ok_or_else(|| {
            self.unavailable(
                format!("it does not say its version: {:?}", shown(&String::from_utf8_lossy(answer))).into(),
            )
        })
    }

    fn fresh(&self, version: EngineVersion) -> Result<EngineVersion, ScanError> {
        match signature_age::stale(&version, self.settings.max_signature_age, (self.settings.now)()) {
            None => Ok(version),
            Some(detail) => Err(ScanError::StaleSignatures { scanner: self.settings.name.clone(), detail }),
        }
    }

    fn unavailable(&self, source: lazaret_core::error::Cause) -> ScanError {
        let address = self.settings.command.first().cloned().unwrap_or_default();
        ScanError::Unavailable { scanner: self.settings.name.clone(), address, source }
    }

    fn no_verdict(&self, answer: &str) -> ScanError {
        ScanError::NoVerdict { scanner: self.settings.name.clone(), answer: shown(answer) }
    }
}

#[async_trait]
impl Scanner for ExecScanner {
    fn name(&self) -> &ScannerName {
        &self.settings.name
    }

    async fn scan(&self, object: &Spooled, deadline: Duration) -> Result<ScanReport, ScanError> {
        let started = Instant::now();
        if object.is_empty() {
            return Err(self.no_verdict("(not asked: the object is empty)"));
        }
        let scanner = self.settings.name.clone();
        let (engine, finding) = timeout(deadline, self.examine(object, deadline))
            .await
            .unwrap_or_else(|_| Err(ScanError::DeadlineExceeded { scanner: scanner.clone(), deadline }))?;
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(ScanReport {
            scanner,
            engine,
            finding,
            matches: Vec::new(),
            allowed_by: None,
            reused_from: None,
            elapsed_ms,
        })
    }

    async fn check(&self) -> Result<EngineVersion, ScanError> {
        self.engine().await
    }
}

/// The object that goes with a question: no bytes.
fn nothing() -> io::Result<Spooled> {
    let file = File::from(memfd_create("lazaret-nothing", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    fcntl_add_seals(&file, SealFlags::FUTURE_WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    // Nobody asks for the digest.
    Ok(Spooled::new(file, 0, Sha256Digest::from_bytes([0; 32]), ()))
}

/// An end without an answer, with the last line of what it said to people.
fn ended_badly(end: &ProgramEnd) -> String {
    let (how, complaint) = match end {
        ProgramEnd::Exited { code, complaint, .. } => (format!("it ended with code {code}"), complaint),
        ProgramEnd::Killed { why, complaint } => (why.clone(), complaint),
    };
    match complaint.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{how}: {}", line.trim()),
        None => how,
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}
