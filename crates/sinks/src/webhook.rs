//! The sink port on a URL of whoever wants to know, signed as Standard Webhooks says
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

mod signature;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use lazaret_core::{
    Timestamp,
    error::chain,
    ports::{EventSink, SinkError, VerdictEvent},
};
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
    redirect::Policy,
};
use thiserror::Error;
use url::Url;

use crate::{MEDIA_TYPE, body, failure};

use signature::Keys;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of a refusal is read, and how much of that is told.
const MAX_ANSWER_BYTES: usize = 4 * 1024;
const MAX_TOLD_CHARS: usize = 160;

/// Parts of a URL that are as long as this may be a secret.
const MIN_SECRET_CHARS: usize = 6;

/// Where verdict events are posted to.
#[derive(Clone)]
pub struct WebhookSettings {
    /// An `http` or `https` URL. A user and a password in it are sent by basic authentication.
    pub url: Url,
    /// What requests are signed with: base64 of 24 to 64 random bytes, with or without `whsec_` in front. Several with a
    /// space between sign each request several times, so that a receiver can change over from one to the next.
    pub secret: String,
    /// How long one request may take.
    pub timeout: Duration,
    /// What time it is: the time of an attempt is part of what is signed.
    pub clock: fn() -> Timestamp,
}

impl fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSettings")
            .field("url", &shown(&self.url))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why a webhook cannot be used.
#[derive(Debug, Error)]
pub enum WebhookError {
    /// Only web servers take webhooks.
    #[error("the webhook's URL begins with {0}:, and http or https is expected")]
    Scheme(String),
    /// Not a key, or one that is too weak.
    #[error(
        "the webhook's secret is no key: base64 of 24 to 64 random bytes is expected, such as `openssl rand -base64 32` \
         prints, with or without \"whsec_\" in front"
    )]
    Secret,
    /// The client library found no way to make requests.
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
}

/// Posts each event to a URL. Redirects are not followed: a verdict goes where the settings say, and nowhere else.
///
/// The path and the query of the URL often hold a secret, so that errors and logs name its origin only.
pub struct WebhookSink {
    client: Client,
    url: Url,
    shown: String,
    keys: Keys,
    clock: fn() -> Timestamp,
}

impl WebhookSink {
    /// A client of the URL. Nothing is asked of it yet.
    pub fn new(settings: WebhookSettings) -> Result<Self, WebhookError> {
        let WebhookSettings { url, secret, timeout, clock } = settings;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(WebhookError::Scheme(url.scheme().to_owned()));
        }
        let client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            .user_agent(concat!("lazaret/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(WebhookError::Client)?;
        let keys = Keys::parse(&secret).ok_or(WebhookError::Secret)?;
        Ok(Self { client, shown: shown(&url), url, keys, clock })
    }

    fn unavailable(&self, what: &str) -> SinkError {
        failure::unavailable(&self.shown, what)
    }

    /// What a status other than success means
    /// (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#delivery-success-and-failure>).
    fn failed(&self, answer: &Response, told: &str) -> SinkError {
        let status = answer.status();
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let mut said = format!("HTTP {status}");
        if let Some(after) = header(RETRY_AFTER) {
            said.extend([", retry after ", after]);
        }
        if status.is_redirection() {
            said.push_str(", and redirects are not followed");
            let there = header(LOCATION).and_then(|there| self.url.join(there).ok());
            said.extend(there.map(|there| format!(": it points to {}", shown(&there))));
        } else if !told.is_empty() {
            said.extend([": ", told]);
        }
        let passing = status.is_server_error()
            || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
        if passing { self.unavailable(&said) } else { failure::refused(&self.shown, &said) }
    }

    /// The beginning of an answer, without what of our own URL it may repeat.
    fn told(&self, answer: &[u8]) -> String {
        let text = String::from_utf8_lossy(answer).split_whitespace().collect::<Vec<_>>().join(" ");
        let url = &self.url;
        let parts = url.path().split('/').chain(url.query().unwrap_or_default().split(['&', '=']));
        let parts = parts.chain([url.username()]).chain(url.password());
        let secrets = parts.filter(|part| part.len() >= MIN_SECRET_CHARS);
        let text = secrets.fold(text, |text, secret| text.replace(secret, "…"));
        text.chars().take(MAX_TOLD_CHARS).collect()
    }
}

#[async_trait]
impl EventSink for WebhookSink {
    async fn deliver(&self, event: &VerdictEvent) -> Result<(), SinkError> {
        let body = body(&self.shown, event)?;
        let timestamp = (self.clock)().as_second().to_string();
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .header("webhook-signature", self.keys.sign(&event.id, &timestamp, &body))
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", timestamp)
            .body(body);
        let answer = request.send().await.map_err(|error| {
            let (is_ours, said) = (error.is_builder(), chain(&error.without_url()));
            if is_ours { failure::refused(&self.shown, &said) } else { self.unavailable(&said) }
        })?;
        if answer.status().is_success() {
            return Ok(());
        }
        let (answer, told) = read(answer).await;
        Err(self.failed(&answer, &self.told(&told)))
    }
}

impl fmt::Debug for WebhookSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSink").field("url", &self.shown).finish_non_exhaustive()
    }
}

/// The beginning of an answer's body: as much of it as came.
async fn read(mut answer: Response) -> (Response, Vec<u8>) {
    let mut read = Vec::new();
    while read.len() < MAX_ANSWER_BYTES
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        read.extend_from_slice(&chunk);
    }
    read.truncate(MAX_ANSWER_BYTES);
    (answer, read)
}

/// The origin of a URL: neither its user nor its path nor its query.
fn shown(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}/…", url.scheme(), url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests;
