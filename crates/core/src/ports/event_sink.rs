use async_trait::async_trait;
use serde::Serialize;
use thiserror::Error;

use crate::{Timestamp, UploadId, error::Cause};

/// A verdict told to the world: a CloudEvent 1.0, which serialises in structured mode
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerdictEvent {
    /// Always `1.0`.
    pub specversion: &'static str,
    /// The same for every delivery of this event, and for no other.
    pub id: String,
    /// Who tells: a URI reference.
    pub source: String,
    /// `lazaret.upload.published`, `.rejected`, `.held`, `.expired` or `.revoked`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The upload it is about. Events of one upload are told in their order.
    pub subject: UploadId,
    /// When the state was committed.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: &'static str,
    /// Ids, reason, digests, type, size, scanners.
    pub data: serde_json::Value,
}

/// Where verdict events go. At least once: whoever receives them drops an `id` seen before.
#[async_trait]
pub trait EventSink: Send + Sync {
    /// Delivers one event. It was taken over durably when this returns.
    async fn deliver(&self, event: &VerdictEvent) -> Result<(), SinkError>;
}

/// Why an event could not be delivered. Every one of them is tried again.
#[derive(Debug, Error)]
pub enum SinkError {
    /// It is out of reach, or refuses everybody for now.
    #[error("event sink {sink} is unavailable")]
    Unavailable {
        /// Its name or URL, without credentials.
        sink: String,
        /// What the client library said.
        #[source]
        source: Cause,
    },
    /// It answered that this event, or everything from us, cannot be taken.
    #[error("event sink {sink} refused the event")]
    Refused {
        /// Its name or URL, without credentials.
        sink: String,
        /// What it said.
        #[source]
        source: Cause,
    },
}
