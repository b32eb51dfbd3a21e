//! Why there are no settings to work with. Each message is one line that says what is wrong and what to do.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Settings that are missing or wrong.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// No file was named and none lies where one is looked for.
    #[error(
        "there are no settings: no ./lazaret.toml here; run `lazaret dev` to try Lazaret, or name a file with --config \
         (config/lazaret.toml of the source is a start)"
    )]
    Missing,
    /// The file cannot be read.
    #[error("the settings file {} cannot be read: {cause}; check the path given by --config or LAZARET_CONFIG", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not TOML: line {line}, column {column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A key is unknown, missing, or has a value of the wrong kind.
    #[error("{origin}: {key}: {message}; see config/lazaret.toml or `lazaret config schema`")]
    Shape {
        /// The file or the environment variable.
        origin: String,
        /// The path of the key.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A value breaks a rule that its type does not tell.
    #[error("settings: {key}: {message}")]
    Rule {
        /// The path of the key.
        key: String,
        /// What is wrong and what to do.
        message: String,
    },
}

impl SettingsError {
    pub(super) fn rule(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Rule { key: key.into(), message: message.into() }
    }
}
