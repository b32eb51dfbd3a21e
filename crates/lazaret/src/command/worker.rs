//! `lazaret worker`: consume the queue until SIGTERM.

use anyhow::Result;

use crate::{
    failure::UsageError,
    service::{self, Service},
    settings::{QueueKind, Settings},
    wiring,
};

/// Runs until it is told to stop.
pub(super) async fn run(settings: &Settings) -> Result<()> {
    let (QueueKind::Sqs, Some(sqs)) = (settings.queue.kind, &settings.queue.sqs) else {
        return Err(UsageError(
            "queue.kind = \"embedded\" lives inside `lazaret dev`, which has its own worker; for `lazaret worker` set \
             queue.kind = \"sqs\" and [queue.sqs]"
                .to_owned(),
        )
        .into());
    };
    let listener = service::bind_telemetry(settings.telemetry.listen).await?;
    let metrics = service::install_metrics(settings)?;
    wiring::require_transform()?;
    let wired = wiring::station(settings).await?;
    let queue = wiring::sqs(settings, sqs).await;
    let service = Service { wired, bus: wiring::bus(queue), metrics };
    service.require_access().await?;
    service.run(settings, listener, service::termination()?).await
}
