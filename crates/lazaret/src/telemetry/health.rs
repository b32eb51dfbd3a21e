//! `/healthz`, `/readyz` and `/metrics`.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::future::join_all;
use lazaret_core::error::chain;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::{
    net::TcpListener,
    sync::Mutex,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long one dependency may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer holds: a probe is no load test.
const CACHED_FOR: Duration = Duration::from_secs(5);

/// The answer of what works.
const OK: &str = "ok";

type Asking = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// One thing that must work before work is taken.
pub struct Probe {
    name: String,
    ask: Box<dyn Fn() -> Asking + Send + Sync>,
}

impl Probe {
    /// A probe under the name that `/readyz` shows.
    pub fn new<F, E>(name: impl Into<String>, ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        let ask = move || -> Asking {
            let asking = ask();
            Box::pin(async move { asking.await.map_err(|error| chain(&error)) })
        };
        Self { name: name.into(), ask: Box::new(ask) }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Probe").field(&self.name).finish()
    }
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether everything works.
    pub ready: bool,
    /// `ok`, or what is wrong, by name.
    pub checks: BTreeMap<String, String>,
}

/// Everything that must work before work is taken.
#[derive(Debug)]
pub struct Readiness {
    stage: RwLock<Stage>,
    last: Mutex<Option<(Instant, Report)>>,
}

/// How far this process is.
#[derive(Clone)]
enum Stage {
    /// It waits for this before it can begin.
    Starting(String),
    /// It works, as long as these answer and it is not paused.
    Working { probes: Arc<[Probe]>, is_paused: Arc<dyn Fn() -> bool + Send + Sync> },
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting(what) => f.debug_tuple("Starting").field(what).finish(),
            Self::Working { probes, .. } => f.debug_tuple("Working").field(probes).finish(),
        }
    }
}

impl Readiness {
    /// Not ready before [`Readiness::begin`].
    pub fn starting() -> Self {
        Self { stage: RwLock::new(Stage::Starting("starting".to_owned())), last: Mutex::new(None) }
    }

    /// What is waited for, as `/readyz` shows it.
    pub fn wait_for(&self, what: impl Into<String>) {
        self.set(Stage::Starting(what.into()));
    }

    /// Asks these from now on. While `is_paused` nothing is consumed, whatever they answer.
    pub fn begin(&self, probes: Vec<Probe>, is_paused: impl Fn() -> bool + Send + Sync + 'static) {
        self.set(Stage::Working { probes: probes.into(), is_paused: Arc::new(is_paused) });
    }

    /// A stage is whole or was never set, so a poisoned lock means nothing.
    fn set(&self, stage: Stage) {
        *self.stage.write().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// Asks all at once, unless they answered a moment ago. Whether consumption pauses is known at once.
    pub async fn report(&self) -> Report {
        let stage = self.stage.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (probes, is_paused) = match stage {
            Stage::Starting(what) => {
                return Report { ready: false, checks: BTreeMap::from([("start".to_owned(), what)]) };
            }
            Stage::Working { probes, is_paused } => (probes, is_paused),
        };
        let mut report = self.probed(&probes).await;
        let consuming = if is_paused() { "paused until every dependency answers" } else { OK };
        report.checks.insert("consumption".to_owned(), consuming.to_owned());
        report.ready &= consuming == OK;
        report
    }

    async fn probed(&self, probes: &[Probe]) -> Report {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = &*last
            && at.elapsed() < CACHED_FOR
        {
            return report.clone();
        }
        let asked = probes.iter().map(|probe| async {
            let answer = match timeout(PROBE_TIMEOUT, (probe.ask)()).await {
                Ok(Ok(())) => OK.to_owned(),
                Ok(Err(error)) => error,
                Err(_) => format!("no answer within {} s", PROBE_TIMEOUT.as_secs()),
            };
            (probe.name.clone(), answer)
        });
        let checks: BTreeMap<_, _> = join_all(asked).await.into_iter().collect();
        let report = Report { ready: checks.values().all(|answer| answer == OK), checks };
        *last = Some((Instant::now(), report.clone()));
        report
    }
}

/// What the server answers from.
#[derive(Clone)]
pub struct Telemetry {
    /// What `/readyz` asks.
    pub readiness: Arc<Readiness>,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

/// Serves until `stop` is cancelled.
pub async fn serve(listener: TcpListener, telemetry: Telemetry, stop: CancellationToken) -> Result<()> {
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(telemetry);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await.context("the telemetry server")
}

async fn readyz(State(telemetry): State<Telemetry>) -> Response {
    let report = telemetry.readiness.report().await;
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&report) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn metrics(State(telemetry): State<Telemetry>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], telemetry.metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;

    fn working(probes: Vec<Probe>) -> Readiness {
        let readiness = Readiness::starting();
        readiness.begin(probes, || false);
        readiness
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_ready_is_named() {
        let readiness = working(vec![
            Probe::new("store", || async { Ok::<_, io::Error>(()) }),
            Probe::new("queue", || async { Err(io::Error::other("refused")) }),
            Probe::new("database", std::future::pending::<io::Result<()>>),
        ]);
        let report = readiness.report().await;
        assert!(!report.ready);
        assert_eq!(
            serde_json::to_value(&report.checks).unwrap(),
            serde_json::json!({
                "store": "ok", "queue": "refused", "database": "no answer within 5 s", "consumption": "ok"
            })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_for_a_moment_only() {
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        let readiness = working(vec![Probe::new("store", move || {
            counter.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, io::Error>(()) }
        })]);
        assert!(readiness.report().await.ready);
        assert!(readiness.report().await.ready);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(CACHED_FOR).await;
        assert!(readiness.report().await.ready);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_ready_before_the_start_and_while_consumption_pauses() {
        let readiness = Readiness::starting();
        readiness.wait_for("the database is down");
        let report = readiness.report().await;
        assert_eq!((report.ready, report.checks["start"].as_str()), (false, "the database is down"));
        let paused = Arc::new(AtomicU32::new(0));
        let read = Arc::clone(&paused);
        readiness.begin(Vec::new(), move || read.load(Ordering::Relaxed) > 0);
        assert!(readiness.report().await.ready);
        paused.store(1, Ordering::Relaxed);
        let report = readiness.report().await;
        assert!(!report.ready && report.checks["consumption"].starts_with("paused"), "{report:?}");
    }
}
