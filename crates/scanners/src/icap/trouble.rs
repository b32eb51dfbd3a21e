use std::{fmt, io};

use thiserror::Error;

/// Why an exchange had no result.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    /// The connection ended before the first byte of an answer.
    #[error("the connection ended without an answer ({0})")]
    Nothing(String),
    /// What came is no answer, is not whole, or is not about what was asked.
    #[error("{0}")]
    Answer(String),
    /// The object could not be read.
    #[error("the object cannot be read: {0}")]
    Spool(io::Error),
}

impl Trouble {
    pub(super) fn answer(what: impl fmt::Display) -> Self {
        Self::Answer(what.to_string())
    }
}
