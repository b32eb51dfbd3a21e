//! `lazaret worker`: consume the queue until SIGTERM.

use anyhow::Result;

use crate::{
    service::{self, Listening, Service},
    settings::Settings,
    wiring::{self, Parts},
};

/// Runs until it is told to stop. What is merely down at the start is waited for, with telemetry answering; what refuses
/// us is an error.
pub(super) async fn run(settings: &Settings) -> Result<()> {
    let queue = wiring::queue(settings).await?;
    let verdicts = wiring::verdicts(settings).await?;
    let listener = service::bind_telemetry(settings.telemetry.listen).await?;
    let stop = service::termination()?;
    let listening = Listening::begin(listener, service::install_metrics(settings)?)?;
    wiring::require_transform(settings)?;
    let parts = Parts::prepare(settings).await?;
    let Some(sessions) = wiring::wait_for_sessions(settings, &listening.readiness, &stop).await? else { return Ok(()) };
    let service = Service { wired: parts.assemble(settings, sessions)?, bus: wiring::bus(queue), verdicts };
    listening.readiness.wait_for("asking store, queue and scanners");
    // A dependency that does not answer must not keep a process that is to stop.
    let Some(access) = stop.run_until_cancelled(service.require_access()).await else { return Ok(()) };
    access?;
    wiring::probe_store(&service.wired, &stop).await;
    service.run(settings, listening, stop).await
}
