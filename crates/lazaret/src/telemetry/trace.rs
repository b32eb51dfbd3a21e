//! Traces: their export over OTLP, and the parent that a message names.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use url::Url;

/// A provider that exports spans in batches, from a thread of its own.
pub(super) fn provider(endpoint: &Url) -> Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint.as_str())
        .build()
        .context("telemetry.otlp_endpoint cannot be used")?;
    let resource = Resource::builder().with_service_name("lazaret").build();
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

/// Gives `span` the parent that `traceparent` among the attributes names (W3C Trace Context). Attributes come from
/// outside: what is not well formed is no parent.
pub fn set_parent(span: &Span, attributes: &BTreeMap<String, String>) {
    if !attributes.contains_key("traceparent") {
        return;
    }
    let parent = TraceContextPropagator::new().extract(&Attributes(attributes));
    // Without an exporter there is no trace to be part of, which is no error.
    drop(span.set_parent(parent));
}

struct Attributes<'a>(&'a BTreeMap<String, String>);

impl Extractor for Attributes<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::TcpListener,
    };

    use opentelemetry::trace::{TraceContextExt, TracerProvider};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Takes one request and returns its head and body.
    fn collect_one(listener: &TcpListener) -> (String, Vec<u8>) {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "the head ends early: {head}");
        }
        let length = head.to_lowercase().split_once("content-length: ").unwrap().1.lines().next().unwrap().parse();
        let mut body = vec![0; length.unwrap()];
        reader.read_exact(&mut body).unwrap();
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        (head, body)
    }

    #[test]
    fn spans_reach_the_collector_before_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap()).parse().unwrap();
        let collector = std::thread::spawn(move || collect_one(&listener));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let provider = provider(&endpoint).unwrap();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            runtime.block_on(async { tracing::info_span!("delivery", upload.id = "u-1").in_scope(|| {}) });
        });
        provider.shutdown().unwrap();
        let (head, body) = collector.join().unwrap();
        assert!(head.starts_with("POST /v1/traces "), "{head}");
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("delivery") && text.contains("upload.id") && text.contains("lazaret"), "{text}");
    }

    #[test]
    fn a_message_names_the_trace_it_belongs_to() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
            let trace_of = |text: &str| {
                let span = tracing::info_span!("delivery");
                set_parent(&span, &BTreeMap::from([("traceparent".to_owned(), text.to_owned())]));
                span.context().span().span_context().trace_id().to_string()
            };
            assert_eq!(trace_of(parent), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_ne!(trace_of("00-nonsense"), "4bf92f3577b34da6a3ce929d0e0e4736");
        });
    }
}
