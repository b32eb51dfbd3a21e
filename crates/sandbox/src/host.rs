//! The host side: keeps children ready, gives each job a line of them, and judges how they end.

mod attend;
mod batch;
mod check;
mod exits;
mod handed;
mod job;
mod line;
mod memfd;
mod memory;
mod pool;
mod prisoner;
mod program;
mod reaper;
mod report;
mod self_test;
mod spawn;
mod transformer;
mod watch;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::sync::Semaphore;

pub use self::{
    exits::ExitCause,
    program::Launcher,
    report::{Extra, JailReport},
};
use self::{line::Blueprint, pool::Pool};
use crate::layer::Layer;

/// Which program is jailed, and what one job of it may cost.
#[derive(Debug, Clone)]
pub struct JailSettings {
    /// Path of the program, which calls [`crate::jail::run`].
    pub program: PathBuf,
    /// Memory each of a job's processes may use beyond its input and output, in bytes.
    pub memory_bytes: u64,
    /// CPU time of each of a job's processes.
    pub cpu_time: Duration,
    /// Time of a job by the clock on the wall, from the moment its first process is told what to do.
    pub wall_time: Duration,
    /// Length of the input at most, in bytes.
    pub max_input_bytes: u64,
    /// Length of the picture between decoder and encoder at most, in bytes. Only what is written of it takes memory.
    pub max_picture_bytes: u64,
    /// Length of all files a job puts out at most, in bytes; at least a page, and in whole pages.
    pub max_output_bytes: u64,
    /// Jobs at the same time; more of them wait.
    pub concurrency: usize,
    /// Lines of children kept ready, from the first job on; 0 starts the children when a job asks for them.
    pub reserve: usize,
}

/// Told of the end of every child that had a task, or whose turn came and that had no jail, once.
pub type ExitObserver = Arc<dyn Fn(ExitCause) + Send + Sync>;

/// Jails for one program: every job runs in processes of its own that are killed when the job's future is dropped.
///
/// The children die with the `Jail`: the kernel kills them when the thread ends that started them, and that thread
/// lives as long as this value and its clones.
#[derive(Clone)]
pub struct Jail {
    settings: Arc<JailSettings>,
    pool: Pool,
    slots: Arc<Semaphore>,
    observer: ExitObserver,
}

/// Why a job could not be tried. None of these says anything about the input.
#[derive(Debug, Error)]
pub enum JailError {
    /// The program does not start.
    #[error("the jailed program {} cannot be started", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The host ran out of something the job needs.
    #[error("no {what} for a jailed job")]
    Resource {
        /// What is missing.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The jail lacks a layer, twice in a row.
    #[error("the jail lacks its layer {layer}: {detail}")]
    MissingLayer {
        /// The layer.
        layer: Layer,
        /// Why.
        detail: String,
    },
    /// The self-test found that the jail does not hold, or that it does not work.
    #[error("the jail failed its self-test at {probe}: {detail}")]
    SelfTest {
        /// The attempt, for example `open-file`.
        probe: &'static str,
        /// What happened instead.
        detail: String,
    },
    /// The thread that starts the children is gone.
    #[error("the thread that starts jailed programs has ended")]
    Closed,
}

impl Jail {
    /// A jail with these settings. `observer` is told of the end of every child that had a task.
    pub fn new(mut settings: JailSettings, observer: ExitObserver) -> Result<Self, JailError> {
        // Children start in the root folder, where a relative path would mean another file.
        settings.program = std::path::absolute(&settings.program)
            .map_err(|source| JailError::Start { program: settings.program.clone(), source })?;
        let pool = Pool::start(Blueprint::new(&settings), settings.reserve)?;
        let slots = Arc::new(Semaphore::new(settings.concurrency.max(1)));
        Ok(Self { settings: Arc::new(settings), pool, slots, observer })
    }

    /// The settings in use.
    pub fn settings(&self) -> &JailSettings {
        &self.settings
    }
}

impl fmt::Debug for Jail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jail").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// For `map_err`: the thing that the host has none of.
fn lacking<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> JailError {
    move |error| JailError::Resource { what, source: error.into() }
}
