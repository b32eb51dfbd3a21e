//! `[storage]`: the object store, and where in it things lie.

use lazaret_core::{BucketName, Prefix};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Secret;

/// The object store.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// The bucket that clients upload to.
    #[schemars(with = "String")]
    pub bucket: BucketName,
    /// Where the store answers, for example `http://127.0.0.1:9000`. Left out: AWS.
    pub endpoint: Option<Url>,
    /// The region that requests are signed for.
    #[serde(default = "default_region")]
    pub region: String,
    /// Put the bucket into the path instead of the host name: most stores that are not AWS want it.
    #[serde(default)]
    pub force_path_style: bool,
    /// Where clients upload to. Nothing there is usable.
    #[serde(default = "default_quarantine_prefix")]
    #[schemars(with = "String")]
    pub quarantine_prefix: Prefix,
    /// The bucket of the published objects. Left out: `bucket`.
    #[schemars(with = "Option<String>")]
    pub published_bucket: Option<BucketName>,
    /// Where published objects lie.
    #[serde(default = "default_published_prefix")]
    #[schemars(with = "String")]
    pub published_prefix: Prefix,
    /// Whether requests carry checksums wherever the protocol has them, or only where it demands them. Stores such as
    /// Garage and Ceph RGW need `when-required`.
    #[serde(default)]
    pub checksums: Checksums,
    /// Server-side encryption of published objects.
    pub sse: Option<ServerSideEncryption>,
    /// Left out together with the secret: the default chain of AWS (environment, profile, instance role).
    pub access_key_id: Option<String>,
    /// Belongs to `access_key_id`.
    pub secret_access_key: Option<Secret>,
}

impl Storage {
    /// The bucket that published objects go to.
    pub fn published_bucket(&self) -> &BucketName {
        self.published_bucket.as_ref().unwrap_or(&self.bucket)
    }
}

/// When requests carry checksums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Checksums {
    /// Wherever the operation supports them.
    #[default]
    WhenSupported,
    /// Only where the operation demands them.
    WhenRequired,
}

/// How the store encrypts what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServerSideEncryption {
    /// With keys the store manages.
    #[serde(rename = "AES256")]
    Aes256,
    /// With AWS KMS and the bucket's default key.
    #[serde(rename = "aws:kms")]
    AwsKms,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

fn default_quarantine_prefix() -> Prefix {
    // A constant that satisfies the rules of a prefix, as the tests of this crate show.
    #[expect(clippy::expect_used, reason = "a constant")]
    "quarantine/".parse().expect("a valid prefix")
}

fn default_published_prefix() -> Prefix {
    // As above.
    #[expect(clippy::expect_used, reason = "a constant")]
    "published/".parse().expect("a valid prefix")
}
