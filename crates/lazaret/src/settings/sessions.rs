//! `[sessions]`: where sessions are kept.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PrivateUrl;

/// The session database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// `sqlite:` and the path of the database file, or `postgres://user:password@host:5432/database`.
    #[schemars(regex(pattern = "^(sqlite:|postgres(ql)?://).+"))]
    pub url: PrivateUrl,
    /// Wait for `lazaret session finalize` instead of processing an object as soon as it arrives.
    #[serde(default)]
    pub require_finalize: bool,
}

impl Sessions {
    /// The database file, if the URL names one. A database in memory is none: other commands could not see it.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        let path = percent_decode_str(self.place()?.split('?').next()?).decode_utf8().ok()?;
        (!path.is_empty() && !path.starts_with(':')).then(|| path.as_ref().into())
    }

    /// Whether the URL names a database that only the process which opens it can see.
    pub fn is_in_memory(&self) -> bool {
        self.place().is_some_and(|place| place.starts_with(":memory:") || place.contains("mode=memory"))
    }

    /// Whether the database is a `PostgreSQL` server's.
    pub fn is_postgres(&self) -> bool {
        self.url.expose().split_once(':').is_some_and(|(scheme, _)| matches!(scheme, "postgres" | "postgresql"))
    }

    fn place(&self) -> Option<&str> {
        let place = self.url.expose().strip_prefix("sqlite:")?;
        Some(place.strip_prefix("//").unwrap_or(place))
    }
}
