//! What runs until it is told to stop: worker, sweeper, telemetry.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use lazaret_core::{
    ScannerName, Timestamp,
    ports::{QueueError, StoreError, TransformError},
};
use lazaret_pipeline::{Bus, Station, Sweeper, Verdicts, Worker, WorkerSettings};
use metrics_exporter_prometheus::PrometheusHandle;
use thiserror::Error;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    failure,
    settings::Settings,
    telemetry::{self, Probe, Readiness, Telemetry},
    wiring::{Wired, WiredScanner},
};

/// How often gauges are read and histograms tidied.
const UPKEEP: Duration = Duration::from_secs(5);
/// Every how many times of these the scanners are asked for the age of their signatures.
const SIGNATURES_EVERY: u32 = 12;

/// Everything that a worker is made of.
pub struct Service {
    /// The station, its store and its spool.
    pub wired: Wired,
    /// The queue.
    pub bus: Bus,
    /// Where verdicts are told, if anywhere.
    pub verdicts: Option<Verdicts>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("wired", &self.wired).finish_non_exhaustive()
    }
}

/// `/healthz`, `/readyz` and `/metrics`, from the beginning of a process until its last delivery is done.
#[derive(Debug)]
pub struct Listening {
    /// What `/readyz` answers.
    pub readiness: Arc<Readiness>,
    address: SocketAddr,
    metrics: PrometheusHandle,
    done: CancellationToken,
    /// Aborted when it is dropped.
    server: JoinSet<Result<()>>,
}

impl Listening {
    /// Answers from now on; nothing is ready yet.
    pub fn begin(listener: TcpListener, metrics: PrometheusHandle) -> Result<Self> {
        let (readiness, done, address) =
            (Arc::new(Readiness::starting()), CancellationToken::new(), listener.local_addr()?);
        let telemetry = Telemetry { readiness: Arc::clone(&readiness), metrics: metrics.clone() };
        let mut server = JoinSet::new();
        server.spawn(telemetry::serve(listener, telemetry, done.clone()));
        Ok(Self { readiness, address, metrics, done, server })
    }
}

/// Takes the port of `/healthz`, `/readyz` and `/metrics`.
pub async fn bind_telemetry(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = if failure::is_taken(&error) { "it is taken" } else { "it cannot be bound" };
        anyhow!("telemetry.listen = {address}: {advice} ({error}); choose another address")
    })
}

/// Begins to record metrics. Once in a process.
pub fn install_metrics(settings: &Settings) -> Result<PrometheusHandle> {
    let names: Vec<ScannerName> = settings.scanners.iter().map(|scanner| scanner.name.clone()).collect();
    telemetry::metrics::install(&names)
}

/// Lets a write past the limit on the size of files (`RLIMIT_FSIZE`) fail like a full disk instead of ending the
/// process: a handler that does nothing is in place from here on.
pub fn survive_file_size_limit() -> Result<()> {
    let exceeded = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(exceeded).map(drop).context("SIGXFSZ cannot be caught")
}

/// Cancelled by SIGTERM or SIGINT.
pub fn termination() -> Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    // The runtime ends it; nobody waits for a signal that never comes.
    #[expect(clippy::disallowed_methods, reason = "it owns nothing and outlives nothing but the wait for a signal")]
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}

impl Service {
    /// An error where store or queue refuse us or the jail is not whole: waiting would not help. What is merely down is
    /// waited for.
    pub async fn require_access(&self) -> Result<()> {
        let station = &self.wired.station;
        if let Err(error @ TransformError::Unconfined { .. }) = station.transformer.self_test().await {
            return Err(error.into());
        }
        for bucket in [&station.settings.bucket, &station.settings.published_bucket] {
            if let Err(error @ StoreError::Refused { .. }) = station.store.check(bucket).await {
                return Err(error.into());
            }
        }
        if let Err(error @ QueueError::Refused { .. }) = self.bus.queue.check().await {
            return Err(error.into());
        }
        for slot in &station.scanners {
            if let Err(error) = slot.scanner.check().await {
                let advice = failure::advice_for(&error).unwrap_or_default();
                warn!(error = &error as &dyn std::error::Error, advice, "a scanner does not answer, waiting for it");
            }
        }
        Ok(())
    }

    /// Works until `stop`, drains, and ends everything it began.
    pub async fn run(self, settings: &Settings, listening: Listening, stop: CancellationToken) -> Result<()> {
        let Self { wired, bus, verdicts } = self;
        let Listening { readiness, address, metrics, done, server: mut aside } = listening;
        let station = Arc::clone(&wired.station);
        info!(worker = %station.settings.worker_id, telemetry = %address, "worker begins");
        let worker_settings = WorkerSettings {
            concurrency: settings.worker.concurrency(),
            drain_timeout: settings.worker.drain_timeout.get(),
        };
        let probes = probes(&station, &wired.scanners, &bus);
        let mut worker = Worker::new(Arc::clone(&station), bus, worker_settings);
        if let Some(verdicts) = verdicts {
            worker = worker.with_verdicts(verdicts);
        }
        let availability = worker.availability();
        readiness.begin(probes, move || availability.is_paused());
        aside.spawn(upkeep(wired, metrics, done.clone()));
        let sweeper = Sweeper::new(station, settings.sweeper.grace.get());
        aside.spawn(sweep(sweeper, settings.sweeper.interval.get(), stop.clone()));
        worker.run(stop).await;
        // Telemetry answers until the last delivery is done.
        done.cancel();
        while let Some(ended) = aside.join_next().await {
            ended.context("a task broke off")??;
        }
        info!("worker ended");
        Ok(())
    }
}

