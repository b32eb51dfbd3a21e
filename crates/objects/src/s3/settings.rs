use std::{fmt, time::Duration};

/// How to reach the store.
#[derive(Clone)]
pub struct S3Settings {
    /// Where the store listens, such as `https://s3.example.org`. None: AWS.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// Buckets in the path (`https://host/bucket/key`) and not in the host name.
    pub force_path_style: bool,
    /// When checksums are sent and compared.
    pub checksums: Checksums,
    /// How published objects are encrypted at rest. None: as the bucket does by itself.
    pub sse: Option<ServerSideEncryption>,
    /// Access key id and secret access key. None: the default chain of the AWS SDK.
    pub credentials: Option<(String, String)>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
}

/// When checksums are sent with a request and compared with an answer
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-dataintegrity.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksums {
    /// Wherever the operation knows them.
    #[default]
    WhenSupported,
    /// Only where the operation demands them, for stores that refuse the others.
    WhenRequired,
}

/// Encryption at rest of published objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSideEncryption {
    /// `AES256`: a key of the store.
    Aes256,
    /// `aws:kms`: a key of the key management service.
    AwsKms {
        /// The key. None: the account's key for S3.
        key_id: Option<String>,
    },
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the head of an answer, from the start of the request; the time to send a body comes on top.
    pub read: Duration,
    /// For the next bytes of a body.
    pub body_stall: Duration,
    /// The slowest transfer that is waited for: a body of n bytes may take n / this many seconds.
    pub slowest_bytes_per_second: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(30),
            body_stall: Duration::from_secs(30),
            slowest_bytes_per_second: 1024 * 1024,
        }
    }
}

impl Timeouts {
    /// For a request that moves `bytes`, there or at the store.
    pub(super) fn for_transfer(&self, bytes: u64) -> Duration {
        self.read + Duration::from_secs(bytes / u64::from(self.slowest_bytes_per_second.max(1)))
    }
}

impl S3Settings {
    /// AWS in `region`, with the default chain of credentials.
    pub fn aws(region: impl Into<String>) -> Self {
        Self {
            endpoint: None,
            region: region.into(),
            force_path_style: false,
            checksums: Checksums::default(),
            sse: None,
            credentials: None,
            timeouts: Timeouts::default(),
        }
    }
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Settings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("force_path_style", &self.force_path_style)
            .field("checksums", &self.checksums)
            .field("sse", &self.sse)
            .field("credentials", &self.credentials.as_ref().map(|(id, _)| (id, "…")))
            .field("timeouts", &self.timeouts)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_not_shown() {
        let mut settings = S3Settings::aws("eu-west-1");
        settings.credentials = Some(("the-id".into(), "the-secret".into()));
        let shown = format!("{settings:?}");
        assert!(shown.contains("the-id") && !shown.contains("the-secret"), "{shown}");
    }

    #[test]
    fn a_transfer_may_take_as_long_as_its_bytes_need() {
        let timeouts = Timeouts { slowest_bytes_per_second: 1000, ..Timeouts::default() };
        assert_eq!(timeouts.for_transfer(0), timeouts.read);
        assert_eq!(timeouts.for_transfer(5000), timeouts.read + Duration::from_secs(5));
    }
}
