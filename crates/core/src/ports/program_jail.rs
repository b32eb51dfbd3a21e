use std::{ffi::OsString, path::PathBuf, time::Duration};

use async_trait::async_trait;
use thiserror::Error;

use crate::{Spooled, error::Cause};

/// Runs a program that nobody here wrote on one object, in a jail: without network, without a way to start other
/// programs, without anything to write to but its answer.
///
/// * The object is its descriptor 0, readable from the first byte and never writable; its answer is what it writes to
///   descriptor 1. Each run has an offset of its own.
/// * The call ends within `wall_time` and leaves no process behind, whatever the program does, and also when dropped.
#[async_trait]
pub trait ProgramJail: Send + Sync {
    /// Runs it once.
    async fn run(&self, program: &JailedProgram, object: &Spooled) -> Result<ProgramEnd, ProgramJailError>;
}

/// Which program, and what it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JailedProgram {
    /// The file to execute, an absolute path.
    pub program: PathBuf,
    /// Its arguments, without its name.
    pub arguments: Vec<OsString>,
    /// Files and folders that it may read beside its own and what every program needs (its interpreter, shared
    /// libraries), absolute paths.
    pub readable: Vec<PathBuf>,
    /// Whether it may have more than one thread. Other processes it never has.
    pub threads: bool,
    /// Address space, in bytes.
    pub memory_bytes: u64,
    /// Processor time.
    pub cpu_time: Duration,
    /// Time from start to end.
    pub wall_time: Duration,
    /// Longest answer, in bytes.
    pub max_answer_bytes: u64,
}

/// How the program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramEnd {
    /// By itself, with this code.
    Exited {
        /// The exit code.
        code: i32,
        /// All that it wrote to descriptor 1.
        answer: Vec<u8>,
        /// The end of what it wrote to descriptor 2, for people.
        complaint: String,
    },
    /// It was ended: by a limit, a forbidden call, or a fault of its own.
    Killed {
        /// Which limit, call or signal, in plain words.
        why: String,
        /// The end of what it wrote to descriptor 2, for people.
        complaint: String,
    },
}

/// Why the program could not be run. Never to be read as an answer of the program.
#[derive(Debug, Error)]
pub enum ProgramJailError {
    /// The jail could not be built around it.
    #[error("the jail of {program} cannot be built: {layer}")]
    Layer {
        /// The program.
        program: String,
        /// Which layer failed.
        layer: String,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// The object could not be handed to it.
    #[error("the object cannot be handed to {program}")]
    Object {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The program could not be started.
    #[error("{program} cannot be started")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
