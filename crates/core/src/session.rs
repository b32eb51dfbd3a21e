//! The upload session: what a client promised, and what became of it.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    BucketName, ETag, HoldReason, MediaType, ObjectId, QuarantineKey, SessionState, Sha256Digest, TenantId, Timestamp,
    UploadId, VersionId, error::InvalidValue,
};

/// The file name a client gave: 1 to 255 bytes without control or bidirectional formatting characters. A label, never a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

impl FileName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the last dot, in lower case. None without a dot or for a name that only begins with one.
    pub fn extension(&self) -> Option<String> {
        let (stem, extension) = self.0.rsplit_once('.')?;
        (!stem.is_empty() && !extension.is_empty()).then(|| extension.to_lowercase())
    }
}

impl std::str::FromStr for FileName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for FileName {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // Bidirectional formatting (Unicode UAX #9) lets `gpj.exe` read as `exe.jpg`.
        let reorders =
            |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let forbidden = |c: char| c.is_control() || c == '/' || c == '\\' || reorders(c);
        if (1..=255).contains(&text.len()) && !text.contains(forbidden) {
            Ok(Self(text))
        } else {
            Err(InvalidValue::new(
                "file name",
                &text,
                "1 to 255 bytes without slashes, control or bidirectional formatting characters are expected",
            ))
        }
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A session to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Its id.
    pub upload_id: UploadId,
    /// The id of the object it may become.
    pub object_id: ObjectId,
    /// On whose behalf.
    pub tenant: TenantId,
    /// The bucket the client uploads to.
    pub bucket: BucketName,
    /// The key the client uploads to.
    pub key: QuarantineKey,
    /// What the client calls the file.
    pub file_name: FileName,
    /// What the client says it is.
    pub declared_type: MediaType,
    /// How many bytes it will be.
    pub declared_size: u64,
    /// Its digest, if the client told.
    pub declared_sha256: Option<Sha256Digest>,
    /// How long from now the upload may take.
    pub expires_in: Duration,
}

/// An upload session as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub upload_id: UploadId,
    /// The id of the object it may become.
    pub object_id: ObjectId,
    /// On whose behalf.
    pub tenant: TenantId,
    /// The bucket the client uploads to.
    pub bucket: BucketName,
    /// The key the client uploads to.
    pub key: QuarantineKey,
    /// What the client calls the file.
    pub file_name: FileName,
    /// What the client says it is.
    pub declared_type: MediaType,
    /// How many bytes it will be.
    pub declared_size: u64,
    /// Its digest, if the client told.
    pub declared_sha256: Option<Sha256Digest>,
    /// Where it stands.
    pub state: SessionState,
    /// What the reason code means in this case, in plain words.
    pub detail: Option<String>,
    /// The reasons an operator released it from.
    pub overrides: Vec<HoldReason>,
    /// Attempts counted since it was made or last released.
    pub attempts: u32,
    /// The object it was last judged by. A released session keeps it: its overrides are about those bytes.
    pub source: Option<SourceObject>,
    /// When the quarantined original was deleted.
    pub original_deleted_at: Option<Timestamp>,
    /// When the published copies of a revoked session were deleted.
    pub published_deleted_at: Option<Timestamp>,
    /// When the session was made.
    pub created_at: Timestamp,
    /// When it last changed its state.
    pub updated_at: Timestamp,
    /// Until when the upload may take.
    pub expires_at: Timestamp,
}

/// Which quarantined bytes a session was judged by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceObject {
    /// The version, in a bucket with versioning.
    pub version: Option<VersionId>,
    /// The entity tag.
    pub etag: ETag,
    /// Length in bytes.
    pub size: u64,
    /// The digest, where the bytes were read.
    pub sha256: Option<Sha256Digest>,
    /// The detected type, where it was reached.
    pub detected_type: Option<MediaType>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_lower_case_and_real() {
        for (name, extension) in
            [("a.PNG", Some("png")), ("a.tar.gz", Some("gz")), ("a", None), (".profile", None), ("a.", None)]
        {
            assert_eq!(name.parse::<FileName>().unwrap().extension().as_deref(), extension, "{name}");
        }
        for name in ["", "a/b", "a\\b", "a\nb", "a\u{202e}gpj.exe", &"x".repeat(256)] {
            assert!(name.parse::<FileName>().is_err(), "{name:?}");
        }
    }
}
