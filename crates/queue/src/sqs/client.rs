//! The SDK's client, set up for long polls and for a worker that can wait for longer than it.

use std::time::Duration;

use aws_config::{AppName, BehaviorVersion, ConfigLoader, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sqs::{
    Client,
    config::{Builder, Credentials},
};

use super::SqsSettings;

/// Requests are tried this often; what still fails is up to the worker, which can wait for longer.
const ATTEMPTS: u32 = 3;

const BACKOFF: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much longer than its long poll a request may take.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) async fn client(settings: &SqsSettings) -> Client {
    let config = match &settings.credentials {
        Some((id, secret)) => Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(id, secret, None, None, "lazaret settings")),
        None => Builder::from(&chain(settings.region().map(Region::new)).load().await),
    };
    Client::from_conf(configured(config, settings).build())
}

/// What every client has, wherever its credentials come from.
pub(super) fn configured(mut config: Builder, settings: &SqsSettings) -> Builder {
    config.set_app_name(AppName::new("lazaret").ok());
    if let Some(region) = settings.region() {
        config.set_region(Some(Region::new(region)));
    }
    if let Some(endpoint) = settings.endpoint() {
        config.set_endpoint_url(Some(endpoint));
    }
    let longest = settings.wait() + READ_TIMEOUT;
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(longest);
    config
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF))
        .timeout_config(timeouts.operation_attempt_timeout(longest).build())
}

/// The AWS SDK's default chain. Told the region, it does not ask the instance for one.
fn chain(region: Option<Region>) -> ConfigLoader {
    let chain = aws_config::defaults(BehaviorVersion::latest());
    match region {
        Some(region) => chain.region(region),
        None => chain,
    }
}
