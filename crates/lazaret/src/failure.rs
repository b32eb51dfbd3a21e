//! How a command fails: one line on the standard error stream, and an exit code.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use lazaret_core::error::chain;
use lazaret_core::ports::{QueueError, ScanError, SessionStoreError, StoreError, TransformError};
use lazaret_objects::SpoolError;
use lazaret_pipeline::SweepError;
use owo_colors::OwoColorize;
use thiserror::Error;

use crate::{
    settings::{self, SettingsError},
    telemetry::Redactor,
};

/// The exit code of a wrong command line or wrong settings; clap uses it, too.
const USAGE: u8 = 2;

/// An argument that is well formed and still cannot be.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Prints the error and returns its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    // Where nobody takes the line, the exit code still tells.
    writeln!(anstream::stderr(), "{} {}", "error:".red().bold(), line(error)).ok();
    ExitCode::from(code(error))
}

/// What is wrong, its causes, and what to do, on one line.
pub fn line(error: &anyhow::Error) -> String {
    let mut text = chain(error.as_ref());
    if let Some(advice) = advice(error) {
        text.push_str("; ");
        text.push_str(advice);
    }
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    settings::without_passwords(&Redactor::default().redact(&one_line))
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<SettingsError>() || error.is::<UsageError>() { USAGE } else { 1 }
}

/// What a person can do about an error that meets them early. Errors that say it themselves have none.
fn advice(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(advice_for)
}

/// The same for one error alone.
pub(crate) fn advice_for(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return match error {
            StoreError::Unavailable { .. } => Some("is the store running, and is storage.endpoint right?"),
            StoreError::Refused { .. } => Some(
                "check storage.bucket, storage.region and the credentials (storage.access_key_id, \
                 storage.secret_access_key)",
            ),
            // These say it themselves: a worker meets them in its log.
            StoreError::Spool { .. }
            | StoreError::Changed { .. }
            | StoreError::Body { .. }
            | StoreError::SpoolBudget { .. } => None,
        };
    }
    if let Some(error) = error.downcast_ref::<QueueError>() {
        return match error {
            QueueError::Unavailable { .. } => Some("is the queue's server running, and is queue.sqs.endpoint right?"),
            QueueError::Refused { .. } => Some("check queue.sqs.url, queue.sqs.region and the credentials"),
        };
    }
    if let Some(error) = error.downcast_ref::<ScanError>() {
        return match error {
            ScanError::Unavailable { .. } => Some(
                "start clamd (apt-get install clamav-daemon; systemctl start clamav-daemon) or correct the scanner's address",
            ),
            ScanError::StaleSignatures { .. } => Some("run freshclam, or raise the scanner's max_signature_age"),
            ScanError::DeadlineExceeded { .. } => Some("is clamd overloaded? The scanner's timeout can be raised"),
            ScanError::NoVerdict { .. } | ScanError::Spool { .. } => None,
        };
    }
    // Transparent errors are not links of the chain themselves.
    match error.downcast_ref::<SweepError>() {
        Some(SweepError::Store(error)) => return advice_for(error),
        Some(SweepError::Sessions(error)) => return advice_for(error),
        Some(SweepError::CleanUp(_)) | None => {}
    }
    match error.downcast_ref::<TransformError>() {
        Some(TransformError::Spawn { .. }) => return Some(TRANSFORM),
        Some(TransformError::Unconfined { .. }) => {
            return Some(
                "images cannot be re-encoded on this host: it needs Linux 5.13 or later with Landlock and seccomp",
            );
        }
        Some(TransformError::Killed { .. }) | None => {}
    }
    if error.is::<SpoolError>() {
        return Some(SPOOL);
    }
    match error.downcast_ref::<SessionStoreError>() {
        Some(SessionStoreError::Unavailable { source, .. }) if is_locked(source.as_ref()) => {
            Some("another process keeps the session database locked: wait for it, or end it, and try again")
        }
        Some(SessionStoreError::Unavailable { .. }) => Some("check sessions.url and the permissions of its file"),
        Some(_) | None => None,
    }
}

/// SQLite's words for `SQLITE_BUSY` and `SQLITE_LOCKED` (<https://www.sqlite.org/rescode.html#busy>).
fn is_locked(cause: &(dyn Error + 'static)) -> bool {
    let text = chain(cause);
    ["database is locked", "database table is locked"].iter().any(|words| text.contains(words))
}

const SPOOL: &str = "make room, or set worker.spool_dir to a folder on a disk with room that this user may write to";

/// What to do where the jailed program is missing.
pub(crate) const TRANSFORM: &str =
    "build or install lazaret-transform beside lazaret (cargo build --bin lazaret-transform)";

/// Whether a port is taken.
pub(crate) fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_is_one_line_that_ends_with_what_to_do() {
        let refused = StoreError::Refused {
            action: "head bucket",
            object: "uploads".into(),
            source: "InvalidAccessKeyId\nX-Amz-Signature=abc of http://u:hunter2@h".into(),
        };
        let error = Err::<(), _>(refused).context("cannot begin").unwrap_err();
        insta::assert_snapshot!(line(&error), @"cannot begin: object store refused: head bucket uploads: InvalidAccessKeyId X-Amz-Signature=[redacted] of http://u:…@h; check storage.bucket, storage.region and the credentials (storage.access_key_id, storage.secret_access_key)");
        assert_eq!(code(&error), 1);
    }

    #[test]
    fn a_locked_database_is_no_wrong_url() {
        let unavailable =
            |source: &str| SessionStoreError::Unavailable { action: "list sessions", source: source.into() };
        let advice = |source: &str| line(&unavailable(source).into());
        assert!(advice("(code: 5) database is locked").ends_with("end it, and try again"));
        assert!(advice("permission denied").ends_with("check sessions.url and the permissions of its file"));
    }

    #[test]
    fn usage_and_settings_have_their_own_code() {
        assert_eq!(code(&UsageError("no".into()).into()), 2);
        assert_eq!(code(&SettingsError::Missing.into()), 2);
        assert_eq!(code(&anyhow::Error::new(SettingsError::Missing).context("here")), 2);
    }
}
