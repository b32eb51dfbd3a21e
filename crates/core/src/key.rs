//! Names of things in an object store.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Sha256Digest, error::InvalidValue, id::ObjectId, id::UploadId};

/// The longest object key S3 allows, in bytes of UTF-8
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
pub const MAX_KEY_BYTES: usize = 1024;

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(InvalidValue::new($what, &text, $rule)) }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_name!(
    /// A bucket.
    BucketName,
    "bucket",
    "1 to 255 visible ASCII characters without a slash are expected",
    |text| (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
);
text_name!(
    /// A key in a bucket, decoded: exactly the bytes the store knows.
    ObjectKey,
    "object key",
    "1 to 1024 bytes are expected",
    |text| (1..=MAX_KEY_BYTES).contains(&text.len())
);
text_name!(
    /// The version of an object in a bucket with versioning.
    VersionId,
    "version id",
    "1 to 1024 bytes are expected",
    |text| (1..=1024).contains(&text.len())
);
text_name!(
    /// The entity tag of an object as the store gave it, without its quotes. It names bytes only as far as the
    /// store is honest and MD5 has no collisions: a pin, never a proof.
    ETag,
    "ETag",
    "1 to 1024 bytes are expected",
    |text| (1..=1024).contains(&text.len())
);
text_name!(
    /// The start of a group of keys, ending in a slash.
    Prefix,
    "prefix",
    "up to 512 bytes that end in a slash and do not begin with one are expected",
    |text| text.len() <= 512 && text.ends_with('/') && !text.starts_with('/')
);

impl Prefix {
    /// Whether `key` lies under this prefix.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        key.as_str().starts_with(self.as_str())
    }
}

/// Where a client uploads to. Nothing there is usable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuarantineKey(ObjectKey);

impl QuarantineKey {
    /// The key of a new session: `{quarantine_prefix}{upload_id}`.
    pub fn for_upload(prefix: &Prefix, upload: UploadId) -> Self {
        Self(ObjectKey(format!("{prefix}{upload}")))
    }

    /// A key that a session already holds.
    pub const fn from_key(key: ObjectKey) -> Self {
        Self(key)
    }

    /// The key itself.
    pub const fn as_key(&self) -> &ObjectKey {
        &self.0
    }
}

impl fmt::Display for QuarantineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a checked object is readable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublishedKey(ObjectKey);

impl PublishedKey {
    /// `{published_prefix}{object_id}/{sha256 of the published bytes}`: a late duplicate write of the same bytes
    /// lands on itself.
    pub fn for_object(prefix: &Prefix, object: ObjectId, sha256: &Sha256Digest) -> Self {
        Self(ObjectKey(format!("{prefix}{object}/{sha256}")))
    }

    /// A key that a record already holds.
    pub const fn from_key(key: ObjectKey) -> Self {
        Self(key)
    }

    /// The key itself.
    pub const fn as_key(&self) -> &ObjectKey {
        &self.0
    }
}

impl fmt::Display for PublishedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
