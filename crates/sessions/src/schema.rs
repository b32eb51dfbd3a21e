//! The schema, its version, and how a database gets there.

use std::{borrow::Cow, time::Duration};

use lazaret_core::ports::SessionStoreError;
use sqlx::{
    AnyConnection, Connection, Row,
    any::AnyRow,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

use crate::{
    call::Call,
    connect::{StoreOptions, Target},
    dialect::Dialect,
    error::{NoAnswer, corrupt, failed},
};

const SQLITE: [&str; 7] = [
    include_str!("../migrations/sqlite/0001_sessions.sql"),
    include_str!("../migrations/sqlite/0002_outbox_by_session.sql"),
    include_str!("../migrations/sqlite/0003_contested_sessions.sql"),
    include_str!("../migrations/sqlite/0004_published_image.sql"),
    include_str!("../migrations/sqlite/0005_revocation.sql"),
    include_str!("../migrations/sqlite/0006_lists.sql"),
    include_str!("../migrations/sqlite/0007_earlier_scans.sql"),
];
const POSTGRES: [&str; 6] = [
    include_str!("../migrations/postgres/0001_sessions.sql"),
    include_str!("../migrations/postgres/0002_contested_sessions.sql"),
    include_str!("../migrations/postgres/0003_published_image.sql"),
    include_str!("../migrations/postgres/0004_revocation.sql"),
    include_str!("../migrations/postgres/0005_lists.sql"),
    include_str!("../migrations/postgres/0006_earlier_scans.sql"),
];

/// What programs that migrate one PostgreSQL database agree on: "lazaret" in ASCII.
const ADVISORY_LOCK: i64 = 0x006c_617a_6172_6574;

/// What was migrated so far.
const APPLIED: &str =
    "select version, cast(success as integer) as success, checksum from _sqlx_migrations order by version";

const ACTION: &str = "migrate the schema";
/// How long a migration may take in all.
const LIMIT: Duration = Duration::from_mins(10);

/// Which way a migration went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationReport {
    /// The schema version found; none in an empty database.
    pub from: Option<i64>,
    /// The schema version now.
    pub to: i64,
}

/// Brings the schema of the database at `url` up to date; a SQLite file is made if it is missing. Of several programs
/// that start at once one does the work, the others wait for it and find nothing to do.
pub async fn migrate(url: &str) -> Result<MigrationReport, SessionStoreError> {
    let target = Target::of(url)?;
    let mut connection = target.connect_to_migrate(StoreOptions::default().timeout).await?;
    let Ok(report) = tokio::time::timeout(LIMIT, upgrade(&mut connection, target.dialect)).await else {
        return Err(SessionStoreError::Unavailable { action: ACTION, source: Box::new(NoAnswer(LIMIT)) });
    };
    let report = report?;
    connection.close().await.map_err(failed("close the database"))?;
    Ok(report)
}

fn migrator(dialect: Dialect) -> Migrator {
    let steps: &[&'static str] = match dialect {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
    };
    let step = |(version, sql): (i64, &&'static str)| {
        let sql = sqlx::SqlSafeStr::into_sql_str(*sql);
        Migration::new(version, Cow::Borrowed("lazaret"), MigrationType::Simple, sql, false)
    };
    let mut migrator = Migrator::with_migrations((1..).zip(steps).map(step).collect());
    // Ours is held until the commit; the library's is not.
    migrator.set_locking(false);
    migrator
}

