//! What the sinks on AWS have in common.

use std::time::Duration;

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use lazaret_core::ports::VerdictEvent;
use sha2::{Digest, Sha256};

/// Requests are tried this often; what still fails is up to whoever relays the events.
const ATTEMPTS: u32 = 3;

const BACKOFF: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);

/// The region where only an endpoint of one's own is named, which seldom minds.
const ANY_REGION: &str = "us-east-1";

/// What every event carries beside its body, so that it can be filtered without being read.
pub(crate) const CONTENT_TYPE: &str = "content-type";
pub(crate) const TYPE: &str = "type";
pub(crate) const SUBJECT: &str = "subject";

/// The longest id that FIFO queues and topics tell duplicates by
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>).
const MAX_DEDUPLICATION_ID: usize = 128;

pub(crate) async fn config(
    endpoint: Option<String>,
    region: Option<String>,
    credentials: Option<&(String, String)>,
) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(ATTEMPT_TIMEOUT);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF))
        .timeout_config(timeouts.operation_attempt_timeout(ATTEMPT_TIMEOUT).build());
    if let Ok(name) = AppName::new("lazaret") {
        loader = loader.app_name(name);
    }
    if let Some((id, secret)) = credentials {
        loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "lazaret settings"));
    }
    // Who has credentials of his own is not asked of the instance where he is.
    if let Some(region) = region.or_else(|| credentials.map(|_| ANY_REGION.to_owned())) {
        loader = loader.region(Region::new(region));
    }
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}

/// Whether a queue or a topic is FIFO, which its name says.
pub(crate) fn is_fifo(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| ending == "fifo")
}

/// What a FIFO queue or topic tells an event from another by, for five minutes.
pub(crate) fn deduplication_id(event: &VerdictEvent) -> String {
    let plain = event.id.chars().all(|c| c.is_ascii_graphic());
    if plain && (1..=MAX_DEDUPLICATION_ID).contains(&event.id.len()) {
        return event.id.clone();
    }
    hex::encode(Sha256::digest(&event.id))
}

#[cfg(test)]
mod tests {
    use lazaret_testkit::sinks::event;

    use super::*;

    #[test]
    fn a_long_or_strange_id_is_hashed() {
        let mut event = event(1, 1);
        assert_eq!(deduplication_id(&event), event.id);
        for strange in [String::new(), "a b".to_owned(), "\u{e9}".to_owned(), "x".repeat(129)] {
            event.id = strange;
            assert_eq!(deduplication_id(&event).len(), 64);
        }
    }

    #[test]
    fn fifo_is_an_ending() {
        assert!(is_fifo("arn:aws:sns:eu-west-1:1:verdicts.fifo"));
        assert!(!is_fifo("arn:aws:sns:eu-west-1:1:verdicts") && !is_fifo("fifo"));
    }
}
