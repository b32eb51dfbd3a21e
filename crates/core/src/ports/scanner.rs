use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::{Disposition, EngineVersion, ScanReport, ScannerName, Spooled, error::Cause};

/// Looks for malware in one object.
///
/// * A report says *clean* only when the engine said so in words this adapter knows; every other answer is
///   *infected*, *unscannable*, or an error. An empty, cut or unknown answer is an error.
/// * The object is read by position from its descriptor; the scanner neither keeps nor changes it.
/// * The call ends within `deadline`, with [`ScanError::DeadlineExceeded`] at the latest. A dropped future leaves no
///   work behind in this process.
#[async_trait]
pub trait Scanner: Send + Sync {
    /// The name that policies use.
    fn name(&self) -> &ScannerName;

    /// Scans all bytes of `object`.
    async fn scan(&self, object: &Spooled, deadline: Duration) -> Result<ScanReport, ScanError>;

    /// Asks the engine for its version and signatures; an error where it cannot scan now or its signatures are too old.
    async fn check(&self) -> Result<EngineVersion, ScanError>;
}

/// Why a scanner gave no verdict. Never to be read as one.
#[derive(Debug, Error)]
pub enum ScanError {
    /// The engine is out of reach.
    #[error("scanner {scanner} is unavailable at {address}")]
    Unavailable {
        /// Which scanner.
        scanner: ScannerName,
        /// Where it should be.
        address: String,
        /// What the transport said.
        #[source]
        source: Cause,
    },
    /// The engine did not answer in time.
    #[error("scanner {scanner} did not answer within {} ms", deadline.as_millis())]
    DeadlineExceeded {
        /// Which scanner.
        scanner: ScannerName,
        /// The deadline.
        deadline: Duration,
    },
    /// The engine answered with an error, or with something that is no answer.
    #[error("scanner {scanner} gave no verdict: {answer:?}")]
    NoVerdict {
        /// Which scanner.
        scanner: ScannerName,
        /// What it said, cut to 200 characters.
        answer: String,
    },
    /// The engine's signatures are older than allowed, or of unknown age where an age is demanded.
    #[error("scanner {scanner} has signatures that are too old: {detail}")]
    StaleSignatures {
        /// Which scanner.
        scanner: ScannerName,
        /// Their age and the limit.
        detail: String,
    },
    /// The engine misses a canary that it has to find: its signatures are not what they were, or do not work.
    #[error("scanner {scanner} is not believed: {detail}")]
    Unproven {
        /// Which scanner.
        scanner: ScannerName,
        /// Which canary it missed.
        detail: String,
    },
    /// The object could not be read here.
    #[error("scanner {scanner} could not read the spooled object")]
    Spool {
        /// Which scanner.
        scanner: ScannerName,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl ScanError {
    /// What to do with the delivery.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable { .. } | Self::StaleSignatures { .. } | Self::Unproven { .. } => Disposition::Unavailable,
            Self::DeadlineExceeded { .. } | Self::NoVerdict { .. } | Self::Spool { .. } => Disposition::Retry,
        }
    }
}
