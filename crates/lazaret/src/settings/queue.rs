//! `[queue]`: where object-created events come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Period;

/// The queue.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Which one.
    pub kind: QueueKind,
    /// For `kind = "sqs"`.
    pub sqs: Option<Sqs>,
}

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueueKind {
    /// Amazon SQS, or a server that speaks its protocol.
    Sqs,
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
