//! The sink port on Amazon SNS.

use std::fmt;

use async_trait::async_trait;
use aws_sdk_sns::{Client, types::MessageAttributeValue};
use lazaret_core::ports::{EventSink, SinkError, VerdictEvent};

use crate::{MEDIA_TYPE, aws, body, failure};

/// A topic that takes verdict events.
#[derive(Clone)]
pub struct SnsSinkSettings {
    /// The topic's ARN. One that ends in `.fifo` keeps the order of each upload's events.
    pub topic_arn: String,
    /// Where requests go. None: AWS.
    pub endpoint: Option<String>,
    /// The region that requests are signed for. None: the one in `topic_arn`.
    pub region: Option<String>,
    /// Access key id and secret access key. None: the default chain of the AWS SDK.
    pub credentials: Option<(String, String)>,
}

impl fmt::Debug for SnsSinkSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnsSinkSettings")
            .field("topic_arn", &self.topic_arn)
            .field("endpoint", &self.endpoint.as_ref().map(|_| "…"))
            .field("region", &self.region)
            .field("credentials", &self.credentials.as_ref().map(|(id, _)| (id, "…")))
            .finish()
    }
}

/// Publishes each event on a topic, with the message attributes `content-type`, `type` and `subject`, by which
/// subscriptions can filter (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-filtering.html>).
///
/// On a FIFO topic, the events of an upload are a group, and a redelivery within five minutes is dropped.
pub struct SnsSink {
    client: Client,
    topic_arn: String,
    fifo: bool,
}

impl SnsSink {
    /// A client of the topic. Nothing is asked of it yet.
    pub async fn connect(settings: SnsSinkSettings) -> Self {
        let SnsSinkSettings { topic_arn, endpoint, region, credentials } = settings;
        let config = aws::config(endpoint, region.or_else(|| region_in(&topic_arn)), credentials.as_ref()).await;
        Self { client: Client::new(&config), fifo: aws::is_fifo(&topic_arn), topic_arn }
    }
}

#[async_trait]
impl EventSink for SnsSink {
    async fn deliver(&self, event: &VerdictEvent) -> Result<(), SinkError> {
        let sink = &self.topic_arn;
        let subject = event.subject.to_string();
        let mut request = self.client.publish().topic_arn(sink).message(body(sink, event)?);
        for (name, value) in
            [(aws::CONTENT_TYPE, MEDIA_TYPE), (aws::TYPE, event.kind.as_str()), (aws::SUBJECT, subject.as_str())]
        {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            request =
                request.message_attributes(name, value.map_err(|error| failure::refused(sink, &error.to_string()))?);
        }
        if self.fifo {
            request = request.message_group_id(subject).message_deduplication_id(aws::deduplication_id(event));
        }
        request.send().await.map(drop).map_err(|error| failure::of_sdk(sink, &error))
    }
}

impl fmt::Debug for SnsSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnsSink").field("topic_arn", &self.topic_arn).finish_non_exhaustive()
    }
}

/// The region in `arn:aws:sns:{region}:{account}:{name}`.
fn region_in(topic_arn: &str) -> Option<String> {
    topic_arn.split(':').nth(3).filter(|region| !region.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests;
