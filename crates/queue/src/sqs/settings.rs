use std::{fmt, time::Duration};

/// The longest long poll
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html>).
const MAX_WAIT: Duration = Duration::from_secs(20);

/// How to reach an SQS queue.
#[derive(Clone)]
pub struct SqsSettings {
    /// The queue's URL.
    pub url: String,
    /// Where requests go. None: where `url` points.
    pub endpoint: Option<String>,
    /// The region that requests are signed for. None: the one in the host name of `url`, then the one of the AWS
    /// SDK's default chain.
    pub region: Option<String>,
    /// How long a receive waits for the first message, at most 20 s.
    pub wait_time: Duration,
    /// How long a delivery stays with its consumer, at most twelve hours.
    pub visibility_timeout: Duration,
    /// Where messages go that nobody understands. None: they are removed. Beside a FIFO queue it is one as well, if the
    /// queue's own redrive policy is to use it.
    pub dead_letter_url: Option<String>,
    /// Access key id and secret access key. None: the default chain of the AWS SDK.
    pub credentials: Option<(String, String)>,
}

impl SqsSettings {
    /// A queue on AWS with the default chain of credentials, a long poll of 20 s and a visibility timeout of 60 s.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            endpoint: None,
            region: None,
            wait_time: Duration::from_secs(20),
            visibility_timeout: Duration::from_mins(1),
            dead_letter_url: None,
            credentials: None,
        }
    }

    /// How long a receive waits.
    pub(super) fn wait(&self) -> Duration {
        self.wait_time.min(MAX_WAIT)
    }

    pub(super) fn endpoint(&self) -> Option<String> {
        self.endpoint.clone().or_else(|| origin(&self.url))
    }

    pub(super) fn region(&self) -> Option<String> {
        self.region.clone().or_else(|| region(&self.url))
    }
}

impl fmt::Debug for SqsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsSettings")
            .field("url", &self.url)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("wait_time", &self.wait_time)
            .field("visibility_timeout", &self.visibility_timeout)
            .field("dead_letter_url", &self.dead_letter_url)
            .field("credentials", &self.credentials.as_ref().map(|(id, _)| (id, "…")))
            .finish()
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    Some(format!("{scheme}://{}", rest.split('/').next()?))
}

/// The region in `https://sqs.{region}.amazonaws.com/…`.
fn region(url: &str) -> Option<String> {
    let host = url.split_once("://")?.1.split('/').next()?;
    let region = host.strip_prefix("sqs.")?.split_once(".amazonaws.com")?.0;
    Some(region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_and_region_come_from_the_url_unless_they_are_set() {
        let mut settings = SqsSettings::new("https://sqs.eu-west-1.amazonaws.com/123456789012/uploads");
        assert_eq!(settings.endpoint().as_deref(), Some("https://sqs.eu-west-1.amazonaws.com"));
        assert_eq!(settings.region().as_deref(), Some("eu-west-1"));
        settings.url = "http://127.0.0.1:4566/000000000000/uploads".to_owned();
        assert_eq!(settings.endpoint().as_deref(), Some("http://127.0.0.1:4566"));
        assert_eq!(settings.region(), None);
        settings.region = Some("eu-north-1".to_owned());
        settings.endpoint = Some("http://proxy".to_owned());
        assert_eq!(settings.endpoint().as_deref(), Some("http://proxy"));
        assert_eq!(settings.region().as_deref(), Some("eu-north-1"));
    }

    #[test]
    fn the_secret_is_not_shown() {
        let mut settings = SqsSettings::new("http://127.0.0.1/1/q");
        settings.credentials = Some(("the-id".into(), "the-secret".into()));
        let shown = format!("{settings:?}");
        assert!(shown.contains("the-id") && !shown.contains("the-secret"), "{shown}");
    }
}
