//! Where the two databases do not speak the same SQL. Everything else is one text for both.

use lazaret_core::ports::SessionStoreError;

use crate::error::UrlError;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// The database that a URL leads to, by its scheme.
    pub(crate) fn of(url: &str) -> Result<Self, SessionStoreError> {
        match url.split_once(':') {
            Some(("sqlite", _)) => Ok(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres),
            _ => Err(UrlError::Scheme.into()),
        }
    }

    /// Begins a transaction that writes. On SQLite this takes the one write lock. On PostgreSQL rows are locked one by
    /// one, and what was read before a lock was had is read anew: that is READ COMMITTED, whatever the server's default.
    pub(crate) const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "begin immediate",
            Self::Postgres => "begin isolation level read committed",
        }
    }

    /// Begins a transaction whose reads all see the same moment.
    pub(crate) const fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "begin",
            Self::Postgres => "begin isolation level repeatable read read only",
        }
    }

    /// The database's clock in milliseconds, when it is asked and not when the transaction began.
    pub(crate) const fn clock(self) -> &'static str {
        match self {
            Self::Sqlite => "cast(round(unixepoch('subsec') * 1000) as integer)",
            Self::Postgres => "cast(floor(extract(epoch from clock_timestamp()) * 1000) as bigint)",
        }
    }

    /// Waits for a row and locks it. SQLite's writers have the whole database already.
    pub(crate) const fn lock(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "for update",
        }
    }

    /// Locks rows and passes over those that others hold.
    pub(crate) const fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "for update skip locked",
        }
    }

    /// Whether there is a table of this name where statements look for it.
    pub(crate) const fn has_table(self) -> &'static str {
        match self {
            Self::Sqlite => "select count(*) from sqlite_master where type = 'table' and name = $1",
            Self::Postgres => "select count(*) from pg_catalog.pg_class where oid = to_regclass($1)",
        }
    }
}
