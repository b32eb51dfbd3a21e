//! Logs, metrics, traces.
//!
//! Nothing secret is logged, in three layers: targets that see credentials are capped whatever the filter says
//! (`cap`), what looks like a credential is masked as it is written ([`Redactor`]), and so is every secret of the
//! settings.

mod cap;
mod health;
mod json;
pub mod metrics;
mod redact;
#[cfg(test)]
mod tests;
mod trace;

use std::{env, error::Error, io::IsTerminal};

use anyhow::{Context as _, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, FilterFn},
    fmt::{self, MakeWriter, format::JsonFields},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};
use url::Url;

pub use health::{Probe, Readiness, Report, Telemetry, serve};
pub use redact::Redactor;
pub use trace::set_parent;

use crate::settings::{LogFormat, Settings, SettingsError};

/// Variables that may hold a filter, the first that is set wins.
const FILTER_VARIABLES: [&str; 2] = ["LAZARET_LOG", "RUST_LOG"];

/// Logs of this process.
#[derive(Debug)]
pub struct LogSetup<'a> {
    /// Their form.
    pub format: LogFormat,
    /// What is logged where the environment names no filter.
    pub default_filter: &'a str,
    /// Where traces go.
    pub otlp_endpoint: Option<&'a Url>,
    /// What no log may hold.
    pub redactor: Redactor,
}

impl<'a> LogSetup<'a> {
    /// A service: everything worth knowing, as the settings say.
    pub fn service(settings: &'a Settings) -> Self {
        Self {
            format: settings.telemetry.log,
            default_filter: "info",
            otlp_endpoint: settings.telemetry.otlp_endpoint.as_ref(),
            redactor: redactor(settings),
        }
    }

    /// One command of a person: warnings only.
    pub fn command(settings: &Settings) -> Self {
        Self { format: LogFormat::Pretty, default_filter: "warn", otlp_endpoint: None, redactor: redactor(settings) }
    }
}

/// Masks what the settings keep secret.
pub fn redactor(settings: &Settings) -> Redactor {
    Redactor::new(settings.secrets())
}

/// Ends the export of traces when it is dropped: what is left goes out first.
#[derive(Debug)]
#[must_use = "traces end with it"]
pub struct Logging(Option<SdkTracerProvider>);

impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take()
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(error = &error as &dyn Error, "the last traces were not exported");
        }
    }
}

/// Begins logging. Once in a process.
pub fn init(setup: &LogSetup<'_>) -> Result<Logging> {
    let filter = filter_text(setup.default_filter);
    let provider = setup.otlp_endpoint.map(trace::provider).transpose()?;
    let traces = match &provider {
        Some(provider) => {
            let tracer = provider.tracer("lazaret");
            Some(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(capped(&filter)?))
        }
        None => None,
    };
    let writer = redact::RedactedStderr(setup.redactor.clone());
    Registry::default()
        .with(traces)
        .with(log_layer(setup.format, &filter, writer, std::io::stderr().is_terminal())?)
        .try_init()
        .context("logging has begun already")?;
    Ok(Logging(provider))
}

fn filter_text(default: &str) -> String {
    let set = FILTER_VARIABLES.iter().filter_map(|name| env::var(name).ok()).find(|text| !text.trim().is_empty());
    set.unwrap_or_else(|| default.to_owned())
}

fn capped<S: Subscriber>(filter: &str) -> Result<impl tracing_subscriber::layer::Filter<S> + use<S>, SettingsError> {
    let wanted = EnvFilter::try_new(filter).map_err(|error| SettingsError::Rule {
        key: FILTER_VARIABLES.join(" or "),
        message: format!("{filter:?} is no filter of logs: {error}; \"info\" or \"lazaret=debug\" are"),
    })?;
    Ok(wanted.and(FilterFn::new(cap::allows)))
}

fn log_layer<S, W>(
    format: LogFormat,
    filter: &str,
    writer: W,
    colour: bool,
) -> Result<Box<dyn Layer<S> + Send + Sync>, SettingsError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer);
    Ok(match format {
        LogFormat::Json => layer
            .fmt_fields(JsonFields::new())
            .event_format(json::JsonLine)
            .with_ansi(false)
            .with_filter(capped(filter)?)
            .boxed(),
        LogFormat::Pretty => layer.compact().with_ansi(colour).with_filter(capped(filter)?).boxed(),
    })
}
