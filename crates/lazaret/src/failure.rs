//! How a command fails: one line on the standard error stream, and an exit code.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use lazaret_core::error::chain;
use lazaret_core::ports::{QueueError, ScanError, SessionStoreError, StoreError, TransformError};
use lazaret_objects::SpoolError;
use lazaret_pipeline::{PassageError, ReconcileError, RescanError, SweepError};
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
    let text = without_advice(error);
    advice(error).map_or_else(|| text.clone(), |advice| format!("{text}; {advice}"))
}

/// What is wrong and its causes, on one line.
pub(crate) fn without_advice(error: &anyhow::Error) -> String {
    let text = chain(error.as_ref());
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    settings::without_passwords(&Redactor::default().redact(&one_line))
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<SettingsError>() || error.is::<UsageError>() { USAGE } else { 1 }
}

/// What a person can do about an error that meets them early. Errors that say it themselves have none.
pub(crate) fn advice(error: &anyhow::Error) -> Option<&'static str> {
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
        return Some(queue_advice(error));
    }
    if let Some(error) = error.downcast_ref::<ScanError>() {
        return match error {
            ScanError::Unavailable { .. } => Some(
                "start clamd (apt-get install clamav-daemon; systemctl start clamav-daemon) or correct the scanner's address",
            ),
            ScanError::StaleSignatures { .. } => Some("run freshclam, or raise the scanner's max_signature_age"),
            ScanError::DeadlineExceeded { .. } => Some("is clamd overloaded? The scanner's timeout can be raised"),
            ScanError::Unproven { .. } | ScanError::NoVerdict { .. } | ScanError::Spool { .. } => None,
        };
    }
    // Transparent errors are not links of the chain themselves.
    match error.downcast_ref::<SweepError>() {
        Some(SweepError::Store(error)) => return advice_for(error),
        Some(SweepError::Sessions(error)) => return advice_for(error),
        Some(SweepError::CleanUp(_)) | None => {}
    }
    match error.downcast_ref::<ReconcileError>() {
        Some(ReconcileError::Store(error)) => return advice_for(error),
        Some(ReconcileError::Sessions(error)) => return advice_for(error),
        None => {}
    }
    match error.downcast_ref::<RescanError>() {
        Some(RescanError::Scanner(error) | RescanError::Passage(PassageError::Scanner(error))) => {
            return advice_for(error);
        }
        Some(RescanError::Sessions(error) | RescanError::Passage(PassageError::Sessions(error))) => {
            return advice_for(error);
        }
        Some(RescanError::Passage(PassageError::Store(error))) => return advice_for(error),
        Some(RescanError::Passage(_)) | None => {}
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
    error.downcast_ref::<SessionStoreError>().and_then(sessions_advice)
}

fn queue_advice(error: &QueueError) -> &'static str {
    match error {
        // RabbitMQ names itself by its URL, an SQS queue by its own.
        QueueError::Unavailable { queue, .. } if is_amqp(queue) => "is RabbitMQ running, and is queue.amqp.url right?",
        QueueError::Unavailable { .. } => "is the queue's server running, and is queue.sqs.endpoint right?",
        QueueError::Refused { queue, source, .. } if is_amqp(queue) => {
            let text = chain(source.as_ref());
            if text.contains("vhost") && text.contains("not found") {
                "make the vhost (rabbitmqctl add_vhost NAME), or correct it in queue.amqp.url"
            } else if text.starts_with("ACCESS_REFUSED") || text.starts_with("NOT_ALLOWED") {
                "check user and password in queue.amqp.url and what the user may do in the vhost (rabbitmqctl \
                 list_permissions)"
            } else {
                "check [queue.amqp], and what `lazaret queue declare` says"
            }
        }
        QueueError::Refused { .. } => "check queue.sqs.url, queue.sqs.region and the credentials",
    }
}

fn is_amqp(queue: &str) -> bool {
    queue.contains("amqp://") || queue.contains("amqps://")
}

fn sessions_advice(error: &SessionStoreError) -> Option<&'static str> {
    let SessionStoreError::Unavailable { action, source } = error else { return None };
    let text = chain(source.as_ref());
    Some(match refusal(action, &text) {
        Some(Refusal::Login) => "check user and password in sessions.url, and pg_hba.conf on the server",
        Some(Refusal::Database) => "make the database (createdb NAME), then run `lazaret migrate`",
        Some(Refusal::Permission) => "let the user of sessions.url use the schema and its tables",
        Some(Refusal::Url) => "correct sessions.url",
        None if is_locked(&text) => {
            "another process keeps the session database locked: wait for it, or end it, and try again"
        }
        None if text.contains(DATABASE_SERVER) => "is PostgreSQL running, and is sessions.url right?",
        None => "check sessions.url and the permissions of its file",
    })
}

