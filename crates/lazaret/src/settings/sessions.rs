//! `[sessions]` and `[events]`: where sessions are kept and verdicts are told.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The session database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// `sqlite:` and the path of the database file.
    #[schemars(regex(pattern = "^sqlite:.+"))]
    pub url: String,
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

    fn place(&self) -> Option<&str> {
        let place = self.url.strip_prefix("sqlite:")?;
        Some(place.strip_prefix("//").unwrap_or(place))
    }
}

/// Where verdict events go.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// Which bus.
    pub kind: EventsKind,
}

/// Which bus verdict events go to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventsKind {
    /// Nobody is told; the session database keeps them.
    #[default]
    None,
}
