//! What the database says, in the words of the port.

use std::{fmt, time::Duration};

use lazaret_core::{InvalidValue, ports::SessionStoreError};
use sqlx::error::{DatabaseError, ErrorKind};
use thiserror::Error;

/// The database could not be opened.
#[derive(Debug, Error)]
#[error("cannot open {place}")]
pub(crate) struct OpenError {
    /// The file, or the host and the database: nothing secret.
    pub(crate) place: String,
    #[source]
    pub(crate) source: sqlx::Error,
}

/// The database did not answer.
#[derive(Debug, Error)]
#[error("no answer within {0:?}")]
pub(crate) struct NoAnswer(pub(crate) Duration);

/// A database URL that cannot be used. It may hold a password, so that no more of it is shown than a parameter's name.
#[derive(Debug, Error)]
pub(crate) enum UrlError {
    #[error("the URL of the session database has to begin with sqlite: or postgres://")]
    Scheme,
    #[error("the URL of the session database is not readable")]
    Unreadable(#[source] sqlx::Error),
    #[error("the URL of the session database has an unknown parameter {0:?}")]
    Parameter(String),
}

impl From<UrlError> for SessionStoreError {
    fn from(error: UrlError) -> Self {
        Self::Unavailable { action: "read the database URL", source: Box::new(error) }
    }
}

/// Turns what the client library says about `action` into the port's error.
pub(crate) fn failed(action: &'static str) -> impl Fn(sqlx::Error) -> SessionStoreError {
    move |error| match &error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_) => corrupt(error),
        sqlx::Error::Database(refused) if is_unmigrated(&**refused) => {
            SessionStoreError::NotMigrated { detail: refused.to_string() }
        }
        // What breaks a rule breaks it however often it is tried: it must not read as an outage.
        sqlx::Error::Database(refused) if is_refused(&**refused) => corrupt(format!("{action}: {refused}")),
        _ => SessionStoreError::Unavailable { action, source: Box::new(error) },
    }
}

/// A table, a column, a function or a schema is not there.
fn is_unmigrated(error: &dyn DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("42P01" | "42703" | "42883" | "3F000"))
}

/// The value itself is refused. Of PostgreSQL's classes (<https://www.postgresql.org/docs/current/errcodes-appendix.html>)
/// these are data exceptions, integrity constraints and limits of the program; a trigger's refusal is P0001.
fn is_refused(error: &dyn DatabaseError) -> bool {
    let by_kind = matches!(
        error.kind(),
        ErrorKind::UniqueViolation
            | ErrorKind::ForeignKeyViolation
            | ErrorKind::NotNullViolation
            | ErrorKind::CheckViolation
    );
    let by_state = |code: &str| code.len() == 5 && (matches!(&code[..2], "22" | "23" | "54") || code == "P0001");
    by_kind || error.code().is_some_and(|code| code.is_ascii() && by_state(&code))
}

/// A row, or a value for one, that breaks the rules of this program.
pub(crate) fn corrupt(detail: impl fmt::Display) -> SessionStoreError {
    SessionStoreError::Corrupt { detail: detail.to_string() }
}

/// A column whose text breaks the rule of its type.
pub(crate) fn invalid(column: &str) -> impl FnOnce(InvalidValue) -> SessionStoreError {
    move |error| corrupt(format!("{column}: {error}"))
}
