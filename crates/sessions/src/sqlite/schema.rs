//! The schema, its version, and how a database gets there.

use std::borrow::Cow;

use lazaret_core::ports::SessionStoreError;
use sqlx::{
    Connection, SqliteConnection,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

use crate::error::failed;

/// The schema version this program reads and writes.
pub(super) const VERSION: i64 = 1;

/// Which way a migration went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationReport {
    /// The schema version found; none in an empty database.
    pub from: Option<i64>,
    /// The schema version now.
    pub to: i64,
}

fn migrator() -> Migrator {
    Migrator::with_migrations(vec![Migration::new(
        1,
        Cow::Borrowed("sessions"),
        MigrationType::Simple,
        sqlx::SqlSafeStr::into_sql_str(include_str!("../../migrations/sqlite/0001_sessions.sql")),
        false,
    )])
}

/// Brings the schema to [`VERSION`]. All steps are one write transaction: of several programs that start at once one
/// does the work, the others wait for it and find nothing to do.
pub(super) async fn upgrade(connection: &mut SqliteConnection) -> Result<MigrationReport, SessionStoreError> {
    let action = "migrate the schema";
    let mut tx = connection.begin_with("begin immediate").await.map_err(failed(action))?;
    let from = found(&mut tx).await?;
    // `Migrator::run` is the same for a generic connection, and its future is not `Send`.
    migrator().run_direct(None, &mut *tx, false).await.map_err(|error| refused(from, error))?;
    tx.commit().await.map_err(failed(action))?;
    Ok(MigrationReport { from, to: VERSION })
}

fn refused(from: Option<i64>, error: MigrateError) -> SessionStoreError {
    match error {
        MigrateError::VersionMissing(_)
        | MigrateError::VersionMismatch(_)
        | MigrateError::VersionNotPresent(_)
        | MigrateError::VersionTooNew(..)
        | MigrateError::VersionTooOld(..)
        | MigrateError::Dirty(_) => mismatch(from),
        other => SessionStoreError::Unavailable { action: "migrate the schema", source: Box::new(other) },
    }
}

/// Whether the schema is the one this program knows, to the letter of its migrations.
pub(super) async fn verify(connection: &mut SqliteConnection) -> Result<(), SessionStoreError> {
    let from = found(connection).await?;
    if from != Some(VERSION) {
        return Err(mismatch(from));
    }
    let applied: Vec<(i64, bool, Vec<u8>)> =
        sqlx::query_as("select version, success, checksum from _sqlx_migrations order by version")
            .fetch_all(connection)
            .await
            .map_err(failed("read the schema version"))?;
    let known = migrator();
    let same = applied.len() == known.iter().count()
        && applied.iter().zip(known.iter()).all(|((version, success, checksum), migration)| {
            *success && *version == migration.version && **checksum == *migration.checksum
        });
    if same { Ok(()) } else { Err(mismatch(from)) }
}

async fn found(connection: &mut SqliteConnection) -> Result<Option<i64>, SessionStoreError> {
    let failed = failed("read the schema version");
    let present: bool =
        sqlx::query_scalar("select exists (select 1 from sqlite_master where type = 'table' and name = $1)")
            .bind("_sqlx_migrations")
            .fetch_one(&mut *connection)
            .await
            .map_err(&failed)?;
    if !present {
        return Ok(None);
    }
    sqlx::query_scalar("select max(version) from _sqlx_migrations").fetch_one(connection).await.map_err(failed)
}

fn mismatch(found: Option<i64>) -> SessionStoreError {
    let detail = match found {
        None => format!("it is empty, schema version {VERSION} is expected"),
        Some(version) if version < VERSION => {
            format!("it has schema version {version}, this program needs {VERSION}")
        }
        Some(VERSION) => format!("its schema version {VERSION} was made by other migrations than this program's"),
        Some(version) => {
            format!(
                "it has schema version {version}, newer than {VERSION} which this program knows: use a newer program"
            )
        }
    };
    SessionStoreError::NotMigrated { detail }
}
