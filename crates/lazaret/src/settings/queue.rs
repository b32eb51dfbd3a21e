//! `[queue]`: where object-created events come from.

use std::{num::NonZero, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Period, PrivateUrl, work::some_at_least_one};

/// The queue.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Which one.
    pub kind: QueueKind,
    /// For `kind = "sqs"`.
    pub sqs: Option<Sqs>,
    /// For `kind = "amqp"`.
    pub amqp: Option<Amqp>,
}

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueueKind {
    /// Amazon SQS, or a server that speaks its protocol.
    Sqs,
    /// RabbitMQ, or a server that speaks AMQP 0-9-1 and has quorum queues.
    Amqp,
    /// Inside the process of `lazaret dev`.
    Embedded,
}

/// An SQS queue.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sqs {
    /// The queue's URL.
    pub url: Url,
    /// Where SQS answers. Left out: where `url` points.
    pub endpoint: Option<Url>,
    /// Left out: the one in `url`, or `storage.region` where it holds none.
    pub region: Option<String>,
    /// How long one receive call waits for messages: at most 20 s.
    #[serde(default = "default_wait_time")]
    pub wait_time: Period,
    /// How long a message stays hidden from others without a sign of life from us.
    #[serde(default = "default_visibility_timeout")]
    pub visibility_timeout: Period,
    /// Where messages go that nobody understands. Left out: they are logged and removed.
    pub dead_letter_url: Option<Url>,
}

const fn default_wait_time() -> Period {
    Period::from_secs(20)
}

const fn default_visibility_timeout() -> Period {
    Period::from_secs(60)
}

/// A queue of RabbitMQ. `lazaret queue declare` makes it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Amqp {
    /// The broker: `amqp://user:password@host:5672/vhost`, or `amqps://…` for TLS.
    #[schemars(regex(pattern = "^amqps?://.+"))]
    pub url: PrivateUrl,
    /// The queue's name, of at most 200 bytes: those of its retry and dead-letter queues begin with it.
    pub queue: String,
    /// Messages that the broker hands out ahead of their acknowledgement. Left out: `worker.concurrency`.
    #[serde(default, deserialize_with = "some_at_least_one")]
    pub prefetch: Option<NonZero<u16>>,
    /// The exchange that dead letters go through. Left out: the name of the queue and `.dead-letters`.
    pub dead_letter_exchange: Option<String>,
    /// Certificates in PEM that the broker's must be signed by, besides those the system trusts.
    pub ca_certificate: Option<PathBuf>,
}