/// How the session store names a database of a server; one of SQLite is named by its file.
const DATABASE_SERVER: &str = "cannot open database ";

/// Why a database answers and does not let us in.
enum Refusal {
    Login,
    Database,
    Permission,
    Url,
}

/// PostgreSQL's words. In another language they are not known, and the database is waited for.
fn refusal(action: &str, text: &str) -> Option<Refusal> {
    if action == "read the database URL" {
        return Some(Refusal::Url);
    }
    let absent = text.contains("does not exist");
    if text.contains("password authentication failed")
        || text.contains("no pg_hba.conf entry")
        || (absent && text.contains("role \""))
    {
        Some(Refusal::Login)
    } else if absent && text.contains(": database \"") {
        Some(Refusal::Database)
    } else if text.contains("permission denied for") {
        Some(Refusal::Permission)
    } else {
        None
    }
}

/// Whether a session database that cannot be opened may be there later by itself: a server that is down, or a file that
/// somebody keeps locked.
pub(crate) fn may_pass(error: &SessionStoreError) -> bool {
    let SessionStoreError::Unavailable { action, source } = error else { return false };
    let text = chain(source.as_ref());
    refusal(action, &text).is_none() && (text.contains(DATABASE_SERVER) || is_server_trouble(&text) || is_locked(&text))
}

fn is_server_trouble(text: &str) -> bool {
    text.contains("no answer within") || text.contains("pool timed out")
}

/// SQLite's words for `SQLITE_BUSY` and `SQLITE_LOCKED` (<https://www.sqlite.org/rescode.html#busy>).
fn is_locked(text: &str) -> bool {
    ["database is locked", "database table is locked"].iter().any(|words| text.contains(words))
}

const SPOOL: &str = "make room, or set worker.spool_dir to a folder on a disk with room that this user may write to";

/// What to do where the jailed program is missing.
pub(crate) const TRANSFORM: &str =
    "build or install lazaret-transform beside lazaret (cargo xtask build), or set sandbox.program";

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
    fn a_database_server_that_is_down_is_waited_for_and_one_that_refuses_is_not() {
        let unavailable = |source: &str| SessionStoreError::Unavailable {
            action: "open the database",
            source: format!("cannot open database lazaret at db:5432: {source}").into(),
        };
        let advice = |source: &str| (may_pass(&unavailable(source)), line(&unavailable(source).into()));
        for down in
            ["Connection refused (os error 111)", "the database system is starting up", "sorry, too many clients"]
        {
            let (passes, line) = advice(down);
            assert!(passes && line.ends_with("is PostgreSQL running, and is sessions.url right?"), "{line}");
        }
        for (refused, advised) in [
            ("error returned from database: password authentication failed for user \"u\"", "user and password"),
            ("error returned from database: role \"u\" does not exist", "user and password"),
            ("error returned from database: database \"lazaret\" does not exist", "createdb"),
            ("error returned from database: permission denied for schema public", "let the user"),
        ] {
            let (passes, line) = advice(refused);
            assert!(!passes && line.contains(advised), "{line}");
        }
        assert!(!may_pass(&SessionStoreError::NotMigrated { detail: "no tables".into() }));
        let file =
            SessionStoreError::Unavailable { action: "open the database", source: "cannot open /a/b: no".into() };
        assert!(!may_pass(&file));
    }

    #[test]
    fn advice_about_a_queue_names_the_settings_of_its_kind() {
        let refused = |queue: &str, source: &str| {
            line(&QueueError::Refused { queue: queue.into(), action: "say who it is", source: source.into() }.into())
        };
        let rabbit = "uploads on amqp://host:5672/v";
        for (queue, source, advised) in [
            (rabbit, "ACCESS_REFUSED - Login was refused", "user and password in queue.amqp.url"),
            (rabbit, "NOT_ALLOWED - vhost v not found", "rabbitmqctl add_vhost"),
            (rabbit, "PRECONDITION_FAILED - inequivalent arg", "queue declare"),
            ("http://127.0.0.1:1/1/q", "AccessDenied", "queue.sqs.url"),
        ] {
            assert!(refused(queue, source).contains(advised), "{}", refused(queue, source));
        }
        let down = QueueError::Unavailable { queue: rabbit.into(), source: "refused".into() };
        assert!(line(&down.into()).ends_with("is RabbitMQ running, and is queue.amqp.url right?"));
    }

    #[test]
    fn usage_and_settings_have_their_own_code() {
        assert_eq!(code(&UsageError("no".into()).into()), 2);
        assert_eq!(code(&SettingsError::Missing.into()), 2);
        assert_eq!(code(&anyhow::Error::new(SettingsError::Missing).context("here")), 2);
    }
}
