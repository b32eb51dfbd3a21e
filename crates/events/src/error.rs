use lazaret_core::Disposition;
use thiserror::Error;

use crate::MAX_MESSAGE_BYTES;

/// Values from a message are cut to this many characters before they enter an error.
const SHOWN_CHARS: usize = 200;

/// Why a message is not understood. Asking again never helps.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Longer than any bus sends.
    #[error("message of {len} bytes is longer than {MAX_MESSAGE_BYTES} bytes")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Not JSON, or an envelope around something that is not.
    #[error("message is not JSON")]
    NotJson {
        /// Where it stops being JSON.
        #[source]
        source: serde_json::Error,
    },
    /// JSON in a shape that no supported bus writes.
    #[error("message has an unknown shape: {what}")]
    UnknownShape {
        /// What it looks like, cut to 200 characters.
        what: String,
    },
    /// An SNS envelope inside an SNS envelope.
    #[error("message has an SNS envelope inside an SNS envelope; one is the limit")]
    NestedEnvelope,
    /// An event that Lazaret sent itself. It must not vanish: somebody waits for it elsewhere.
    #[error("message is {kind}, a verdict that lazaret itself tells; [events] must not send to the queue it consumes")]
    OwnEvent {
        /// Its type, cut to 200 characters.
        kind: String,
    },
    /// The shape is known, its writer is not, so nobody knows how it encodes keys.
    #[error("record {index} comes from {origin:?}; aws:s3, minio:s3, ceph:s3 and aws.s3 are known")]
    UnknownSource {
        /// Which record, from 0.
        index: usize,
        /// The writer, cut to 200 characters.
        origin: String,
    },
    /// A major version that may mean something else.
    #[error("record {index} has {field} {version:?}; {supported} is supported")]
    UnsupportedVersion {
        /// Which record, from 0.
        index: usize,
        /// The field that says the version.
        field: &'static str,
        /// The version, cut to 200 characters.
        version: String,
        /// What is supported.
        supported: &'static str,
    },
    /// A field that is missing or not valid.
    #[error("record {index} is not valid: {field}: {why}")]
    BadRecord {
        /// Which record, from 0.
        index: usize,
        /// The field, as a path inside the record.
        field: &'static str,
        /// The rule it breaks, cut to 200 characters.
        why: String,
    },
}

impl DecodeError {
    /// What to do with the delivery.
    pub const fn disposition(&self) -> Disposition {
        Disposition::DeadLetter
    }

    pub(crate) fn unknown_shape(what: impl AsRef<str>) -> Self {
        Self::UnknownShape { what: cut(what.as_ref()) }
    }
}

pub(crate) fn cut(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}
