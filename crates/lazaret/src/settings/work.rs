//! `[worker]`, `[limits]`, `[sandbox]` and `[sweeper]`: how much, how long, how often.

use std::{env, num::NonZero, path::PathBuf, thread};

use lazaret_pipeline::ArchiveLimits;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Period, Size};

/// The worker.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// Objects processed at once. Left out: one for each core.
    #[serde(deserialize_with = "some_at_least_one")]
    pub concurrency: Option<NonZero<usize>>,
    /// How long a session is ours without a sign of life; renewed while work goes on.
    pub lease: Period,
    /// Attempts before a session is held as `attempts-exhausted`.
    #[serde(deserialize_with = "at_least_one")]
    pub max_attempts: NonZero<u32>,
    /// How long SIGTERM waits for work in progress before it is given back.
    pub drain_timeout: Period,
    /// The folder of large spooled objects. Left out: `$TMPDIR/lazaret-spool`, or `/var/tmp/lazaret`.
    pub spool_dir: Option<PathBuf>,
    /// Most bytes in the spool, over all objects in progress.
    pub spool_budget: Size,
    /// Objects up to this size are spooled in memory.
    pub memory_spool_limit: Size,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            concurrency: None,
            lease: Period::from_secs(60),
            max_attempts: NonZero::<u32>::MIN.saturating_add(4),
            drain_timeout: Period::from_secs(30),
            spool_dir: None,
            spool_budget: Size::gib(4),
            memory_spool_limit: Size::mib(8),
        }
    }
}

impl Worker {
    /// Objects processed at once.
    pub fn concurrency(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(2, NonZero::get);
        self.concurrency.map_or_else(cores, NonZero::get)
    }

    /// The folder of large spooled objects.
    pub fn spool_dir(&self) -> PathBuf {
        self.spool_dir.clone().unwrap_or_else(|| {
            env::var_os("TMPDIR")
                .filter(|dir| !dir.is_empty())
                .map_or_else(|| "/var/tmp/lazaret".into(), |dir| PathBuf::from(dir).join("lazaret-spool"))
        })
    }
}

/// Serde's own message for a zero does not say what would do.
fn at_least_one<'de, D: Deserializer<'de>, N: TryFrom<NonZero<u64>>>(deserializer: D) -> Result<N, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let number = u64::try_from(number)
        .ok()
        .and_then(NonZero::new)
        .ok_or_else(|| de::Error::custom(format!("{number} is too few: at least 1 is expected")))?;
    number.try_into().map_err(|_| de::Error::custom(format!("{number} is too many")))
}

pub(super) fn some_at_least_one<'de, D: Deserializer<'de>, N: TryFrom<NonZero<u64>>>(
    deserializer: D,
) -> Result<Option<N>, D::Error> {
    at_least_one(deserializer).map(Some)
}

/// What an upload may be.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest object. It must fit into `worker.spool_budget`.
    pub max_object_size: Size,
    /// How long an upload may take from the creation of its session; at most 7 days.
    pub upload_ttl: Period,
    /// How long a rejected original is kept.
    pub retain_rejected: Period,
    /// How many archives may lie in each other, the object itself being the first. More are held as `scan-limits`, as is
    /// all that breaks one of the four limits below.
    pub archive_depth: u32,
    /// How many members an archive may have, with those of all archives in it.
    pub archive_entries: u64,
    /// How much an archive may unpack to, with all archives in it.
    pub archive_unpacked: Size,
    /// How many times as long as its packed bytes a member may be.
    pub archive_ratio: u64,
    /// Memory for what is packed in an archive while it is looked into, for each object in work: copies of archives
    /// within it, dictionaries.
    pub archive_memory: Size,
}

impl Limits {
    /// What the pipeline takes.
    pub fn archive(&self) -> ArchiveLimits {
        ArchiveLimits {
            max_depth: self.archive_depth,
            max_entries: self.archive_entries,
            max_total_size: self.archive_unpacked.bytes(),
            max_ratio: self.archive_ratio,
            max_memory: self.archive_memory.bytes(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let archive = ArchiveLimits::default();
        Self {
            max_object_size: Size::gib(2),
            upload_ttl: Period::from_secs(3600),
            retain_rejected: Period::from_secs(7 * 24 * 3600),
            archive_depth: archive.max_depth,
            archive_entries: archive.max_entries,
            archive_unpacked: Size::from_bytes(archive.max_total_size),
            archive_ratio: archive.max_ratio,
            archive_memory: Size::from_bytes(archive.max_memory),
        }
    }
}

/// What one transform may cost. It is up to three processes, one after the other; past any of these they are killed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sandbox {
    /// The program that is jailed; by default `lazaret-transform` beside this one.
    pub program: Option<PathBuf>,
    /// Memory of each process beside its input and its output.
    pub memory: Size,
    /// Time on a processor, of each process.
    pub cpu_time: Period,
    /// Time on the clock, of all together.
    pub wall_time: Period,
    /// Largest input.
    pub max_input: Size,
    /// Largest picture between the process that decodes and the one that encodes: 4 bytes a pixel, of every frame.
    pub max_picture: Size,
    /// Largest output, variants included.
    pub max_output: Size,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            program: None,
            memory: Size::mib(512),
            cpu_time: Period::from_secs(5),
            wall_time: Period::from_secs(12),
            max_input: Size::mib(64),
            max_picture: Size::mib(512),
            max_output: Size::mib(64),
        }
    }
}

/// The clean-up.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sweeper {
    /// How often the worker sweeps.
    pub interval: Period,
    /// How old an object without a session, or an unfinished multipart upload, must be to be removed.
    pub grace: Period,
}

impl Default for Sweeper {
    fn default() -> Self {
        Self { interval: Period::from_secs(300), grace: Period::from_secs(24 * 3600) }
    }
}
