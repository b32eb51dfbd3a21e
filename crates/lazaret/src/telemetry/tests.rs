use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use super::*;

/// Keeps what was written, redacted as the standard error stream is.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
    let kept = Kept::default();
    let writer = kept.clone();
    let layer = log_layer::<Registry, _>(format, filter, move || writer.clone(), false).unwrap();
    tracing::subscriber::with_default(Registry::default().with(layer), log);
    kept.text()
}

#[test]
fn no_filter_lifts_the_caps() {
    for filter in ["trace", "aws_sigv4=trace,hyper=trace,info", "[put]=trace,trace"] {
        for format in [LogFormat::Json, LogFormat::Pretty] {
            let text = logged(format, filter, || {
                tracing::trace!(target: "aws_sigv4::http_request::sign", "canonical request: secret-1");
                tracing::debug!(target: "aws_smithy_runtime::client", "secret-2");
                tracing::info!(target: "hyper_util::client", "secret-3");
                tracing::debug!(target: "some_other_crate", "secret-4");
                let span = tracing::debug_span!(target: "aws_sdk_s3::put", "put", token = "secret-5");
                let _entered = span.entered();
                tracing::warn!(target: "hyper::proto", "seen-1");
                tracing::error!(target: "lazaret_objects", "seen-2");
            });
            assert!(!text.contains("secret-"), "{filter}: {text}");
            assert!(text.contains("seen-1") && text.contains("seen-2"), "{filter}: {text}");
        }
    }
}

#[test]
fn our_own_crates_log_at_every_level_when_asked() {
    let text = logged(LogFormat::Json, "trace", || tracing::trace!(target: "lazaret_pipeline::worker", "seen"));
    assert!(text.contains("seen"));
    assert_eq!(logged(LogFormat::Json, "info", || tracing::debug!(target: "lazaret", "unseen")), "");
}

#[test]
fn a_line_of_json_holds_the_causes_and_the_fields_of_its_spans() {
    #[derive(Debug, thiserror::Error)]
    #[error("scan failed")]
    struct Failed(#[source] io::Error);

    let text = logged(LogFormat::Json, "info", || {
        let _delivery = tracing::info_span!("delivery", upload.id = "u-1", reason = tracing::field::Empty).entered();
        let _stage = tracing::info_span!("scan", attempt = 2).entered();
        let error = Failed(io::Error::other("refused"));
        tracing::warn!(error = &error as &dyn std::error::Error, "will retry");
    });
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (key, value) in [
        ("level", "WARN".into()),
        ("message", serde_json::Value::from("will retry")),
        ("error", "scan failed: refused".into()),
        ("upload.id", "u-1".into()),
        ("attempt", 2.into()),
        ("span", "delivery:scan".into()),
    ] {
        assert_eq!(line[key], value, "{key}: {line}");
    }
}

#[test]
fn a_filter_that_is_none_is_an_error_of_the_settings() {
    assert!(log_layer::<Registry, _>(LogFormat::Json, "lazaret=loud", io::stderr, false).is_err());
}
