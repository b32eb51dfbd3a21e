//! `[events]`: where verdicts are told.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Period, PrivateUrl, Secret};

/// Where verdict events go, as CloudEvents 1.0: at least once, and in their order for each upload.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// Which bus.
    pub kind: EventsKind,
    /// Who tells: the `source` of every event, a URI reference.
    #[schemars(length(min = 1))]
    pub source: String,
    /// For `kind = "sqs"`.
    pub sqs: Option<SqsEvents>,
    /// For `kind = "sns"`.
    pub sns: Option<SnsEvents>,
    /// For `kind = "amqp"`.
    pub amqp: Option<AmqpEvents>,
    /// For `kind = "webhook"`.
    pub webhook: Option<WebhookEvents>,
}

impl Default for Events {
    fn default() -> Self {
        Self { kind: EventsKind::None, source: "lazaret".to_owned(), sqs: None, sns: None, amqp: None, webhook: None }
    }
}

/// Which bus verdict events go to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventsKind {
    /// Nobody is told.
    #[default]
    None,
    /// A queue of Amazon SQS.
    Sqs,
    /// A topic of Amazon SNS.
    Sns,
    /// An exchange of RabbitMQ.
    Amqp,
    /// A POST to a URL, signed with an HMAC.
    Webhook,
}

/// A queue of Amazon SQS that takes verdict events.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqsEvents {
    /// The queue's URL. One that ends in `.fifo` keeps the order of each upload's events.
    pub url: Url,
    /// Where SQS answers. Left out: where `url` points.
    pub endpoint: Option<Url>,
    /// Left out: the one in `url`, or `storage.region` where it holds none.
    pub region: Option<String>,
}

/// A topic of Amazon SNS that takes verdict events.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnsEvents {
    /// The topic's ARN. One that ends in `.fifo` keeps the order of each upload's events.
    #[schemars(regex(pattern = "^arn:[^:]+:sns:[^:]*:[^:]*:.+"))]
    pub topic_arn: String,
    /// Where SNS answers. Left out: AWS.
    pub endpoint: Option<Url>,
    /// Left out: the one in `topic_arn`.
    pub region: Option<String>,
}

/// An exchange of RabbitMQ that takes verdict events.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AmqpEvents {
    /// The broker: `amqp://user:password@host:5672/vhost`, or `amqps://…` for TLS.
    #[schemars(regex(pattern = "^amqps?://.+"))]
    pub url: PrivateUrl,
    /// The exchange, which must be there. Empty: the default exchange, which hands on to the queue named `routing_key`.
    pub exchange: String,
    /// The routing key of every event.
    pub routing_key: String,
    /// Certificates in PEM that the broker's must be signed by, besides those the system trusts.
    pub ca_certificate: Option<PathBuf>,
}

/// A URL that takes verdict events.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookEvents {
    /// Where events are posted to.
    pub url: Url,
    /// What the HMAC of every request is made with, so that the receiver knows who sent it: base64 of 24 to 64 random
    /// bytes, such as `openssl rand -base64 32` prints.
    pub secret: Secret,
    /// How long one request may take.
    #[serde(default = "default_timeout")]
    pub timeout: Period,
}

const fn default_timeout() -> Period {
    Period::from_secs(10)
}
