//! What a scanner said, and which engine said it.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{HoldReason, ListEntryId, Timestamp, UploadId, error::InvalidValue};

/// The name of a scanner in the settings: 1 to 64 of `a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScannerName(String);

impl ScannerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ScannerName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ScannerName {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(InvalidValue::new("scanner name", &text, "1 to 64 of a-z 0-9 _ - are expected"))
        }
    }
}

impl From<ScannerName> for String {
    fn from(name: ScannerName) -> Self {
        name.0
    }
}

impl fmt::Display for ScannerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which engine answered, with which signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineVersion {
    /// The engine and its version, for example `ClamAV 1.4.6`.
    pub engine: String,
    /// The version of its signature database, where it says one.
    pub signatures: Option<String>,
    /// When that database was made, where it says so.
    pub signatures_at: Option<Timestamp>,
}

/// What a scanner says about an object it could look at. Trouble of the engine itself is an error, not a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// The scanner looked at everything and found nothing.
    Clean,
    /// The scanner named a signature.
    Infected {
        /// The signature's name.
        signature: String,
    },
    /// The scanner could not look at everything: a limit, or encryption.
    Unscannable {
        /// The reason code for the hold.
        reason: HoldReason,
        /// The scanner's own words.
        detail: String,
    },
}

/// What a rule asks for when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// To be on record, and nothing else.
    Note,
    /// That a person looks at it: `flagged`.
    Hold,
    /// That it is never published: `infected`.
    Reject,
}

/// A rule that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleMatch {
    /// Where the rule is from: for YARA its namespace.
    pub namespace: String,
    /// Its name.
    pub rule: String,
    /// What it asks for.
    pub severity: Severity,
    /// What its author says of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// One scanner's answer about one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanReport {
    /// Which scanner.
    pub scanner: ScannerName,
    /// Its engine and signatures at the time of the scan.
    pub engine: EngineVersion,
    /// What it found.
    #[serde(flatten)]
    pub finding: Finding,
    /// The rules that matched, for an engine that has rules. Those that only note are here, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<RuleMatch>,
    /// The entry of the allow list by which an infection counts as clean, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_by: Option<ListEntryId>,
    /// The upload of the same bytes whose scan this was, where the object was not scanned anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_from: Option<UploadId>,
    /// How long the scan took, in milliseconds; 0 where there was none.
    pub elapsed_ms: u64,
}