/// The schema version this program reads and writes.
pub(crate) fn version(dialect: Dialect) -> i64 {
    migrator(dialect).iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// All steps are one transaction, under a lock that keeps other migrations out.
pub(crate) async fn upgrade(
    connection: &mut AnyConnection,
    dialect: Dialect,
) -> Result<MigrationReport, SessionStoreError> {
    let mut tx = connection.begin_with(dialect.begin()).await.map_err(failed(ACTION))?;
    if dialect == Dialect::Postgres {
        sqlx::query("select pg_advisory_xact_lock($1)")
            .bind(ADVISORY_LOCK)
            .execute(&mut *tx)
            .await
            .map_err(failed(ACTION))?;
    }
    let from = found(&mut tx, dialect).await?;
    if from == Some(version(dialect)) {
        // Whoever only works with the schema may not change it, and need not.
        let applied = sqlx::query(APPLIED).fetch_all(&mut *tx).await.map_err(failed(ACTION))?;
        return if is_known(&applied, dialect)? {
            Ok(MigrationReport { from, to: version(dialect) })
        } else {
            Err(mismatch(dialect, from))
        };
    }
    // `Migrator::run` is the same for a generic connection, and its future is not `Send`.
    migrator(dialect).run_direct(None, &mut *tx, false).await.map_err(|error| refused(dialect, from, error))?;
    tx.commit().await.map_err(failed(ACTION))?;
    Ok(MigrationReport { from, to: version(dialect) })
}

fn refused(dialect: Dialect, from: Option<i64>, error: MigrateError) -> SessionStoreError {
    match error {
        MigrateError::VersionMissing(_)
        | MigrateError::VersionMismatch(_)
        | MigrateError::VersionNotPresent(_)
        | MigrateError::VersionTooNew(..)
        | MigrateError::VersionTooOld(..)
        | MigrateError::Dirty(_) => mismatch(dialect, from),
        other => SessionStoreError::Unavailable { action: ACTION, source: Box::new(other) },
    }
}

async fn found(connection: &mut AnyConnection, dialect: Dialect) -> Result<Option<i64>, SessionStoreError> {
    let failed = failed("read the schema version");
    let present: i64 = sqlx::query_scalar(dialect.has_table())
        .bind("_sqlx_migrations")
        .fetch_one(&mut *connection)
        .await
        .map_err(&failed)?;
    if present == 0 {
        return Ok(None);
    }
    sqlx::query_scalar("select max(version) from _sqlx_migrations").fetch_one(connection).await.map_err(failed)
}

/// Whether the schema is the one this program knows, to the letter of its migrations.
pub(crate) async fn verify(call: &mut Call) -> Result<(), SessionStoreError> {
    let dialect = call.dialect();
    let failed = call.failed();
    let table = call.row(sqlx::query(dialect.has_table()).bind("_sqlx_migrations")).await?;
    let tables: i64 = table.ok_or_else(|| corrupt("a count without a row"))?.try_get(0).map_err(&failed)?;
    if tables == 0 {
        return Err(mismatch(dialect, None));
    }
    let applied = call.rows(sqlx::query(APPLIED)).await?;
    if is_known(&applied, dialect)? {
        return Ok(());
    }
    let newest = applied.last().map(|row| row.try_get("version")).transpose().map_err(failed)?;
    Err(mismatch(dialect, newest))
}

/// Whether these are the migrations of this program, to the letter.
fn is_known(applied: &[AnyRow], dialect: Dialect) -> Result<bool, SessionStoreError> {
    let failed = failed("read the schema version");
    let known = migrator(dialect);
    let mut same = applied.len() == known.iter().count();
    for (row, migration) in applied.iter().zip(known.iter()) {
        let version: i64 = row.try_get("version").map_err(&failed)?;
        let success: i64 = row.try_get("success").map_err(&failed)?;
        let checksum: Vec<u8> = row.try_get("checksum").map_err(&failed)?;
        same &= success != 0 && version == migration.version && *checksum == *migration.checksum;
    }
    Ok(same)
}

fn mismatch(dialect: Dialect, found: Option<i64>) -> SessionStoreError {
    let known = version(dialect);
    let detail = match found {
        None => format!("it is empty, schema version {known} is expected"),
        Some(version) if version < known => format!("it has schema version {version}, this program needs {known}"),
        Some(version) if version == known => {
            format!("its schema version {known} was made by other migrations than this program's")
        }
        Some(version) => {
            format!("it has schema version {version}, newer than {known} which this program knows: use a newer program")
        }
    };
    SessionStoreError::NotMigrated { detail }
}
