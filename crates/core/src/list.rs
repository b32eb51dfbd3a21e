//! The allow and block lists: what people know better than an engine, with who, why and until when.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Sha256Digest, Timestamp, error::InvalidValue};

/// The id of a list entry: a number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ListEntryId(pub i64);

impl fmt::Display for ListEntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListKind {
    /// A finding that it is about counts as clean: a false alarm that somebody has looked at.
    Allow,
    /// What it is about is never published: `blocked`.
    Block,
}

impl ListKind {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Block => "block",
        }
    }
}

impl fmt::Display for ListKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ListKind {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Allow, Self::Block]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| InvalidValue::new("list", text, "allow or block is expected"))
    }
}

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// An object of exactly these bytes.
    Sha256(Sha256Digest),
    /// A signature or rule by the name that its scanner gives it, compared exactly.
    Signature(String),
}

/// One entry. Entries are never changed: one that is taken back stays on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListEntry {
    /// Its id.
    pub id: ListEntryId,
    /// What it does.
    pub kind: ListKind,
    /// What it is about.
    pub subject: Subject,
    /// Who put it there.
    pub added_by: String,
    /// Why.
    pub why: String,
    /// When.
    pub added_at: Timestamp,
    /// Until when it counts. None: until it is taken back.
    pub expires_at: Option<Timestamp>,
    /// When and by whom it was taken back.
    pub removed: Option<Removal>,
}

/// That an entry was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// An entry to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewListEntry {
    /// What it does.
    pub kind: ListKind,
    /// What it is about.
    pub subject: Subject,
    /// Who asks for it.
    pub added_by: String,
    /// Why.
    pub why: String,
    /// For how long from now it counts. None: until it is taken back.
    pub expires_in: Option<std::time::Duration>,
}
