//! One operation's use of the database: a connection, and a deadline for all that is asked of it.

use std::{future::Future, time::Duration};

use lazaret_core::ports::SessionStoreError;
use sqlx::{
    Any, AnyPool, Database, SqlSafeStr,
    any::{AnyArguments, AnyRow},
    pool::PoolConnection,
};
use sqlx_core::transaction::TransactionManager;
use tokio::time::Instant;

use crate::{
    dialect::Dialect,
    error::{NoAnswer, corrupt, failed},
};

/// A statement with its values.
pub(crate) type Query<'q> = sqlx::query::Query<'q, Any, AnyArguments>;

type Transactions = <Any as Database>::TransactionManager;

/// A connection lent for one operation. Dropped with a transaction open, it is rolled back.
pub(crate) struct Call {
    connection: PoolConnection<Any>,
    dialect: Dialect,
    action: &'static str,
    timeout: Duration,
    deadline: Instant,
    /// Whether a transaction was begun and not committed.
    open: bool,
    /// Whether the last thing asked was answered, and not with an error.
    answered: bool,
}

impl Call {
    /// Waits for a connection. The deadline runs from here.
    pub(crate) async fn acquire(
        pool: &AnyPool,
        dialect: Dialect,
        action: &'static str,
        timeout: Duration,
    ) -> Result<Self, SessionStoreError> {
        let deadline = Instant::now() + timeout;
        let connection = pool.acquire().await.map_err(failed(action))?;
        Ok(Self { connection, dialect, action, timeout, deadline, open: false, answered: true })
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn failed(&self) -> impl Fn(sqlx::Error) -> SessionStoreError + use<> {
        failed(self.action)
    }

    pub(crate) async fn begin(&mut self, statement: &'static str) -> Result<(), SessionStoreError> {
        self.open = true;
        self.answered = false;
        let begun = Transactions::begin(&mut self.connection, Some(SqlSafeStr::into_sql_str(statement)));
        by(self.deadline, self.timeout, self.action, begun).await?;
        self.answered = true;
        Ok(())
    }

    pub(crate) async fn commit(mut self) -> Result<(), SessionStoreError> {
        self.answered = false;
        by(self.deadline, self.timeout, self.action, Transactions::commit(&mut self.connection)).await?;
        self.answered = true;
        self.open = false;
        Ok(())
    }

    /// How many rows it changed.
    pub(crate) async fn execute(&mut self, query: Query<'_>) -> Result<u64, SessionStoreError> {
        self.answered = false;
        let done = by(self.deadline, self.timeout, self.action, query.execute(&mut *self.connection)).await?;
        self.answered = true;
        Ok(done.rows_affected())
    }

    pub(crate) async fn rows(&mut self, query: Query<'_>) -> Result<Vec<AnyRow>, SessionStoreError> {
        self.answered = false;
        let rows = by(self.deadline, self.timeout, self.action, query.fetch_all(&mut *self.connection)).await?;
        self.answered = true;
        Ok(rows)
    }

    pub(crate) async fn row(&mut self, query: Query<'_>) -> Result<Option<AnyRow>, SessionStoreError> {
        self.answered = false;
        let row = by(self.deadline, self.timeout, self.action, query.fetch_optional(&mut *self.connection)).await?;
        self.answered = true;
        Ok(row)
    }

    /// The database's clock, in milliseconds.
    pub(crate) async fn now_ms(&mut self) -> Result<i64, SessionStoreError> {
        let clock = format!("select {} as now_ms", self.dialect.clock());
        let row = self.row(sqlx::query(sqlx::AssertSqlSafe(clock))).await?;
        let row = row.ok_or_else(|| corrupt("the database has no clock"))?;
        sqlx::Row::try_get(&row, "now_ms").map_err(self.failed())
    }
}

async fn by<T>(
    deadline: Instant,
    timeout: Duration,
    action: &'static str,
    answer: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, SessionStoreError> {
    match tokio::time::timeout_at(deadline, answer).await {
        Ok(answer) => answer.map_err(failed(action)),
        Err(_) => Err(SessionStoreError::Unavailable { action, source: Box::new(NoAnswer(timeout)) }),
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // A server that did not answer, or that said no, may be gone, frozen or no longer the primary: the next to ask
        // connects anew. A SQLite connection is as good as its file, and one to a database in memory is all there is.
        if !self.answered && self.dialect == Dialect::Postgres {
            self.connection.close_on_drop();
        } else if self.open {
            Transactions::start_rollback(&mut self.connection);
        }
    }
}