/// Rules that are in force although they are no longer those in their folder.
#[derive(Debug, Error)]
#[error("{0}; the rules before are in force")]
struct OldRules(String);

fn probes(station: &Arc<Station>, scanners: &[WiredScanner], bus: &Bus) -> Vec<Probe> {
    let mut probes = Vec::new();
    let queue = Arc::clone(&bus.queue);
    probes.push(Probe::new("queue", move || {
        let queue = Arc::clone(&queue);
        async move { queue.check().await }
    }));
    let asked = Arc::clone(station);
    probes.push(Probe::new("sessions", move || {
        let station = Arc::clone(&asked);
        async move { station.sessions.check().await }
    }));
    let asked = Arc::clone(station);
    probes.push(Probe::new("store", move || {
        let station = Arc::clone(&asked);
        async move {
            station.store.check(&station.settings.bucket).await?;
            station.store.check(&station.settings.published_bucket).await
        }
    }));
    for slot in &station.scanners {
        let scanner = Arc::clone(&slot.scanner);
        probes.push(Probe::new(format!("scanner {}", scanner.name()), move || {
            let scanner = Arc::clone(&scanner);
            async move { scanner.check().await.map(drop) }
        }));
    }
    for scanner in scanners {
        let (name, broken) = (format!("rules of {}", scanner.slot.scanner.name()), Arc::clone(&scanner.broken));
        probes.push(Probe::new(name, move || {
            let told = broken();
            async move { told.map_or(Ok(()), |why| Err(OldRules(why))) }
        }));
    }
    let asked = Arc::clone(station);
    probes.push(Probe::new("sandbox", move || {
        let station = Arc::clone(&asked);
        async move { station.transformer.self_test().await }
    }));
    probes
}

/// Gauges are read, and the recorder forgets what it need not keep.
async fn upkeep(wired: Wired, metrics: PrometheusHandle, stop: CancellationToken) -> Result<()> {
    let mut ticks = interval(UPKEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        metrics.run_upkeep();
        #[expect(clippy::cast_precision_loss, reason = "a gauge of bytes need not be exact past 2^53")]
        metrics::gauge!(telemetry::metrics::SPOOL_BYTES).set(wired.spool.used_bytes() as f64);
        if count % SIGNATURES_EVERY == 0 {
            stop.run_until_cancelled(signature_ages(&wired.station)).await;
            engines(&wired.scanners);
        }
        count += 1;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the age of signatures for a gauge, which decides nothing")]
async fn signature_ages(station: &Station) {
    for slot in &station.scanners {
        // A scanner that does not answer is the worker's to report.
        if let Ok(engine) = slot.scanner.check().await {
            let age_of = |made_at| Timestamp::now().duration_since(made_at).as_secs_f64();
            // Not every engine dates its signatures.
            let age = engine.signatures_at.map_or(telemetry::metrics::UNKNOWN, age_of);
            metrics::gauge!(telemetry::metrics::SIGNATURE_AGE, "scanner" => slot.scanner.name().to_string()).set(age);
        }
    }
}

/// What the engines were last seen to miss.
fn engines(scanners: &[WiredScanner]) {
    for scanner in scanners {
        let name = scanner.slot.scanner.name().to_string();
        let broken = f64::from(u8::from((scanner.broken)().is_some()));
        metrics::gauge!(telemetry::metrics::RULES_BROKEN, "scanner" => name.clone()).set(broken);
        let measured: Option<Vec<_>> = scanner
            .engines
            .iter()
            .map(|(_, engine)| Some((engine.coverage()?.marker?, engine.misses().len()).1))
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let misses = measured.map_or(telemetry::metrics::UNKNOWN, |misses| misses.into_iter().sum::<usize>() as f64);
        metrics::gauge!(telemetry::metrics::CANARIES_MISSED, "scanner" => name).set(misses);
    }
}

async fn sweep(sweeper: Sweeper, every: Duration, stop: CancellationToken) -> Result<()> {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match stop.run_until_cancelled(sweeper.sweep(false)).await {
            Some(Err(error)) => {
                warn!(error = &error as &dyn std::error::Error, "the sweep ended early, will sweep again");
            }
            Some(Ok(report)) if !report.swept.is_empty() => info!(swept = report.swept.len(), "swept"),
            Some(Ok(_)) | None => {}
        }
    }
    Ok(())
}
