//! From a URL to connections.

use std::{str::FromStr, time::Duration};

use lazaret_core::ports::SessionStoreError;
use sqlx::{
    AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection, Executor,
    any::{AnyConnectOptions, AnyPoolOptions},
    postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};
use tokio::time::Instant;
use url::Url;

use crate::{
    dialect::Dialect,
    error::{NoAnswer, OpenError, UrlError, failed},
};

/// A connection that idled for longer is asked whether it still leads anywhere before it is used.
const FRESH: Duration = Duration::from_secs(1);
/// How long that may take.
const PING: Duration = Duration::from_secs(2);
/// How long a migration waits for another one, or for those who use the tables.
const MIGRATION_LOCK: Duration = Duration::from_mins(1);
/// What a PostgreSQL URL may say beside host and database; the client library would log any other, value included.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// How the database is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// How long one operation may take in all: waiting for a connection, for locks and for the database's answers.
    pub timeout: Duration,
    /// How many operations go on at once. On SQLite these are readers; there is one writer.
    pub connections: u32,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), connections: 4 }
    }
}

/// Where a database is and how to get there.
pub(crate) struct Target {
    pub(crate) dialect: Dialect,
    /// For people: the file, or host and database.
    pub(crate) place: String,
    /// Whether it lives as long as its one connection.
    pub(crate) in_memory: bool,
    connect: AnyConnectOptions,
}

impl Target {
    pub(crate) fn of(url: &str) -> Result<Self, SessionStoreError> {
        // Only the first call in a process does anything.
        sqlx::any::install_default_drivers();
        let dialect = Dialect::of(url)?;
        let place = match dialect {
            Dialect::Sqlite => sqlite_place(url)?,
            Dialect::Postgres => postgres_place(url)?,
        };
        let in_memory = dialect == Dialect::Sqlite && (url.contains(":memory:") || url.contains("mode=memory"));
        let connect = AnyConnectOptions::from_str(url).map_err(UrlError::Unreadable)?.disable_statement_logging();
        Ok(Self { dialect, place, in_memory, connect })
    }

    /// A pool of at most `size` connections, one of which is made here.
    pub(crate) async fn pool(&self, size: u32, timeout: Duration) -> Result<AnyPool, SessionStoreError> {
        let settings = self.settings(timeout);
        let mut pool = AnyPoolOptions::new()
            .max_connections(size.max(1))
            .acquire_timeout(timeout)
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let settings = settings.clone();
                Box::pin(async move { connection.execute(AssertSqlSafe(settings)).await.map(drop) })
            });
        pool = match self.dialect {
            // Nothing is won by opening a file again, and a database in memory would be lost.
            Dialect::Sqlite => pool.idle_timeout(None).max_lifetime(None),
            Dialect::Postgres => pool.before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for < FRESH {
                        return Ok(true);
                    }
                    match tokio::time::timeout(PING, connection.ping()).await {
                        Ok(answer) => answer.map(|()| true),
                        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
                    }
                })
            }),
        };
        pool.connect_with(self.connect.clone()).await.map_err(|error| self.unavailable(error))
    }

    /// A connection for a migration, to a database that is made if it is a file that is missing.
    pub(crate) async fn connect_to_migrate(&self, timeout: Duration) -> Result<AnyConnection, SessionStoreError> {
        let mut connect = self.connect.clone();
        if self.dialect == Dialect::Sqlite && !self.in_memory {
            connect.database_url.query_pairs_mut().append_pair("mode", "rwc");
        }
        let deadline = Instant::now() + timeout;
        loop {
            let Ok(connection) = tokio::time::timeout_at(deadline, connect.connect()).await else {
                let source = Box::new(NoAnswer(timeout));
                return Err(SessionStoreError::Unavailable { action: "open the database", source });
            };
            let mut connection = connection.map_err(|error| self.unavailable(error))?;
            let settings = match self.dialect {
                Dialect::Sqlite => format!("pragma journal_mode = wal; {}", self.settings(timeout)),
                Dialect::Postgres => format!("set lock_timeout = {}", MIGRATION_LOCK.as_millis()),
            };
            match connection.execute(AssertSqlSafe(settings)).await {
                Ok(_) => return Ok(connection),
                // Turning a new file to WAL needs it alone, and SQLite does not wait for that: this does.
                Err(sqlx::Error::Database(error)) if is_busy(&*error) && Instant::now() < deadline => {
                    connection.close().await.map_err(failed("close the database"))?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(self.unavailable(error)),
            }
        }
    }

    /// What holds for every connection.
    fn settings(&self, timeout: Duration) -> String {
        let ms = timeout.as_millis();
        match self.dialect {
            // In WAL mode only FULL syncs each commit: an attempt or a verdict must outlive a power cut.
            Dialect::Sqlite => {
                format!("pragma busy_timeout = {ms}; pragma synchronous = full; pragma foreign_keys = on")
            }
            // A worker that is stopped amid a transaction must let its rows go before those that wait for them give up.
            // Of the server's answers to when a commit is durable, only "later" is not good enough.
            Dialect::Postgres => format!(
                "set statement_timeout = {ms}; set lock_timeout = {ms}; \
                 set idle_in_transaction_session_timeout = {}; \
                 select set_config('synchronous_commit', 'on', false) \
                 where current_setting('synchronous_commit') = 'off'",
                (ms / 2).max(1)
            ),
        }
    }

    fn unavailable(&self, source: sqlx::Error) -> SessionStoreError {
        let source = Box::new(OpenError { place: self.place.clone(), source });
        SessionStoreError::Unavailable { action: "open the database", source }
    }
}

fn sqlite_place(url: &str) -> Result<String, SessionStoreError> {
    let options = SqliteConnectOptions::from_str(url).map_err(UrlError::Unreadable)?;
    Ok(options.get_filename().display().to_string())
}

fn postgres_place(url: &str) -> Result<String, SessionStoreError> {
    let parsed = Url::parse(url).map_err(|error| UrlError::Unreadable(sqlx::Error::Configuration(error.into())))?;
    for (name, _) in parsed.query_pairs() {
        if !PARAMETERS.contains(&&*name) && !name.starts_with("options[") {
            return Err(UrlError::Parameter(name.into_owned()).into());
        }
    }
    let options = PgConnectOptions::from_str(url).map_err(UrlError::Unreadable)?;
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    Ok(match options.get_socket() {
        Some(folder) => format!("database {database} at {}", folder.display()),
        None => format!("database {database} at {}:{}", options.get_host(), options.get_port()),
    })
}

/// `SQLITE_BUSY` (5) and `SQLITE_LOCKED` (6), also in their extended forms (<https://www.sqlite.org/rescode.html>).
fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}
