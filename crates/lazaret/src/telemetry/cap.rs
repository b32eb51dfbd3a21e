//! How much each target may log, whatever the filter of the operator says.
//!
//! Client libraries log signatures, credentials and pre-signed queries at their debug and trace levels. So only this
//! workspace's own targets log at every level.

use tracing::{Metadata, level_filters::LevelFilter};

/// Libraries that see credentials on their way.
const SEE_CREDENTIALS: [&str; 16] = [
    "aws_",
    "h2",
    "http",
    "hyper",
    "opentelemetry",
    "reqwest",
    "rustls",
    "s3s",
    "sqlx",
    "tonic",
    "tower",
    "tokio",
    "want",
    "mio",
    "clamav",
    "log",
];

/// Libraries whose every trouble is told by the crate that uses them: they log as errors what is none, such as a question
/// that the broker answers with no.
const TOLD_BY_OTHERS: [&str; 1] = ["lapin"];

/// The most verbose level that `target` may log at.
pub(super) fn cap(target: &str) -> LevelFilter {
    let krate = target.split("::").next().unwrap_or_default();
    if TOLD_BY_OTHERS.contains(&krate) {
        LevelFilter::OFF
    } else if krate == "lazaret" || krate.starts_with("lazaret_") {
        LevelFilter::TRACE
    } else if SEE_CREDENTIALS.iter().any(|prefix| krate.starts_with(prefix)) {
        LevelFilter::WARN
    } else {
        LevelFilter::INFO
    }
}

/// Whether a span or event stays below the cap of its target.
pub(super) fn allows(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= cap(metadata.target())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_crates_have_no_cap() {
        for target in ["lazaret", "lazaret::dev::store", "lazaret_core", "lazaret_pipeline::worker"] {
            assert_eq!(cap(target), LevelFilter::TRACE, "{target}");
        }
        for target in [
            "aws_sigv4::http_request::sign",
            "aws_smithy_runtime::client::orchestrator",
            "aws_sdk_s3",
            "aws_runtime::auth::sigv4",
            "hyper::proto::h1::io",
            "hyper_util::client::legacy",
            "h2::codec",
            "rustls::client::hs",
            "s3s::service",
            "reqwest::connect",
            "sqlx::query",
            "log",
        ] {
            assert_eq!(cap(target), LevelFilter::WARN, "{target}");
        }
        assert_eq!(cap("lapin::channel"), LevelFilter::OFF);
        for target in ["", "lazarettish", "a_library_of_tomorrow", "x::lazaret"] {
            assert_eq!(cap(target), LevelFilter::INFO, "{target}");
        }
    }
}
