//! The sink port on Amazon SQS.

use std::fmt;

use async_trait::async_trait;
use aws_sdk_sqs::{Client, types::MessageAttributeValue};
use lazaret_core::ports::{EventSink, SinkError, VerdictEvent};

use crate::{MEDIA_TYPE, aws, body, failure};

/// A queue that takes verdict events.
#[derive(Clone)]
pub struct SqsSinkSettings {
    /// The queue's URL. One that ends in `.fifo` keeps the order of each upload's events.
    pub url: String,
    /// Where requests go. None: where `url` points.
    pub endpoint: Option<String>,
    /// The region that requests are signed for. None: the one in the host name of `url`, then the one of the AWS
    /// SDK's default chain.
    pub region: Option<String>,
    /// Access key id and secret access key. None: the default chain of the AWS SDK.
    pub credentials: Option<(String, String)>,
}

impl fmt::Debug for SqsSinkSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsSinkSettings")
            .field("url", &shown(&self.url))
            .field("endpoint", &self.endpoint.as_deref().map(shown))
            .field("region", &self.region)
            .field("credentials", &self.credentials.as_ref().map(|(id, _)| (id, "…")))
            .finish()
    }
}

/// Puts each event on a queue, with the message attributes `content-type`, `type` and `subject`.
///
/// On a FIFO queue, the events of an upload are a group, and a redelivery within five minutes is dropped.
pub struct SqsSink {
    client: Client,
    url: String,
    fifo: bool,
}

impl SqsSink {
    /// A client of the queue. Nothing is asked of it yet.
    pub async fn connect(settings: SqsSinkSettings) -> Self {
        let SqsSinkSettings { url, endpoint, region, credentials } = settings;
        let endpoint = endpoint.or_else(|| origin(&url));
        let config = aws::config(endpoint, region.or_else(|| region_in(&url)), credentials.as_ref()).await;
        Self { client: Client::new(&config), fifo: aws::is_fifo(&url), url }
    }
}

#[async_trait]
impl EventSink for SqsSink {
    async fn deliver(&self, event: &VerdictEvent) -> Result<(), SinkError> {
        let sink = shown(&self.url);
        let subject = event.subject.to_string();
        let mut request = self.client.send_message().queue_url(&self.url).message_body(body(&sink, event)?);
        for (name, value) in
            [(aws::CONTENT_TYPE, MEDIA_TYPE), (aws::TYPE, event.kind.as_str()), (aws::SUBJECT, subject.as_str())]
        {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            request =
                request.message_attributes(name, value.map_err(|error| failure::refused(&sink, &error.to_string()))?);
        }
        if self.fifo {
            request = request.message_group_id(subject).message_deduplication_id(aws::deduplication_id(event));
        }
        request.send().await.map(drop).map_err(|error| failure::of_sdk(&sink, &error))
    }
}

impl fmt::Debug for SqsSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsSink").field("url", &shown(&self.url)).finish_non_exhaustive()
    }
}

/// The URL of a queue without what may be secret in it.
fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "…".to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or_default())
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    Some(format!("{scheme}://{}", rest.split('/').next()?))
}

/// The region in `https://sqs.{region}.amazonaws.com/…`.
fn region_in(url: &str) -> Option<String> {
    let host = url.split_once("://")?.1.split('/').next()?;
    Some(host.strip_prefix("sqs.")?.split_once(".amazonaws.com")?.0.to_owned())
}

#[cfg(test)]
mod tests;
