//! `[telemetry]`: logs, metrics, traces.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// Logs, metrics, traces.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Where `/healthz`, `/readyz` and `/metrics` answer.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The form of the log on the standard error stream.
    pub log: LogFormat,
    /// An OTLP/HTTP collector that takes traces, for example `http://127.0.0.1:4318/v1/traces`.
    pub otlp_endpoint: Option<Url>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)), log: LogFormat::default(), otlp_endpoint: None }
    }
}

/// The form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Pretty,
}
