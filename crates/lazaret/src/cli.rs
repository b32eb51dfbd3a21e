//! The command line.

use std::{ffi::OsString, net::SocketAddr, num::NonZero, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use lazaret_core::{FileName, ListKind, MediaType, ObjectKey, Prefix, Sha256Digest, StateName, TenantId, UploadId};

use crate::{
    settings::{ClamdAddress, Period},
    tied,
};

/// The quarantine station for user uploads in S3-compatible storage.
#[derive(Debug, Parser)]
#[command(name = "lazaret", version, max_term_width = 100)]
pub struct Cli {
    /// The settings file [default: ./lazaret.toml, then ./lazaret-data/lazaret.toml]
    #[arg(long, global = true, value_name = "FILE", env = "LAZARET_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Print tables for people or JSON for programs
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The form of what is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole system in one process, to try it: S3 endpoint, queue, database, worker
    ///
    /// Of a settings file that is named with --config it takes policies, scanners, limits, worker, sandbox and
    /// sweeper; the store, the queue, the database and clamd are its own.
    Dev(Dev),
    /// Consume the queue until SIGTERM
    Worker,
    /// Clean up once: expired sessions, orphans, unfinished uploads, old originals
    Sweep {
        /// Say what would be done and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Create or upgrade the session database
    Migrate,
    /// Create, read and steer upload sessions
    #[command(subcommand)]
    Session(Session),
    /// Verify, scan and transform local files; nothing is stored
    ///
    /// Exit code: 0 all clean, 3 something rejected, 4 something held, 1 something could not be checked.
    Scan(Scan),
    /// List the quarantine and process what has no event: lost events, buckets that were there before
    Reconcile(Reconcile),
    /// Scan what is published with today's signatures; revoke what is infected or blocked
    ///
    /// Exit code: 0 all clean, 3 something revoked, 1 something could not be checked, whatever was revoked beside it.
    Rescan(Rescan),
    /// Keep the allow and block lists
    #[command(subcommand)]
    Lists(Lists),
    /// Make what the queue needs
    #[command(subcommand)]
    Queue(Queue),
    /// Look at and replay messages that were given up
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Try every part of the deployment: a line each, exit code 1 if one fails
    Doctor,
    /// Check settings, or print their schema
    #[command(subcommand)]
    Config(Config),
    /// Become another program that ends when its parent ends
    #[command(hide = true, name = tied::COMMAND)]
    Tied {
        /// The process id of the parent.
        parent: i32,
        /// The program.
        program: OsString,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Arguments of `lazaret dev`.
#[derive(Debug, Args)]
pub struct Dev {
    /// Where objects, database and settings are kept
    #[arg(long, value_name = "DIR", default_value = "lazaret-data")]
    pub data_dir: PathBuf,
    /// Where the S3 endpoint listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    /// Use the clamd at `unix:/path` or `tcp:host:port` [default: one that runs here, else one of its own]
    #[arg(long, value_name = "ADDRESS")]
    pub clamd: Option<ClamdAddress>,
}

/// What to do with upload sessions.
#[derive(Debug, Subcommand)]
pub enum Session {
    /// Make a session and print the URL to upload to, which is a credential
    Create(Create),
    /// Tell the whole story of a session
    Show {
        /// The upload id
        id: UploadId,
    },
    /// List sessions, oldest first
    List {
        /// Only those in this state
        #[arg(long)]
        state: Option<StateName>,
        /// At most this many
        #[arg(long, default_value_t = 1000, value_name = "N")]
        limit: usize,
    },
    /// Say that the upload is complete and to be processed
    Finalize(Steer),
    /// Send a held object through the pipeline again, overriding the reason it was held for
    Release(Steer),
    /// Reject a held object for good
    Reject(Steer),
}

/// Arguments of `lazaret session create`.
#[derive(Debug, Args)]
pub struct Create {
    /// On whose behalf: 1 to 64 of A-Z a-z 0-9 . _ -
    #[arg(long)]
    pub tenant: TenantId,
    /// What the client calls the file
    #[arg(long)]
    pub file_name: FileName,
    /// What the client says it is, such as image/jpeg
    #[arg(long, value_name = "TYPE")]
    pub content_type: MediaType,
    /// How many bytes it will be
    #[arg(long, value_name = "BYTES")]
    pub size: u64,
    /// Its SHA-256 in hexadecimal digits
    #[arg(long, value_name = "DIGEST")]
    pub sha256: Option<Sha256Digest>,
    /// How long the upload may take, such as 15m [default: `limits.upload_ttl`]
    #[arg(long, value_name = "TIME")]
    pub expires_in: Option<Period>,
}

/// Arguments of everything that changes a session.
#[derive(Debug, Args)]
pub struct Steer {
    /// The upload id
    pub id: UploadId,
    /// Who does it, for the audit trail
    #[arg(long, env = "USER", default_value = "operator", hide_env_values = true)]
    pub actor: String,
}

/// Arguments of `lazaret scan`.
#[derive(Debug, Args)]
pub struct Scan {
    /// Files, or folders with all files below them
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What they are said to be [default: what their bytes say]
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<MediaType>,
}

/// Arguments of `lazaret reconcile`.
///
/// Every object under the quarantine prefix is looked up in the session database. What waits to be processed is asked
/// for, and the workers take it; what is settled or being worked on is left alone. It can be repeated at any time.
#[derive(Debug, Args)]
pub struct Reconcile {
    /// Only what lies below this prefix, inside the quarantine prefix
    #[arg(long)]
    pub prefix: Option<Prefix>,
    /// Count what would be asked for and ask for nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Look at no more than this many objects a second [default: as many as the database answers]
    #[arg(long, value_name = "N")]
    pub rate: Option<NonZero<u32>>,
    /// Begin behind this key
    #[arg(long, value_name = "KEY")]
    pub start_after: Option<ObjectKey>,
    /// Keep in this file how far it came, begin there the next time, and remove it at the end
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
}

/// Arguments of `lazaret rescan`.
///
/// Every published object is read and scanned by the scanners that its type needs today. What is infected, and not on the
/// allow list, or blocked is revoked: its copies are deleted, those of its variants with it, and the world is told. What
/// could not be checked stays published and is told. It can be repeated at any time, and beside the workers.
#[derive(Debug, Args)]
pub struct Rescan {
    /// Only what was published less than this long ago, such as 7days
    #[arg(long, value_name = "TIME")]
    pub since: Option<Period>,
    /// Pass over what today's engines with today's signatures have called clean before
    #[arg(long)]
    pub signature_changed: bool,
    /// Scan and say what would be revoked; revoke and record nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Look at no more than this many objects a second [default: as many as the scanners take]
    #[arg(long, value_name = "N")]
    pub rate: Option<NonZero<u32>>,
    /// Begin behind this upload
    #[arg(long, value_name = "ID")]
    pub start_after: Option<UploadId>,
}

/// What to do with the allow and block lists.
#[derive(Debug, Subcommand)]
pub enum Lists {
    /// Add an entry: it counts from now on, in every worker
    ///
    /// A signature on the allow list is ignored in every object. An engine that stops at the first signature it finds says
    /// nothing of what lies behind that: allow a digest where you can.
    Add(ListAdd),
    /// Take an entry back: it stays on record, and counts no more
    Remove {
        /// The id of the entry
        id: i64,
        /// Who does it, for the record
        #[arg(long, env = "USER", default_value = "operator", hide_env_values = true)]
        by: String,
    },
    /// Show the entries that count now
    Show {
        /// Those, too, that expired or were taken back
        #[arg(long)]
        all: bool,
    },
}

/// Arguments of `lazaret lists add`.
#[derive(Debug, Args)]
pub struct ListAdd {
    /// `allow`: what scanners find counts as clean; `block`: it is never published
    #[arg(value_name = "allow|block")]
    pub list: ListKind,
    /// What it is about.
    #[command(flatten)]
    pub subject: ListSubject,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// How long it counts, such as 30days [default: until it is taken back]
    #[arg(long, value_name = "TIME")]
    pub expires_in: Option<Period>,
    /// Who does it, for the record
    #[arg(long, env = "USER", default_value = "operator", hide_env_values = true)]
    pub by: String,
}

/// What a list entry is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ListSubject {
    /// Objects with this SHA-256, in hexadecimal digits
    #[arg(long, value_name = "DIGEST")]
    pub sha256: Option<Sha256Digest>,
    /// A signature, exactly as its scanner names it; a rule as namespace:rule
    #[arg(long, value_name = "NAME")]
    pub signature: Option<String>,
}

/// What to do with the queue.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Queue {
    /// Make what is missing on the broker: queue, dead-letter exchange and queue, retry queues
    Declare,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// Show dead letters and why they were given up; every one stays where it is
    List {
        /// At most this many
        #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Put dead letters back on the queue: all of them, or those that are named
    ///
    /// An upload that is held, as attempts-exhausted for example, is settled: its message is only acknowledged. `lazaret
    /// session release ID` sends the upload through again, without any message.
    Redrive(Redrive),
}

/// Arguments of `lazaret dead-letters redrive`.
#[derive(Debug, Args)]
pub struct Redrive {
    /// Only the letter with this message id; may be repeated
    #[arg(long = "id", value_name = "MESSAGE_ID")]
    pub ids: Vec<String>,
    /// All of them, which is the default
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// Say what would be put back and put nothing back
    #[arg(long)]
    pub dry_run: bool,
}

/// What to do with settings.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Config {
    /// Check the settings without connecting to anything
    Check,
    /// Print the JSON Schema of the settings
    Schema,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
