//! What the database says, in the words of the port.

use std::{fmt, path::PathBuf};

use lazaret_core::{InvalidValue, ports::SessionStoreError};
use thiserror::Error;

/// The database file could not be opened.
#[derive(Debug, Error)]
#[error("cannot open {}", path.display())]
pub(crate) struct OpenError {
    pub(crate) path: PathBuf,
    #[source]
    pub(crate) source: sqlx::Error,
}

/// Turns what the client library says about `action` into the port's error.
pub(crate) fn failed(action: &'static str) -> impl Fn(sqlx::Error) -> SessionStoreError {
    move |error| match &error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_) => corrupt(error),
        // A broken rule of the schema stays broken however often it is tried: it must not read as an outage.
        sqlx::Error::Database(refused)
            if refused.is_check_violation() || refused.is_foreign_key_violation() || refused.is_unique_violation() =>
        {
            corrupt(format!("{action}: {refused}"))
        }
        _ => SessionStoreError::Unavailable { action, source: Box::new(error) },
    }
}

/// A row, or a value for one, that breaks the rules of this program.
pub(crate) fn corrupt(detail: impl fmt::Display) -> SessionStoreError {
    SessionStoreError::Corrupt { detail: detail.to_string() }
}

/// A column whose text breaks the rule of its type.
pub(crate) fn invalid(column: &str) -> impl FnOnce(InvalidValue) -> SessionStoreError {
    move |error| corrupt(format!("{column}: {error}"))
}
